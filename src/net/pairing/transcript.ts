// What both sides of a pairing hash and sign, and the six digits that people compare.
//
//   commitment = BLAKE2b-256 keyed with the joiner's nonce
//                ('lattice/0/pairing-commit' ‖ Noise handshake hash)
//   transcript = BLAKE2b-256('lattice/0/pairing' ‖ handshake hash ‖ u32 length of hello ‖ hello ‖
//                u32 length of offer ‖ offer without its signature)
//   revealed   = BLAKE2b-256('lattice/0/pairing-revealed' ‖ transcript ‖ joiner's nonce)
//   the inviter signs 'lattice/0/pairing-inviter' ‖ transcript with its device key; the joiner
//   signs 'lattice/0/pairing-code' ‖ revealed with the code key, and 'lattice/0/pairing-joiner' ‖
//   revealed with its device key
//   digits     = first 6 bytes of BLAKE2b-256('lattice/0/pairing-digits' ‖ revealed), mod 10^6
//
// Why nobody gets in between. Whoever lacks the code cannot even begin the Noise handshake. Whoever
// has it (read it over a shoulder, or from the mail it was sent by) can play the listener to the
// joiner and the joiner to the inviter, but those are two handshakes with two hashes:
// - to the joiner it would have to sign with a key whose hash is in the code: only a code that was
//   swapped on its way allows that, and then the digits differ as follows;
// - the digits of each side depend on that side's handshake hash, all keys, vault and role, and on
//   both nonces. In each conversation the joiner's nonce is committed to before the inviter's is
//   told, and told after it: so to the joiner the one in between must choose its nonce without
//   knowing the joiner's, and to the inviter it must commit to one without knowing the inviter's.
//   Whatever the order, one side's digits are drawn when nothing can be chosen any more: they agree
//   by chance, 1 in a million for each attempt, and attempts are counted before a nonce is told
//   (inviter.ts).
// Keys of the vault leave the inviter only after both people agreed, and then sealed to the key
// that the digits cover. Recorded traffic stays closed to whoever gets the code later: Noise mixes
// two throwaway keys, the code only opens the first message, which is empty.

import { blake2b, blake2bKeyed } from '../../crypto/hash.ts'
import { sign, verify } from '../../crypto/sign.ts'
import { concatBytes, utf8, writeU32 } from '../../util/bytes.ts'
import { helloBody, offerBody } from './messages.ts'
import type { Hello, Offer } from './messages.ts'

export function commitmentOf(nonce: Uint8Array, handshakeHash: Uint8Array): Uint8Array {
  const label = utf8('lattice/0/pairing-commit')
  return new Uint8Array(blake2bKeyed(nonce, 32, label, handshakeHash))
}

export function transcriptOf(handshakeHash: Uint8Array, hello: Hello, offer: Offer): Uint8Array {
  const label = utf8('lattice/0/pairing')
  return blake2b(32, label, handshakeHash, ...sized(helloBody(hello)), ...sized(offerBody(offer)))
}

export function revealedOf(transcript: Uint8Array, joinerNonce: Uint8Array): Uint8Array {
  return blake2b(32, utf8('lattice/0/pairing-revealed'), transcript, joinerNonce)
}

/** '042 917'. */
export function digitsOf(revealed: Uint8Array): string {
  const hash = blake2b(32, utf8('lattice/0/pairing-digits'), revealed)
  const digits = String(hash.readUIntBE(0, 6) % 1_000_000).padStart(6, '0')
  return `${digits.slice(0, 3)} ${digits.slice(3)}`
}

export type SignatureUse =
  | 'lattice/0/pairing-inviter'
  | 'lattice/0/pairing-code'
  | 'lattice/0/pairing-joiner'
  | 'lattice/0/pairing-phrase'

export function signHash(use: SignatureUse, hash: Uint8Array, secretKey: Uint8Array): Uint8Array {
  return new Uint8Array(sign(concatBytes(utf8(use), hash), secretKey))
}

export function verifyHash(
  use: SignatureUse, hash: Uint8Array, signature: Uint8Array, publicKey: Uint8Array,
): boolean {
  return verify(concatBytes(utf8(use), hash), signature, publicKey)
}

function sized(bytes: Uint8Array): Uint8Array[] {
  const length = new Uint8Array(4)
  writeU32(length, 0, bytes.length)
  return [length, bytes]
}
