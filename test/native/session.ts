// The native session driven by a fake kernel over a socket pair: no mount, no privilege. What a
// real kernel would never send is sent here too. Run again under AddressSanitizer and
// ThreadSanitizer by sanitizers.ts. SEED=n replays the random part.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FakeKernel, OP, attrAt, body } from './support/fake-kernel.ts'
import { MemoryFs, type MemoryFsOptions } from './support/memory-fs.ts'
import { testSeed } from '../support/seed.ts'
import { numbersBelow } from '../support/random.ts'

const SEED = testSeed()
const EINTR = 4
const EIO = 5
const EINVAL = 22
const ENOTTY = 25
const EPROTO = 71
const EOPNOTSUPP = 95
const EFBIG = 27
const EROFS = 30
const ENOSYS = 38
const ENODATA = 61
const ENOTCONN = 107
const FATTR = { mode: 1, uid: 2, size: 8, mtime: 32, killSuidgid: 1 << 11 }

interface Pair {
  kernel: FakeKernel
  fs: MemoryFs
}

async function pair(test: Test, options: Omit<MemoryFsOptions, 'fd'> = {}): Promise<Pair> {
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ ...options, fd: ours })
  const kernel = new FakeKernel(theirs)
  test.teardown(async () => {
    fs.close()
    await kernel.ended
  })
  await kernel.ok(OP.init, 0, body.init())
  return { kernel, fs }
}

async function create(kernel: FakeKernel, name: string, mode = 0o644): Promise<number> {
  return attrAt(await kernel.ok(OP.create, 1, body.create(name, mode)), 40).ino
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > end) throw new Error('it never became true')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

const sizeOf = async (kernel: FakeKernel, ino: number): Promise<number> =>
  attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16).size

void t.test('INIT: what is offered and wanted, old kernels, too new ones', async (test) => {
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ fd: ours })
  const kernel = new FakeKernel(theirs)
  test.teardown(() => fs.close())
  test.equal((await kernel.ask(OP.getattr, 1, body.getattr())).error, EIO, 'nothing before INIT')
  test.equal((await kernel.ask(OP.init, 0, body.init(0xffff_ffff, 12))).error, EPROTO, 'too old')
  test.equal((await kernel.ask(OP.init, 0, Buffer.alloc(8))).error, EINVAL, 'cut off')
  const out = await kernel.ok(OP.init, 0, body.init())
  test.equal(out.length, 64)
  test.equal(out.readUInt32LE(0), 7)
  test.equal(out.readUInt32LE(20), 1 << 20, 'max_write')
  test.equal(out.readUInt32LE(24), 1, 'time_gran')
  test.equal(out.readUInt16LE(28), 256, 'max_pages')
  const flags = out.readUInt32LE(12)
  test.equal(flags & (1 << 16), 0, 'no writeback cache')
  test.equal(flags & (1 << 20), 0, 'no POSIX ACL')
  test.equal(flags & ((1 << 10) | (1 << 1)), 0, 'locks stay in the kernel')
  test.not(flags & (1 << 3), 0, 'O_TRUNC comes with OPEN')
  test.not(flags & (1 << 28), 0, 'KILLPRIV_V2')
  const few = await kernel.ok(OP.init, 0, body.init(1 << 5, 31).subarray(0, 16))
  test.equal(few.readUInt32LE(12), 1 << 5, 'only what was offered')
  test.equal(few.readUInt32LE(4), 31, 'the older minor')
})

