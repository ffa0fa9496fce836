// The name of a sealed bundle among the devices of a vault: BLAKE3-256, without a key, of its bytes
// as they lie in a pack and travel. Whoever has the id can check what a stranger hands over; it
// tells nothing about the content, and proves nothing about who knows it.

import { blake3 } from '../crypto/hash.ts'

export const BUNDLE_ID_BYTES = 32

/** 32 bytes as a latin1 string. */
export type BundleId = string & { readonly __bundle: true }

export function bundleIdOf(sealed: Uint8Array): BundleId {
  return blake3(sealed).toString('latin1') as BundleId
}
