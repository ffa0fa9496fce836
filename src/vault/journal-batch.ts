/**
 * Journal records of batches. A block stands there sealed exactly as it is published; the local
 * facts (state/facts.ts) are sealed beside it with a key that never leaves the device.
 *
 *   JOURNAL_BATCH   own, by a commit: sequence u64 BE ‖ length of the block u32 BE ‖ block
 *                   (ops/envelope.ts) ‖ facts
 *   JOURNAL_REMOTE_BATCH   by the logs: author 32 ‖ sequence u64 BE ‖ effective time: ms u64 BE ‖
 *                   counter u16 BE ‖ flags u8 (1 = counts as empty) ‖ tree hash of the log up to
 *                   and with it 32 ‖ length of the block u32 BE ‖ block ‖ facts
 *   JOURNAL_FACTS   facts, of operations without a replicated part
 *   facts           nonce 24 ‖ ciphertext ‖ tag 16; associated data: 'facts' ‖ vault id ‖
 *                   sequence u64 BE (2^53 - 1 where there is no batch) ‖ author if by the logs
 *
 * A block of more than a batch may have is not kept: length 0, and it counts as empty.
 */

import { NONCE_BYTES, RECORD_OVERHEAD_BYTES, openRecord, sealMessage } from '../crypto/aead.ts'
import { AUTHOR_BYTES, BATCH_MAX_BYTES, TREE_HASH_BYTES } from '../ops/bounds.ts'
import { decodeBatch } from '../ops/codec.ts'
import { envelopeKeyName, openBatch } from '../ops/envelope.ts'
import type { EnvelopeKeyName } from '../ops/envelope.ts'
import type { HlcTime } from '../ops/hlc.ts'
import type { Ids } from '../ops/ids.ts'
import { reject } from '../ops/reject.ts'
import type { AuthorId, Batch } from '../ops/types.ts'
import { decodeFacts } from '../state/facts.ts'
import type { Facts, FactsPlace } from '../state/facts.ts'
import {
  EMPTY_BYTES, concatBytes, readU32, readU64, toHex, utf8, writeU32, writeU64,
} from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { JOURNAL_BATCH, JOURNAL_FACTS, JOURNAL_REMOTE_BATCH } from './ports.ts'
import type { JournalRecord, KeyPort, Random } from './ports.ts'

const HEAD_BYTES = 12
const REMOTE_HEAD_BYTES = AUTHOR_BYTES + 8 + 8 + 2 + 1 + TREE_HASH_BYTES + 4
const FLAG_EMPTY = 1
const NO_SEQUENCE = Number.MAX_SAFE_INTEGER
const FACTS_LABEL = utf8('facts')

/** What reading records takes. */
export interface JournalKeys extends Pick<KeyPort, 'opKey' | 'controlKey'> {
  vaultId: Uint8Array
  /** This device. */
  author: AuthorId
  ids: Ids
  /** 'lattice/0/local-journal' of the database key. */
  localKey: Uint8Array
}

/** A batch of the logs, as it is journalled. */
export interface RemoteBlock {
  author: AuthorId
  seq: number
  /** Effective. */
  time: HlcTime
  isEmpty: boolean
  treeHash: Uint8Array
  block: Uint8Array
}

export interface JournalBatch {
  /** Undefined for facts without a batch. Without ops and deps when it counts as empty. */
  batch: Batch | undefined
  author: AuthorId
  /** Sequence in the author's ops log; -1 without a batch. */
  seq: number
  /** Effective time of its ops: an own claim stands as it is. */
  time: HlcTime
  /** Of those that came by the logs. */
  treeHash: Uint8Array | undefined
  facts: Facts[]
}

/** The head of a JOURNAL_BATCH record. */
export function batchHead(seq: number, block: Uint8Array): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES)
  writeU64(head, 0, seq)
  writeU32(head, 8, block.length)
  return head
}

