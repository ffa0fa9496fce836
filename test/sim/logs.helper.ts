// The ops logs of one device in a simulated world: append-only blocks with a hash chain as tree
// hash. What really signed a log is a registry that all devices share: a head counts as signed when
// the holder of the key has appended up to it, so nobody can forge another author's log, while a
// liar can sign two branches of its own.
import { blake2b } from '../../src/crypto/hash.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import type { LogPort } from '../../src/vault/ports.ts'
import type { SeededRandom } from '../support/random.ts'

export interface LogHead {
  author: AuthorId
  length: number
  hash: string // latin1, 32 bytes
}

export interface BlocksMessage {
  author: AuthorId
  from: number
  blocks: readonly Uint8Array[]
  hashes: readonly string[]
  /** Set by liars: whoever receives it must hash the blocks (else the sender's hashes are used). */
  isTampered?: boolean
}

/** Of an empty log. */
export const EMPTY_HASH = '\0'.repeat(32)

export function chainHash(before: string, block: Uint8Array): string {
  const input = Buffer.allocUnsafe(32 + block.length)
  input.write(before, 0, 'latin1')
  input.set(block, 32)
  return blake2b(32, input).toString('latin1')
}

/** Which heads were signed by the author's key. */
export class Signatures {
  readonly #signed = new Map<AuthorId, Map<number, string[]>>()

  /** False when the author has signed another head of that length before: it forks itself. */
  sign(author: AuthorId, length: number, hash: string): boolean {
    let lengths = this.#signed.get(author)
    if (lengths === undefined) this.#signed.set(author, (lengths = new Map()))
    const known = lengths.get(length)
    if (known === undefined) lengths.set(length, [hash])
    else if (!known.includes(hash)) known.push(hash)
    return lengths.get(length)?.length === 1
  }

  isSigned(author: AuthorId, length: number, hash: string): boolean {
    return this.#signed.get(author)?.get(length)?.includes(hash) === true
  }
}

interface Log {
  blocks: Uint8Array[]
  hashes: string[] // hashes[i] = of length i + 1
}

export class SimLogs implements LogPort {
  readonly own: AuthorId
  /** Authors of whom another branch was seen. */
  readonly forked = new Set<AuthorId>()
  /** Called when the own log shows another block where one was signed before. */
  onSelfFork: (length: number) => void = () => undefined
  /** Asked before a block of one's own is published: must be durable in the journal by then. */
  onAppend: (blocks: readonly Uint8Array[], from: number) => void = () => undefined
  rejected = 0
  readonly #signatures: Signatures
  readonly #pause: () => Promise<void>
  #logs = new Map<AuthorId, Log>()
  #listeners: ((author: AuthorId) => void)[] = []
  #forkListeners: (() => void)[] = []

  constructor(own: AuthorId, signatures: Signatures, pause: () => Promise<void>) {
    this.own = own
    this.#signatures = signatures
    this.#pause = pause
  }

  // ---- LogPort ----

  authors(): AuthorId[] {
    return [...this.#logs.keys()].toSorted()
  }

  length(author: AuthorId): number {
    return this.#logs.get(author)?.blocks.length ?? 0
  }

  async read(author: AuthorId, seq: number): Promise<Uint8Array | undefined> {
    return this.#logs.get(author)?.blocks[seq]
  }

  async treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    const hash = this.hashAt(author, length)
    return hash === undefined ? undefined : Buffer.from(hash, 'latin1')
  }

