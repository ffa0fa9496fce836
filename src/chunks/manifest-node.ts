// Nodes of the manifest tree: their bytes, version 0, and where one ends and the next begins. Pure.
//
//   node    version (0) ‖ level ‖ entry count varint ‖ entries
//   entry   level 0, by its tag:  0 hole   length varint
//                                 1 chunk  id 32 ‖ chunk bytes varint        the whole of it
//                                 2 part   id 32 ‖ chunk bytes ‖ begin ‖ length varints
//           above:  id 32 of a node one level below ‖ its bytes ‖ content bytes under it ‖ bytes of
//                   holes among them varints
//
// A node is stored as a chunk. Where a node ends depends on its own entries only: after NODE_MIN of
// them, at the first whose keyed hash has SPLIT_MASK's bits zero, or at NODE_MAX. So the same
// sequence of extents always makes the same tree, and an edit changes one node a level, rarely two.
// (Content-defined trees: Noms' prolly trees; Auvolat and Taïani, "Merkle Search Trees", SRDS
// 2019.)

import { assert } from '../util/assert.ts'
import { equalBytes, readU32 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { readVarint, writeVarint } from '../util/varint.ts'
import { CHUNK_ID_BYTES, readChunkId, writeChunkId } from './chunk-id.ts'
import { CHUNK_MAX_BYTES } from './chunker.ts'
import { holeBytesIn, joinExtents } from './manifest.ts'
import type { Extent } from './manifest.ts'

export const NODE_VERSION = 0
export const NODE_MIN = 48
export const NODE_MAX = 384
/** One entry in 64 ends a node that is long enough: about 110 entries on average. */
const SPLIT_MASK = 63
/** Levels of a tree: enough for 48^8 extents. */
export const DEPTH_MAX = 8
/** Two varints of 8 bytes, three of 3, the id, the tag: no entry is longer. */
const ENTRY_MAX_BYTES = 1 + CHUNK_ID_BYTES + 3 * 8
export const NODE_MAX_BYTES = 2 + 8 + NODE_MAX * ENTRY_MAX_BYTES

const TAG_HOLE = 0
const TAG_CHUNK = 1
const TAG_PART = 2

/** Above level 0 an entry is the extent (child id, child bytes, hole bytes below, content bytes
 *  below). */
export type ManifestNode = {
  level: number
  entries: Extent[]
  /** Content bytes up to the end of each entry, from the node's start. */
  ends: number[]
  contentBytes: number
}

/** The rule that a node's bytes break; details.rule of the error. */
export type NodeRule =
  | 'version'
  | 'level'
  | 'count'
  | 'tag'
  | 'entry-length'
  | 'hole-bytes'
  | 'chunk-size'
  | 'part-range'
  | 'part-whole'
  | 'joins'
  | 'content-size'
  | 'truncated'
  | 'canonical'

export function makeNode(level: number, entries: Extent[]): ManifestNode {
  const ends: number[] = []
  let end = 0
  for (const entry of entries) ends.push((end += entry.length))
  return { level, entries, ends, contentBytes: end }
}

/** Bytes of holes under a node. */
export function holeBytesUnder(level: number, entries: readonly Extent[]): number {
  if (level === 0) return holeBytesIn(entries)
  return entries.reduce((sum, entry) => sum + entry.begin, 0)
}

/** Index of the entry that holds the byte at `offset` of the node's content. */
export function entryAt(node: ManifestNode, offset: number): number {
  assert(offset >= 0 && offset < node.contentBytes, 'offset outside the node')
  let low = 0
  let high = node.ends.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((node.ends[middle] as number) > offset) high = middle
    else low = middle + 1
  }
  return low
}

/** True when a node of `count` entries ends with `last`. `splitKey` is 16 bytes or more. */
export function endsNode(splitKey: Uint8Array, last: Extent, count: number): boolean {
  if (count >= NODE_MAX) return true
  return count >= NODE_MIN && (entryHash(splitKey, last) & SPLIT_MASK) === 0
}

export function encodeNode(level: number, entries: readonly Extent[]): Uint8Array {
  assert(level < DEPTH_MAX && entries.length >= 1 && entries.length <= NODE_MAX, 'node bounds')
  const bytes = Buffer.allocUnsafe(2 + 8 + entries.length * ENTRY_MAX_BYTES)
  bytes[0] = NODE_VERSION
  bytes[1] = level
  let at = writeVarint(bytes, 2, entries.length)
  for (const entry of entries) {
    at = level === 0 ? writeExtent(bytes, at, entry) : writeChild(bytes, at, entry)
  }
  return new Uint8Array(bytes.subarray(0, at))
}