/** Head and block of a JOURNAL_REMOTE_BATCH record. */
export function remoteParts(remote: RemoteBlock): Uint8Array[] {
  const kept = remote.block.length > BATCH_MAX_BYTES ? EMPTY_BYTES : remote.block
  const head = Buffer.alloc(REMOTE_HEAD_BYTES)
  head.write(remote.author, 0, 'latin1')
  writeU64(head, 32, remote.seq)
  writeU64(head, 40, remote.time.ms)
  head.writeUInt16BE(remote.time.counter, 48)
  head[50] = remote.isEmpty ? FLAG_EMPTY : 0
  head.set(remote.treeHash, 51)
  writeU32(head, 83, kept.length)
  return [head, kept]
}

/** `seq` as in the record, undefined without a batch; `remote`: its author. A new buffer. */
export function sealFacts(
  facts: Uint8Array,
  seq: number | undefined,
  keys: Pick<JournalKeys, 'vaultId' | 'localKey'>,
  random: Random,
  remote?: AuthorId,
): Buffer {
  const out = Buffer.allocUnsafe(facts.length + RECORD_OVERHEAD_BYTES)
  const nonce = random.fill(out.subarray(0, NONCE_BYTES))
  const ad = factsAd(keys.vaultId, seq, remote)
  sealMessage(keys.localKey, nonce, ad, facts, out.subarray(NONCE_BYTES))
  return out
}

/** The sealed block in a record of a batch: a view. Throws 'damaged-journal'. */
export function blockOf(record: JournalRecord): Uint8Array {
  return record.type === JOURNAL_BATCH ? ownParts(record).block : readRemote(record).block
}

/** Whether the batch in the record counts as empty. Throws 'damaged-journal'. */
export function isEmptyIn(record: JournalRecord): boolean {
  return record.type === JOURNAL_REMOTE_BATCH && readRemote(record).isEmpty
}

/** Tree hash in a JOURNAL_REMOTE_BATCH record, undefined in one of a commit. */
export function treeHashOf(record: JournalRecord): Uint8Array | undefined {
  return record.type === JOURNAL_REMOTE_BATCH ? readRemote(record).treeHash : undefined
}

/**
 * What a record of a batch or of facts says. Throws 'damaged-journal' when it does not open or
 * makes no sense, 'missing-key' when the epoch's key is not there.
 */
export function decodeJournalBatch(record: JournalRecord, keys: JournalKeys): JournalBatch {
  const { author } = keys
  if (record.type === JOURNAL_FACTS) {
    const facts = openFacts(record, record.payload, undefined, keys)
    const time = { ms: 0, counter: 0 }
    return { batch: undefined, author, seq: -1, time, treeHash: undefined, facts }
  }
  if (record.type === JOURNAL_REMOTE_BATCH) return decodeRemote(record, keys)
  const { seq, block, rest } = ownParts(record)
  const batch = openJournalled(record, block, { author, seq }, keys)
  const facts = openFacts(record, rest, { author, seq }, keys)
  const time = { ms: batch.ms, counter: batch.counter }
  return { batch, author, seq, time, treeHash: undefined, facts }
}

function decodeRemote(record: JournalRecord, keys: JournalKeys): JournalBatch {
  const { author, seq, time, isEmpty, treeHash, block, rest } = readRemote(record)
  const batch = isEmpty
    ? { ...time, deps: [], ops: [] }
    : openJournalled(record, block, { author, seq }, keys)
  const facts = openFacts(record, rest, { author, seq }, keys, author)
  return { batch, author, seq, time, treeHash, facts }
}

function ownParts(record: JournalRecord): { seq: number; block: Uint8Array; rest: Uint8Array } {
  if (record.type !== JOURNAL_BATCH) throw damagedRecord(record, 'is of another type')
  const { payload } = record
  const seq = payload.length < HEAD_BYTES ? undefined : readU64(payload, 0)
  const blockEnd = seq === undefined ? 0 : HEAD_BYTES + readU32(payload, 8)
  if (seq === undefined || blockEnd > payload.length) throw damagedRecord(record, 'is too short')
  return { seq, block: payload.subarray(HEAD_BYTES, blockEnd), rest: payload.subarray(blockEnd) }
}

