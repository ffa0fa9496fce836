// The gear table of a vault: 256 random-looking u64, from K_cdc, so that cut points differ between
// vaults. A speed bump against fingerprinting by chunk sizes, no more: bundles hide the sizes.
//
//   block i (0..31) = BLAKE2b-512 keyed with K_cdc over "lattice/0/gear" ‖ u32 BE i
//   table           = the 32 blocks joined, 2048 bytes, read as 256 little-endian u64

import { blake2bKeyed } from '../crypto/hash.ts'
import { utf8, writeU32 } from '../util/bytes.ts'

export const GEAR_BYTES = 2048

/** `cutKey` is K_cdc, 32 bytes. The table is as secret as the key. */
export function gearTable(cutKey: Uint8Array): Uint8Array {
  const label = utf8('lattice/0/gear')
  const input = new Uint8Array(label.length + 4)
  input.set(label)
  const table = new Uint8Array(GEAR_BYTES)
  for (let i = 0; i < GEAR_BYTES / 64; i++) {
    writeU32(input, label.length, i)
    table.set(blake2bKeyed(cutKey, 64, input), i * 64)
  }
  return table
}
