/**
 * The sealed form of a batch: one block of its author's ops log, and what the journal keeps.
 *
 *   offset  size
 *        0     1  format version, 0
 *        1     1  suite: XChaCha20-Poly1305 under 0 = K_op, 1 = K_ctl, of the epoch
 *        2     8  epoch id: whose key sealed it
 *       10    24  nonce, random
 *       34     n  ciphertext of the batch (codec.ts)
 *    34 + n    16  tag
 *
 * Associated data: the 34 bytes of header ‖ vault id 16 ‖ author 32 ‖ sequence u64 BE, so that a
 * block opens only at its place in its author's log. Control ops, and only they, are sealed under
 * K_ctl: members who hold no other key read them too.
 */

import { NONCE_BYTES, TAG_BYTES, openMessage, sealMessage } from '../crypto/aead.ts'
import { VAULT_ID_BYTES } from '../crypto/vault-keys.ts'
import { assert } from '../util/assert.ts'
import { writeU64 } from '../util/bytes.ts'
import { AUTHOR_BYTES, BATCH_MAX_BYTES, EPOCH_ID_BYTES } from './bounds.ts'
import { ENVELOPE_OVERHEAD_BYTES } from './codec.ts'
import { reject } from './reject.ts'
import type { AuthorId } from './types.ts'

const FORMAT_VERSION = 0
const SUITE_OPS = 0
const SUITE_CONTROL = 1
export const ENVELOPE_HEADER_BYTES = 2 + EPOCH_ID_BYTES + NONCE_BYTES
const AD_BYTES = ENVELOPE_HEADER_BYTES + VAULT_ID_BYTES + AUTHOR_BYTES + 8

assert(ENVELOPE_HEADER_BYTES + TAG_BYTES === ENVELOPE_OVERHEAD_BYTES, 'envelope: overhead')

/** Where a block belongs. */
export interface EnvelopePlace {
  vaultId: Uint8Array
  author: AuthorId
  seq: number
}

/** Which key seals it, and the nonce, which must never be used twice with that key. */
export interface EnvelopeSeal {
  epochId: Uint8Array
  /** K_op; K_ctl for control ops. */
  opKey: Uint8Array
  nonce: Uint8Array
  isControl?: boolean
}

/** Which key a block needs. */
export interface EnvelopeKeyName {
  epochId: Uint8Array
  isControl: boolean
}

const adSpare = Buffer.alloc(AD_BYTES)

/** A new buffer, ENVELOPE_OVERHEAD_BYTES longer than `plain`, which is left unchanged. */
export function sealBatch(plain: Uint8Array, place: EnvelopePlace, seal: EnvelopeSeal): Buffer {
  assert(seal.epochId.length === EPOCH_ID_BYTES, 'envelope: epoch id of 8 bytes')
  assert(seal.nonce.length === NONCE_BYTES, 'envelope: nonce of 24 bytes')
  const block = Buffer.allocUnsafe(plain.length + ENVELOPE_OVERHEAD_BYTES)
  assert(block.length <= BATCH_MAX_BYTES, 'envelope: more than a batch may be')
  block[0] = FORMAT_VERSION
  block[1] = seal.isControl === true ? SUITE_CONTROL : SUITE_OPS
  block.set(seal.epochId, 2)
  block.set(seal.nonce, 2 + EPOCH_ID_BYTES)
  const sealed = block.subarray(ENVELOPE_HEADER_BYTES)
  sealMessage(seal.opKey, seal.nonce, associatedData(block, place), plain, sealed)
  return block
}

/** The epoch whose key a block needs: a copy. Checks the header, not the seal. */
export function envelopeEpoch(block: Uint8Array): Uint8Array {
  checkHeader(block)
  return new Uint8Array(block.subarray(2, 2 + EPOCH_ID_BYTES))
}

/** Throws 'invalid' as openBatch() does for what no key opens. The epoch id is a copy. */
export function envelopeKeyName(block: Uint8Array): EnvelopeKeyName {
  return { epochId: envelopeEpoch(block), isControl: block[1] === SUITE_CONTROL }
}

/** The batch's bytes, in a new buffer. */
export function openBatch(block: Uint8Array, place: EnvelopePlace, opKey: Uint8Array): Buffer {
  checkHeader(block)
  const plain = Buffer.allocUnsafe(block.length - ENVELOPE_OVERHEAD_BYTES)
  const nonce = block.subarray(2 + EPOCH_ID_BYTES, ENVELOPE_HEADER_BYTES)
  const sealed = block.subarray(ENVELOPE_HEADER_BYTES)
  const isOpen = openMessage(opKey, nonce, associatedData(block, place), sealed, plain)
  return isOpen ? plain : reject('envelope-seal', { seq: place.seq })
}

function checkHeader(block: Uint8Array): void {
  if (block.length < ENVELOPE_OVERHEAD_BYTES) reject('envelope-short', { sizeBytes: block.length })
  if (block.length > BATCH_MAX_BYTES) reject('envelope-size', { sizeBytes: block.length })
  if (block[0] !== FORMAT_VERSION) reject('envelope-version', { version: block[0] ?? -1 })
  const suite = block[1] ?? -1
  if (suite !== SUITE_OPS && suite !== SUITE_CONTROL) reject('envelope-suite', { suite })
}

function associatedData(block: Uint8Array, place: EnvelopePlace): Buffer {
  assert(place.vaultId.length === VAULT_ID_BYTES, 'envelope: vault id of 16 bytes')
  assert(place.author.length === AUTHOR_BYTES, 'envelope: author of 32 bytes')
  adSpare.set(block.subarray(0, ENVELOPE_HEADER_BYTES), 0)
  adSpare.set(place.vaultId, ENVELOPE_HEADER_BYTES)
  adSpare.write(place.author, ENVELOPE_HEADER_BYTES + VAULT_ID_BYTES, 'latin1')
  writeU64(adSpare, AD_BYTES - 8, place.seq)
  return adSpare
}
