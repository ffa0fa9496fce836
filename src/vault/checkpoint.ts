// Checkpoints: bring the index up to what is committed. A checkpoint is a cut through the order of
// operations. At the cut the overlay begins a new generation; everything before it is committed by the
// ordinary cycle; then the old generation goes into the index in one transaction, with the journal
// position behind the last operation before the cut. So the index always equals the fold of the
// journal up to its cursor, and is never ahead of it.

import type { AuthorId } from '../ops/types.ts'
import type { Store } from '../state/store.ts'
import type { Clock, JournalPosition, Timer } from './ports.ts'

/** What one cut through the own operations says, once it is durable. */
export interface Cut {
  /** Behind the last journal record with operations before the cut. */
  position: JournalPosition
  /** Own batches before the cut, and the effective time of the last one. */
  batches: number
  ms: number
  counter: number
}

/** The committer, as checkpoints need it. */
export interface CutSource {
  /**
   * Marks the place behind the operation pushed last: no journal record spans it. Resolves when
   * everything before it is durable, failed commits being tried again; rejects only when the
   * committer is closed before that.
   */
  cut(): Promise<Cut>
}

/** The index (db/), as the engine needs it. */
export interface StateIndex {
  readonly store: Store
  /** Where to go on reading the journal: what lies before is in the index. */
  readonly cursor: JournalPosition
  /** Records changed since the last freeze. */
  readonly changes: number
  /** Begins a checkpoint: what has changed so far, counters included, will be written. */
  freeze(): void
  /** Writes what was frozen, with the cursor and the author's place; rejects with nothing written, and
   *  may then be called again. */
  write(position: JournalPosition, author: AuthorId, cut: Cut): Promise<void>
  /** Of the last checkpoint: equal for equal sets of ops. Hex. */
  stateHash(): string
  close(): Promise<void>
}

/** Content that the index will point to must be durable before the index says so. */
export interface DurableContent {
  sync(): Promise<void>
}

export interface CheckpointOptions {
  index: StateIndex
  commits: CutSource
  content: DurableContent
  author: AuthorId
  clock: Clock
  /** Told when a checkpoint fails; the next one is tried by itself. */
  onTrouble: (error: unknown) => void
}

export const CHECKPOINT_CHANGES = 4000
export const CHECKPOINT_AFTER_MS = 2000

export class Checkpointer {
  readonly #options: CheckpointOptions
  #running: Promise<void> | undefined
  #timer: Timer | undefined
  /** A cut whose generation is frozen but not written yet: a failed checkpoint goes on here. */
  #begun: Promise<Cut> | undefined
  #closed = false

  constructor(options: CheckpointOptions) {
    this.#options = options
  }

  /** To be called after changes; cheap. Starts a checkpoint when there is enough, or soon. */
  touch(): void {
    if (this.#closed || this.#running !== undefined) return
    if (this.#options.index.changes >= CHECKPOINT_CHANGES) {
      this.#start()
      return
    }
    this.#timer ??= this.#options.clock.setTimer(CHECKPOINT_AFTER_MS, () => {
      this.#timer = undefined
      if (!this.#closed && this.#running === undefined) this.#start()
    })
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

  /** The last checkpoint; nothing is started any more. The index stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    await this.run()
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
        this.touch()
      },
    )
  }

  async #once(): Promise<void> {
    const { index, commits, content, author } = this.#options
    if (this.#begun === undefined) {
      // nothing may come between these two
      index.freeze()
      this.#begun = commits.cut()
    }
    const cut = await this.#begun
    await content.sync()
    await index.write(cut.position, author, cut)
    this.#begun = undefined
  }
}
