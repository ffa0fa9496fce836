/**
 * Bytes of a batch's plaintext. One value has one form: decoding encodes again and compares.
 *
 *   ms uint ‖ counter uint                              the author's claimed hybrid clock
 *   count uint ‖ author 32 …                            other authors named below (refs.ts)
 *   count uint ‖ (author uint ‖ length uint ‖ tree hash 32) …           deps
 *   count uint ‖ op …                                   op-codec.ts
 *
 * Author and sequence of the batch are not in it: the envelope's associated data binds them.
 */

import { assert } from '../util/assert.ts'
import { bufferView } from '../util/bytes.ts'
import {
  AUTHOR_BYTES, BATCH_DEPS_MAX, BATCH_MAX_BYTES, BATCH_OPS_MAX, COUNTER_MAX, TREE_HASH_BYTES,
} from './bounds.ts'
import type { HlcTime } from './hlc.ts'
import type { Ids } from './ids.ts'
import { OP_MIN_BYTES, readOp, writeOp } from './op-codec.ts'
import { AuthorTable } from './refs.ts'
import { reject } from './reject.ts'
import type { AuthorId, Batch, Op } from './types.ts'
import { Reader, Writer } from './wire.ts'

/** Header and tag of the envelope (envelope.ts asserts that it agrees). */
export const ENVELOPE_OVERHEAD_BYTES = 50
export const BATCH_PLAIN_MAX_BYTES = BATCH_MAX_BYTES - ENVELOPE_OVERHEAD_BYTES
const NUMBER_MAX_BYTES = 9
const DEP_MAX_BYTES = 2 * NUMBER_MAX_BYTES + TREE_HASH_BYTES
/** A claim is any 48-bit number: a time above 2^47 is void, not malformed. */
const CLAIM_MAX_MS = 2 ** 48 - 1

/** Where an encoder stands: what rewind() takes. */
export interface EncoderMark {
  at: number
  ops: number
  authors: number
}

/**
 * Encodes one batch after another, op by op, so that whoever cuts batches knows when one is full.
 * Reusable: begin() starts anew. One per thread is enough.
 */
export class BatchEncoder {
  readonly #ops = new Writer(2 * BATCH_MAX_BYTES)
  readonly #whole = new Writer(BATCH_MAX_BYTES + DEP_MAX_BYTES)
  #authors: AuthorTable | undefined
  #time: HlcTime = { ms: 0, counter: 0 }
  #seq = 0
  #deps: Batch['deps'] = []
  #count = 0

  begin(
    author: AuthorId,
    seq: number,
    time: HlcTime,
    deps: Batch['deps'],
    table?: AuthorTable,
  ): void {
    assert(Number.isSafeInteger(seq) && seq >= 0, 'encoder: a batch has a sequence')
    this.#authors = table ?? new AuthorTable(author)
    for (const dep of deps) this.#authors.indexOf(dep.author)
    this.#seq = seq
    this.#time = { ms: time.ms, counter: time.counter }
    this.#deps = deps
    this.#count = 0
    this.#ops.rewind(0)
  }

  get count(): number {
    return this.#count
  }

