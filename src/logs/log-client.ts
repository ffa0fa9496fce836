// The main thread's side of logs in two threads: the engine's LogPort, without a round trip for
// what it asks most. Lengths are mirrored. Reading an author's block fetches a range of them, the
// next range is fetched while this one is used, and tree hashes come with the blocks; so applying a
// long log costs a message in a thousand blocks. Of each author one range is kept and one is on its
// way, of a few authors at a time.
//
// Owner: the daemon. close() does not close the store behind it.

import type { AuthorId } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import { Lru } from '../util/lru.ts'
import type { LogKind, LogPort, SignedHead } from '../vault/ports.ts'
import type { ContentLog } from './content-publisher.ts'
import { fromPlain, plainError, unpackRange } from './log-messages.ts'
import type {
  ForkNotice, Grown, LogChannel, LogReplies, LogRequest, ToClient, ToServer,
} from './log-messages.ts'
import type { Restored } from './restore.ts'
import { nameKey } from './types.ts'
import type { GrowthListener, LogName, LogRange, LogSource } from './types.ts'

const RANGE_BLOCKS = 1024
const RANGE_BYTES = 1 << 20
/** All ranges that are kept; one of a batch of the greatest size fits many times. */
const CACHE_BYTES = 16 << 20
const FIRST_OVERHEAD_BYTES = 4096

export interface LogClientOptions {
  channel: LogChannel
  own: AuthorId
  /** The journal, asked by the other side. */
  source: LogSource
  onTrouble: (error: unknown) => void
}

interface Window {
  range: LogRange
  /** The range behind it, once somebody has come that far. */
  next: Promise<LogRange> | undefined
}

