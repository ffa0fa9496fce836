// Loads the addon once per thread. The path is found from this file, which lies equally deep in
// src/ and in dist/; LATTICE_ADDON names another file (sanitizer builds in tests). The type
// parameter is the caller's slice of native/index.d.ts.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { AeadAddon, CutAddon, Lz4Addon } from '../../native/index.d.ts'
import { LatticeError } from '../util/errors.ts'

export type CryptoAddon = CutAddon & AeadAddon & Lz4Addon

let loaded: unknown

/** The addon; the same object at every call. Throws 'addon-missing' when it is not built. */
export function loadAddon<Slice = CryptoAddon>(): Slice {
  loaded ??= requireAddon()
  return loaded as Slice
}

export function addonPath(): string {
  const fromEnvironment = process.env['LATTICE_ADDON']
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  return fileURLToPath(new URL('../../native/build/lattice.node', import.meta.url))
}

function requireAddon(): unknown {
  const path = addonPath()
  try {
    return createRequire(import.meta.url)(path) as unknown
  } catch (cause) {
    throw new LatticeError('addon-missing', `the native addon does not load: ${path}`, {
      hint: 'build it with: sh native/build.sh',
      cause,
    })
  }
}
