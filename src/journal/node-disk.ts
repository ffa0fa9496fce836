/**
 * The Disk port on node:fs. A file holds two descriptors: one for reading and plain writes, one
 * with O_DSYNC, on which a write is write and flush in one hop to libuv's pool (measured: 0.16 ms
 * against 0.18 ms for two calls, on prepared space). Errors become LatticeErrors here.
 */

import {
  closeSync, constants, fdatasync, fstatSync, fsync, ftruncateSync, mkdirSync, openSync, readSync,
  readdirSync, renameSync, rmSync, write, writeSync,
} from 'node:fs'
import { errnoName, fromSystemError } from '../util/errors.ts'
import type { Disk, DiskFile } from '../vault/ports.ts'

const ZERO_STEP_BYTES = 1 << 20
const zeros = Buffer.alloc(ZERO_STEP_BYTES)

/** fallocate(2) where the addon offers it: cheaper than writing zeros. */
export interface NativeAllocate {
  allocate(fd: number, sizeBytes: number): Promise<void>
}

export class NodeDisk implements Disk {
  readonly #native: NativeAllocate | undefined

  constructor(native?: NativeAllocate) {
    this.#native = native
  }

  makeDirectory(path: string): void {
    attempt('create directory', () => mkdirSync(path, { recursive: true, mode: 0o700 }))
  }

  list(directory: string): string[] {
    try {
      return readdirSync(directory).toSorted()
    } catch (error) {
      if (errnoName(error) === 'ENOENT') return []
      throw fromSystemError(error, 'list directory')
    }
  }

  create(path: string): DiskFile {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    const fd = attempt('create file', () => openSync(path, flags, 0o600))
    return new NodeFile(path, fd, this.#native)
  }

  open(path: string, mode: 'read' | 'write'): DiskFile {
    const flags = mode === 'write' ? constants.O_RDWR : constants.O_RDONLY
    const fd = attempt('open file', () => openSync(path, flags))
    return new NodeFile(path, fd, this.#native)
  }

  rename(from: string, to: string): void {
    attempt('rename file', () => renameSync(from, to))
  }

  remove(path: string): void {
    attempt('remove file', () => rmSync(path))
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = attempt('open directory', () => openSync(path, constants.O_RDONLY))
    try {
      await settle('flush directory', (done) => fsync(fd, done))
    } finally {
      closeSync(fd)
    }
  }
}

class NodeFile implements DiskFile {
  readonly path: string
  readonly fd: number
  readonly #native: NativeAllocate | undefined
  #durableFd: number | undefined
  #isClosed = false

  constructor(path: string, fd: number, native: NativeAllocate | undefined) {
    this.path = path
    this.fd = fd
    this.#native = native
  }

  sizeBytes(): number {
    return attempt('stat file', () => fstatSync(this.fd).size)
  }

  async allocate(sizeBytes: number): Promise<void> {
    const begin = this.sizeBytes()
    if (begin >= sizeBytes) return
    if (this.#native !== undefined) {
      await this.#native.allocate(this.fd, sizeBytes).catch((error: unknown) => {
        throw fromSystemError(error, 'allocate space')
      })
    } else {
      for (let at = begin; at < sizeBytes; at += ZERO_STEP_BYTES) {
        await this.write(at, zeros.subarray(0, Math.min(ZERO_STEP_BYTES, sizeBytes - at)))
      }
    }
    await this.sync()
  }

  truncate(sizeBytes: number): void {
    attempt('cut file', () => ftruncateSync(this.fd, sizeBytes))
  }

  readSync(offset: number, into: Uint8Array): number {
    let count = 0
    while (count < into.length) {
      const at = count
      const got = attempt('read file', () => (
        readSync(this.fd, into, at, into.length - at, offset + at)
      ))
      if (got === 0) break
      count += got
    }
    return count
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return writeAll(this.fd, offset, bytes)
  }

  writeSync(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const begin = at
      at += attempt('write file', () => (
        writeSync(this.fd, bytes, begin, bytes.length - begin, offset + begin)
      ))
    }
  }

  sync(): Promise<void> {
    return settle('flush file', (done) => fdatasync(this.fd, done))
  }

  writeAndSync(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#durableFd === undefined) {
      const flags = constants.O_WRONLY | constants.O_DSYNC
      try {
        this.#durableFd = attempt('open file', () => openSync(this.path, flags))
      } catch (error) {
        return Promise.reject(error as Error)
      }
    }
    return writeAll(this.#durableFd, offset, bytes)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#durableFd !== undefined) closeSync(this.#durableFd)
    closeSync(this.fd)
  }
}

function writeAll(fd: number, offset: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (at: number): void => {
      write(fd, bytes, at, bytes.length - at, offset + at, (error, count) => {
        if (error !== null) return reject(fromSystemError(error, 'write file'))
        if (at + count >= bytes.length) return resolve()
        step(at + count)
      })
    }
    step(0)
  })
}

function settle(
  what: string,
  call: (done: (error: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === null ? resolve() : reject(fromSystemError(error, what))))
  })
}

function attempt<T>(what: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw fromSystemError(error, what)
  }
}
