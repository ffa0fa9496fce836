// The tables beside nodes and entries: groups, names passed over, directory moves, batches, control
// batches. Read on demand, not cached: few operations ask. Writing goes through IndexWriter, in the
// transaction of the generation that brings the changes. Numbers are varints, ids raw, names with
// their length; refs are written out.

import { ID_BYTES } from '../ops/bounds.ts'
import { compareRefs } from '../ops/order.ts'
import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import type { AuthorTable } from '../state/author-table.ts'
import { compareControl } from '../state/overlay-side.ts'
import type { SideChanges } from '../state/overlay-side.ts'
import type {
  BatchInfo, ControlBatch, ControlBody, GroupClaim, GroupRecord, GroupShown, MoveRecord,
} from '../state/records.ts'
import { NO_NAMES } from '../state/records.ts'
import type { GroupPlace, PlacedGroup } from '../state/store.ts'
import { readNode, writeNode } from '../state/record-codec.ts'
import { RecordReader, RecordWriter } from '../state/wire.ts'
import { assert } from '../util/assert.ts'
import { readU64 } from '../util/bytes.ts'
import type { IndexEnvironment, Write } from './environment.ts'
import { damagedIndex } from './environment.ts'
import type { IndexKeys } from './keys.ts'
import { TABLE_BATCH, TABLE_CONTROL, TABLE_GROUP, TABLE_MOVE, TABLE_SKIP } from './keys.ts'

const SIDE_VERSION = 0
const SHOWN_MAIN = 0
const SHOWN_VARIANT = 1
const MOVES_PAGE = 64
const MOVE_SKIPPED = 1
const MOVE_FALLBACK = 2

export class SideTables {
  readonly #environment: IndexEnvironment
  readonly #keys: IndexKeys
  readonly #authors: AuthorTable
  readonly #reader = new RecordReader(Buffer.alloc(0))
  readonly #writer = new RecordWriter()

  constructor(environment: IndexEnvironment, keys: IndexKeys, authors: AuthorTable) {
    this.#environment = environment
    this.#keys = keys
    this.#authors = authors
  }

  // ---- reading: as Base says ----

  group(dir: number, name: Name): GroupRecord | undefined {
    const plain = this.#environment.getSealed(this.#keys.name(dir, name, TABLE_GROUP))
    return plain === undefined ? undefined : this.#readGroup(plain).group
  }

  groupOrder(dir: number, name: Name): string {
    return this.#keys.name(dir, name, TABLE_GROUP).toString('latin1')
  }

