// The two hash functions, and which is for what:
//   BLAKE3   chunk ids, key derivation, proofs of holding: whole chunks and bundles (4 GB/s, but
//            5 µs a call);
//   BLAKE2b  names, node ids, index keys, checksums of small records (0.5 µs a call at 100 B).
// Keyed forms only take 32-byte keys. An input given in parts is hashed as if it were joined:
// callers that mix variable lengths put a length before each part.

import { Blake3Hasher } from '@napi-rs/blake-hash'
import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'
import { bufferView } from '../util/bytes.ts'
import { assertKey } from './secret.ts'

export const HASH_BYTES = 32

/** BLAKE3-256 under `key`. The result is a new array. */
export function blake3Keyed(key: Uint8Array, ...parts: Uint8Array[]): Buffer {
  assertKey(key, 'BLAKE3 key')
  const hasher = Blake3Hasher.newKeyed(bufferView(key))
  for (const part of parts) hasher.update(bufferView(part))
  return hasher.digestBuffer()
}

/** BLAKE3-256 without a key, for public data. */
export function blake3(...parts: Uint8Array[]): Buffer {
  const hasher = new Blake3Hasher()
  for (const part of parts) hasher.update(bufferView(part))
  return hasher.digestBuffer()
}

/** BLAKE2b of 16 to 64 bytes under `key`, written into `out`, which is returned. */
export function blake2bKeyedInto(out: Buffer, key: Uint8Array, input: Uint8Array): Buffer {
  assert(key.length === 32 && out.length >= 16 && out.length <= 64, 'BLAKE2b: bad lengths')
  sodium.crypto_generichash(out, input, key)
  return out
}

/** BLAKE2b under `key` of all parts, `sizeBytes` (16 to 64) long. */
export function blake2bKeyed(
  key: Uint8Array,
  sizeBytes: number,
  ...parts: Uint8Array[]
): Buffer {
  assertKey(key, 'BLAKE2b key')
  assert(sizeBytes >= 16 && sizeBytes <= 64, 'BLAKE2b: 16 to 64 bytes')
  const out = Buffer.allocUnsafeSlow(sizeBytes)
  if (parts.length === 1) sodium.crypto_generichash(out, parts[0] as Uint8Array, key)
  else sodium.crypto_generichash_batch(out, parts, key)
  return out
}

/** BLAKE2b without a key, for public data and checksums against accidents. */
export function blake2b(sizeBytes: number, ...parts: Uint8Array[]): Buffer {
  assert(sizeBytes >= 16 && sizeBytes <= 64, 'BLAKE2b: 16 to 64 bytes')
  const out = Buffer.allocUnsafeSlow(sizeBytes)
  if (parts.length === 1) sodium.crypto_generichash(out, parts[0] as Uint8Array)
  else sodium.crypto_generichash_batch(out, parts)
  return out
}
