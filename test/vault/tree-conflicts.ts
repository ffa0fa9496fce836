// Conflicts and unions through the live tree: two or three devices that change the same names
// apart, meet, and go on working. A local change of one item leaves every other where it is;
// devices that have the same batches show the same; nothing that was written is lost but by who saw
// it. SEED=n repeats a run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { MemoryIndex } from '../support/sim-index.ts'
import type { ConflictPlace, TreeConflict } from '../../src/vault/tree-conflicts.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { ROOT, World } from './tree-devices.helper.ts'
import type { Device } from './tree-devices.helper.ts'

const DAY = '2026-11-20'
const COPY_A = `f (conflict ${DAY} anna).txt`

function pair(): { world: World; anna: Device; bert: Device } {
  const world = new World('anna', 'bert')
  const [anna, bert] = world.devices as [Device, Device]
  return { world, anna, bert }
}

/** The count is kept as the list is. */
function checkCount(t: Test, { tree }: Device): void {
  const { conflicts } = tree.conflicts(undefined, 10_000)
  t.equal(tree.conflictCount, conflicts.filter(({ kind }) => kind !== 'cycle').length)
}

async function agree(t: Test, world: World, expected?: Record<string, string>): Promise<void> {
  world.sync()
  const [first, ...others] = world.devices as [Device, ...Device[]]
  const view = first.view()
  if (expected !== undefined) t.strictSame(view, expected)
  const hash = await first.checkpoint()
  checkCount(t, first)
  for (const other of others) {
    t.strictSame(other.view(), view)
    t.equal(await other.checkpoint(), hash)
  }
}

/** Two files of one name: bert's has it, anna's shows as a copy. */
function twoFiles() {
  const made = pair()
  const { world, anna, bert } = made
  anna.write('f.txt', 'by anna')
  bert.write('f.txt', 'by bert')
  world.sync()
  return made
}

/** Two contents of one file: bert's wins, anna's shows as a copy. */
function twoContents() {
  const made = pair()
  const { world, anna, bert } = made
  anna.write('f.txt', 'before')
  world.sync()
  anna.write('f.txt', 'by anna')
  bert.write('f.txt', 'by bert')
  world.sync()
  return made
}

for (const [what, start] of [['files', twoFiles], ['contents', twoContents]] as const) {
  t.test(`two ${what}: rm of the winner leaves the copy where it is`, async (t) => {
    const { world, anna, bert } = start()
    t.strictSame(anna.view(), { 'f.txt': 'by bert', [COPY_A]: 'by anna' })
    const { ino } = anna.at(COPY_A)
    anna.remove('f.txt')
    t.strictSame(anna.view(), { [COPY_A]: 'by anna' })
    t.equal(anna.at(COPY_A).ino, ino, 'its ino too')
    await agree(t, world, { [COPY_A]: 'by anna' })
    bert.remove(COPY_A)
    await agree(t, world, {})
  })

  t.test(`two ${what}: rm of the copy leaves the winner`, async (t) => {
    const { world, bert } = start()
    bert.remove(COPY_A)
    await agree(t, world, { 'f.txt': 'by bert' })
  })

  t.test(`two ${what}: both devices touch it apart`, async (t) => {
    const { world, anna, bert } = start()
    anna.remove(COPY_A)
    bert.rename(COPY_A, 'kept.txt')
    await agree(t, world, { 'f.txt': 'by bert', 'kept.txt': 'by anna' })
  })

  t.test(`two ${what}: the copy is written, opened before it was real`, async (t) => {
    const { world, anna } = start()
    const { ino } = anna.at(COPY_A)
    anna.put(ino, 'by anna, again')
    t.equal(anna.at(COPY_A).ino, ino)
    await agree(t, world, { 'f.txt': 'by bert', [COPY_A]: 'by anna, again' })
  })

  t.test(`two ${what}: attributes and further names of a copy`, async (t) => {
    const { world, anna, bert } = start()
    anna.tree.setXattr(anna.at(COPY_A).ino, 'user.a', new Uint8Array([1]))
    anna.link(COPY_A, 'other')
    await agree(t, world, { 'f.txt': 'by bert', [COPY_A]: 'by anna', other: 'by anna' })
    t.strictSame(bert.tree.getXattr(bert.at('other').ino, 'user.a'), new Uint8Array([1]))
    t.equal(bert.tree.getXattr(bert.at('f.txt').ino, 'user.a'), undefined)
    t.equal(bert.tree.node(bert.at('other').ino)?.attr.nlink, 2)
  })

  t.test(`two ${what}: an editor saves over the name`, async (t) => {
    const { world, anna } = start()
    anna.write('f.txt~', 'saved')
    anna.rename('f.txt~', 'f.txt')
    await agree(t, world, { 'f.txt': 'saved', [COPY_A]: 'by anna' })
  })

  t.test(`two ${what}: mv of the copy over the name decides it`, async (t) => {
    const { world, anna, bert } = start()
    anna.rename(COPY_A, 'f.txt')
    await agree(t, world, { 'f.txt': 'by anna' })
    t.equal(bert.tree.conflicts(undefined, 10).conflicts.length, 0)
  })

  t.test(`two ${what}: the two trade places`, async (t) => {
    const { world, anna } = start()
    anna.exchange(COPY_A, 'f.txt')
    await agree(t, world, { 'f.txt': 'by anna', [COPY_A]: 'by bert' })
  })

  t.test(`two ${what}: listed and decided`, async (t) => {
    for (const [choice, view] of [
      ['mine', { 'f.txt': 'by anna' }],
      ['theirs', { 'f.txt': 'by bert' }],
      ['both', { 'f.txt': 'by bert', [COPY_A]: 'by anna' }],
      [1, { 'f.txt': 'by bert' }],
      [2, { 'f.txt': 'by anna' }],
    ] as const) {
      const { world, anna, bert } = start()
      const [conflict] = anna.tree.conflicts(undefined, 10).conflicts as [TreeConflict]
      t.equal(conflict.kind, what === 'files' ? 'name' : 'content')
      t.strictSame(conflict.items.map((item) => item.name), ['f.txt', COPY_A])
      t.strictSame(conflict.items.map((item) => item.origin.author), [bert.author, anna.author])
      t.strictSame(anna.tree.conflictAt(anna.root, COPY_A as Name), conflict)
      const { kept, removed } = anna.tree.resolve(anna.root, COPY_A as Name, choice)
      t.equal(kept.length + removed.length, 2)
      t.strictSame(kept, Object.keys(view))
      await agree(t, world, view)
      for (const device of world.devices) {
        t.strictSame(device.tree.conflicts(undefined, 10), { conflicts: [], next: undefined })
      }
      t.throws(() => anna.tree.resolve(anna.root, 'f.txt' as Name, 'mine'), { code: 'not-found' })
    }
  })
}

