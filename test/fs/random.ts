// Random differential test: FileSystem over the real tree, journal, index, packs and content
// against a naive model of a POSIX filesystem with contents. At random moments the vault is closed
// and opened again, opened after its index was deleted, or copied as a sudden stop would leave it:
// the copy holds everything that was synced, and of the rest nothing that never was.
//
// Strategy: a few names in a few directories, so that calls collide; descriptors stay open across
// unlinks, renames and syncs; writes of few bytes and of many chunks, holes, truncations, copies by
// reference. After each step the answer is compared, errno included; now and then the whole tree.
// Replay with SEED=n.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { DirectPosix } from './direct-posix.helper.ts'
import { ModelPosix, type ModelFile } from './model-posix.helper.ts'
import { O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_TRUNC, PosixError } from './posix.helper.ts'
import { readFile, type Posix } from './posix.helper.ts'
import { VaultPlace, type RealVault } from './real-vault.helper.ts'
import { testSeed } from '../support/seed.ts'

const SEED = testSeed()
const ROUNDS = Number(process.env.ROUNDS ?? 4)
const STEPS = 250

class Rng {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * n)
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
  bytes(length: number): Uint8Array {
    const out = new Uint8Array(length)
    let value = this.below(2 ** 31)
    for (let i = 0; i < length; i++) {
      value = (Math.imul(value, 1103515245) + 12345) >>> 0
      out[i] = value >>> 16
    }
    return out
  }
}

const DIRECTORIES = ['', '/d', '/d/e', '/f']
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']

class Run {
  readonly rng: Rng
  readonly place: VaultPlace
  readonly model = new ModelPosix()
  readonly trace: string[] = []
  readonly scratch: string
  vault: RealVault
  real: DirectPosix
  /** Descriptors open on both sides: [real, model]. */
  fds: [number, number][] = []
  copies = 0

  constructor(seed: number, place: VaultPlace, vault: RealVault, scratch: string) {
    this.rng = new Rng(seed)
    this.place = place
    this.vault = vault
    this.scratch = scratch
    this.real = new DirectPosix('real', vault.fs, vault.buffers)
  }

  /** The last steps, for a failure's message. */
  context(): string {
    return `after\n${this.trace.slice(-25).join('\n')}`
  }

  path(): string {
    return `${this.rng.pick(DIRECTORIES)}/${this.rng.pick(NAMES)}`
  }

  size(): number {
    return this.rng.below(this.rng.pick([10, 1000, 1025, 17_000, 200_000]))
  }

  /** The same call on both; both answers, or both errors, must be equal. */
  async both<T>(what: string, act: (fs: Posix, side: 0 | 1) => Promise<T>): Promise<T | undefined> {
    this.trace.push(what)
    const [real, model] = [await outcome(act(this.real, 0)), await outcome(act(this.model, 1))]
    if (show(real) === show(model)) return 'value' in real ? real.value : undefined
    throw new Error(`${what}: vault ${show(real)}, model ${show(model)} ${this.context()}`)
  }

