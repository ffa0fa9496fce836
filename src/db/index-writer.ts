// Brings a frozen generation into LMDB: encoded and sealed in slices that leave the thread free in
// between, then put in one transaction together with the counters and the cursor. What it computes
// on the way (state hash, hashes of names, where a record lies) is noted in the records.

import type { NodeId } from '../ops/types.ts'
import type { DirectoryChanges, Generation } from '../state/overlay.ts'
import type { RecordCodec } from '../state/record-codec.ts'
import type { Entry, LinkRecord, NodeRecord } from '../state/records.ts'
import { STORED_BY_INO, STORED_HIDDEN, STORED_IN_ENTRY } from '../state/records.ts'
import type { StateHash } from '../state/state-hash.ts'
import { RecordWriter } from '../state/wire.ts'
import { assert } from '../util/assert.ts'
import { writeU64 } from '../util/bytes.ts'
import type { IndexEnvironment, Write } from './environment.ts'
import type { IndexKeys } from './keys.ts'
import { NAME_HASH_OFFSET, TABLE_HIDDEN, TABLE_LINK, TABLE_NODE } from './keys.ts'
import type { LmdbBase } from './lmdb-base.ts'
import { ENTRY_EMBEDS, INODE_POINTER, INODE_RECORD, RECORD_VERSION } from './lmdb-base.ts'
import type { SideTables } from './side-tables.ts'

/** The thread is given free after this much encoding. */
const SLICE_MS = 4
const CHECK_EVERY = 64

const NO_HASH = '\0'.repeat(16)

export class IndexWriter {
  readonly #environment: IndexEnvironment
  readonly #keys: IndexKeys
  readonly #codec: RecordCodec
  readonly #hash: StateHash
  readonly #side: SideTables
  readonly #writer = new RecordWriter()

  constructor(
    environment: IndexEnvironment, keys: IndexKeys, codec: RecordCodec, hash: StateHash,
    side: SideTables,
  ) {
    this.#environment = environment
    this.#keys = keys
    this.#codec = codec
    this.#hash = hash
    this.#side = side
  }

