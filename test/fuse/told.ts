// What the session answers by itself of names that it was told ahead is what the tree says at that
// moment: random calls of a fake kernel, which forgets inodes as a real one does, against a model.
// SEED=n replays one run.

import t, { type Test } from 'tap'
import { must } from '../../src/util/assert.ts'
import { type FakeKernel, OP, attrAt, body } from '../native/support/fake-kernel.ts'
import { served } from './served.helper.ts'
import { numbersBelow } from '../support/random.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const STEPS = 6000
const NAMES = 24
const MKDIR = 9
const UNLINK = 10
const RENAME = 12
const LINK = 13
const READDIR = 28
const RELEASEDIR = 29
const OPENDIR = 27
const FATTR_MODE = 1
const FATTR_SIZE = 8
const STAT_TOLD = 8

interface Node {
  ino: number
  mode: number
  nlink: number
  size: number
}

const u32 = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer)
const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)

/** A kernel that has what it looked up until it forgets it, and the tree as it ought to be. */
class Model {
  readonly #test: Test
  readonly #kernel: FakeKernel
  readonly #random: (n: number) => number
  readonly dirs = new Map<number, Map<string, Node>>([[1, new Map()]])
  /** Lookups that the kernel holds, by ino. */
  readonly #held = new Map<number, number>()

  constructor(test: Test, kernel: FakeKernel, random: (n: number) => number) {
    this.#test = test
    this.#kernel = kernel
    this.#random = random
  }

