// Unsigned integers below 2^53 in LEB128: seven bits a byte, low ones first, bit 7 = more follows.
// One value has one form: a last byte of zero after others is refused ('not-canonical').

import { assert } from './assert.ts'
import { LatticeError } from './errors.ts'

export const VARINT_MAX_BYTES = 8

export function varintSize(value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'varint: not an integer below 2^53')
  let size = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++
  return size
}

/** Writes at `at`, returns the offset after it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  assert(at + varintSize(value) <= bytes.length, 'varint: no room')
  let rest = value
  let end = at
  while (rest >= 128) {
    bytes[end++] = (rest % 128) + 128
    rest = Math.floor(rest / 128)
  }
  bytes[end++] = rest
  return end
}

/** The value at `at` and the offset after it. */
export function readVarint(bytes: Uint8Array, at: number): { value: number; end: number } {
  let value = 0
  let scale = 1
  for (let i = 0; i < VARINT_MAX_BYTES; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) throw new LatticeError('truncated', 'varint ends too early')
    value += (byte & 127) * scale
    if (value > Number.MAX_SAFE_INTEGER) break
    if (byte < 128) {
      if (byte === 0 && i > 0) throw new LatticeError('not-canonical', 'varint is too long')
      return { value, end: at + i + 1 }
    }
    scale *= 128
  }
  throw new LatticeError('varint', 'varint exceeds 2^53 - 1')
}