void t.test('the life of a file, from CREATE to FORGET', async (test) => {
  const { kernel, fs } = await pair(test, { sealAfterMs: 60_000 })
  const ino = await create(kernel, 'a')
  const bytes = Buffer.from('hello, world')
  const written = await kernel.ok(OP.write, ino, body.write(0, bytes))
  test.equal(written.readUInt32LE(0), bytes.length)
  test.same(await kernel.ok(OP.read, ino, body.read(0, 4096)), bytes)
  test.same(await kernel.ok(OP.read, ino, body.read(7, 3)), Buffer.from('wor'))
  test.equal((await kernel.ok(OP.read, ino, body.read(100, 10))).length, 0, 'beyond the end')
  test.equal(await sizeOf(kernel, ino), bytes.length)
  const looked = await kernel.ok(OP.lookup, 1, body.name('a'))
  test.equal(attrAt(looked, 40).size, bytes.length, 'LOOKUP tells the size that is only native')
  test.equal(fs.table.openCount(ino), 1)
  await kernel.ok(OP.flush, ino, body.flush())
  await until(() => fs.events.some((row) => row[0] === 4 && row[1] === ino))
  await until(() => !fs.table.isDirty(ino))
  test.same(fs.nodes.get(ino)!.base, bytes, 'sealed')
  await kernel.ok(OP.release, ino, body.release())
  test.equal(fs.table.openCount(ino), 0)
  await until(() => fs.events.some((row) => row[0] === 5))
  fs.table.watchForget(ino)
  kernel.send(OP.forget, ino, body.forget(1))
  await kernel.ok(OP.statfs, 1)
  test.ok(fs.table.attrs(ino, new Float64Array(12)), 'one of two lookups is left')
  kernel.send(OP.batchForget, 0, body.batchForget([99, 1], [ino, 1]))
  await until(() => fs.events.some((row) => row[0] === 7 && row[1] === ino))
  test.notOk(fs.table.attrs(ino, new Float64Array(12)), 'the record is gone')
  test.equal(fs.session.stats()[7], 0, 'nothing was malformed')
})

void t.test('answers that the kernel remembers', async (test) => {
  const { kernel } = await pair(test)
  test.equal((await kernel.ask(OP.access, 1, Buffer.alloc(8))).error, ENOSYS)
  test.equal((await kernel.ask(OP.poll, 1, Buffer.alloc(24))).error, ENOSYS)
  test.equal((await kernel.ask(OP.ioctl, 1, Buffer.alloc(32))).error, ENOTTY)
  const statfs = await kernel.ok(OP.statfs, 1)
  test.ok(statfs.readBigUInt64LE(0) > 0n, 'statfs is never zero blocks')
  const getxattr = (name: string): Buffer => Buffer.concat([Buffer.alloc(8), body.name(name)])
  for (const name of ['security.capability', 'system.posix_acl_access']) {
    test.equal((await kernel.ask(OP.getxattr, 1, getxattr(name))).error, EOPNOTSUPP, name)
  }
  const any = await kernel.ask(OP.getxattr, 1, getxattr('user.any'))
  test.equal(any.error, ENODATA, 'JavaScript answers')
  test.equal((await kernel.ask(OP.getxattr, 1, Buffer.alloc(4))).error, EINVAL, 'cut off')
  test.equal((await kernel.ask(999, 1)).error, ENOSYS, 'JavaScript refuses what is unknown')
  await kernel.ok(OP.destroy, 0)
})

void t.test('what a new directory does not have needs no JavaScript', async (test) => {
  const { kernel, fs } = await pair(test)
  const u32 = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer)
  const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
  const names = (...all: string[]): Buffer => Buffer.from(all.map((name) => `${name}\0`).join(''))
  const mkdir = async (name: string): Promise<number> => {
    const body9 = Buffer.concat([u32(0o755, 0), names(name)])
    return attrAt(await kernel.ok(9, 1, body9), 40).ino
  }
  const handed = (): number => fs.session.stats()[2]!
  const asks = async (directory: number, name: string): Promise<boolean> => {
    const before = handed()
    const { error, payload } = await kernel.ask(OP.lookup, directory, body.name(name))
    if (handed() === before) {
      test.equal(error, 0)
      test.equal(payload.readBigUInt64LE(0), 0n, 'a negative entry')
      test.equal(payload.readBigUInt64LE(16), 3600n, 'that may be remembered')
    }
    return handed() > before
  }
  const dir = await mkdir('d')
  const other = await mkdir('e')
  test.equal(await asks(1, 'x'), true, 'nothing is known of the root')
  test.equal(await asks(dir, 'x'), false)
  await kernel.ok(OP.create, dir, body.create('x'))
  test.equal(await asks(dir, 'x'), true)
  test.equal(await asks(other, 'x'), false)
  await kernel.ok(9, dir, Buffer.concat([u32(0o755, 0), names('made')]))
  await kernel.ok(8, dir, Buffer.concat([u32(0o100644, 0, 0, 0), names('node')]))
  await kernel.ok(6, dir, names('symlink', 'x'))
  const file = attrAt(await kernel.ok(OP.lookup, dir, body.name('x')), 40).ino
  await kernel.ok(13, dir, Buffer.concat([u64(file), names('link')]))
  for (const name of ['made', 'node', 'symlink', 'link']) test.equal(await asks(dir, name), true)
  await kernel.ok(12, dir, Buffer.concat([u64(other), names('x', 'moved')]))
  await kernel.ok(45, dir, Buffer.concat([u64(other), u32(0, 0), names('node', 'moved2')]))
  test.equal(await asks(other, 'moved'), true)
  test.equal(await asks(other, 'moved2'), true)
  test.equal(await asks(other, 'node'), false)
  test.equal(await asks(dir, 'x'), true, 'a name that was there once')
  for (const odd of ['.', '..', 'n'.repeat(256)]) test.equal(await asks(dir, odd), true)
  const creating = kernel.ask(OP.create, other, body.create('unanswered'))
  const early = kernel.ask(OP.lookup, other, body.name('unanswered'))
  test.equal((await early).error, 0, 'a request on its way counts')
  await creating
  fs.session.notify(2, dir, 0, 0, Buffer.from('elsewhere'))
  test.equal(await asks(dir, 'nothing'), true, 'changed past the kernel')
  kernel.send(OP.forget, other, body.forget(1))
  await until(() => fs.session.stats()[0]! > 0)
  test.equal(await asks(other, 'nothing'), true, 'forgotten')
})

