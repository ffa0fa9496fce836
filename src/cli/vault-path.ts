// A path inside a mounted vault, as the user names it: the vault, and where in it. The last part
// need not exist (a removed file has a history). Symbolic links on the way are followed as far as
// the vault's directory; inside it names are taken as they are.

import { basename, dirname, join, relative } from 'node:path'
import type { PathText, Status, VaultStatus } from '../api/client-types.ts'
import { LatticeError } from '../util/errors.ts'
import { resolveDirectory, resolveFile } from './directories.ts'

export interface VaultPath {
  vault: VaultStatus
  path: PathText
}

/** Throws 'vault-not-found', 'not-mounted'. */
export async function vaultPath(status: Status, argument: string): Promise<VaultPath> {
  const absolute = resolveFile(argument)
  const named = vaultOf(status, absolute)
  const vault = named ?? vaultOf(status, await withRealParent(absolute))
  if (vault === undefined) {
    throw new LatticeError('vault-not-found', `no vault is recorded for ${absolute}`, {
      hint: 'lattice status lists the vaults',
    })
  }
  const from = named === undefined ? await withRealParent(absolute) : absolute
  if (!vault.mounted) throw notMounted(vault)
  return { vault, path: relative(vault.directory, from) }
}

/** The vaults of a command that asks about one directory, or about all that are mounted. */
export async function mountedVaults(
  status: Status,
  argument: string | undefined,
): Promise<VaultPath[]> {
  if (argument !== undefined) return [await vaultPath(status, argument)]
  const mounted = status.vaults.filter((vault) => vault.mounted)
  if (mounted.length > 0) return mounted.map((vault) => ({ vault, path: '' }))
  throw new LatticeError('not-mounted', 'no vault is mounted', { hint: 'lattice mount DIR' })
}

/** Where the user finds it. */
export function shownPath(vault: VaultStatus, path: PathText): string {
  return path === '' ? vault.directory : join(vault.directory, path)
}

export function notMounted(vault: VaultStatus): LatticeError {
  return new LatticeError('not-mounted', `${vault.directory} is not mounted`, {
    hint: `mount it: lattice mount ${vault.directory}`,
  })
}

function vaultOf(status: Status, absolute: string): VaultStatus | undefined {
  return status.vaults.find(({ directory }) => (
    absolute === directory || absolute.startsWith(`${directory}/`)
  ))
}

async function withRealParent(absolute: string): Promise<string> {
  return join(await resolveDirectory(dirname(absolute)), basename(absolute))
}
