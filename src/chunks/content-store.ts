// The content of a vault's files on this device: ContentStore over manifest, seal pipeline, packs,
// index and loose chunks. One per vault; all calls on the engine's thread.
//
// Order that callers rely on: a chunk is in the index only once it lies in a pack or in the
// journal's RAM; describe() returns only when all nodes that it names are; sync() makes durable
// what packs hold (loose chunks become durable with the journal's next flush).

import { deriveKey } from '../crypto/kdf.ts'
import type { Content } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Lru } from '../util/lru.ts'
import { bundleIdOf } from './bundle-id.ts'
import type { BundleId } from './bundle-id.ts'
import type { BundleEntry } from './bundle-layout.ts'
import { openBundle } from './bundle.ts'
import { ChunkReader } from './chunk-cache.ts'
import { checkChunkId, chunkIdOf } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import type {
  AwayBundle, BundlePlace, ChunkIndex, ChunkLocation, LooseChunks,
} from './chunk-index-port.ts'
import { decompressChunk } from './compress.ts'
import type {
  AwayBundles,
  ContentStore,
  FrozenJob,
  Presence,
  ReadPlan,
  Sealed,
  SealOptions,
  Unfolded,
  Urgency,
  WorkingContent,
} from './content-store-ports.ts'
import { LocalBundles } from './local-bundles.ts'
import { isHole, totalBytes } from './manifest.ts'
import type { Placed } from './manifest.ts'
import { decodeNode, encodeNode, holeBytesUnder, makeNode } from './manifest-node.ts'
import type { ManifestNode } from './manifest-node.ts'
import { runAsync, runNow } from './manifest-tree.ts'
import type { Needs, NodeWanted, Rewriter } from './manifest-tree.ts'
import type { PackDamage, PackMark, PackStore } from './pack-store.ts'
import { executePieces, placesOf, planNow, planSoon } from './read-plan.ts'
import type { ReadFrozen } from './seal-frozen.ts'
import { Sealer } from './seal-job.ts'
import type { SealBackend } from './seal-protocol.ts'
import { INLINE_MAX_BYTES, Working } from './working-content.ts'

export type ContentStoreOptions = {
  index: ChunkIndex
  loose: LooseChunks
  packs: PackStore
  /** Workers (SealPool) or the calling thread (InlineSealer); closed with the store. */
  backend: SealBackend
  /** K_id. */
  idKey: Uint8Array
  /** K_bundle of an epoch. */
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined
  /** FileBuffers.readFrozen of this thread. */
  readFrozen: ReadFrozen
  nodeCacheBytes?: number
  plainCacheBytes?: number
  /** Content that others hold; undefined when this device is alone. */
  away?: AwayBundles | undefined
  /** Makes durable what was adopted. */
  syncReceived?: (() => Promise<void>) | undefined
}

export type Named = {
  isWanted: (file: number) => boolean
  put: (id: BundleId, place: BundlePlace) => void
}

/** A part of a content that is not on this device. */
export type Absent = {
  /** Of the content. */
  bytes: number
  /** Who of others' bundles hold it; none: nobody has said so yet. */
  bundles: readonly AwayBundle[]
}

/** What holds a stretch of a content. */
export type Holding = {
  /** Places in packs of this device. */
  here: ChunkLocation[]
  /** Chunks that lie in the journal only. */
  loose: number
  /** For each chunk that is not here, the bundles of others that are said to hold it. */
  away: (readonly AwayBundle[])[]
  /** False: more of it lies below a node that is not here. */
  isWhole: boolean
}

/** A bundle of others as it was stored here. */
export type ReceivedBundle = { place: BundlePlace; entries: readonly BundleEntry[] }

/** Lookups of chunks that whoever asks for the presence of a content is made to wait for. */
const LOOKUPS_MAX = 16_384
/** Of a content whose chunks are looked up at one go. */
const LOOKUP_BYTES = 16 * 1024 * 1024
const NODE_CACHE_BYTES = 16 * 1024 * 1024
/** What a decoded entry takes in RAM, about. */
const NODE_ENTRY_BYTES = 160