/** Decodes a node that should stand at `level`. Throws 'corrupt' with details.rule. */
export function decodeNode(bytes: Uint8Array, level: number): ManifestNode {
  if (bytes.length < 3) reject('truncated')
  if (bytes[0] !== NODE_VERSION) reject('version')
  if (bytes[1] !== level || level >= DEPTH_MAX) reject('level')
  const reader = { bytes, at: 2 }
  const count = next(reader)
  if (count < 1 || count > NODE_MAX) reject('count')
  const entries: Extent[] = []
  let contentBytes = 0
  for (let i = 0; i < count; i++) {
    const entry = level === 0 ? readExtent(reader) : readChild(reader)
    const last = entries[i - 1]
    if (level === 0 && last !== undefined && joinExtents(last, entry) !== undefined) reject('joins')
    contentBytes += entry.length
    if (contentBytes > Number.MAX_SAFE_INTEGER) reject('content-size')
    entries.push(entry)
  }
  if (!equalBytes(encodeNode(level, entries), bytes)) reject('canonical')
  return makeNode(level, entries)
}

function writeExtent(bytes: Uint8Array, at: number, extent: Extent): number {
  if (extent.chunk === '') {
    bytes[at] = TAG_HOLE
    return writeVarint(bytes, at + 1, extent.length)
  }
  const whole = extent.begin === 0 && extent.length === extent.chunkBytes
  bytes[at] = whole ? TAG_CHUNK : TAG_PART
  writeChunkId(bytes, at + 1, extent.chunk)
  let end = writeVarint(bytes, at + 1 + CHUNK_ID_BYTES, extent.chunkBytes)
  if (whole) return end
  end = writeVarint(bytes, end, extent.begin)
  return writeVarint(bytes, end, extent.length)
}

function writeChild(bytes: Uint8Array, at: number, child: Extent): number {
  assert(child.chunk !== '', 'a child without an id')
  writeChunkId(bytes, at, child.chunk)
  const end = writeVarint(bytes, at + CHUNK_ID_BYTES, child.chunkBytes)
  return writeVarint(bytes, writeVarint(bytes, end, child.length), child.begin)
}

type Reader = { readonly bytes: Uint8Array; at: number }

function next(reader: Reader): number {
  const { value, end } = readVarint(reader.bytes, reader.at)
  reader.at = end
  return value
}

function nextId(reader: Reader) {
  if (reader.at + CHUNK_ID_BYTES > reader.bytes.length) reject('truncated')
  const id = readChunkId(reader.bytes, reader.at)
  reader.at += CHUNK_ID_BYTES
  return id
}

function readExtent(reader: Reader): Extent {
  const tag = reader.bytes[reader.at++]
  if (tag === TAG_HOLE) {
    const length = next(reader)
    if (length < 1) reject('entry-length')
    return { chunk: '', chunkBytes: 0, begin: 0, length }
  }
  if (tag !== TAG_CHUNK && tag !== TAG_PART) reject(tag === undefined ? 'truncated' : 'tag')
  const chunk = nextId(reader)
  const chunkBytes = next(reader)
  if (chunkBytes < 1 || chunkBytes > CHUNK_MAX_BYTES) reject('chunk-size')
  if (tag === TAG_CHUNK) return { chunk, chunkBytes, begin: 0, length: chunkBytes }
  const begin = next(reader)
  const length = next(reader)
  if (length < 1 || begin + length > chunkBytes) reject('part-range')
  if (length === chunkBytes) reject('part-whole')
  return { chunk, chunkBytes, begin, length }
}

function readChild(reader: Reader): Extent {
  const chunk = nextId(reader)
  const chunkBytes = next(reader)
  if (chunkBytes < 3 || chunkBytes > NODE_MAX_BYTES) reject('chunk-size')
  const length = next(reader)
  if (length < 1) reject('entry-length')
  const holeBytes = next(reader)
  if (holeBytes > length) reject('hole-bytes')
  return { chunk, chunkBytes, begin: holeBytes, length }
}

function reject(rule: NodeRule): never {
  throw new LatticeError('corrupt', `a manifest node breaks a rule: ${rule}`, {
    details: { rule },
  })
}

/**
 * 32 bits of the entry under the key: words mixed by multiplication and rotation (as MurmurHash3,
 * Appleby, public domain). Ids are keyed hashes already and never public; the mix spreads holes
 * and partial refs.
 */
function entryHash(splitKey: Uint8Array, entry: Extent): number {
  let hash = readU32(splitKey, 0)
  for (let i = 0; i < entry.chunk.length; i += 4) {
    const word =
      entry.chunk.charCodeAt(i) |
      (entry.chunk.charCodeAt(i + 1) << 8) |
      (entry.chunk.charCodeAt(i + 2) << 16) |
      (entry.chunk.charCodeAt(i + 3) << 24)
    hash = mix(hash, word)
  }
  hash = mix(hash, readU32(splitKey, 4))
  hash = mix(hash, entry.begin)
  hash = mix(hash, entry.length | 0)
  hash = mix(hash, Math.floor(entry.length / 2 ** 32))
  hash = mix(hash, readU32(splitKey, 8))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const h = hash ^ k
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}
