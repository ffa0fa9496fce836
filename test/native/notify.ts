// What a session tells the kernel by itself, and what it lets the poker do: over a fake kernel.

import t, { type Test } from 'tap'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FakeKernel, OP, attrAt, body } from './support/fake-kernel.ts'
import { MemoryFs } from './support/memory-fs.ts'

const EPERM = 1
const POKER = 4242
const INVAL_INODE = 2
const INVAL_ENTRY = 3
const INC_EPOCH = 8
const RENAME = 12
const UNLINK = 10
const MKDIR = 9
const EVENT_NOTIFIED = 11
const FOPEN_KEEP_CACHE = 2
const STAT_HANDED = 2
const NAME = Buffer.from('name')
const NONE = new Uint8Array(0)

async function pair(test: Test): Promise<{ kernel: FakeKernel; fs: MemoryFs }> {
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ fd: ours })
  const kernel = new FakeKernel(theirs)
  test.teardown(async () => {
    fs.close()
    await kernel.ended
  })
  await kernel.ok(OP.init, 0, body.init())
  return { kernel, fs }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function create(kernel: FakeKernel, name: string): Promise<number> {
  return attrAt(await kernel.ok(OP.create, 1, body.create(name)), 40).ino
}

const inodes = ({ notifications }: FakeKernel): typeof notifications => (
  notifications.filter(({ code }) => code === INVAL_INODE)
)

const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const named = (...names: string[]): Buffer => Buffer.from(names.map((one) => `${one}\0`).join(''))

void t.test('a mark comes after all that was told before', async (test) => {
  const { kernel, fs } = await pair(test)
  fs.session.notify(2, 1, 0, 0, NAME)
  fs.session.notify(1, 1, -1, 0)
  fs.session.notify(5, 77, 0, 0)
  await until('a mark', () => fs.events.some((row) => row[0] === EVENT_NOTIFIED && row[1] === 77))
  await until('both', () => kernel.notifications.length === 2)
  test.same(kernel.notifications.map(({ code }) => code), [INVAL_ENTRY, INVAL_INODE])
})

void t.test('an open file keeps its pages; a closed one is thrown away', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  const offsets = async (): Promise<bigint> => {
    kernel.notifications.length = 0
    fs.session.notify(1, ino, 0, 0)
    await until('told', () => inodes(kernel).length === 1)
    return inodes(kernel)[0]!.payload.readBigInt64LE(8)
  }
  test.equal(await offsets(), -1n, 'attributes only')
  await kernel.ok(OP.release, ino, body.release())
  test.equal(await offsets(), 0n)
})

void t.test('whoever opens new content hears first that its size is another', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  await kernel.ok(OP.release, ino, body.release())
  fs.ignored.add(OP.open)
  const kept = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, FOPEN_KEEP_CACHE, 0, 0, 0, 0, 0, 0, 0])
  let once = 0
  for (let round = 1; round <= 100 && test.passing(); round++) {
    const handed = fs.session.stats()[STAT_HANDED]!
    const { unique, answer } = kernel.start(OP.open, ino, body.open(0))
    await until('handed', () => fs.session.stats()[STAT_HANDED]! > handed)
    kernel.notifications.length = 0
    // whatever the queue is at, the file's turn comes later
    for (let i = 0; i < 50; i++) fs.session.notify(2, 1, 0, 0, NAME)
    fs.session.notify(1, ino, 0, 0)
    fs.reply(unique, 0, kept)
    const { payload } = await answer
    const before = inodes(kernel).map((one) => one.payload.readBigInt64LE(8))
    fs.session.notify(5, round, 0, 0)
    await until('a mark', () => fs.events.some((row) => (
      row[0] === EVENT_NOTIFIED && row[1] === round
    )))
    const all = inodes(kernel).map((one) => one.payload.readBigInt64LE(8))
    await kernel.ok(OP.release, ino, body.release())
    test.ok(before.length > 0)
    if (!before.includes(0n)) test.equal(payload.readUInt32LE(8), 0, 'without its pages')
    if (all.length === 1 && all[0] === -1n) once++
  }
  // readers would take no smaller size while they are told again; unless its turn had begun
  test.ok(once > 0)
})

void t.test('an inode is not told of before it has arrived', async (test) => {
  const { kernel, fs } = await pair(test)
  const told = async (ino: number): Promise<[number, number][]> => {
    kernel.notifications.length = 0
    fs.session.notify(1, ino, -1, 0)
    await until('told', () => inodes(kernel).length === 1)
    return kernel.notifications.map(({ code, payload }) => (
      [code, Number(payload.readBigUInt64LE(0))]
    ))
  }
  const ino = await create(kernel, 'a')
  test.same(await told(ino), [[INVAL_ENTRY, 1], [INVAL_INODE, ino]], 'the directory is waited for')
  await kernel.ok(OP.release, ino, body.release())
  test.same(await told(ino), [[INVAL_INODE, ino]], 'the kernel has spoken of it')
  await kernel.ok(OP.lookup, 1, body.name('a'))
  test.same(await told(ino), [[INVAL_ENTRY, 1], [INVAL_INODE, ino]])
  await kernel.ok(OP.open, ino, body.open(0))
  test.same(await told(ino), [[INVAL_INODE, ino]])
})