  groups(after: GroupPlace | undefined, max: number): PlacedGroup[] {
    const begin = after === undefined
      ? this.#keys.begin(TABLE_GROUP)
      : keyBehind(this.#keys.name(after.dir, after.name, TABLE_GROUP))
    const out: PlacedGroup[] = []
    const end = this.#keys.begin(TABLE_GROUP + 1)
    for (const { key, value } of this.#environment.range(begin, end, max)) {
      const dir = readU64(key, 1) ?? 0
      out.push({ dir, ...this.#readGroup(this.#environment.open(key, value)) })
    }
    return out
  }

  skips(dir: number, name: Name): readonly Name[] {
    const plain = this.#environment.getSealed(this.#keys.name(dir, name, TABLE_SKIP))
    return plain === undefined ? NO_NAMES : readNames(this.#begin(plain))
  }

  * movesFrom(end: OpRef | undefined): Generator<MoveRecord, void> {
    let tied: MoveRecord[] = []
    for (const move of this.#movesByTime(end)) {
      if (end !== undefined && compareRefs(move.ref, end) >= 0) continue
      const last = tied[0]
      if (last !== undefined && !sameTime(last.ref, move.ref)) {
        yield * tied.sort((a, b) => compareRefs(b.ref, a.ref))
        tied = []
      }
      tied.push(move)
    }
    yield * tied.sort((a, b) => compareRefs(b.ref, a.ref))
  }

  batch(author: AuthorId, seq: number): BatchInfo | undefined {
    const number = this.#authors.find(author)
    if (number === undefined) return undefined
    const plain = this.#environment.getSealed(this.#keys.batch(TABLE_BATCH, number, seq))
    if (plain === undefined) return undefined
    const reader = this.#begin(plain)
    return { position: reader.varint(), ms: reader.varint(), counter: reader.varint() }
  }

  /** All are read: they are few, and whoever asks wants all of them. */
  control(after: { author: AuthorId; seq: number } | undefined, max: number): ControlBatch[] {
    const out: ControlBatch[] = []
    const begin = this.#keys.begin(TABLE_CONTROL)
    const end = this.#keys.begin(TABLE_CONTROL + 1)
    for (const { key, value } of this.#environment.range(begin, end, Infinity)) {
      const author = this.#authors.author(key.readUInt32BE(1))
      const seq = readU64(key, 5) ?? 0
      if (after !== undefined && compareControl({ author, seq }, after) <= 0) continue
      out.push(this.#readControl(author, seq, this.#environment.open(key, value)))
    }
    return out.sort(compareControl).slice(0, max)
  }

  // ---- writing ----

  /** What the generation changes; every ref in it is placed. */
  * writes(side: SideChanges): Generator<Write, void> {
    const keys = this.#keys
    for (const [dir, names] of side.groups) {
      for (const [name, group] of names) {
        const key = keys.name(dir, name, TABLE_GROUP)
        if (group === null) yield { key, value: undefined }
        else yield this.#seal(key, writeGroup(this.#fresh(), name, group))
      }
    }
    for (const [dir, names] of side.skips) {
      for (const [name, by] of names) {
        const key = keys.name(dir, name, TABLE_SKIP)
        if (by.length === 0) yield { key, value: undefined }
        else yield this.#seal(key, writeNames(this.#fresh(), by))
      }
    }
    for (const { ref, move } of side.moves) {
      assert(ref.seq >= 0, 'a move with a provisional ref cannot be stored')
      const key = keys.move(ref, this.#authors.indexOf(ref.author))
      if (move === null) yield { key, value: undefined }
      else yield this.#seal(key, this.#writeMove(move))
    }
    for (const [author, batches] of side.batches) {
      const number = this.#authors.indexOf(author)
      for (const [seq, info] of batches) {
        yield this.#seal(keys.batch(TABLE_BATCH, number, seq), writeBatch(this.#fresh(), info))
      }
    }
    for (const [author, batches] of side.control) {
      const number = this.#authors.indexOf(author)
      for (const [seq, batch] of batches) {
        yield this.#seal(keys.batch(TABLE_CONTROL, number, seq), this.#writeControl(batch))
      }
    }
  }

  #seal(key: Buffer, writer: RecordWriter): Write {
    return { key, value: this.#environment.seal(key, writer.view()) }
  }

  #fresh(): RecordWriter {
    const writer = this.#writer.reset()
    writer.u8(SIDE_VERSION)
    return writer
  }

  #begin(plain: Buffer): RecordReader {
    const reader = this.#reader.reset(plain)
    if (reader.u8() !== SIDE_VERSION) {
      throw damagedIndex('version', 'a record of the index has an unknown version')
    }
    return reader
  }

  // ---- moves ----

  /** Descending by time only; a little more than asked for. */
  * #movesByTime(end: OpRef | undefined): Generator<MoveRecord, void> {
    const low = this.#keys.begin(TABLE_MOVE)
    let high = end === undefined || end.seq < 0
      ? this.#keys.begin(TABLE_MOVE + 1)
      : this.#keys.moveTime(end.ms, end.counter + 1)
    for (;;) {
      const page: MoveRecord[] = []
      for (const { key, value } of this.#environment.rangeDown(high, low, MOVES_PAGE)) {
        page.push(this.#readMove(key, this.#environment.open(key, value)))
        high = Buffer.from(key)
      }
      yield * page
      if (page.length < MOVES_PAGE) return
    }
  }

  #writeMove({ link, parent, name, fallback, skipped, before }: MoveRecord): RecordWriter {
    const writer = this.#fresh()
    writer.u8((skipped ? MOVE_SKIPPED : 0) | (fallback ? MOVE_FALLBACK : 0))
    writer.raw(link)
    writer.raw(parent)
    writer.text(name)
    writeNode(writer, before.parent)
    writer.text(before.name)
    writer.varint(before.pos.ms)
    writer.varint(before.pos.counter)
    writer.varint(this.#authors.indexOf(before.pos.author))
    writer.varint(before.pos.seq)
    writer.varint(before.pos.index)
    return writer
  }

  #readMove(key: Buffer, plain: Buffer): MoveRecord {
    const ref: OpRef = {
      ms: readU64(key, 1) ?? 0,
      counter: key.readUInt16BE(9),
      author: this.#authors.author(key.readUInt32BE(11)),
      seq: readU64(key, 15) ?? 0,
      index: key.readUInt16BE(23),
      order: 0,
    }
    const reader = this.#begin(plain)
    const flags = reader.u8()
    const skipped = (flags & MOVE_SKIPPED) !== 0
    const fallback = (flags & MOVE_FALLBACK) !== 0
    const link = reader.raw(ID_BYTES) as LinkId
    const parent = reader.raw(ID_BYTES) as NodeId
    const name = reader.text() as Name
    const before = { parent: readNode(reader), name: reader.text() as Name }
    const ms = reader.varint()
    const counter = reader.varint()
    const author = this.#authors.author(reader.varint())
    const seq = reader.varint()
    const pos: OpRef = { ms, counter, author, seq, index: reader.varint(), order: 0 }
    return { ref, link, parent, name, fallback, skipped, before: { ...before, pos } }
  }

  // ---- groups, control ----

  #readGroup(plain: Buffer): { name: Name; group: GroupRecord } {
    const reader = this.#begin(plain)
    const name = reader.text() as Name
    const claims: GroupClaim[] = []
    for (let left = reader.varint(); left > 0; left--) {
      claims.push({ link: reader.raw(ID_BYTES) as LinkId, node: reader.raw(ID_BYTES) as NodeId })
    }
    const shown: GroupShown[] = []
    for (let left = reader.varint(); left > 0; left--) {
      const shownName = reader.text() as Name
      const kind = reader.u8() === SHOWN_VARIANT ? 'variant' : 'main'
      const link = reader.raw(ID_BYTES) as LinkId
      shown.push({ name: shownName, kind, link, node: reader.raw(ID_BYTES) as NodeId })
    }
    return { name, group: { claims, shown, skipped: readNames(reader) } }
  }

  #writeControl({ ms, counter, vv, ops }: ControlBatch): RecordWriter {
    const writer = this.#fresh()
    writer.varint(ms)
    writer.varint(counter)
    writer.varint(vv.size)
    for (const [author, length] of vv) {
      writer.varint(this.#authors.indexOf(author))
      writer.varint(length)
    }
    writer.varint(ops.length)
    for (const { index, control, critical, body } of ops) {
      writer.varint(index)
      writer.varint(control)
      writer.u8(critical ? 1 : 0)
      writer.bytes(body)
    }
    return writer
  }

  #readControl(author: AuthorId, seq: number, plain: Buffer): ControlBatch {
    const reader = this.#begin(plain)
    const ms = reader.varint()
    const counter = reader.varint()
    const vv = new Map<AuthorId, number>()
    for (let left = reader.varint(); left > 0; left--) {
      const seen = this.#authors.author(reader.varint())
      vv.set(seen, reader.varint())
    }
    const ops: ControlBody[] = []
    for (let left = reader.varint(); left > 0; left--) {
      const index = reader.varint()
      const control = reader.varint()
      const critical = reader.u8() === 1
      ops.push({ index, control, critical, body: reader.bytes() })
    }
    return { author, seq, ms, counter, vv, ops }
  }
}

function writeGroup(writer: RecordWriter, name: Name, group: GroupRecord): RecordWriter {
  writer.text(name)
  writer.varint(group.claims.length)
  for (const { link, node } of group.claims) {
    writer.raw(link)
    writer.raw(node)
  }
  writer.varint(group.shown.length)
  for (const { name: shownName, kind, link, node } of group.shown) {
    writer.text(shownName)
    writer.u8(kind === 'main' ? SHOWN_MAIN : SHOWN_VARIANT)
    writer.raw(link)
    writer.raw(node)
  }
  return writeNames(writer, group.skipped)
}

function writeNames(writer: RecordWriter, names: readonly Name[]): RecordWriter {
  writer.varint(names.length)
  for (const name of names) writer.text(name)
  return writer
}

function readNames(reader: RecordReader): readonly Name[] {
  const count = reader.varint()
  if (count === 0) return NO_NAMES
  const names: Name[] = []
  for (let i = 0; i < count; i++) names.push(reader.text() as Name)
  return names
}

function writeBatch(writer: RecordWriter, info: BatchInfo): RecordWriter {
  writer.varint(info.position)
  writer.varint(info.ms)
  writer.varint(info.counter)
  return writer
}

function sameTime(a: OpRef, b: OpRef): boolean {
  return a.ms === b.ms && a.counter === b.counter
}

/** The smallest key that is greater. */
function keyBehind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)])
}
