// ChunkIndex over LMDB, with its own two generations: what was put since the last checkpoint is in
// a map, what is being written in another. Keys are keyed hashes of chunk ids, locations are
// sealed.

import type { ChunkIndex, ChunkLocation } from '../chunks/chunk-index-port.ts'
import type { ChunkId } from '../ops/types.ts'
import { RecordReader, RecordWriter } from '../state/wire.ts'
import { assert } from '../util/assert.ts'
import { HalvesCache } from './cache.ts'
import type { IndexEnvironment, Write } from './environment.ts'
import { damagedIndex } from './environment.ts'
import type { IndexKeys } from './keys.ts'

const LOCATION_VERSION = 0
const CACHE_HALF_COUNT = 8192

export class ChunkTable implements ChunkIndex {
  readonly #environment: IndexEnvironment
  readonly #keys: IndexKeys
  readonly #cache = new HalvesCache<ChunkId, ChunkLocation>(CACHE_HALF_COUNT)
  readonly #writer = new RecordWriter()
  readonly #reader = new RecordReader(Buffer.alloc(0))
  #current = new Map<ChunkId, ChunkLocation>()
  #frozen: Map<ChunkId, ChunkLocation> | undefined

  constructor(environment: IndexEnvironment, keys: IndexKeys) {
    this.#environment = environment
    this.#keys = keys
  }

  get changes(): number {
    return this.#current.size
  }

  get(id: ChunkId): ChunkLocation | undefined {
    const newer = this.#current.get(id) ?? this.#frozen?.get(id) ?? this.#cache.get(id)
    if (newer !== undefined) return newer
    const plain = this.#environment.getSealed(this.#keys.chunk(id))
    if (plain === undefined) return undefined
    const location = decodeLocation(this.#reader.reset(plain))
    this.#cache.set(id, location)
    return location
  }

  put(id: ChunkId, location: ChunkLocation): void {
    this.#current.set(id, location)
  }

  freeze(): void {
    assert(this.#frozen === undefined, 'chunk locations are frozen already')
    this.#frozen = this.#current
    this.#current = new Map()
  }

  /** Takes the last freeze back. */
  thaw(): void {
    const frozen = this.#frozen ?? new Map<ChunkId, ChunkLocation>()
    for (const [id, location] of this.#current) frozen.set(id, location)
    this.#current = frozen
    this.#frozen = undefined
  }

  /** Adds the frozen locations as writes; about 2 µs each. */
  prepare(out: Write[]): void {
    for (const [id, location] of this.#frozen ?? []) {
      const key = this.#keys.chunk(id)
      encodeLocation(this.#writer.reset(), location)
      out.push({ key, value: this.#environment.seal(key, this.#writer.view()) })
    }
  }

  /** The frozen locations are written. */
  release(): void {
    for (const [id, location] of this.#frozen ?? []) this.#cache.set(id, location)
    this.#frozen = undefined
  }
}

function encodeLocation(writer: RecordWriter, location: ChunkLocation): void {
  writer.u8(LOCATION_VERSION)
  writer.u8(location.where === 'pack' ? 0 : 1)
  writer.u8(location.codec)
  writer.varint(location.file)
  writer.varint(location.bundleOffset)
  writer.varint(location.bundleBytes)
  writer.varint(location.plainOffset)
  writer.varint(location.storedBytes)
  writer.varint(location.plainBytes)
}

function decodeLocation(reader: RecordReader): ChunkLocation {
  if (reader.u8() !== LOCATION_VERSION) {
    throw damagedIndex('version', 'a chunk location has an unknown version')
  }
  const where = reader.u8() === 0 ? 'pack' : 'journal'
  const codec = reader.u8()
  const file = reader.varint()
  const bundleOffset = reader.varint()
  const bundleBytes = reader.varint()
  const plainOffset = reader.varint()
  const storedBytes = reader.varint()
  const plainBytes = reader.varint()
  reader.end()
  return { where, codec, file, bundleOffset, bundleBytes, plainOffset, storedBytes, plainBytes }
}
