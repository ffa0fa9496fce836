// One log: what an author has published, on one Hypercore. It is read from the first block on,
// grows by own appends and by what peers bring, and never takes another way: a tree that does not
// go on from the one here is refused before Hypercore would freeze the log for it.
//
// `length` counts blocks without a gap from the first on. A block that Hypercore's storage has
// lost, or that is not what its tree says, reads as absent and is reported; `length` still counts
// it.
//
// Hypercore pauses a peer for good whose block does not fit: but what does not fit may have been
// right when it was asked for, before the log was restored or appended to. So a paused peer gets
// another chance, FORGIVEN_MAX times on a connection, after longer and longer waits.
//
// Used by log-store.ts only, which opens one Log per core.

import type Hypercore from 'hypercore'
import crypto from 'hypercore-crypto'
import type { TreeNode } from 'hypercore-storage'
import { BATCH_MAX_BYTES } from '../ops/bounds.ts'
import { equalBytes } from '../util/bytes.ts'
import type { SignedHead } from '../vault/ports.ts'
import { plainSignature } from './log-keys.ts'
import { TreeHasher, leafOf, rootIndexes } from './tree-hasher.ts'
import type { LogKeyPair, LogName, LogRange, RangeLimits } from './types.ts'

/** More batches than a device makes in its life; Hypercore keeps a bit of each in memory. */
export const LOG_LENGTH_MAX = 2 ** 26
/** Blocks whose nodes are read at one go. */
const GROUP_BLOCKS = 256
const FORGIVEN_MAX = 12
const FORGIVE_FIRST_MS = 20
const FORGIVE_MS = 10_000

/** Stands for a block of more than a batch may have: nobody wants its bytes. */
export const TOO_LARGE: Uint8Array = new Uint8Array(BATCH_MAX_BYTES + 1)

export interface LogEvents {
  /** The length has changed. Told after the turn in which it did, several blocks at once. */
  grown(log: Log): void
  /** A peer has shown another signed tree of at most this length. */
  forked(log: Log, theirs: { length: number; treeHash: Uint8Array }, from: unknown): void
  /** A block below `length` is not what it should be. */
  lost(log: Log, seq: number): void
  /** Hypercore's storage cannot be read. */
  damaged(error: unknown): void
  mayGrow(log: Log, length: number, sizeBytes: number): boolean
}

export class Log {
  readonly name: LogName
  readonly session: Hypercore
  readonly #events: LogEvents
  #download: { destroy(): void }
  /** Where the last range ended: the next one mostly goes on there. */
  #hasher: TreeHasher | undefined
  #toldLength: number
  #isTelling = false
  #isClosed = false
  readonly #forgiven = new WeakMap<Hypercore.Peer, number>()
  readonly #pauses = new Set<NodeJS.Timeout>()
  /** Authors may sign two ways. Nothing is taken any more; what is here is still served. */
  isForked = false

