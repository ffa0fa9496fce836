// Folding the journal into the state: the tail behind the index's cursor at every open, or all of
// it when the index is missing, damaged or of another version. One routine, streaming: memory is
// bounded by a checkpoint every CHECKPOINT_CHANGES records. Local facts stand beside each batch, so
// that inos, cookies and times come out as they were.

import type { AuthorId, Batch, OpRef } from '../ops/types.ts'
import { decodeFacts } from '../state/facts.ts'
import { Fold } from '../state/fold.ts'
import { nextAuthorState } from '../state/meta.ts'
import { LatticeError } from '../util/errors.ts'
import type { Cut, StateIndex } from './checkpoint.ts'
import { CHECKPOINT_CHANGES } from './checkpoint.ts'
import type { JournalPosition } from './ports.ts'

/** One journal record, opened (journal records of other types are not yielded). */
export interface ReplayRecord {
  position: JournalPosition
  /** Undefined: local facts without ops. */
  batch: ReplayBatch | undefined
  /** encodeFacts() of the operations in it, in order. */
  facts: Uint8Array
}

export interface ReplayBatch {
  author: AuthorId
  seq: number
  /** Effective time. */
  ms: number
  counter: number
  ops: Batch['ops']
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

/**
 * Applies everything behind the index's cursor. `own`: this device's author. The index is written
 * on the way, but never beyond `durable`.
 */
export async function replay(
  index: StateIndex, source: ReplaySource, own: AuthorId, durable = source.end,
): Promise<ReplayResult> {
  const store = index.store
  const meta = store.meta
  const fold = new Fold(store)
  const result: ReplayResult = { batches: 0, ops: 0 }
  for (const record of source.scan(index.cursor)) {
    if (index.changes >= CHECKPOINT_CHANGES && record.position <= durable) {
      await settle(index, record.position, own, source.resumeHere())
    }
    const { batch } = record
    applyRecord(fold, record)
    if (batch === undefined) continue
    result.batches++
    result.ops += batch.ops.length
    const { author, ms, counter } = batch
    const change = { length: batch.seq + 1, ms, counter }
    meta.authors.set(author, nextAuthorState(meta.authors.get(author), change))
    if (batch.author === own) for (const op of batch.ops) keepMint(meta, op)
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

function applyRecord(fold: Fold, { batch, facts: bytes, position }: ReplayRecord): void {
  const ops = batch?.ops ?? []
  let at = 0
  for (const facts of decodeFacts(bytes)) {
    const end = at + facts.opCount
    const refs: OpRef[] = []
    for (let index = at; index < end && batch !== undefined; index++) {
      const { ms, counter, author, seq } = batch
      refs.push({ ms, counter, author, seq, index, order: 0 })
    }
    fold.apply(ops.slice(at, end), refs, facts)
    at = end
  }
  if (at !== ops.length) {
    throw new LatticeError('damaged-journal', 'local facts do not cover their batch', {
      details: { position },
    })
  }
}

/** Own ids are never minted twice. */
function keepMint(meta: StateIndex['store']['meta'], op: Batch['ops'][number]): void {
  if (op.kind !== 'mk' && op.kind !== 'link') return
  if (op.mint >= meta.nextMint) meta.nextMint = op.mint + 1
}