void t.test('attributes: times, modes, owners, sizes', async (test) => {
  const { kernel, fs } = await pair(test, { sealAfterMs: 60_000 })
  const ino = await create(kernel, 'a', 0o6755)
  await kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(10)))
  const before = attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16)
  test.ok(Math.abs(before.mtime - Date.now() / 1000) < 5, 'a write moves mtime')
  test.equal(before.mode & 0o7777, 0o6755, 'a write without the flag keeps setuid')
  const times = { mtime: 1000, mtimeNsec: 7 }
  const set = await kernel.ok(OP.setattr, ino, body.setattr(FATTR.mtime, times))
  test.same([attrAt(set, 16).mtime, attrAt(set, 16).mtimeNsec], [1000, 7])
  await kernel.ok(OP.flush, ino, body.flush())
  await until(() => !fs.table.isDirty(ino))
  const kept = attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16)
  test.equal(kept.mtime, 1000, 'an explicit mtime survives sealing')
  const rows = new Float64Array(14 * 4)
  test.equal(fs.table.takeDirtyAttrs(rows), 1)
  test.same([rows[0], rows[1], rows[2 + 8]], [ino, 32, 1000])
  test.equal(fs.table.takeDirtyAttrs(rows), 0, 'told once')
  await kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(1), 4))
  const after = attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16)
  test.not(after.mtime, 1000, 'until the next write')
  test.equal(after.mode & 0o7777, 0o755, 'WRITE_KILL_SUIDGID')
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.mode, { mode: 0o104711 }))
  const owned = await kernel.ok(OP.setattr, ino, body.setattr(FATTR.uid, { uid: 7 }))
  const { uid, mode } = attrAt(owned, 16)
  test.same([uid, mode & 0o7777], [7, 0o711], 'chown kills setuid')
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.mode, { mode: 0o102644 }))
  const cutting = body.setattr(FATTR.size | FATTR.killSuidgid, { size: 4 })
  const cut = attrAt(await kernel.ok(OP.setattr, ino, cutting), 16)
  test.same([cut.size, cut.mode & 0o7777], [4, 0o2644], 'setgid without x stays')
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: 1 << 30 }))
  const grown = attrAt(await kernel.ok(OP.getattr, ino, body.getattr()), 16)
  test.same([grown.size, grown.blocks], [1 << 30, 1], 'a hole takes no blocks')
  test.same(await kernel.ok(OP.read, ino, body.read(2, 5)), Buffer.alloc(5))
  const huge = body.setattr(FATTR.size, { size: 2n ** 60n })
  test.equal((await kernel.ask(OP.setattr, ino, huge)).error, EFBIG)
})

