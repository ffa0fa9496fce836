// The layout of a bundle, version 0: header, offset arithmetic, index. Pure; no keys.
//
//   sealed     header 81 ‖ segment 0 ‖ … ‖ segment n-1          at most 1 MiB
//   header      0  1  version (0)
//               1  1  suite (1: XChaCha20-Poly1305, 16 KiB segments, keyed BLAKE3 ids)
//               2 16  vault id
//              18  8  epoch id: whose K_bundle seals it
//              26 32  sealer: the author's public key
//              58  4  segment count, u32 BE
//              62 19  nonce prefix, random
//   segment    ciphertext of 16 KiB (the last: of the rest, ≥ 1 byte) ‖ tag 16
//              nonce = prefix ‖ index u32 BE ‖ last flag u8; associated data = the whole header
//   plaintext  chunks as stored, back to back ‖ zeroes ‖ index ‖ chunk count u32 BE
//   index       0 32  chunk id          one entry of 45 bytes per chunk, in the order of the
//              32  4  offset, u32 BE     chunks; offsets leave no gaps
//              36  4  stored length
//              40  4  plain length
//              44  1  codec
//
// The index ends the plaintext, so that the last segments alone yield it. Zeroes pad bulk bundles
// to 1 MiB sealed, others to a Padmé size (Nikitin et al., "Reducing Metadata Leakage from
// Encrypted Files and Communication with PURBs", PETS 2019) of their plaintext.

