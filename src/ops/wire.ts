/**
 * Primitives of the op codec over compact-encoding's uint and zig-zag int. The Writer appends to
 * one buffer of fixed capacity; the Reader checks every length and number against a bound before it
 * reads or allocates, and fails with a named rejection only.
 */

import { int as intCodec, uint as uintCodec } from 'compact-encoding'
import { assert } from '../util/assert.ts'
import { bufferView } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { NAME_MAX_BYTES } from './bounds.ts'
import { reject } from './reject.ts'
import type { RejectRule } from './reject.ts'
import type { Name } from './types.ts'

const UINT_MAX_BYTES = 9

export class Writer {
  readonly buffer: Buffer
  readonly #state: { start: number; end: number; buffer: Buffer }

  constructor(capacityBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacityBytes)
    this.#state = { start: 0, end: capacityBytes, buffer: this.buffer }
  }

  get at(): number {
    return this.#state.start
  }

  /** Forgets what was written from `at` on. */
  rewind(at: number): void {
    assert(at <= this.#state.start, 'wire: rewind goes back only')
    this.#state.start = at
  }

  u8(value: number): void {
    this.#room(1)
    this.buffer[this.#state.start++] = value
  }

  uint(value: number): void {
    this.#room(UINT_MAX_BYTES)
    uintCodec.encode(this.#state, value)
  }

  int(value: number): void {
    this.#room(UINT_MAX_BYTES)
    intCodec.encode(this.#state, value)
  }

  /** Bytes without their length. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.buffer.set(bytes, this.#state.start)
    this.#state.start += bytes.length
  }

  /** An id: a latin1 string of exactly `sizeBytes`. */
  id(value: string, sizeBytes: number): void {
    assert(value.length === sizeBytes, 'wire: an id of another length')
    this.#room(sizeBytes)
    const at = this.#state.start
    for (let i = 0; i < sizeBytes; i++) this.buffer[at + i] = value.charCodeAt(i)
    this.#state.start = at + sizeBytes
  }

  bytes(value: Uint8Array): void {
    this.uint(value.length)
    this.raw(value)
  }

  latin1(value: string): void {
    this.uint(value.length)
    this.#room(value.length)
    this.#state.start += this.buffer.write(value, this.#state.start, 'latin1')
  }

  utf8(value: string): void {
    this.bytes(Buffer.from(value, 'utf8'))
  }

  /** Writes what `body` writes with its length before it. `self` is handed through: no closures. */
  sized<T>(body: (writer: Writer, self: T) => void, self: T): void {
    const begin = this.#state.start
    this.u8(0)
    body(this, self)
    const sizeBytes = this.#state.start - begin - 1
    if (sizeBytes <= 0xfc) {
      this.buffer[begin] = sizeBytes
      return
    }
    const lengthBytes = sizeBytes <= 0xffff ? 3 : 5
    this.#room(lengthBytes)
    this.buffer.copyWithin(begin + lengthBytes, begin + 1, this.#state.start)
    this.#state.start = begin
    uintCodec.encode(this.#state, sizeBytes)
    this.#state.start += sizeBytes
  }

  #room(sizeBytes: number): void {
    if (this.#state.start + sizeBytes > this.#state.end) {
      throw new LatticeError('too-large', 'an operation is larger than a batch may be', {
        details: { capacityBytes: this.#state.end },
      })
    }
  }
}

export class Reader {
  readonly buffer: Buffer
  readonly #state: { start: number; end: number; buffer: Buffer }

  constructor(bytes: Uint8Array) {
    this.buffer = bufferView(bytes)
    this.#state = { start: 0, end: bytes.length, buffer: this.buffer }
  }

  get at(): number {
    return this.#state.start
  }

  get remaining(): number {
    return this.#state.end - this.#state.start
  }

  u8(): number {
    if (this.remaining < 1) reject('truncated')
    return this.buffer[this.#state.start++] as number
  }

  uint(max: number, rule: RejectRule = 'number-range'): number {
    let value: number
    try {
      value = uintCodec.decode(this.#state)
    } catch (error) {
      return rejectNumber(error)
    }
    if (!(value <= max)) reject(rule)
    return value
  }

  int(maxMagnitude: number): number {
    let value: number
    try {
      value = intCodec.decode(this.#state)
    } catch (error) {
      return rejectNumber(error)
    }
    if (!(Math.abs(value) <= maxMagnitude)) reject('number-range')
    return value
  }

  /** A count of things of at least `eachMinBytes`: never more than can follow. */
  count(max: number, eachMinBytes: number, rule: RejectRule): number {
    const count = this.uint(max, rule)
    if (count * eachMinBytes > this.remaining) reject('truncated')
    return count
  }

  id(sizeBytes: number): string {
    this.#need(sizeBytes)
    const at = this.#state.start
    this.#state.start = at + sizeBytes
    return this.buffer.toString('latin1', at, at + sizeBytes)
  }

  /** A copy. */
  raw(sizeBytes: number): Uint8Array {
    this.#need(sizeBytes)
    const at = this.#state.start
    this.#state.start = at + sizeBytes
    return new Uint8Array(this.buffer.subarray(at, at + sizeBytes))
  }

  bytes(maxBytes: number, rule: RejectRule = 'length'): Uint8Array {
    return this.raw(this.uint(maxBytes, rule))
  }

  latin1(maxBytes: number, rule: RejectRule): string {
    return this.id(this.uint(maxBytes, rule))
  }

  utf8(maxBytes: number): string {
    const bytes = this.bytes(maxBytes)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch {
      return reject('utf8')
    }
  }

  /** A reader of the next `sizeBytes`, sharing memory. */
  sub(sizeBytes: number): Reader {
    this.#need(sizeBytes)
    const at = this.#state.start
    this.#state.start = at + sizeBytes
    return new Reader(this.buffer.subarray(at, at + sizeBytes))
  }

  finish(): void {
    if (this.remaining !== 0) reject('trailing')
  }

  #need(sizeBytes: number): void {
    if (sizeBytes > this.remaining) reject('truncated')
  }
}

/** compact-encoding throws two plain errors: the input ends, or the number is beyond 2^53. */
function rejectNumber(error: unknown): never {
  const isEnd = error instanceof Error && error.message === 'Out of bounds'
  return reject(isEnd ? 'truncated' : 'number-range')
}

/** The rule for names of entries: 1 to 255 bytes, not '.' nor '..', without '/' and NUL. */
export function isName(value: string): value is Name {
  if (value.length < 1 || value.length > NAME_MAX_BYTES) return false
  if (value === '.' || value === '..') return false
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code === 0 || code === 0x2f || code > 0xff) return false
  }
  return true
}
