// NodeRecord as bytes, for the index (sealed by db/). Every ref of the record stands once, in a
// table at its head; fields name it by number + 1, 0 = none. An embedded record lies in its only
// entry, which already says name, directory and cookie.
//
//   record = node 16 ‖ kind u8 ‖ flags u8 ‖ [more flags u8] ‖ state hash 16 ‖ generation varint
//          ‖ atime ‖ mtime ‖ ctime (each: sec signed, nsec varint)
//          ‖ refs (count, each: ms, counter, author number, seq, index: varints)
//          ‖ mode varint, ref ‖ [owner: uid + 1, gid + 1, ref] ‖ mtime ref ‖ [rdev, ref]
//          ‖ [target, ref]
//          ‖ links (count, each below) ‖ heads ‖ touches ‖ [xattrs] ‖ [tags] ‖ [last ref]
//          ‖ [virtual of 16] ‖ [merged into 16] ‖ [members: count, 16 each] ‖ [directory]
// A typical small file takes about 190 bytes, its name and the seal's 40 not counted.

import { ID_BYTES } from '../ops/bounds.ts'
import { sameRef } from '../ops/order.ts'
import type { LinkId, Name, NodeId, NodeKind, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { AuthorTable } from './author-table.ts'
import { decodeContent, encodeContent } from './content-record.ts'
import type { ContentHead, LinkRecord, TagRecord, XattrRecord } from './records.ts'
import { NOWHERE, NO_REFS, NodeRecord } from './records.ts'
import type { RecordReader, RecordWriter } from './wire.ts'

export const STATE_HASH_BYTES = 16

const NOWHERE_BYTES = '\0'.repeat(ID_BYTES)

const FLAG_OWNER = 1
const FLAG_RDEV = 2
const FLAG_TARGET = 4
const FLAG_XATTRS = 8
const FLAG_TAGS = 16
const FLAG_HASHED = 32
const FLAG_LAST = 64
/** Another byte of flags follows. */
const FLAG_MORE = 128

const MORE_CUT = 1
const MORE_GROUPED = 2
const MORE_VIRTUAL = 4
const MORE_MERGED = 8
const MORE_MEMBERS = 16

const LINK_FIRST = 1 // its id is the node's
const LINK_SHOWN = 2
const LINK_EMBEDDED = 4
const LINK_REMOVED = 8
/** Wanted but not shown, or the other way round. */
const LINK_UNEVEN = 16
const LINK_SKIPPED = 32
/** Born by other ops than the one that gives its position. */
const LINK_BORN = 64
/** Shown under another name than its own. */
const LINK_RENAMED = 128

/** What an entry says about the record in it. */
export interface Embedding {
  ino: number
  parent: number
  cookie: number
  name: Name
}

export class RecordCodec {
  readonly #authors: AuthorTable
  readonly #refs: OpRef[] = []

  constructor(authors: AuthorTable) {
    this.#authors = authors
  }

  /** `embedded`: the record goes into the entry of its only link. */
  encode(writer: RecordWriter, record: NodeRecord, embedded: boolean): void {
    this.#collect(record)
    const flags = flagsOf(record)
    writer.raw(record.node)
    writer.u8(record.kind)
    writer.u8(flags)
    const more = flags & FLAG_MORE ? moreFlagsOf(record) : 0
    if (flags & FLAG_MORE) writer.u8(more)
    if (record.stateHash !== '') writer.raw(record.stateHash)
    writer.varint(record.generation)
    writeTime(writer, record.atimeSec, record.atimeNsec)
    writeTime(writer, record.mtimeSec, record.mtimeNsec)
    writeTime(writer, record.ctimeSec, record.ctimeNsec)
    this.#writeTable(writer)
    writer.varint(record.mode)
    this.#writeRef(writer, record.modeRef)
    if (flags & FLAG_OWNER) {
      writer.varint(record.uid + 1)
      writer.varint(record.gid + 1)
      this.#writeRef(writer, record.ownerRef)
    }
    this.#writeRef(writer, record.mtimeRef)
    if (flags & FLAG_RDEV) {
      writer.varint(record.rdev)
      this.#writeRef(writer, record.rdevRef)
    }
    if (flags & FLAG_TARGET) {
      writer.text(record.target)
      this.#writeRef(writer, record.targetRef)
    }
    writer.varint(record.links.length)
    for (const link of record.links) this.#writeLink(writer, record, link, embedded)
    writer.varint(record.heads.length)
    for (const head of record.heads) this.#writeHead(writer, head)
    this.#writeRefs(writer, record.touches)
    if (flags & FLAG_XATTRS) this.#writeXattrs(writer, record.xattrs)
    if (flags & FLAG_TAGS) this.#writeTags(writer, record.tags)
    if (flags & FLAG_LAST) this.#writeRef(writer, record.last)
    if (more & MORE_VIRTUAL) writer.raw(record.virtualOf)
    if (more & MORE_MERGED) writer.raw(record.mergedInto)
    if (more & MORE_MEMBERS) {
      writer.varint(record.members.length)
      for (const member of record.members) writer.raw(member)
    }
    if (record.kind === KIND_DIRECTORY) writeDirectory(writer, record)
  }

  /** `embedding` when it lay in an entry; `ino` 0 for a hidden node. */
  decode(reader: RecordReader, ino: number, embedding: Embedding | undefined): NodeRecord {
    const node = reader.raw(ID_BYTES) as NodeId
    const record = new NodeRecord(ino, node, reader.u8() as NodeKind)
    const flags = reader.u8()
    const more = flags & FLAG_MORE ? reader.u8() : 0
    if (flags & FLAG_HASHED) record.stateHash = reader.raw(STATE_HASH_BYTES)
    record.generation = reader.varint()
    record.atimeSec = reader.signed()
    record.atimeNsec = reader.varint()
    record.mtimeSec = reader.signed()
    record.mtimeNsec = reader.varint()
    record.ctimeSec = reader.signed()
    record.ctimeNsec = reader.varint()
    this.#readTable(reader)
    record.mode = reader.varint()
    record.modeRef = this.#readRef(reader)
    if (flags & FLAG_OWNER) {
      record.uid = reader.varint() - 1
      record.gid = reader.varint() - 1
      record.ownerRef = this.#readRef(reader)
    }
    record.mtimeRef = this.#readRef(reader)
    if (flags & FLAG_RDEV) {
      record.rdev = reader.varint()
      record.rdevRef = this.#readRef(reader)
    }
    if (flags & FLAG_TARGET) {
      record.target = reader.text()
      record.targetRef = this.#readRef(reader)
    }
    const links: LinkRecord[] = []
    for (let left = reader.varint(); left > 0; left--) {
      links.push(this.#readLink(reader, record, embedding))
    }
    record.links = links
    const heads: ContentHead[] = []
    for (let left = reader.varint(); left > 0; left--) heads.push(this.#readHead(reader))
    record.heads = heads
    record.touches = this.#readRefs(reader)
    if (flags & FLAG_XATTRS) record.xattrs = this.#readXattrs(reader)
    if (flags & FLAG_TAGS) record.tags = this.#readTags(reader)
    if (flags & FLAG_LAST) record.last = this.#readRef(reader)
    if (more !== 0) readMore(reader, record, more)
    if (record.kind === KIND_DIRECTORY) readDirectory(reader, record)
    return record
  }

  // ---- the table of refs ----

  #collect(record: NodeRecord): void {
    this.#refs.length = 0
    this.#add(record.modeRef)
    this.#add(record.ownerRef)
    this.#add(record.mtimeRef)
    this.#add(record.rdevRef)
    this.#add(record.targetRef)
    for (const link of record.links) {
      this.#add(link.pos)
      for (const ref of link.births) this.#add(ref)
      for (const ref of link.heads) this.#add(ref)
      this.#add(link.rm)
    }
    for (const head of record.heads) this.#add(head.ref)
    for (const ref of record.touches) this.#add(ref)
    for (const xattr of record.xattrs) this.#add(xattr.ref)
    for (const tag of record.tags) this.#add(tag.add)
    this.#add(record.last)
  }

  #add(ref: OpRef | undefined): void {
    if (ref === undefined) return
    assert(ref.seq >= 0, 'a record with a provisional ref cannot be stored')
    if (this.#indexOf(ref) < 0) this.#refs.push(ref)
  }

  #indexOf(ref: OpRef): number {
    const refs = this.#refs
    for (let i = 0; i < refs.length; i++) if (sameRef(refs[i] as OpRef, ref)) return i
    return -1
  }

  #writeTable(writer: RecordWriter): void {
    writer.varint(this.#refs.length)
    for (const ref of this.#refs) {
      writer.varint(ref.ms)
      writer.varint(ref.counter)
      writer.varint(this.#authors.indexOf(ref.author))
      writer.varint(ref.seq)
      writer.varint(ref.index)
    }
  }

  #readTable(reader: RecordReader): void {
    this.#refs.length = 0
    for (let left = reader.varint(); left > 0; left--) {
      const ms = reader.varint()
      const counter = reader.varint()
      const author = this.#authors.author(reader.varint())
      const seq = reader.varint()
      this.#refs.push({ ms, counter, author, seq, index: reader.varint(), order: 0 })
    }
  }

  #writeRef(writer: RecordWriter, ref: OpRef | undefined): void {
    writer.varint(ref === undefined ? 0 : this.#indexOf(ref) + 1)
  }

  #readRef(reader: RecordReader): OpRef | undefined {
    const index = reader.varint()
    return index === 0 ? undefined : this.#at(index - 1)
  }

  #readSomeRef(reader: RecordReader): OpRef {
    return this.#at(reader.varint() - 1)
  }

  #at(index: number): OpRef {
    const ref = this.#refs[index]
    if (ref === undefined) throw new LatticeError('damaged-index', 'a record names no such ref')
    return ref
  }

  #writeRefs(writer: RecordWriter, refs: readonly OpRef[]): void {
    writer.varint(refs.length)
    for (const ref of refs) this.#writeRef(writer, ref)
  }

  #readRefs(reader: RecordReader): readonly OpRef[] {
    const count = reader.varint()
    if (count === 0) return NO_REFS
    const refs: OpRef[] = []
    for (let i = 0; i < count; i++) refs.push(this.#readSomeRef(reader))
    return refs
  }

  // ---- parts ----

  #writeLink(
    writer: RecordWriter, record: NodeRecord, link: LinkRecord, embedded: boolean,
  ): void {
    const first = (link.link as string) === record.node
    const lies = embedded && link.shown
    const renamed = link.shownName !== link.name
    const born = link.births.length !== 1 || !sameRef(link.births[0] as OpRef, link.pos)
    writer.u8(
      (first ? LINK_FIRST : 0) | (link.shown ? LINK_SHOWN : 0)
      | (lies ? LINK_EMBEDDED : 0) | (link.rm === undefined ? 0 : LINK_REMOVED)
      | (link.wanted === link.shown ? 0 : LINK_UNEVEN) | (link.skipped ? LINK_SKIPPED : 0)
      | (born ? LINK_BORN : 0) | (renamed ? LINK_RENAMED : 0),
    )
    if (!first) writer.raw(link.link)
    writeNode(writer, link.parent)
    if (!lies || renamed) writer.text(link.name)
    if (!lies) {
      if (renamed) writer.text(link.shownName)
      writer.varint(link.shownParent)
      writer.varint(link.cookie)
    }
    this.#writeRef(writer, link.pos)
    if (born) this.#writeRefs(writer, link.births)
    this.#writeRefs(writer, link.heads)
    if (link.rm !== undefined) this.#writeRef(writer, link.rm)
  }

  #readLink(
    reader: RecordReader, record: NodeRecord, embedding: Embedding | undefined,
  ): LinkRecord {
    const flags = reader.u8()
    const link = (flags & LINK_FIRST ? record.node : reader.raw(ID_BYTES)) as string as LinkId
    const parent = readNode(reader)
    const lies = (flags & LINK_EMBEDDED) !== 0
    if (lies && embedding === undefined) {
      throw new LatticeError('damaged-index', 'an embedded record outside an entry')
    }
    const entry = lies ? embedding : undefined
    const renamed = (flags & LINK_RENAMED) !== 0
    const name = entry !== undefined && !renamed ? entry.name : reader.text() as Name
    const shownName = entry?.name ?? (renamed ? reader.text() as Name : name)
    const shownParent = entry?.parent ?? reader.varint()
    const cookie = entry?.cookie ?? reader.varint()
    const pos = this.#readSomeRef(reader)
    const births = flags & LINK_BORN ? this.#readRefs(reader) : [pos]
    const heads = this.#readRefs(reader)
    const rm = flags & LINK_REMOVED ? this.#readSomeRef(reader) : undefined
    const shown = (flags & LINK_SHOWN) !== 0
    const wanted = (flags & LINK_UNEVEN) === 0 ? shown : !shown
    const skipped = (flags & LINK_SKIPPED) !== 0
    return {
      link, parent, name, pos, births, heads, rm, skipped,
      wanted, shown, shownParent, cookie, shownName,
    }
  }

  #writeHead(writer: RecordWriter, head: ContentHead): void {
    this.#writeRef(writer, head.ref)
    writer.u8(head.covered ? 1 : 0)
    writer.varint(head.sizeBytes)
    writeTime(writer, head.mtimeSec, head.mtimeNsec)
    encodeContent(writer, head.content)
  }

  #readHead(reader: RecordReader): ContentHead {
    const ref = this.#readSomeRef(reader)
    const covered = reader.u8() === 1
    const sizeBytes = reader.varint()
    const mtimeSec = reader.signed()
    const mtimeNsec = reader.varint()
    return { ref, covered, sizeBytes, mtimeSec, mtimeNsec, content: decodeContent(reader) }
  }

  #writeXattrs(writer: RecordWriter, xattrs: readonly XattrRecord[]): void {
    writer.varint(xattrs.length)
    for (const { name, value, ref } of xattrs) {
      writer.text(name)
      this.#writeRef(writer, ref)
      writer.u8(value === undefined ? 0 : 1)
      if (value !== undefined) writer.bytes(value)
    }
  }

  #readXattrs(reader: RecordReader): XattrRecord[] {
    const xattrs: XattrRecord[] = []
    for (let left = reader.varint(); left > 0; left--) {
      const name = reader.text()
      const ref = this.#readSomeRef(reader)
      xattrs.push({ name, ref, value: reader.u8() === 1 ? reader.bytes() : undefined })
    }
    return xattrs
  }

  #writeTags(writer: RecordWriter, tags: readonly TagRecord[]): void {
    writer.varint(tags.length)
    for (const { tag, add } of tags) {
      writer.text(tag)
      this.#writeRef(writer, add)
    }
  }

  #readTags(reader: RecordReader): TagRecord[] {
    const tags: TagRecord[] = []
    for (let left = reader.varint(); left > 0; left--) {
      const tag = reader.text()
      tags.push({ tag, add: this.#readSomeRef(reader) })
    }
    return tags
  }
}

