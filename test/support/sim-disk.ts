/**
 * A disk in memory that loses what was not flushed. It keeps, per file, what programs read and what
 * is durable; a crash keeps the durable state plus a random part of the rest, in sectors of 512
 * bytes, and for names a random prefix of the unflushed changes of each directory. What it models:
 *   - writeAndSync makes its own range durable only (O_DSYNC); sync the whole file;
 *   - a failed sync drops the unflushed writes from what later syncs flush: they stay readable, and
 *     are lost at a crash (Linux marks such pages clean);
 *   - a failed write may have written a part; ENOSPC beyond `capacityBytes`;
 *   - crashAfter(n): the n-th next operation and all later ones fail with 'crashed', and may have
 *     taken effect or not. Then `reboot()` gives the disk as the next start finds it.
 */
import { basename, dirname } from 'node:path'
import { LatticeError } from '../../src/util/errors.ts'
import type { Disk, DiskFile } from '../../src/vault/ports.ts'
import { SeededRandom } from './random.ts'

const SECTOR_BYTES = 512

export type DiskCall = 'create' | 'open' | 'rename' | 'remove' | 'syncDirectory' | 'allocate' |
  'read' | 'write' | 'sync' | 'writeAndSync'

interface Inode {
  data: Buffer
  sizeBytes: number
  durable: Buffer
  durableBytes: number
  /** Ranges written since the last flush. */
  dirty: { begin: number; end: number }[]
}

interface Directory {
  names: Map<string, Inode>
  durable: Map<string, Inode>
  changes: (() => void)[] // on `durable`, in order
}

export class SimDisk implements Disk {
  readonly random: SeededRandom
  capacityBytes = Infinity
  calls = 0
  #directories = new Map<string, Directory>()
  #crashAt = Infinity
  #failures: { call: DiskCall; count: number; error: () => Error }[] = []

  readonly #pause: () => Promise<void>

  /** `pause`: what an operation that is not synchronous waits for before it takes effect. */
  constructor(seed: number, pause = nextTurn) {
    this.random = new SeededRandom(seed)
    this.#pause = pause
  }

  // ---- for tests ----

  /** The n-th next operation (1 = the next) and all after it fail. */
  crashAfter(calls: number): void {
    this.#crashAt = this.calls + calls
  }

  /** Failures that were asked for and have not come are called off. */
  healed(): void {
    this.#failures = []
  }

  get hasCrashed(): boolean {
    return this.calls >= this.#crashAt
  }

  /** The n-th next call of this kind fails (1 = the next). */
  fail(call: DiskCall, nth = 1, error = ioError): void {
    this.#failures.push({ call, count: nth, error })
  }

