// What a block of a log is, before it is applied: a batch that may be applied now, one that counts
// as empty for ever, or one that waits, and for what. Changes nothing.

import { epochIdOf } from '../ops/control-genesis.ts'
import { CONTROL_NUMBERS } from '../ops/control-types.ts'
import { envelopeEpoch } from '../ops/envelope.ts'
import type { AuthorId, Batch, Op } from '../ops/types.ts'
import type { Store } from '../state/store.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Applier, BatchPlace } from './applier.ts'
import type { ControlAhead } from './control-ahead.ts'
import { blockOf, isEmptyIn, openBlock, treeHashOf } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import type { JournalPort, JournalPosition, LogPort, MembersView } from './ports.ts'

/** Why an author's next batch is not applied. */
export interface Waiting extends BatchPlace {
  for:
    | 'dep' // a batch that is not applied yet: `on`, `length`
    | 'key' // of the epoch, or the op that made it
    | 'fork' // the log of `on` is not the one that was applied up to `length`
    | 'needs-newer' // a critical op that this lattice does not know: nothing more of its author
    | 'local' // a local operation that waits for content
    | 'disk' // the journal cannot be written
  on?: AuthorId
  length?: number
  /** Hex. */
  epoch?: string
}

export interface Judged {
  batch: Batch
  isEmpty: boolean
}

export interface IncomingOptions {
  store: Store
  logs: LogPort
  applier: Applier
  journal: Pick<JournalPort, 'read'>
  keys: JournalKeys
  ahead: Pick<ControlAhead, 'members'>
  /** Whether this lattice knows the control op of that number. */
  knowsControl: (control: number) => boolean
}

const EMPTY: Batch = Object.freeze({ ms: 0, counter: 0, deps: [], ops: [] })

export class Incoming {
  readonly #options: IncomingOptions
  /** Of each author's last block looked at: what sealed it. Undefined: it counts as empty. */
  readonly #epochs = new Map<AuthorId, { seq: number; epoch: Uint8Array | undefined }>()

  constructor(options: IncomingOptions) {
    this.#options = options
  }