  async mkdir(name: string): Promise<void> {
    const payload = await this.#kernel.ok(
      MKDIR, 1, Buffer.concat([u32(0o755, 0), Buffer.from(`${name}\0`)]),
    )
    this.dirs.set(attrAt(payload, 40).ino, new Map())
  }

  #count(ino: number): void {
    this.#held.set(ino, (this.#held.get(ino) ?? 0) + 1)
  }

  async lookup(dir: number, name: string): Promise<Node | undefined> {
    const node = must(this.dirs.get(dir), 'dir').get(name)
    const { error, payload } = await this.#kernel.ask(OP.lookup, dir, body.name(name))
    this.#test.equal(error, 0)
    const found = attrAt(payload, 40)
    if (Number(payload.readBigUInt64LE(0)) === 0) {
      if (node !== undefined) this.#test.fail(`${dir}/${name} is there`)
      return undefined
    }
    this.#count(found.ino)
    if (node === undefined) this.#test.fail(`${dir}/${name} is not there`)
    const { ino, mode, nlink, size } = found
    const wanted = node && { ...node, mode: node.mode | 0o100000 }
    const same = JSON.stringify(wanted) === JSON.stringify({ ino, mode, nlink, size })
    if (!same) this.#test.same({ ino, mode, nlink, size }, wanted, `${dir}/${name}`)
    return node
  }

  async create(dir: number, name: string): Promise<void> {
    const { ino } = attrAt(await this.#kernel.ok(OP.create, dir, body.create(name)), 40)
    this.#count(ino)
    const size = this.#random(3) * 100
    if (size > 0) await this.#kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(size, 1)))
    await this.#kernel.ok(OP.flush, ino, body.flush())
    await this.#kernel.ok(OP.release, ino, body.release())
    this.dirs.get(dir)?.set(name, { ino, mode: 0o644, nlink: 1, size })
  }

  async unlink(dir: number, name: string, node: Node): Promise<void> {
    await this.#kernel.ok(UNLINK, dir, body.name(name))
    node.nlink--
    this.dirs.get(dir)?.delete(name)
  }

  async rename(dir: number, name: string, node: Node, to: number, newName: string): Promise<void> {
    const replaced = await this.lookup(to, newName)
    const names = Buffer.from(`${name}\0${newName}\0`)
    await this.#kernel.ok(RENAME, dir, Buffer.concat([u64(to), names]))
    if (replaced === node) return
    if (replaced !== undefined) replaced.nlink--
    this.dirs.get(dir)?.delete(name)
    this.dirs.get(to)?.set(newName, node)
  }

  async link(node: Node, dir: number, name: string): Promise<void> {
    if ((await this.lookup(dir, name)) !== undefined) return
    const payload = Buffer.concat([u64(node.ino), Buffer.from(`${name}\0`)])
    this.#count(attrAt(await this.#kernel.ok(LINK, dir, payload), 40).ino)
    node.nlink++
    this.dirs.get(dir)?.set(name, node)
  }

  async change(node: Node): Promise<void> {
    if (this.#random(2) === 0) {
      node.mode = 0o600 + this.#random(64)
      const mode = node.mode | 0o100000
      await this.#kernel.ok(OP.setattr, node.ino, body.setattr(FATTR_MODE, { mode }))
    } else {
      node.size = this.#random(300)
      await this.#kernel.ok(OP.setattr, node.ino, body.setattr(FATTR_SIZE, { size: node.size }))
    }
  }

  async list(dir: number): Promise<void> {
    await this.#kernel.ok(OPENDIR, dir, body.open(0))
    const names: string[] = []
    for (let after = 0; ;) {
      const payload = await this.#kernel.ok(READDIR, dir, body.read(after, 400))
      if (payload.length === 0) break
      for (let at = 0; at < payload.length;) {
        const length = payload.readUInt32LE(at + 16)
        const name = payload.toString('latin1', at + 24, at + 24 + length)
        if (!name.startsWith('.') && !name.startsWith('dir')) names.push(name)
        after = Number(payload.readBigUInt64LE(at + 8))
        at += (24 + length + 7) & ~7
      }
    }
    await this.#kernel.ok(RELEASEDIR, dir, body.release())
    const wanted = [...(this.dirs.get(dir)?.keys() ?? [])].sort()
    if (names.sort().join() !== wanted.join()) this.#test.same(names, wanted, `names of ${dir}`)
  }

  forgetAll(): void {
    const pairs = [...this.#held]
    this.#held.clear()
    for (let i = 0; i < pairs.length; i += 100) {
      this.#kernel.send(OP.batchForget, 0, body.batchForget(...pairs.slice(i, i + 100)))
    }
  }
}

void t.test(`random calls against a model, SEED=${SEED}`, async (test) => {
  await served(test, async ({ kernel, session }) => {
    const random = numbersBelow(SEED)
    const model = new Model(test, kernel, random)
    for (let i = 0; i < 2; i++) await model.mkdir(`dir${i}`)
    for (let step = 0; step < STEPS && test.passing(); step++) {
      const dirs = [...model.dirs.keys()]
      const dir = must(dirs[random(dirs.length)], 'a directory')
      const name = `n${random(NAMES)}`
      if (random(40) === 0) model.forgetAll()
      const node = await model.lookup(dir, name)
      const what = random(24)
      if (what === 0) await model.list(dir)
      else if (node === undefined) {
        if (what < 4) await model.create(dir, name)
      } else if (what === 1) {
        await model.unlink(dir, name, node)
      } else if (what === 2) {
        const to = must(dirs[random(dirs.length)], 'a directory')
        await model.rename(dir, name, node, to, `n${random(NAMES)}`)
      } else if (what === 3) {
        const to = must(dirs[random(dirs.length)], 'a directory')
        await model.link(node, to, `n${random(NAMES)}`)
      } else if (what === 4) await model.change(node)
    }
    const told = session.stats()[STAT_TOLD] ?? 0
    test.comment(`${told} of ${STEPS} were told ahead`)
    test.ok(told > STEPS / 50, 'something was told')
  })
})

void t.test('a large directory is told in windows, in order', async (test) => {
  await served(test, async ({ kernel, session }) => {
    const model = new Model(test, kernel, () => 1)
    const count = 1200
    for (let i = 0; i < count; i++) await model.create(1, `f${i}`)
    model.forgetAll()
    const before = session.stats()[STAT_TOLD] ?? 0
    for (let i = 0; i < count; i++) await model.lookup(1, `f${i}`)
    const told = (session.stats()[STAT_TOLD] ?? 0) - before
    test.ok(told > count * 0.8, `${told} of ${count} were told ahead`)
  })
})
