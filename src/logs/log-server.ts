// The worker's side of logs in two threads: answers what log-client.ts asks of a LogStore, tells it
// lengths at most once a turn of the loop, and asks it for blocks that only the journal has. One
// server per store and port; it does not close the store.

import type { LogKind } from '../vault/ports.ts'
import type { LogStore } from './log-store.ts'
import { fromPlain, packRange, plainError } from './log-messages.ts'
import type {
  Grown, LogChannel, LogReplies, LogRequest, ToClient, ToServer,
} from './log-messages.ts'
import { nameKey } from './types.ts'
import type { LogName, LogSource } from './types.ts'
import { LatticeError } from '../util/errors.ts'

/**
 * The journal on the other side of a port, for the store; it must be there before the store is, so
 * it is made first and handed to both.
 */
export class RemoteSource implements LogSource {
  readonly #channel: LogChannel
  readonly #asked = new Map<number, {
    resolve: (blocks: readonly Uint8Array[]) => void
    reject: (error: unknown) => void
  }>()
  #nextId = 0
  #isClosed = false

  constructor(channel: LogChannel) {
    this.#channel = channel
    channel.on('message', (message) => this.#receive(message as ToServer))
    channel.on('close', () => this.close())
  }

  blocks(name: LogName, from: number, maxBytes: number): Promise<readonly Uint8Array[]> {
    if (this.#isClosed) return Promise.reject(closed())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
      this.#channel.postMessage({ is: 'ask', id, name, from, maxBytes } satisfies ToClient)
    })
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true
    for (const { reject } of this.#asked.values()) reject(closed())
    this.#asked.clear()
  }

  #receive(message: ToServer): void {
    if (message.is === 'request') return
    const asked = this.#asked.get(message.id)
    this.#asked.delete(message.id)
    if (message.is === 'blocks') asked?.resolve(message.blocks)
    else asked?.reject(fromPlain(message.error))
  }
}

export class LogServer {
  readonly #store: LogStore
  readonly #channel: LogChannel
  readonly #grown = new Map<string, LogName>()
  #isTelling = false
  #isClosed = false

  constructor(store: LogStore, channel: LogChannel) {
    this.#store = store
    this.#channel = channel
    channel.on('message', (message) => this.#receive(message as ToServer))
    channel.on('close', () => this.close())
    store.onGrowth((author, kind) => this.#note({ author, kind }))
    store.onFork((fork) => this.#post({ is: 'forked', fork }))
    const logs = (['ops', 'content'] as const).flatMap((kind) => this.#lengths(kind))
    this.#post({ is: 'ready', isNew: store.isNew, logs })
    for (const fork of store.forks()) this.#post({ is: 'forked', fork })
  }

  /** Tells the client of what nobody waits for: to be called by the store's onTrouble. */
  trouble(error: unknown): void {
    this.#post({ is: 'trouble', error: plainError(error) })
  }

  /** Answers nothing more. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#channel.close()
  }

  #receive(message: ToServer): void {
    if (message.is !== 'request' || this.#isClosed) return
    const { id, request } = message
    this.#answer(request).then(
      (value) => {
        this.#tell() // who has the answer knows the lengths
        this.#post({ is: 'reply', id, value })
      },
      (error) => this.#post({ is: 'failed', id, error: plainError(error) }),
    )
  }

  async #answer(request: LogRequest): Promise<LogReplies[keyof LogReplies]> {
    const store = this.#store
    if (request.call === 'append') {
      const { kind, blocks, from } = request
      const isDone = kind === 'ops' ? store.append(blocks, from) : store.appendContent(blocks, from)
      return await isDone.finally(() => this.#note({ author: store.own, kind }))
    }
    const { author, kind } = request.name
    switch (request.call) {
      case 'range': return packRange(await store.readRange(author, kind, request.from, request))
      case 'treeHash': return await store.treeHash(author, kind, request.length)
      case 'head': return store.head(author, kind)
      case 'restore': {
        const restored = await store.restore(author, kind, request.head)
        this.#note(request.name)
        return restored
      }
      case 'reset':
        await store.reset(author, kind)
        this.#note(request.name)
        return undefined
      case 'keep':
        store.keep(author, kind)
        return undefined
    }
  }

  #lengths(kind: LogKind): Grown[] {
    return this.#store.authors(kind).map((author) => this.#length({ author, kind }))
  }

  #length({ author, kind }: LogName): Grown {
    const length = this.#store.length(author, kind)
    return { author, kind, length, signedLength: this.#store.signedLength(author, kind) }
  }

  #note(name: LogName): void {
    this.#grown.set(nameKey(name), name)
    if (this.#isTelling) return
    this.#isTelling = true
    setImmediate(() => {
      this.#isTelling = false
      this.#tell()
    })
  }

  #tell(): void {
    if (this.#grown.size === 0) return
    const logs = [...this.#grown.values()].map((name) => this.#length(name))
    this.#grown.clear()
    this.#post({ is: 'grown', logs })
  }

  #post(message: ToClient): void {
    if (this.#isClosed) return
    const isRange = message.is === 'reply' && typeof message.value === 'object' &&
      'bytes' in message.value
    if (!isRange) return this.#channel.postMessage(message)
    const { bytes, sizes } = message.value as LogReplies['range']
    this.#channel.postMessage(message, [bytes.buffer, sizes.buffer as ArrayBuffer])
  }
}

function closed(): LatticeError {
  return new LatticeError('closed', 'the port to the journal is closed')
}
