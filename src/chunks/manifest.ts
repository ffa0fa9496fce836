// Extents: the ordered stretches of one file's content, as every manifest form holds them. Pure.
//
// An extent is `length` bytes from `begin` of a chunk, or a hole (chunk ''). In a *normal* sequence
// no extent is empty, and none continues its predecessor (same chunk and adjoining, or both holes):
// equal content reached by different edits of the same refs has one sequence. Positions are not
// stored; they are the running sum of the lengths.

import type { ChunkRef, Content } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import type { ChunkId } from './chunk-id.ts'

export type Extent = {
  readonly chunk: ChunkId | ''
  /** Plain size of the whole chunk; 0 for a hole. */
  readonly chunkBytes: number
  readonly begin: number
  readonly length: number
}

/** An extent at its place in a file. */
export type Placed = { offset: number; extent: Extent }

/** More extents than this make a tree. */
export const REFS_MAX = 16

export function holeOf(length: number): Extent {
  return { chunk: '', chunkBytes: 0, begin: 0, length }
}

export function wholeChunk(chunk: ChunkId, chunkBytes: number): Extent {
  return { chunk, chunkBytes, begin: 0, length: chunkBytes }
}

export function isHole(extent: Extent): boolean {
  return extent.chunk === ''
}

/** [from, to) of the extent, counted from its own start. */
export function sliceExtent(extent: Extent, from: number, to: number): Extent {
  assert(from >= 0 && from < to && to <= extent.length, 'slice outside the extent')
  if (from === 0 && to === extent.length) return extent
  const { chunk, chunkBytes } = extent
  const begin = chunk === '' ? 0 : extent.begin + from
  return { chunk, chunkBytes, begin, length: to - from }
}

/** The two as one, when `b` continues `a`. */
export function joinExtents(a: Extent, b: Extent): Extent | undefined {
  if (a.chunk !== b.chunk) return undefined
  if (a.chunk === '') return holeOf(a.length + b.length)
  if (a.begin + a.length !== b.begin) return undefined
  return { ...a, length: a.length + b.length }
}

/** Appends to a normal sequence and keeps it normal. */
export function pushExtent(sequence: Extent[], extent: Extent): void {
  if (extent.length === 0) return
  const last = sequence[sequence.length - 1]
  const joined = last === undefined ? undefined : joinExtents(last, extent)
  if (joined === undefined) sequence.push(extent)
  else sequence[sequence.length - 1] = joined
}

export function totalBytes(sequence: readonly Extent[]): number {
  let sum = 0
  for (const extent of sequence) sum += extent.length
  return sum
}

export function refsContent(chunker: number, sequence: readonly Extent[]): Content {
  assert(sequence.length <= REFS_MAX, 'too many refs for an op')
  const refs = sequence.map((extent) =>
    extent.chunk === '' ? { hole: extent.length } : refOf(extent, extent.chunk),
  )
  return { kind: 'refs', chunker, refs }
}

/** The ref to a tree's root, the extent (root's id, its bytes, hole bytes below, content bytes): it
 *  covers all bytes of that chunk, or, when there are holes in the content, all but the first. */
export function rootRef(root: Extent): ChunkRef {
  assert(root.chunk !== '', 'a root is a chunk')
  const begin = root.begin > 0 ? 1 : 0
  const { chunk, chunkBytes } = root
  return { chunk, chunkBytes, begin, length: chunkBytes - begin }
}

export function isSparseRoot(root: ChunkRef): boolean {
  return root.begin > 0
}

export function holeBytesIn(sequence: readonly Extent[]): number {
  let sum = 0
  for (const extent of sequence) if (extent.chunk === '') sum += extent.length
  return sum
}

export function extentsOfRefs(content: Extract<Content, { kind: 'refs' }>): Extent[] {
  const sequence: Extent[] = []
  for (const ref of content.refs) {
    pushExtent(sequence, 'hole' in ref ? holeOf(ref.hole) : { ...ref })
  }
  return sequence
}

function refOf(extent: Extent, chunk: ChunkId): ChunkRef {
  return { chunk, chunkBytes: extent.chunkBytes, begin: extent.begin, length: extent.length }
}
