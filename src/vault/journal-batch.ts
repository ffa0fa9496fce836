/**
 * Journal records of own operations. The block is sealed exactly as it would be published; the
 * local facts (state/facts.ts) are sealed beside it with a key that never leaves the device.
 *
 *   JOURNAL_BATCH   sequence u64 BE ‖ length of the block u32 BE ‖ block (ops/envelope.ts) ‖ facts
 *   JOURNAL_FACTS   facts, of operations without a replicated part
 *   facts           nonce 24 ‖ ciphertext ‖ tag 16; associated data: 'facts' ‖ vault id ‖
 *                   sequence u64 BE (2^53 - 1 where there is no batch)
 */

import { NONCE_BYTES, RECORD_OVERHEAD_BYTES, openRecord, sealMessage } from '../crypto/aead.ts'
import { decodeBatch } from '../ops/codec.ts'
import { envelopeEpoch, openBatch } from '../ops/envelope.ts'
import type { HlcTime } from '../ops/hlc.ts'
import type { Ids } from '../ops/ids.ts'
import type { AuthorId, Batch } from '../ops/types.ts'
import { decodeFacts } from '../state/facts.ts'
import type { Facts } from '../state/facts.ts'
import { concatBytes, readU32, readU64, toHex, utf8, writeU32, writeU64 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { JOURNAL_BATCH, JOURNAL_FACTS } from './ports.ts'
import type { JournalRecord, Random } from './ports.ts'

const HEAD_BYTES = 12
const NO_SEQUENCE = Number.MAX_SAFE_INTEGER
const FACTS_LABEL = utf8('facts')

/** What reading own records takes. */
export interface JournalKeys {
  vaultId: Uint8Array
  author: AuthorId
  ids: Ids
  /** K_op of an epoch; undefined when the key is not there. */
  opKey(epochId: Uint8Array): Uint8Array | undefined
  /** 'lattice/0/local-journal' of the database key. */
  localKey: Uint8Array
}

export interface JournalBatch {
  /** Undefined for facts without a batch. */
  batch: Batch | undefined
  /** Sequence in the author's ops log; -1 without a batch. */
  seq: number
  /** Effective time of its ops: an own claim stands as it is. */
  time: HlcTime
  facts: Facts[]
}

/** The head of a JOURNAL_BATCH record. */
export function batchHead(seq: number, block: Uint8Array): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES)
  writeU64(head, 0, seq)
  writeU32(head, 8, block.length)
  return head
}

/** `seq` as in the record, undefined without a batch. A new buffer. */
export function sealFacts(
  facts: Uint8Array,
  seq: number | undefined,
  vaultId: Uint8Array,
  localKey: Uint8Array,
  random: Random,
): Buffer {
  const out = Buffer.allocUnsafe(facts.length + RECORD_OVERHEAD_BYTES)
  const nonce = random.fill(out.subarray(0, NONCE_BYTES))
  sealMessage(localKey, nonce, factsAd(vaultId, seq), facts, out.subarray(NONCE_BYTES))
  return out
}

/**
 * What a JOURNAL_BATCH or JOURNAL_FACTS record says. Throws 'damaged-journal' when it does not open
 * or makes no sense, 'missing-key' when the epoch's key is not there.
 */
export function decodeJournalBatch(record: JournalRecord, keys: JournalKeys): JournalBatch {
  if (record.type === JOURNAL_FACTS) {
    const facts = openFacts(record, record.payload, undefined, keys)
    return { batch: undefined, seq: -1, time: { ms: 0, counter: 0 }, facts }
  }
  if (record.type !== JOURNAL_BATCH) throw damagedRecord(record, 'is of another type')
  const { payload } = record
  const seq = payload.length < HEAD_BYTES ? undefined : readU64(payload, 0)
  const blockEnd = seq === undefined ? 0 : HEAD_BYTES + readU32(payload, 8)
  if (seq === undefined || blockEnd > payload.length) throw damagedRecord(record, 'is too short')
  const batch = openBlock(record, payload.subarray(HEAD_BYTES, blockEnd), seq, keys)
  const facts = openFacts(record, payload.subarray(blockEnd), seq, keys)
  return { batch, seq, time: { ms: batch.ms, counter: batch.counter }, facts }
}

function openBlock(
  record: JournalRecord,
  block: Uint8Array,
  seq: number,
  keys: JournalKeys,
): Batch {
  try {
    const epochId = envelopeEpoch(block)
    const opKey = keys.opKey(epochId)
    if (opKey === undefined) {
      throw new LatticeError('missing-key', 'the key of an epoch in the journal is missing', {
        details: { epoch: toHex(epochId) },
      })
    }
    const place = { vaultId: keys.vaultId, author: keys.author, seq }
    return decodeBatch(openBatch(block, place, opKey), keys.author, seq, keys.ids)
  } catch (error) {
    if (error instanceof LatticeError && error.code === 'invalid') {
      throw damagedRecord(record, `does not open: ${String(error.details['rule'])}`)
    }
    throw error
  }
}

function openFacts(
  record: JournalRecord,
  sealed: Uint8Array,
  seq: number | undefined,
  keys: JournalKeys,
): Facts[] {
  let bytes: Buffer
  try {
    bytes = openRecord(keys.localKey, factsAd(keys.vaultId, seq), sealed)
  } catch (error) {
    if (error instanceof LatticeError) throw damagedRecord(record, 'has facts that do not open')
    throw error
  }
  return decodeFacts(bytes)
}

function factsAd(vaultId: Uint8Array, seq: number | undefined): Uint8Array {
  const place = new Uint8Array(8)
  writeU64(place, 0, seq ?? NO_SEQUENCE)
  return concatBytes(FACTS_LABEL, vaultId, place)
}

function damagedRecord(record: JournalRecord, why: string): LatticeError {
  return new LatticeError('damaged-journal', `journal record ${record.sequence} ${why}`, {
    details: { position: record.position, sequence: record.sequence },
  })
}
