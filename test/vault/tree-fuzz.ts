// Random operations on a LiveTree and on the naive tree side by side: names, inos, kinds, link
// counts, attributes, times, content, xattrs must agree after every step; with commits, checkpoints
// that overlap further changes, reopening after a checkpoint, reopening after none, and rebuilding
// from the whole journal at random moments. SEED=n repeats a run, STEPS=n makes it longer.
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import {
  KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SYMLINK,
} from '../../src/ops/types.ts'
import type { Content, Name, NodeKind } from '../../src/ops/types.ts'
import {
  ATTR_ATIME, ATTR_CTIME, ATTR_GID, ATTR_MODE, ATTR_MTIME, ATTR_UID,
} from '../../src/vault/buffers.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { Checkpointer } from '../../src/vault/checkpoint.ts'
import type { NodeInfo, UnsealedContent } from '../../src/vault/tree.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryTree } from '../support/memory-tree.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { replay, settle } from '../../src/vault/rebuild.ts'
import { AUTHOR, TestVault } from './tree.helper.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', '\xc3\xa9', 'x'.repeat(255)] as Name[]
const PARENTS_MAX = 12

class Unsealed implements UnsealedContent {
  readonly inos = new Map<Ino, (() => void)[]>()

  isUnsealed(ino: Ino): boolean {
    return this.inos.has(ino)
  }

  seal(ino: Ino): Promise<void> {
    return new Promise((resolve) => {
      this.inos.get(ino)?.push(resolve)
    })
  }
}