  /** The block is the next one of its author. */
  async judge(place: BatchPlace, block: Uint8Array): Promise<Judged | Waiting> {
    let opened
    try {
      opened = openBlock(block, place, this.#options.keys)
    } catch (error) {
      if (!isLatticeError(error, 'invalid')) throw error
      return { batch: EMPTY, isEmpty: true }
    }
    if ('missing' in opened) {
      return { ...place, for: 'key', epoch: toHex(opened.missing.epochId) }
    }
    for (const { author, length, treeHash } of opened.deps) {
      const reason = await this.#checkDep(author, length, treeHash)
      if (reason !== undefined) return { ...place, for: reason, on: author, length }
    }
    const epochId = envelopeEpoch(block)
    if (!this.#isEpochKnown(epochId, opened.ops)) {
      return { ...place, for: 'key', epoch: toHex(epochId) }
    }
    if (this.#isStale(place, block, opened)) return { batch: EMPTY, isEmpty: true }
    if (this.#isBeyondUs(place, opened.ops)) return { ...place, for: 'needs-newer' }
    return { batch: opened, isEmpty: false }
  }

  /** Whether the log is still the one whose first `length` batches were applied. */
  async isSameLog(author: AuthorId, length: number): Promise<boolean> {
    if (length === 0) return true
    if (author === this.#options.keys.author) return this.#isSameOwnBlock(length - 1)
    const held = await this.#options.logs.treeHash(author, length)
    const applied = await this.#appliedTreeHash(author, length)
    return held === undefined || applied === undefined || equalBytes(held, applied)
  }

  /** Under what the last batch of each author is sealed. */
  epochs(): Uint8Array[] {
    const epochs: Uint8Array[] = []
    for (const [author, { length }] of this.#options.store.meta.authors) {
      const epoch = this.#epochOf(author, length - 1)
      if (epoch !== undefined) epochs.push(epoch)
    }
    return epochs
  }

  /** The own log has no tree hash here: nonces are random, so one block tells all before it. */
  async #isSameOwnBlock(seq: number): Promise<boolean> {
    const info = this.#options.store.batch(this.#options.keys.author, seq)
    const held = await this.#options.logs.read(this.#options.keys.author, seq)
    if (info === undefined || held === undefined) return true
    const record = this.#options.journal.read(info.position as JournalPosition)
    return equalBytes(blockOf(record), held)
  }

  async #checkDep(
    author: AuthorId, length: number, treeHash: Uint8Array,
  ): Promise<'dep' | 'fork' | undefined> {
    if (this.#options.applier.length(author) < length) return 'dep'
    const applied = await this.#appliedTreeHash(author, length)
    if (applied === undefined) return 'dep'
    return equalBytes(applied, treeHash) ? undefined : 'fork'
  }

  /** Of what was applied; of the own log, of what is published. */
  async #appliedTreeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    const { store, journal, logs } = this.#options
    const state = store.meta.authors.get(author)
    if (state?.length === length && state.treeHash !== undefined) return state.treeHash
    const info = store.batch(author, length - 1)
    if (info === undefined) return undefined
    const treeHash = treeHashOf(journal.read(info.position as JournalPosition))
    return treeHash ?? logs.treeHash(author, length)
  }

  /**
   * Whether the op that made its epoch is applied: the keys may be here before it, out of control
   * batches that wait, and which epochs come before this one is known by the op alone. Whoever
   * keeps the rules has seen the op of what he seals under.
   */
  #isEpochKnown(epochId: Uint8Array, ops: readonly Op[]): boolean {
    if (this.#members.knowsEpoch?.(epochId) !== false) return true
    const [first] = ops
    return first?.kind === 'control' && first.control === CONTROL_NUMBERS.genesis
      && equalBytes(epochIdOf(first.body), epochId)
  }

  /** Data sealed under an epoch that comes before one under which something is sealed that it saw.
   *  Control ops may be for some who have the keys of older ones alone. */
  #isStale(place: BatchPlace, block: Uint8Array, batch: Batch): boolean {
    const epoch = envelopeEpoch(block)
    const isControl = batch.ops[0]?.kind === 'control'
    const isStale = !isControl && this.#seenEpochs(place, batch).some((other) => (
      !equalBytes(other, epoch) && this.#members.precedes(epoch, other)
    ))
    this.#epochs.set(place.author, { seq: place.seq, epoch: isStale ? undefined : epoch })
    return isStale
  }

  #seenEpochs(place: BatchPlace, batch: Batch): Uint8Array[] {
    const seen = batch.deps.map(({ author, length }) => ({ author, seq: length - 1 }))
    if (place.seq > 0) seen.push({ author: place.author, seq: place.seq - 1 })
    const epochs: Uint8Array[] = []
    for (const { author, seq } of seen) {
      const epoch = this.#epochOf(author, seq)
      if (epoch !== undefined) epochs.push(epoch)
    }
    return epochs
  }

  /** What is empty may claim any epoch: it is none that anybody has seen. */
  #epochOf(author: AuthorId, seq: number): Uint8Array | undefined {
    const held = this.#epochs.get(author)
    if (held?.seq === seq) return held.epoch
    const info = this.#options.store.batch(author, seq)
    if (info === undefined) return undefined
    const record = this.#options.journal.read(info.position as JournalPosition)
    try {
      return isEmptyIn(record) ? undefined : envelopeEpoch(blockOf(record))
    } catch (error) {
      if (isLatticeError(error, 'invalid')) return undefined
      throw error
    }
  }

  /** A senior may have removed its author since, or declared it void: it counts for nothing. */
  #isBeyondUs({ author, seq }: BatchPlace, ops: readonly Op[]): boolean {
    return ops.some((op) => this.#isUnknown(op)) && this.#members.mayRequire(author, seq)
      && this.#options.ahead.members.mayRequire(author, seq)
  }

  #isUnknown(op: Op): boolean {
    if (op.kind === 'unknown') return op.critical
    return op.kind === 'control' && op.critical && !this.#options.knowsControl(op.control)
  }

  get #members(): MembersView {
    return this.#options.applier.members
  }
}
