/**
 * Bytes of one op: kind uint ‖ flags u8 (bit 0 = critical) ‖ body length uint ‖ body. The fields of
 * each body stand in the order of its write function below and are append-only: a later rules
 * version adds behind the last. Ids of nodes and links that an op makes follow from it, and are not
 * written.
 */

import { assert, unreachable } from '../util/assert.ts'
import {
  ACK_HEADS_MAX, BATCH_MAX_BYTES, BUNDLE_CHUNKS_MAX, BUNDLE_ID_BYTES, BUNDLE_SEALED_MAX_BYTES,
  CHUNK_ID_BYTES, ID_BYTES, NAME_MAX_BYTES, NOTE_MAX_BYTES, TAGS_PER_OP_MAX,
  TAG_MAX_BYTES, TREE_HASH_BYTES,
} from './bounds.ts'
import {
  fitsSize, readAttr, readAttrs, readContent, readTime, writeAttr, writeAttrs, writeContent,
} from './content-codec.ts'
import { isKind } from './ids.ts'
import type { Ids } from './ids.ts'
import { readRef, readRefs, writeRef, writeRefs } from './refs.ts'
import type { RefContext } from './refs.ts'
import { reject } from './reject.ts'
import { KIND_FILE } from './types.ts'
import type { BundleId, ChunkId, LinkId, Name, NodeId, Op } from './types.ts'
import { isName } from './wire.ts'
import type { Reader, Writer } from './wire.ts'

/** Append-only. 64 to 95 are the control ops: 64 + their number. */
const KIND_NUMBERS = {
  mk: 1, link: 2, mv: 3, put: 4, rm: 5, attr: 6, tag: 7, bundle: 8, note: 9, ack: 10,
} as const
const CONTROL_FIRST = 64
const CONTROL_COUNT = 32
const FLAG_CRITICAL = 1
const SAFE_MAX = Number.MAX_SAFE_INTEGER

export const OP_MIN_BYTES = 3

export interface OpContext extends RefContext {
  ids: Ids
}

interface Task {
  op: Op
  context: RefContext
}

export function writeOp(writer: Writer, op: Op, context: RefContext): void {
  writer.uint(kindNumber(op))
  const isCritical = (op.kind === 'control' || op.kind === 'unknown') && op.critical
  writer.u8(isCritical ? FLAG_CRITICAL : 0)
  writer.sized(writeBody, { op, context })
}

export function readOp(reader: Reader, context: OpContext): Op {
  const kind = reader.uint(SAFE_MAX)
  const flags = reader.u8()
  if ((flags & ~FLAG_CRITICAL) !== 0) reject('op-flags')
  const critical = flags === FLAG_CRITICAL
  const body = reader.sub(reader.uint(BATCH_MAX_BYTES, 'length'))
  if (kind >= CONTROL_FIRST && kind < CONTROL_FIRST + CONTROL_COUNT) {
    const control = kind - CONTROL_FIRST
    return { kind: 'control', control, critical, body: body.raw(body.remaining) }
  }
  const op = readKnown(kind, body, context)
  if (op === undefined) {
    return { kind: 'unknown', opKind: kind, critical, body: body.raw(body.remaining) }
  }
  if (critical) reject('op-flags')
  body.finish()
  return op
}

function kindNumber(op: Op): number {
  if (op.kind === 'control') {
    assert(op.control >= 0 && op.control < CONTROL_COUNT, 'no such control op')
    return CONTROL_FIRST + op.control
  }
  if (op.kind !== 'unknown') return KIND_NUMBERS[op.kind]
  const isControl = op.opKind >= CONTROL_FIRST && op.opKind < CONTROL_FIRST + CONTROL_COUNT
  const isKnown = op.opKind >= KIND_NUMBERS.mk && op.opKind <= KIND_NUMBERS.ack
  assert(!isControl && !isKnown, 'a known op in the clothes of an unknown one')
  return op.opKind
}