function flagsOf(record: NodeRecord): number {
  return (record.ownerRef === undefined ? 0 : FLAG_OWNER)
    | (record.rdevRef === undefined ? 0 : FLAG_RDEV)
    | (record.targetRef === undefined ? 0 : FLAG_TARGET)
    | (record.xattrs.length === 0 ? 0 : FLAG_XATTRS)
    | (record.tags.length === 0 ? 0 : FLAG_TAGS)
    | (record.stateHash === '' ? 0 : FLAG_HASHED)
    | (record.last === undefined ? 0 : FLAG_LAST)
    | (moreFlagsOf(record) === 0 ? 0 : FLAG_MORE)
}

/** A node id, or NOWHERE as zeros. */
export function writeNode(writer: RecordWriter, node: NodeId): void {
  writer.raw(node === NOWHERE ? NOWHERE_BYTES : node)
}

export function readNode(reader: RecordReader): NodeId {
  const node = reader.raw(ID_BYTES)
  return node === NOWHERE_BYTES ? NOWHERE : node as NodeId
}

function moreFlagsOf(record: NodeRecord): number {
  return (record.hasCut ? MORE_CUT : 0) | (record.grouped ? MORE_GROUPED : 0)
    | (record.virtualOf === '' ? 0 : MORE_VIRTUAL) | (record.mergedInto === '' ? 0 : MORE_MERGED)
    | (record.members.length === 0 ? 0 : MORE_MEMBERS)
}