void t.test('fallocate: allocate, punch, zero', async (test) => {
  const { kernel } = await pair(test)
  const ino = await create(kernel, 'a')
  await kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(100, 1)))
  await kernel.ok(OP.fallocate, ino, body.fallocate(0, 200, 0))
  test.equal(await sizeOf(kernel, ino), 200)
  await kernel.ok(OP.fallocate, ino, body.fallocate(0, 1000, 1))
  test.equal(await sizeOf(kernel, ino), 200, 'KEEP_SIZE')
  await kernel.ok(OP.fallocate, ino, body.fallocate(10, 5, 3))
  const bytes = await kernel.ok(OP.read, ino, body.read(8, 9))
  test.same([...bytes], [1, 1, 0, 0, 0, 0, 0, 1, 1])
  await kernel.ok(OP.fallocate, ino, body.fallocate(300, 10, 16))
  test.equal(await sizeOf(kernel, ino), 310, 'ZERO_RANGE grows')
  const collapse = await kernel.ask(OP.fallocate, ino, body.fallocate(0, 10, 8))
  test.equal(collapse.error, EOPNOTSUPP, 'COLLAPSE_RANGE')
  test.equal((await kernel.ask(OP.fallocate, ino, body.fallocate(0, 0, 0))).error, EINVAL)
  test.equal((await kernel.ask(OP.fallocate, ino, body.fallocate(2n ** 62n, 10n, 0))).error, EFBIG)
})

void t.test('parked reads: one need per range, fills, failures, interrupts', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true })
  const ino = await create(kernel, 'a')
  const base = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i * 7))
  fs.nodes.get(ino)!.base = base
  const attr = fs.packed(ino)
  attr[5] = base.length
  fs.table.setAttrs(ino, 8, attr)
  const needs = (): number[][] =>
    fs.events.filter((row) => row[0] === 1).map((row) => row.slice(1, 4))

  const first = kernel.start(OP.read, ino, body.read(100_000, 10))
  const second = kernel.start(OP.read, ino, body.read(100_005, 10))
  await until(() => needs().length === 2)
  test.same(needs(), [[ino, 100_000, 10], [ino, 100_010, 5]], 'asked once for each range')
  fs.fillFromBase(ino, 100_000, 10)
  test.same((await first.answer).payload, base.subarray(100_000, 100_010))
  fs.fillFromBase(ino, 100_010, 5)
  test.same((await second.answer).payload, base.subarray(100_005, 100_015))

  const third = kernel.start(OP.read, ino, body.read(200_000, 10))
  await until(() => needs().length === 3)
  fs.table.fail(ino, 200_000, 10, EIO)
  test.equal((await third.answer).error, EIO)

  const fourth = kernel.start(OP.read, ino, body.read(200_000, 10))
  await until(() => needs().length === 4)
  kernel.send(OP.interrupt, 0, body.interrupt(fourth.unique))
  test.equal((await fourth.answer).error, EINTR)
  kernel.send(OP.interrupt, 0, body.interrupt(fourth.unique))
  kernel.send(OP.interrupt, 0, body.interrupt(123456n))

  const fifth = kernel.start(OP.read, ino, body.read(200_002, 4))
  await until(() => fs.table.totals()[3] === 1)
  test.equal(fs.table.fill(ino, fs.table.baseEpoch(ino) + 1, 200_000, Buffer.alloc(10)), 1, 'stale')
  test.equal(fs.table.totals()[3], 1, 'still parked')
  await kernel.ok(OP.write, ino, body.write(200_000, Buffer.alloc(10, 9)))
  test.same((await fifth.answer).payload, Buffer.alloc(4, 9), 'a write answers it, too')

  const sixth = kernel.start(OP.read, ino, body.read(250_000, 10))
  await until(() => fs.table.totals()[3] === 1)
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: 250_004 }))
  test.equal(fs.table.totals()[3], 1, 'the part below the new end is still absent')
  fs.fillFromBase(ino, 250_000, 10)
  test.same((await sixth.answer).payload, base.subarray(250_000, 250_004))

  const seventh = kernel.start(OP.read, ino, body.read(240_000, 10))
  await until(() => fs.table.totals()[3] === 1)
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: 100 }))
  test.equal((await seventh.answer).payload.length, 0, 'cut away under the reader')
})