function writeBody(writer: Writer, { op, context }: Task): void {
  switch (op.kind) {
    case 'mk':
      writeMint(writer, op, context)
      writer.u8(op.nodeKind)
      writePlace(writer, op)
      return writeAttrs(writer, op.attrs)
    case 'link':
      assert(op.mint > 0, 'link: a mint counts from 1')
      writer.uint(op.mint)
      writer.id(op.node, ID_BYTES)
      return writePlace(writer, op)
    case 'mv':
      writer.id(op.link, ID_BYTES)
      writePlace(writer, op)
      return writeRefs(writer, op.prev, context)
    case 'put':
      return writePut(writer, op, context)
    case 'rm':
      writer.id(op.link, ID_BYTES)
      writeRefs(writer, op.prev, context)
      return writeRefs(writer, op.contentHeads, context)
    case 'attr':
      writer.id(op.node, ID_BYTES)
      writeAttr(writer, op.change)
      return writeRefs(writer, op.prev, context)
    case 'tag':
      writer.id(op.node, ID_BYTES)
      writeTags(writer, op.add)
      return writeRefs(writer, op.removeAdds, context)
    case 'bundle':
      return writeBundle(writer, op)
    case 'note':
      writer.id(op.node, ID_BYTES)
      return writer.utf8(op.text)
    case 'ack':
      return writeAck(writer, op, context)
    case 'control':
    case 'unknown':
      return writer.raw(op.body)
    default:
      return unreachable(op)
  }
}

/** Undefined for a kind that this version does not know. */
function readKnown(kind: number, body: Reader, context: OpContext): Op | undefined {
  switch (kind) {
    case KIND_NUMBERS.mk:
      return readMk(body, context)
    case KIND_NUMBERS.link:
      return readLink(body, context)
    case KIND_NUMBERS.mv: {
      const link = readId(body) as LinkId
      return { kind: 'mv', link, ...readPlace(body), prev: readRefs(body, context) }
    }
    case KIND_NUMBERS.put:
      return readPut(body, context)
    case KIND_NUMBERS.rm: {
      const link = readId(body) as LinkId
      const prev = readRefs(body, context)
      return { kind: 'rm', link, prev, contentHeads: readRefs(body, context) }
    }
    case KIND_NUMBERS.attr: {
      const node = readId(body) as NodeId
      return { kind: 'attr', node, change: readAttr(body), prev: readRefs(body, context) }
    }
    case KIND_NUMBERS.tag: {
      const node = readId(body) as NodeId
      return { kind: 'tag', node, add: readTags(body), removeAdds: readRefs(body, context) }
    }
    case KIND_NUMBERS.bundle:
      return readBundle(body)
    case KIND_NUMBERS.note:
      return { kind: 'note', node: readId(body) as NodeId, text: body.utf8(NOTE_MAX_BYTES) }
    case KIND_NUMBERS.ack:
      return readAck(body, context)
    default:
      return undefined
  }
}

/** An id of a node or link: its first byte is a kind. */
function readId(reader: Reader): string {
  const id = reader.id(ID_BYTES)
  if (!isKind(id.charCodeAt(0))) reject('node-kind')
  return id
}

function writePlace(writer: Writer, place: { parent: NodeId; name: Name }): void {
  assert(isName(place.name), 'not a name')
  writer.id(place.parent, ID_BYTES)
  writer.latin1(place.name)
}

function readPlace(reader: Reader): { parent: NodeId; name: Name } {
  const parent = readId(reader) as NodeId
  const name = reader.latin1(NAME_MAX_BYTES, 'name')
  return isName(name) ? { parent, name } : reject('name')
}

/** mint ≥ 1; or 0 ‖ ref of the put that the id is derived from. */
function writeMint(writer: Writer, op: Op & { kind: 'mk' }, context: RefContext): void {
  assert((op.mint === 0) === (op.source !== undefined), 'mk: minted, or derived from a put')
  assert(op.source === undefined || op.nodeKind === KIND_FILE, 'mk: what is derived is a file')
  writer.uint(op.mint)
  if (op.source !== undefined) writeRef(writer, op.source, context)
}

