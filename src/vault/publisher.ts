// Publishes own batches: whatever the journal has, durable, beyond the length of the own log goes
// into it. Publishing, going on after a crash and making the whole log anew are this one routine:
// the journal has the blocks as they were sealed, so the log comes out the same, byte for byte.
//
// The own log is appended to only while it is the journal's: its last block is compared first (no
// two blocks are equal, since their nonces are random). A copy of this device that went on by
// itself shows there; then nothing is published any more.

import type { AuthorId } from '../ops/types.ts'
import type { Store } from '../state/store.ts'
import { equalBytes } from '../util/bytes.ts'
import { must } from '../util/assert.ts'
import { blockOf } from './journal-batch.ts'
import type { JournalPort, JournalPosition, LogPort } from './ports.ts'

const BLOCKS_AT_ONCE = 64
const BYTES_AT_ONCE = 1 << 20

export interface PublisherOptions {
  store: Store
  logs: LogPort
  journal: Pick<JournalPort, 'read'>
  own: AuthorId
  /** Own batches that may be published: at most those that are durable in the journal. */
  durableSeq: () => number
  /** The log, `length` long, has another block than the journal at its end. */
  onFork: (length: number) => void
}

export class Publisher {
  readonly #options: PublisherOptions
  #running: Promise<void> | undefined
  #again = false
  #isForked = false
  #isClosed = false

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Appends what is missing, that which becomes durable meanwhile included. */
  publish(): Promise<void> {
    this.#again = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Waits for what is being appended. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running?.catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { logs, own, durableSeq } = this.#options
    while (this.#again) {
      this.#again = false
      for (;;) {
        const length = logs.length(own)
        if (this.#isClosed || this.#isForked || length >= durableSeq()) break
        if (!await this.#isOurs(length)) return this.#fork(length)
        if (logs.length(own) !== length) continue
        await logs.append(this.#blocks(length, durableSeq()))
        if (logs.length(own) === length) break // peers hold more of it, which comes first
      }
    }
  }

  #fork(length: number): void {
    this.#isForked = true
    this.#options.onFork(length)
  }

  async #isOurs(length: number): Promise<boolean> {
    if (length === 0) return true
    const held = await this.#options.logs.read(this.#options.own, length - 1)
    return held === undefined || equalBytes(held, this.#block(length - 1))
  }

  #blocks(from: number, to: number): Uint8Array[] {
    const blocks: Uint8Array[] = []
    let sizeBytes = 0
    for (let seq = from; seq < to && blocks.length < BLOCKS_AT_ONCE; seq++) {
      const block = this.#block(seq)
      sizeBytes += block.length
      if (blocks.length > 0 && sizeBytes > BYTES_AT_ONCE) break
      blocks.push(block)
    }
    return blocks
  }

  #block(seq: number): Uint8Array {
    const { store, journal, own } = this.#options
    const info = must(store.batch(own, seq), 'an own batch that is nowhere')
    return blockOf(journal.read(info.position as JournalPosition))
  }
}
