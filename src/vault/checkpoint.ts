// Checkpoints: bring the index up to what is committed. A checkpoint is a cut through the order of
// operations. At the cut the overlay begins a new generation; everything before it is committed by
// the ordinary cycle; then the old generation goes into the index in one transaction, with the
// journal position behind the last operation before the cut. So the index always equals the fold of
// the journal up to its cursor, and is never ahead of it. When committing fails, both generations
// become one again, and a later checkpoint makes another cut.

import type { AuthorId } from '../ops/types.ts'
import type { Store } from '../state/store.ts'
import { LatticeError } from '../util/errors.ts'
import type { Clock, JournalPosition, Timer } from './ports.ts'

/** What one cut through the own operations says, once everything before it is durable. */
export interface Cut {
  /** Where reading the journal goes on. */
  position: JournalPosition
  /** Own batches before the cut, and the effective time of the last one. */
  batches: number
  ms: number
  counter: number
  /** What else whoever reads on wants to know; opaque to the index, stored beside the position. */
  resume: Uint8Array
}

/** The committer and what lies around it, as checkpoints need them. */
export interface CutSource {
  /**
   * Marks the place behind the operation pushed last: no batch spans it. Resolves when everything
   * before it is durable; rejects when that fails.
   */
  cut(): Promise<Cut>
}

/** The index (db/), as the engine needs it. */
export interface StateIndex {
  readonly store: Store
  /** Where reading the journal goes on: of the last checkpoint. */
  readonly cursor: JournalPosition
  /** Of the last checkpoint; undefined before the first. */
  readonly resume: Uint8Array | undefined
  /** Records changed since the last freeze. */
  readonly changes: number
  /** Begins a checkpoint: what has changed so far, counters included, will be written. */
  freeze(): void
  /** Takes the last freeze back; not once write() has begun. */
  thaw(): void
  /**
   * Writes what was frozen, all of it placed by now, and where the own log stood at the cut.
   * Durable when it resolves. Rejects with nothing written, and may then be called again.
   */
  write(position: JournalPosition, author: AuthorId, cut: Cut): Promise<void>
  /** Of the last checkpoint: equal for equal sets of ops. Hex. */
  stateHash(): string
  close(): Promise<void>
}

export interface CheckpointOptions {
  index: StateIndex
  commits: CutSource
  /** Content that the index will point to must be durable before the index says so. */
  content: { sync(): Promise<void> }
  author: AuthorId
  clock: Clock
  /** Asked before each cut. False: none can be made now. */
  mayCut?: (() => boolean) | undefined
  /** Told when a checkpoint fails; the next one is tried by itself. */
  onTrouble: (error: unknown) => void
}

export const CHECKPOINT_CHANGES = 2000
export const CHECKPOINT_AFTER_MS = 2000

export class Checkpointer {
  readonly #options: CheckpointOptions
  #running: Promise<void> | undefined
  #timer: Timer | undefined
  /** The cut of a generation that is frozen, but whose writing failed. */
  #unwritten: Cut | undefined
  #isClosed = false

  constructor(options: CheckpointOptions) {
    this.#options = options
  }

  /** To be called after changes; cheap. Starts a checkpoint when there is enough, or soon. */
  touch(): void {
    if (this.#isClosed || this.#running !== undefined) return
    if (this.#options.index.changes >= CHECKPOINT_CHANGES) this.#start()
    else if (this.#timer === undefined) this.#setTimer()
  }

  /** A checkpoint of everything up to now, or a later moment. Rejects when it fails. */
  async run(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined)
    this.#running = this.#once()
    try {
      await this.#running
    } finally {
      this.#running = undefined
    }
  }

  /** The last checkpoint; nothing is started any more. The index stays open. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timer?.cancel()
    await this.run()
  }

  #setTimer(): void {
    this.#timer = this.#options.clock.setTimer(CHECKPOINT_AFTER_MS, () => {
      this.#timer = undefined
      if (!this.#isClosed && this.#running === undefined) this.#start()
    })
  }

  #start(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.run().then(
      () => {
        if (this.#options.index.changes > 0) this.touch()
      },
      (error: unknown) => {
        this.#options.onTrouble(error)
        if (!this.#isClosed && this.#timer === undefined) this.#setTimer()
      },
    )
  }

  async #once(): Promise<void> {
    const { index, commits, content, author } = this.#options
    if (this.#unwritten === undefined) {
      if (this.#options.mayCut?.() === false) {
        throw new LatticeError('busy', 'a local operation is in the way of a checkpoint')
      }
      // nothing may come between these two
      index.freeze()
      const cut = commits.cut()
      try {
        this.#unwritten = await cut
      } catch (error) {
        index.thaw()
        throw error
      }
    }
    await content.sync()
    await index.write(this.#unwritten.position, author, this.#unwritten)
    this.#unwritten = undefined
  }
}
