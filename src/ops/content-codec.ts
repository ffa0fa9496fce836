/**
 * Bytes of a file's content in a put op, and of single attribute changes.
 *
 *   content   0 ‖ length uint ‖ bytes                                          inline, ≤ 1 KiB
 *             1 ‖ chunker uint ‖ count uint ‖ (0 ‖ hole uint | 1 ‖ ref)…       ≤ 16 refs
 *             2 ‖ chunker uint ‖ depth uint ‖ ref                              Merkle tree
 *   ref       chunk id 32 ‖ chunk's plain size uint ‖ begin uint ‖ length uint
 *   attr      key uint ‖ value (see writeAttr)
 */

import { assert } from '../util/assert.ts'
import {
  ATTRS_PER_OP_MAX, CHUNK_ID_BYTES, CHUNK_MAX_BYTES, CONTENT_REFS_MAX, INLINE_MAX_BYTES, MODE_MAX,
  NSEC_MAX, OWNER_MAX, TARGET_MAX_BYTES, TREE_DEPTH_MAX, XATTR_NAME_MAX_BYTES,
  XATTR_VALUE_MAX_BYTES,
} from './bounds.ts'
import { reject } from './reject.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_RDEV, ATTR_KEY_TARGET, ATTR_KEY_XATTR,
} from './types.ts'
import type { AttrChange, ChunkId, ChunkRef, Content } from './types.ts'
import type { Reader, Writer } from './wire.ts'

const CONTENT_INLINE = 0
const CONTENT_REFS = 1
const CONTENT_TREE = 2
const CHUNKER_MAX = 255
const SECONDS_MAX = 2 ** 51
const RDEV_MAX = 2 ** 52

export function writeContent(writer: Writer, content: Content): void {
  switch (content.kind) {
    case 'inline':
      writer.u8(CONTENT_INLINE)
      writer.bytes(content.bytes)
      return
    case 'refs':
      writer.u8(CONTENT_REFS)
      writer.uint(content.chunker)
      writer.uint(content.refs.length)
      for (const ref of content.refs) {
        writer.u8('hole' in ref ? 0 : 1)
        if ('hole' in ref) writer.uint(ref.hole)
        else writeChunkRef(writer, ref)
      }
      return
    case 'tree':
      writer.u8(CONTENT_TREE)
      writer.uint(content.chunker)
      writer.uint(content.depth)
      writeChunkRef(writer, content.root)
  }
}

export function readContent(reader: Reader): Content {
  const kind = reader.u8()
  if (kind === CONTENT_INLINE) return { kind: 'inline', bytes: reader.bytes(INLINE_MAX_BYTES) }
  if (kind !== CONTENT_REFS && kind !== CONTENT_TREE) return reject('content-kind', { kind })
  const chunker = reader.uint(CHUNKER_MAX)
  if (kind === CONTENT_TREE) {
    const depth = reader.uint(TREE_DEPTH_MAX, 'content-depth')
    if (depth < 1) reject('content-depth')
    return { kind: 'tree', chunker, root: readChunkRef(reader), depth }
  }
  const count = reader.count(CONTENT_REFS_MAX, 2, 'content-refs')
  const refs: (ChunkRef | { hole: number })[] = []
  for (let i = 0; i < count; i++) refs.push(readExtent(reader))
  return { kind: 'refs', chunker, refs }
}

/** Whether content fits the size that its put claims; a tree is checked where it is read. */
export function fitsSize(content: Content, sizeBytes: number): boolean {
  if (content.kind === 'tree') return true
  if (content.kind === 'inline') return content.bytes.length === sizeBytes
  let sum = 0
  for (const ref of content.refs) sum += 'hole' in ref ? ref.hole : ref.length
  return sum === sizeBytes
}

function readExtent(reader: Reader): ChunkRef | { hole: number } {
  const tag = reader.u8()
  if (tag === 1) return readChunkRef(reader)
  if (tag !== 0) reject('content-kind', { tag })
  const hole = reader.uint(Number.MAX_SAFE_INTEGER)
  if (hole === 0) reject('content-range')
  return { hole }
}

function writeChunkRef(writer: Writer, ref: ChunkRef): void {
  writer.id(ref.chunk, CHUNK_ID_BYTES)
  writer.uint(ref.chunkBytes)
  writer.uint(ref.begin)
  writer.uint(ref.length)
}

