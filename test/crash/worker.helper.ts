// A program that works in a directory like several ordinary ones at once (editors that save by
// rename, logs that append, databases that write in place, builds that make and remove trees) until
// a system call fails, as it does when the daemon dies. Before each call its intent is logged
// outside, after it the result; both with O_DSYNC where it is a promise. Started by
// rounds.helper.ts with an IPC channel; one message a round.

import {
  chmodSync, closeSync, fdatasyncSync, fsyncSync, ftruncateSync, linkSync, mkdirSync, openSync,
  renameSync, rmdirSync, symlinkSync, unlinkSync, writeSync, constants,
} from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../support/random.helper.ts'
import type { TestRandom } from '../support/random.helper.ts'
import { fillBytes, monotonicMs, type Model, type Op } from './history.helper.ts'
import { modelOf, takePicture } from './picture.helper.ts'

export interface Task {
  directory: string
  log: string
  seed: number
  /** Ends by itself after so many operations; without it only by an error. */
  opsMax?: number
}

export interface Report {
  /** The first message: the worker knows its directory and begins. */
  begins?: true
  /** Why it ended, in the second. */
  error: string
  message?: string
  ops: number
}

const FILES_MAX = 40
const WRITE_BYTES_MAX = 64 * 1024 // one FUSE request, or two (history.helper.ts)

class Worker {
  readonly #task: Task
  readonly #random: TestRandom
  readonly #model: Model
  readonly #fds = new Map<number, number>()
  readonly #intents: number
  readonly #promises: number
  #n = 0
  #nextHandle = 0
  #nextName = 0

  constructor(task: Task) {
    this.#task = task
    this.#random = seededRandom(task.seed)
    this.#model = modelOf(takePicture(task.directory))
    this.#intents = openSync(task.log, 'a')
    const { O_WRONLY, O_APPEND, O_DSYNC } = constants
    this.#promises = openSync(task.log, O_WRONLY | O_APPEND | O_DSYNC)
  }

