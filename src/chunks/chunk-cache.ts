// Where chunks are and what they hold, with two bounded caches before the index and the packs:
// locations (an index lookup costs a get and an open), and plaintext of chunks that cannot be read
// in parts (compressed ones) or are read again and again.
//
// A location counts only if its bytes are in a valid part of a pack: an index that knows more than
// the disk has makes a chunk unknown, so that it is sealed again, never a reference to nothing.
//
// A chunk that is not here may be in a bundle that others hold: then it is *away*, and bring()
// waits for it; one whose bundle nobody has announced yet is waited for a little.

import { assert } from '../util/assert.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Lru } from '../util/lru.ts'
import type { BundleHeader } from './bundle-layout.ts'
import { segmentRange } from './bundle-layout.ts'
import { openRange } from './bundle.ts'
import { checkChunkId } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import type { AwayBundle, ChunkIndex, ChunkLocation, LooseChunks } from './chunk-index-port.ts'
import type { AwayBundles, Urgency } from './content-store-ports.ts'
import { CODEC_RAW, decompressChunk } from './compress.ts'
import { damagedPack } from './pack-store.ts'
import type { PackStore } from './pack-store.ts'

const LOCATIONS_MAX = 65_536
const PLAIN_MAX_BYTES = 16 * 1024 * 1024

export class ChunkReader {
  readonly #index: ChunkIndex
  readonly #loose: LooseChunks
  readonly #packs: PackStore
  readonly #locations = new Lru<ChunkId, ChunkLocation>({ maxBytes: LOCATIONS_MAX })
  readonly #plain: Lru<ChunkId, Uint8Array>
  readonly #loading = new Map<ChunkId, Promise<Uint8Array>>()
  readonly #away: AwayBundles | undefined

  /** `away`: undefined when nobody else holds anything of this vault. */
  constructor(
    index: ChunkIndex,
    loose: LooseChunks,
    packs: PackStore,
    plainMaxBytes = PLAIN_MAX_BYTES,
    away?: AwayBundles,
  ) {
    this.#index = index
    this.#loose = loose
    this.#packs = packs
    this.#away = away
    this.#plain = new Lru({ maxBytes: plainMaxBytes, onEvict: (_, bytes) => bytes.fill(0) })
  }

  /** The location, or undefined when the chunk is nowhere on this device. */
  known(id: ChunkId): ChunkLocation | undefined {
    let location = this.#locations.get(id)
    if (location === undefined) {
      location = this.#index.get(id)
      if (location === undefined) return undefined
      this.#locations.set(id, location, 1)
    }
    return location.where === 'journal' || this.#packs.covers(location) ? location : undefined
  }

  /** Somebody has it from a cache: where it lies is in use, too. */
  used(id: ChunkId): void {
    const location = this.#locations.get(id)
    if (location?.where === 'pack') this.#packs.use.touch(location.file, location.bundleOffset)
  }

  /** As known(); throws 'chunk-missing'. */
  locate(id: ChunkId): ChunkLocation {
    const location = this.known(id)
    if (location === undefined) {
      throw new LatticeError('chunk-missing', 'a chunk is not on this device')
    }
    return location
  }

  /** As locate(), or undefined when the chunk must be waited for: bring(). */
  locateNow(id: ChunkId): ChunkLocation | undefined {
    return this.#away === undefined ? this.locate(id) : this.known(id)
  }

  /** As locate(), of a chunk that others may have to send first. Rejects 'not-available'. */
  async bring(id: ChunkId, urgency: Urgency): Promise<ChunkLocation> {
    const away = this.#away
    if (away !== undefined && this.known(id) === undefined) {
      let bundles = this.#index.away(id)
      if (bundles.length === 0) {
        await away.announced(id)
        bundles = this.#index.away(id)
      }
      if (this.known(id) === undefined && bundles.length > 0) await away.fetch(bundles, urgency)
    }
    return this.locate(id)
  }

  /** The chunk is here no more: it was given up, since the bundle is elsewhere. */
  leave(id: ChunkId, bundle: AwayBundle): void {
    this.#locations.delete(id)
    this.#index.leave(id, bundle)
  }

  put(id: ChunkId, location: ChunkLocation): void {
    if (location.where === 'pack') {
      this.#packs.grew(location.file, location.bundleOffset + location.bundleBytes)
    }
    this.#index.put(id, location)
    this.#locations.set(id, location, 1)
  }