import {
  NONCE_PREFIX_BYTES,
  SEGMENT_PLAIN_BYTES,
  SEGMENT_SEALED_BYTES,
  TAG_BYTES,
  sealedSegmentsBytes,
  segmentCount,
} from '../crypto/aead.ts'
import { assert } from '../util/assert.ts'
import { copyBytes, equalBytes, isZero, readU32, writeU32 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import { readChunkId, writeChunkId } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import { CHUNK_MAX_BYTES } from './chunker.ts'
import { CODEC_RAW, checkSizes, isCodec } from './compress.ts'
import type { Codec } from './compress.ts'

export const BUNDLE_VERSION = 0
export const BUNDLE_SUITE = 1
export const BUNDLE_HEADER_BYTES = 81
export const BUNDLE_MAX_BYTES = 1024 * 1024
/** Bundles of chunks that are read at random are closed at this size. */
export const BUNDLE_RANDOM_BYTES = 256 * 1024
export const INDEX_ENTRY_BYTES = 45
const COUNT_BYTES = 4
/** A header and one segment that holds the chunk count alone. */
export const BUNDLE_MIN_BYTES = BUNDLE_HEADER_BYTES + TAG_BYTES + COUNT_BYTES

export type BundleHeader = {
  vaultId: Uint8Array
  epochId: Uint8Array
  sealer: Uint8Array
  segmentCount: number
  noncePrefix: Uint8Array
  /** The header as it is stored: the associated data of every segment. */
  bytes: Uint8Array
  sealedBytes: number
  plainBytes: number
}

export type BundleEntry = {
  chunk: ChunkId
  /** Where the stored bytes begin in the bundle's plaintext. */
  offset: number
  storedBytes: number
  plainBytes: number
  codec: Codec
}

/** Which sealed bytes of a bundle hold a range of its plaintext. */
export type SegmentRange = {
  firstSegment: number
  /** From the start of the bundle. */
  sealedOffset: number
  sealedBytes: number
  /** Offset in the plaintext of the first byte that these segments hold. */
  plainOffset: number
}

export function bundleError(code: ErrorCode, message: string, cause?: unknown): LatticeError {
  return new LatticeError(code, `bundle: ${message}`, cause === undefined ? {} : { cause })
}

/** Plaintext bytes of a bundle of `sealedBytes`, or undefined when no bundle has that size. */
export function plainBytesOf(sealedBytes: number): number | undefined {
  const body = sealedBytes - BUNDLE_HEADER_BYTES
  const segments = Math.ceil(body / SEGMENT_SEALED_BYTES)
  const lastBytes = body - (segments - 1) * SEGMENT_SEALED_BYTES
  return segments < 1 || lastBytes <= TAG_BYTES ? undefined : body - segments * TAG_BYTES
}

export function sealedBytesOf(plainBytes: number): number {
  return BUNDLE_HEADER_BYTES + sealedSegmentsBytes(plainBytes)
}

/** The greatest plaintext whose bundle is not greater than `sealedBytes`. */
export function maxPlainBytes(sealedBytes: number): number {
  for (let size = sealedBytes; ; size--) {
    const plainBytes = plainBytesOf(size)
    if (plainBytes !== undefined) return plainBytes
  }
}

/** Padmé: at most 12 % more, and only O(log log n) bits of the size are left to see. */
export function padme(sizeBytes: number): number {
  if (sizeBytes < 2) return sizeBytes
  const exponent = Math.floor(Math.log2(sizeBytes))
  const keptBits = Math.floor(Math.log2(exponent)) + 1
  const step = 2 ** Math.max(0, exponent - keptBits)
  return Math.ceil(sizeBytes / step) * step
}

export function encodeHeader(
  header: Pick<BundleHeader, 'vaultId' | 'epochId' | 'sealer' | 'noncePrefix'>,
  plainBytes: number,
): Uint8Array {
  assert(header.vaultId.length === 16 && header.epochId.length === 8, 'bundle header: ids')
  assert(header.sealer.length === 32, 'bundle header: sealer')
  assert(header.noncePrefix.length === NONCE_PREFIX_BYTES, 'bundle header: nonce prefix')
  const bytes = new Uint8Array(BUNDLE_HEADER_BYTES)
  bytes[0] = BUNDLE_VERSION
  bytes[1] = BUNDLE_SUITE
  bytes.set(header.vaultId, 2)
  bytes.set(header.epochId, 18)
  bytes.set(header.sealer, 26)
  writeU32(bytes, 58, segmentCount(plainBytes))
  bytes.set(header.noncePrefix, 62)
  return bytes
}

/**
 * Reads the header at the start of `bytes` (81 bytes are enough) of a bundle that is `sealedBytes`
 * long. The fields are copies. Nothing is authentic yet: the seals of the segments cover it.
 */
export function parseHeader(
  bytes: Uint8Array,
  sealedBytes: number,
  expectedVault?: Uint8Array,
): BundleHeader {
  if (sealedBytes < BUNDLE_MIN_BYTES || bytes.length < BUNDLE_HEADER_BYTES) {
    throw bundleError('bundle-short', `${sealedBytes} bytes are too few`)
  }
  if (sealedBytes > BUNDLE_MAX_BYTES) {
    throw bundleError('bundle-too-large', `${sealedBytes} bytes exceed 1 MiB`)
  }
  if (bytes[0] !== BUNDLE_VERSION) throw bundleError('bundle-version', `version ${bytes[0]}`)
  if (bytes[1] !== BUNDLE_SUITE) throw bundleError('bundle-suite', `suite ${bytes[1]}`)
  const plainBytes = plainBytesOf(sealedBytes)
  const segments = readU32(bytes, 58)
  if (plainBytes === undefined || segments !== segmentCount(plainBytes)) {
    throw bundleError('bundle-segment-count', `${segments} segments in ${sealedBytes} bytes`)
  }
  const header = copyBytes(bytes, 0, BUNDLE_HEADER_BYTES)
  const vaultId = header.subarray(2, 18)
  if (expectedVault !== undefined && !equalBytes(vaultId, expectedVault)) {
    throw bundleError('bundle-vault', 'it belongs to another vault')
  }
  return {
    vaultId,
    epochId: header.subarray(18, 26),
    sealer: header.subarray(26, 58),
    segmentCount: segments,
    noncePrefix: header.subarray(62, 81),
    bytes: header,
    sealedBytes,
    plainBytes,
  }
}

/**
 * The sealed range that holds the plaintext range; one segment, or two where it crosses a border,
 * for 4 KiB. Throws 'out-of-bounds' when the range is empty or leaves the plaintext.
 */
export function segmentRange(sealedBytes: number, offset: number, length: number): SegmentRange {
  const plainBytes = plainBytesOf(sealedBytes)
  const valid =
    plainBytes !== undefined &&
    Number.isInteger(offset) &&
    Number.isInteger(length) &&
    offset >= 0 &&
    length > 0 &&
    offset + length <= plainBytes
  if (!valid) {
    throw new LatticeError('out-of-bounds', 'a range lies outside its bundle', {
      details: { sealedBytes, offset, length },
    })
  }
  const first = Math.floor(offset / SEGMENT_PLAIN_BYTES)
  const last = Math.floor((offset + length - 1) / SEGMENT_PLAIN_BYTES)
  const begin = BUNDLE_HEADER_BYTES + first * SEGMENT_SEALED_BYTES
  const end = Math.min(BUNDLE_HEADER_BYTES + (last + 1) * SEGMENT_SEALED_BYTES, sealedBytes)
  return {
    firstSegment: first,
    sealedOffset: begin,
    sealedBytes: end - begin,
    plainOffset: first * SEGMENT_PLAIN_BYTES,
  }
}

/** Bytes of index and count for `count` chunks. */
export function indexBytes(count: number): number {
  return count * INDEX_ENTRY_BYTES + COUNT_BYTES
}

/** Writes index and count so that they end at the end of `plain`. */
export function writeIndex(plain: Uint8Array, entries: readonly BundleEntry[]): void {
  let at = plain.length - indexBytes(entries.length)
  assert(at >= 0, 'bundle index does not fit')
  for (const entry of entries) {
    writeChunkId(plain, at, entry.chunk)
    writeU32(plain, at + 32, entry.offset)
    writeU32(plain, at + 36, entry.storedBytes)
    writeU32(plain, at + 40, entry.plainBytes)
    plain[at + 44] = entry.codec
    at += INDEX_ENTRY_BYTES
  }
  writeU32(plain, at, entries.length)
}

/** The chunk count, from the last bytes of the plaintext; checked against its size. */
export function readIndexCount(tail: Uint8Array, plainBytes: number): number {
  assert(tail.length >= COUNT_BYTES, 'bundle tail')
  const count = readU32(tail, tail.length - COUNT_BYTES)
  if (indexBytes(count) + count > plainBytes) {
    throw bundleError('bundle-index-count', `${count} chunks in ${plainBytes} bytes`)
  }
  return count
}

/** The entries of a tail of the plaintext that holds the whole index. */
export function readIndex(tail: Uint8Array, plainBytes: number): BundleEntry[] {
  const count = readIndexCount(tail, plainBytes)
  const chunksEnd = plainBytes - indexBytes(count)
  const entries: BundleEntry[] = []
  let at = tail.length - indexBytes(count)
  assert(at >= 0, 'bundle tail is shorter than the index')
  let offset = 0
  for (let i = 0; i < count; i++, at += INDEX_ENTRY_BYTES) {
    const entry = readEntry(tail, at)
    if (entry.offset !== offset) throw bundleError('bundle-index-order', `entry ${i} leaves a gap`)
    offset += entry.storedBytes
    if (offset > chunksEnd) throw bundleError('bundle-index-overlap', `entry ${i} is too long`)
    entries.push(entry)
  }
  return entries
}

function readEntry(bytes: Uint8Array, at: number): BundleEntry {
  const storedBytes = readU32(bytes, at + 36)
  const plainBytes = readU32(bytes, at + 40)
  const codec = bytes[at + 44] as number
  if (!isCodec(codec)) throw bundleError('bundle-index-entry', `unknown codec ${codec}`)
  try {
    checkSizes(codec, storedBytes, plainBytes)
  } catch (cause) {
    throw bundleError('bundle-index-entry', 'impossible lengths', cause)
  }
  const offset = readU32(bytes, at + 32)
  return { chunk: readChunkId(bytes, at), offset, storedBytes, plainBytes, codec }
}

/** Throws 'bundle-padding' unless everything between chunks and index is zero. */
export function checkPadding(plain: Uint8Array, entries: readonly BundleEntry[]): void {
  const last = entries[entries.length - 1]
  const begin = last === undefined ? 0 : last.offset + last.storedBytes
  if (!isZero(plain.subarray(begin, plain.length - indexBytes(entries.length)))) {
    throw bundleError('bundle-padding', 'the padding is not zero')
  }
}

/** True when a chunk of these lengths may stand in an index. */
export function isStorable(storedBytes: number, plainBytes: number, codec: Codec): boolean {
  return (
    plainBytes >= 1 &&
    plainBytes <= CHUNK_MAX_BYTES &&
    (codec === CODEC_RAW ? storedBytes === plainBytes : storedBytes * 20 <= plainBytes * 19)
  )
}