export class SealedContentStore implements ContentStore {
  readonly #options: ContentStoreOptions
  readonly #reader: ChunkReader
  readonly #sealer: Sealer
  readonly #splitKey: Uint8Array
  readonly #nodes: Lru<ChunkId, ManifestNode>
  /** Whole bundles of this device. */
  readonly bundles: LocalBundles

  constructor(options: ContentStoreOptions) {
    this.#options = options
    const { index, loose, packs, backend, idKey, readFrozen } = options
    this.#reader = new ChunkReader(index, loose, packs, options.plainCacheBytes, options.away)
    this.bundles = new LocalBundles(this.#reader, index, packs)
    this.#splitKey = deriveKey(idKey, 'lattice/0/manifest-split')
    this.#nodes = new Lru({ maxBytes: options.nodeCacheBytes ?? NODE_CACHE_BYTES })
    this.#sealer = new Sealer({
      reader: this.#reader,
      loose,
      backend,
      idKey,
      readFrozen,
      extentsOf: (working, from, to) => this.#extents(working, from, to),
      readBack: async (placed) => {
        // an append is not to wait for what others hold
        for (const { extent } of placed) if (extent.chunk !== '') this.#reader.locate(extent.chunk)
        return this.#readBack(placed)
      },
    })
  }

  open(content: Content | undefined, sizeBytes: number): WorkingContent {
    return new Working(content, sizeBytes)
  }

  seal(working: WorkingContent, job: FrozenJob, options: SealOptions): Promise<Sealed> {
    return this.#sealer.seal(own(working), job, options)
  }

  async describe(content: WorkingContent): Promise<Content> {
    const working = own(content)
    for (;;) {
      const { described } = working
      if (described !== undefined) return described
      if (working.inline !== undefined || working.sizeBytes === 0) {
        if (working.sizeBytes <= INLINE_MAX_BYTES) return working.settle(inlineOf(working))
        this.#materialise(working)
      }
      const { version } = working
      const made: { id: ChunkId; bytes: Uint8Array }[] = []
      const folded = await this.#run(working.fold(this.#rewriter(made)))
      if (!('extents' in folded) && made.length > 0) await this.#sealer.store(made)
      // An edit came in between: what was stored serves the next round.
      if (working.version === version) return working.rebase(folded)
    }
  }

  unfolded(content: WorkingContent): Unfolded | undefined {
    return own(content).unfolded
  }

  reopen(unfolded: Unfolded): WorkingContent {
    return Working.reopen(unfolded)
  }

  async plan(
    content: WorkingContent, offset: number, length: number, urgency: Urgency = 'read',
  ): Promise<ReadPlan> {
    const working = own(content)
    const now = this.planNow(working, offset, length)
    if (now !== undefined) return now
    const { bytes, from, to } = inlinePart(working, offset, length)
    const placed = await this.#extents(working, from, to)
    return withInline(bytes, await planSoon(this.#reader, this.#options.packs, placed, urgency))
  }

  planNow(content: WorkingContent, offset: number, length: number): ReadPlan | undefined {
    const working = own(content)
    const { bytes, from, to } = inlinePart(working, offset, length)
    const placed: Placed[] = []
    const needs = this.#done(working.extents(from, to, placed))
    const done = runNow(needs, (wanted) => this.#get(wanted))
    if (done === undefined) return undefined
    const plan = planNow(this.#reader, this.#options.packs, placed)
    return plan === undefined ? undefined : withInline(bytes, plan)
  }

  async places(content: WorkingContent, offset: number, length: number): Promise<ReadPlan> {
    const working = own(content)
    const { from, to } = inlinePart(working, offset, length)
    const placed = await this.#extents(working, from, to)
    return placesOf(this.#reader, this.#options.packs, placed)
  }

  async copyRange(
    source: WorkingContent,
    sourceOffset: number,
    target: WorkingContent,
    targetOffset: number,
    length: number,
  ): Promise<void> {
    const from = own(source)
    const into = own(target)
    assert(sourceOffset + length <= from.sizeBytes, 'copyRange beyond the end')
    if (length === 0) return
    this.#materialise(from)
    const placed = await this.#extents(from, sourceOffset, sourceOffset + length)
    this.#materialise(into)
    into.chunker ??= from.chunker
    into.splice(targetOffset, placed.map(({ extent }) => extent))
  }

  async seek(content: WorkingContent, offset: number, wanted: 'data' | 'hole'): Promise<number> {
    const working = own(content)
    const inlineBytes = working.inline?.length ?? 0
    if (offset < inlineBytes && wanted === 'data') return offset
    const step = 64 * 1024 * 1024
    for (let at = Math.max(offset, inlineBytes); at < working.sizeBytes; at += step) {
      const placed = await this.#extents(working, at, Math.min(at + step, working.sizeBytes))
      const found = placed.find(({ extent }) => isHole(extent) === (wanted === 'hole'))
      if (found !== undefined) return found.offset
    }
    return working.sizeBytes
  }

  holeBytes(content: WorkingContent): number {
    const working = own(content)
    const { rootToAsk } = working
    if (rootToAsk !== undefined) working.learnHoles(this.#holesUnder(rootToAsk))
    return working.holeBytes
  }

  presence(content: Content | undefined, sizeBytes: number): Presence {
    if (content === undefined || content.kind === 'inline') return { state: 'local' }
    const working = new Working(content, sizeBytes)
    let here = 0
    let absent = 0
    let lookups = 0
    const mixed = (otherwise: 'remote' | 'unknown'): Presence => {
      return { state: here > 0 && (absent > 0 || otherwise === 'remote') ? 'partial' : otherwise }
    }
    for (let at = 0; at < sizeBytes; at += LOOKUP_BYTES) {
      const placed: Placed[] = []
      const needs = working.extents(at, Math.min(at + LOOKUP_BYTES, sizeBytes), placed)
      if (runNow(this.#done(needs), (wanted) => this.#getWaiting(wanted)) === undefined) {
        return mixed('remote')
      }
      for (const { extent } of placed) {
        if (extent.chunk === '') continue
        if (this.#reader.known(extent.chunk) === undefined) absent += extent.length
        else here += extent.length
      }
      lookups += 1 + placed.length
      if (lookups > LOOKUPS_MAX && at + LOOKUP_BYTES < sizeBytes) return mixed('unknown')
    }
    if (absent === 0) return { state: 'local' }
    const bytes = { here, all: here + absent }
    return { state: here === 0 ? 'remote' : 'partial', bytes }
  }

  /**
   * What holds the content, nodes of its tree included, in stretches. Nothing is fetched: what lies
   * below a node that is not here is left out. Throws 'damaged-pack' when a node does not open.
   */
  *holdings(content: Content, sizeBytes: number): Generator<Holding> {
    if (content.kind === 'inline') return
    const working = new Working(content, sizeBytes)
    for (let at = 0; at < sizeBytes; at += LOOKUP_BYTES) {
      const holding: Holding = { here: [], loose: 0, away: [], isWhole: true }
      const see = (id: ChunkId): void => {
        const location = this.#reader.known(id)
        if (location?.where === 'pack') holding.here.push(location)
        else if (location !== undefined) holding.loose++
        else holding.away.push(this.#options.index.away(id))
      }
      const placed: Placed[] = []
      const needs = working.extents(at, Math.min(at + LOOKUP_BYTES, sizeBytes), placed)
      const isWhole = runNow(this.#done(needs), (wanted) => {
        const id = wanted.ref.chunk as ChunkId
        see(id)
        const cached = this.#nodes.get(id)
        return cached === undefined ? this.#getWaiting(wanted) : checkNode(cached, wanted)
      })
      holding.isWhole = isWhole === true
      for (const { extent } of placed) if (extent.chunk !== '') see(extent.chunk)
      yield holding
    }
  }

  async sync(): Promise<void> {
    const { backend, syncReceived } = this.#options
    await Promise.all([backend.sync(), syncReceived?.()])
  }

  flush(): Promise<void> {
    return this.#options.backend.flush()
  }

  async close(): Promise<void> {
    try {
      await this.#options.backend.close()
    } finally {
      this.#options.packs.close()
      this.#reader.clear()
      this.#nodes.clear()
    }
  }

  /** recovering(), all at once. Returns how many bundles were read. */
  recover(since: readonly PackMark[]): number {
    let bundles = 0
    for (const count of this.recovering(since)) bundles = count
    return bundles
  }

  /**
   * Brings chunks into the index that lie in packs behind the marks (of the last checkpoint; none =
   * all packs). Yields the count of bundles after each one, so that the caller may write the index
   * in between, or let others run. Damage is in PackStore.damage. `named`: told the id of each
   * bundle of the packs that it is wanted for.
   */
  *recovering(since: readonly PackMark[], named?: Named): Generator<number> {
    const { packs } = this.#options
    let bundles = 0
    for (const { file, record, entries } of packs.scan(since)) {
      if (named?.isWanted(file) === true) {
        const { bundleOffset, bundleBytes } = record
        const id = bundleIdOf(packs.readNow(file, bundleOffset, bundleBytes))
        named.put(id, { file, bundleOffset, bundleBytes })
      }
      for (const { chunk, offset, storedBytes, plainBytes, codec } of entries) {
        this.#reader.put(chunk, {
          where: 'pack',
          file,
          bundleOffset: record.bundleOffset,
          bundleBytes: record.bundleBytes,
          plainOffset: offset,
          storedBytes,
          plainBytes,
          codec,
        })
      }
      bundles++
      yield bundles
    }
  }

  /** A bundle that came from others, verified, lies in a pack now. */
  adopt(bundle: ReceivedBundle): void {
    const { place, entries } = bundle
    const { file, bundleOffset, bundleBytes } = place
    for (const { chunk, offset, storedBytes, plainBytes, codec } of entries) {
      const at = { where: 'pack', file, bundleOffset, bundleBytes } as const
      this.#reader.put(chunk, { ...at, plainOffset: offset, storedBytes, plainBytes, codec })
    }
  }

  /** Seals loose chunks into bundles, where they can be sent from. Those that are not loose (any
   *  more) are passed over. In packs, not durable, when it resolves. */
  async packLoose(ids: readonly ChunkId[]): Promise<void> {
    const chunks: { id: ChunkId; bytes: Uint8Array }[] = []
    for (const id of ids) {
      const location = this.#reader.known(id)
      if (location?.where !== 'journal') continue
      const plain = this.#reader.readNow(id, location)
      if (plain !== undefined) chunks.push({ id, bytes: plain.slice() })
    }
    if (chunks.length > 0) await this.#sealer.pack(chunks)
    for (const { bytes } of chunks) bytes.fill(0)
  }

  /** Reads a chunk from where it is and checks its id. Throws what is wrong with it. */
  verifyChunk(id: ChunkId): Promise<void> {
    return this.#reader.verify(this.#options.idKey, id)
  }

  /** Opens every bundle of a pack whole and checks every rule and every chunk's id. */
  *verifyPack(file: number): Generator<PackDamage> {
    const { packs, idKey, bundleKey } = this.#options
    for (const { bundleOffset, bundleBytes } of packs.records(file)) {
      try {
        const header = packs.header(file, bundleOffset, bundleBytes)
        const key = bundleKey(header.epochId)
        if (key === undefined) throw new LatticeError('missing-key', 'no key for a bundle')
        const opened = openBundle(key, packs.readNow(file, bundleOffset, bundleBytes))
        for (const { chunk, offset, storedBytes, plainBytes, codec } of opened.entries) {
          const stored = opened.plain.subarray(offset, offset + storedBytes)
          checkChunkId(idKey, chunk, decompressChunk(codec, stored, plainBytes))
        }
      } catch (error) {
        if (!(error instanceof LatticeError)) throw error
        yield { file, offset: bundleOffset, reason: error.code }
      }
    }
    yield* packs.damage.filter((damage) => damage.file === file)
  }

  /**
   * What of the content is not here, stretch by stretch; each stretch is yielded, perhaps empty.
   * Nodes of its tree are brought on the way. Rejects 'not-available' when one cannot be had.
   */
  async *absent(content: Content, sizeBytes: number): AsyncGenerator<Absent[]> {
    const working = new Working(content, sizeBytes)
    for (let at = working.inline?.length ?? 0; at < sizeBytes; at += LOOKUP_BYTES) {
      const placed: Placed[] = []
      const needs = working.extents(at, Math.min(at + LOOKUP_BYTES, sizeBytes), placed)
      await runAsync(needs, (wanted) => this.#getHere(wanted), (wanted) => this.#bringNode(wanted))
      const absent: Absent[] = []
      for (const { extent } of placed) {
        if (extent.chunk === '' || this.#reader.known(extent.chunk) !== undefined) continue
        absent.push({ bytes: extent.length, bundles: this.#options.index.away(extent.chunk) })
      }
      yield absent
    }
  }

  /** Ids of all chunks that the content names, nodes of its tree included, but for what lies below
   *  a node that is not here: nothing is fetched. Throws when a node does not open. */
  chunksOf(content: Content, sizeBytes: number): Set<ChunkId> {
    const ids = new Set<ChunkId>()
    const working = new Working(content, sizeBytes)
    const from = working.inline?.length ?? 0
    for (let at = from; at < sizeBytes; at += LOOKUP_BYTES) {
      const placed: Placed[] = []
      const needs = working.extents(at, Math.min(at + LOOKUP_BYTES, sizeBytes), placed)
      runNow(needs, (wanted) => {
        ids.add(wanted.ref.chunk as ChunkId)
        return this.#getWaiting(wanted)
      })
      for (const { extent } of placed) if (extent.chunk !== '') ids.add(extent.chunk)
    }
    return ids
  }

  /** All of a content, in memory: for those that are small. Throws as plan() does. */
  async readWhole(content: Content, sizeBytes: number): Promise<Uint8Array> {
    const working = new Working(content, sizeBytes)
    const { bytes, from, to } = inlinePart(working, 0, sizeBytes)
    const whole = new Uint8Array(sizeBytes)
    if (bytes !== undefined) whole.set(bytes.bytes)
    if (from < to) whole.set(await this.#readBack(await this.#extents(working, from, to)), from)
    return whole
  }

  /** Inline bytes that cannot stay inline become a chunk. */
  #materialise(working: Working): void {
    const bytes = working.inline
    if (bytes === undefined) return
    working.replaceInline(bytes.length === 0 ? undefined : this.#sealer.storeSmall(bytes))
  }

  #rewriter(made: { id: ChunkId; bytes: Uint8Array }[]): Rewriter {
    return {
      splitKey: this.#splitKey,
      make: (level, entries) => {
        const bytes = encodeNode(level, entries)
        const id = chunkIdOf(this.#options.idKey, bytes)
        made.push({ id, bytes })
        this.#nodes.set(id, makeNode(level, entries), entries.length * NODE_ENTRY_BYTES)
        const holeBytes = holeBytesUnder(level, entries)
        const length = totalBytes(entries)
        return { chunk: id, chunkBytes: bytes.length, begin: holeBytes, length }
      },
    }
  }

  async #extents(working: Working, from: number, to: number): Promise<Placed[]> {
    const placed: Placed[] = []
    await this.#run(working.extents(from, to, placed))
    return placed
  }

  #run<T>(needs: Needs<T>): Promise<T> {
    return runAsync(
      needs,
      (wanted) => this.#get(wanted),
      (wanted) => this.#load(wanted),
    )
  }

  /** runNow() tells a miss by undefined: this makes an end without a value one with a value. */
  *#done(needs: Needs<void>): Needs<true> {
    yield* needs
    return true
  }

  #get(wanted: NodeWanted): ManifestNode | undefined {
    const id = wanted.ref.chunk as ChunkId
    const node = this.#nodes.get(id)
    if (node !== undefined) {
      this.#reader.used(id)
      return checkNode(node, wanted)
    }
    const location = this.#reader.locateNow(id)
    const plain = location && this.#reader.readNow(id, location)
    return plain === undefined ? undefined : this.#keep(plain, wanted)
  }

  /** Not one that is only in the cache: it is to be on this device. */
  #getHere(wanted: NodeWanted): ManifestNode | undefined {
    const isHere = this.#reader.known(wanted.ref.chunk as ChunkId) !== undefined
    return isHere ? this.#get(wanted) : undefined
  }

  /** A node that is on this device, with a short read if need be. */
  #getWaiting(wanted: NodeWanted): ManifestNode | undefined {
    const location = this.#reader.known(wanted.ref.chunk as ChunkId)
    if (location === undefined) return undefined
    return this.#get(wanted) ?? this.#keep(this.#reader.readWaiting(location), wanted)
  }

  async #bringNode(wanted: NodeWanted): Promise<ManifestNode> {
    const id = wanted.ref.chunk as ChunkId
    if (this.#reader.known(id) === undefined && this.#options.index.away(id).length === 0) {
      throw new LatticeError('not-available', 'nobody has announced it yet')
    }
    return this.#keep(await this.#reader.read(id, await this.#reader.bring(id, 'pin')), wanted)
  }

  async #load(wanted: NodeWanted): Promise<ManifestNode> {
    const id = wanted.ref.chunk as ChunkId
    return this.#keep(await this.#reader.read(id, await this.#reader.bring(id, 'read')), wanted)
  }

  #holesUnder(root: NodeWanted): number {
    const id = root.ref.chunk as ChunkId
    try {
      const kept = this.#get(root)
      const node = kept ?? this.#keep(this.#reader.readWaiting(this.#reader.locate(id)), root)
      return holeBytesUnder(node.level, node.entries)
    } catch (error) {
      if (!isLatticeError(error)) throw error
      return 1 // there are some; the damage is told to whoever reads the content
    }
  }

  #keep(plain: Uint8Array, wanted: NodeWanted): ManifestNode {
    const node = checkNode(decodeNode(plain, wanted.level), wanted)
    const id = wanted.ref.chunk as ChunkId
    this.#nodes.set(id, node, node.entries.length * NODE_ENTRY_BYTES)
    return node
  }

  async #readBack(placed: readonly Placed[]): Promise<Uint8Array> {
    const plan = await planSoon(this.#reader, this.#options.packs, placed)
    try {
      return executePieces(plan.pieces, this.#options.bundleKey)
    } finally {
      plan.release()
    }
  }
}

function own(working: WorkingContent): Working {
  assert(working instanceof Working, 'a working content of another store')
  return working
}

/** Nodes are cached by id; what the ref claims must hold for the node each time. */
function checkNode(node: ManifestNode, { ref, level }: NodeWanted): ManifestNode {
  if (node.level === level && node.contentBytes === ref.length) return node
  throw new LatticeError('corrupt', 'a manifest node does not fit its place', {
    details: { rule: 'content-size' },
  })
}

function inlineOf(working: Working): Content {
  const bytes = new Uint8Array(working.sizeBytes)
  if (working.inline !== undefined) bytes.set(working.inline)
  return { kind: 'inline', bytes }
}

/** The part of [offset, offset + length) that is inline, and the range that is not. */
function inlinePart(working: Working, offset: number, length: number) {
  const to = Math.min(offset + length, working.sizeBytes)
  const { inline } = working
  if (inline === undefined || offset >= inline.length) return { bytes: undefined, from: offset, to }
  const end = Math.min(to, inline.length)
  return { bytes: { offset, bytes: inline.slice(offset, end) }, from: inline.length, to }
}

function withInline(
  part: { offset: number; bytes: Uint8Array } | undefined,
  plan: ReadPlan,
): ReadPlan {
  if (part !== undefined && part.bytes.length > 0) plan.pieces.unshift({ kind: 'bytes', ...part })
  return plan
}

