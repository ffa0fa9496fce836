// Content inside local records: the same three forms as in a put op, in the index's own encoding.
//
//   content = u8 form ‖ …
//     0 inline  bytes
//     1 refs    chunker varint ‖ count varint ‖ part …
//     2 tree    chunker varint ‖ depth varint ‖ part
//   part    = length varint ‖ u8 0 for a hole, else 1 ‖ chunk 32 ‖ chunk bytes, begin: varints

import { CHUNK_ID_BYTES } from '../ops/bounds.ts'
import type { ChunkId, ChunkRef, Content } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import type { RecordReader, RecordWriter } from './wire.ts'

const INLINE = 0
const REFS = 1
const TREE = 2

export function encodeContent(writer: RecordWriter, content: Content): void {
  switch (content.kind) {
    case 'inline':
      writer.u8(INLINE)
      writer.bytes(content.bytes)
      return
    case 'refs':
      writer.u8(REFS)
      writer.varint(content.chunker)
      writer.varint(content.refs.length)
      for (const ref of content.refs) encodePart(writer, ref)
      return
    case 'tree':
      writer.u8(TREE)
      writer.varint(content.chunker)
      writer.varint(content.depth)
      encodePart(writer, content.root)
  }
}

export function decodeContent(reader: RecordReader): Content {
  const form = reader.u8()
  if (form === INLINE) return { kind: 'inline', bytes: reader.bytes() }
  const chunker = reader.varint()
  if (form === REFS) {
    const refs: (ChunkRef | { hole: number })[] = []
    for (let left = reader.varint(); left > 0; left--) refs.push(decodePart(reader))
    return { kind: 'refs', chunker, refs }
  }
  const depth = reader.varint()
  const root = decodePart(reader)
  if (form !== TREE || 'hole' in root) {
    throw new LatticeError('damaged-index', 'content of an unknown form')
  }
  return { kind: 'tree', chunker, root, depth }
}

function encodePart(writer: RecordWriter, part: ChunkRef | { hole: number }): void {
  if ('hole' in part) {
    writer.varint(part.hole)
    writer.u8(0)
    return
  }
  writer.varint(part.length)
  writer.u8(1)
  writer.raw(part.chunk)
  writer.varint(part.chunkBytes)
  writer.varint(part.begin)
}

function decodePart(reader: RecordReader): ChunkRef | { hole: number } {
  const length = reader.varint()
  if (reader.u8() === 0) return { hole: length }
  return {
    chunk: reader.raw(CHUNK_ID_BYTES) as ChunkId,
    chunkBytes: reader.varint(),
    begin: reader.varint(),
    length,
  }
}
