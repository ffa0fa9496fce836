// Compression of single chunks, before sealing. A stored chunk is the bytes of its codec:
//
//   0 raw   the plaintext
//   1 LZ4   u32 LE plaintext length ‖ one LZ4 block
//
// A chunk is stored raw when LZ4 saves less than 5 %. Sizes are checked before inflating: the
// plaintext length must be what the (authenticated) index says, and possible for an LZ4 block.

import lz4 from 'lz4-napi'
import { bufferView } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { CHUNK_MAX_BYTES } from './chunker.ts'

export const CODEC_RAW = 0
export const CODEC_LZ4 = 1

export type Codec = typeof CODEC_RAW | typeof CODEC_LZ4

export type StoredChunk = { codec: Codec; stored: Uint8Array }

/** Shorter chunks are not tried: the prefix and the call cost more than they could save. */
const COMPRESS_MIN_BYTES = 128
/** One byte of an LZ4 block yields at most 255 bytes, plus a short constant start. */
const LZ4_MAX_RATIO = 255
const SAMPLE_BYTES = 8 * 1024

export function isCodec(value: number): value is Codec {
  return value === CODEC_RAW || value === CODEC_LZ4
}

/** The smaller form. With codec raw, `stored` is `plain` itself, not a copy. */
export function compressChunk(plain: Uint8Array): StoredChunk {
  if (plain.length < COMPRESS_MIN_BYTES || looksIncompressible(plain)) {
    return { codec: CODEC_RAW, stored: plain }
  }
  const packed = lz4.compressSync(bufferView(plain))
  if (!gains(packed.length, plain.length)) return { codec: CODEC_RAW, stored: plain }
  return { codec: CODEC_LZ4, stored: packed }
}

/**
 * The plaintext of a stored chunk, `plainBytes` long: a view of `stored` for raw chunks, a new
 * buffer otherwise. Throws 'codec-unknown', 'codec-size' or 'codec-data'.
 */
export function decompressChunk(
  codec: number,
  stored: Uint8Array,
  plainBytes: number,
): Uint8Array {
  if (!isCodec(codec)) {
    throw new LatticeError('codec-unknown', `unknown codec ${codec}`, { details: { codec } })
  }
  checkSizes(codec, stored.length, plainBytes)
  if (codec === CODEC_RAW) return stored
  const packed = bufferView(stored)
  if (packed.readUInt32LE(0) !== plainBytes) throw sizeError(codec, stored.length, plainBytes)
  let plain: Buffer
  try {
    plain = lz4.uncompressSync(packed)
  } catch (cause) {
    throw new LatticeError('codec-data', 'a compressed chunk does not inflate', { cause })
  }
  if (plain.length !== plainBytes) throw sizeError(codec, stored.length, plainBytes)
  return plain
}

/** Throws 'codec-size' when no chunk of `plainBytes` can have `storedBytes` under `codec`. */
export function checkSizes(codec: Codec, storedBytes: number, plainBytes: number): void {
  const possible =
    plainBytes >= 1 &&
    plainBytes <= CHUNK_MAX_BYTES &&
    (codec === CODEC_RAW
      ? storedBytes === plainBytes
      : storedBytes >= 5 &&
        gains(storedBytes, plainBytes) &&
        plainBytes <= (storedBytes - 4) * LZ4_MAX_RATIO + 64)
  if (!possible) throw sizeError(codec, storedBytes, plainBytes)
}

function gains(storedBytes: number, plainBytes: number): boolean {
  return storedBytes * 20 <= plainBytes * 19
}

/** Media and archives: a sample from the middle that does not shrink saves the whole attempt. */
function looksIncompressible(plain: Uint8Array): boolean {
  if (plain.length < 4 * SAMPLE_BYTES) return false
  const begin = (plain.length - SAMPLE_BYTES) >>> 1
  const samples = [begin, plain.length - SAMPLE_BYTES, 0]
  return samples.every((at) => {
    const sample = bufferView(plain.subarray(at, at + SAMPLE_BYTES))
    return !gains(lz4.compressSync(sample).length, SAMPLE_BYTES)
  })
}

function sizeError(codec: number, storedBytes: number, plainBytes: number): LatticeError {
  return new LatticeError('codec-size', 'a stored chunk has an impossible size', {
    details: { codec, storedBytes, plainBytes },
  })
}