function readRemote(record: JournalRecord): RemoteBlock & { rest: Uint8Array } {
  if (record.type !== JOURNAL_REMOTE_BATCH) throw damagedRecord(record, 'is of another type')
  const { payload } = record
  if (payload.length < REMOTE_HEAD_BYTES) throw damagedRecord(record, 'is too short')
  const head = Buffer.from(payload.buffer, payload.byteOffset, REMOTE_HEAD_BYTES)
  const blockEnd = REMOTE_HEAD_BYTES + readU32(payload, 83)
  if (blockEnd > payload.length) throw damagedRecord(record, 'is too short')
  const seq = readU64(payload, 32)
  const ms = readU64(payload, 40)
  if (seq === undefined || ms === undefined) throw damagedRecord(record, 'has no such place')
  return {
    author: head.toString('latin1', 0, AUTHOR_BYTES) as AuthorId,
    seq,
    time: { ms, counter: head.readUInt16BE(48) },
    isEmpty: head[50] === FLAG_EMPTY,
    treeHash: payload.subarray(51, 83),
    block: payload.subarray(REMOTE_HEAD_BYTES, blockEnd),
    rest: payload.subarray(blockEnd),
  }
}

/** Why a block could not be opened. */
export interface KeyMissing {
  missing: EnvelopeKeyName
}

/**
 * The batch in a block of a log. Throws 'invalid' with a RejectRule for what counts as an empty
 * batch for ever; says which key is missing when it is.
 */
export function openBlock(
  block: Uint8Array, place: FactsPlace, keys: JournalKeys,
): Batch | KeyMissing {
  const name = envelopeKeyName(block)
  const key = name.isControl ? keys.controlKey(name.epochId) : keys.opKey(name.epochId)
  if (key === undefined) return { missing: name }
  const { author, seq } = place
  const plain = openBatch(block, { vaultId: keys.vaultId, author, seq }, key)
  const batch = decodeBatch(plain, author, seq, keys.ids)
  const first = batch.ops[0]
  if (first !== undefined && (first.kind === 'control') !== name.isControl) {
    reject('envelope-suite', { suite: name.isControl ? 1 : 0 })
  }
  return batch
}

function openJournalled(
  record: JournalRecord, block: Uint8Array, place: FactsPlace, keys: JournalKeys,
): Batch {
  try {
    const opened = openBlock(block, place, keys)
    if (!('missing' in opened)) return opened
    throw new LatticeError('missing-key', 'the key of an epoch in the journal is missing', {
      details: { epoch: toHex(opened.missing.epochId) },
    })
  } catch (error) {
    if (!isLatticeError(error, 'invalid')) throw error
    throw damagedRecord(record, `does not open: ${String(error.details['rule'])}`)
  }
}

function openFacts(
  record: JournalRecord,
  sealed: Uint8Array,
  place: FactsPlace | undefined,
  keys: JournalKeys,
  remote?: AuthorId,
): Facts[] {
  let bytes: Buffer
  try {
    bytes = openRecord(keys.localKey, factsAd(keys.vaultId, place?.seq, remote), sealed)
  } catch (error) {
    if (error instanceof LatticeError) throw damagedRecord(record, 'has facts that do not open')
    throw error
  }
  return decodeFacts(bytes, place)
}

function factsAd(
  vaultId: Uint8Array, seq: number | undefined, remote: AuthorId | undefined,
): Uint8Array {
  const place = new Uint8Array(8)
  writeU64(place, 0, seq ?? NO_SEQUENCE)
  if (remote === undefined) return concatBytes(FACTS_LABEL, vaultId, place)
  return concatBytes(FACTS_LABEL, vaultId, place, Buffer.from(remote, 'latin1'))
}

function damagedRecord(record: JournalRecord, why: string): LatticeError {
  return new LatticeError('damaged-journal', `journal record ${record.sequence} ${why}`, {
    details: { position: record.position, sequence: record.sequence },
  })
}