t.test('a directory keeps the name; a file beside it shows as a copy', async (t) => {
  const { world, anna, bert } = pair()
  anna.write('f.txt', 'by anna')
  bert.mkdir('f.txt')
  bert.write('f.txt/in', 'inside')
  await agree(t, world, { 'f.txt': '/', 'f.txt/in': 'inside', [COPY_A]: 'by anna' })
  anna.tree.resolve(anna.root, 'f.txt' as Name, 'mine')
  const view = { 'f.txt': '/', 'f.txt/in': 'inside', [COPY_A]: 'by anna' }
  await agree(t, world, view)
  t.equal(bert.tree.conflicts(undefined, 10).conflicts.length, 0)
})

t.test('a union is one directory', async (t) => {
  const { world, anna, bert } = pair()
  anna.mkdir('d')
  anna.write('d/a', 'a')
  anna.write('d/same', 'by anna')
  bert.mkdir('d')
  bert.write('d/b', 'b')
  bert.write('d/same', 'by bert')
  const copy = `same (conflict ${DAY} anna)`
  const inside = { 'd/a': 'a', 'd/b': 'b', 'd/same': 'by bert', [`d/${copy}`]: 'by anna' }
  await agree(t, world, { d: '/', ...inside })
  const { ino } = anna.at('d')
  anna.write('d/new', 'new')
  anna.tree.setXattr(ino, 'user.x', new Uint8Array([7]))
  anna.rename('d', 'e')
  t.equal(anna.at('e').ino, ino)
  const moved = Object.entries({ d: '/', ...inside, 'd/new': 'new' })
    .map(([path, text]) => [path.replace(/^d/, 'e'), text])
  await agree(t, world, Object.fromEntries(moved))
  t.strictSame(bert.tree.getXattr(bert.at('e').ino, 'user.x'), new Uint8Array([7]))
  t.equal(bert.tree.conflicts(undefined, 10).conflicts.length, 1, 'a union alone is none')
  bert.mkdir('x')
  bert.exchange('e', 'x')
  await agree(t, world)
  t.strictSame(anna.names(anna.at('x').ino), ['a', 'b', 'new', 'same', copy].toSorted())
  anna.removeAll('x')
  t.strictSame(anna.view(), { e: '/' })
  await agree(t, world, { e: '/' })
  anna.removeAll('e')
  await agree(t, world, {})
})

