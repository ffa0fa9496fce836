// What a blind device is for: it keeps every bundle that any content log names, without a key to
// any. Walks the logs in their order and asks for what is not here; what nobody has at present is
// asked for again later, and nothing behind it waits. Runs in the sync worker.

import { decodeDescriptor } from '../logs/descriptor.ts'
import type { LogStore } from '../logs/log-store.ts'
import type { Fetcher } from '../net/ports.ts'
import type { AuthorId, BundleId } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'

const DESCRIPTORS_AT_ONCE = 256
const FETCHES_MAX = 4
const FETCH_TIMEOUT_MS = 60_000
const AGAIN_MS = 30_000

interface Wanted {
  id: BundleId
  sealedBytes: number
}

export interface KeeperOptions {
  logs: Pick<LogStore, 'authors' | 'length' | 'readRange' | 'onGrowth' | 'own'>
  fetcher: Fetcher
  has: (ids: readonly BundleId[]) => Promise<boolean[]>
  onTrouble: (error: unknown) => void
}

export class Keeper {
  readonly #options: KeeperOptions
  /** Of each author's content log: descriptors before it were looked at. */
  readonly #looked = new Map<AuthorId, number>()
  /** Where the next walk begins, since something there could not be had. */
  readonly #missed = new Map<AuthorId, number>()
  #running: Promise<void> | undefined
  #again = false
  #isClosed = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeeperOptions) {
    this.#options = options
    options.logs.onGrowth((_, kind) => {
      if (kind === 'content') this.kick()
    })
    this.kick()
  }

  /** There may be more to keep, or somebody to get it from. */
  kick(): void {
    this.#again = true
    if (this.#isClosed || this.#running !== undefined) return
    this.#running = this.#run().catch(this.#options.onTrouble).finally(() => {
      this.#running = undefined
    })
  }

  /** Idempotent. Fetches under way end with their fetcher. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#isClosed) {
      this.#again = false
      for (const [author, from] of this.#missed) this.#looked.set(author, from)
      this.#missed.clear()
      for (const author of this.#options.logs.authors('content')) await this.#walk(author)
    }
    if (this.#missed.size === 0 || this.#isClosed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.kick(), AGAIN_MS)
    this.#timer.unref()
  }

  async #walk(author: AuthorId): Promise<void> {
    const { logs, has } = this.#options
    if (author === logs.own) return
    const limits = { maxBlocks: DESCRIPTORS_AT_ONCE, maxBytes: 1 << 20 }
    while (!this.#isClosed) {
      const from = this.#looked.get(author) ?? 0
      const { blocks } = await logs.readRange(author, 'content', from, limits)
      if (blocks.length === 0) return
      const named = blocks.flatMap((block): Wanted[] => {
        const found = decodeDescriptor(block)
        if (found === undefined) return []
        const id = Buffer.from(found.bundleId).toString('latin1') as BundleId
        return [{ id, sealedBytes: found.sealedBytes }]
      })
      const here = await has(named.map(({ id }) => id))
      const isAll = await this.#fetchAll(named.filter((_, i) => here[i] !== true))
      if (!isAll && !this.#missed.has(author)) this.#missed.set(author, from)
      this.#looked.set(author, from + blocks.length)
    }
  }

  /** False when some could not be had. */
  async #fetchAll(wanted: readonly Wanted[]): Promise<boolean> {
    const queue = [...wanted]
    let isAll = true
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        if (this.#isClosed) return
        isAll = await this.#fetch(next) && isAll
      }
    }
    await Promise.all(Array.from({ length: FETCHES_MAX }, lane))
    return isAll
  }

  async #fetch({ id, sealedBytes }: Wanted): Promise<boolean> {
    try {
      await this.#options.fetcher.fetch(id, sealedBytes, 'replica', { timeoutMs: FETCH_TIMEOUT_MS })
      return true
    } catch (error) {
      if (!isLatticeError(error)) throw error
      return error.code === 'corrupt' // never better
    }
  }
}