  /** What the next start finds. This disk must not be used any more. */
  reboot(): SimDisk {
    const next = new SimDisk(this.random.int(0, 2 ** 31), this.#pause)
    const survivors = new Map<Inode, Inode>()
    for (const [path, directory] of this.#directories) {
      const kept = this.random.int(0, directory.changes.length + 1)
      for (const change of directory.changes.slice(0, kept)) change()
      const names = new Map<string, Inode>()
      for (const [name, inode] of directory.durable) {
        let survivor = survivors.get(inode)
        if (survivor === undefined) survivors.set(inode, (survivor = this.#survivor(inode)))
        names.set(name, survivor)
      }
      next.#directories.set(path, { names, durable: new Map(names), changes: [] })
    }
    return next
  }

  /** What a killed process leaves: everything written, flushed or not. */
  restart(): SimDisk {
    const next = new SimDisk(this.random.int(0, 2 ** 31), this.#pause)
    next.#directories = this.#directories
    return next
  }

  /** A backup: a disk of its own with everything that programs read now, durable. */
  copy(seed: number): SimDisk {
    const next = new SimDisk(seed, this.#pause)
    for (const [path, directory] of this.#directories) {
      const names = new Map<string, Inode>()
      for (const [name, { data, sizeBytes }] of directory.names) {
        const bytes = Buffer.from(data.subarray(0, sizeBytes))
        names.set(name, {
          data: bytes, sizeBytes, durable: Buffer.from(bytes), durableBytes: sizeBytes, dirty: [],
        })
      }
      next.#directories.set(path, { names, durable: new Map(names), changes: [] })
    }
    return next
  }

  /** Bytes that programs read, to look at or to damage: changes are durable. */
  edit(path: string, change: (bytes: Buffer) => void): void {
    const inode = this.#inode(path)
    change(inode.data.subarray(0, inode.sizeBytes))
    inode.durable = Buffer.from(inode.data)
    inode.durableBytes = inode.sizeBytes
    inode.dirty = []
  }

  usedBytes(): number {
    let sum = 0
    for (const { names } of this.#directories.values()) {
      for (const inode of names.values()) sum += inode.sizeBytes
    }
    return sum
  }

  // ---- Disk ----

  makeDirectory(path: string): void {
    if (!this.#directories.has(path)) {
      this.#directories.set(path, { names: new Map(), durable: new Map(), changes: [] })
    }
  }

  list(directory: string): string[] {
    return [...(this.#directories.get(directory)?.names.keys() ?? [])].toSorted()
  }

  create(path: string): DiskFile {
    this.#enter('create')
    const directory = this.#directory(path)
    const name = basename(path)
    if (directory.names.has(name)) throw new LatticeError('exists', `create file: ${path}`)
    const inode: Inode = {
      data: Buffer.alloc(0), sizeBytes: 0, durable: Buffer.alloc(0), durableBytes: 0, dirty: [],
    }
    directory.names.set(name, inode)
    directory.changes.push(() => directory.durable.set(name, inode))
    return new SimFile(this, path, inode, true)
  }

  open(path: string, mode: 'read' | 'write'): DiskFile {
    this.#enter('open')
    return new SimFile(this, path, this.#inode(path), mode === 'write')
  }

  rename(from: string, to: string): void {
    const inode = this.#inode(from)
    this.#enter('rename')
    const directory = this.#directory(from)
    const target = this.#directory(to)
    directory.names.delete(basename(from))
    target.names.set(basename(to), inode)
    directory.changes.push(() => {
      directory.durable.delete(basename(from))
      target.durable.set(basename(to), inode)
    })
  }

  remove(path: string): void {
    this.#inode(path)
    this.#enter('remove')
    const directory = this.#directory(path)
    directory.names.delete(basename(path))
    directory.changes.push(() => directory.durable.delete(basename(path)))
  }

  async syncDirectory(path: string): Promise<void> {
    await this.enterLater('syncDirectory')
    const directory = this.#directories.get(path)
    if (directory === undefined) throw new LatticeError('not-found', path)
    for (const change of directory.changes.splice(0)) change()
  }

  // ---- for SimFile ----

  #enter(call: DiskCall): void {
    this.calls++
    if (this.calls >= this.#crashAt) throw new LatticeError('cancelled', 'crashed')
    for (const failure of this.#failures) {
      if (failure.call !== call || --failure.count !== 0) continue
      throw failure.error()
    }
  }

  enter(call: DiskCall): void {
    this.#enter(call)
  }

  async enterLater(call: DiskCall): Promise<void> {
    await this.#pause()
    this.#enter(call)
  }

  // ---- inside ----

  #directory(path: string): Directory {
    const directory = this.#directories.get(dirname(path))
    if (directory === undefined) throw new LatticeError('not-found', `no directory: ${path}`)
    return directory
  }

  #inode(path: string): Inode {
    const inode = this.#directory(path).names.get(basename(path))
    if (inode === undefined) throw new LatticeError('not-found', `open file: ${path}`)
    return inode
  }

  /** Durable bytes, and of the rest each sector by chance; the size reaches as far as any did. */
  #survivor(inode: Inode): Inode {
    const bytes = Buffer.alloc(inode.sizeBytes)
    inode.durable.copy(bytes, 0, 0, Math.min(inode.durableBytes, bytes.length))
    let sizeBytes = Math.min(inode.durableBytes, bytes.length)
    const share = this.random.pick([0, 0.1, 0.5, 0.9, 1])
    for (const { begin, end } of inode.dirty) {
      for (let at = begin; at < end;) {
        const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES)
        if (this.random.chance(share)) {
          inode.data.copy(bytes, at, at, next)
          sizeBytes = Math.max(sizeBytes, Math.min(next, inode.sizeBytes))
        }
        at = next
      }
    }
    const data = bytes.subarray(0, sizeBytes)
    return { data, sizeBytes, durable: Buffer.from(data), durableBytes: sizeBytes, dirty: [] }
  }
}

class SimFile implements DiskFile {
  readonly path: string
  readonly fd = undefined
  readonly #disk: SimDisk
  readonly #inode: Inode
  readonly #isWritable: boolean

  constructor(disk: SimDisk, path: string, inode: Inode, isWritable: boolean) {
    this.#disk = disk
    this.path = path
    this.#inode = inode
    this.#isWritable = isWritable
  }

  sizeBytes(): number {
    return this.#inode.sizeBytes
  }

  async allocate(sizeBytes: number): Promise<void> {
    await this.#disk.enterLater('allocate')
    const begin = this.#inode.sizeBytes
    if (begin < sizeBytes) this.#put(begin, Buffer.alloc(sizeBytes - begin))
    this.#flush()
  }

  truncate(sizeBytes: number): void {
    this.#disk.enter('write')
    const inode = this.#inode
    if (sizeBytes >= inode.sizeBytes) return
    inode.data = inode.data.subarray(0, sizeBytes)
    inode.sizeBytes = sizeBytes
    inode.dirty = inode.dirty.filter((range) => range.end <= sizeBytes)
  }

  readSync(offset: number, into: Uint8Array): number {
    this.#disk.enter('read')
    const end = Math.min(this.#inode.sizeBytes, offset + into.length)
    if (offset >= end) return 0
    into.set(this.#inode.data.subarray(offset, end))
    return end - offset
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#attempt('write', offset, bytes)
  }

  writeSync(offset: number, bytes: Uint8Array): void {
    this.#disk.enter('write')
    this.#put(offset, bytes)
  }

  async sync(): Promise<void> {
    try {
      await this.#disk.enterLater('sync')
    } catch (error) {
      if (!this.#disk.hasCrashed) this.#inode.dirty = []
      throw error
    }
    this.#flush()
  }

  async writeAndSync(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#attempt('writeAndSync', offset, bytes)
    const end = offset + bytes.length
    this.#growDurable(end)
    this.#inode.data.copy(this.#inode.durable, offset, offset, end)
    this.#inode.dirty = this.#inode.dirty.filter((range) => (
      range.begin < offset || range.end > end
    ))
  }

  close(): void {
    // nothing is held
  }

  async #attempt(call: DiskCall, offset: number, bytes: Uint8Array): Promise<void> {
    try {
      await this.#disk.enterLater(call)
    } catch (error) {
      const part = this.#disk.random.int(0, bytes.length + 1)
      this.#put(offset, bytes.subarray(0, part))
      // Written but given up by the kernel: readable, never flushed.
      if (!this.#disk.hasCrashed && this.#disk.random.chance(0.5)) this.#inode.dirty.pop()
      throw error
    }
    this.#put(offset, bytes)
  }

  #put(offset: number, bytes: Uint8Array): void {
    if (!this.#isWritable) throw new LatticeError('denied', `write file: ${this.path}`)
    const end = offset + bytes.length
    const inode = this.#inode
    const growth = Math.max(0, end - inode.sizeBytes)
    const { capacityBytes } = this.#disk
    const isLimited = growth > 0 && capacityBytes !== Infinity
    if (isLimited && this.#disk.usedBytes() + growth > capacityBytes) {
      throw new LatticeError('disk-full', 'write file: ENOSPC')
    }
    inode.data = grown(inode.data, end)
    inode.data.set(bytes, offset)
    inode.sizeBytes = Math.max(inode.sizeBytes, end)
    inode.dirty.push({ begin: offset, end })
  }

  #flush(): void {
    const inode = this.#inode
    this.#growDurable(inode.sizeBytes)
    for (const { begin, end } of inode.dirty) inode.data.copy(inode.durable, begin, begin, end)
    inode.dirty = []
  }

  #growDurable(sizeBytes: number): void {
    this.#inode.durable = grown(this.#inode.durable, sizeBytes)
    this.#inode.durableBytes = Math.max(this.#inode.durableBytes, sizeBytes)
  }
}

function grown(buffer: Buffer, sizeBytes: number): Buffer {
  if (sizeBytes <= buffer.length) return buffer
  const larger = Buffer.alloc(Math.max(sizeBytes, 2 * buffer.length, 4096))
  buffer.copy(larger)
  return larger
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

function ioError(): Error {
  return new LatticeError('io', 'simulated: EIO')
}
