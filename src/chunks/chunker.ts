// Cutting plaintext into chunks. A chunker has an id, which manifests record; its parameters never
// change under that id. Cuts depend on the bytes since the last cut only, never on how the stream
// came in buffers: a caller passes what it has, takes the lengths, and passes the rest again with
// what follows (`final` once nothing follows).
//
// FastCDC runs in the addon; `cutTwin` is the same algorithm in plain sight and the tests' oracle:
// skip min bytes; fp = (fp << 1) + gear[byte] in 64 bits, from fp = 0; cut before the byte whose
// fp has only zeros under the mask, or at max. Below avg the mask has log2(avg) + 2 bits, from avg
// on log2(avg) - 2: the top ones below bit 63 (FastCDC, Xia et al., 2020, normalisation 2).

import { loadAddon } from '../crypto/native.ts'
import { assert, unreachable } from '../util/assert.ts'
import { GEAR_BYTES } from './gear.ts'

export const CHUNKER_FASTCDC = 1
export const CHUNKER_FIXED_16K = 2
/** No chunk, of whatever chunker, is longer. */
export const CHUNK_MAX_BYTES = 512 * 1024

export type ChunkerId = typeof CHUNKER_FASTCDC | typeof CHUNKER_FIXED_16K

export type CutSizes = { minBytes: number; avgBytes: number; maxBytes: number }

export const FASTCDC_SIZES: CutSizes = {
  minBytes: 64 * 1024,
  avgBytes: 128 * 1024,
  maxBytes: CHUNK_MAX_BYTES,
}

const FIXED_BYTES = 16 * 1024

export function isChunkerId(value: number): value is ChunkerId {
  return value === CHUNKER_FASTCDC || value === CHUNKER_FIXED_16K
}

/** The longest chunk that `chunker` makes: buffers of at least this size always yield a cut. */
export function chunkerMaxBytes(chunker: ChunkerId): number {
  return chunker === CHUNKER_FIXED_16K ? FIXED_BYTES : FASTCDC_SIZES.maxBytes
}

/**
 * Lengths of the chunks at the start of `buffer`, in order. The rest, which more bytes could
 * change, is left out unless `final`. `gear` comes from gearTable().
 */
export function cutChunks(
  chunker: ChunkerId,
  gear: Uint8Array,
  buffer: Uint8Array,
  final: boolean,
): Uint32Array {
  switch (chunker) {
    case CHUNKER_FASTCDC:
      return cutNative(gear, buffer, final, FASTCDC_SIZES)
    case CHUNKER_FIXED_16K:
      return cutFixed(buffer.length, final)
    default:
      return unreachable(chunker)
  }
}

/** FastCDC in the addon with any sizes (tests, measurements). */
export function cutNative(
  gear: Uint8Array,
  buffer: Uint8Array,
  final: boolean,
  sizes: CutSizes,
): Uint32Array {
  return loadAddon().cut(
    buffer,
    gear,
    sizes.minBytes,
    sizes.avgBytes,
    sizes.maxBytes,
    final,
  )
}

function cutFixed(sizeBytes: number, final: boolean): Uint32Array {
  const whole = Math.floor(sizeBytes / FIXED_BYTES)
  const tailBytes = sizeBytes - whole * FIXED_BYTES
  const lengths = new Uint32Array(whole + (final && tailBytes > 0 ? 1 : 0)).fill(FIXED_BYTES)
  if (lengths.length > whole) lengths[whole] = tailBytes
  return lengths
}

/** FastCDC as it reads in the paper, a byte a step, the 64-bit fp as two 32-bit halves. */
export function cutTwin(
  gear: Uint8Array,
  buffer: Uint8Array,
  final: boolean,
  sizes: CutSizes,
): Uint32Array {
  assert(gear.length === GEAR_BYTES, 'gear table length')
  const words = new DataView(gear.buffer, gear.byteOffset, gear.byteLength)
  const low = Uint32Array.from({ length: 256 }, (_, i) => words.getUint32(i * 8, true))
  const high = Uint32Array.from({ length: 256 }, (_, i) => words.getUint32(i * 8 + 4, true))
  const log2 = Math.log2(sizes.avgBytes)
  assert(Number.isInteger(log2), 'the average must be a power of two')
  const maskSmall = topMask(log2 + 2)
  const maskLarge = topMask(log2 - 2)

  const lengths: number[] = []
  for (let begin = 0; begin < buffer.length; ) {
    const leftBytes = buffer.length - begin
    const length = cutOne(begin, Math.min(leftBytes, sizes.maxBytes))
    if (length === undefined && !final) break
    lengths.push(length ?? leftBytes)
    begin += length ?? leftBytes
  }
  return Uint32Array.from(lengths)

  /** The length of the chunk at `begin`, or undefined when `limit` bytes do not decide it. */
  function cutOne(begin: number, limit: number): number | undefined {
    let fpLow = 0
    let fpHigh = 0
    for (let i = sizes.minBytes; i < limit; i++) {
      const byte = buffer[begin + i] as number
      fpHigh = ((fpHigh << 1) | (fpLow >>> 31)) >>> 0
      const sumLow = ((fpLow << 1) >>> 0) + (low[byte] as number)
      fpLow = sumLow >>> 0
      fpHigh = (fpHigh + (high[byte] as number) + (sumLow > 0xffffffff ? 1 : 0)) >>> 0
      const mask = i < sizes.avgBytes ? maskSmall : maskLarge
      if ((fpHigh & mask) === 0) return i
    }
    return limit === sizes.maxBytes ? limit : undefined
  }
}

/** `bits` ones just below the top bit of the high half. */
function topMask(bits: number): number {
  return (2 ** bits - 1) * 2 ** (31 - bits)
}
