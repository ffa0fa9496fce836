// The real disk as a seal worker uses it: the Disk port over node:fs, with long aligned writes past
// the page cache (O_DIRECT; 0.6 CPU-ms/MB less) where the file system can do that, and buffered
// writes for the rest. Memory for direct writes must be aligned: alignedBytes().
// The worker's part of crash safety is tested by killing real processes (test/chunks/pack-kill).

import fs from 'node:fs'
import { getSystemErrorName } from 'node:util'
import type { SpaceAddon } from '../../native/index.d.ts'
import { loadAddon } from '../crypto/native.ts'
import { assert } from '../util/assert.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import type { Disk, DiskFile } from './content-store-ports.ts'

/** What packs need of a file, and of a disk: less than the Disk port, which fits. */
export type PackFile = Pick<
  DiskFile,
  'path' | 'fd' | 'sizeBytes' | 'readSync' | 'write' | 'sync' | 'close'
> & {
  /** Gives the space of stretches back, [offset, offset + sizeBytes) each: they read as zeros.
   *  Rejects 'unsupported' where the file system cannot, as do disks without it. */
  punch?(holes: readonly Hole[]): Promise<void>
}

export type Hole = { offset: number; sizeBytes: number }

export type PackDisk = Pick<Disk, 'makeDirectory' | 'list' | 'syncDirectory'> & {
  create(path: string): PackFile
  open(path: string, mode: 'read' | 'write'): PackFile
}

/** Shorter writes go through the page cache: a second descriptor costs more than they save. */
const DIRECT_MIN_BYTES = 1024 * 1024
const ALIGN_BYTES = 4096

/** Zeroed memory that starts at a multiple of the page size (WebAssembly guarantees it). */
export function alignedBytes(sizeBytes: number): Uint8Array {
  const wasm = (globalThis as unknown as { WebAssembly: WasmNamespace }).WebAssembly
  const pages = Math.ceil(sizeBytes / 65536)
  return new Uint8Array(new wasm.Memory({ initial: pages, maximum: pages }).buffer, 0, sizeBytes)
}

type WasmNamespace = {
  Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer }
}

export class DirectDisk implements PackDisk {
  makeDirectory(path: string): void {
    attempt(`make ${path}`, () => fs.mkdirSync(path, { recursive: true, mode: 0o700 }))
  }

  list(directory: string): string[] {
    try {
      return fs.readdirSync(directory).toSorted()
    } catch (error) {
      if (errnoName(error) === 'ENOENT') return []
      throw fromSystemError(error, `list ${directory}`)
    }
  }

  create(path: string): PackFile {
    return new DirectFile(path, 'wx+')
  }

  open(path: string, mode: 'read' | 'write'): PackFile {
    return new DirectFile(path, mode === 'read' ? 'r' : 'r+')
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = attempt(`open ${path}`, () => fs.openSync(path, 'r'))
    try {
      await asyncAttempt(`sync ${path}`, (done) => fs.fsync(fd, done))
    } finally {
      fs.closeSync(fd)
    }
  }
}

class DirectFile implements PackFile {
  readonly path: string
  readonly fd: number
  /** undefined = not tried yet, null = the file system refuses. */
  #directFd: number | null | undefined
  #closed = false

  constructor(path: string, flags: string) {
    this.path = path
    this.fd = attempt(`open ${path}`, () => fs.openSync(path, flags, 0o600))
  }

  sizeBytes(): number {
    return attempt(`stat ${this.path}`, () => fs.fstatSync(this.fd).size)
  }

  readSync(offset: number, into: Uint8Array): number {
    let done = 0
    while (done < into.length) {
      const at = offset + done
      const count = attempt(`read ${this.path}`, () =>
        fs.readSync(this.fd, into, done, into.length - done, at),
      )
      if (count === 0) break
      done += count
    }
    return done
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    assert(!this.#closed, 'write to a closed file')
    const aligned = offset % ALIGN_BYTES === 0 && bytes.length % ALIGN_BYTES === 0
    const direct = aligned && bytes.length >= DIRECT_MIN_BYTES ? this.#direct() : null
    if (direct !== null) {
      try {
        await writeAll(direct, offset, bytes)
        return
      } catch (error) {
        if (errnoName(error) !== 'EINVAL') throw fromSystemError(error, `write ${this.path}`)
        this.#closeDirect() // memory or place not aligned as this file system wants it
      }
    }
    try {
      await writeAll(this.fd, offset, bytes)
    } catch (error) {
      throw fromSystemError(error, `write ${this.path}`)
    }
  }

  async sync(): Promise<void> {
    await asyncAttempt(`sync ${this.path}`, (done) => fs.fdatasync(this.fd, done))
  }

  async punch(holes: readonly Hole[]): Promise<void> {
    const ranges = holes.flatMap(({ offset, sizeBytes }) => [offset, sizeBytes])
    try {
      await loadAddon<SpaceAddon>().punchHoles(this.fd, ranges)
    } catch (error) {
      throw punchError(error, `give space back in ${this.path}`)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#closeDirect()
    fs.closeSync(this.fd)
  }

  #direct(): number | null {
    if (this.#directFd !== undefined) return this.#directFd
    const flag = fs.constants.O_DIRECT as number | undefined
    try {
      const { O_WRONLY } = fs.constants
      this.#directFd = flag === undefined ? null : fs.openSync(this.path, O_WRONLY | flag)
    } catch {
      this.#directFd = null // tmpfs and others: buffered writes do the same, only slower
    }
    return this.#directFd
  }

  #closeDirect(): void {
    if (typeof this.#directFd === 'number') fs.closeSync(this.#directFd)
    this.#directFd = null
  }
}

function writeAll(fd: number, offset: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      fs.write(fd, bytes, done, bytes.length - done, offset + done, (error, count) => {
        if (error !== null) reject(error)
        else if (done + count === bytes.length) resolve()
        else step(done + count)
      })
    }
    step(0)
  })
}

function punchError(error: unknown, what: string): Error {
  const number = (error as { errno?: unknown }).errno
  const code = typeof number === 'number' && number > 0 ? getSystemErrorName(-number) : undefined
  if (code === 'EOPNOTSUPP' || code === 'ENOTSUP' || code === 'ENOSYS') {
    return new LatticeError('unsupported', `${what}: the file system cannot do that`, {
      hint: 'keep the state of the vault on ext4, xfs, btrfs, tmpfs or APFS',
      details: { errno: code },
    })
  }
  const known = code === undefined ? error : Object.assign(new Error(code), { code })
  return fromSystemError(known, what)
}

function attempt<T>(what: string, task: () => T): T {
  try {
    return task()
  } catch (error) {
    throw fromSystemError(error, what)
  }
}

function asyncAttempt(
  what: string,
  task: (done: (error: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    task((error) => (error === null ? resolve() : reject(fromSystemError(error, what))))
  })
}
