// From extents to what a reader does: pieces of packs to be opened off the loop, bytes that are at
// hand, holes. A raw stretch needs only the segments around it, wherever the plan is carried out, a
// compressed chunk all of its block; what is loose or on a disk without descriptors is opened here
// and given as bytes.
// Also the plain executor of plans: the oracle of the native one, and what the twin uses.

import fs from 'node:fs'
import { assert, unreachable } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import { BUNDLE_HEADER_BYTES, parseHeader } from './bundle-layout.ts'
import { readPlain } from './bundle.ts'
import type { ChunkReader } from './chunk-cache.ts'
import type { ChunkLocation } from './chunk-index-port.ts'
import { CODEC_LZ4, CODEC_RAW, decompressChunk } from './compress.ts'
import type { ReadPiece, ReadPlan, Urgency } from './content-store-ports.ts'
import type { Extent, Placed } from './manifest.ts'
import type { PackStore } from './pack-store.ts'

/** The plan, or undefined when a part of it must be waited for. */
export function planNow(
  reader: ChunkReader,
  packs: PackStore,
  placed: readonly Placed[],
): ReadPlan | undefined {
  const builder = new PlanBuilder(reader, packs)
  for (const one of placed) {
    let added = false
    try {
      added = builder.add(one)
    } catch (error) {
      builder.release()
      throw error
    }
    if (added) continue
    builder.release()
    return undefined
  }
  return builder.plan()
}

export async function planSoon(
  reader: ChunkReader,
  packs: PackStore,
  placed: readonly Placed[],
  urgency: Urgency = 'read',
): Promise<ReadPlan> {
  const builder = new PlanBuilder(reader, packs)
  try {
    const late: Promise<void>[] = []
    for (const one of placed) if (!builder.add(one)) late.push(builder.addLate(one, urgency))
    const outcomes = await Promise.allSettled(late)
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return builder.plan()
  } catch (error) {
    builder.release()
    throw error
  }
}

/** Where in packs the extents are, as pieces of bundles: what lies nowhere there is left out. */
export function placesOf(
  reader: ChunkReader,
  packs: PackStore,
  placed: readonly Placed[],
): ReadPlan {
  const builder = new PlanBuilder(reader, packs)
  try {
    for (const one of placed) builder.addPlace(one)
    return builder.plan()
  } catch (error) {
    builder.release()
    throw error
  }
}

class PlanBuilder {
  readonly #reader: ChunkReader
  readonly #packs: PackStore
  readonly #pieces: ReadPiece[] = []
  readonly #pinned: number[] = []

  constructor(reader: ChunkReader, packs: PackStore) {
    this.#reader = reader
    this.#packs = packs
  }

  /** False when the extent can only be had by waiting; nothing is added then. */
  add({ offset, extent }: Placed): boolean {
    const { chunk, begin, length } = extent
    if (chunk === '') {
      this.#pieces.push({ kind: 'hole', offset, length })
      return true
    }
    const location = this.#reader.locateNow(chunk)
    if (location === undefined) return false
    if (location.where === 'pack') return this.#addPacked(offset, extent, location)
    const plain = this.#reader.readNow(chunk, location)
    if (plain === undefined) return false
    this.#pieces.push({ kind: 'bytes', offset, bytes: plain.slice(begin, begin + length) })
    return true
  }

