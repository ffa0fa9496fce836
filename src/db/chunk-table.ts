// Where chunks are, and where bundles are, in LMDB: ChunkIndex and BundleIndex over sealed tables.
// Keys are keyed hashes of the ids.

import { withAway } from '../chunks/chunk-index-port.ts'
import type {
  AwayBundle, BundleIndex, BundlePlace, ChunkIndex, ChunkLocation,
} from '../chunks/chunk-index-port.ts'
import type { AuthorId, BundleId, ChunkId } from '../ops/types.ts'
import type { RecordReader, RecordWriter } from '../state/wire.ts'
import type { IndexEnvironment, Write } from './environment.ts'
import { damagedIndex } from './environment.ts'
import { TABLE_BUNDLE, TABLE_CHUNK, TABLE_CONTENT } from './keys.ts'
import type { IndexKeys } from './keys.ts'
import { SealedTable } from './sealed-table.ts'

const LOCATION_VERSION = 0
const IN_PACK = 0
const IN_JOURNAL = 1
const AWAY = 2
const NONE: readonly AwayBundle[] = Object.freeze([])

/** A chunk that is not here: bundles of others that hold it, the one heard of last first. */
interface Away {
  where: 'away'
  bundles: readonly AwayBundle[]
}

export class ChunkTable implements ChunkIndex {
  readonly #table: SealedTable<ChunkId, ChunkLocation | Away>

  constructor(environment: IndexEnvironment, keys: IndexKeys) {
    this.#table = new SealedTable(environment, {
      key: (id) => keys.hashed(TABLE_CHUNK, id),
      encode: encodeLocation,
      decode: decodeLocation,
    })
  }

  get changes(): number {
    return this.#table.changes
  }

  get(id: ChunkId): ChunkLocation | undefined {
    const found = this.#table.get(id)
    return found?.where === 'away' ? undefined : found
  }

  put(id: ChunkId, location: ChunkLocation): void {
    this.#table.put(id, location)
  }

  away(id: ChunkId): readonly AwayBundle[] {
    const found = this.#table.get(id)
    return found?.where === 'away' ? found.bundles : NONE
  }

  announce(id: ChunkId, bundle: AwayBundle): void {
    const found = this.#table.get(id)
    if (found !== undefined && found.where !== 'away') return
    const known = found?.bundles ?? NONE
    if (known[0]?.id !== bundle.id) this.#away(id, withAway(known, bundle))
  }

  leave(id: ChunkId, bundle: AwayBundle): void {
    this.#away(id, withAway(this.away(id), bundle))
  }

  freeze(): void {
    this.#table.freeze()
  }

  thaw(): void {
    this.#table.thaw()
  }

  prepare(out: Write[]): void {
    this.#table.prepare(out)
  }

  release(): void {
    this.#table.release()
  }

  #away(id: ChunkId, bundles: readonly AwayBundle[]): void {
    this.#table.put(id, { where: 'away', bundles })
  }
}

export class BundleTable implements BundleIndex {
  readonly #table: SealedTable<BundleId, BundlePlace>
  readonly #content: SealedTable<string, AwayBundle>

  constructor(environment: IndexEnvironment, keys: IndexKeys) {
    this.#table = new SealedTable(environment, {
      key: (id) => keys.hashed(TABLE_BUNDLE, id),
      encode: encodePlace,
      decode: decodePlace,
    })
    this.#content = new SealedTable(environment, {
      key: (place) => keys.hashed(TABLE_CONTENT, place),
      encode: encodeDescribed,
      decode: decodeDescribed,
    })
  }

  get changes(): number {
    return this.#table.changes + this.#content.changes
  }

  get(id: BundleId): BundlePlace | undefined {
    return this.#table.get(id)
  }

  put(id: BundleId, place: BundlePlace): void {
    this.#table.put(id, place)
  }

  remove(id: BundleId): void {
    this.#table.put(id, undefined)
  }

  describe(author: AuthorId, number: number, bundle: AwayBundle): void {
    this.#content.put(`${author}${number}`, bundle)
  }

  described(author: AuthorId, number: number): AwayBundle | undefined {
    return this.#content.get(`${author}${number}`)
  }

  freeze(): void {
    this.#table.freeze()
    this.#content.freeze()
  }

  thaw(): void {
    this.#table.thaw()
    this.#content.thaw()
  }

  prepare(out: Write[]): void {
    this.#table.prepare(out)
    this.#content.prepare(out)
  }

  release(): void {
    this.#table.release()
    this.#content.release()
  }
}

function encodeLocation(writer: RecordWriter, location: ChunkLocation | Away): void {
  writer.u8(LOCATION_VERSION)
  if (location.where === 'away') {
    writer.u8(AWAY)
    writer.varint(location.bundles.length)
    for (const { id, sealedBytes } of location.bundles) {
      writer.text(id)
      writer.varint(sealedBytes)
    }
    return
  }
  writer.u8(location.where === 'pack' ? IN_PACK : IN_JOURNAL)
  writer.u8(location.codec)
  writer.varint(location.file)
  writer.varint(location.bundleOffset)
  writer.varint(location.bundleBytes)
  writer.varint(location.plainOffset)
  writer.varint(location.storedBytes)
  writer.varint(location.plainBytes)
}

function decodeLocation(reader: RecordReader): ChunkLocation | Away {
  checkVersion(reader)
  const kind = reader.u8()
  if (kind === AWAY) {
    const bundles: AwayBundle[] = []
    for (let left = reader.varint(); left > 0; left--) {
      bundles.push({ id: reader.text() as BundleId, sealedBytes: reader.varint() })
    }
    reader.end()
    return { where: 'away', bundles }
  }
  const where = kind === IN_PACK ? 'pack' : 'journal'
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

function encodeDescribed(writer: RecordWriter, { id, sealedBytes }: AwayBundle): void {
  writer.u8(LOCATION_VERSION)
  writer.text(id)
  writer.varint(sealedBytes)
}

function decodeDescribed(reader: RecordReader): AwayBundle {
  checkVersion(reader)
  const bundle = { id: reader.text() as BundleId, sealedBytes: reader.varint() }
  reader.end()
  return bundle
}

function encodePlace(writer: RecordWriter, place: BundlePlace): void {
  writer.u8(LOCATION_VERSION)
  writer.varint(place.file)
  writer.varint(place.bundleOffset)
  writer.varint(place.bundleBytes)
}

function decodePlace(reader: RecordReader): BundlePlace {
  checkVersion(reader)
  const file = reader.varint()
  const bundleOffset = reader.varint()
  const bundleBytes = reader.varint()
  reader.end()
  return { file, bundleOffset, bundleBytes }
}

function checkVersion(reader: RecordReader): void {
  if (reader.u8() === LOCATION_VERSION) return
  throw damagedIndex('version', 'a place in the index has an unknown version')
}
