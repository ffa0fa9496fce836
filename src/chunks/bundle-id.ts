// Bundle ids: BLAKE3-256 of a sealed bundle's bytes. Devices ask each other for bundles by them,
// and whoever gets one checks it without a key. They say nothing about the content.
// In memory an id is a latin1 string, one character a byte.

import { blake3 } from '../crypto/hash.ts'
import type { BundleId } from '../ops/types.ts'

export type { BundleId } from '../ops/types.ts'

export const BUNDLE_ID_BYTES = 32

/** About 0.3 ms for 1 MiB. */
export function bundleIdOf(sealed: Uint8Array): BundleId {
  return blake3(sealed).toString('latin1') as BundleId
}
