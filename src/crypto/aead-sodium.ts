// Sealed segments through sodium alone: the fallback of aead.ts where the runtime carries no
// OpenSSL, and the second opinion of its tests. Same bytes, a third of the speed.

import sodium from 'sodium-native'
import { writeU32 } from '../util/bytes.ts'

const SEGMENT_PLAIN_BYTES = 16 * 1024
const TAG_BYTES = 16

export function sealSegmentsWithSodium(
  key: Uint8Array,
  prefix: Uint8Array,
  ad: Uint8Array,
  plain: Uint8Array,
  out: Uint8Array,
): void {
  const total = Math.max(1, Math.ceil(plain.length / SEGMENT_PLAIN_BYTES))
  const nonce = nonceOf(prefix)
  let at = 0
  for (let index = 0; index < total; index++) {
    setSegment(nonce, index, total)
    const part = plain.subarray(index * SEGMENT_PLAIN_BYTES, (index + 1) * SEGMENT_PLAIN_BYTES)
    const sealed = out.subarray(at, at + part.length + TAG_BYTES)
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, part, orNull(ad), null, nonce, key)
    at += sealed.length
  }
}

export function openSegmentsWithSodium(
  key: Uint8Array,
  prefix: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
  first: number,
  total: number,
  out: Uint8Array,
): boolean {
  const nonce = nonceOf(prefix)
  let at = 0
  let outAt = 0
  for (let index = first; at < sealed.length; index++) {
    const part = sealed.subarray(at, at + SEGMENT_PLAIN_BYTES + TAG_BYTES)
    const isWhole = part.length === SEGMENT_PLAIN_BYTES + TAG_BYTES
    if (index >= total || part.length < TAG_BYTES || (!isWhole && index + 1 !== total)) {
      out.fill(0)
      return false
    }
    setSegment(nonce, index, total)
    const plain = out.subarray(outAt, outAt + part.length - TAG_BYTES)
    try {
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(plain, null, part, orNull(ad), nonce, key)
    } catch {
      out.fill(0)
      return false // lengths were checked: the seal does not fit
    }
    at += part.length
    outAt += plain.length
  }
  return at > 0
}

function nonceOf(prefix: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(24)
  nonce.set(prefix)
  return nonce
}

function setSegment(nonce: Uint8Array, index: number, total: number): void {
  writeU32(nonce, 19, index)
  nonce[23] = index + 1 === total ? 1 : 0
}

function orNull(ad: Uint8Array): Uint8Array | null {
  return ad.length === 0 ? null : ad
}