function readMore(reader: RecordReader, record: NodeRecord, more: number): void {
  record.hasCut = (more & MORE_CUT) !== 0
  record.grouped = (more & MORE_GROUPED) !== 0
  if (more & MORE_VIRTUAL) record.virtualOf = reader.raw(ID_BYTES) as NodeId
  if (more & MORE_MERGED) record.mergedInto = reader.raw(ID_BYTES) as NodeId
  if ((more & MORE_MEMBERS) === 0) return
  const members: NodeId[] = []
  for (let left = reader.varint(); left > 0; left--) members.push(reader.raw(ID_BYTES) as NodeId)
  record.members = members
}

function writeDirectory(writer: RecordWriter, record: NodeRecord): void {
  writer.varint(record.entryCount)
  writer.varint(record.subdirCount)
  writer.varint(record.nextCookie)
  writer.varint(record.claimCount)
  writer.varint(record.skipCount)
  writer.text(record.namesHash)
}

function readDirectory(reader: RecordReader, record: NodeRecord): void {
  record.entryCount = reader.varint()
  record.subdirCount = reader.varint()
  record.nextCookie = reader.varint()
  record.claimCount = reader.varint()
  record.skipCount = reader.varint()
  record.namesHash = reader.text()
}

function writeTime(writer: RecordWriter, sec: number, nsec: number): void {
  writer.signed(sec)
  writer.varint(nsec)
}
