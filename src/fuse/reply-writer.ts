// ReplyWriter: packs FUSE replies one after the other into one reusable buffer, in the form that
// the native session's reply() takes: u32 record length (8-aligned), i32 error, u64 unique,
// payload.
//
// Invariants: a record is either whole or not there; begin() without end() leaves nothing behind.
// Records begin at multiples of eight, and so do the structures in them: integers, in the host's
// order, are written as words, which costs a tenth of a Buffer's methods while the code is cold.
// Not shared between sessions. Nothing is allocated per reply once the buffer has its size.

import type { Attr } from '../vault/buffers.ts'
import { assert } from '../util/assert.ts'
import { ATTR_BYTES, DIRENT_HEADER_BYTES, ENTRY_OUT_BYTES } from './protocol.ts'

const RECORD_HEADER_BYTES = 16
const INITIAL_BYTES = 64 * 1024
const BLOCK_SIZE_BYTES = 4096
const U32 = 0x1_0000_0000

export interface EntryReply {
  ino: number
  generation: number
  attr: Attr
}

export class ReplyWriter {
  readonly #lifetimeSec: number
  #bytes = Buffer.from(new ArrayBuffer(INITIAL_BYTES))
  #words = new Uint32Array(this.#bytes.buffer)
  #used = 0
  #start = 0
  #count = 0
  /** Inos whose names the kernel must not remember at present; 0: that a name is not there. */
  isYoung: (ino: number) => boolean = () => false

  /** `lifetimeSec`: how long the kernel may trust attributes and entries. */
  constructor(lifetimeSec: number) {
    this.#lifetimeSec = lifetimeSec
  }

  /** The last cookie of a listing that the record that is open ends; 0: it does not. */
  endCookie = 0

  get count(): number {
    return this.#count
  }

  /** Bytes of the packed records. */
  get usedBytes(): number {
    return this.#used
  }

  /** The packed records; valid until the next call of clear() and any write. */
  packed(): Uint8Array {
    return this.#bytes.subarray(0, this.#used)
  }

  clear(): void {
    this.#used = 0
    this.#count = 0
  }

  error(uniqueLow: number, uniqueHigh: number, errno: number): void {
    this.begin(uniqueLow, uniqueHigh, -errno)
    this.end()
  }

  empty(uniqueLow: number, uniqueHigh: number): void {
    this.begin(uniqueLow, uniqueHigh, 0)
    this.end()
  }

  begin(uniqueLow: number, uniqueHigh: number, error = 0): void {
    this.#start = this.#used
    this.endCookie = 0
    this.#reserve(RECORD_HEADER_BYTES)
    const at = this.#used
    const i = at >>> 2
    this.#words[i + 1] = error
    this.#words[i + 2] = uniqueLow
    this.#words[i + 3] = uniqueHigh
    this.#used = at + RECORD_HEADER_BYTES
  }