void t.test('sequential readers get windows, random ones do not', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true })
  const ino = await create(kernel, 'a')
  const size = 24 << 20
  fs.nodes.get(ino)!.base = Buffer.alloc(size, 5)
  const attr = fs.packed(ino)
  attr[5] = size
  fs.table.setAttrs(ino, 8, attr)
  fs.onEvent = (row) => {
    if (row[0] === 1) fs.fillFromBase(row[1]!, row[2]!, row[3]!)
  }
  for (let at = 0; at < size; at += 128 << 10) {
    const bytes = await kernel.ok(OP.read, ino, body.read(at, 128 << 10))
    if (bytes.length !== 128 << 10 || bytes[77] !== 5) throw new Error('wrong bytes')
  }
  const needs = fs.events.filter((row) => row[0] === 1)
  test.ok(needs.length < 16, `${needs.length} fetches for 24 MiB`)
  test.ok(needs.every((row) => row[4] === 1))
  test.ok(fs.table.totals()[1]! < 9 << 20, 'what lies behind the reader was dropped')

  fs.events.length = 0
  for (let i = 0; i < 50; i++) {
    const at = ((i * 7919 * 4096) % (size - (8 << 20))) & ~4095
    await kernel.ok(OP.read, ino, body.read(at + 4096, 4096))
  }
  const random = fs.events.filter((row) => row[0] === 1)
  const total = random.reduce((sum, row) => sum + row[3]!, 0)
  test.ok(total < 50 * 4096 + (4 << 20), `random reads fetched ${total} bytes`)
})

void t.test('a job holds what it took, whatever happens meanwhile', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true })
  const ino = await create(kernel, 'a')
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i))
  await kernel.ok(OP.write, ino, body.write(0, bytes))
  const job = fs.table.freeze(ino)!
  test.throws(() => fs.table.freeze(ino), 'one job at a time')
  await kernel.ok(OP.write, ino, body.write(10, Buffer.alloc(50_000, 3)))
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: 60_000 }))
  const into = Buffer.alloc(100_000)
  fs.table.readFrozen(job[0]!, 0, into)
  test.same(into, bytes)
  test.throws(() => fs.table.readFrozen(job[0]!, 99_999, Buffer.alloc(2)))
  fs.table.settle(job[0]!, false, 0)
  const expected = Buffer.from(bytes.subarray(0, 60_000))
  expected.fill(3, 10, 50_010)
  test.same(await kernel.ok(OP.read, ino, body.read(0, 100_000)), expected)
  test.throws(() => fs.table.settle(job[0]!, true, 0), 'only once')
})

void t.test('back-pressure: writers wait in order, nobody else does', async (test) => {
  const limit = 4 << 20
  const { kernel, fs } = await pair(test, { manual: true, dirtyBytesMax: limit })
  const ino = await create(kernel, 'a')
  const other = await create(kernel, 'b')
  const block = (i: number): Buffer => Buffer.alloc(64 << 10, i + 1)
  const writes = Array.from({ length: 80 }, (_, i) =>
    kernel.start(OP.write, ino, body.write(i * (64 << 10), block(i))),
  )
  const parked = 80 - 64
  await until(() => fs.table.totals()[4] === parked)
  test.equal(await sizeOf(kernel, other), 0, 'other requests are answered')
  await until(() => fs.events.filter((row) => row[0] === 6).length >= 2)
  const last = kernel.start(OP.write, other, body.write(0, block(0)))
  await until(() => fs.table.totals()[4] === parked + 1)
  kernel.send(OP.interrupt, 0, body.interrupt(last.unique))
  test.equal((await last.answer).error, EINTR)
  fs.seal(ino)
  const answers = await Promise.all(writes.map((write) => write.answer))
  test.ok(answers.every((answer) => answer.error === 0))
  const bytes = await kernel.ok(OP.read, ino, body.read(64 * (64 << 10), 1 << 20))
  test.equal(bytes.length, 1 << 20)
  test.ok(bytes.every((byte, at) => byte === 65 + Math.floor(at / (64 << 10))))
  test.equal(fs.table.write(ino, 0, Buffer.alloc(10)), true)

  const more = Array.from({ length: 80 }, (_, i) =>
    kernel.start(OP.write, other, body.write(i * (64 << 10), block(i))),
  )
  await until(() => fs.table.totals()[4]! > 0)
  fs.table.refuseWrites(28)
  const refused = await Promise.all(more.map((write) => write.answer))
  test.ok(refused.some((answer) => answer.error === 28), 'who waits is told ENOSPC')
  fs.table.refuseWrites(0)
})

