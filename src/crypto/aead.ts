// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) in two shapes:
//
//   record    nonce 24 ‖ ciphertext ‖ tag 16         one value, 40 bytes more than its plaintext
//   segments  ciphertext ≤ 16 KiB ‖ tag 16, repeated   a buffer that can be opened in parts
//
// Small messages go through sodium (0.8 µs at 100 B), larger ones and segments through OpenSSL in
// the addon (2.9 GB/s); where OpenSSL is missing, sodium does all. Both produce the same bytes.
// Record nonces are random; a segment's nonce is prefix 19 ‖ index u32 BE ‖ last flag u8, and the
// prefix must be random and used for one buffer only.

import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'
import { bufferView } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { openSegmentsWithSodium, sealSegmentsWithSodium } from './aead-sodium.ts'
import { loadAddon } from './native.ts'
import type { CryptoAddon } from './native.ts'
import { randomFill } from './random.ts'

export const KEY_BYTES = 32
export const NONCE_BYTES = 24
export const TAG_BYTES = 16
export const RECORD_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
export const NONCE_PREFIX_BYTES = 19
export const SEGMENT_PLAIN_BYTES = 16 * 1024
export const SEGMENT_SEALED_BYTES = SEGMENT_PLAIN_BYTES + TAG_BYTES

/** From this size on the addon is faster than sodium (measured). */
const NATIVE_MIN_BYTES = 2048

let native: CryptoAddon | null | undefined

/** The addon when it can seal, else null. Decided once per thread. */
function nativeAead(): CryptoAddon | null {
  if (native === undefined) {
    const addon = loadAddon()
    native = addon.aeadAvailable() ? addon : null
  }
  return native
}

/** 'openssl' or 'sodium': who seals bulk data. */
export function aeadProvider(): 'openssl' | 'sodium' {
  return nativeAead() === null ? 'sodium' : 'openssl'
}

/**
 * Seals one value under a fresh random nonce. `out`, when given, must have exactly
 * plain.length + 40 bytes and not overlap `plain`; it is returned.
 */
export function sealRecord(
  key: Uint8Array,
  ad: Uint8Array,
  plain: Uint8Array,
  out: Buffer = Buffer.allocUnsafe(plain.length + RECORD_OVERHEAD_BYTES),
): Buffer {
  assert(out.length === plain.length + RECORD_OVERHEAD_BYTES, 'sealRecord: output length')
  const nonce = out.subarray(0, NONCE_BYTES)
  randomFill(nonce)
  sealMessage(key, nonce, ad, plain, out.subarray(NONCE_BYTES))
  return out
}

/**
 * Opens what sealRecord made. `out`, when given, must have exactly sealed.length - 40 bytes; it is
 * returned. Throws 'record-short' or 'unauthentic'.
 */
export function openRecord(
  key: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
  out?: Buffer,
): Buffer {
  const sizeBytes = sealed.length - RECORD_OVERHEAD_BYTES
  if (sizeBytes < 0) {
    throw new LatticeError('record-short', 'a sealed record is shorter than its overhead', {
      details: { sizeBytes: sealed.length },
    })
  }
  const plain = out ?? Buffer.allocUnsafe(sizeBytes)
  assert(plain.length === sizeBytes, 'openRecord: output length')
  const nonce = sealed.subarray(0, NONCE_BYTES)
  if (!openMessage(key, nonce, ad, sealed.subarray(NONCE_BYTES), plain)) {
    throw new LatticeError('unauthentic', 'a sealed record does not open', {
      details: { sizeBytes: sealed.length },
    })
  }
  return plain
}

/** Seals under a nonce of the caller's, who answers for its uniqueness. out = plain + 16. */
export function sealMessage(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plain: Uint8Array,
  out: Uint8Array,
): void {
  const addon = plain.length >= NATIVE_MIN_BYTES ? nativeAead() : null
  if (addon !== null) addon.seal(key, nonce, ad, plain, out)
  else sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(out, plain, adOrNull(ad), null, nonce, key)
}

/** True and `out` (sealed - 16 bytes) filled; false when the seal does not fit. */
export function openMessage(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
  out: Uint8Array,
): boolean {
  if (sealed.length < TAG_BYTES) return false
  const addon = sealed.length >= NATIVE_MIN_BYTES ? nativeAead() : null
  if (addon !== null) return addon.open(key, nonce, ad, sealed, out)
  assert(out.length === sealed.length - TAG_BYTES, 'openMessage: output length')
  try {
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, null, sealed, adOrNull(ad), nonce, key)
    return true
  } catch {
    return false // lengths were checked: the only failure left is a seal that does not fit
  }
}

/** Segments that `plainBytes` need: at least one, so that an empty buffer is authentic too. */
export function segmentCount(plainBytes: number): number {
  return Math.max(1, Math.ceil(plainBytes / SEGMENT_PLAIN_BYTES))
}

export function sealedSegmentsBytes(plainBytes: number): number {
  return plainBytes + TAG_BYTES * segmentCount(plainBytes)
}

/** Seals `plain` whole into `out` (exactly sealedSegmentsBytes(plain.length) bytes). */
export function sealSegments(
  key: Uint8Array,
  prefix: Uint8Array,
  ad: Uint8Array,
  plain: Uint8Array,
  out: Uint8Array,
): void {
  assert(key.length === KEY_BYTES && prefix.length === NONCE_PREFIX_BYTES, 'sealSegments: lengths')
  assert(out.length === sealedSegmentsBytes(plain.length), 'sealSegments: output length')
  const addon = nativeAead()
  if (addon !== null) addon.sealSegments(key, prefix, ad, plain, out)
  else sealSegmentsWithSodium(key, prefix, ad, plain, out)
}

/**
 * Opens `sealed`, whole segments from index `first` on, of a buffer with `total` segments. Returns
 * a new buffer (or `out`, of exactly that length), or null when anything does not fit.
 */
export function openSegments(
  key: Uint8Array,
  prefix: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
  first: number,
  total: number,
  out?: Buffer,
): Buffer | null {
  assert(key.length === KEY_BYTES && prefix.length === NONCE_PREFIX_BYTES, 'openSegments: lengths')
  const count = Math.ceil(sealed.length / SEGMENT_SEALED_BYTES)
  const plainBytes = sealed.length - count * TAG_BYTES
  if (count === 0 || plainBytes < (count - 1) * SEGMENT_PLAIN_BYTES) return null
  const plain = out ?? Buffer.allocUnsafe(plainBytes)
  assert(plain.length === plainBytes, 'openSegments: output length')
  const addon = nativeAead()
  const open = addon === null ? openSegmentsWithSodium : addon.openSegments
  return open(key, prefix, ad, sealed, first, total, plain) ? plain : null
}

function adOrNull(ad: Uint8Array): Buffer | null {
  return ad.length === 0 ? null : bufferView(ad)
}
