// The rules of LiveTree that a random walk would not explain: who waits for content, which ino a
// name has after a rename over, what an orphan keeps, which changes need no op.
import t from 'tap'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { Content, Name } from '../../src/ops/types.ts'
import { ATTR_ATIME, ATTR_MODE, ATTR_MTIME, ATTR_UID } from '../../src/vault/buffers.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { LiveTree } from '../../src/vault/live-tree.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { TestVault } from './tree.helper.ts'

const FILE = { kind: KIND_FILE, mode: 0o644, uid: 1000, gid: 1000, rdev: 0, target: '' } as const
const DIRECTORY = { ...FILE, kind: KIND_DIRECTORY, mode: 0o755 } as const
const [A, B, C] = ['a', 'b', 'c'] as [Name, Name, Name]

function text(words: string): Content {
  return { kind: 'inline', bytes: new Uint8Array(Buffer.from(words)) }
}

function read(tree: LiveTree, ino: Ino): string {
  const content = tree.node(ino)?.content
  return content?.kind === 'inline' ? Buffer.from(content.bytes).toString() : 'none'
}

function write(tree: LiveTree, ino: Ino, words: string): void {
  const attr = tree.node(ino)!.attr
  tree.put(ino, text(words), { ...attr, sizeBytes: words.length, mtimeSec: attr.mtimeSec + 1 })
}

async function setUp(t: { teardown(fn: () => unknown): unknown }) {
  const clock = new FakeClock()
  const vault = new TestVault(clock)
  t.teardown(() => vault.destroy())
  await vault.open()
  return { vault, clock, tree: vault.tree, log: vault.log, root: vault.tree.root }
}

t.test('a rename over waits for its content, and everything behind it', async (t) => {
  const { vault, clock, tree, log, root } = await setUp(t)
  const target = tree.make(root, A, FILE).ino
  write(tree, target, 'old')
  const source = tree.make(root, B, FILE).ino
  log.commit(10)
  const unsealed = new Set([source])
  let attempts = 0
  tree.setUnsealedContent({
    isUnsealed: (ino) => unsealed.has(ino),
    seal: async () => {
      attempts++
      if (attempts === 1) throw new Error('the disk is full')
      await new Promise(() => undefined)
    },
  })
  t.strictSame(tree.rename(root, B, root, A), { replaced: target, orphan: true })
  t.equal(tree.lookup(root, A)?.ino, source, 'the ino follows the source')
  t.equal(read(tree, target), 'old', 'the replaced one keeps its content for who has it open')
  tree.make(root, C, FILE)
  log.commit(10)
  t.equal(log.waiting, 2, 'neither the rename nor what came later is committed')
  await new Promise((resolve) => setImmediate(resolve))
  clock.advance(1000)
  t.equal(attempts, 2, 'sealing is tried again')
  write(tree, source, 'new')
  log.commit(10)
  t.equal(log.waiting, 0)
  tree.release(target)
  t.equal(tree.node(target), undefined)
  const before = vault.dump()
  await vault.close()
  await vault.open()
  t.strictSame(vault.dump(), before, 'and the journal says the same')
  t.equal(read(vault.tree, source), 'new')
  t.equal(vault.tree.lookup(root, A)?.ino, source)
})

t.test('a content renamed over two files in a row before it is sealed', async (t) => {
  const { vault, tree, log, root } = await setUp(t)
  const inos = [A, B, C].map((name) => tree.make(root, name, FILE).ino)
  for (const ino of inos) write(tree, ino, `old ${ino}`)
  const source = inos[0] as Ino
  const unsealed = new Set([source])
  tree.setUnsealedContent({
    isUnsealed: (ino) => unsealed.has(ino),
    seal: () => new Promise(() => undefined),
  })
  tree.rename(root, A, root, B)
  tree.rename(root, B, root, C)
  write(tree, source, 'new')
  log.commit(1)
  t.equal(log.waiting, 0)
  t.equal(tree.list(root, 0, 9).length, 1)
  t.equal(read(tree, source), 'new')
  await vault.close()
  await vault.open()
  t.equal(vault.tree.lookup(root, C)?.ino, source)
  t.equal(read(vault.tree, source), 'new')
  t.equal(vault.tree.counts().contentBytes, 3)
})

