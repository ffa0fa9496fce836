/**
 * What chunks/ needs from the rest of the device to know where chunks are: the index (db/, part of
 * the LMDB state and its overlay) and the journal side of loose chunks. Both are synchronous, since
 * planning a read must be possible within one call. Composition wires them; the memory twin of the
 * index serves tests and the simulator.
 *
 * Invariant: an index entry becomes durable only after the bytes that it names. Whoever makes
 * entries durable (the checkpoint) calls ContentStore.sync() first; until then a crash loses entry
 * and bytes together. A lost entry is found again by scanning packs and journal.
 */

import type { AuthorId, BundleId, ChunkId } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'

/** Where one chunk is. All sizes and offsets in bytes. */
export type ChunkLocation = {
  where: 'pack' | 'journal'
  /** Pack file: writer * 2^24 + number (packFileOf). Journal: number of the segment. */
  file: number
  /** Start of the sealed bundle (of its header) in that file; of the record in the journal. */
  bundleOffset: number
  /** Sealed size of the bundle, header included; of the record in the journal. */
  bundleBytes: number
  /** Start of the stored chunk in the bundle's plaintext. 0 in the journal. */
  plainOffset: number
  /** Size as stored, that is after compression, and the chunk's own size. */
  storedBytes: number
  plainBytes: number
  /** chunks/compress.ts: 0 raw, 1 LZ4. */
  codec: number
}

export interface ChunkIndex {
  /** The newest location of the chunk, or undefined. Not changed by the caller. */
  get(id: ChunkId): ChunkLocation | undefined
  /** Adds or replaces. Takes effect at once. */
  put(id: ChunkId, location: ChunkLocation): void
  /** Bundles that are said to hold the chunk, while it is not here: at most AWAY_MAX. */
  away(id: ChunkId): readonly AwayBundle[]
  /** Somebody says that the bundle holds the chunk. Nothing is noted of chunks that are here. */
  announce(id: ChunkId, bundle: AwayBundle): void
  /** The chunk is here no more; the bundle holds it. */
  leave(id: ChunkId, bundle: AwayBundle): void
}

/** A bundle that others hold. */
export type AwayBundle = { id: BundleId; sealedBytes: number }

/** Bundles noted for one chunk: others hold the same content in bundles of their own. */
export const AWAY_MAX = 4

/** Where a sealed bundle lies on this device. */
export type BundlePlace = { file: number; bundleOffset: number; bundleBytes: number }

/** Bundles that have a name in the logs, as far as they are here. */
export interface BundleIndex {
  get(id: BundleId): BundlePlace | undefined
  put(id: BundleId, place: BundlePlace): void
  remove(id: BundleId): void
  /** The author's content log names this bundle at that place. */
  describe(author: AuthorId, number: number, bundle: AwayBundle): void
  described(author: AuthorId, number: number): AwayBundle | undefined
}

/** `bundles` with the new one first, bounded. */
export function withAway(bundles: readonly AwayBundle[], bundle: AwayBundle): AwayBundle[] {
  return [bundle, ...bundles.filter(({ id }) => id !== bundle.id)].slice(0, AWAY_MAX)
}

/**
 * Loose chunks: up to LOOSE_MAX_BYTES, one journal record each. The record is sealed with the local
 * database key and holds id, codec, plain size and stored bytes, so that a replay finds it again.
 */
export interface LooseChunks {
  /**
   * Queues a record and returns where it will be. It is readable at once and becomes durable with
   * the next flush of the journal, never after a batch that is appended later. `stored` is copied.
   */
  append(
    id: ChunkId,
    codec: number,
    plainBytes: number,
    stored: Uint8Array,
  ): ChunkLocation
  /** The stored bytes, from RAM or by one short read. Throws 'damaged-journal' when the record does
   *  not open or holds another chunk. */
  read(id: ChunkId, location: ChunkLocation): Uint8Array
}

export const LOOSE_MAX_BYTES = 16 * 1024

const WRITER_UNIT = 2 ** 24

/** One number for a pack of one writer: 256 writers of 16 million packs each. */
export function packFileOf(writer: number, number: number): number {
  return writer * WRITER_UNIT + number
}

export function packWriterOf(file: number): number {
  return Math.floor(file / WRITER_UNIT)
}

export function packNumberOf(file: number): number {
  return file % WRITER_UNIT
}

/** ChunkIndex in a Map: tests, simulator. */
export class MemoryChunkIndex implements ChunkIndex {
  readonly entries = new Map<ChunkId, ChunkLocation>()
  readonly #away = new Map<ChunkId, AwayBundle[]>()

  get(id: ChunkId): ChunkLocation | undefined {
    return this.entries.get(id)
  }

  put(id: ChunkId, location: ChunkLocation): void {
    this.entries.set(id, location)
    this.#away.delete(id)
  }

  away(id: ChunkId): readonly AwayBundle[] {
    return this.#away.get(id) ?? []
  }

  announce(id: ChunkId, bundle: AwayBundle): void {
    if (!this.entries.has(id)) this.#away.set(id, withAway(this.away(id), bundle))
  }

  leave(id: ChunkId, bundle: AwayBundle): void {
    this.entries.delete(id)
    this.announce(id, bundle)
  }
}

/** BundleIndex in a Map: tests, simulator. */
export class MemoryBundleIndex implements BundleIndex {
  readonly #places = new Map<BundleId, BundlePlace>()
  readonly #described = new Map<string, AwayBundle>()

  get(id: BundleId): BundlePlace | undefined {
    return this.#places.get(id)
  }

  put(id: BundleId, place: BundlePlace): void {
    this.#places.set(id, place)
  }

  remove(id: BundleId): void {
    this.#places.delete(id)
  }

  describe(author: AuthorId, number: number, bundle: AwayBundle): void {
    this.#described.set(`${author}${number}`, bundle)
  }

  described(author: AuthorId, number: number): AwayBundle | undefined {
    return this.#described.get(`${author}${number}`)
  }
}

/** LooseChunks in a Map: tests, simulator. */
export class MemoryLooseChunks implements LooseChunks {
  readonly #records: { id: ChunkId; stored: Uint8Array }[] = []

  append(id: ChunkId, codec: number, plainBytes: number, stored: Uint8Array): ChunkLocation {
    const bundleOffset = this.#records.push({ id, stored: stored.slice() }) - 1
    return {
      where: 'journal',
      file: 0,
      bundleOffset,
      bundleBytes: stored.length,
      plainOffset: 0,
      storedBytes: stored.length,
      plainBytes,
      codec,
    }
  }

  read(id: ChunkId, location: ChunkLocation): Uint8Array {
    const record = this.#records[location.bundleOffset]
    if (record?.id !== id) throw new LatticeError('damaged-journal', 'no such loose chunk')
    return record.stored
  }
}