class Run {
  readonly random: SeededRandom
  readonly clock = new FakeClock()
  readonly vault = new TestVault(this.clock)
  readonly naive = new MemoryTree(() => this.clock.now())
  readonly unsealed = new Unsealed()
  checkpointer!: Checkpointer
  orphans = new Set<Ino>()
  tokens = 0
  renamesOver = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
  }

  async open(): Promise<void> {
    await this.vault.open()
    this.vault.tree.setUnsealedContent(this.unsealed)
    this.checkpointer = new Checkpointer({
      index: this.vault.index,
      commits: this.vault.log,
      content: { sync: () => Promise.resolve() },
      author: AUTHOR,
      clock: this.clock,
      onTrouble: (error) => {
        throw error
      },
    })
  }

  directories(): Ino[] {
    const out: Ino[] = [this.naive.root]
    for (const ino of out) {
      for (const entry of this.naive.list(ino, 0, 1000)) {
        if (entry.kind === KIND_DIRECTORY) out.push(entry.ino)
      }
    }
    return out
  }

  place(): { parent: Ino; name: Name } {
    return { parent: this.random.pick(this.directories()), name: this.random.pick(NAMES) }
  }

  isWithin(inner: Ino, outer: Ino): boolean {
    for (let ino = inner; ; ino = this.naive.node(ino)!.parent) {
      if (ino === outer) return true
      if (ino === this.naive.root) return false
    }
  }

  content(): Content {
    return { kind: 'inline', bytes: new Uint8Array(Buffer.from(`token ${++this.tokens}`)) }
  }

  lose(ino: Ino, orphan: boolean): void {
    if (orphan) this.orphans.add(ino)
  }

  make(): void {
    const { parent, name } = this.place()
    if (this.naive.lookup(parent, name) !== undefined) return
    const kinds: NodeKind[] = [KIND_FILE, KIND_FILE, KIND_FILE, KIND_SYMLINK, KIND_FIFO]
    if (this.directories().length < PARENTS_MAX) kinds.push(KIND_DIRECTORY, KIND_DIRECTORY)
    const kind = this.random.pick(kinds)
    const init = {
      kind,
      mode: this.random.pick([0o644, 0o600, 0o4755]),
      uid: this.random.pick([1000, 1000, 0, 7]),
      gid: this.random.pick([1000, 0]),
      rdev: 0,
      target: kind === KIND_SYMLINK ? `to ${++this.tokens}` : '',
    }
    const one = this.naive.make(parent, name, init)
    const two = this.vault.tree.make(parent, name, init)
    if (one.ino !== two.ino) throw new Error(`make: ino ${two.ino}, should be ${one.ino}`)
  }

  unnamed(): void {
    const owner = { uid: 1000, gid: 1000 }
    const init = { kind: KIND_FILE, mode: 0o600, ...owner, rdev: 0, target: '' } as const
    const { ino } = this.naive.makeUnnamed(init)
    const two = this.vault.tree.makeUnnamed(init)
    if (ino !== two.ino) throw new Error(`unnamed: ino ${two.ino}, should be ${ino}`)
    if (this.random.chance(0.6)) this.put(ino)
    if (this.random.chance(0.3)) this.xattr(ino)
    const { parent, name } = this.place()
    if (this.random.chance(0.2) || this.naive.lookup(parent, name) !== undefined) {
      this.orphans.add(ino)
      return
    }
    this.clock.advance(1)
    this.naive.link(ino, parent, name)
    this.vault.tree.link(ino, parent, name)
  }

  link(): void {
    const from = this.place()
    const to = this.place()
    const entry = this.naive.lookup(from.parent, from.name)
    if (entry === undefined || entry.kind === KIND_DIRECTORY) return
    if (this.naive.lookup(to.parent, to.name) !== undefined) return
    this.naive.link(entry.ino, to.parent, to.name)
    this.vault.tree.link(entry.ino, to.parent, to.name)
  }

  unlink(): void {
    const { parent, name } = this.place()
    const entry = this.naive.lookup(parent, name)
    if (entry === undefined) return
    if (entry.kind === KIND_DIRECTORY && this.naive.node(entry.ino)!.entryCount > 0) return
    const one = this.naive.unlink(parent, name)
    const two = this.vault.tree.unlink(parent, name)
    t.strictSame(two, one, 'unlink')
    this.lose(one.ino, one.orphan)
  }

  rename(): void {
    const from = this.place()
    const to = this.place()
    const source = this.naive.lookup(from.parent, from.name)
    const target = this.naive.lookup(to.parent, to.name)
    if (source === undefined || source.ino === target?.ino) return
    const isDirectory = source.kind === KIND_DIRECTORY
    if (isDirectory && this.isWithin(to.parent, source.ino)) return
    if (target !== undefined) {
      if ((target.kind === KIND_DIRECTORY) !== isDirectory) return
      if (isDirectory && this.naive.node(target.ino)!.entryCount > 0) return
      if (source.kind === KIND_FILE && target.kind === KIND_FILE) {
        this.renamesOver++
        const isOpen = this.unsealed.inos.has(source.ino)
        if (!isOpen && this.random.chance(0.3)) this.unsealed.inos.set(source.ino, [])
      }
    }
    const one = this.naive.rename(from.parent, from.name, to.parent, to.name)
    const two = this.vault.tree.rename(from.parent, from.name, to.parent, to.name)
    t.strictSame(two, one, 'rename')
    if (one.replaced !== undefined) this.lose(one.replaced, one.orphan)
  }

  exchange(): void {
    const a = this.place()
    const b = this.place()
    const one = this.naive.lookup(a.parent, a.name)
    const two = this.naive.lookup(b.parent, b.name)
    if (one === undefined || two === undefined || one.ino === two.ino) return
    if (one.kind === KIND_DIRECTORY && this.isWithin(b.parent, one.ino)) return
    if (two.kind === KIND_DIRECTORY && this.isWithin(a.parent, two.ino)) return
    this.naive.exchange(a.parent, a.name, b.parent, b.name)
    this.vault.tree.exchange(a.parent, a.name, b.parent, b.name)
  }

  someIno(): Ino | undefined {
    if (this.orphans.size > 0 && this.random.chance(0.1)) return this.random.pick([...this.orphans])
    const { parent, name } = this.place()
    return this.naive.lookup(parent, name)?.ino
  }

  put(given?: Ino): void {
    const ino = given ?? this.someIno()
    if (ino === undefined || this.naive.node(ino)!.kind !== KIND_FILE) return
    const content = this.content()
    const { sec, nsec } = this.clock.now()
    const old = this.naive.node(ino)!.attr
    const attr = {
      ...old,
      sizeBytes: content.kind === 'inline' ? content.bytes.length : 0,
      mtimeSec: sec,
      mtimeNsec: nsec,
      ctimeSec: sec,
      ctimeNsec: nsec,
    }
    this.naive.put(ino, content, attr)
    this.vault.tree.put(ino, content, attr)
    for (const resolve of this.unsealed.inos.get(ino) ?? []) resolve()
    this.unsealed.inos.delete(ino)
  }

  attrs(): void {
    const ino = this.someIno()
    if (ino === undefined) return
    const bits = [ATTR_MODE, ATTR_UID, ATTR_GID, ATTR_ATIME, ATTR_MTIME]
    let mask = ATTR_CTIME
    for (const bit of bits) if (this.random.chance(0.4)) mask |= bit
    const { sec, nsec } = this.clock.now()
    const attr = {
      ...this.naive.node(ino)!.attr,
      mode: this.random.pick([0o644, 0o755, 0o600]),
      uid: this.random.pick([0, 1000, 7]),
      gid: this.random.pick([0, 1000, 7]),
      atimeSec: this.random.int(-100, 1000),
      atimeNsec: this.random.int(0, 1e9),
      mtimeSec: this.random.int(-100, 1000),
      mtimeNsec: this.random.int(0, 1e9),
      ctimeSec: sec,
      ctimeNsec: nsec,
    }
    this.naive.setAttrs(ino, mask, attr)
    this.vault.tree.setAttrs(ino, mask, attr)
  }

  xattr(given?: Ino): void {
    const ino = given ?? this.someIno()
    if (ino === undefined) return
    const name = this.random.pick(['user.a', 'user.b', 'user.c'])
    const old = this.naive.getXattr(ino, name)
    const removes = old !== undefined && this.random.chance(0.5)
    const value = removes ? undefined : new Uint8Array(Buffer.from(`value ${++this.tokens}`))
    this.naive.setXattr(ino, name, value)
    this.vault.tree.setXattr(ino, name, value)
  }

  release(): void {
    if (this.orphans.size === 0) return
    const ino = this.random.pick([...this.orphans])
    if (this.unsealed.inos.has(ino)) this.put(ino)
    this.orphans.delete(ino)
    this.naive.release(ino)
    this.vault.tree.release(ino)
  }

  sealAll(): void {
    for (const ino of this.unsealed.inos.keys()) this.put(ino)
  }

  async settle(): Promise<void> {
    this.sealAll()
    await new Promise((resolve) => setImmediate(resolve))
    this.vault.log.commit(this.random.int(1, 6))
    if (this.vault.log.waiting > 0) throw new Error('operations are stuck in the queue')
  }

  async reopen(): Promise<void> {
    await this.settle()
    while (this.orphans.size > 0) this.release()
    if (this.random.chance(0.5)) await this.checkpointer.run()
    else await this.quiet()
    const rebuilds = this.random.chance(0.4)
    const before = this.vault.dump()
    const hash = this.vault.index.stateHash()
    const counts = this.vault.tree.counts()
    await this.vault.close()
    if (rebuilds) {
        LmdbIndex.remove(this.vault.indexDirectory)
    }
    const nextIno = this.vault.index.store.meta.nextIno
    await this.open()
    compareDumps(this.vault.dump(), before)
    t.strictSame(this.vault.tree.counts(), counts, 'counts')
    // an ino that never got a name is not in the journal
    this.vault.index.store.meta.nextIno = nextIno
    if (rebuilds) {
      await this.checkpointer.run()
      await this.same(hash)
    }
  }

  /** The state hash equals that of a fold of the whole journal into an empty index. */
  async same(_earlier: string): Promise<void> {
        const directory = `${this.vault.indexDirectory}-twin`
    const twin = await this.vault.openIndex(directory)
    await replay(twin, this.vault.log, AUTHOR)
    await settle(twin, this.vault.log.end, AUTHOR, this.vault.log.resumeHere())
    t.equal(this.vault.index.stateHash(), twin.stateHash(), 'state hash')
    await twin.close()
    LmdbIndex.remove(directory)
  }

  /** Waits until no checkpoint runs. */
  async quiet(): Promise<void> {
    await this.pendingCheckpoint
    this.pendingCheckpoint = undefined
  }

  pendingCheckpoint: Promise<void> | undefined

  async step(): Promise<void> {
    this.clock.advance(this.random.int(1, 3))
    const roll = this.random.int(0, 100)
    if (roll < 24) this.make()
    else if (roll < 27) this.unnamed()
    else if (roll < 34) this.link()
    else if (roll < 44) this.unlink()
    else if (roll < 62) this.rename()
    else if (roll < 66) this.exchange()
    else if (roll < 78) this.put()
    else if (roll < 86) this.attrs()
    else if (roll < 90) this.xattr()
    else if (roll < 93) this.release()
    else if (roll < 97) this.vault.log.commit(this.random.int(1, 6))
    else if (roll < 99) {
      if (this.pendingCheckpoint !== undefined) {
        await this.settle()
        await this.quiet()
      }
      this.pendingCheckpoint = this.checkpointer.run()
    } else {
      await this.settle()
      await this.quiet()
      await this.reopen()
    }
    await Promise.resolve()
  }

  compare(): void {
    for (const ino of this.directories()) this.compareDirectory(ino)
    for (const ino of this.orphans) this.compareNode(ino)
  }

  compareDirectory(ino: Ino): void {
    const tree = this.vault.tree
    const expected = this.naive.list(ino, 0, 1000)
    const listed: string[] = []
    let after = 0
    for (;;) {
      const page = tree.listNodes(ino, after, 3)
      for (const { entry, node } of page) {
        if (entry.cookie <= after || entry.cookie <= 2) throw new Error('cookies do not ascend')
        after = entry.cookie
        if (node.ino !== entry.ino) throw new Error('an entry with another node')
        listed.push(`${entry.name} ${entry.ino} ${entry.kind}`)
      }
      if (page.length < 3) break
    }
    const wanted = expected.map((entry) => `${entry.name} ${entry.ino} ${entry.kind}`)
    if (listed.toSorted().join('|') !== wanted.toSorted().join('|')) {
      throw new Error(`directory ${ino}: has ${listed.join('|')}, should be ${wanted.join('|')}`)
    }
    for (const { name, ino: child } of expected) {
      const node = tree.lookupNode(ino, name)
      if (node?.ino !== child) throw new Error(`lookup ${name} in ${ino}`)
      this.compareNode(child)
    }
    this.compareNode(ino)
  }

  compareNode(ino: Ino): void {
    const one = view(this.naive.node(ino), this.naive.root)
    const two = view(this.vault.tree.node(ino), this.naive.root)
    if (one !== two) throw new Error(`ino ${ino}: is\n${two}, should be\n${one}`)
    const names = this.naive.listXattrs(ino).toSorted()
    if (this.vault.tree.listXattrs(ino).toSorted().join() !== names.join()) {
      throw new Error(`ino ${ino}: xattrs`)
    }
    for (const name of names) {
      const a = Buffer.from(this.naive.getXattr(ino, name)!)
      if (!a.equals(this.vault.tree.getXattr(ino, name)!)) throw new Error(`ino ${ino}: ${name}`)
    }
  }
}

