// Entries that are told to the native session ahead of their LOOKUP, over a socket pair: when they
// are used, and what takes them away. Run again under the sanitizers.

import t, { type Test } from 'tap'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FakeKernel, OP, attrAt, body } from './support/fake-kernel.ts'
import { MemoryFs } from './support/memory-fs.ts'

const POKER = 4242
const MKDIR = 9
const UNLINK = 10
const OPENDIR = 27
const READDIR = 28
const RELEASEDIR = 29
const S_IFREG = 0o100000
const S_IFDIR = 0o40000

interface Pair {
  kernel: FakeKernel
  fs: MemoryFs
  handed: () => number
}

async function pair(test: Test): Promise<Pair> {
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ fd: ours })
  const kernel = new FakeKernel(theirs)
  test.teardown(async () => {
    fs.close()
    await kernel.ended
  })
  await kernel.ok(OP.init, 0, body.init())
  await kernel.ok(OP.getattr, 1, body.getattr()) // as a real one: the root is known
  return { kernel, fs, handed: () => fs.session.stats()[2] ?? 0 }
}

interface Told {
  ino: number
  name: string
  size?: number
  mode?: number
  nlink?: number
}

/** One fuse_direntplus. */
function direntplus({ ino, name, size = 5, mode = S_IFREG | 0o600, nlink = 1 }: Told): Buffer {
  const out = Buffer.alloc((152 + name.length + 7) & ~7)
  out.writeBigUInt64LE(BigInt(ino), 0)
  out.writeBigUInt64LE(9n, 8) // generation
  out.writeBigUInt64LE(3600n, 16)
  out.writeBigUInt64LE(3600n, 24)
  out.writeBigUInt64LE(BigInt(ino), 40)
  out.writeBigUInt64LE(BigInt(size), 48)
  out.writeUInt32LE(mode, 100)
  out.writeUInt32LE(nlink, 104)
  out.writeUInt32LE(name.length, 144)
  out.write(name, 152, 'latin1')
  return out
}

/** On a multiple of 8, as tell() wants it. */
function told(...all: Told[]): Uint8Array {
  const bytes = Buffer.concat(all.map(direntplus))
  const out = new Uint8Array(new ArrayBuffer(bytes.length))
  out.set(bytes)
  return out
}

const nodeid = (payload: Buffer): number => Number(payload.readBigUInt64LE(0))

void t.test('an entry is used once, registered and counted', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  fs.session.tell(1, told({ ino: 77, name: 'a', size: 123 }, { ino: 78, name: 'b' }), false)
  const before = handed()
  const found = await kernel.ok(OP.lookup, 1, body.name('a'))
  test.equal(nodeid(found), 77)
  test.equal(found.readBigUInt64LE(8), 9n, 'its generation')
  test.equal(attrAt(found, 40).size, 123)
  test.equal(attrAt(await kernel.ok(OP.getattr, 77, body.getattr()), 16).size, 123, 'a record')
  test.equal(handed(), before, 'without JavaScript')
  test.equal(fs.session.stats()[8], 1)
  await kernel.ask(OP.lookup, 1, body.name('a'))
  test.equal(handed(), before + 1, 'the second time it is asked for')
  await kernel.ask(OP.lookup, 1, body.name('c'))
  test.equal(handed(), before + 2, 'other names may be there')
  kernel.send(OP.forget, 77, body.forget(1))
  test.equal(nodeid(await kernel.ok(OP.lookup, 1, body.name('b'))), 78)
  test.notOk(fs.table.attrs(77, new Float64Array(12)), 'its lookup was counted')
})

void t.test('a directory that is told whole has no other names', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  fs.session.tell(1, told({ ino: 77, name: 'a' }, { ino: 0, name: 'only-a-name' }), true)
  const before = handed()
  test.equal(nodeid(await kernel.ok(OP.lookup, 1, body.name('c'))), 0)
  test.equal(handed(), before)
  await kernel.ask(OP.lookup, 1, body.name('only-a-name'))
  test.equal(handed(), before + 1)
})

void t.test('what is not held, and what takes it away', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  const asks = async (name: string): Promise<boolean> => {
    const before = handed()
    await kernel.ask(OP.lookup, 1, body.name(name))
    return handed() > before
  }
  const tell = (...all: Told[]): void => fs.session.tell(1, told(...all), false)
  tell({ ino: 77, name: 'two', nlink: 2 }, { ino: 78, name: 'dir', mode: S_IFDIR, nlink: 2 })
  test.equal(await asks('two'), true, 'a file with two names')
  test.equal(await asks('dir'), false)
  tell({ ino: 78, name: 'dir', mode: S_IFDIR })
  test.equal(await asks('dir'), true, 'the kernel knows the inode')
  tell({ ino: 79, name: 'x' })
  tell({ ino: 79, name: 'y' })
  test.equal(await asks('x'), true, 'the inode was told under another name since')
  for (const [what, act] of [
    ['notify of the name', () => fs.session.notify(2, 1, 0, 0, Buffer.from('z'))],
    ['notify of the directory', () => fs.session.notify(1, 1, 0, 0)],
    ['notify of the inode', () => fs.session.notify(1, 80, -1, 0)],
    ['a deletion', () => fs.session.notify(3, 1, 80, 0, Buffer.from('z'))],
    ['notify of everything', () => fs.session.notify(4, 1, 0, 0)],
    ['untell', () => fs.session.untell()],
    ['a new name', () => kernel.ask(OP.create, 1, body.create('made'))],
    ['a removal', () => kernel.ask(UNLINK, 1, body.name('made'))],
    ['a forgotten directory', () => kernel.send(OP.forget, 1, body.forget(1))],
  ] as const) {
    tell({ ino: 80, name: 'x' })
    await act()
    test.equal(await asks('x'), true, what)
  }
})

