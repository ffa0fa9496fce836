// Reading and writing fixed layouts of bytes in order. The reader never leaves its input: what is
// missing is a 'truncated' error, so that decoders of damaged files need no checks of their own for
// that. Integers are big-endian.

import { assert } from './assert.ts'
import { copyBytes, readU16, readU32, readU64, writeU16, writeU32, writeU64 } from './bytes.ts'
import { LatticeError } from './errors.ts'

export class ByteReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get offset(): number {
    return this.#at
  }

  get leftBytes(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.#bytes[this.#skip(1)] as number
  }

  u16(): number {
    return readU16(this.#bytes, this.#skip(2))
  }

  u32(): number {
    return readU32(this.#bytes, this.#skip(4))
  }

  /** Throws 'out-of-bounds' from 2^53 on. */
  u64(): number {
    const value = readU64(this.#bytes, this.#skip(8))
    if (value === undefined) throw new LatticeError('out-of-bounds', 'an integer exceeds 2^53')
    return value
  }

  /** A view of the next bytes; copy what has to outlive the input. */
  view(sizeBytes: number): Uint8Array {
    const begin = this.#skip(sizeBytes)
    return this.#bytes.subarray(begin, begin + sizeBytes)
  }

  copy(sizeBytes: number): Uint8Array {
    return copyBytes(this.view(sizeBytes))
  }

  /** Throws 'trailing-bytes' unless everything was read. */
  end(): void {
    if (this.leftBytes !== 0) {
      throw new LatticeError('trailing-bytes', `${this.leftBytes} bytes too many`)
    }
  }

  #skip(sizeBytes: number): number {
    assert(Number.isInteger(sizeBytes) && sizeBytes >= 0, 'reader: size')
    const begin = this.#at
    if (begin + sizeBytes > this.#bytes.length) {
      throw new LatticeError('truncated', `${sizeBytes} bytes expected at ${begin}`)
    }
    this.#at = begin + sizeBytes
    return begin
  }
}

/** Writes into a buffer whose exact size the caller computed; end() checks that it is full. */
export class ByteWriter {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get offset(): number {
    return this.#at
  }

  u8(value: number): this {
    assert(Number.isInteger(value) && value >= 0 && value <= 255, 'not a u8')
    this.#bytes[this.#take(1)] = value
    return this
  }

  u16(value: number): this {
    writeU16(this.#bytes, this.#take(2), value)
    return this
  }

  u32(value: number): this {
    writeU32(this.#bytes, this.#take(4), value)
    return this
  }

  u64(value: number): this {
    writeU64(this.#bytes, this.#take(8), value)
    return this
  }

  bytes(bytes: Uint8Array): this {
    this.#bytes.set(bytes, this.#take(bytes.length))
    return this
  }

  end(): Uint8Array {
    assert(this.#at === this.#bytes.length, 'writer: the buffer is not full')
    return this.#bytes
  }

  #take(sizeBytes: number): number {
    const begin = this.#at
    assert(begin + sizeBytes <= this.#bytes.length, 'writer: no room')
    this.#at = begin + sizeBytes
    return begin
  }
}