function readMk(reader: Reader, context: OpContext): Op {
  const mint = reader.uint(SAFE_MAX)
  const source = mint === 0 ? readRef(reader, context) : undefined
  const nodeKind = reader.u8()
  if (!isKind(nodeKind)) return reject('node-kind')
  if (source !== undefined && nodeKind !== KIND_FILE) return reject('node-kind')
  const place = readPlace(reader)
  const attrs = readAttrs(reader)
  if (source !== undefined) {
    const node = context.ids.derived(source)
    return { kind: 'mk', mint, source, node, nodeKind, ...place, attrs }
  }
  const node = context.ids.node(context.authors.own, mint, nodeKind)
  return { kind: 'mk', mint, node, nodeKind, ...place, attrs }
}

function readLink(reader: Reader, context: OpContext): Op {
  const mint = reader.uint(SAFE_MAX)
  if (mint === 0) reject('mint')
  const node = readId(reader) as NodeId
  const link = context.ids.link(context.authors.own, mint, node)
  return { kind: 'link', mint, link, node, ...readPlace(reader) }
}

function writePut(writer: Writer, op: Op & { kind: 'put' }, context: RefContext): void {
  assert(fitsSize(op.content, op.sizeBytes), 'put: content and size differ')
  writer.id(op.node, ID_BYTES)
  writer.uint(op.sizeBytes)
  writer.int(op.mtimeSec)
  writer.uint(op.mtimeNsec)
  writeContent(writer, op.content)
  writeRefs(writer, op.base, context)
}

function readPut(reader: Reader, context: RefContext): Op {
  const node = readId(reader) as NodeId
  const sizeBytes = reader.uint(SAFE_MAX)
  const { sec: mtimeSec, nsec: mtimeNsec } = readTime(reader)
  const content = readContent(reader)
  if (!fitsSize(content, sizeBytes)) reject('content-size')
  const base = readRefs(reader, context)
  return { kind: 'put', node, base, sizeBytes, mtimeSec, mtimeNsec, content }
}

function writeTags(writer: Writer, tags: readonly string[]): void {
  const sorted = tags.toSorted()
  writer.uint(sorted.length)
  for (const tag of sorted) writer.utf8(tag)
}

function readTags(reader: Reader): string[] {
  const count = reader.count(TAGS_PER_OP_MAX, 1, 'length')
  const tags: string[] = []
  for (let i = 0; i < count; i++) {
    const tag = reader.utf8(TAG_MAX_BYTES)
    const before = tags[i - 1]
    if (before !== undefined && before >= tag) reject('tag-order')
    tags.push(tag)
  }
  return tags
}

function writeBundle(writer: Writer, op: Op & { kind: 'bundle' }): void {
  writer.uint(op.number)
  writer.id(op.id, BUNDLE_ID_BYTES)
  writer.uint(op.sealedBytes)
  writer.uint(op.chunks.length)
  for (const chunk of op.chunks) writer.id(chunk, CHUNK_ID_BYTES)
}

function readBundle(reader: Reader): Op {
  const number = reader.uint(SAFE_MAX)
  const id = reader.id(BUNDLE_ID_BYTES) as BundleId
  const sealedBytes = reader.uint(BUNDLE_SEALED_MAX_BYTES)
  const count = reader.count(BUNDLE_CHUNKS_MAX, CHUNK_ID_BYTES, 'length')
  const chunks: ChunkId[] = []
  for (let i = 0; i < count; i++) chunks.push(reader.id(CHUNK_ID_BYTES) as ChunkId)
  return { kind: 'bundle', number, id, sealedBytes, chunks }
}

function writeAck(writer: Writer, op: Op & { kind: 'ack' }, context: RefContext): void {
  writer.uint(op.heads.length)
  for (const head of op.heads) {
    writer.uint(context.authors.indexOf(head.author))
    writer.uint(head.length)
    assert(head.treeHash.length === TREE_HASH_BYTES, 'a tree hash has 32 bytes')
    writer.raw(head.treeHash)
  }
}

function readAck(reader: Reader, context: RefContext): Op {
  const count = reader.count(ACK_HEADS_MAX, TREE_HASH_BYTES + 2, 'length')
  const heads: (Op & { kind: 'ack' })['heads'] = []
  for (let i = 0; i < count; i++) {
    const author = context.authors.at(reader.uint(SAFE_MAX, 'author-index'))
    const length = reader.uint(SAFE_MAX)
    heads.push({ author, length, treeHash: reader.raw(TREE_HASH_BYTES) })
  }
  return { kind: 'ack', heads }
}