t.test('an empty union is replaced by a directory', async (t) => {
  const { world, anna, bert } = pair()
  anna.mkdir('d')
  bert.mkdir('d')
  world.sync()
  anna.mkdir('n')
  anna.write('n/x', 'x')
  anna.rename('n', 'd')
  await agree(t, world, { d: '/', 'd/x': 'x' })
})

t.test('a file is replaced while it is open', async (t) => {
  const { world, anna, bert } = pair()
  const ino = anna.write('f.txt', 'before')
  world.sync()
  anna.open.add(ino)
  bert.write('f.txt', 'by bert')
  world.sync()
  t.strictSame(anna.detached, [ino])
  t.equal(anna.text(ino), 'before', 'goes on with what it had')
  t.equal(anna.tree.node(ino)?.orphan, false)
  t.not(anna.at('f.txt').ino, ino)
  t.equal(anna.read('f.txt'), 'by bert')
  anna.put(ino, 'through the old one')
  t.equal(anna.text(ino), 'through the old one')
  const copy = `f (conflict ${DAY} bert).txt`
  t.strictSame(anna.view(), { 'f.txt': 'through the old one', [copy]: 'by bert' })
  await agree(t, world, anna.view())
  anna.put(ino, 'and again')
  await agree(t, world, { 'f.txt': 'and again', [copy]: 'by bert' })
  // somebody writes the file that has the name meanwhile
  anna.write('f.txt', 'by name')
  anna.put(ino, 'once more')
  world.sync()
  t.strictSame(Object.values(anna.view()).toSorted(), ['by bert', 'by name', 'once more'])
  await agree(t, world)
  anna.tree.release(ino)
  t.equal(anna.tree.node(ino), undefined)
})

t.test('a file is removed while it is open and written', async (t) => {
  const { world, anna, bert } = pair()
  const ino = anna.write('f.txt', 'before')
  const read = anna.write('read', 'before')
  world.sync()
  anna.open.add(ino).add(read)
  bert.remove('f.txt')
  bert.remove('read')
  world.sync()
  t.strictSame(anna.view(), {})
  t.equal(anna.text(read), 'before')
  anna.put(ino, 'written')
  await agree(t, world, { 'f.txt': 'written' })
})

t.test('a shown copy is decided elsewhere while it is open and written', async (t) => {
  const { world, anna, bert } = twoContents()
  const { ino } = anna.at(COPY_A)
  anna.open.add(ino)
  bert.tree.resolve(bert.root, 'f.txt' as Name, 'mine')
  world.sync()
  t.equal(anna.text(ino), 'by anna')
  anna.put(ino, 'by anna, later')
  world.sync()
  t.strictSame(Object.values(anna.view()).toSorted(), ['by anna, later', 'by bert'])
  await agree(t, world)
})

t.test('directories that are moved into each other', async (t) => {
  const { world, anna, bert } = pair()
  anna.mkdir('a')
  anna.mkdir('b')
  world.sync()
  anna.rename('a', 'b/a')
  bert.rename('b', 'a/b')
  await agree(t, world, { b: '/', 'b/a': '/' })
  const { conflicts } = anna.tree.conflicts(undefined, 10)
  t.match(conflicts, [{ kind: 'cycle', name: 'b', parent: anna.root }])
  t.match(anna.tree.conflictAt(anna.root, 'b' as Name), { kind: 'cycle' })
  anna.tree.resolve(anna.root, 'b' as Name, 'both')
  await agree(t, world, { b: '/', 'b/a': '/' })
  t.equal(bert.tree.conflicts(undefined, 10).conflicts.length, 0)
})

t.test('many conflicts, page by page', async (t) => {
  const { world, anna, bert } = pair()
  for (let i = 0; i < 150; i++) {
    anna.write(`n${i}`, 'by anna')
    bert.write(`n${i}`, i % 3 === 0 ? 'by anna' : 'by bert')
  }
  await agree(t, world)
  const found: string[] = []
  for (let after: ConflictPlace | undefined; ;) {
    const { conflicts, next } = anna.tree.conflicts(after, 7)
    found.push(...conflicts.map((one) => one.name))
    t.ok(conflicts.length <= 7)
    if (next === undefined) break
    after = next
  }
  t.equal(new Set(found).size, found.length)
  t.strictSame(found.toSorted(), Array.from({ length: 150 }, (_, i) => `n${i}`)
    .filter((_, i) => i % 3 !== 0).toSorted(), 'equal ones need no decision')
  t.strictSame(anna.tree.pathOf(anna.at('n1').ino), ['n1'])
})