  async append(blocks: readonly Uint8Array[]): Promise<void> {
    await this.#pause()
    if (this.forked.has(this.own)) return
    const log = this.#log(this.own)
    this.onAppend(blocks, log.blocks.length)
    for (const block of blocks) {
      const hash = chainHash(log.hashes.at(-1) ?? EMPTY_HASH, block)
      log.blocks.push(Uint8Array.from(block))
      log.hashes.push(hash)
      const length = log.blocks.length
      if (!this.#signatures.sign(this.own, length, hash)) this.onSelfFork(length)
    }
    if (blocks.length > 0) this.#grown(this.own)
  }

  onGrowth(fn: (author: AuthorId) => void): void {
    this.#listeners.push(fn)
  }

  onOwnFork(fn: () => void): void {
    this.#forkListeners.push(fn)
  }

  // ---- replication ----

  hashAt(author: AuthorId, length: number): string | undefined {
    return length === 0 ? EMPTY_HASH : this.#logs.get(author)?.hashes[length - 1]
  }

  heads(): LogHead[] {
    const heads: LogHead[] = []
    for (const [author, log] of this.#logs) {
      const hash = log.hashes.at(-1)
      if (hash !== undefined) heads.push({ author, length: log.blocks.length, hash })
    }
    return heads
  }

  /** Blocks from a length on, at most `max`. */
  blocksFrom(author: AuthorId, from: number, max: number): BlocksMessage | undefined {
    const log = this.#logs.get(author)
    if (log === undefined || from >= log.blocks.length) return undefined
    const to = Math.min(log.blocks.length, from + max)
    return { author, from, blocks: log.blocks.slice(from, to), hashes: log.hashes.slice(from, to) }
  }

  /** Somebody holds another branch: nothing more is taken of it. */
  noteFork(author: AuthorId): void {
    if (this.forked.has(author)) return
    this.forked.add(author)
    if (author === this.own) for (const listener of this.#forkListeners) listener()
  }

  /** Takes what continues the log held and ends in a signed head. True when the log grew. */
  receive(message: BlocksMessage): boolean {
    const { author, from } = message
    if (author === this.own && this.#log(author).blocks.length >= from + message.blocks.length) {
      return false
    }
    const log = this.#log(author)
    const skip = log.blocks.length - from
    if (skip < 0 || skip >= message.blocks.length) return false
    let before = this.hashAt(author, log.blocks.length) as string
    if (skip > 0 && message.hashes[skip - 1] !== before) {
      this.noteFork(author)
      return false
    }
    const hashes: string[] = []
    for (let i = skip; i < message.blocks.length; i++) {
      const block = message.blocks[i] as Uint8Array
      const given = message.hashes[i] as string
      before = message.isTampered === true ? chainHash(before, block) : given
      hashes.push(before)
    }
    if (!this.#signatures.isSigned(author, from + message.blocks.length, before)) {
      this.rejected++
      return false
    }
    if (skip === 0 && message.isTampered !== true) {
      // the sender's chain must go on from ours
      const first = message.blocks[0] as Uint8Array
      if (chainHash(this.hashAt(author, from) as string, first) !== hashes[0]) {
        this.noteFork(author)
        return false
      }
    }
    for (let i = skip; i < message.blocks.length; i++) log.blocks.push(message.blocks[i] as Buffer)
    log.hashes.push(...hashes)
    this.#grown(author)
    return true
  }

  // ---- faults ----

  /** The store of the logs is never flushed: a power cut takes a tail of any of them. */
  crash(random: SeededRandom): void {
    this.detach()
    for (const log of this.#logs.values()) {
      if (!random.chance(0.3)) continue
      const length = random.int(0, log.blocks.length + 1)
      log.blocks.length = log.hashes.length = length
    }
  }

  /** The process ends, or the store is read from a copy: nobody listens any more. */
  detach(): void {
    this.#listeners = []
    this.#forkListeners = []
    this.forked.clear() // the next comparison finds it again
  }

  clear(): void {
    this.#logs.clear()
  }

  /** As another device's files would be after copying them: shares nothing. */
  copyFrom(other: SimLogs): void {
    this.#logs = new Map()
    for (const [author, log] of other.#logs) {
      this.#logs.set(author, { blocks: [...log.blocks], hashes: [...log.hashes] })
    }
  }

  #log(author: AuthorId): Log {
    let log = this.#logs.get(author)
    if (log === undefined) this.#logs.set(author, (log = { blocks: [], hashes: [] }))
    return log
  }

  #grown(author: AuthorId): void {
    for (const listener of this.#listeners) listener(author)
  }
}
