// What applying a batch does to the state, the same live, on replay and for every author: the fold,
// what is noted about the batch and its author, and what its control ops change about who counts.
//
// Control ops take effect in a step of their own, refold(): the members are worked out anew from
// all control ops, and every node is recomputed that an old batch touched which counts differently
// now. The step has its own record in the journal, so that a replay takes it at the same place;
// until it is taken, `isDirty`, and no checkpoint may be cut. Nothing local may wait unplaced then.

import { effectiveTime } from '../ops/hlc.ts'
import type { HlcTime } from '../ops/hlc.ts'
import type { AuthorId, Batch, NodeId, Op, OpRef } from '../ops/types.ts'
import type { Facts } from '../state/facts.ts'
import { nextAuthorState } from '../state/meta.ts'
import type { StateMeta } from '../state/meta.ts'
import type { ControlBatch } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import { assert, must } from '../util/assert.ts'
import type { StateIndex } from './checkpoint.ts'
import type { History } from './history.ts'
import type { JournalPosition, KeyPort, MembersView } from './ports.ts'

/** Of so many logs at most a control batch tells how far it has seen each. */
const DEPS_MAX = 1024

/** The fold (state/fold.ts), as far as applying needs it. */
export interface FoldPort {
  apply(
    ops: readonly Op[], refs: readonly OpRef[], facts: Facts, seen?: (ref: OpRef) => boolean,
  ): unknown
  recompute(nodes: Iterable<NodeId>, facts: Facts): void
  relabel(facts: Facts): void
}

/** Works the members out from all control batches, in any order. Pure. */
export type FoldMembers = (batches: readonly ControlBatch[]) => MembersView

export interface ApplierOptions {
  store: Store
  history: Pick<History, 'begin' | 'end' | 'nodesOf'>
  own: AuthorId
  keys: Pick<KeyPort, 'learn'>
  foldMembers: FoldMembers
  /** Told of the ops of each batch that is noted: for those that are not the tree's. */
  noted?: ((author: AuthorId, ops: readonly Op[]) => void) | undefined
}

export interface BatchPlace {
  author: AuthorId
  seq: number
}

/** A batch of the logs, opened. */
export interface RemoteBatch extends BatchPlace {
  /** Effective. */
  time: HlcTime
  treeHash: Uint8Array | undefined
  deps: Batch['deps']
  ops: Batch['ops']
}

export class Applier {
  readonly #store: Store
  readonly #history: Pick<History, 'begin' | 'end' | 'nodesOf'>
  readonly #own: AuthorId
  readonly #keys: Pick<KeyPort, 'learn'>
  readonly #foldMembers: FoldMembers
  readonly #noted: (author: AuthorId, ops: readonly Op[]) => void
  #fold: FoldPort | undefined
  #members: MembersView
  #isDirty = false
  /** Others' logs have grown since the last own batch. */
  #hasNews = true

  constructor(options: ApplierOptions) {
    this.#store = options.store
    this.#history = options.history
    this.#own = options.own
    this.#keys = options.keys
    this.#foldMembers = options.foldMembers
    this.#noted = options.noted ?? (() => undefined)
    this.#members = this.#foldMembers(this.#store.control(undefined, Infinity))
    this.#keys.learn?.(this.#members)
  }

  /** Set once: it asks this applier for standings. */
  setFold(fold: FoldPort): void {
    this.#fold = fold
  }

  get members(): MembersView {
    return this.#members
  }

  /** Control ops were applied that refold() has not seen. */
  get isDirty(): boolean {
    return this.#isDirty
  }

  /** Batches of the author that are applied. */
  length(author: AuthorId): number {
    return this.#store.meta.authors.get(author)?.length ?? 0
  }

