// The record of one held content (held.ts), as its plaintext: JSON, since it is local, rare and
// looked at by hand when something is wrong. Ids are hexadecimal.
//
//   {version: 0, node, base: [[author, sequence, index, ms, counter]…], attr: {…},
//    tree: {chunker, depth, root: [chunk, chunkBytes, begin], bytes}, sizeBytes,
//    edits: [[offset, length, chunk or '', chunkBytes, begin]…]}

import type { AuthorId, ChunkId, NodeId, OpRef } from '../ops/types.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { Attr } from './buffers.ts'
import type { Unfolded } from './content.ts'

/** More edits than that are not held: their record would be written anew at each fsync. */
export const HELD_EDITS_MAX = 16_384

/** A file's content that waits, and the line of content that its put goes on. */
export interface HeldRecord {
  node: NodeId
  base: readonly OpRef[]
  attr: Attr
  content: Unfolded
}

interface Stored {
  version: 0
  node: string
  base: [author: string, seq: number, index: number, ms: number, counter: number][]
  attr: Attr
  tree: { chunker: number; depth: number; root: [string, number, number]; bytes: number }
  sizeBytes: number
  edits: [offset: number, length: number, chunk: string, chunkBytes: number, begin: number][]
}

export function encodeHeld({ node, base, attr, content }: HeldRecord): string {
  const { root, depth, chunker, baseBytes, sizeBytes, edits } = content
  const stored: Stored = {
    version: 0,
    node: hexOf(node),
    base: base.map(({ author, seq, index, ms, counter }) => [
      hexOf(author), seq, index, ms, counter,
    ]),
    attr,
    tree: {
      chunker, depth, root: [hexOf(root.chunk), root.chunkBytes, root.begin], bytes: baseBytes,
    },
    sizeBytes,
    edits: edits.map(({ offset, extent: { length, chunk, chunkBytes, begin } }) => [
      offset, length, hexOf(chunk), chunkBytes, begin,
    ]),
  }
  return JSON.stringify(stored)
}

/** Throws 'corrupt', 'unknown-format'. The record was sealed by this device: what opens is taken
 *  at its word. */
export function decodeHeld(text: string): HeldRecord {
  try {
    const stored = JSON.parse(text) as Stored
    if (stored.version !== 0) {
      throw new LatticeError('unknown-format', 'a held content is of another version')
    }
    const { chunker, depth, root: [chunk, chunkBytes, begin], bytes: baseBytes } = stored.tree
    const root = { chunk: idOf<ChunkId>(chunk), chunkBytes, begin, length: chunkBytes - begin }
    const edits = stored.edits.map(([offset, length, id, size, from]) => ({
      offset, extent: { chunk: idOf<ChunkId | ''>(id), chunkBytes: size, begin: from, length },
    }))
    const { sizeBytes } = stored
    return {
      node: idOf(stored.node),
      base: stored.base.map(([author, seq, index, ms, counter]) => ({
        author: idOf<AuthorId>(author), seq, index, ms, counter, order: 0,
      })),
      attr: stored.attr,
      content: { root, depth, chunker, baseBytes, sizeBytes, edits },
    }
  } catch (cause) {
    if (isLatticeError(cause)) throw cause
    throw new LatticeError('corrupt', 'a held content cannot be read', { cause })
  }
}

function hexOf(id: string): string {
  return Buffer.from(id, 'latin1').toString('hex')
}

function idOf<T extends string>(hex: string): T {
  return Buffer.from(hex, 'hex').toString('latin1') as T
}
