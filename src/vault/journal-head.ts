/**
 * Journal records of signed heads: what another author has signed of one of its logs. With the
 * blocks, which stand in the journal too, they make the author's log anew when Hypercore's storage
 * is lost and nobody who holds the log is left.
 *
 *   JOURNAL_HEAD   kind u8 (0 ops, 1 content) ‖ author 32 ‖ length u64 BE ‖ fork u64 BE (0) ‖
 *                  tree hash 32 ‖ signature 64
 *
 * Of one log the longest counts. The signature is not checked here: logs/ does, with the blocks.
 */

import { AUTHOR_BYTES, TREE_HASH_BYTES } from '../ops/bounds.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { JOURNAL_HEAD } from './ports.ts'
import type { JournalRecord, LogKind, SignedHead } from './ports.ts'

const SIGNATURE_BYTES = 64
const HEAD_RECORD_BYTES = 1 + AUTHOR_BYTES + 8 + 8 + TREE_HASH_BYTES + SIGNATURE_BYTES
const KINDS: readonly LogKind[] = ['ops', 'content']

export interface JournalHead {
  author: AuthorId
  kind: LogKind
  head: SignedHead
}

/** The payload of a JOURNAL_HEAD record. */
export function encodeHead({ author, kind, head }: JournalHead): Uint8Array {
  assert(head.signature.length === SIGNATURE_BYTES, 'a signature has 64 bytes')
  assert(head.treeHash.length === TREE_HASH_BYTES, 'a tree hash has 32 bytes')
  return new ByteWriter(new Uint8Array(HEAD_RECORD_BYTES))
    .u8(KINDS.indexOf(kind))
    .bytes(Buffer.from(author, 'latin1'))
    .u64(head.length)
    .u64(0)
    .bytes(head.treeHash)
    .bytes(head.signature)
    .end()
}

/** Throws 'damaged-journal'. What it returns shares nothing with the record. */
export function decodeHead(record: JournalRecord): JournalHead {
  assert(record.type === JOURNAL_HEAD, 'a record of another type')
  try {
    return read(new ByteReader(record.payload))
  } catch (error) {
    if (!isLatticeError(error)) throw error
    const { position, sequence } = record
    throw new LatticeError('damaged-journal', `journal record ${sequence} is no signed head`, {
      details: { position, sequence }, cause: error,
    })
  }
}

function read(reader: ByteReader): JournalHead {
  const kind = KINDS[reader.u8()]
  if (kind === undefined) throw new LatticeError('out-of-bounds', 'no such kind of log')
  const author = Buffer.from(reader.copy(AUTHOR_BYTES)).toString('latin1') as AuthorId
  const length = reader.u64()
  if (reader.u64() !== 0) throw new LatticeError('out-of-bounds', 'a fork of a log')
  const treeHash = reader.copy(TREE_HASH_BYTES)
  const signature = reader.copy(SIGNATURE_BYTES)
  reader.end()
  return { author, kind, head: { length, treeHash, signature } }
}
