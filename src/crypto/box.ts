// X25519 sealed boxes whose randomness comes from the caller, so that a simulated run repeats byte
// by byte. The same bytes as libsodium's crypto_box_seal: sign.ts opens them.
//
//   ephemeral X25519 key 32 ‖ crypto_box_easy(plain, nonce = BLAKE2b-192(ephemeral ‖ recipient))

import sodium from 'sodium-native'
import { assert } from '../util/assert.ts'
import { wipe } from './secret.ts'
import { BOX_OVERHEAD_BYTES, PUBLIC_KEY_BYTES, SEED_BYTES, boxKeyPair } from './sign.ts'

const NONCE_BYTES = 24

/** 48 bytes more than `plain`. `seed`: 32 random bytes, for this box only. */
export function boxSealWith(
  plain: Uint8Array,
  publicKey: Uint8Array,
  seed: Uint8Array,
): Buffer {
  assert(publicKey.length === PUBLIC_KEY_BYTES, 'box key length')
  assert(seed.length === SEED_BYTES, 'box seed length')
  const ephemeral = boxKeyPair(seed)
  const sealed = Buffer.alloc(plain.length + BOX_OVERHEAD_BYTES)
  sealed.set(ephemeral.publicKey, 0)
  const nonce = Buffer.alloc(NONCE_BYTES)
  sodium.crypto_generichash_batch(nonce, [ephemeral.publicKey, publicKey])
  const body = sealed.subarray(PUBLIC_KEY_BYTES)
  sodium.crypto_box_easy(body, plain, nonce, publicKey, ephemeral.secretKey)
  wipe(ephemeral.secretKey)
  return sealed
}

/** False for the few points of small order: nothing can be sealed to them, and no pair has one. */
export function isBoxKey(publicKey: Uint8Array): boolean {
  try {
    boxSealWith(new Uint8Array(1), publicKey, new Uint8Array(SEED_BYTES))
    return true
  } catch {
    return false
  }
}