  end(): void {
    const padding = (8 - (this.#used % 8)) % 8
    // The length says where the payload ends; the next record starts at the next multiple of 8.
    this.#words[this.#start >>> 2] = this.#used - this.#start
    if (padding > 0) {
      this.#reserve(padding)
      this.#bytes.fill(0, this.#used, this.#used + padding)
      this.#used += padding
    }
    this.#count++
  }

  /** Drops the record that is open. */
  abandon(): void {
    this.#used = this.#start
  }

  /** The payload of a single record that has ended; valid as packed(). */
  payload(): Uint8Array {
    assert(this.#count === 1, 'payload: not one record')
    return this.#bytes.subarray(RECORD_HEADER_BYTES, this.#used)
  }

  /** Bytes of payload in the record that is open. */
  payloadBytes(): number {
    return this.#used - this.#start - RECORD_HEADER_BYTES
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#words[this.#wordAt(this.#used)] = value
    this.#used += 4
  }

  /** A u64, or a two's complement i64, from a safe integer. */
  u64(value: number): void {
    this.#reserve(8)
    this.#putU64(this.#used, value)
    this.#used += 8
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#used)
    this.#used += value.length
  }

  latin1(value: string): void {
    this.#reserve(value.length)
    this.#bytes.write(value, this.#used, 'latin1')
    this.#used += value.length
  }

  /** struct fuse_entry_out. */
  entry(entry: EntryReply): void {
    this.#reserve(ENTRY_OUT_BYTES)
    this.#used = this.#putEntry(this.#used, entry)
  }

  /** A negative entry: the name does not exist, and the kernel may remember that. */
  negativeEntry(): void {
    this.#reserve(ENTRY_OUT_BYTES)
    this.#bytes.fill(0, this.#used, this.#used + ENTRY_OUT_BYTES)
    this.#putU64(this.#used + 16, this.isYoung(0) ? 0 : this.#lifetimeSec)
    this.#used += ENTRY_OUT_BYTES
  }

  /** struct fuse_attr_out. */
  attrOut(ino: number, attr: Attr): void {
    this.u64(this.#lifetimeSec)
    this.u64(0)
    this.#reserve(ATTR_BYTES)
    this.#used = this.#putAttr(this.#used, ino, attr)
  }

  /** struct fuse_open_out; files and directories need no handle numbers. */
  openOut(openFlags: number): void {
    this.u64(0)
    this.u32(openFlags)
    this.u32(0)
  }

  /**
   * struct fuse_direntplus (with `entry`) or fuse_dirent. Returns false, writing nothing, when the
   * payload would exceed `limitBytes`: then the kernel asks again from the last cookie.
   */
  dirent(
    limitBytes: number,
    entry: EntryReply | undefined,
    plus: boolean,
    ino: number,
    cookie: number,
    type: number,
    name: string,
  ): boolean {
    const headBytes = plus ? ENTRY_OUT_BYTES : 0
    const direntBytes = (DIRENT_HEADER_BYTES + name.length + 7) & ~7
    if (this.payloadBytes() + headBytes + direntBytes > limitBytes) return false
    this.#reserve(headBytes + direntBytes)
    let at = this.#used
    if (plus) {
      if (entry === undefined) this.#bytes.fill(0, at, at + ENTRY_OUT_BYTES)
      else this.#putEntry(at, entry)
      at += ENTRY_OUT_BYTES
    }
    this.#putU64(at, ino)
    this.#putU64(at + 8, cookie)
    this.#words[(at + 16) >>> 2] = name.length
    this.#words[(at + 20) >>> 2] = type
    this.#bytes.write(name, at + DIRENT_HEADER_BYTES, 'latin1')
    this.#bytes.fill(0, at + DIRENT_HEADER_BYTES + name.length, at + direntBytes)
    this.#used = at + direntBytes
    return true
  }

  #putEntry(at: number, entry: EntryReply): number {
    this.#putU64(at, entry.ino)
    this.#putU64(at + 8, entry.generation)
    this.#putU64(at + 16, this.isYoung(entry.ino) ? 0 : this.#lifetimeSec)
    this.#putU64(at + 24, this.#lifetimeSec)
    this.#putU64(at + 32, 0)
    return this.#putAttr(at + 40, entry.ino, entry.attr)
  }

  #putAttr(at: number, ino: number, attr: Attr): number {
    const words = this.#words
    this.#putU64(at, ino)
    this.#putU64(at + 8, attr.sizeBytes)
    this.#putU64(at + 16, Math.ceil(attr.sizeBytes / 512))
    this.#putU64(at + 24, attr.atimeSec)
    this.#putU64(at + 32, attr.mtimeSec)
    this.#putU64(at + 40, attr.ctimeSec)
    const i = (at + 48) >>> 2
    words[i] = attr.atimeNsec
    words[i + 1] = attr.mtimeNsec
    words[i + 2] = attr.ctimeNsec
    words[i + 3] = attr.mode
    words[i + 4] = attr.nlink
    words[i + 5] = attr.uid
    words[i + 6] = attr.gid
    words[i + 7] = attr.rdev
    words[i + 8] = BLOCK_SIZE_BYTES
    words[i + 9] = 0
    return at + ATTR_BYTES
  }

  #putU64(at: number, value: number): void {
    assert(Number.isSafeInteger(value), 'a u64 beyond 2^53')
    const i = this.#wordAt(at)
    this.#words[i] = value // stored modulo 2^32: its low half
    this.#words[i + 1] = Math.floor(value / U32)
  }

  #wordAt(at: number): number {
    assert(at % 4 === 0, 'an integer behind a string')
    return at >>> 2
  }

  #reserve(count: number): void {
    if (this.#used + count <= this.#bytes.length) return
    const wanted = Math.max(this.#bytes.length * 2, this.#used + count)
    const bigger = Buffer.from(new ArrayBuffer((wanted + 7) & ~7))
    this.#bytes.copy(bigger, 0, 0, this.#used)
    this.#bytes = bigger
    this.#words = new Uint32Array(bigger.buffer)
  }
}
