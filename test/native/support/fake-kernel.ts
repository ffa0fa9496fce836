// The kernel's side of the FUSE protocol on one end of a socket pair: sends requests, matches
// replies, keeps notifications. Also the builders of request bodies that the tests need.

import { closeSync, read, writeSync } from 'node:fs'

export const OP = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  getxattr: 22,
  flush: 25,
  init: 26,
  access: 34,
  create: 35,
  interrupt: 36,
  destroy: 38,
  ioctl: 39,
  poll: 40,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
} as const

export interface Answer {
  /** A positive errno, or 0. */
  error: number
  payload: Buffer
}

const BUFFER_BYTES = 2 * 1024 * 1024

export class FakeKernel {
  readonly #fd: number
  readonly #waiting = new Map<bigint, (answer: Answer) => void>()
  readonly notifications: { code: number; payload: Buffer }[] = []
  readonly unexpected: bigint[] = []
  /** The thread in whose name requests are sent; 0: one that cannot be seen from here. */
  pid = 0
  #unique = 1n
  #ended = false
  #resolveEnded: () => void = () => undefined
  readonly ended = new Promise<void>((resolve) => {
    this.#resolveEnded = resolve
  })

  constructor(fd: number) {
    this.#fd = fd
    this.#receive(Buffer.alloc(BUFFER_BYTES))
  }

  #receive(buffer: Buffer): void {
    read(this.#fd, buffer, 0, buffer.length, null, (error, count) => {
      if (error !== null || count === 0) {
        this.#ended = true
        closeSync(this.#fd)
        this.#resolveEnded()
        return
      }
      this.#message(Buffer.from(buffer.subarray(0, count)))
      this.#receive(buffer)
    })
  }

  #message(message: Buffer): void {
    const error = message.readInt32LE(4)
    const unique = message.readBigUInt64LE(8)
    if (message.readUInt32LE(0) !== message.length) throw new Error('reply: wrong length')
    if (unique === 0n) {
      this.notifications.push({ code: error, payload: message.subarray(16) })
      return
    }
    const resolve = this.#waiting.get(unique)
    this.#waiting.delete(unique)
    if (resolve === undefined) this.unexpected.push(unique)
    else resolve({ error: -error, payload: message.subarray(16) })
  }

  get waiting(): number {
    return this.#waiting.size
  }

  raw(message: Uint8Array): void {
    if (!this.#ended) writeSync(this.#fd, message)
  }

  header(opcode: number, nodeid: number, unique: bigint, length: number): Buffer {
    const header = Buffer.alloc(40)
    header.writeUInt32LE(length, 0)
    header.writeUInt32LE(opcode, 4)
    header.writeBigUInt64LE(unique, 8)
    header.writeBigUInt64LE(BigInt(nodeid), 16)
    header.writeUInt32LE(1000, 24)
    header.writeUInt32LE(1000, 28)
    header.writeUInt32LE(this.pid, 32)
    return header
  }

  /** Sends without waiting for an answer. */
  send(opcode: number, nodeid: number, body: Uint8Array): bigint {
    const unique = this.#unique++
    this.raw(Buffer.concat([this.header(opcode, nodeid, unique, 40 + body.length), body]))
    return unique
  }

  /** Sends, and says which request it is. */
  start(
    opcode: number,
    nodeid: number,
    body: Uint8Array,
  ): { unique: bigint; answer: Promise<Answer> } {
    const unique = this.#unique
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(unique, resolve))
    this.send(opcode, nodeid, body)
    return { unique, answer }
  }

  async ask(opcode: number, nodeid: number, body: Uint8Array = new Uint8Array()): Promise<Answer> {
    return this.start(opcode, nodeid, body).answer
  }

  /** Waits for an answer that says "no error". */
  async ok(opcode: number, nodeid: number, body: Uint8Array = new Uint8Array()): Promise<Buffer> {
    const { error, payload } = await this.ask(opcode, nodeid, body)
    if (error !== 0) throw new Error(`opcode ${opcode}: errno ${error}`)
    return payload
  }
}

const u32 = (...values: number[]): Buffer => {
  const out = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => out.writeUInt32LE(value, i * 4))
  return out
}

const u64 = (...values: (number | bigint)[]): Buffer => {
  const out = Buffer.alloc(values.length * 8)
  values.forEach((value, i) => out.writeBigUInt64LE(BigInt(value), i * 8))
  return out
}

interface NewAttr {
  size?: number | bigint
  mode?: number
  mtime?: number
  mtimeNsec?: number
  uid?: number
}

export const body = {
  init: (flags = 0xffff_ffff, minor = 45) =>
    Buffer.concat([u32(7, minor, 131072, flags, 0x5fd), Buffer.alloc(44)]),
  name: (name: string) => Buffer.from(`${name}\0`),
  create: (name: string, mode = 0o644) =>
    Buffer.concat([u32(2, mode, 0, 0), Buffer.from(`${name}\0`)]),
  open: (flags = 2) => u32(flags, 0),
  read: (offset: number | bigint, size: number) =>
    Buffer.concat([u64(0, offset), u32(size, 0), u64(0), u32(0, 0)]),
  write: (offset: number | bigint, bytes: Uint8Array, flags = 0) =>
    Buffer.concat([u64(0, offset), u32(bytes.length, flags), u64(0), u32(0, 0), bytes]),
  setattr: (valid: number, set: NewAttr = {}) => {
    const out = Buffer.alloc(88)
    out.writeUInt32LE(valid, 0)
    out.writeBigUInt64LE(BigInt(set.size ?? 0), 16)
    out.writeBigUInt64LE(BigInt(set.mtime ?? 0), 40)
    out.writeUInt32LE(set.mtimeNsec ?? 0, 60)
    out.writeUInt32LE(set.mode ?? 0, 68)
    out.writeUInt32LE(set.uid ?? 0, 76)
    return out
  },
  flush: () => Buffer.alloc(24),
  release: () => Buffer.alloc(24),
  getattr: () => Buffer.alloc(16),
  fsync: () => Buffer.alloc(16),
  forget: (count: number) => u64(count),
  batchForget: (...pairs: [number, number][]) =>
    Buffer.concat([u32(pairs.length, 0), ...pairs.map(([ino, count]) => u64(ino, count))]),
  interrupt: (unique: bigint) => u64(unique),
  fallocate: (offset: number | bigint, length: number | bigint, mode: number) =>
    Buffer.concat([u64(0, offset, length), u32(mode, 0)]),
}

/** What the tests look at in struct fuse_attr, found at `at`. */
export function attrAt(payload: Buffer, at: number): {
  ino: number
  size: number
  blocks: number
  mtime: number
  mtimeNsec: number
  mode: number
  nlink: number
  uid: number
} {
  return {
    ino: Number(payload.readBigUInt64LE(at)),
    size: Number(payload.readBigUInt64LE(at + 8)),
    blocks: Number(payload.readBigUInt64LE(at + 16)),
    mtime: Number(payload.readBigInt64LE(at + 32)),
    mtimeNsec: payload.readUInt32LE(at + 52),
    mode: payload.readUInt32LE(at + 60),
    nlink: payload.readUInt32LE(at + 64),
    uid: payload.readUInt32LE(at + 68),
  }
}