  /** The plaintext, if it needs no wait; not to be changed, and valid until the next call. */
  readNow(id: ChunkId, location: ChunkLocation): Uint8Array | undefined {
    const cached = this.#plain.get(id)
    if (cached !== undefined) return cached
    if (location.where !== 'journal') return undefined
    const stored = this.#loose.read(id, location)
    return decompressChunk(location.codec, stored, location.plainBytes)
  }

  /** The plaintext of a chunk; concurrent callers share one read. */
  async read(id: ChunkId, location: ChunkLocation): Promise<Uint8Array> {
    const now = this.readNow(id, location)
    if (now !== undefined) return now
    const loading = this.#loading.get(id) ?? this.#load(id, location)
    this.#loading.set(id, loading)
    try {
      return await loading
    } finally {
      this.#loading.delete(id)
    }
  }

  /** The plaintext, read here and now: for little that a caller cannot wait for otherwise. */
  readWaiting(location: ChunkLocation): Uint8Array {
    assert(location.where === 'pack', 'a loose chunk needs no wait')
    const { file, bundleOffset, bundleBytes, plainOffset, storedBytes, codec } = location
    const header = this.#packs.header(file, bundleOffset, bundleBytes)
    try {
      const range = segmentRange(header.sealedBytes, plainOffset, storedBytes)
      const sealed = this.#packs.readNow(file, bundleOffset + range.sealedOffset, range.sealedBytes)
      const key = this.#packs.keyOf(header)
      const stored = openRange(key, header, sealed, range, plainOffset, storedBytes)
      return decompressChunk(codec, stored, location.plainBytes)
    } catch (cause) {
      if (isLatticeError(cause, 'missing-key')) throw cause
      if (isLatticeError(cause)) throw damagedPack(file, bundleOffset, cause)
      throw cause
    }
  }

  /** Part of a raw chunk that lies in a pack: only the segments around it are opened. */
  async readPart(location: ChunkLocation, begin: number, length: number): Promise<Uint8Array> {
    const { file, bundleOffset, bundleBytes } = location
    assert(location.where === 'pack' && location.codec === CODEC_RAW, 'not a raw chunk of a pack')
    const header = this.#packs.header(file, bundleOffset, bundleBytes)
    return this.#open(location, header, location.plainOffset + begin, length)
  }

  /** Reads the chunk past all caches and checks that it is what its id says. */
  async verify(idKey: Uint8Array, id: ChunkId): Promise<void> {
    const location = this.locate(id)
    const plain = location.where === 'journal'
      ? decompressChunk(location.codec, this.#loose.read(id, location), location.plainBytes)
      : await this.#inflate(location)
    checkChunkId(idKey, id, plain)
  }

  clear(): void {
    for (const [, bytes] of this.#plain.entries()) bytes.fill(0)
    this.#plain.clear()
    this.#locations.clear()
  }

  async #load(id: ChunkId, location: ChunkLocation): Promise<Uint8Array> {
    const plain = await this.#inflate(location)
    // A copy of its own: the opened bytes are a view, and an evicted entry is zeroed.
    this.#plain.set(id, plain.slice(), plain.length)
    return plain
  }

  async #inflate(location: ChunkLocation): Promise<Uint8Array> {
    const { file, bundleOffset, bundleBytes, plainOffset, storedBytes, codec } = location
    const header = this.#packs.header(file, bundleOffset, bundleBytes)
    const stored = await this.#open(location, header, plainOffset, storedBytes)
    try {
      return decompressChunk(codec, stored, location.plainBytes)
    } catch (cause) {
      throw damagedPack(file, bundleOffset, cause)
    }
  }

  async #open(
    { file, bundleOffset }: ChunkLocation,
    header: BundleHeader,
    begin: number,
    length: number,
  ): Promise<Uint8Array> {
    try {
      const range = segmentRange(header.sealedBytes, begin, length)
      const at = bundleOffset + range.sealedOffset
      const sealed = await this.#packs.read(file, at, range.sealedBytes)
      return openRange(this.#packs.keyOf(header), header, sealed, range, begin, length)
    } catch (cause) {
      if (isLatticeError(cause, 'damaged-pack') || isLatticeError(cause, 'missing-key')) throw cause
      if (isLatticeError(cause)) throw damagedPack(file, bundleOffset, cause)
      throw cause
    }
  }
}