t.test('what needs no op makes none', async (t) => {
  const { vault, clock, tree, log, root } = await setUp(t)
  const { ino } = tree.make(root, A, FILE)
  write(tree, ino, 'words')
  log.commit(10)
  const batches = log.records.filter((one) => one.plain !== undefined).length
  clock.advance(1000)
  const attr = tree.node(ino)!.attr
  tree.setAttrs(ino, ATTR_MODE | ATTR_UID | ATTR_MTIME, attr)
  tree.setAttrs(ino, ATTR_ATIME, { ...attr, atimeSec: 5 })
  tree.put(ino, text('words'), attr)
  log.commit(10)
  t.equal(log.records.filter((one) => one.plain !== undefined).length, batches)
  t.ok(tree.node(ino)!.attr.ctimeSec > attr.ctimeSec, 'but ctime moves')
  const before = vault.dump()
  await vault.close()
  await vault.open()
  t.strictSame(vault.dump(), before, 'and is kept')
  t.equal(vault.tree.node(ino)?.attr.atimeSec, 5)
})

t.test('an unnamed file is nobody else\'s until it is linked', async (t) => {
  const { tree, log, root } = await setUp(t)
  const { ino } = tree.makeUnnamed(FILE)
  write(tree, ino, 'draft')
  tree.setXattr(ino, 'user.x', new Uint8Array([1]))
  t.equal(log.waiting, 0)
  t.equal(tree.node(ino)?.attr.nlink, 0)
  t.equal(tree.link(ino, root, A).ino, ino)
  t.equal(log.waiting, 1, 'name, content and attributes in one operation')
  t.equal(read(tree, ino), 'draft')
  t.strictSame(tree.getXattr(ino, 'user.x'), new Uint8Array([1]))
})

t.test('hard links share everything; the last name decides', async (t) => {
  const { tree, root } = await setUp(t)
  const directory = tree.make(root, C, DIRECTORY).ino
  const { ino } = tree.make(root, A, FILE)
  tree.link(ino, directory, B)
  write(tree, ino, 'shared')
  t.equal(tree.lookupNode(directory, B)?.attr.nlink, 2)
  const other = tree.make(root, B, FILE).ino
  write(tree, other, 'other')
  t.strictSame(tree.rename(root, B, root, A), { replaced: ino, orphan: false })
  t.equal(tree.node(ino)?.attr.nlink, 1)
  t.equal(read(tree, ino), 'shared')
  t.strictSame(tree.unlink(directory, B), { ino, orphan: true })
  t.equal(read(tree, ino), 'shared', 'open files keep reading')
})

t.test('directories trade places', async (t) => {
  const { vault, tree, log, root } = await setUp(t)
  const one = tree.make(root, A, DIRECTORY).ino
  const two = tree.make(one, B, DIRECTORY).ino
  const three = tree.make(root, C, DIRECTORY).ino
  tree.make(two, A, FILE)
  tree.exchange(one, B, root, C)
  const check = (where: LiveTree) => {
    t.equal(where.lookup(root, C)?.ino, two)
    t.equal(where.lookup(one, B)?.ino, three)
    t.equal(where.node(two)?.parent, root)
    t.equal(where.node(root)?.attr.nlink, 4)
    t.equal(where.node(two)?.entryCount, 1)
  }
  check(tree)
  log.commit(10)
  await vault.close()
  await vault.open()
  check(vault.tree)
})

t.test('cookies keep their place while names change', async (t) => {
  const { tree, root } = await setUp(t)
  for (const name of [A, B, C]) tree.make(root, name, FILE)
  const first = tree.list(root, 0, 1)[0]!
  tree.rename(root, A, root, 'renamed' as Name)
  t.equal(tree.lookup(root, 'renamed' as Name)?.cookie, first.cookie)
  tree.unlink(root, B)
  t.equal(tree.list(root, first.cookie, 9).map((entry) => entry.name).join(), 'c')
})