void t.test('an interrupted write waits on unless its process is to die', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true, dirtyBytesMax: 1 << 20 })
  const ino = await create(kernel, 'a')
  await kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(1 << 20)))
  const callers = [0, 1].map(() => spawn('sleep', ['60'], { stdio: 'ignore' }))
  test.teardown(() => callers.forEach((caller) => caller.kill('SIGKILL')))
  const [doomed, stopped] = callers.map((caller) => caller.pid!) as [number, number]
  const write = (pid: number): ReturnType<FakeKernel['start']> => {
    kernel.pid = pid
    const started = kernel.start(OP.write, ino, body.write(0, Buffer.from('x')))
    kernel.send(OP.interrupt, 0, body.interrupt(started.unique))
    return started
  }
  const patient = write(process.pid)
  const later = write(doomed)
  test.equal((await write(0).answer).error, EINTR, 'nothing is known about the caller')
  process.kill(stopped, 'SIGSTOP')
  const pending = async (): Promise<bigint> => {
    const status = await readFile(`/proc/${stopped}/status`, 'utf8')
    return BigInt(`0x${/ShdPnd:\s*(\w+)/.exec(status)![1]!}`)
  }
  while (!/State:\s*T/.test(await readFile(`/proc/${stopped}/status`, 'utf8'))) continue
  process.kill(stopped, 'SIGCHLD')
  const third = write(stopped)
  await new Promise((resolve) => setTimeout(resolve, 400))
  test.equal(kernel.waiting, 3, 'three wait on')
  process.kill(stopped, 'SIGTERM')
  test.not(await pending(), 0n)
  test.equal((await third.answer).error, EINTR, 'a fatal signal is pending')
  process.kill(doomed, 'SIGKILL')
  test.equal((await later.answer).error, EINTR, 'killed after the interrupt')
  test.equal(fs.table.totals()[4], 1)
  fs.seal(ino)
  test.equal((await patient.answer).error, 0)
})

void t.test('slowly written files hold little more than their bytes', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true })
  const slabs = fs.table.totals()[5]! // of the whole process
  for (let file = 0; file < 6; file++) {
    const ino = await create(kernel, `${file}`)
    const piece = 64 << 10
    for (let at = 0; at < 1 << 20; at += piece) {
      await kernel.ok(OP.write, ino, body.write(at, Buffer.alloc(piece)))
    }
  }
  test.ok(fs.table.totals()[5]! <= slabs, 'no slab for the first MiB')
})

void t.test('streams land where they belong', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  const other = await create(kernel, 'b')
  const size = 20 << 20
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i += 4) bytes.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i)
  for (let at = 0; at < size; at += 128 << 10) {
    await kernel.ok(OP.write, ino, body.write(at, bytes.subarray(at, at + (128 << 10))))
    if (at % (1 << 20) === 0) {
      await kernel.ok(OP.write, other, body.write(at / 1024, Buffer.from('small')))
      await kernel.ok(OP.lookup, 1, body.name('b'))
    }
  }
  for (let at = 0; at < size; at += 1 << 20) {
    const found = await kernel.ok(OP.read, ino, body.read(at, 1 << 20))
    if (!found.equals(bytes.subarray(at, at + (1 << 20)))) throw new Error(`wrong at ${at}`)
  }
  test.same(await kernel.ok(OP.read, other, body.read(1024, 5)), Buffer.from('small'))
  const [, , , , , landed = 0] = fs.session.stats()
  test.ok(landed > 0, `${landed} of 160 landed: how many depends on the machine's load`)
})