  async addLate({ offset, extent }: Placed, urgency: Urgency): Promise<void> {
    const { chunk, begin, length } = extent
    assert(chunk !== '', 'holes are never late')
    const location = await this.#reader.bring(chunk, urgency)
    if (location.where === 'pack' && this.#addPacked(offset, extent, location)) return
    if (location.where === 'pack' && location.codec === CODEC_RAW) {
      const bytes = await this.#reader.readPart(location, begin, length)
      this.#pieces.push({ kind: 'bytes', offset, bytes })
      return
    }
    const plain = await this.#reader.read(chunk, location)
    this.#pieces.push({ kind: 'bytes', offset, bytes: plain.slice(begin, begin + length) })
  }

  plan(): ReadPlan {
    this.#pieces.sort((a, b) => a.offset - b.offset)
    return { pieces: this.#pieces, release: () => this.release() }
  }

  /** Idempotent. */
  release(): void {
    for (const file of this.#pinned.splice(0)) this.#packs.unpin(file)
  }

  /** What of it lies in a pack; the rest is left out. */
  addPlace({ offset, extent }: Placed): void {
    const location = extent.chunk === '' ? undefined : this.#reader.known(extent.chunk)
    if (location?.where === 'pack') this.#addPacked(offset, extent, location)
  }

  /** False when the pack has no descriptor. */
  #addPacked(offset: number, { begin, length }: Extent, location: ChunkLocation): boolean {
    const { file, bundleOffset, bundleBytes, plainOffset, storedBytes, plainBytes } = location
    const { fd } = this.#packs.pin(file)
    this.#pinned.push(file)
    this.#packs.use.touch(file, bundleOffset)
    if (fd === undefined) return false
    const piece = { kind: 'bundle', offset, length, fd, bundleOffset, bundleBytes } as const
    if (location.codec === CODEC_RAW) {
      this.#addRaw({ ...piece, plainOffset: plainOffset + begin })
    } else {
      this.#pieces.push({ ...piece, plainOffset, block: { storedBytes, plainBytes, begin } })
    }
    return true
  }

  /** Chunks that lie side by side, in the file and in one bundle, are one piece. */
  #addRaw(piece: Extract<ReadPiece, { kind: 'bundle' }>): void {
    const last = this.#pieces[this.#pieces.length - 1]
    const continues =
      last?.kind === 'bundle' &&
      last.block === undefined &&
      last.fd === piece.fd &&
      last.bundleOffset === piece.bundleOffset &&
      last.plainOffset + last.length === piece.plainOffset &&
      last.offset + last.length === piece.offset
    if (continues) last.length += piece.length
    else this.#pieces.push(piece)
  }
}

/**
 * Carries out a plan on the calling thread: the bytes from the first piece's start to the last
 * one's end. `bundleKey` gives K_bundle of an epoch. Throws when anything does not open.
 */
export function executePieces(
  pieces: readonly ReadPiece[],
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined,
): Uint8Array {
  const first = pieces[0]
  const last = pieces[pieces.length - 1]
  if (first === undefined || last === undefined) return new Uint8Array(0)
  const out = new Uint8Array(last.offset + lengthOf(last) - first.offset)
  let at = first.offset
  for (const piece of pieces) {
    assert(piece.offset === at, 'pieces leave a gap')
    const into = out.subarray(at - first.offset, at - first.offset + lengthOf(piece))
    switch (piece.kind) {
      case 'hole':
        break
      case 'bytes':
        into.set(piece.bytes)
        break
      case 'bundle':
        into.set(openPiece(piece, bundleKey))
        break
      default:
        unreachable(piece)
    }
    at += into.length
  }
  return out
}

function lengthOf(piece: ReadPiece): number {
  return piece.kind === 'bytes' ? piece.bytes.length : piece.length
}

function openPiece(
  piece: Extract<ReadPiece, { kind: 'bundle' }>,
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined,
): Uint8Array {
  const { fd, bundleOffset, bundleBytes, plainOffset, length, block } = piece
  const read = (offset: number, size: number): Uint8Array => {
    const bytes = Buffer.allocUnsafe(size)
    const count = fs.readSync(fd, bytes, 0, size, bundleOffset + offset)
    if (count < size) throw new LatticeError('damaged-pack', 'a pack ends too early')
    return bytes
  }
  const header = parseHeader(read(0, BUNDLE_HEADER_BYTES), bundleBytes)
  const key = bundleKey(header.epochId)
  assert(key !== undefined, 'no key for the epoch of a piece')
  if (block === undefined) return readPlain(key, header, read, plainOffset, length)
  const stored = readPlain(key, header, read, plainOffset, block.storedBytes)
  const plain = decompressChunk(CODEC_LZ4, stored, block.plainBytes)
  return plain.subarray(block.begin, block.begin + length)
}
