// Counters and the version vector of the state: what is neither a node nor an entry. Plain data
// with a codec; one per store, copied when a checkpoint begins.

import { LatticeError } from '../util/errors.ts'
import type { AuthorId } from '../ops/types.ts'
import { EMPTY_BYTES } from '../util/bytes.ts'
import { ROOT_INO } from './records.ts'
import type { RecordReader, RecordWriter } from './wire.ts'

const META_VERSION = 2

/** How far an author's ops log is applied. */
export interface AuthorState {
  /** Batches applied; the next one has this sequence. */
  length: number
  /** Effective time of the last one. */
  ms: number
  counter: number
  /** Of the log at that length, where it is known. 32 bytes, never changed. */
  treeHash: Uint8Array | undefined
  /** What the last batch had seen, itself included: author → number of batches. Never changed. */
  vv: ReadonlyMap<AuthorId, number>
}

const NOTHING_SEEN: ReadonlyMap<AuthorId, number> = new Map()

/** `before`: what was noted about this author; what `change` does not say stays. */
export function nextAuthorState(
  before: AuthorState | undefined,
  change: Pick<AuthorState, 'length' | 'ms' | 'counter'> & Partial<AuthorState>,
): AuthorState {
  return { treeHash: before?.treeHash, vv: before?.vv ?? NOTHING_SEEN, ...change }
}

/**
 * For a checkpoint: brings what `frozen` says about the own log up to the cut, and `live`, unless
 * that is further. Between freeze and cut nothing of others is applied, so an own batch placed
 * there has seen all that `frozen` knows.
 */
export function noteOwnBatches(
  frozen: StateMeta, live: StateMeta, own: AuthorId,
  cut: { batches: number; ms: number; counter: number },
): void {
  const length = cut.batches
  const before = frozen.authors.get(own)
  if (length === 0 || (before?.length ?? 0) >= length) return
  const vv = new Map([...frozen.authors].map(([author, state]) => [author, state.length]))
  vv.set(own, length)
  const state = { length, ms: cut.ms, counter: cut.counter, treeHash: undefined, vv }
  frozen.authors.set(own, state)
  if ((live.authors.get(own)?.length ?? 0) < length) live.authors.set(own, state)
}

export class StateMeta {
  /** The next inode number; never goes back. */
  nextIno = ROOT_INO + 1
  /** The next mint of this device's own ids. */
  nextMint = 1
  files = 0 // shown nodes that are not directories
  directories = 0 // shown, the root included
  contentBytes = 0 // of the shown files' winning heads; for people
  /** Ops and operations that the fold found void, by reason: for status and tests. */
  voids = 0
  /** Groups that somebody should decide. */
  conflicts = 0
  /** Own bundles that were announced: the next one has this number. */
  bundles = 0
  /** Of each writer of packs, its last announced bundle: the pack, and where the bundle ends. */
  readonly announced = new Map<number, { file: number; bytes: number }>()
  /** Loose chunks before this record of the journal lie in bundles, too. */
  looseFrom: { position: number; sequence: number } | undefined
  readonly authors = new Map<AuthorId, AuthorState>()

  copy(): StateMeta {
    const copy = new StateMeta()
    copy.nextIno = this.nextIno
    copy.nextMint = this.nextMint
    copy.files = this.files
    copy.directories = this.directories
    copy.contentBytes = this.contentBytes
    copy.voids = this.voids
    copy.conflicts = this.conflicts
    copy.bundles = this.bundles
    copy.looseFrom = this.looseFrom
    for (const [writer, mark] of this.announced) copy.announced.set(writer, mark)
    for (const [author, state] of this.authors) copy.authors.set(author, { ...state })
    return copy
  }
}

export function encodeMeta(writer: RecordWriter, meta: StateMeta): void {
  writer.u8(META_VERSION)
  writer.varint(meta.nextIno)
  writer.varint(meta.nextMint)
  writer.varint(meta.files)
  writer.varint(meta.directories)
  // sizes are as authors say: their sum may be beyond what numbers hold
  writer.varint(Math.min(Math.max(meta.contentBytes, 0), Number.MAX_SAFE_INTEGER))
  writer.varint(meta.voids)
  writer.varint(meta.conflicts)
  writer.varint(meta.bundles)
  writer.varint(meta.announced.size)
  for (const [number, { file, bytes }] of meta.announced) {
    writer.varint(number)
    writer.varint(file)
    writer.varint(bytes)
  }
  writer.varint(meta.looseFrom?.position ?? 0)
  writer.varint(meta.looseFrom?.sequence ?? 0)
  const authors = authorsOf(meta)
  const numbers = new Map([...authors].map((author, number) => [author, number]))
  writer.varint(authors.size)
  for (const author of authors) writer.text(author)
  writer.varint(meta.authors.size)
  for (const [author, state] of meta.authors) {
    writer.varint(numbers.get(author) ?? 0)
    encodeAuthor(writer, state, numbers)
  }
}

/** Every author that the counters name. */
function authorsOf(meta: StateMeta): Set<AuthorId> {
  const authors = new Set(meta.authors.keys())
  for (const { vv } of meta.authors.values()) for (const author of vv.keys()) authors.add(author)
  return authors
}

function encodeAuthor(
  writer: RecordWriter, state: AuthorState, numbers: ReadonlyMap<AuthorId, number>,
): void {
  writer.varint(state.length)
  writer.varint(state.ms)
  writer.varint(state.counter)
  writer.bytes(state.treeHash ?? EMPTY_BYTES)
  writer.varint(state.vv.size)
  for (const [seen, length] of state.vv) {
    writer.varint(numbers.get(seen) ?? 0)
    writer.varint(length)
  }
}

export function decodeMeta(reader: RecordReader): StateMeta {
  if (reader.u8() !== META_VERSION) {
    throw new LatticeError('damaged-index', 'the state counters have an unknown version')
  }
  const meta = new StateMeta()
  meta.nextIno = reader.varint()
  meta.nextMint = reader.varint()
  meta.files = reader.varint()
  meta.directories = reader.varint()
  meta.contentBytes = reader.varint()
  meta.voids = reader.varint()
  meta.conflicts = reader.varint()
  meta.bundles = reader.varint()
  for (let left = reader.varint(); left > 0; left--) {
    meta.announced.set(reader.varint(), { file: reader.varint(), bytes: reader.varint() })
  }
  const looseFrom = { position: reader.varint(), sequence: reader.varint() }
  if (looseFrom.position > 0) meta.looseFrom = looseFrom
  const authors: AuthorId[] = []
  for (let left = reader.varint(); left > 0; left--) authors.push(reader.text() as AuthorId)
  for (let left = reader.varint(); left > 0; left--) {
    const author = authorAt(authors, reader.varint())
    meta.authors.set(author, decodeAuthor(reader, authors))
  }
  return meta
}

function decodeAuthor(reader: RecordReader, authors: readonly AuthorId[]): AuthorState {
  const length = reader.varint()
  const ms = reader.varint()
  const counter = reader.varint()
  const hash = reader.bytes()
  const vv = new Map<AuthorId, number>()
  for (let left = reader.varint(); left > 0; left--) {
    const author = authorAt(authors, reader.varint())
    vv.set(author, reader.varint())
  }
  return { length, ms, counter, treeHash: hash.length === 0 ? undefined : hash, vv }
}

function authorAt(authors: readonly AuthorId[], number: number): AuthorId {
  const author = authors[number]
  if (author === undefined) {
    throw new LatticeError('damaged-index', 'the state counters name no such author')
  }
  return author
}