  private constructor(name: LogName, session: Hypercore, events: LogEvents) {
    this.name = name
    this.session = session
    this.#events = events
    this.#toldLength = session.contiguousLength
    this.#guard()
    session.on('append', () => this.#tell())
    session.on('download', () => this.#tell())
    session.on('verification-error', (_error, _request, _data, from) => {
      this.#forgiveLater(from as Hypercore.Peer)
    })
    this.#download = this.#startDownload()
  }

  /** Takes the session over. Rejects when the core cannot be opened or its tree has holes. */
  static async open(name: LogName, session: Hypercore, events: LogEvents): Promise<Log> {
    await session.ready()
    if (session.core._repairMode) throw new Error('a log without the roots of its tree')
    return new Log(name, session, events)
  }

  get length(): number {
    return this.session.contiguousLength
  }

  /** Blocks that the author is known to have signed; more than `length` while they come. */
  get signedLength(): number {
    return this.session.length
  }

  /** Adds own blocks at `from`. False when the log is not that long, or has gaps. */
  async append(
    blocks: readonly Uint8Array[], keyPair: LogKeyPair, from: number,
  ): Promise<boolean> {
    if (this.length !== from || this.signedLength !== from || this.isForked) return false
    const end = from + blocks.length
    // Hypercore asks maxLength under its lock: what a peer brings meanwhile is not passed over
    const { length } = await this.session.append(blocks, { keyPair, maxLength: end })
    return length === end
  }

  /** Blocks from `from` on as far as they are here; none when it is absent. */
  async readRange(from: number, limits: RangeLimits): Promise<LogRange> {
    const range: LogRange = { from, before: undefined, blocks: [], treeHashes: [] }
    try {
      const hasher = await this.#hasherAt(from)
      if (hasher === undefined) return range
      range.before = hasher.hash()
      await this.#fill(range, hasher, limits)
      this.#hasher = hasher
    } catch (error) {
      if (!this.#isClosed) this.#events.damaged(error)
    }
    return range
  }

  /** Of the first `length` blocks; undefined when they are not all here. */
  async treeHash(length: number): Promise<Buffer | undefined> {
    try {
      return (await this.#hasherAt(length, true))?.hash()
    } catch (error) {
      if (!this.#isClosed) this.#events.damaged(error)
      return undefined
    }
  }

  /** What the author has signed; undefined unless all of its blocks are here. */
  head(): SignedHead | undefined {
    const { length, signature } = this.session.core.state
    if (length === 0 || this.length !== length || signature === null) return undefined
    const plain = plainSignature(signature)
    if (plain === undefined) return undefined
    return { length, treeHash: this.session.core.state.hash(), signature: plain }
  }

  attach(mux: Hypercore.Muxer): void {
    const { replicator } = this.session.core
    if (!replicator.attached(mux)) replicator.attachTo(mux)
  }

  detach(mux: Hypercore.Muxer): void {
    const { replicator } = this.session.core
    replicator.detachFrom(mux)
    for (const peer of replicator.peers) if (peer.protomux === mux) peer.channel.close()
  }

  /** Everything here is to be forgotten: another way is the right one. Detach it first. */
  async reset(): Promise<void> {
    this.#hasher = undefined
    this.#download.destroy() // it would go on where it was
    await this.session.core.state.truncate(0, 0, {})
    this.#download = this.#startDownload()
    this.isForked = false
    this.#tell()
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const pause of this.#pauses) clearTimeout(pause)
    this.#download.destroy()
    await this.session.close()
  }

  /** Looks whether blocks have come some other way than by Hypercore. */
  refresh(): void {
    this.#tell(true)
  }

  /** The whole log, in order, for ever. */
  #startDownload(): { destroy(): void } {
    return this.session.download({ start: 0, end: -1, linear: true })
  }

  async #fill(range: LogRange, hasher: TreeHasher, limits: RangeLimits): Promise<void> {
    const { from, blocks } = range
    const end = Math.min(this.length, from + limits.maxBlocks)
    let leftBytes = limits.maxBytes
    for (let at = from; at < end;) {
      const leaves = await this.#leaves(at, Math.min(end, at + GROUP_BLOCKS))
      const fitting: TreeNode[] = []
      for (const leaf of leaves) {
        const sizeBytes = Math.min(leaf.size, TOO_LARGE.length)
        if (leftBytes < sizeBytes && at + fitting.length > from) break
        leftBytes -= sizeBytes
        fitting.push(leaf)
      }
      const read = await this.#blocks(fitting)
      for (const [i, block] of read.entries()) {
        blocks.push(block)
        hasher.push(fitting[i] as TreeNode)
        range.treeHashes.push(hasher.hash())
      }
      at += read.length
      if (read.length < fitting.length || leaves.length === 0) return this.#events.lost(this, at)
      if (fitting.length < leaves.length) return
    }
  }

  /** Leaves [begin, end) as far as they are there without a gap. */
  async #leaves(begin: number, end: number): Promise<TreeNode[]> {
    const reader = this.session.core.state.storage.read()
    const reading: Promise<TreeNode | null>[] = []
    for (let seq = begin; seq < end; seq++) reading.push(reader.getTreeNode(2 * seq))
    reader.tryFlush()
    const nodes = await Promise.all(reading)
    const gap = nodes.indexOf(null)
    return (gap === -1 ? nodes : nodes.slice(0, gap)) as TreeNode[]
  }

  /** Their blocks as far as they are what the leaves say. */
  async #blocks(leaves: readonly TreeNode[]): Promise<Uint8Array[]> {
    const reader = this.session.core.state.storage.read()
    const reading = leaves.map(({ index, size }) => (
      size > BATCH_MAX_BYTES ? Promise.resolve(TOO_LARGE) : reader.getBlock(index / 2)
    ))
    reader.tryFlush()
    const blocks: Uint8Array[] = []
    for (const [i, block] of (await Promise.all(reading)).entries()) {
      const { index, hash } = leaves[i] as TreeNode
      if (block === null) break
      if (block !== TOO_LARGE && !equalBytes(leafOf(index / 2, block).hash, hash)) break
      blocks.push(block)
    }
    return blocks
  }

  /** `isCopy`: the one where reading goes on stays where it is. */
  async #hasherAt(length: number, isCopy = false): Promise<TreeHasher | undefined> {
    const held = this.#hasher
    if (held?.length === length) {
      if (isCopy) return new TreeHasher(length, held.roots)
      this.#hasher = undefined // until the range is read: nobody else moves it meanwhile
      return held
    }
    if (length === 0) return new TreeHasher()
    if (length > this.length) return undefined
    const reader = this.session.core.state.storage.read()
    const reading = rootIndexes(length).map((index) => reader.getTreeNode(index))
    reader.tryFlush()
    const roots = await Promise.all(reading)
    if (roots.includes(null)) return undefined
    return new TreeHasher(length, roots as TreeNode[])
  }