export class LogClient implements LogPort, ContentLog {
  readonly own: AuthorId
  /** The store was made anew: foreign logs are to be restored. */
  isNew = false
  readonly #options: LogClientOptions
  readonly #lengths = new Map<string, Grown>()
  readonly #windows = new Lru<string, Window>({ maxBytes: CACHE_BYTES })
  readonly #pending = new Map<number, {
    resolve: (value: LogReplies[keyof LogReplies]) => void
    reject: (error: unknown) => void
  }>()
  readonly #growthListeners: GrowthListener[] = []
  readonly #forks: ForkNotice[] = []
  readonly #forkListeners: ((fork: ForkNotice) => void)[] = []
  #nextId = 0
  #isClosed = false
  #ready: (() => void) | undefined

  private constructor(options: LogClientOptions) {
    this.own = options.own
    this.#options = options
    options.channel.on('message', (message) => this.#receive(message as ToClient))
    options.channel.on('close', () => this.close())
  }

  /** Resolves when the lengths are known. The server may start before or after. */
  static async open(options: LogClientOptions): Promise<LogClient> {
    const client = new LogClient(options)
    await new Promise<void>((resolve) => {
      client.#ready = resolve
    })
    return client
  }

  // ---- LogPort: the ops logs ----

  authors(): AuthorId[] {
    const authors: AuthorId[] = []
    for (const { author, kind, length } of this.#lengths.values()) {
      if (kind === 'ops' && length > 0) authors.push(author)
    }
    return authors.sort()
  }

  length(author: AuthorId): number {
    return this.#length({ author, kind: 'ops' })
  }

  read(author: AuthorId, seq: number): Promise<Uint8Array | undefined> {
    return this.#read({ author, kind: 'ops' }, seq)
  }

  async treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    const name: LogName = { author, kind: 'ops' }
    const range = this.#windows.peek(nameKey(name))?.range
    if (range !== undefined && length === range.from) return range.before
    const held = range?.treeHashes[length - range.from - 1]
    if (held !== undefined) return held
    if (length > this.#length(name)) return undefined
    return await this.#ask({ call: 'treeHash', name, length })
  }

  async append(blocks: readonly Uint8Array[]): Promise<void> {
    const from = this.length(this.own)
    await this.#ask({ call: 'append', kind: 'ops', from, blocks })
  }

  /** Of ops logs; for both kinds: onAnyGrowth. */
  onGrowth(grown: (author: AuthorId) => void): void {
    this.onAnyGrowth((author, kind) => {
      if (kind === 'ops') grown(author)
    })
  }

  // ---- content logs, heads, what was lost ----

  onAnyGrowth(grown: GrowthListener): void {
    this.#growthListeners.push(grown)
  }

  contentLength(author: AuthorId = this.own): number {
    return this.#length({ author, kind: 'content' })
  }

  readContent(seq: number, author: AuthorId = this.own): Promise<Uint8Array | undefined> {
    return this.#read({ author, kind: 'content' }, seq)
  }

  /** False when the log is not `from` long. */
  async appendContent(blocks: readonly Uint8Array[], from: number): Promise<boolean> {
    return await this.#ask({ call: 'append', kind: 'content', from, blocks })
  }

  /** What the author is known to have signed: more than is here while it comes. */
  signedLength(author: AuthorId, kind: LogKind): number {
    return this.#lengths.get(nameKey({ author, kind }))?.signedLength ?? 0
  }

  /** For the journal. */
  async head(author: AuthorId, kind: LogKind): Promise<SignedHead | undefined> {
    return await this.#ask({ call: 'head', name: { author, kind } })
  }

  /** Makes a log anew of which the journal has this head and, through the source, the blocks. */
  async restore(author: AuthorId, kind: LogKind, head: SignedHead): Promise<Restored> {
    return await this.#ask({ call: 'restore', name: { author, kind }, head })
  }

  /** The other branch of a forked log is the right one: what is here is forgotten. */
  async reset(author: AuthorId, kind: LogKind): Promise<void> {
    const name = { author, kind }
    await this.#ask({ call: 'reset', name })
    this.#windows.delete(nameKey(name))
  }

  /** The branch of a forked log that is here is the right one. */
  async keep(author: AuthorId, kind: LogKind): Promise<void> {
    await this.#ask({ call: 'keep', name: { author, kind } })
  }

  /** Those found so far are told at once. */
  onFork(forked: (fork: ForkNotice) => void): void {
    this.#forks.forEach(forked)
    this.#forkListeners.push(forked)
  }

  /** What is asked for is rejected. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#options.channel.close()
    for (const { reject } of this.#pending.values()) reject(closed())
    this.#pending.clear()
    this.#windows.clear()
  }

  #length(name: LogName): number {
    return this.#lengths.get(nameKey(name))?.length ?? 0
  }

  async #read(name: LogName, seq: number): Promise<Uint8Array | undefined> {
    if (seq >= this.#length(name)) return undefined
    const key = nameKey(name)
    let window = this.#windows.get(key)
    const end = window === undefined ? 0 : window.range.from + window.range.blocks.length
    if (window === undefined || seq < window.range.from || seq >= end) {
      const range = window?.next !== undefined && seq === end
        ? await window.next
        : await this.#range(name, seq)
      window = { range, next: undefined }
      this.#windows.set(key, window, range.blocks.reduce((sum, block) => (
        sum + block.length
      ), FIRST_OVERHEAD_BYTES))
    }
    this.#readAhead(name, window, seq)
    return window.range.blocks[seq - window.range.from]
  }

  /** From the middle of a range on, the next one is on its way. */
  #readAhead(name: LogName, window: Window, seq: number): void {
    const { from, blocks } = window.range
    const end = from + blocks.length
    if (window.next !== undefined || seq - from < blocks.length / 2) return
    if (end >= this.#length(name)) return
    window.next = this.#range(name, end)
    window.next.catch(() => undefined) // told to whoever reads there
  }

  async #range(name: LogName, from: number): Promise<LogRange> {
    const limits = { maxBlocks: RANGE_BLOCKS, maxBytes: RANGE_BYTES }
    return unpackRange(await this.#ask({ call: 'range', name, from, ...limits }))
  }

  #ask<Call extends LogRequest['call']>(
    request: Extract<LogRequest, { call: Call }>,
  ): Promise<LogReplies[Call]> {
    if (this.#isClosed) return Promise.reject(closed())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, {
        resolve: resolve as (value: LogReplies[keyof LogReplies]) => void, reject,
      })
      this.#post({ is: 'request', id, request })
    })
  }

  #receive(message: ToClient): void {
    if (this.#isClosed) return
    switch (message.is) {
      case 'ready':
        this.isNew = message.isNew
        this.#note(message.logs)
        this.#ready?.()
        return
      case 'grown': return this.#note(message.logs)
      case 'trouble': return this.#options.onTrouble(fromPlain(message.error))
      case 'forked':
        this.#forks.push(message.fork)
        for (const listener of this.#forkListeners) listener(message.fork)
        return
      case 'reply':
      case 'failed': {
        const pending = this.#pending.get(message.id)
        this.#pending.delete(message.id)
        if (message.is === 'reply') pending?.resolve(message.value)
        else pending?.reject(fromPlain(message.error))
        return
      }
      case 'ask': return this.#give(message)
    }
  }

  #note(logs: readonly Grown[]): void {
    for (const log of logs) {
      const key = nameKey(log)
      if (log.length < this.#length(log)) this.#windows.delete(key) // lost, or another branch
      this.#lengths.set(key, log)
    }
    for (const { author, kind, length } of logs) {
      for (const listener of this.#growthListeners) listener(author, kind, length)
    }
  }

  #give({ id, name, from, maxBytes }: Extract<ToClient, { is: 'ask' }>): void {
    this.#options.source.blocks(name, from, maxBytes).then(
      (blocks) => this.#post({ is: 'blocks', id, blocks }),
      (error) => this.#post({ is: 'no-blocks', id, error: plainError(error) }),
    )
  }

  #post(message: ToServer): void {
    if (!this.#isClosed) this.#options.channel.postMessage(message)
  }
}

function closed(): LatticeError {
  return new LatticeError('closed', 'the logs are closed')
}