  run(): Report {
    try {
      while (this.#n < (this.#task.opsMax ?? Infinity)) this.#step()
      return { error: '', ops: this.#n }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === undefined) throw error
      return { error: code, message: String(error), ops: this.#n }
    } finally {
      for (const fd of this.#fds.values()) closeQuietly(fd)
      closeSync(this.#intents)
      closeSync(this.#promises)
    }
  }

  #do(op: Op): void {
    const n = this.#n++
    writeSync(this.#intents, `${JSON.stringify({ n, ...op })}\n`)
    this.#call(op)
    const promise = op.op === 'fsync' || op.op === 'fsyncdir'
    writeSync(promise ? this.#promises : this.#intents, `{"n":${n},"ok":${monotonicMs()}}\n`)
    this.#model.apply(n, op)
  }

  #call(op: Op): void {
    const path = (name: string): string => join(this.#task.directory, name)
    switch (op.op) {
      case 'create':
        this.#fds.set(op.h, openSync(path(op.p), 'wx+', op.mode))
        return
      case 'open':
        this.#fds.set(op.h, openSync(path(op.p), op.trunc ? 'w+' : 'r+'))
        return
      case 'write': {
        const bytes = new Uint8Array(op.size)
        fillBytes(bytes, op.seed)
        for (let done = 0; done < op.size; ) { // short when the daemon dies between two requests
          done += writeSync(this.#fd(op.h), bytes, done, op.size - done, op.at + done)
        }
        return
      }
      case 'trunc':
        return ftruncateSync(this.#fd(op.h), op.size)
      case 'fsync':
        return op.data ? fdatasyncSync(this.#fd(op.h)) : fsyncSync(this.#fd(op.h))
      case 'close': {
        const fd = this.#fd(op.h)
        this.#fds.delete(op.h)
        return closeSync(fd)
      }
      case 'mkdir':
        mkdirSync(path(op.p), 0o755)
        return
      case 'rmdir':
        return rmdirSync(path(op.p))
      case 'unlink':
        return unlinkSync(path(op.p))
      case 'rename':
        return renameSync(path(op.p), path(op.q))
      case 'link':
        return linkSync(path(op.p), path(op.q))
      case 'symlink':
        return symlinkSync(op.to, path(op.p))
      case 'chmod':
        return chmodSync(path(op.p), op.mode)
      case 'fsyncdir':
        return syncDirectory(path(op.p))
    }
  }

  #fd(handle: number): number {
    const fd = this.#fds.get(handle)
    if (fd === undefined) throw new Error(`no handle ${handle}`)
    return fd
  }

  // ---- what programs do ----

  #step(): void {
    const files = this.#paths('file')
    if (files.length > FILES_MAX) return this.#do({ op: 'unlink', p: this.#random.pick(files) })
    if (files.length < 4) return this.#newFile()
    const kinds: [number, () => void][] = [
      [20, () => this.#save(this.#random.pick(files))],
      [14, () => this.#newFile()],
      [14, () => this.#append()],
      [12, () => this.#writeInPlace(this.#random.pick(files))],
      [6, () => this.#rewrite(this.#random.pick(files))],
      [8, () => this.#do({ op: 'unlink', p: this.#random.pick(files) })],
      [8, () => this.#rename(this.#random.pick(files))],
      [4, () => this.#do({ op: 'mkdir', p: this.#newName() })],
      [4, () => this.#removeDirectory()],
      [3, () => this.#renameDirectory()],
      [4, () => this.#do({ op: 'link', p: this.#random.pick(files), q: this.#newName() })],
      [3, () => this.#do({ op: 'symlink', p: this.#newName(), to: `to-${this.#n}` })],
      [2, () => this.#unlinkSymlink()],
      [5, () => this.#do({ op: 'chmod', p: this.#random.pick(files), mode: this.#mode() })],
      [4, () => this.#do({ op: 'fsyncdir', p: this.#random.pick(this.#paths('directory')) })],
    ]
    let at = this.#random.below(kinds.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, act] of kinds) {
      if (at < weight) return act()
      at -= weight
    }
  }

  /** As editors save: aside, perhaps flushed, over the old one, perhaps the directory flushed. */
  #save(target: string): void {
    const aside = this.#newName()
    const h = this.#create(aside)
    this.#fill(h)
    if (this.#chance(40)) this.#do({ op: 'chmod', p: aside, mode: this.#mode() })
    const flushed = this.#chance(40)
    if (flushed) this.#do({ op: 'fsync', h, data: false })
    const closesLate = this.#chance(15)
    if (!closesLate) this.#do({ op: 'close', h })
    this.#do({ op: 'rename', p: aside, q: target })
    if (this.#chance(25)) this.#do({ op: 'fsyncdir', p: dirname(target) })
    if (!closesLate) return
    this.#writeSome(h)
    this.#do({ op: 'close', h })
  }

  #newFile(): void {
    const h = this.#create(this.#newName())
    this.#fill(h)
    if (this.#chance(30)) this.#do({ op: 'fsync', h, data: this.#chance(50) })
    this.#do({ op: 'close', h })
  }

  /** A log that stays open over many steps, flushed after some lines. */
  #append(): void {
    let [h] = this.#fds.keys()
    if (h === undefined || this.#chance(4)) {
      if (h !== undefined) this.#do({ op: 'close', h })
      h = this.#create(this.#newName())
    }
    for (let i = this.#random.below(4); i >= 0; i--) {
      const at = this.#model.of(h).sizeBytes
      this.#do({ op: 'write', h, at, size: 1 + this.#random.below(300), seed: this.#seed() })
    }
    if (this.#chance(50)) this.#do({ op: 'fsync', h, data: true })
  }

  #writeInPlace(path: string): void {
    const h = this.#open(path, false)
    for (let i = this.#random.below(5); i >= 0; i--) this.#writeSome(h)
    if (this.#chance(15)) {
      this.#do({ op: 'trunc', h, size: this.#random.below(this.#model.of(h).sizeBytes + 5000) })
    }
    if (this.#chance(40)) this.#do({ op: 'fsync', h, data: this.#chance(50) })
    this.#do({ op: 'close', h })
  }

  #rewrite(path: string): void {
    const h = this.#open(path, true)
    this.#fill(h)
    this.#do({ op: 'close', h })
  }

  #rename(path: string): void {
    if (this.#chance(30)) {
      const files = this.#paths('file')
      return this.#do({ op: 'rename', p: path, q: this.#random.pick(files) })
    }
    this.#do({ op: 'rename', p: path, q: this.#newName() })
  }

  #renameDirectory(): void {
    const directories = this.#paths('directory').filter((path) => path !== '')
    if (directories.length === 0) return
    const from = this.#random.pick(directories)
    const to = this.#newName()
    if (!to.startsWith(`${from}/`)) this.#do({ op: 'rename', p: from, q: to })
  }

  #removeDirectory(): void {
    const directories = this.#paths('directory').filter((path) => path !== '')
    const empty = directories.filter((path) => this.#model.isEmpty(path))
    if (empty.length > 0) this.#do({ op: 'rmdir', p: this.#random.pick(empty) })
  }

  #unlinkSymlink(): void {
    const links = this.#paths('symlink')
    if (links.length > 0) this.#do({ op: 'unlink', p: this.#random.pick(links) })
  }

  // ---- parts ----

  #create(p: string): number {
    const h = this.#nextHandle++
    this.#do({ op: 'create', h, p, mode: 0o644 })
    return h
  }

  #open(p: string, trunc: boolean): number {
    const h = this.#nextHandle++
    this.#do({ op: 'open', h, p, trunc })
    return h
  }

  #fill(h: number): void {
    const kind = this.#random.below(100)
    const limit = kind < 45 ? 1024 : kind < 80 ? 16 * 1024 : kind < 95 ? 200_000 : 2_000_000
    const size = this.#random.below(limit)
    for (let at = 0; at < size; ) {
      const piece = Math.min(size - at, 1 + this.#random.below(WRITE_BYTES_MAX))
      this.#do({ op: 'write', h, at, size: piece, seed: this.#seed() })
      at += piece
    }
  }

  #writeSome(h: number): void {
    const at = this.#random.below(this.#model.of(h).sizeBytes + 1000)
    const size = 1 + this.#random.below(this.#chance(70) ? 4096 : WRITE_BYTES_MAX)
    this.#do({ op: 'write', h, at, size, seed: this.#seed() })
  }

  #paths(kind: string): string[] {
    const found: string[] = []
    for (const [path, node] of this.#model.paths) if (node.kind === kind) found.push(path)
    return found
  }

  #newName(): string {
    const parent = this.#random.pick(this.#paths('directory').filter((path) => path.length < 60))
    for (;;) {
      const name = `${parent === '' ? '' : `${parent}/`}n${this.#nextName++}`
      if (!this.#model.paths.has(name)) return name
    }
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent
  }

  #mode(): number {
    return 0o600 | this.#random.below(0o100)
  }

  #seed(): number {
    return this.#random.below(2 ** 31)
  }
}

const dirname = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeQuietly(fd)
  }
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    return // a handle into a mount that died
  }
}

const tell = (report: Report): Promise<void> =>
  new Promise((resolve) => process.send?.(report, undefined, undefined, () => resolve()))

process.on('message', (task: Task) => {
  const worker = new Worker(task)
  void tell({ begins: true, error: '', ops: 0 }).then(() => tell(worker.run()))
})
