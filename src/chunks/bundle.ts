// Bundles: chunks gathered, padded and sealed (bundle-layout.ts draws the bytes), and opened again
// in whole or in part. Everything that a stranger could have written is bounded before it is used
// and refused with a reason of its own. Pure: keys and bytes in, bytes out.

import {
  NONCE_PREFIX_BYTES,
  SEGMENT_PLAIN_BYTES,
  openSegments,
  sealSegments,
} from '../crypto/aead.ts'
import { randomBytes } from '../crypto/random.ts'
import { assert } from '../util/assert.ts'
import {
  BUNDLE_HEADER_BYTES,
  BUNDLE_MAX_BYTES,
  bundleError,
  checkPadding,
  encodeHeader,
  indexBytes,
  isStorable,
  maxPlainBytes,
  padme,
  parseHeader,
  readIndex,
  readIndexCount,
  sealedBytesOf,
  segmentRange,
  writeIndex,
} from './bundle-layout.ts'
import type { BundleEntry, BundleHeader, SegmentRange } from './bundle-layout.ts'
import type { ChunkId } from './chunk-id.ts'
import { decompressChunk } from './compress.ts'
import type { Codec } from './compress.ts'

/** Who seals: constant for a writer within an epoch. */
export type BundleSealer = {
  vaultId: Uint8Array
  epochId: Uint8Array
  sealer: Uint8Array
  /** K_bundle of the epoch. */
  key: Uint8Array
}

export type BundleBuilderOptions = {
  /** Sealed size at which the bundle is full; 1 MiB unless told, 256 KiB for random access. */
  maxSealedBytes?: number
  /** Source of nonce prefixes; the system's unless a simulator brings its own. */
  random?: (sizeBytes: number) => Uint8Array
}

/** 'full': to the builder's maximum, so that all bulk bundles look alike. 'padme': a little. */
export type BundlePadding = 'full' | 'padme'

export type FinishedBundle = { sealed: Uint8Array; entries: BundleEntry[] }

/**
 * Gathers chunks for one bundle after another; the plaintext buffer is reused. Order: add() until
 * it returns false or the caller wants to close, finish(), add() again for the next one.
 */
export class BundleBuilder {
  readonly #plain: Uint8Array
  readonly #random: (sizeBytes: number) => Uint8Array
  #entries: BundleEntry[] = []
  #usedBytes = 0
  /** Everything from here on is zero. */
  #dirtyEnd = 0

  constructor(options: BundleBuilderOptions = {}) {
    const maxSealedBytes = options.maxSealedBytes ?? BUNDLE_MAX_BYTES
    assert(maxSealedBytes > 1024 && maxSealedBytes <= BUNDLE_MAX_BYTES, 'bundle size')
    this.#plain = new Uint8Array(maxPlainBytes(maxSealedBytes))
    this.#random = options.random ?? randomBytes
  }

  get chunkCount(): number {
    return this.#entries.length
  }

  /** Stored bytes so far, without index and padding. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** True when a chunk of `storedBytes` still has room. */
  fits(storedBytes: number): boolean {
    const need = this.#usedBytes + storedBytes + indexBytes(this.#entries.length + 1)
    return need <= this.#plain.length
  }

  /** Copies a stored chunk in. False, and nothing changed, when it does not fit. */
  add(chunk: ChunkId, stored: Uint8Array, codec: Codec, plainBytes: number): boolean {
    assert(isStorable(stored.length, plainBytes, codec), 'bundle: chunk lengths')
    if (!this.fits(stored.length)) return false
    const offset = this.#usedBytes
    this.#plain.set(stored, offset)
    this.#entries.push({ chunk, offset, storedBytes: stored.length, plainBytes, codec })
    this.#usedBytes = offset + stored.length
    return true
  }