  /** Adds everything that the generation changes. Once for each generation: the hashes move. */
  async prepare(generation: Generation, out: Write[]): Promise<void> {
    const pace = new Pace()
    for (const [parent, changes] of generation.directories) {
      const record = generation.nodes.get(parent)
      const hash = Buffer.from(record?.namesHash || NO_HASH, 'latin1')
      for (const [name, entry] of changes.byName) {
        this.#writeName(out, parent, name, entry, changes, hash)
        if (pace.isOver()) await pace.rest()
      }
      for (const [cookie, entry] of changes.byCookie) {
        if (entry === null) out.push({ key: this.#keys.entry(parent, cookie), value: undefined })
        else assert(generation.nodes.get(entry.ino), 'an entry changed without its node')
      }
      if (record !== undefined && record !== null) record.namesHash = hash.toString('latin1')
    }
    for (const [ino, record] of generation.nodes) {
      if (record === null) out.push({ key: this.#keys.inode(ino), value: undefined })
      else this.#writeNode(out, record)
      if (pace.isOver()) await pace.rest()
    }
    for (const [node, record] of generation.hidden) {
      this.#writeHidden(out, node, record)
      if (pace.isOver()) await pace.rest()
    }
    for (const [node, ino] of generation.inos) {
      out.push({ key: this.#keys.id(TABLE_NODE, node), value: ino === 0 ? undefined : u64(ino) })
    }
    for (const [link, node] of generation.links) {
      out.push({ key: this.#keys.id(TABLE_LINK, link), value: Buffer.from(node, 'latin1') })
    }
    for (const write of this.#side.writes(generation.side)) {
      out.push(write)
      if (pace.isOver()) await pace.rest()
    }
  }

  /** Tells the caches, once the generation is written. */
  settle(generation: Generation, base: LmdbBase): void {
    for (const [ino, record] of generation.nodes) base.settleNode(ino, record)
    for (const [node, ino] of generation.inos) base.settleIno(node, ino)
    for (const [parent, changes] of generation.directories) {
      for (const [name, entry] of changes.byName) base.settleEntry(parent, name, entry)
    }
  }

  #writeName(
    out: Write[], parent: number, name: string, entry: Entry | null,
    changes: DirectoryChanges, hash: Buffer,
  ): void {
    const key = this.#keys.name(parent, name)
    const wasThere = !changes.isNew && this.#environment.has(key)
    if (wasThere !== (entry !== null)) {
      for (let i = 0; i < hash.length; i++) {
        hash[i] = (hash[i] as number) ^ (key[NAME_HASH_OFFSET + i] as number)
      }
    }
    if (entry !== null) out.push({ key, value: u64(entry.cookie) })
    else if (wasThere) out.push({ key, value: undefined })
  }

  #writeNode(out: Write[], record: NodeRecord): void {
    this.#hash.update(record)
    const only = record.onlyLink
    if (only === undefined) {
      this.#writeByIno(out, record)
      return
    }
    const key = this.#keys.entry(only.shownParent, only.cookie)
    const writer = this.#beginEntry(record, only, ENTRY_EMBEDS)
    this.#codec.encode(writer, record, true)
    out.push({ key, value: this.#environment.seal(key, writer.view()) })
    const points = record.stored === STORED_IN_ENTRY
      && record.storedParent === only.shownParent && record.storedCookie === only.cookie
    if (!points) this.#writePointer(out, record, only)
    record.stored = STORED_IN_ENTRY
    record.storedParent = only.shownParent
    record.storedCookie = only.cookie
  }

  #writePointer(out: Write[], record: NodeRecord, link: LinkRecord): void {
    const key = this.#keys.inode(record.ino)
    const writer = this.#begin()
    writer.u8(INODE_POINTER)
    writer.varint(link.shownParent)
    writer.varint(link.cookie)
    out.push({ key, value: this.#environment.seal(key, writer.view()) })
  }

  #writeByIno(out: Write[], record: NodeRecord): void {
    for (const link of record.links) {
      if (!link.shown) continue
      const key = this.#keys.entry(link.shownParent, link.cookie)
      const writer = this.#beginEntry(record, link, 0)
      out.push({ key, value: this.#environment.seal(key, writer.view()) })
    }
    const key = this.#keys.inode(record.ino)
    const writer = this.#begin()
    writer.u8(INODE_RECORD)
    this.#codec.encode(writer, record, false)
    out.push({ key, value: this.#environment.seal(key, writer.view()) })
    record.stored = STORED_BY_INO
  }

  #writeHidden(out: Write[], node: NodeId, record: NodeRecord | null): void {
    const key = this.#keys.id(TABLE_HIDDEN, node)
    if (record === null) {
      out.push({ key, value: undefined })
      return
    }
    this.#hash.update(record)
    const writer = this.#begin()
    this.#codec.encode(writer, record, false)
    out.push({ key, value: this.#environment.seal(key, writer.view()) })
    assert(record.stored === STORED_HIDDEN, 'a hidden record that does not know it')
  }

  #beginEntry(record: NodeRecord, link: LinkRecord, flags: number): RecordWriter {
    const writer = this.#begin()
    writer.u8(flags)
    writer.u8(record.kind)
    writer.varint(record.ino)
    writer.text(link.shownName)
    return writer
  }

  #begin(): RecordWriter {
    const writer = this.#writer.reset()
    writer.u8(RECORD_VERSION)
    return writer
  }
}

/** Says when a slice has taken long enough. */
class Pace {
  #count = 0
  #since = performance.now()

  isOver(): boolean {
    if (++this.#count % CHECK_EVERY !== 0) return false
    return performance.now() - this.#since > SLICE_MS
  }

  async rest(): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    this.#since = performance.now()
  }
}

function u64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  writeU64(bytes, 0, value)
  return bytes
}