  async step(): Promise<void> {
    const { rng } = this
    const actions: [number, () => Promise<unknown>][] = [
      [14, async () => this.open()],
      [10, async () => this.close()],
      [24, async () => this.write()],
      [14, async () => this.read()],
      [6, async () => this.resize()],
      [5, async () => this.punch()],
      [4, async () => this.copy()],
      [6, async () => this.fsync()],
      [12, async () => this.two('rename', (fs, a, b) => fs.rename(a, b, rng0))],
      [5, async () => this.two('link', (fs, a, b) => fs.link(a, b))],
      [8, async () => this.one('unlink', (fs, a) => fs.unlink(a))],
      [5, async () => this.one('mkdir', (fs, a) => fs.mkdir(a, 0o755))],
      [4, async () => this.one('rmdir', (fs, a) => fs.rmdir(a))],
      [3, async () => this.one('symlink', (fs, a) => fs.symlink('nowhere', a))],
      [4, async () => this.one('readdir', async (fs, a) => (await fs.readdir(a)).sort())],
      [4, async () => this.one('chmod', (fs, a) => fs.chmod(a, mode))],
      [4, async () => this.one('utimes', (fs, a) => fs.utimes(a, 1, time))],
      [6, async () => this.one('stat', async (fs, a) => statOf(fs, a))],
      [3, async () => this.tmpfile()],
      [2, async () => this.settle()],
    ]
    const rng0 = rng.below(4) === 0 ? rng.pick([1, 2]) : 0
    const mode = rng.pick([0o600, 0o644, 0o755])
    const time = rng.below(1000)
    let pick = rng.below(actions.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, action] of actions) {
      pick -= weight
      if (pick < 0) {
        await action()
        return
      }
    }
  }

  async one(what: string, act: (fs: Posix, path: string) => Promise<unknown>): Promise<void> {
    const path = this.rng.below(5) === 0 ? this.rng.pick(DIRECTORIES) || '/' : this.path()
    if (path === '/' && !['readdir', 'stat', 'chmod'].includes(what)) return
    await this.both(`${what} ${path}`, async (fs) => act(fs, path))
  }

  async two(
    what: string,
    act: (fs: Posix, from: string, to: string) => Promise<unknown>,
  ): Promise<void> {
    const [from, to] = [this.path(), this.path()]
    await this.both(`${what} ${from} ${to}`, async (fs) => act(fs, from, to))
  }

  async open(): Promise<void> {
    if (this.fds.length > 6) return this.close()
    const path = this.path()
    const more = this.rng.pick([O_CREAT, O_CREAT, 0, O_CREAT | O_EXCL, O_TRUNC, O_APPEND])
    await this.opened(`open ${path} 0${more.toString(8)}`, async (fs) => {
      return fs.open(path, O_RDWR | more, 0o644)
    })
  }

  async tmpfile(): Promise<void> {
    if (this.fds.length > 6) return
    const directory = this.rng.pick(DIRECTORIES) || '/'
    const before = this.fds.length
    await this.opened(`tmpfile ${directory}`, async (fs) => fs.tmpfile(directory, 0o600))
    const fd = this.fds[before]
    if (fd === undefined || this.rng.below(3) === 0) return
    const path = this.path()
    await this.write()
    await this.both(`linkFd ${path}`, async (fs, side) => fs.linkFd(fd[side], path))
  }

  async opened(what: string, open: (fs: Posix) => Promise<number>): Promise<void> {
    const pair: [number, number] = [0, 0]
    const done = await this.both(what, async (fs, side) => {
      pair[side] = await open(fs)
      return true
    })
    if (done === true) this.fds.push(pair)
  }

  async close(): Promise<void> {
    const index = this.rng.below(this.fds.length)
    const [pair] = this.fds.splice(index, 1)
    if (pair === undefined) return
    await this.both(`close #${index}`, async (fs, side) => fs.close(pair[side]))
  }

  async fd(what: string, act: (fs: Posix, fd: number) => Promise<unknown>): Promise<void> {
    if (this.fds.length === 0) return
    const index = this.rng.below(this.fds.length)
    const pair = this.fds[index] as [number, number]
    await this.both(`${what} on #${index}`, async (fs, side) => act(fs, pair[side]))
  }

  async write(): Promise<void> {
    const offset = this.size()
    const bytes = this.rng.bytes(this.size())
    const append = this.rng.below(3) === 0
    await this.fd(`write ${append ? 'append' : offset} ${bytes.length}`, async (fs, fd) => {
      const { size } = await fs.fstat(fd)
      return fs.write(fd, bytes, append ? size : offset)
    })
  }

  async read(): Promise<void> {
    const [offset, length] = [this.size(), this.size()]
    await this.fd(`read ${offset} ${length}`, async (fs, fd) => fs.read(fd, offset, length))
  }

  async resize(): Promise<void> {
    const size = this.size()
    await this.fd(`ftruncate ${size}`, async (fs, fd) => fs.ftruncate(fd, size))
    const path = this.path()
    if (this.rng.below(2) === 0) return
    await this.both(`truncate ${path} ${size}`, async (fs) => fs.truncate(path, size))
  }

  async punch(): Promise<void> {
    const mode = this.rng.pick([0, 1, 3, 16, 17])
    const [offset, length] = [this.size(), this.size()]
    await this.fd(`fallocate ${mode} ${offset} ${length}`, async (fs, fd) => {
      return fs.fallocate(fd, mode, offset, length)
    })
  }

  async copy(): Promise<void> {
    if (this.fds.length === 0) return
    const from = this.rng.pick(this.fds)
    const to = this.rng.pick(this.fds)
    const [fromAt, toAt, length] = [this.size(), this.size(), this.size()]
    await this.both(`copy ${fromAt} ${toAt} ${length}`, async (fs, side) => {
      return fs.copyRange(from[side], fromAt, to[side], toAt, length)
    })
  }

  async fsync(): Promise<void> {
    if (this.fds.length === 0) return
    const index = this.rng.below(this.fds.length)
    const pair = this.fds[index] as [number, number]
    await this.both(`fsync #${index}`, async (fs, side) => fs.fsync(pair[side]))
    if (this.rng.below(6) > 0) return
    const { nlink } = await this.model.fstat(pair[1])
    if (nlink === 0) return
    await this.crash(`fsync of #${index}`, this.model.inode(pair[1]))
  }

  /** Opens what a sudden stop would leave; the given inode must be there, whole, by every name. */
  async crash(why: string, inode: ModelFile): Promise<void> {
    const copy = this.place.crashCopy(join(this.scratch, `copy-${this.copies++}`))
    const vault = await copy.open()
    try {
      const fs = new DirectPosix('after a stop', vault.fs, vault.buffers)
      for (const path of this.model.namesOf(inode)) {
        const bytes = await readFile(fs, path)
        if (Buffer.compare(bytes, inode.bytes) !== 0) {
          throw new Error(`${why}: ${path} differs after a stop ${this.context()}`)
        }
      }
      const [trouble] = vault.troubles
      if (trouble !== undefined) throw new Error(`after a stop: ${String(trouble.error)}`)
    } finally {
      await vault.close()
      rmSync(copy.directory, { recursive: true, force: true })
    }
  }

  /** Everything durable; then checked, forgotten, stopped or opened again. */
  async settle(): Promise<void> {
    this.trace.push('settle')
    const kind = this.rng.below(5)
    if (kind >= 3) for (const pair of this.fds.splice(0)) await this.closeBoth(pair)
    await this.vault.files.syncAll()
    if (kind === 1) this.real.forget()
    if (kind === 2) await this.compareCopy()
    if (kind >= 3) await this.reopen(kind === 4)
    await this.compare(this.real)
  }

  async closeBoth(pair: [number, number]): Promise<void> {
    await this.both('close', async (fs, side) => fs.close(pair[side]))
  }

  async compareCopy(): Promise<void> {
    const copy = this.place.crashCopy(join(this.scratch, `copy-${this.copies++}`))
    const vault = await copy.open()
    await this.compare(new DirectPosix('after a stop', vault.fs, vault.buffers))
    await vault.close()
    rmSync(copy.directory, { recursive: true, force: true })
  }

  async reopen(withoutIndex: boolean): Promise<void> {
    this.trace.push(`reopen ${withoutIndex ? 'without index' : ''}`)
    await this.vault.close()
    this.checkTroubles()
    if (withoutIndex) this.place.removeIndex()
    this.vault = await this.place.open()
    this.real.remounted(this.vault.fs, this.vault.buffers)
  }

  checkTroubles(): void {
    const trouble = this.vault.troubles[0] ?? this.real.troubles[0]
    if (trouble === undefined) return
    const { error } = trouble
    throw new Error(`trouble: ${String(error)} ${this.context()}`, { cause: error })
  }

  /** The whole tree, contents and attributes included. */
  async compare(real: Posix, directory = ''): Promise<void> {
    const at = directory || '/'
    const names = (await this.model.readdir(at)).sort()
    const found = (await real.readdir(at)).sort()
    const context = (): string => `${real.name} ${this.context()}`
    if (names.join('/') !== found.join('/')) {
      throw new Error(`${at} lists ${found.join()} instead of ${names.join()}: ${context()}`)
    }
    for (const name of names) {
      const path = `${directory}/${name}`
      const [mine, theirs] = [await statOf(this.model, path), await statOf(real, path)]
      if (JSON.stringify(mine) !== JSON.stringify(theirs)) {
        const [got, wanted] = [JSON.stringify(theirs), JSON.stringify(mine)]
        throw new Error(`${path}: ${got} not ${wanted}: ${context()}`)
      }
      if ((mine.mode & 0o170000) === 0o040000) await this.compare(real, path)
      if ((mine.mode & 0o170000) !== 0o100000) continue
      const [a, b] = [await readFile(this.model, path), await readFile(real, path)]
      if (Buffer.compare(a, b) === 0) continue
      const at = a.findIndex((byte, i) => byte !== b[i])
      const sizes = `${b.length} bytes, not ${a.length}, first at ${at}`
      throw new Error(`content of ${path} differs (${sizes}): ${context()}`)
    }
  }
}