t.test('more copies than an op can name, and a batch can hold', async (t) => {
  const { world, anna, bert } = pair()
  anna.write('f', 'before')
  world.sync()
  const { node } = bert.record('f')
  const bytes = (i: number) => new Uint8Array(Buffer.from(`copy ${i}`))
  bert.forge(Array.from({ length: 1200 }, (_, i) => ({
    kind: 'put', node, base: [], sizeBytes: bytes(i).length, mtimeSec: 1, mtimeNsec: i,
    content: { kind: 'inline', bytes: bytes(i) },
  })))
  anna.pull(bert)
  t.equal(anna.names().length, 1201)
  const [name] = anna.names().filter((one) => anna.read(one) === 'copy 7')
  const { ino } = anna.at(name!)
  anna.put(ino, 'written')
  t.equal(anna.names().length, 1201)
  t.equal(anna.read(name!), 'written')
  t.equal(anna.at(name!).ino, ino)
  t.equal(anna.tree.conflicts(undefined, 10).conflicts.length, 0, 'all are real')
  anna.place()
  const carl = world.add('carl', new MemoryIndex(ROOT))
  carl.pull(anna)
  t.strictSame(carl.view(), anna.view())
})

t.test('copies whose attributes fill a batch each', async (t) => {
  const world = new World('anna', 'bert', 'carl')
  const [anna, bert, carl] = world.devices as [Device, Device, Device]
  for (const device of world.devices) device.smallBatches = true
  const { ino } = anna.at((anna.write('f', 'before'), 'f'))
  for (let i = 0; i < 2; i++) {
    anna.tree.setXattr(ino, `user.${i}`, new Uint8Array(60_000).fill(i))
  }
  world.sync()
  for (const device of world.devices) device.write('f', `by ${device.author}`)
  world.sync()
  t.equal(anna.names().length, 3)
  anna.remove('f')
  await agree(t, world)
  t.equal(bert.names().length, 2)
  for (const name of carl.names()) {
    t.equal(carl.tree.getXattr(carl.at(name).ino, 'user.1')?.length, 60_000)
  }
})

// ---- any of it, at random ----

const NAMES = ['f', 'g.txt', 'd', 'e']

interface Shown { directory: string; name: string; path: string; isDirectory: boolean }

function shownOn(device: Device): { all: Shown[]; directories: string[] } {
  const all: Shown[] = []
  const directories = ['']
  for (const [path, text] of Object.entries(device.view())) {
    const slash = path.lastIndexOf('/') + 1
    const isDirectory = text === '/'
    all.push({ directory: path.slice(0, slash), name: path.slice(slash), path, isDirectory })
    if (isDirectory) directories.push(`${path}/`)
  }
  return { all, directories }
}

let written = 0

/** What a user does; returns what the view must be then, where that is plain. */
function act(device: Device, random: SeededRandom): Record<string, string> | undefined {
  const { all, directories } = shownOn(device)
  const before = device.view()
  const target = random.pick(directories) + random.pick(NAMES)
  const isFree = before[target] === undefined
  const one = all.length === 0 ? undefined : random.pick(all)
  const dice = random.int(0, 12)
  if (dice < 2 || one === undefined) {
    if (!isFree) return undefined
    device.mkdir(target)
    return { ...before, [target]: '/' }
  }
  if (dice < 5) {
    if (before[target] === '/') return undefined
    const text = random.chance(0.3) ? 'the same' : `text ${++written}`
    // what was equal to it, and so not shown, may be another thing now
    const isAlone = isFree || !device.record(target).grouped
    device.write(target, text)
    return isAlone ? { ...before, [target]: text } : undefined
  }
  if (dice < 7) {
    if (one.isDirectory && device.names(device.at(one.path).ino).length > 0) return undefined
    device.remove(one.path)
    return Object.fromEntries(Object.entries(before).filter(([path]) => path !== one.path))
  }
  if (dice < 10) {
    const inside = `${one.path}/`
    if (!isFree || `${target}/`.startsWith(inside)) return undefined
    device.rename(one.path, target)
    return Object.fromEntries(Object.entries(before).map(([path, text]) => (
      path === one.path || path.startsWith(inside)
        ? [target + path.slice(one.path.length), text] : [path, text]
    )))
  }
  if (dice === 10) {
    const over = all.filter((other) => !other.isDirectory && other.path !== one.path)
    if (one.isDirectory || over.length === 0) return undefined
    const { path } = random.pick(over)
    if (device.at(path).ino === device.at(one.path).ino) return undefined
    device.rename(one.path, path)
    const rest = Object.entries(before).filter(([other]) => other !== one.path)
    return { ...Object.fromEntries(rest), [path]: before[one.path]! }
  }
  if (one.isDirectory) device.tree.setXattr(device.at(one.path).ino, 'user.x', random.bytes(3))
  else if (isFree) {
    device.link(one.path, target)
    return { ...before, [target]: before[one.path]! }
  }
  return before
}