function view(node: NodeInfo | undefined, root: Ino): string {
  if (node === undefined) return 'none'
  const { attr, content, ino, kind, entryCount, orphan, target } = node
  const body = content?.kind === 'inline' ? Buffer.from(content.bytes).toString() : ''
  const parent = kind === KIND_DIRECTORY && !orphan ? node.parent : 0
  // the root's first mode and times are its maker's choice; a directory's nlink ends with its name
  const own: Partial<typeof attr> = { ...attr }
  if (ino === root) for (const key of ['mode', 'uid', 'gid', 'nlink'] as const) delete own[key]
  for (const key of Object.keys(own)) {
    if (ino === root && key.includes('time')) delete own[key as 'mode']
  }
  return JSON.stringify({ ...own, body, ino, kind, entryCount, orphan, target, parent })
}

function compareDumps(after: Map<string, string>, before: Map<string, string>): void {
  for (const [node, record] of before) {
    const now = after.get(node) ?? '{}'
    if (now === record) continue
    const is = JSON.parse(now) as Record<string, unknown>
    const was = JSON.parse(record) as Record<string, unknown>
    const fields = Object.keys(was).filter((key) => !isDeepStrictEqual(is[key], was[key]))
    if (fields.length === 0) continue
    const text = fields.map((key) => (
      `${key}: ${JSON.stringify(was[key])} / ${JSON.stringify(is[key])}`
    ))
    throw new Error(`node ${node} (ino ${String(was['ino'])}) was / is ${text.join('; ')}`)
  }
}

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 8)
const steps = Number(process.env['STEPS'] ?? 400)

t.test(`random operations, seed ${seed}`, async (t) => {
  let over = 0
  for (let i = 0; i < runs; i++) {
    const run = new Run(seed + i)
    t.teardown(() => run.vault.destroy())
    try {
      await run.open()
      for (let step = 0; step < steps; step++) {
        await run.step()
        run.compare()
      }
      await run.settle()
      await run.quiet()
      await run.reopen()
      run.compare()
    } catch (error) {
      throw new Error(`seed ${seed + i}`, { cause: error })
    }
    over += run.renamesOver
    await run.vault.destroy()
  }
  t.ok(over > runs, `${over} renames over`)
})