  mark(): EncoderMark {
    return { at: this.#ops.at, ops: this.#count, authors: this.#table.others.length }
  }

  /** Forgets what was added since the mark. */
  rewind(mark: EncoderMark): void {
    this.#ops.rewind(mark.at)
    this.#count = mark.ops
    this.#table.truncate(mark.authors)
  }

  /** Refs in the op must be placed. Throws 'too-large' for what fits into no batch. */
  add(op: Op): void {
    const context = {
      authors: this.#table, seq: this.#seq, ms: this.#time.ms, index: this.#count,
    }
    writeOp(this.#ops, op, context)
    this.#count++
  }

  /** False when what was added is more than one batch may hold: rewind. */
  get fits(): boolean {
    const head = 5 * NUMBER_MAX_BYTES + this.#table.others.length * AUTHOR_BYTES
    const deps = this.#deps.length * DEP_MAX_BYTES
    const sizeBytes = head + deps + this.#ops.at
    return sizeBytes <= BATCH_PLAIN_MAX_BYTES && this.#count <= BATCH_OPS_MAX
  }

  /** The plaintext: a view, valid until the encoder is used again. Ask `fits` before. */
  finish(): Buffer {
    const out = this.#whole
    out.rewind(0)
    out.uint(this.#time.ms)
    out.uint(this.#time.counter)
    this.#table.write(out)
    out.uint(this.#deps.length)
    for (const dep of this.#deps) {
      out.uint(this.#table.indexOf(dep.author))
      out.uint(dep.length)
      assert(dep.treeHash.length === TREE_HASH_BYTES, 'a tree hash has 32 bytes')
      out.raw(dep.treeHash)
    }
    out.uint(this.#count)
    out.raw(this.#ops.buffer.subarray(0, this.#ops.at))
    return out.buffer.subarray(0, out.at)
  }

  get #table(): AuthorTable {
    assert(this.#authors !== undefined, 'encoder: begin() comes first')
    return this.#authors
  }
}

let spare: BatchEncoder | undefined

/** A new buffer. The batch must keep the bounds (asserted) and its refs be placed. */
export function encodeBatch(batch: Batch, author: AuthorId, seq: number): Buffer {
  spare ??= new BatchEncoder()
  spare.begin(author, seq, batch, batch.deps)
  for (const op of batch.ops) spare.add(op)
  assert(spare.fits, 'a batch beyond its bounds')
  return Buffer.from(spare.finish())
}

/**
 * The batch in `bytes`, which are only read. Throws LatticeError 'invalid' with a RejectRule; such
 * a batch counts as empty. Refs have `order` 0.
 */
export function decodeBatch(bytes: Uint8Array, author: AuthorId, seq: number, ids: Ids): Batch {
  if (bytes.length > BATCH_PLAIN_MAX_BYTES) reject('batch-size', { sizeBytes: bytes.length })
  const reader = new Reader(bytes)
  const ms = reader.uint(CLAIM_MAX_MS)
  const counter = reader.uint(COUNTER_MAX)
  const authors = AuthorTable.read(reader, author)
  const deps = readDeps(reader, authors)
  const count = reader.count(BATCH_OPS_MAX, OP_MIN_BYTES, 'ops-count')
  const context = { authors, seq, ms, index: 0, ids }
  const ops: Op[] = []
  for (let i = 0; i < count; i++) {
    context.index = i
    ops.push(readOp(reader, context))
  }
  reader.finish()
  const batch = { ms, counter, deps, ops }
  checkControl(ops)
  checkCanonical(bytes, batch, authors, seq)
  return batch
}

function readDeps(reader: Reader, authors: AuthorTable): Batch['deps'] {
  const count = reader.count(BATCH_DEPS_MAX, TREE_HASH_BYTES + 2, 'deps-count')
  const deps: Batch['deps'] = []
  for (let i = 0; i < count; i++) {
    const author = authors.at(reader.uint(BATCH_DEPS_MAX, 'author-index'))
    const length = reader.uint(Number.MAX_SAFE_INTEGER)
    if (length === 0) reject('dep-length')
    if (author === authors.own) reject('author-self')
    deps.push({ author, length, treeHash: reader.raw(TREE_HASH_BYTES) })
  }
  return deps
}

function checkControl(ops: readonly Op[]): void {
  let controls = 0
  for (const op of ops) if (op.kind === 'control') controls++
  if (controls !== 0 && controls !== ops.length) reject('control-mixed')
}

/**
 * An unknown op may name authors that only its own version sees: then the table is taken as it is,
 * else each entry must be used, in order of first use.
 */
function checkCanonical(bytes: Uint8Array, batch: Batch, authors: AuthorTable, seq: number): void {
  const table = batch.ops.some((op) => op.kind === 'unknown') ? authors : undefined
  spare ??= new BatchEncoder()
  spare.begin(authors.own, seq, batch, batch.deps, table)
  for (const op of batch.ops) spare.add(op)
  if (!bufferView(spare.finish()).equals(bytes)) reject('not-canonical')
}