/** Hard links: a write through one name shows under the others, which act() does not know. */
function hasLinks(device: Device): boolean {
  const { all } = shownOn(device)
  return all.some(({ path, isDirectory }) => (
    !isDirectory && device.tree.node(device.at(path).ino)!.attr.nlink > 1
  ))
}

/** A directory that somebody removed, kept by what is in it, goes when that goes. */
function hasDead(device: Device): boolean {
  const { all } = shownOn(device)
  return all.some(({ path, isDirectory }) => (
    isDirectory && device.record(path).links[0]!.heads.length === 0
  ))
}

function pathTo(device: Device, parent: Ino, name: Name): string {
  return [...device.tree.pathOf(parent)!, name].join('/')
}

t.test(`three users at random, seed ${testSeed()}`, async (t) => {
  const random = new SeededRandom(testSeed())
  for (let run = 0; run < 25; run++) {
    const world = new World('anna', 'bert', 'carl')
    for (let step = 0; step < 60; step++) {
      const device = random.pick(world.devices)
      const had = hasLinks(device) || hasDead(device)
      const expected = act(device, random)
      if (expected !== undefined && !had) {
        if (!sameView(device.view(), expected)) {
          t.strictSame(device.view(), expected, `run ${run}, step ${step}`)
          return
        }
      }
      if (random.chance(0.2)) device.place()
      if (random.chance(0.1)) await device.checkpoint()
      if (random.chance(0.15)) {
        device.pull(random.pick(world.devices.filter((one) => one !== device)))
      }
    }
    await agree(t, world)
    const [first] = world.devices as [Device]
    const items = first.tree.conflicts(undefined, 1000).conflicts
    for (const { parent, name } of items) {
      if (first.tree.conflictAt(parent, name) === undefined) continue
      const choice = random.pick(['both', 1, 2, 'theirs'] as const)
      const { items: now, kind } = first.tree.conflictAt(parent, name)!
      if (typeof choice === 'number' && choice > now.length) continue
      if (choice === 'theirs' && now.every(({ origin }) => origin.author === first.author)) continue
      const directories = now.filter((item) => item.kind === KIND_DIRECTORY).length
      const wanted = now.map((item) => first.text(item.ino))
      const { kept } = first.tree.resolve(parent, name, choice)
      const lost = kept.filter((one) => first.tree.lookup(parent, one) === undefined)
      t.strictSame(lost, [], `${kind} ${choice}`)
      if (kind === 'cycle') continue
      if (typeof choice === 'number' && directories === 0) {
        t.equal(first.read(pathTo(first, parent, name)), wanted[choice - 1])
      }
      t.ok([undefined, 'cycle'].includes(first.tree.conflictAt(parent, name)?.kind), 'decided')
    }
    await agree(t, world)
    const left = first.tree.conflicts(undefined, 1000).conflicts
    t.strictSame(left.filter((one) => first.tree.lookup(one.parent, one.name) === undefined), [])
    for (const name of first.names()) first.removeAll(name)
    await agree(t, world, {})
  }
})

t.test(`LMDB keeps all of it, seed ${testSeed()}`, async (t) => {
  const random = new SeededRandom(testSeed())
  for (let run = 0; run < 3; run++) {
    const directory = mkdtempSync(join(tmpdir(), 'lattice-conflicts-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const options = {
      directory, vaultId: 'aa', rootNode: ROOT,
      valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
    }
    const world = new World('anna', 'bert')
    const index = await LmdbIndex.open(options)
    const carl = world.add('carl', index)
    for (let step = 0; step < 150; step++) {
      const device = random.pick(world.devices)
      act(device, random)
      if (random.chance(0.1)) await carl.checkpoint()
      if (random.chance(0.2)) {
        device.pull(random.pick(world.devices.filter((one) => one !== device)))
      }
    }
    await agree(t, world)
    await carl.checkpoint()
    const dump = carl.dump()
    const { conflicts } = index.store.meta
    await index.close()
    const again = await LmdbIndex.open(options)
    t.strictSame(carl.dump(again.store), dump)
    t.equal(again.store.meta.conflicts, conflicts)
    await again.close()
  }
})

function sameView(a: Record<string, string>, b: Record<string, string>): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key])
}