interface Comparable {
  mode: number
  nlink: number
  size: number
  mtime: string
}

/** Explicit times are whole seconds below 1000; those of writes only have to be recent. */
async function statOf(fs: Posix, path: string): Promise<Comparable> {
  const { mode, nlink, size, mtimeNs } = await fs.lstat(path)
  const isDirectory = (mode & 0o170000) === 0o040000
  const mtime = mtimeNs >= 1_000_000_000_000n ? 'recent' : String(mtimeNs)
  return { mode, nlink, size: isDirectory ? 0 : size, mtime }
}

type Outcome<T> = { value: T } | { errno: number }

async function outcome<T>(act: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await act }
  } catch (error) {
    if (error instanceof PosixError) return { errno: error.errno }
    throw error
  }
}

function show(result: Outcome<unknown>): string {
  if ('errno' in result) return `errno ${result.errno}`
  const { value } = result
  if (!(value instanceof Uint8Array)) return JSON.stringify(value) ?? 'done'
  return `${value.length} bytes ${Buffer.from(value).toString('base64')}`
}

for (let round = 0; round < ROUNDS; round++) {
  const seed = SEED + round
  void t.test(`SEED=${seed}`, async (test) => {
    const scratch = mkdtempSync(join(tmpdir(), 'lattice-random-'))
    test.teardown(() => rmSync(scratch, { recursive: true, force: true }))
    const place = new VaultPlace(join(scratch, 'vault'), 20)
    const run = new Run(seed, place, await place.open(), scratch)
    try {
      await run.both('mkdir /d', async (fs) => fs.mkdir('/d', 0o755))
      for (let step = 0; step < STEPS; step++) await run.step()
      await run.settle()
      run.checkTroubles()
      test.pass(`${STEPS} steps`)
    } finally {
      await run.vault.close()
    }
  })
}
