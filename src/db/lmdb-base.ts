// Base over LMDB: decoded records read on demand, with bounded caches. Read only; IndexWriter
// brings a generation in and tells the caches. A cold lookup is two gets and one open: name →
// cookie, entry with the node's record in it.

import type { AuthorId, LinkId, Name, NodeId, NodeKind, OpRef } from '../ops/types.ts'
import type { RecordCodec } from '../state/record-codec.ts'
import type {
  BatchInfo, ControlBatch, Entry, GroupRecord, MoveRecord, NodeRecord,
} from '../state/records.ts'
import { STORED_BY_INO, STORED_HIDDEN, STORED_IN_ENTRY } from '../state/records.ts'
import type { Base, GroupPlace, PlacedGroup } from '../state/store.ts'
import { RecordReader } from '../state/wire.ts'
import { readU64 } from '../util/bytes.ts'
import { HalvesCache } from './cache.ts'
import type { IndexEnvironment } from './environment.ts'
import { damagedIndex } from './environment.ts'
import type { IndexKeys } from './keys.ts'
import { TABLE_HIDDEN, TABLE_LINK, TABLE_NODE } from './keys.ts'
import type { SideTables } from './side-tables.ts'

export const RECORD_VERSION = 0
export const INODE_POINTER = 1
export const INODE_RECORD = 2
export const ENTRY_EMBEDS = 1

/** Decoded records and entries kept: about 1 KiB each. */
const CACHE_HALF_COUNT = 8192
/** Names known to be missing: a creation looks its name up several times. */
const MISSING_HALF_COUNT = 256

export class LmdbBase implements Base {
  readonly #environment: IndexEnvironment
  readonly #keys: IndexKeys
  readonly #codec: RecordCodec
  readonly #side: SideTables
  readonly #reader = new RecordReader(Buffer.alloc(0))
  readonly #nodes = new HalvesCache<number, NodeRecord>(CACHE_HALF_COUNT)
  readonly #entries = new HalvesCache<string, Entry>(CACHE_HALF_COUNT)
  readonly #missing = new HalvesCache<string, true>(MISSING_HALF_COUNT)
  readonly #inos = new HalvesCache<NodeId, number>(CACHE_HALF_COUNT)

  constructor(
    environment: IndexEnvironment, keys: IndexKeys, codec: RecordCodec, side: SideTables,
  ) {
    this.#environment = environment
    this.#keys = keys
    this.#codec = codec
    this.#side = side
  }

  node(ino: number): NodeRecord | undefined {
    const cached = this.#nodes.get(ino)
    if (cached !== undefined) return cached
    const plain = this.#environment.getSealed(this.#keys.inode(ino))
    if (plain === undefined) return undefined
    const reader = this.#begin(plain)
    const what = reader.u8()
    if (what === INODE_POINTER) {
      const parent = reader.varint()
      const cookie = reader.varint()
      const found = this.#readEntry(parent, cookie, true)
      const record = this.#nodes.get(ino)
      if (found?.ino !== ino || record === undefined) {
        throw damagedIndex('record', 'an inode points to an entry that is not its own')
      }
      return record
    }
    if (what !== INODE_RECORD) throw damagedIndex('record', 'an inode of an unknown form')
    const record = this.#codec.decode(reader, ino, undefined)
    record.stored = STORED_BY_INO
    this.#nodes.set(ino, record)
    return record
  }