  #guard(): void {
    const { core } = this.session
    core.preupdate = async (batch) => {
      const { length, byteLength } = batch
      if (this.isForked) throw refused('the log has forked')
      if (length > LOG_LENGTH_MAX) throw refused('the log would be too long')
      if (!this.#events.mayGrow(this, length, byteLength)) throw refused('over the budget')
    }
    core.checkConflict = (proof, from) => this.#isConflict(proof, from)
  }

  /** In place of Hypercore's own, which freezes the log for good. */
  async #isConflict(proof: Hypercore.Proof, from: unknown): Promise<boolean> {
    const { fork, upgrade } = proof
    if (fork !== 0 || upgrade === null || upgrade.start !== 0) return false
    try {
      await this.session.verifyFullyRemote(proof) // of the whole of their log
    } catch {
      return true // not signed by the author: whoever sent it stays paused
    }
    const { length } = upgrade
    const treeHash = crypto.tree(upgrade.nodes) // from 0 on, so these are the roots
    const ours = await this.treeHash(length)
    if (ours === undefined || equalBytes(ours, treeHash)) return false
    this.#events.forked(this, { length, treeHash }, from)
    return true
  }

  #forgiveLater(peer: Hypercore.Peer): void {
    const count = this.#forgiven.get(peer) ?? 0
    if (count >= FORGIVEN_MAX || this.#isClosed) return
    this.#forgiven.set(peer, count + 1)
    const pause = setTimeout(() => {
      this.#pauses.delete(pause)
      if (this.isForked || peer.removed) return
      peer.paused = false
      this.session.core.replicator.updateAll()
    }, Math.min(FORGIVE_MS, FORGIVE_FIRST_MS * 2 ** count))
    pause.unref()
    this.#pauses.add(pause)
  }

  #tell(always = false): void {
    if (this.#isTelling || (!always && this.length === this.#toldLength)) return
    this.#isTelling = true
    setImmediate(() => {
      this.#isTelling = false
      if (this.#isClosed) return
      this.#toldLength = this.length
      this.#events.grown(this)
    })
  }
}

/** Hypercore takes this code for a peer's mistake, pauses the peer and asks no further. */
function refused(message: string): Error {
  return Object.assign(new Error(message), { code: 'INVALID_OPERATION' })
}
