// Ed25519 signatures and X25519 sealed boxes (libsodium), both from 32-byte seeds, so that the key
// file holds seeds only. Signed messages carry a label of their purpose: the caller puts it first.

import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'
import { newSecret, wipe } from './secret.ts'
import type { Secret } from './secret.ts'

export const SEED_BYTES = 32
export const PUBLIC_KEY_BYTES = 32
export const SIGNATURE_BYTES = 64
export const BOX_OVERHEAD_BYTES = 48

export type SignKeyPair = { publicKey: Buffer; secretKey: Secret }
export type BoxKeyPair = { publicKey: Buffer; secretKey: Secret }

export function signKeyPair(seed: Uint8Array): SignKeyPair {
  assert(seed.length === SEED_BYTES, 'sign seed length')
  const pair = { publicKey: Buffer.alloc(PUBLIC_KEY_BYTES), secretKey: newSecret(64) }
  sodium.crypto_sign_seed_keypair(pair.publicKey, pair.secretKey, seed)
  return pair
}

export function sign(message: Uint8Array, secretKey: Uint8Array): Buffer {
  assert(secretKey.length === 64, 'sign key length')
  const signature = Buffer.alloc(SIGNATURE_BYTES)
  sodium.crypto_sign_detached(signature, message, secretKey)
  return signature
}

/** False for any input that is not a valid signature, lengths included. */
export function verify(
  message: Uint8Array,
  signature: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  if (signature.length !== SIGNATURE_BYTES || publicKey.length !== PUBLIC_KEY_BYTES) return false
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}

export function boxKeyPair(seed: Uint8Array): BoxKeyPair {
  assert(seed.length === SEED_BYTES, 'box seed length')
  const pair = { publicKey: Buffer.alloc(PUBLIC_KEY_BYTES), secretKey: newSecret(32) }
  sodium.crypto_box_seed_keypair(pair.publicKey, pair.secretKey, seed)
  return pair
}

/** An anonymous box: whoever holds the secret key opens it; 48 bytes more than `plain`. */
export function boxSeal(plain: Uint8Array, publicKey: Uint8Array): Buffer {
  assert(publicKey.length === PUBLIC_KEY_BYTES, 'box key length')
  const sealed = Buffer.alloc(plain.length + BOX_OVERHEAD_BYTES)
  sodium.crypto_box_seal(sealed, plain, publicKey)
  return sealed
}

/** The plaintext in guarded memory, or null when the box is not for this pair or damaged. */
export function boxOpen(sealed: Uint8Array, pair: BoxKeyPair): Secret | null {
  if (sealed.length < BOX_OVERHEAD_BYTES) return null
  const plain = newSecret(sealed.length - BOX_OVERHEAD_BYTES)
  if (sodium.crypto_box_seal_open(plain, sealed, pair.publicKey, pair.secretKey)) return plain
  wipe(plain)
  return null
}