  entry(parent: number, name: Name): Entry | undefined {
    const cacheKey = entryKey(parent, name)
    const cached = this.#entries.get(cacheKey)
    if (cached !== undefined) return cached
    if (this.#missing.get(cacheKey)) return undefined
    const found = this.#environment.get(this.#keys.name(parent, name))
    if (found === undefined) {
      this.#missing.set(cacheKey, true)
      return undefined
    }
    const cookie = readU64(found, 0) ?? 0
    const entry = this.#readEntry(parent, cookie, true)
    if (entry === undefined || entry.name !== name) {
      throw damagedIndex('record', 'a name leads to an entry that is not its own')
    }
    this.#entries.set(cacheKey, entry)
    return entry
  }

  entries(parent: number, after: number, max: number, nodes: boolean): Entry[] {
    const out: Entry[] = []
    const begin = this.#keys.entry(parent, after + 1)
    const end = this.#keys.entry(parent + 1, 0)
    for (const { key, value } of this.#environment.range(begin, end, max)) {
      const cookie = readU64(key, 9) ?? 0
      out.push(this.#decodeEntry(parent, cookie, this.#environment.open(key, value), nodes))
    }
    return out
  }

  inoOf(node: NodeId): number | undefined {
    const cached = this.#inos.get(node)
    if (cached !== undefined) return cached
    const found = this.#environment.get(this.#keys.id(TABLE_NODE, node))
    if (found === undefined) return undefined
    const ino = readU64(found, 0)
    if (ino !== undefined) this.#inos.set(node, ino)
    return ino
  }

  nodeOfLink(link: LinkId): NodeId | undefined {
    const found = this.#environment.get(this.#keys.id(TABLE_LINK, link))
    return found === undefined ? undefined : found.toString('latin1') as NodeId
  }

  hidden(node: NodeId): NodeRecord | undefined {
    const plain = this.#environment.getSealed(this.#keys.id(TABLE_HIDDEN, node))
    if (plain === undefined) return undefined
    const record = this.#codec.decode(this.#begin(plain), 0, undefined)
    record.stored = STORED_HIDDEN
    return record
  }

  group(dir: number, name: Name): GroupRecord | undefined {
    return this.#side.group(dir, name)
  }

  skips(dir: number, name: Name): readonly Name[] {
    return this.#side.skips(dir, name)
  }

  groups(after: GroupPlace | undefined, max: number): PlacedGroup[] {
    return this.#side.groups(after, max)
  }

  groupOrder(dir: number, name: Name): string {
    return this.#side.groupOrder(dir, name)
  }

  movesFrom(end: OpRef | undefined): Iterable<MoveRecord> {
    return this.#side.movesFrom(end)
  }

  batch(author: AuthorId, seq: number): BatchInfo | undefined {
    return this.#side.batch(author, seq)
  }

  control(after: { author: AuthorId; seq: number } | undefined, max: number): ControlBatch[] {
    return this.#side.control(after, max)
  }

  // ---- for IndexWriter: the caches follow what was written ----

  settleNode(ino: number, record: NodeRecord | null): void {
    if (record === null) this.#nodes.delete(ino)
    else this.#nodes.set(ino, record)
  }

  settleIno(node: NodeId, ino: number): void {
    if (ino === 0) this.#inos.delete(node)
    else this.#inos.set(node, ino)
  }

  settleEntry(parent: number, name: Name, entry: Entry | null): void {
    const cacheKey = entryKey(parent, name)
    this.#missing.delete(cacheKey)
    if (entry === null) this.#entries.delete(cacheKey)
    else this.#entries.set(cacheKey, entry)
  }

  #readEntry(parent: number, cookie: number, nodes: boolean): Entry | undefined {
    const plain = this.#environment.getSealed(this.#keys.entry(parent, cookie))
    return plain === undefined ? undefined : this.#decodeEntry(parent, cookie, plain, nodes)
  }

  #decodeEntry(parent: number, cookie: number, plain: Buffer, nodes: boolean): Entry {
    const reader = this.#begin(plain)
    const flags = reader.u8()
    const kind = reader.u8() as NodeKind
    const ino = reader.varint()
    const name = reader.text() as Name
    const entry: Entry = { parent, cookie, name, ino, kind }
    if (nodes && (flags & ENTRY_EMBEDS) !== 0 && this.#nodes.get(ino) === undefined) {
      const record = this.#codec.decode(reader, ino, entry)
      record.stored = STORED_IN_ENTRY
      record.storedParent = parent
      record.storedCookie = cookie
      this.#nodes.set(ino, record)
    }
    return entry
  }

  #begin(plain: Buffer): RecordReader {
    const reader = this.#reader.reset(plain)
    if (reader.u8() !== RECORD_VERSION) {
      throw damagedIndex('version', 'a record of the index has an unknown version')
    }
    return reader
  }
}

function entryKey(parent: number, name: string): string {
  return `${parent}/${name}`
}
