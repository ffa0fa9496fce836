// Byte strings: joining, comparing, hex, and integers in big-endian order.
// Nothing here keeps or shares its inputs unless the name says view.

import { assert } from './assert.ts'

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0)

const TEXT_ENCODER = new TextEncoder()

/** A new array with all parts in order. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  let size = 0
  for (const part of parts) size += part.length
  const out = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** A copy of [begin, end); unlike slice(), of Buffers too. */
export function copyBytes(bytes: Uint8Array, begin = 0, end = bytes.length): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes, begin, end)
}

/** Equality for public data; it stops at the first difference (for secrets: crypto's own). */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

/** -1, 0 or 1 in lexicographic order of unsigned bytes, shorter first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

/** The same bytes as a Buffer, sharing memory. */
export function bufferView(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function toHex(bytes: Uint8Array): string {
  return bufferView(bytes).toString('hex')
}

/** Bytes of a hex string, or undefined when it is not one. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined
  return new Uint8Array(Buffer.from(text, 'hex'))
}

export function utf8(text: string): Uint8Array {
  return TEXT_ENCODER.encode(text)
}

export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROES.length) {
    const part = bytes.subarray(at, at + ZEROES.length)
    if (Buffer.compare(part, ZEROES.subarray(0, part.length)) !== 0) return false
  }
  return true
}

const ZEROES = new Uint8Array(16 * 1024)

export function readU16(bytes: Uint8Array, at: number): number {
  assert(at >= 0 && at + 2 <= bytes.length, 'readU16 out of range')
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  assert(at >= 0 && at + 2 <= bytes.length, 'writeU16 out of range')
  assert(Number.isInteger(value) && value >= 0 && value <= 0xffff, 'not a u16')
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

export function readU32(bytes: Uint8Array, at: number): number {
  assert(at >= 0 && at + 4 <= bytes.length, 'readU32 out of range')
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
  const low = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
  return high * 0x10000 + low
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  assert(at >= 0 && at + 4 <= bytes.length, 'writeU32 out of range')
  assert(Number.isInteger(value) && value >= 0 && value <= 0xffffffff, 'not a u32')
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** A u64 below 2^53, or undefined when it is greater: the caller names the rejection. */
export function readU64(bytes: Uint8Array, at: number): number | undefined {
  const high = readU32(bytes, at)
  if (high > 0x1fffff) return undefined
  return high * 0x100000000 + readU32(bytes, at + 4)
}

export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'not an integer below 2^53')
  writeU32(bytes, at, Math.floor(value / 0x100000000))
  writeU32(bytes, at + 4, value % 0x100000000)
}