void t.test('requests for JavaScript: interrupts, double replies, a full ring', async (test) => {
  const { kernel, fs } = await pair(test)
  fs.ignored.add(OP.lookup)
  const held = kernel.start(OP.lookup, 1, body.name('x'))
  kernel.send(OP.interrupt, 0, body.interrupt(held.unique))
  await until(() => fs.events.some((row) => row[0] === 10 && row[2] === Number(held.unique)))
  fs.reply(held.unique, EINTR)
  fs.reply(held.unique, EINTR)
  test.equal((await held.answer).error, EINTR)
  fs.ignored.clear()
  const names = Array.from({ length: 400 }, (_, i) => `${i}`.padStart(255, 'n'))
  const asked = names.map((name) => kernel.ask(OP.lookup, 1, body.name(name)))
  const answers = await Promise.all(asked)
  test.ok(answers.every((answer) => answer.error === 2))
  test.equal(kernel.unexpected.length, 0)
  const malformed = fs.session.stats()[7]
  test.equal(malformed, 1, 'the second reply was ignored')
  fs.ignored.add(OP.lookup)
  const short = kernel.start(OP.lookup, 1, body.name('x'))
  await until(() => fs.session.stats()[2]! >= 402)
  fs.reply(short.unique, 0, Buffer.alloc(5))
  test.equal((await short.answer).error, EIO, 'a reply that is too short never reaches the kernel')
  test.throws(() => fs.session.reply(Buffer.alloc(10), 1), { code: 'invalid' })
  test.throws(() => fs.session.reply(Buffer.alloc(32, 0xff), 1), { code: 'invalid' })
})

void t.test('notifications, and replies that are older than one', async (test) => {
  const { kernel, fs } = await pair(test)
  await create(kernel, 'a')
  fs.ignored.add(OP.lookup)
  const slow = kernel.start(OP.lookup, 1, body.name('a'))
  await until(() => fs.session.stats()[2] === 2)
  test.ok(fs.session.notify(2, 1, 0, 0, Buffer.from('a')))
  test.ok(fs.session.notify(1, 2, -1, 0))
  test.ok(fs.session.notify(3, 1, 2, 0, Buffer.from('a')))
  await until(() => kernel.notifications.length === 4)
  test.same(kernel.notifications.map((n) => n.code), [3, 3, 2, 6], 'it may be on its way')
  test.same(kernel.notifications[0]!.payload.subarray(16), Buffer.from('a\0'))
  test.equal(kernel.notifications[2]!.payload.readBigInt64LE(8), -1n)
  fs.reply(slow.unique, 0, fs.entry(2))
  const entry = (await slow.answer).payload
  test.equal(entry.readBigUInt64LE(16), 0n, 'the entry is not kept')
  test.equal(entry.readBigUInt64LE(24), 0n, 'nor its attributes')
  fs.ignored.clear()
  const fresh = await kernel.ok(OP.lookup, 1, body.name('a'))
  test.equal(fresh.readBigUInt64LE(16), 3600n)
  test.throws(() => fs.session.notify(2, 1, 0, 0), { code: 'invalid' })
  test.throws(() => fs.session.notify(2, 1, 0, 0, Buffer.from('a\0b')), { code: 'invalid' })
})

void t.test('errors of sealing reach the next FLUSH, once; read-only refuses', async (test) => {
  const { kernel, fs } = await pair(test)
  const ino = await create(kernel, 'a')
  fs.table.reportError(ino, EIO)
  test.equal((await kernel.ask(OP.flush, ino, body.flush())).error, EIO)
  test.equal((await kernel.ask(OP.flush, ino, body.flush())).error, 0)
  const other = await pair(test, { readOnly: true })
  test.equal((await other.kernel.ask(OP.write, 1, body.write(0, Buffer.alloc(1)))).error, EROFS)
  test.equal((await other.kernel.ask(OP.setattr, 1, body.setattr(1))).error, EROFS)
})

void t.test('close: whoever waits is told', async (test) => {
  const { kernel, fs } = await pair(test, { manual: true })
  const ino = await create(kernel, 'a')
  const attr = fs.packed(ino)
  attr[5] = 1000
  fs.table.setAttrs(ino, 8, attr)
  fs.ignored.add(OP.lookup)
  const reader = kernel.start(OP.read, ino, body.read(0, 10))
  const looker = kernel.start(OP.lookup, 1, body.name('a'))
  await until(() => fs.table.totals()[3] === 1 && fs.session.stats()[2] === 2)
  fs.session.close()
  test.equal((await reader.answer).error, ENOTCONN)
  test.equal((await looker.answer).error, ENOTCONN)
  test.equal(fs.table.openCount(ino), 0, 'the kernel holds nothing any more')
  fs.session.close()
  await kernel.ended
})

