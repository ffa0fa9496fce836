// Joins the parts that meet in the journal: the committer's barriers as the cuts of checkpoints,
// and the journal's records as what a replay folds. A cut is told by where to read on, by which
// records behind that are known already (a commit may overlap the cut), and by how far packs are in
// the index.
//
//   resume   sequence varint ‖ batches through varint + 1 ‖ marks
//   marks    count varint, then each: file varint ‖ bytes varint

import { packNumberOf, packWriterOf } from '../chunks/chunk-index-port.ts'
import type { PackMark } from '../chunks/pack-store.ts'
import { RecordReader, RecordWriter } from '../state/wire.ts'
import type { Cut, CutSource } from './checkpoint.ts'
import type { Committer } from './committer.ts'
import { decodeJournalBatch } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import {
  JOURNAL_BATCH, JOURNAL_FACTS, JOURNAL_LOOSE, JOURNAL_REMOTE_BATCH, JOURNAL_START,
} from './ports.ts'
import type { JournalPort, JournalPosition, JournalRecord } from './ports.ts'
import type { ReplayRecord, ReplaySource } from './rebuild.ts'

/** Where reading goes on after the last checkpoint. */
export interface Resume {
  sequence: number
  /** Batches and facts in records up to this sequence are in the index; -1 = none. */
  batchesThrough: number
  marks: PackMark[]
}

const UNMARKED_PACKS = 2

export function encodeResume({ sequence, batchesThrough, marks }: Resume): Uint8Array {
  const writer = new RecordWriter()
  writer.varint(sequence)
  writer.varint(batchesThrough + 1)
  writer.varint(marks.length)
  for (const { file, bytes } of marks) {
    writer.varint(file)
    writer.varint(bytes)
  }
  return new Uint8Array(writer.view())
}

export function decodeResume(bytes: Uint8Array): Resume {
  const reader = new RecordReader(Buffer.from(bytes))
  const sequence = reader.varint()
  const batchesThrough = reader.varint() - 1
  const marks: PackMark[] = []
  for (let left = reader.varint(); left > 0; left--) {
    marks.push({ file: reader.varint(), bytes: reader.varint() })
  }
  reader.end()
  return { sequence, batchesThrough, marks }
}

/**
 * Marks that hold while sealing goes on: a bundle may be written before an earlier one of its
 * writer is in the index, so the last packs of each writer are left out and will be read again.
 */
export function settledMarks(marks: readonly PackMark[]): PackMark[] {
  const newest = new Map<number, number>()
  for (const { file } of marks) {
    const writer = packWriterOf(file)
    newest.set(writer, Math.max(newest.get(writer) ?? 0, packNumberOf(file)))
  }
  return marks.filter(({ file }) => {
    return packNumberOf(file) <= (newest.get(packWriterOf(file)) ?? 0) - UNMARKED_PACKS
  })
}

export class CommitCuts implements CutSource {
  readonly #committer: Committer
  readonly #journal: JournalPort
  readonly #marks: () => PackMark[]

  /** `marks`: packs that are in the index wholly up to there, at the time of the call. */
  constructor(committer: Committer, journal: JournalPort, marks: () => PackMark[]) {
    this.#committer = committer
    this.#journal = journal
    this.#marks = marks
  }

  async cut(): Promise<Cut> {
    const marks = this.#marks()
    const { scanFrom, batchesThrough, nextSeq, time } = await this.#committer.barrier()
    await this.#journal.flush() // loose chunks that the index will name
    const resume = encodeResume({ sequence: scanFrom.sequence, batchesThrough, marks })
    return { position: scanFrom.position, batches: nextSeq, ...time, resume }
  }
}

export interface JournalReplayOptions {
  journal: Pick<JournalPort, 'scan' | 'end'>
  keys: JournalKeys
  /** Told of the loose chunks that are met. */
  loose: ((record: JournalRecord) => void) | undefined
  /** Undefined: from the start. */
  resume: Resume | undefined
  /** Batches and facts in later records are left out. */
  through?: number
  /** Packs that are in the index by now. */
  marks: () => PackMark[]
}

/** Records of the journal, opened; loose chunks are handed over on the way. */
export class JournalReplay implements ReplaySource {
  readonly #options: JournalReplayOptions
  #sequence = 0

  constructor(options: JournalReplayOptions) {
    this.#options = options
  }

  get end(): JournalPosition {
    return this.#options.journal.end.position
  }

  *scan(from: JournalPosition): Iterable<ReplayRecord> {
    const { journal, keys, loose, resume, through = Infinity } = this.#options
    const known = resume?.batchesThrough ?? -1
    const sequence = resume?.sequence ?? 0
    const start = resume === undefined ? JOURNAL_START : { position: from, sequence }
    for (const record of journal.scan(start)) {
      const { type, position } = record
      if (type === JOURNAL_LOOSE) {
        loose?.(record)
        continue
      }
      const isBatch = type === JOURNAL_BATCH || type === JOURNAL_REMOTE_BATCH
      if ((!isBatch && type !== JOURNAL_FACTS) || record.sequence > through) continue
      const isFolded = record.sequence <= known
      if (isFolded && !isBatch) continue
      this.#sequence = record.sequence
      const { batch, author, seq, time, treeHash, facts } = decodeJournalBatch(record, keys)
      const whole = batch && { author, seq, ...time, ops: batch.ops, deps: batch.deps, treeHash }
      yield { position, batch: whole, facts, isFolded }
    }
  }

  resumeHere(): Uint8Array {
    const sequence = this.#sequence
    return encodeResume({ sequence, batchesThrough: sequence - 1, marks: this.#options.marks() })
  }
}
