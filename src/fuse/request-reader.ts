// RequestReader: reads one FUSE request in place, from the arena that the native session shares. It
// is a cursor that is set on a request, never a copy: strings and numbers are taken out, byte
// payloads (xattr values) are copied by the caller when they outlive the call.
//
// Every read is checked against the request's own length; a request that is too short throws
// EINVAL. Integers are in the host's order and lie on multiples of four: they are read as words,
// which costs a tenth of a Buffer's methods while the code is cold.

import { Errno, EINVAL } from '../fs/errno.ts'
import { IN_HEADER_BYTES } from './protocol.ts'

const U32 = 0x1_0000_0000

export class RequestReader {
  readonly #arena: Buffer
  readonly #words: Uint32Array
  #at = 0
  #end = 0
  opcode = 0
  uniqueLow = 0
  uniqueHigh = 0
  nodeId = 0
  uid = 0
  gid = 0
  pid = 0

  constructor(arena: ArrayBuffer) {
    this.#arena = Buffer.from(arena)
    this.#words = new Uint32Array(arena, 0, arena.byteLength >>> 2)
  }

  /** Sets the cursor behind the header of the request at [offset, offset + length). */
  set(offset: number, length: number): void {
    const fits = length >= IN_HEADER_BYTES && offset + length <= this.#arena.length
    if (!fits || offset % 4 !== 0) throw new Errno(EINVAL)
    this.#end = offset + length
    this.opcode = this.#wordAt(offset + 4)
    this.uniqueLow = this.#wordAt(offset + 8)
    this.uniqueHigh = this.#wordAt(offset + 12)
    this.nodeId = this.#u64At(offset + 16)
    this.uid = this.#wordAt(offset + 24)
    this.gid = this.#wordAt(offset + 28)
    this.pid = this.#wordAt(offset + 32)
    this.#at = offset + IN_HEADER_BYTES
  }

  u32(): number {
    return this.#wordAt(this.#take(4))
  }

  /** A u64 below 2^53; larger ones are refused. */
  u64(): number {
    return this.#u64At(this.#take(8))
  }

  /** A two's complement i64 (seconds), within safe integers. */
  i64(): number {
    const at = this.#take(8)
    const value = (this.#wordAt(at + 4) | 0) * U32 + this.#wordAt(at)
    if (!Number.isSafeInteger(value)) throw new Errno(EINVAL)
    return value
  }

  skip(count: number): void {
    this.#take(count)
  }

  /** A NUL-terminated string as latin1, without the NUL. */
  cstring(): string {
    const end = this.#arena.indexOf(0, this.#at)
    if (end < 0 || end >= this.#end) throw new Errno(EINVAL)
    const text = this.#arena.toString('latin1', this.#at, end)
    this.#at = end + 1
    return text
  }

  /** As cstring(), and the cursor stays. */
  peekCstring(): string {
    const at = this.#at
    const text = this.cstring()
    this.#at = at
    return text
  }

  /** A view of the next `count` bytes; copy it to keep it. */
  view(count: number): Uint8Array {
    const at = this.#take(count)
    return this.#arena.subarray(at, at + count)
  }

  #take(count: number): number {
    const at = this.#at
    if (count < 0 || at + count > this.#end) throw new Errno(EINVAL)
    this.#at = at + count
    return at
  }

  /** Inside the arena, as set() or #take() have checked. */
  #wordAt(at: number): number {
    if (at % 4 !== 0) throw new Errno(EINVAL) // an integer behind a string: no request has one
    return this.#words[at >>> 2] as number
  }

  #u64At(at: number): number {
    const value = this.#wordAt(at + 4) * U32 + this.#wordAt(at)
    if (!Number.isSafeInteger(value)) throw new Errno(EINVAL)
    return value
  }
}