void t.test('when too much waits, everything is forgotten instead', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  let isFull = false
  for (let i = 0; i < 200_000 && !isFull; i++) {
    isFull = !fs.session.notify(2, 1, 0, 0, Buffer.from(`n${i}`))
  }
  test.equal(isFull, true, 'it is bounded')
  fs.session.notify(5, 3, 0, 0)
  fs.session.notify(4, 1, 0, 0)
  fs.session.notify(5, 4, 0, 0)
  await until('a mark', () => fs.events.some((row) => row[0] === EVENT_NOTIFIED && row[1] === 4))
  await until('the inode', () => kernel.notifications.some(({ code }) => code === INVAL_INODE))
  const codes = kernel.notifications.map(({ code }) => code)
  test.equal(codes.filter((code) => code === INC_EPOCH).length, 1)
  test.ok(inodes(kernel).some(({ payload }) => payload.readBigUInt64LE(0) === BigInt(ino)))
  test.ok(codes.length < 70_000, 'what was queued is not written')
})

void t.test('changes are refused while they count for nothing', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  fs.session.refuseChanges(true)
  test.equal((await kernel.ask(OP.write, ino, body.write(0, NAME))).error, 30)
  test.equal((await kernel.ask(OP.setattr, ino, body.setattr(1, { mode: 0o600 }))).error, 30)
  test.equal((await kernel.ask(OP.fallocate, ino, body.fallocate(0, 10, 0))).error, 30)
  fs.session.refuseChanges(false)
  await kernel.ok(OP.write, ino, body.write(0, NAME))
})

void t.test('the poker may do what was announced, once, and nothing happens', async (test) => {
  const { kernel, fs } = await pair(test)
  const { session } = fs
  const ino = await create(kernel, 'there')
  await kernel.ok(OP.release, ino, body.release())
  const before = [...fs.nodes.keys()]
  const asPoker = async (opcode: number, node: number, bytes: Uint8Array) => {
    kernel.pid = POKER
    const asked = kernel.ask(opcode, node, bytes)
    kernel.pid = 0
    return asked
  }
  const refused = async (opcode: number, node: number, bytes: Uint8Array): Promise<void> => {
    const { error } = await asPoker(opcode, node, bytes)
    test.equal(error, EPERM, `opcode ${opcode}`)
  }
  session.setPoker(POKER)
  await refused(UNLINK, 1, named('there'))
  await refused(MKDIR, 1, Buffer.concat([Buffer.alloc(8), named('made')]))
  await refused(OP.create, 1, body.create('made'))
  await refused(OP.write, ino, body.write(0, NAME))
  await refused(OP.setattr, ino, body.setattr(32, { mtime: 7 }))
  await refused(RENAME, 1, Buffer.concat([u64(1), named('there', 'moved')]))

  session.expectPoke(2, ino, 0, 0o100000, 1, Buffer.from('there'), 1, NONE)
  const hidden = await asPoker(OP.lookup, 1, named('there'))
  test.equal(hidden.payload.readBigUInt64LE(0), 0n, 'it does not seem to be there')
  await refused(UNLINK, 1, named('there'))
  await refused(OP.create, 1, body.create('another'))
  const made = await asPoker(OP.create, 1, body.create('there'))
  test.equal(made.error, 0)
  test.equal(attrAt(made.payload, 40).ino, ino)
  test.equal(made.payload.readBigUInt64LE(16), 0n, 'not to be remembered')
  test.equal(fs.table.openCount(ino), 0, 'nobody has it open')
  await refused(OP.create, 1, body.create('there'))
  const handle = Buffer.concat([made.payload.subarray(128, 136), Buffer.alloc(16)])
  await kernel.ok(OP.release, ino, handle)
  test.same([...session.finishPoke()].slice(0, 1), [1])

  session.expectPoke(3, 0, 0, 0o100000, 1, Buffer.from('gone'), 1, NONE)
  await refused(UNLINK, 1, named('gone'))
  const ghost = await asPoker(OP.lookup, 1, named('gone'))
  const ghostIno = attrAt(ghost.payload, 40).ino
  test.ok(ghostIno > 2 ** 52, 'something that was never there')
  test.equal((await asPoker(UNLINK, 1, named('gone'))).error, 0)
  await refused(UNLINK, 1, named('gone'))
  session.finishPoke()
  await refused(UNLINK, 1, named('gone'))
  kernel.send(OP.forget, ghostIno, body.forget(1))

  session.expectPoke(1, ino, 0, 0, 1, Buffer.from('there'), 1, NONE)
  await refused(OP.setattr, ino, body.setattr(8, { size: 0 }))
  await refused(OP.setattr, ino, body.setattr(1, { mode: 0o777 }))
  const { mtime } = attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16)
  const touched = await asPoker(OP.setattr, ino, body.setattr(32, { mtime: 7 }))
  test.equal(touched.error, 0)
  test.equal(attrAt(touched.payload, 16).mtime, mtime, 'nothing was set')
  session.finishPoke()

  test.same([...fs.nodes.keys()], before)
  session.setPoker(0)
  kernel.pid = POKER
  test.not((await kernel.ask(OP.create, 1, body.create('own'))).error, EPERM, 'another process now')
})
