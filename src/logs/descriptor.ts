// Blocks of content logs. The bundles themselves never pass through Hypercore: they lie in packs
// and are fetched by their ids. What everybody replicates, blind members included, is which bundles
// there are:
//
//   descriptor   version u8 (0) ‖ bundle id 32 (BLAKE3-256 of the sealed bundle) ‖ sealed length
//                u32 BE, more than 0; 37 bytes

import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { assert } from '../util/assert.ts'

export const DESCRIPTOR_BYTES = 37
const BUNDLE_ID_BYTES = 32
const VERSION = 0

export interface BundleDescriptor {
  /** 32 bytes. */
  bundleId: Uint8Array
  sealedBytes: number
}

export function encodeDescriptor({ bundleId, sealedBytes }: BundleDescriptor): Uint8Array {
  assert(bundleId.length === BUNDLE_ID_BYTES && sealedBytes > 0, 'no descriptor of a bundle')
  return new ByteWriter(new Uint8Array(DESCRIPTOR_BYTES))
    .u8(VERSION).bytes(bundleId).u32(sealedBytes).end()
}

/** Undefined for whatever is none, of newer versions too: its author's other blocks still count. */
export function decodeDescriptor(block: Uint8Array): BundleDescriptor | undefined {
  if (block.length !== DESCRIPTOR_BYTES) return undefined
  const reader = new ByteReader(block)
  if (reader.u8() !== VERSION) return undefined
  const bundleId = reader.copy(BUNDLE_ID_BYTES)
  const sealedBytes = reader.u32()
  return sealedBytes === 0 ? undefined : { bundleId, sealedBytes }
}