void t.test(`writers, readers, truncations and seals at once, SEED=${SEED}`, async (test) => {
  // Requests are sent without waiting; the toy seals after a millisecond, fails some jobs, thaws
  // others, and what is clean is dropped at once. At the end the file must be what the model says.
  const { kernel, fs } = await pair(test, { sealAfterMs: 1, cleanBytesMax: 1 })
  const random = numbersBelow(SEED)
  fs.spoil = () => random(3)
  const ino = await create(kernel, 'a')
  let model = Buffer.alloc(0)
  let pending: Promise<unknown>[] = []
  for (let i = 0; i < 1500; i++) {
    const offset = random(3) === 0 ? model.length : random(model.length + 20_000)
    const size = random(8) === 0 ? 1 + random(128 << 10) : 1 + random(9000)
    const kind = random(20)
    if (kind < 11) {
      const bytes = Buffer.alloc(size, i + 1)
      pending.push(kernel.ok(OP.write, ino, body.write(offset, bytes)))
      const grown = Buffer.alloc(Math.max(model.length, offset + size))
      model.copy(grown)
      bytes.copy(grown, offset)
      model = grown
    } else if (kind < 17) {
      pending.push(kernel.ok(OP.read, ino, body.read(offset, size)))
    } else if (kind === 17 && model.length > 0) {
      model = Buffer.from(model.subarray(0, random(model.length)))
      pending.push(kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: model.length })))
    } else if (kind === 18) {
      model.fill(0, Math.min(offset, model.length), Math.min(offset + size, model.length))
      pending.push(kernel.ok(OP.fallocate, ino, body.fallocate(offset, size, 3)))
    } else {
      pending.push(kernel.ok(OP.flush, ino, body.flush()))
    }
    if (pending.length < 16) continue
    await Promise.all(pending)
    pending = []
    if (model.length > 4 << 20) model = Buffer.from(model.subarray(0, 1 << 20))
    await kernel.ok(OP.setattr, ino, body.setattr(FATTR.size, { size: model.length }))
  }
  await Promise.all(pending)
  for (let at = 0; at < model.length; at += 128 << 10) {
    const found = await kernel.ok(OP.read, ino, body.read(at, 128 << 10))
    if (!found.equals(model.subarray(at, at + (128 << 10)))) throw new Error(`wrong near ${at}`)
  }
  test.equal(await sizeOf(kernel, ino), model.length)
  test.equal(fs.table.totals()[3], 0, 'nobody is left waiting')
})

void t.test(`malformed messages never crash, SEED=${SEED}`, async (test) => {
  const { kernel, fs } = await pair(test, { manual: true, lenient: true })
  const ino = await create(kernel, 'a')
  await kernel.ok(OP.write, ino, body.write(0, Buffer.alloc(1000)))
  kernel.raw(Buffer.alloc(8))
  const cutOff = body.write(0, Buffer.alloc(100)).subarray(0, 60)
  test.equal((await kernel.ask(OP.write, ino, cutOff)).error, EIO)
  const oversized = body.write(0, Buffer.alloc(100))
  oversized.writeUInt32LE(0xffff_ffff, 16)
  test.equal((await kernel.ask(OP.write, ino, oversized)).error, EIO)
  test.equal((await kernel.ask(OP.write, ino, body.write(2n ** 63n, Buffer.alloc(1)))).error, EFBIG)
  test.equal((await kernel.ok(OP.read, ino, body.read(2n ** 63n, 1))).length, 0, 'the end')
  test.equal((await kernel.ask(OP.read, ino, body.read(0, 0x7fff_ffff))).error, EINVAL)
  const lying = kernel.header(OP.getattr, ino, 4_000_000_000n, 4096)
  kernel.raw(lying)
  const many = Buffer.from([255, 255, 255, 255, 0, 0, 0, 0])
  kernel.raw(Buffer.concat([kernel.header(OP.batchForget, 0, 0n, 48), many]))
  const random = numbersBelow(SEED)
  const kinds = Object.values(OP).filter((op) => op !== OP.init && op !== OP.destroy)
  for (let i = 0; i < 3000; i++) {
    const byte = (): number => (random(3) === 0 ? 255 : random(8))
    const junk = Buffer.from(Array.from({ length: random(120) }, byte))
    kernel.send(kinds[random(kinds.length)]!, random(4), junk)
  }
  test.ok((await kernel.ok(OP.statfs, 1)).length > 0, 'it still answers')
  test.ok(fs.session.stats()[7]! > 100)
})