  /**
   * What an own batch placed now depends on beyond the one before; `isControl`: all of it, for who
   * cannot open those before (control-ahead.ts). Ascending by author.
   */
  deps(isControl = false): Batch['deps'] {
    const { authors } = this.#store.meta
    const isWhole = isControl && authors.size <= DEPS_MAX
    if (!this.#hasNews && !isWhole) return []
    const seen = isWhole ? undefined : authors.get(this.#own)?.vv
    const deps: Batch['deps'] = []
    for (const [author, { length, treeHash }] of authors) {
      if (author === this.#own || length <= (seen?.get(author) ?? 0)) continue
      deps.push({ author, length, treeHash: must(treeHash, 'a log without a tree hash') })
    }
    return deps.sort((a, b) => (a.author < b.author ? -1 : 1))
  }

  /** Effective time: max(claim, one tick after the batch before and after each dep). */
  effectiveTime(place: BatchPlace, batch: Batch): HlcTime {
    const { author, seq } = place
    const before: HlcTime[] = []
    if (seq > 0) before.push(this.#timeOf(author, seq - 1))
    for (const dep of batch.deps) before.push(this.#timeOf(dep.author, dep.length - 1))
    return effectiveTime(batch, before)
  }

  /** Folds a batch of the logs as one operation; note() comes after it. */
  fold(batch: RemoteBatch, facts: Facts): void {
    const { author, seq, time, ops } = batch
    facts.opCount = ops.length
    if (ops.length === 0 || ops[0]?.kind === 'control') return
    const vv = this.#seenBy(batch)
    const refs = ops.map((_, index) => ({ ...time, author, seq, index, order: 0 }))
    const seen = (ref: OpRef): boolean => {
      if (ref.author === author && ref.seq === seq) return true // the codec: only what comes before
      return ref.seq >= 0 && ref.seq < (vv.get(ref.author) ?? 0)
    }
    this.#history.begin(author, seq, time, ops, facts)
    try {
      must(this.#fold, 'no fold').apply(ops, refs, facts, seen)
    } finally {
      this.#history.end()
    }
  }

  /** Notes an applied batch: one of the logs that was folded, or an own one that was placed. */
  note(batch: RemoteBatch, position: JournalPosition): void {
    const { author, seq, time, treeHash, ops } = batch
    const { meta } = this.#store
    const before = meta.authors.get(author)
    assert((before?.length ?? 0) === seq, 'batches are applied in order')
    const vv = this.#seenBy(batch)
    this.#store.putBatch(author, seq, { position, ...time })
    if (ops[0]?.kind === 'control') this.#noteControl(batch, new Map(vv))
    vv.set(author, seq + 1)
    meta.authors.set(author, nextAuthorState(before, { length: seq + 1, ...time, treeHash, vv }))
    this.#hasNews = author !== this.#own || treeHash !== undefined
    if (author === this.#own) for (const op of ops) keepMint(meta, op)
    this.#noted(author, ops)
  }

  /** An own batch that the state has, but whose notes came too late for the checkpoint. */
  noteAgain(batch: RemoteBatch, position: JournalPosition): void {
    this.#store.putBatch(batch.author, batch.seq, { position, ...batch.time })
    if (batch.ops[0]?.kind === 'control') this.#noteControl(batch, this.#seenBy(batch))
    this.#noted(batch.author, batch.ops)
  }

  /** Takes control ops into account. `facts`: recorded, or to be recorded in the journal. */
  refold(facts: Facts): void {
    const before = this.#members
    const members = this.#foldMembers(this.#store.control(undefined, Infinity))
    this.#members = members
    this.#isDirty = false
    this.#keys.learn?.(members)
    const fold = must(this.#fold, 'no fold')
    const nodes = this.#nodesThatFlip(before, members)
    if (nodes.size > 0) fold.recompute(nodes, facts)
    for (const author of this.#store.meta.authors.keys()) {
      if (before.label(author) === members.label(author)) continue
      fold.relabel(facts)
      break
    }
  }

  #noteControl(batch: RemoteBatch, vv: ReadonlyMap<AuthorId, number>): void {
    const { author, seq, time } = batch
    const ops: ControlBatch['ops'][number][] = []
    for (const [index, op] of batch.ops.entries()) {
      if (op.kind !== 'control') continue
      ops.push({ index, control: op.control, critical: op.critical, body: op.body })
    }
    this.#store.putControl({ author, seq, ...time, vv, ops })
    this.#isDirty = true
  }

  /** Author → number of batches that the batch had seen, its own author's before it included. */
  #seenBy({ author, seq, deps }: RemoteBatch): Map<AuthorId, number> {
    const vv = new Map(this.#store.meta.authors.get(author)?.vv)
    for (const dep of deps) vv.set(dep.author, Math.max(dep.length, vv.get(dep.author) ?? 0))
    vv.set(author, seq)
    return vv
  }

  #timeOf(author: AuthorId, seq: number): HlcTime {
    const state = this.#store.meta.authors.get(author)
    if (state?.length === seq + 1) return state
    return must(this.#store.batch(author, seq), 'a batch that was not applied')
  }

  #nodesThatFlip(before: MembersView, after: MembersView): Set<NodeId> {
    const nodes = new Set<NodeId>()
    for (const [author, { length }] of this.#store.meta.authors) {
      for (const [begin, end] of stretches(author, length, before, after)) {
        if (before.standing(author, begin) === after.standing(author, begin)) continue
        for (let seq = begin; seq < end; seq++) this.#history.nodesOf(author, seq, nodes)
      }
    }
    return nodes
  }
}

/** Whatever anybody does counts: for a vault whose only author is this device. */
export const EVERYONE: MembersView = Object.freeze({
  standing: () => 'valid',
  label: () => '',
  precedes: () => false,
  mayRequire: () => false,
  breaks: () => [],
})

/** For a vault whose only author is this device. */
export function loneApplier({ store }: Pick<StateIndex, 'store'>, own: AuthorId): Applier {
  const history = { begin: () => undefined, end: () => undefined, nodesOf: () => undefined }
  return new Applier({ store, history, own, keys: {}, foldMembers: () => EVERYONE })
}

/** Sequences within which neither members' standing of the author changes. */
function* stretches(
  author: AuthorId, length: number, before: MembersView, after: MembersView,
): Iterable<[number, number]> {
  const one = before.breaks?.(author)
  const two = after.breaks?.(author)
  if (one === undefined || two === undefined) {
    for (let seq = 0; seq < length; seq++) yield [seq, seq + 1]
    return
  }
  const ends = [...new Set([...one, ...two, length])].filter((at) => at > 0 && at <= length)
  let begin = 0
  for (const end of ends.sort((a, b) => a - b)) {
    yield [begin, end]
    begin = end
  }
}

/** Own ids are never minted twice. */
function keepMint(meta: StateMeta, op: Op): void {
  if (op.kind !== 'mk' && op.kind !== 'link') return
  if (op.mint >= meta.nextMint) meta.nextMint = op.mint + 1
}
