/**
 * How ops refer to other ops and to authors within one batch. Authors other than the batch's own
 * stand once in a table at its head, in order of first use; a ref is
 *
 *   author uint (0 = own, n = table entry n - 1)
 *   own: distance uint = batch's sequence - ref's (0 = same batch);   other: sequence uint
 *   index uint ‖ batch's ms - ref's ms, int ‖ counter uint
 *
 * Lists of refs ascend by (author, sequence, index) without repetition: a set has one form.
 */

import { assert } from '../util/assert.ts'
import { AUTHOR_BYTES, BATCH_AUTHORS_MAX, BATCH_OPS_MAX } from './bounds.ts'
import { COUNTER_MAX, REFS_PER_OP_MAX, TIME_MAX_MS } from './bounds.ts'
import { compareRefNames } from './order.ts'
import { reject } from './reject.ts'
import type { AuthorId, OpRef } from './types.ts'
import type { Reader, Writer } from './wire.ts'

const REF_MIN_BYTES = 5

/** The authors that a batch names, own one first. */
export class AuthorTable {
  readonly own: AuthorId
  readonly #others: AuthorId[] = []
  readonly #indexes = new Map<AuthorId, number>()

  constructor(own: AuthorId) {
    assert(own.length === AUTHOR_BYTES, 'an author has 32 bytes')
    this.own = own
  }

  get others(): readonly AuthorId[] {
    return this.#others
  }

  indexOf(author: AuthorId): number {
    if (author === this.own) return 0
    const known = this.#indexes.get(author)
    if (known !== undefined) return known
    this.#others.push(author)
    this.#indexes.set(author, this.#others.length)
    return this.#others.length
  }

  at(index: number): AuthorId {
    if (index === 0) return this.own
    return this.#others[index - 1] ?? reject('author-index', { index })
  }

  /** Back to the first `count` others. */
  truncate(count: number): void {
    while (this.#others.length > count) this.#indexes.delete(this.#others.pop() as AuthorId)
  }

  write(writer: Writer): void {
    writer.uint(this.#others.length)
    for (const author of this.#others) writer.id(author, AUTHOR_BYTES)
  }

  static read(reader: Reader, own: AuthorId): AuthorTable {
    const table = new AuthorTable(own)
    const count = reader.count(BATCH_AUTHORS_MAX, AUTHOR_BYTES, 'authors-count')
    for (let i = 0; i < count; i++) {
      const author = reader.id(AUTHOR_BYTES) as AuthorId
      if (author === own) reject('author-self')
      if (table.indexOf(author) !== i + 1) reject('not-canonical')
    }
    return table
  }
}

/** What refs in a batch are relative to. */
export interface RefContext {
  authors: AuthorTable
  seq: number
  ms: number
  /** Index of the op being written or read: refs into its own batch point before it. */
  index: number
}

export function writeRefs(writer: Writer, refs: readonly OpRef[], context: RefContext): void {
  assert(refs.length <= REFS_PER_OP_MAX, 'too many refs in one op')
  writer.uint(refs.length)
  for (const ref of ascending(refs)) writeRef(writer, ref, context)
}

export function readRefs(reader: Reader, context: RefContext): OpRef[] {
  const count = reader.count(REFS_PER_OP_MAX, REF_MIN_BYTES, 'ref-count')
  const refs: OpRef[] = []
  for (let i = 0; i < count; i++) {
    const ref = readRef(reader, context)
    const before = refs[i - 1]
    if (before !== undefined && compareRefNames(before, ref) >= 0) reject('ref-order')
    refs.push(ref)
  }
  return refs
}

/** One ref, without a count before it. */
export function writeRef(writer: Writer, ref: OpRef, context: RefContext): void {
  assert(ref.seq >= 0, 'a ref is placed before it is written')
  const author = context.authors.indexOf(ref.author)
  writer.uint(author)
  if (author === 0) {
    const isBefore = ref.seq < context.seq || (ref.seq === context.seq && ref.index < context.index)
    assert(isBefore, 'a ref points to what comes before')
    writer.uint(context.seq - ref.seq)
  } else {
    writer.uint(ref.seq)
  }
  writer.uint(ref.index)
  writer.int(context.ms - ref.ms)
  writer.uint(ref.counter)
}

export function readRef(reader: Reader, context: RefContext): OpRef {
  const authorIndex = reader.uint(BATCH_AUTHORS_MAX, 'author-index')
  const author = context.authors.at(authorIndex)
  const number = reader.uint(authorIndex === 0 ? context.seq : Number.MAX_SAFE_INTEGER, 'ref-seq')
  const seq = authorIndex === 0 ? context.seq - number : number
  const index = reader.uint(BATCH_OPS_MAX - 1, 'ref-index')
  if (authorIndex === 0 && seq === context.seq && index >= context.index) reject('ref-forward')
  const ms = context.ms - reader.int(2 * TIME_MAX_MS)
  if (ms < 0 || ms > 2 * TIME_MAX_MS) reject('number-range')
  const counter = reader.uint(COUNTER_MAX)
  return { ms, counter, author, seq, index, order: 0 }
}

function ascending(refs: readonly OpRef[]): readonly OpRef[] {
  if (refs.length < 2) return refs
  const sorted = refs.toSorted(compareRefNames)
  for (let i = 1; i < sorted.length; i++) {
    const isAscending = compareRefNames(sorted[i - 1] as OpRef, sorted[i] as OpRef) < 0
    assert(isAscending, 'the same op twice among the refs of an op')
  }
  return sorted
}
