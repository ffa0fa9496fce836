// Where a vault may not be mounted: inside another vault of this daemon (which would wait for
// itself when it looks) or over lattice's own files. Compares paths only, touches nothing.

import type { VaultEntry } from '../config/config-schema.ts'
import type { Paths } from '../config/paths.ts'
import { LatticeError } from '../util/errors.ts'

/** Throws 'invalid'. All paths are absolute and without symbolic links, as far as they exist. */
export function refuseNested(directory: string, paths: Paths, vaults: readonly VaultEntry[]): void {
  for (const { path } of vaults) {
    if (path === directory) continue
    if (isInside(directory, path)) {
      throw new LatticeError('invalid', `${directory} lies in the vault at ${path}`, {
        hint: 'give each vault a directory outside of the others',
      })
    }
  }
  for (const own of [paths.stateDirectory, paths.configDirectory, paths.runtimeDirectory]) {
    if (directory === own || isInside(directory, paths.stateDirectory)) {
      throw new LatticeError('invalid', `${directory} would hide lattice's own files`, {
        hint: 'mount somewhere else',
      })
    }
  }
}

function isInside(path: string, ancestor: string): boolean {
  return path.startsWith(ancestor === '/' ? '/' : `${ancestor}/`)
}