  /** The sealed size that finish() would produce. */
  sealedBytes(padding: BundlePadding): number {
    return sealedBytesOf(this.#paddedBytes(padding))
  }

  /**
   * Seals what was added and starts anew. `out`, when given, must hold sealedBytes(padding); the
   * result is then a view of it, else a new array.
   */
  finish(who: BundleSealer, padding: BundlePadding, out?: Uint8Array): FinishedBundle {
    const plain = this.#plain.subarray(0, this.#paddedBytes(padding))
    const entries = this.#entries
    const begin = plain.length - indexBytes(entries.length)
    this.#plain.fill(0, this.#usedBytes, Math.max(this.#usedBytes, this.#dirtyEnd))
    writeIndex(plain, entries)
    assert(begin >= this.#usedBytes, 'bundle: index over chunks')
    this.#dirtyEnd = plain.length

    const sealedBytes = sealedBytesOf(plain.length)
    const sealed = out?.subarray(0, sealedBytes) ?? Buffer.allocUnsafeSlow(sealedBytes)
    assert(sealed.length === sealedBytes, 'bundle: output too short')
    const noncePrefix = this.#random(NONCE_PREFIX_BYTES)
    const header = encodeHeader({ ...who, noncePrefix }, plain.length)
    sealed.set(header)
    sealSegments(who.key, noncePrefix, header, plain, sealed.subarray(BUNDLE_HEADER_BYTES))
    this.#entries = []
    this.#usedBytes = 0
    return { sealed, entries }
  }

  /** Forgets and zeroes all plaintext. The builder can be used again. */
  clear(): void {
    this.#plain.fill(0)
    this.#entries = []
    this.#usedBytes = 0
    this.#dirtyEnd = 0
  }

  #paddedBytes(padding: BundlePadding): number {
    const maxBytes = this.#plain.length
    if (padding === 'full') return maxBytes
    return Math.min(maxBytes, padme(this.#usedBytes + indexBytes(this.#entries.length)))
  }
}

/** Reads sealed bytes of a bundle; offsets count from its start. May return a view. */
export type ReadSealed = (offset: number, length: number) => Uint8Array

/**
 * Opens segments that segmentRange() chose, `sealed` holding exactly its bytes, and returns the
 * plaintext of the asked range, a view of a new buffer. Throws 'bundle-seal'.
 */
export function openRange(
  key: Uint8Array,
  header: BundleHeader,
  sealed: Uint8Array,
  range: SegmentRange,
  offset: number,
  length: number,
): Uint8Array {
  assert(sealed.length === range.sealedBytes, 'openRange: sealed length')
  const { noncePrefix, bytes, segmentCount } = header
  const plain = openSegments(key, noncePrefix, bytes, sealed, range.firstSegment, segmentCount)
  if (plain === null) throw bundleError('bundle-seal', 'a segment does not open')
  const begin = offset - range.plainOffset
  assert(begin >= 0 && begin + length <= plain.length, 'openRange: range')
  return plain.subarray(begin, begin + length)
}

/** As openRange(), fetching the segments through `read`. */
export function readPlain(
  key: Uint8Array,
  header: BundleHeader,
  read: ReadSealed,
  offset: number,
  length: number,
): Uint8Array {
  const range = segmentRange(header.sealedBytes, offset, length)
  const sealed = read(range.sealedOffset, range.sealedBytes)
  return openRange(key, header, sealed, range, offset, length)
}

/** The index of a bundle, from its last segments only: one, or two when it has many chunks. */
export function readBundleIndex(
  key: Uint8Array,
  header: BundleHeader,
  read: ReadSealed,
): BundleEntry[] {
  const { plainBytes, segmentCount } = header
  const lastBegin = (segmentCount - 1) * SEGMENT_PLAIN_BYTES
  const countBegin = Math.max(0, Math.min(lastBegin, plainBytes - 4))
  const last = readPlain(key, header, read, countBegin, plainBytes - countBegin)
  const needBytes = indexBytes(readIndexCount(last, plainBytes))
  if (needBytes <= last.length) return readIndex(last, plainBytes)
  const tail = readPlain(key, header, read, plainBytes - needBytes, needBytes)
  return readIndex(tail, plainBytes)
}

/** The index of a bundle that is wholly in memory. */
export function openBundleIndex(key: Uint8Array, sealed: Uint8Array): BundleEntry[] {
  return readBundleIndex(key, parseHeader(sealed, sealed.length), readerOf(sealed))
}

/** A chunk's plaintext: opens its segments, inflates. The id is not checked (chunk-id.ts does). */
export function readChunk(
  key: Uint8Array,
  header: BundleHeader,
  read: ReadSealed,
  entry: Pick<BundleEntry, 'offset' | 'storedBytes' | 'plainBytes' | 'codec'>,
): Uint8Array {
  const stored = readPlain(key, header, read, entry.offset, entry.storedBytes)
  return decompressChunk(entry.codec, stored, entry.plainBytes)
}

export type OpenedBundle = { header: BundleHeader; entries: BundleEntry[]; plain: Uint8Array }

/**
 * Opens everything and checks every rule, padding included: for bytes that come from others and
 * for `check --read-data`. The caller verifies chunk ids. `plain` lies in `memory` if that is
 * given (BUNDLE_MAX_BYTES of it), else in a new buffer.
 */
export function openBundle(
  key: Uint8Array,
  sealed: Uint8Array,
  expectedVault?: Uint8Array,
  memory?: Buffer,
): OpenedBundle {
  const header = parseHeader(sealed, sealed.length, expectedVault)
  const { noncePrefix, bytes, plainBytes, segmentCount } = header
  const segments = sealed.subarray(BUNDLE_HEADER_BYTES)
  const out = memory?.subarray(0, plainBytes)
  const plain = openSegments(key, noncePrefix, bytes, segments, 0, segmentCount, out)
  if (plain === null) throw bundleError('bundle-seal', 'a segment does not open')
  const entries = readIndex(plain, header.plainBytes)
  checkPadding(plain, entries)
  return { header, entries, plain }
}

/** A ReadSealed over a whole bundle in memory. */
export function readerOf(sealed: Uint8Array): ReadSealed {
  return (offset, length) => sealed.subarray(offset, offset + length)
}
