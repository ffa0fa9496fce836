// Publishes the own content log: whatever bundles the journal has announced beyond the length of
// the log go into it as descriptors. Publishing, going on after a crash and making the log anew are
// this one routine, as for batches (vault/publisher.ts): descriptors are the same whenever they are
// made, so Hypercore's tree and signature come out the same.

import { equalBytes } from '../util/bytes.ts'

const BLOCKS_AT_ONCE = 1024

/** The own content log: a LogStore behind its adapter, or a LogClient. */
export interface ContentLog {
  contentLength(): number
  readContent(seq: number): Promise<Uint8Array | undefined>
  /** False when it is not `from` long, or may not be appended to. */
  appendContent(blocks: readonly Uint8Array[], from: number): Promise<boolean>
}

export interface ContentPublisherOptions {
  log: ContentLog
  /** Own descriptors from a position in the content log on, as `bundle` ops have numbered them;
   *  only what is durable in the journal. */
  descriptors: (from: number) => Iterable<Uint8Array>
  /** The log, `length` long, has another descriptor than the journal at its end. */
  onFork: (length: number) => void
}

export class ContentPublisher {
  readonly #options: ContentPublisherOptions
  #running: Promise<void> | undefined
  #again = false
  #isStopped = false

  constructor(options: ContentPublisherOptions) {
    this.#options = options
  }

  /** Appends what is missing, that which is announced meanwhile included. */
  publish(): Promise<void> {
    this.#again = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Waits for what is being appended. Idempotent. */
  async close(): Promise<void> {
    this.#isStopped = true
    await this.#running?.catch(() => undefined)
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#isStopped) {
      this.#again = false
      while (await this.#step());
    }
  }

  /** False when there is nothing more to do at present. */
  async #step(): Promise<boolean> {
    const { log, descriptors } = this.#options
    const length = log.contentLength()
    const begin = Math.max(length - 1, 0)
    const blocks: Uint8Array[] = []
    for (const block of descriptors(begin)) {
      blocks.push(block)
      if (blocks.length > BLOCKS_AT_ONCE) break
    }
    const last = length === 0 ? undefined : blocks.shift()
    if (this.#isStopped || blocks.length === 0) return false
    const held = last === undefined ? undefined : await log.readContent(length - 1)
    if (held !== undefined && last !== undefined && !equalBytes(held, last)) {
      this.#isStopped = true
      this.#options.onFork(length)
      return false
    }
    return await log.appendContent(blocks, length)
  }
}
