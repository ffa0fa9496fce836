// Folding the journal into the state: the tail behind the index's cursor at every open, or all of
// it when the index is missing, damaged or of another version. One routine, streaming: memory is
// bounded by a checkpoint every CHECKPOINT_CHANGES records. Batches of all authors stand in the
// journal in the order in which they were applied, local facts beside each, so that inos, cookies
// and times come out as they were.

import type { AuthorId, Batch, OpRef } from '../ops/types.ts'
import { FACTS_MEMBERS, decodeFacts } from '../state/facts.ts'
import type { Facts } from '../state/facts.ts'
import { Fold } from '../state/fold.ts'
import { LatticeError } from '../util/errors.ts'
import { loneApplier } from './applier.ts'
import type { Applier, FoldPort, RemoteBatch } from './applier.ts'
import type { Cut, StateIndex } from './checkpoint.ts'
import { CHECKPOINT_CHANGES } from './checkpoint.ts'
import type { JournalPosition } from './ports.ts'

/** One journal record, opened (journal records of other types are not yielded). */
export interface ReplayRecord {
  position: JournalPosition
  /** Undefined: local facts without ops. */
  batch: ReplayBatch | undefined
  /** Of the operations in it, in order; or encodeFacts() of them. */
  facts: Uint8Array | readonly Facts[]
  /** The index has the operations, but not what is noted about the batch. */
  isFolded?: boolean
}

export interface ReplayBatch {
  author: AuthorId
  seq: number
  /** Effective time. */
  ms: number
  counter: number
  ops: Batch['ops']
  deps?: Batch['deps']
  /** Of batches that came by the logs, and were folded as one operation. */
  treeHash?: Uint8Array | undefined
}

export interface ReplaySource {
  /** Records from the position on, in order. */
  scan(from: JournalPosition): Iterable<ReplayRecord>
  /** For a checkpoint taken before the record yielded last: what Cut.resume says then. */
  resumeHere(): Uint8Array
  /** Behind the last record. */
  readonly end: JournalPosition
}

export interface ReplayResult {
  batches: number
  ops: number
}

export interface ReplayOptions {
  index: StateIndex
  source: ReplaySource
  applier: Applier
  fold: FoldPort
  /** This device. */
  own: AuthorId
  /** The index is written on the way, but never beyond this; the end when not given. */
  durable?: JournalPosition
}

/** As replayInto(), of a vault whose only author is this device. */
export async function replay(
  index: StateIndex, source: ReplaySource, own: AuthorId, durable = source.end,
): Promise<ReplayResult> {
  const fold = new Fold(index.store)
  return replayInto({ index, source, own, durable, fold, applier: loneApplier(index, own) })
}

/** Applies everything behind the index's cursor. */
export async function replayInto(options: ReplayOptions): Promise<ReplayResult> {
  const { index, source, applier, own, durable = source.end } = options
  const result: ReplayResult = { batches: 0, ops: 0 }
  for (const record of source.scan(index.cursor)) {
    const isDue = index.changes >= CHECKPOINT_CHANGES && record.position <= durable
    if (isDue && !applier.isDirty && record.isFolded !== true) {
      await settle(index, record.position, own, source.resumeHere())
    }
    applyRecord(options, record)
    if (record.batch === undefined || record.isFolded === true) continue
    result.batches++
    result.ops += record.batch.ops.length
  }
  return result
}

/** Writes what was replayed so far into the index: `position` and `resume` of the next record. */
export async function settle(
  index: StateIndex, position: JournalPosition, own: AuthorId, resume: Uint8Array,
): Promise<void> {
  const state = index.store.meta.authors.get(own)
  const cut: Cut = {
    position,
    batches: state?.length ?? 0,
    ms: state?.ms ?? 0,
    counter: state?.counter ?? 0,
    resume,
  }
  index.freeze()
  await index.write(position, own, cut)
}

function applyRecord({ applier, fold }: ReplayOptions, record: ReplayRecord): void {
  const { batch, position } = record
  const list = factsOf(record)
  if (batch === undefined) {
    for (const facts of list) applyFacts(applier, fold, facts)
    return
  }
  const { author, seq, ms, counter, ops, deps = [], treeHash } = batch
  const whole: RemoteBatch = { author, seq, time: { ms, counter }, treeHash, deps, ops }
  if (record.isFolded === true) return applier.noteAgain(whole, position)
  const count = list.reduce((sum, facts) => sum + facts.opCount, 0)
  if (count !== ops.length) {
    throw new LatticeError('damaged-journal', 'local facts do not cover their batch', {
      details: { position },
    })
  }
  if (treeHash === undefined) applyOwn(fold, whole, list)
  else for (const facts of list) applier.fold(whole, facts)
  applier.note(whole, position)
}

/** An own batch: its operations one by one, as they were done. */
function applyOwn(fold: FoldPort, batch: RemoteBatch, list: readonly Facts[]): void {
  const { author, seq, time, ops } = batch
  let at = 0
  for (const facts of list) {
    const end = at + facts.opCount
    const refs: OpRef[] = []
    for (let index = at; index < end; index++) {
      refs.push({ ...time, author, seq, index, order: 0 })
    }
    fold.apply(ops.slice(at, end), refs, facts)
    at = end
  }
}

function applyFacts(applier: Applier, fold: FoldPort, facts: Facts): void {
  if (facts.kind === FACTS_MEMBERS) applier.refold(facts)
  else fold.apply([], [], facts)
}

function factsOf({ batch, facts }: ReplayRecord): readonly Facts[] {
  return facts instanceof Uint8Array ? decodeFacts(facts, batch) : facts
}
