// All logs of one vault on this device: an ops log and a content log of every author, in one
// Corestore. Runs in the sync worker, or wherever it is opened: it knows nothing of threads. The
// directory is a cache (storage.ts); what was lost of it comes back by append() for the own logs,
// by restore() or from peers for the others.
//
// Logs are opened when they are stored, appended to, restored or attached, and stay open. Nothing
// is replicated but what attach() names, on the stream that it names. No secret is stored: cores
// are opened by manifest, and the signing key is handed to each append.
//
// Owner: the composition in the worker. close() it after its connections.

import type Hypercore from 'hypercore'
import type { AuthorId } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { LogKind, SignedHead } from '../vault/ports.ts'
import { Attachments } from './attachments.ts'
import { logManifest } from './log-keys.ts'
import { Log } from './log.ts'
import type { LogEvents } from './log.ts'
import { healBlock, restoreLog } from './restore.ts'
import type { Restored } from './restore.ts'
import { discardStorage, markDamaged, openStorage, storageTrouble } from './storage.ts'
import type { OpenStorage } from './storage.ts'
import { EMPTY_TREE_HASH } from './tree-hasher.ts'
import { nameKey } from './types.ts'
import type {
  GrowthListener, LogBudget, LogHead, LogKeyPair, LogName, LogRange, LogSource, NoiseStream,
  RangeLimits,
} from './types.ts'

/** Two logs each; a thousand cores are open at once without trouble. */
const AUTHORS_MAX = 500
/** How long a lost block is asked for at the peers there are. */
const HEAL_TIMEOUT_MS = 30_000

export interface LogStoreOptions {
  directory: string
  vaultId: Uint8Array
  /** The own device. Its public key is the author's id. */
  keyPair: LogKeyPair
  source?: LogSource | undefined
  /** Everything fits when it is not given. */
  budget?: LogBudget | undefined
  maxAuthors?: number
  /** Told of what nobody waits for: damage, forks, authors too many. */
  onTrouble: (error: unknown) => void
}

export interface Fork extends LogName {
  theirs: { length: number; treeHash: Uint8Array }
}

export class LogStore {
  readonly own: AuthorId
  /** Opening found the directory missing or no good: foreign logs are to be restored. */
  readonly isNew: boolean
  readonly #options: LogStoreOptions
  readonly #storage: OpenStorage
  readonly #attachments: Attachments
  readonly #logs = new Map<string, Log>()
  readonly #authors = new Set<AuthorId>()
  readonly #opening = new Map<string, Promise<Log>>()
  readonly #healing = new Map<string, Promise<void>>()
  readonly #forks = new Map<string, Fork>()
  readonly #listeners: GrowthListener[] = []
  readonly #forkListeners: ((fork: Fork) => void)[] = []
  readonly #events: LogEvents
  #isDamaged = false
  #closing: Promise<void> | undefined

