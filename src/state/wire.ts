// Writing and reading of local records: varints, byte strings, latin1 text. One growing scratch
// buffer per writer, reused; a reader works on a view and copies what it hands out. What is read
// here was authenticated first, so a bad form means a damaged index (or a bug), never a hostile
// peer.

import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'

const START_BYTES = 4096

export class RecordWriter {
  #buffer = Buffer.allocUnsafeSlow(START_BYTES)
  #at = 0

  /** Begins a new record; what bytes() returned before is overwritten. */
  reset(): this {
    this.#at = 0
    return this
  }

  get sizeBytes(): number {
    return this.#at
  }

  /** A view of what was written, valid until the next reset(). */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }

  u8(value: number): void {
    this.#room(1)
    this.#buffer[this.#at++] = value
  }

  /** An integer in [0, 2^53). */
  varint(value: number): void {
    this.#room(8)
    let rest = value
    while (rest >= 0x80000000) {
      this.#buffer[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    while (rest >= 128) {
      this.#buffer[this.#at++] = (rest & 127) | 128
      rest >>>= 7
    }
    this.#buffer[this.#at++] = rest
  }

  /** An integer in (-2^52, 2^52), small absolute values short. */
  signed(value: number): void {
    assert(Number.isSafeInteger(value) && Math.abs(value) < 2 ** 52, 'signed: out of range')
    this.varint(value < 0 ? -value * 2 - 1 : value * 2)
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** A latin1 string with its length. */
  text(text: string): void {
    this.varint(text.length)
    this.raw(text)
  }

  /** A latin1 string whose length the reader knows. */
  raw(text: string): void {
    this.#room(text.length)
    this.#buffer.write(text, this.#at, 'latin1')
    this.#at += text.length
  }

  #room(sizeBytes: number): void {
    if (this.#at + sizeBytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + sizeBytes))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }
}

export class RecordReader {
  #buffer: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#buffer = bytes
  }

  /** Begins with another record. */
  reset(bytes: Buffer): this {
    this.#buffer = bytes
    this.#at = 0
    return this
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length
  }

  u8(): number {
    const byte = this.#buffer[this.#at++]
    if (byte === undefined) throw damaged()
    return byte
  }

  varint(): number {
    let value = 0
    let shift = 0
    for (; shift < 28; shift += 7) {
      const byte = this.u8()
      value |= (byte & 127) << shift
      if (byte < 128) return value
    }
    let scale = 2 ** 28
    for (; shift < 56; shift += 7) {
      const byte = this.u8()
      value += (byte & 127) * scale
      scale *= 128
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) throw damaged()
        return value
      }
    }
    throw damaged()
  }

  signed(): number {
    const value = this.varint()
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2
  }

  /** A copy. */
  bytes(): Uint8Array {
    const size = this.varint()
    const begin = this.#take(size)
    return new Uint8Array(this.#buffer.subarray(begin, begin + size))
  }

  text(): string {
    return this.raw(this.varint())
  }

  raw(size: number): string {
    const begin = this.#take(size)
    return this.#buffer.toString('latin1', begin, begin + size)
  }

  end(): void {
    if (!this.atEnd) throw damaged()
  }

  #take(size: number): number {
    const begin = this.#at
    this.#at += size
    if (this.#at > this.#buffer.length) throw damaged()
    return begin
  }
}

function damaged(): LatticeError {
  return new LatticeError('damaged-index', 'a record of the index does not decode', {
    hint: 'the index is rebuilt from the journal at the next start',
  })
}