void t.test('everything: names that are missing, and ends of listings, too', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  for (const [what, act, isAsked] of [
    ['nothing', () => {}, 0],
    ['untell', () => fs.session.untell(), 2],
    ['notify of everything', () => fs.session.notify(4, 1, 0, 0), 3],
  ] as const) {
    fs.session.tell(1, told({ ino: 77, name: 'a' }), true)
    fs.session.tellEnd(1, 5)
    act()
    const before = handed()
    for (const name of ['a', 'missing']) await kernel.ask(OP.lookup, 1, body.name(name))
    await kernel.ask(READDIR, 1, body.read(5, 4096))
    test.equal(handed() - before, isAsked, what)
    kernel.send(OP.forget, 77, body.forget(1))
  }
})

void t.test('nothing is kept of a directory that the kernel has forgotten', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  fs.session.tell(55, told({ ino: 77, name: 'a' }), true)
  fs.session.tellEnd(55, 5)
  const before = handed()
  for (const name of ['a', 'missing']) await kernel.ask(OP.lookup, 55, body.name(name))
  await kernel.ask(READDIR, 55, body.read(5, 4096))
  test.equal(handed() - before, 3)
})

void t.test('the poker is not answered by what was told', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  fs.session.setPoker(POKER)
  fs.session.tell(1, told({ ino: 77, name: 'a' }), true)
  const before = handed()
  for (const name of ['a', 'missing']) {
    kernel.pid = POKER
    const asked = kernel.ask(OP.lookup, 1, body.name(name))
    kernel.pid = 0
    await asked
  }
  test.equal(handed() - before, 2)
  test.equal(nodeid(await kernel.ok(OP.lookup, 1, body.name('a'))), 77, 'others are')
  test.equal(handed() - before, 2)
})

void t.test('nothing is told of a directory that is being changed', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  fs.ignored.add(OP.create)
  const first = handed()
  const slow = kernel.start(OP.create, 1, body.create('slow'))
  while (handed() === first) await new Promise((resolve) => setTimeout(resolve, 1))
  fs.session.tell(1, told({ ino: 77, name: 'a' }), true)
  fs.session.tellEnd(1, 5)
  let before = handed()
  for (const name of ['a', 'slow']) await kernel.ask(OP.lookup, 1, body.name(name))
  await kernel.ask(READDIR, 1, body.read(5, 4096))
  test.equal(handed(), before + 3)
  fs.reply(slow.unique, 17)
  await slow.answer
  fs.session.tell(1, told({ ino: 77, name: 'a' }), true)
  before = handed()
  await kernel.ok(OP.lookup, 1, body.name('a'))
  test.equal(handed(), before, 'once it has its answer')
})

void t.test('opening directories, and the ends of their listings', async (test) => {
  const { kernel, fs, handed } = await pair(test)
  const before = handed()
  test.equal((await kernel.ok(OPENDIR, 1, body.open(0))).length, 16)
  fs.session.tellEnd(1, 7)
  test.equal((await kernel.ok(READDIR, 1, body.read(7, 4096))).length, 0)
  test.equal((await kernel.ok(OP.readdirplus, 1, body.read(7, 4096))).length, 0)
  await kernel.ok(RELEASEDIR, 1, body.release())
  test.equal(handed(), before)
  await kernel.ask(READDIR, 1, body.read(6, 4096))
  test.equal(handed(), before + 1)
  await kernel.ok(MKDIR, 1, Buffer.concat([Buffer.alloc(8), Buffer.from('d\0')]))
  await kernel.ask(READDIR, 1, body.read(7, 4096))
  test.equal(handed(), before + 3, 'names have changed')
})

void t.test('malformed entries are refused', async (test) => {
  const { fs } = await pair(test)
  const good = told({ ino: 77, name: 'a' })
  const { session } = fs
  for (const bytes of [good.subarray(0, 100), good.subarray(8), new Uint8Array(160)]) {
    test.throws(() => session.tell(1, bytes, true), { code: 'invalid' })
  }
  test.throws(() => session.tell(0, good, true), { code: 'invalid' })
  test.throws(() => session.tell(1, good, 1 as unknown as boolean), { code: 'invalid' })
  test.throws(() => session.tellEnd(1, 0), { code: 'invalid' })
  session.tell(1, new Uint8Array(0), true)
})