  private constructor(options: LogStoreOptions, storage: OpenStorage, isNew: boolean) {
    this.own = Buffer.from(options.keyPair.publicKey).toString('latin1') as AuthorId
    this.isNew = isNew
    this.#options = options
    this.#storage = storage
    this.#attachments = new Attachments((name) => this.#admit(name), options.onTrouble)
    this.#events = {
      grown: (log) => this.#grown(log),
      forked: (log, theirs, from) => this.#conflict(log, theirs, from),
      lost: (log, seq) => this.#heal(log, seq),
      damaged: (error) => this.#damage(error),
      mayGrow: ({ name }, length, sizeBytes) => (
        options.budget?.(name, length, sizeBytes) ?? true
      ),
    }
  }

  /**
   * Opens the logs that are stored, or makes the directory anew. Rejects 'locked' when another
   * process has it open, 'disk-full', 'denied', 'io'.
   */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    try {
      return await LogStore.#tryOpen(options)
    } catch (error) {
      if (error instanceof LatticeError) throw error
      discardStorage(options.directory)
    }
    try {
      return await LogStore.#tryOpen(options, true)
    } catch (error) {
      if (error instanceof LatticeError) throw error
      throw new LatticeError('io', 'the store of the logs cannot be made', { cause: error })
    }
  }

  static async #tryOpen(options: LogStoreOptions, wasDiscarded = false): Promise<LogStore> {
    const storage = await openStorage(options.directory, options.vaultId)
    const store = new LogStore(options, storage, wasDiscarded || storage.names.length === 0)
    try {
      for (const name of storage.names) await store.#log(name)
      for (const kind of ['ops', 'content'] as const) await store.#log({ author: store.own, kind })
      return store
    } catch (error) {
      await store.close().catch(() => undefined) // the first error says why
      throw storageTrouble(error) ?? error
    }
  }

  // ---- reading ----

  /** Of whom there are blocks. */
  authors(kind: LogKind = 'ops'): AuthorId[] {
    const authors: AuthorId[] = []
    for (const { name, length } of this.#logs.values()) {
      if (name.kind === kind && length > 0) authors.push(name.author)
    }
    return authors.sort()
  }

  /** Blocks from the first on, without gaps. */
  length(author: AuthorId, kind: LogKind): number {
    return this.#held({ author, kind })?.length ?? 0
  }

  /** What the author is known to have signed; more than length() while it comes. */
  signedLength(author: AuthorId, kind: LogKind): number {
    return this.#held({ author, kind })?.signedLength ?? 0
  }

  /** Undefined when it is not here. TOO_LARGE (log.ts) for more than a batch may have. */
  async read(author: AuthorId, kind: LogKind, seq: number): Promise<Uint8Array | undefined> {
    const { blocks } = await this.readRange(author, kind, seq, { maxBlocks: 1, maxBytes: 0 })
    return blocks[0]
  }

  async readRange(
    author: AuthorId, kind: LogKind, from: number, limits: RangeLimits,
  ): Promise<LogRange> {
    const log = this.#held({ author, kind })
    const none = { from, before: from === 0 ? EMPTY_TREE_HASH : undefined }
    return await log?.readRange(from, limits) ?? { ...none, blocks: [], treeHashes: [] }
  }

  async treeHash(
    author: AuthorId, kind: LogKind, length: number,
  ): Promise<Uint8Array | undefined> {
    if (length === 0) return EMPTY_TREE_HASH
    return await this.#held({ author, kind })?.treeHash(length)
  }

  /** For the journal: undefined unless all that the author has signed is here. */
  head(author: AuthorId, kind: LogKind): SignedHead | undefined {
    return this.#held({ author, kind })?.head()
  }

  /** The listener is also called for own appends. */
  onGrowth(grown: GrowthListener): void {
    this.#listeners.push(grown)
  }

  // ---- own logs ----

  /**
   * Adds to the own ops log, which must be `from` long: false when it is not, or when peers hold
   * more of it that has to come first.
   */
  append(blocks: readonly Uint8Array[], from?: number): Promise<boolean> {
    return this.#append('ops', blocks, from)
  }

  /** The same for the own content log. */
  appendContent(descriptors: readonly Uint8Array[], from?: number): Promise<boolean> {
    return this.#append('content', descriptors, from)
  }

  async #append(
    kind: LogKind, blocks: readonly Uint8Array[], from = this.length(this.own, kind),
  ): Promise<boolean> {
    this.#assertOpen()
    const log = must(this.#held({ author: this.own, kind }), 'no own log')
    try {
      if (log.signedLength > log.length) await this.#fillOwn(log)
      return await log.append(blocks, this.#options.keyPair, from)
    } catch (error) {
      throw storageTrouble(error) ?? new LatticeError('io', 'a log cannot be written', {
        cause: error, details: { kind },
      })
    }
  }

  /** Of the own log there is a longer head here than blocks: the journal may have them. */
  async #fillOwn(log: Log): Promise<void> {
    const { source } = this.#options
    const { state } = log.session.core
    const { length, signature } = state
    if (source === undefined || signature === null) return
    const head = { length, treeHash: state.hash(), signature: signature.subarray(2, 66) }
    await restoreLog(log.session, log.name, head, source)
  }

  // ---- what was lost ----

  /**
   * Makes a log as long as a signed head says, from blocks of the journal or, with a source of its
   * own, of a peer whose log was compared. The head is checked with the blocks; nothing changes
   * unless it is the author's. Rejects when the source does.
   */
  async restore(
    author: AuthorId, kind: LogKind, head: SignedHead, from?: LogSource,
  ): Promise<Restored> {
    this.#assertOpen()
    const source = must(from ?? this.#options.source, 'nothing to restore logs from')
    const log = await this.#admit({ author, kind })
    if (log === undefined || log.isForked) return 'incomplete'
    const { budget } = this.#options
    const restored = await restoreLog(log.session, log.name, head, source, budget)
    if (restored === 'restored') log.refresh()
    return restored
  }

  /** Forgets what is here of a log, since another branch of it is the right one. */
  async reset(author: AuthorId, kind: LogKind): Promise<void> {
    const log = this.#held({ author, kind })
    if (log === undefined || author === this.own) return
    this.#attachments.detachLog(log)
    await log.reset()
    this.#storage.corestore.storage.treeCache.clear() // it knows nodes by their places only
    this.#forks.delete(nameKey(log.name))
  }

  // ---- peers (net's LogsForPeers) ----

  /** Of all logs that are not empty. */
  async heads(): Promise<LogHead[]> {
    const heads: LogHead[] = []
    for (const log of this.#logs.values()) {
      const { length, name } = log
      const treeHash = length > 0 ? await log.treeHash(length) : undefined
      if (treeHash !== undefined) heads.push({ ...name, length, treeHash })
    }
    return heads
  }

  /** Replicates these logs, which must have been compared, on this stream. */
  attach(stream: NoiseStream, names: readonly LogName[]): void {
    if (this.#closing === undefined) this.#attachments.attach(stream, names)
  }

  detach(stream: NoiseStream): void {
    this.#attachments.detach(stream)
  }

  /**
   * Another branch of the log exists. It takes nothing new until reset() or keep(); what is here is
   * still read, and served to peers that are on the same branch.
   */
  forked(author: AuthorId, kind: LogKind, theirs: Fork['theirs']): void {
    const name = { author, kind }
    const log = this.#held(name)
    if (log === undefined || log.isForked) return
    log.isForked = true
    const fork = { ...name, theirs }
    this.#forks.set(nameKey(name), fork)
    for (const listener of this.#forkListeners) listener(fork)
  }

  /** The branch that is here is the right one. */
  keep(author: AuthorId, kind: LogKind): void {
    const log = this.#held({ author, kind })
    if (log !== undefined) log.isForked = false
    this.#forks.delete(nameKey({ author, kind }))
  }

  forks(): Fork[] {
    return [...this.#forks.values()]
  }

  onFork(forked: (fork: Fork) => void): void {
    this.#forkListeners.push(forked)
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#attachments.detachAll()
    await Promise.allSettled(this.#opening.values())
    for (const log of this.#logs.values()) await log.close()
    await Promise.allSettled(this.#healing.values())
    await this.#storage.corestore.close()
  }

  /** For tests that spoil what lies in the storage. */
  testLog(name: LogName): Log | undefined {
    return this.#held(name)
  }

  #held(name: LogName): Log | undefined {
    return this.#logs.get(nameKey(name))
  }

  async #admit(name: LogName): Promise<Log | undefined> {
    const held = this.#held(name)
    if (held !== undefined) return held
    if (this.#closing !== undefined) return undefined
    const { size } = this.#authors
    if (!this.#authors.has(name.author) && size >= (this.#options.maxAuthors ?? AUTHORS_MAX)) {
      throw new LatticeError('too-large', `more than ${size} authors have logs`)
    }
    return this.#log(name)
  }

  #log(name: LogName): Promise<Log> {
    const key = nameKey(name)
    let opening = this.#opening.get(key)
    if (opening === undefined) {
      this.#authors.add(name.author)
      const manifest = logManifest(this.#options.vaultId, name.author, name.kind)
      const session = this.#storage.corestore.get({ manifest, allowFork: false })
      opening = Log.open(name, session, this.#events).then((log) => {
        this.#logs.set(key, log)
        return log
      })
      this.#opening.set(key, opening)
      opening.catch(() => this.#opening.delete(key))
    }
    return opening
  }

  #grown({ name, length }: Log): void {
    for (const listener of this.#listeners) listener(name.author, name.kind, length)
  }

  /** Two peers that agreed before they replicated have been given different blocks since. */
  #conflict(log: Log, theirs: Fork['theirs'], from: unknown): void {
    this.forked(log.name.author, log.name.kind, theirs)
    this.#attachments.detachLog(log, (from as Partial<Hypercore.Peer>).protomux)
  }

  #heal(log: Log, seq: number): void {
    const key = `${seq}:${nameKey(log.name)}`
    if (this.#healing.has(key) || this.#closing !== undefined) return
    const healing = this.#healOne(log, seq)
      .catch((error) => this.#damage(error))
      .finally(() => this.#healing.delete(key))
    this.#healing.set(key, healing)
  }

  async #healOne(log: Log, seq: number): Promise<void> {
    if (!await healBlock(log.session, log.name, seq, this.#options.source)) {
      try {
        await log.session.get(seq, { timeout: HEAL_TIMEOUT_MS })
      } catch {
        return // no peer has it now: whoever reads it again asks again
      }
    }
    log.refresh()
  }

  #damage(error: unknown): void {
    if (this.#isDamaged || this.#closing !== undefined) return
    const trouble = storageTrouble(error)
    if (trouble === undefined) {
      this.#isDamaged = true
      markDamaged(this.#options.directory)
    }
    this.#options.onTrouble(trouble ?? new LatticeError('corrupt', 'the logs are damaged', {
      hint: 'lattice makes them anew at the next start.', cause: error,
    }))
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new LatticeError('closed', 'the logs are closed')
  }
}
