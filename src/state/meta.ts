// Counters and the version vector of the state: what is neither a node nor an entry. Plain data
// with a codec; one per store, copied when a checkpoint begins.

import { LatticeError } from '../util/errors.ts'
import type { AuthorId } from '../ops/types.ts'
import { ROOT_INO } from './records.ts'
import type { RecordReader, RecordWriter } from './wire.ts'

const META_VERSION = 0

/** How far an author's ops log is applied. */
export interface AuthorState {
  /** Batches applied; the next one has this sequence. */
  length: number
  /** Effective time of the last one. */
  ms: number
  counter: number
}

export class StateMeta {
  /** The next inode number; never goes back. */
  nextIno = ROOT_INO + 1
  /** The next mint of this device's own ids. */
  nextMint = 1
  files = 0 // shown nodes that are not directories
  directories = 0 // shown, the root included
  contentBytes = 0 // of the shown files' winning heads
  /** Ops and operations that the fold found void, by reason: for status and tests. */
  voids = 0
  readonly authors = new Map<AuthorId, AuthorState>()

  copy(): StateMeta {
    const copy = new StateMeta()
    copy.nextIno = this.nextIno
    copy.nextMint = this.nextMint
    copy.files = this.files
    copy.directories = this.directories
    copy.contentBytes = this.contentBytes
    copy.voids = this.voids
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
  writer.varint(meta.contentBytes)
  writer.varint(meta.voids)
  writer.varint(meta.authors.size)
  for (const [author, state] of meta.authors) {
    writer.text(author)
    writer.varint(state.length)
    writer.varint(state.ms)
    writer.varint(state.counter)
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
  for (let left = reader.varint(); left > 0; left--) {
    const author = reader.text() as AuthorId
    meta.authors.set(author, {
      length: reader.varint(),
      ms: reader.varint(),
      counter: reader.varint(),
    })
  }
  return meta
}