function readChunkRef(reader: Reader): ChunkRef {
  const chunk = reader.id(CHUNK_ID_BYTES) as ChunkId
  const chunkBytes = reader.uint(CHUNK_MAX_BYTES)
  const begin = reader.uint(CHUNK_MAX_BYTES)
  const length = reader.uint(CHUNK_MAX_BYTES)
  if (length === 0 || begin + length > chunkBytes) reject('content-range')
  return { chunk, chunkBytes, begin, length }
}

/** Sorted by key and name; each at most once. */
export function writeAttrs(writer: Writer, attrs: readonly AttrChange[]): void {
  const sorted = attrs.length < 2 ? attrs : attrs.toSorted(compareAttrs)
  writer.uint(sorted.length)
  for (let i = 0; i < sorted.length; i++) {
    const change = sorted[i] as AttrChange
    const before = sorted[i - 1]
    assert(!before || compareAttrs(before, change) < 0, 'the same attribute twice in one op')
    writeAttr(writer, change)
  }
}

export function readAttrs(reader: Reader): AttrChange[] {
  const count = reader.count(ATTRS_PER_OP_MAX, 2, 'length')
  const attrs: AttrChange[] = []
  for (let i = 0; i < count; i++) {
    const change = readAttr(reader)
    const before = attrs[i - 1]
    if (before !== undefined && compareAttrs(before, change) >= 0) reject('attr-order')
    attrs.push(change)
  }
  return attrs
}

export function writeAttr(writer: Writer, change: AttrChange): void {
  writer.uint(change.key)
  switch (change.key) {
    case ATTR_KEY_MODE:
      return writer.uint(change.mode)
    case ATTR_KEY_OWNER: // 0 = whoever mounts
      writer.uint(change.uid + 1)
      return writer.uint(change.gid + 1)
    case ATTR_KEY_MTIME:
      writer.int(change.sec)
      return writer.uint(change.nsec)
    case ATTR_KEY_XATTR: // length + 1 of the value; 0 = removed
      writer.latin1(change.name)
      writer.uint(change.value === undefined ? 0 : change.value.length + 1)
      if (change.value !== undefined) writer.raw(change.value)
      return
    case ATTR_KEY_TARGET:
      return writer.latin1(change.target)
    case ATTR_KEY_RDEV:
      return writer.uint(change.rdev)
  }
}

export function readAttr(reader: Reader): AttrChange {
  const key = reader.uint(Number.MAX_SAFE_INTEGER)
  switch (key) {
    case ATTR_KEY_MODE:
      return { key, mode: reader.uint(MODE_MAX) }
    case ATTR_KEY_OWNER: {
      const uid = reader.uint(OWNER_MAX + 1) - 1
      return { key, uid, gid: reader.uint(OWNER_MAX + 1) - 1 }
    }
    case ATTR_KEY_MTIME: {
      const sec = reader.int(SECONDS_MAX)
      return { key, sec, nsec: reader.uint(NSEC_MAX) }
    }
    case ATTR_KEY_XATTR: {
      const name = reader.latin1(XATTR_NAME_MAX_BYTES, 'xattr-name')
      if (!isXattrName(name)) reject('xattr-name')
      const length = reader.uint(XATTR_VALUE_MAX_BYTES + 1, 'length')
      return { key, name, value: length === 0 ? undefined : reader.raw(length - 1) }
    }
    case ATTR_KEY_TARGET: {
      const target = reader.latin1(TARGET_MAX_BYTES, 'target')
      if (target.length === 0 || target.includes('\0')) reject('target')
      return { key, target }
    }
    case ATTR_KEY_RDEV:
      return { key, rdev: reader.uint(RDEV_MAX) }
    default:
      return reject('attr-key', { key })
  }
}

/** File times as puts and attr changes carry them. */
export function readTime(reader: Reader): { sec: number; nsec: number } {
  const sec = reader.int(SECONDS_MAX)
  return { sec, nsec: reader.uint(NSEC_MAX) }
}

function isXattrName(name: string): boolean {
  return name.length > 0 && !name.includes('\0')
}

function compareAttrs(a: AttrChange, b: AttrChange): number {
  if (a.key !== b.key) return a.key - b.key
  if (a.key !== ATTR_KEY_XATTR || b.key !== ATTR_KEY_XATTR || a.name === b.name) return 0
  return a.name < b.name ? -1 : 1
}
