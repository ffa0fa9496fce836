// What open files, and programs that walk the tree, see of changes that come from another device:
// FileSystem and Files over a real LiveTree; the other device is a LiveTree of its own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DiskSpace } from '../../src/fs/disk-space.ts'
import { ErrnoMapper } from '../../src/fs/errno.ts'
import { FileSystem } from '../../src/fs/file-system.ts'
import { BuffersTwin } from '../../src/vault/buffers-twin.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { Files } from '../../src/vault/files.ts'
import { MemoryContent } from '../support/memory-content.ts'
import { World } from '../vault/tree-devices.helper.ts'
import type { Device } from '../vault/tree-devices.helper.ts'
import { TestClock } from './vault.helper.ts'

const CALLER = { uid: 1000, gid: 1000 }
const RDWR = 2

/** anna has a filesystem, bert is elsewhere. */
function open(test: Test) {
  const world = new World('anna', 'bert')
  const [anna, bert] = world.devices as [Device, Device]
  const clock = new TestClock(100)
  const buffers = new BuffersTwin({ now: () => clock.now() })
  const content = new MemoryContent(buffers)
  const errors = new ErrnoMapper(() => undefined)
  const toErrno = (error: unknown, operation: string, ino: number) => (
    errors.toErrno(error, operation, ino)
  )
  const files = new Files({ tree: anna.tree, content, buffers, clock, toErrno })
  anna.tree.setUnsealedContent(files)
  anna.files = files
  const directory = mkdtempSync(join(tmpdir(), 'lattice-remote-'))
  const space = new DiskSpace(directory, clock)
  const fs = new FileSystem({ tree: anna.tree, files, buffers, clock, space, readOnly: false })
  test.teardown(async () => {
    rmSync(directory, { recursive: true, force: true })
    await files.close().catch(() => undefined)
  })
  const { root } = anna.tree
  return {
    world, anna, bert, fs, files, buffers, root,
    create: (name: string, text: string): Ino => {
      const { ino } = fs.create(CALLER, root, name, 0o644, RDWR)
      buffers.kernelLookup(ino)
      buffers.kernelOpen(ino)
      fs.write(ino, 0, Buffer.from(text))
      return ino
    },
    opened: (name: string): Ino => {
      const { ino } = fs.lookup(root, name)!
      fs.open(ino, RDWR, false)
      buffers.kernelLookup(ino)
      buffers.kernelOpen(ino)
      return ino
    },
    read: async (ino: Ino): Promise<string> => (
      Buffer.from(await fs.read(ino, 0, 1000)).toString()
    ),
    close: (ino: Ino): void => {
      buffers.kernelFlush(ino)
      buffers.kernelRelease(ino)
    },
    forget: (ino: Ino): void => buffers.kernelForget(ino, 1),
    /** Everything sealed, and at both. */
    settle: async (): Promise<void> => {
      await files.syncAll()
      world.sync()
    },
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  throw new Error(`never: ${what}`)
}

void t.test('another device writes a file that is open here', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'before')
  await one.settle()
  one.bert.write('f', 'by bert')
  one.world.sync()
  test.equal(await one.read(ino), 'before')
  test.equal(one.fs.getattr(ino).nlink, 0)
  const now = one.opened('f')
  test.not(now, ino)
  test.equal(await one.read(now), 'by bert')
  one.close(now)
  one.forget(now)
  one.fs.write(ino, 0, Buffer.from('BEFORE, written'))
  one.close(ino)
  await one.settle()
  const copy = one.anna.names().find((name) => name !== 'f')!
  test.equal(one.bert.read('f'), 'BEFORE, written')
  test.equal(one.bert.read(copy), 'by bert')
  test.equal(one.files.orphans.count, 1, 'the kernel has it in mind')
  one.forget(ino)
  await until('released', () => one.files.orphans.count === 0)
  test.equal(one.anna.tree.node(ino), undefined)
})

void t.test('an inode that was just replaced gets no name', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'before')
  await one.settle()
  one.bert.write('f', 'by bert')
  one.world.sync()
  test.throws(() => one.fs.link(ino, one.root, 'linked'), { message: 'errno 2' })
  test.strictSame(one.anna.names(), ['f'])
  one.close(ino)
})

void t.test('a name that is open gives way to what a replaced file is written', async (test) => {
  const one = open(test)
  const old = one.create('f', 'before')
  await one.settle()
  one.bert.write('f', 'by bert')
  one.world.sync()
  const now = one.opened('f')
  test.equal(await one.read(now), 'by bert')
  one.fs.write(old, 0, Buffer.from('BEFORE, written'))
  one.close(old)
  await one.settle()
  test.equal(await one.read(now), 'by bert', 'as long as it is open')
  const newest = one.opened('f')
  test.not(newest, now)
  test.equal(await one.read(newest), 'BEFORE, written')
  test.strictSame(Object.values(one.bert.view()).toSorted(), ['BEFORE, written', 'by bert'])
  for (const ino of [now, newest]) one.close(ino)
})

void t.test('unsealed bytes are never put over what they have not seen', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'before')
  await one.settle()
  one.fs.write(ino, 0, Buffer.from('unsealed'))
  one.bert.write('f', 'by bert')
  one.world.sync()
  one.close(ino)
  one.forget(ino)
  await one.settle()
  await until('released', () => one.files.orphans.count === 0)
  const { anna, bert } = one
  test.strictSame(Object.values(anna.view()).toSorted(), ['by bert', 'unsealed'])
  test.strictSame(bert.view(), anna.view())
})

void t.test('a file that was read here, closed, and changed elsewhere', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'a long text')
  one.close(ino)
  await one.settle()
  one.bert.write('f', 'short')
  one.world.sync()
  const now = one.opened('f')
  test.equal(await one.read(now), 'short')
  test.equal(one.fs.getattr(now).sizeBytes, 5)
  one.fs.write(now, 5, Buffer.from('er'))
  one.close(now)
  await one.settle()
  test.strictSame(one.bert.view(), { f: 'shorter' }, 'nothing is in conflict')
})

void t.test('attributes changed elsewhere', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'text')
  await one.settle()
  const there = one.bert.at('f').ino
  one.bert.tree.setAttrs(there, 1, { ...one.bert.tree.node(there)!.attr, mode: 0o600 })
  one.world.sync()
  test.equal(one.fs.getattr(ino).mode & 0o777, 0o600)
  test.equal(one.fs.lookup(one.root, 'f')?.ino, ino)
  one.close(ino)
})

void t.test('a file removed elsewhere while it is written', async (test) => {
  const one = open(test)
  const ino = one.create('f', 'before')
  const other = one.create('g', 'before')
  await one.settle()
  one.bert.remove('f')
  one.bert.remove('g')
  one.world.sync()
  test.strictSame(one.anna.names(), [])
  one.fs.write(ino, 0, Buffer.from('written'))
  test.equal(await one.read(other), 'before')
  one.close(ino)
  one.close(other)
  await one.settle()
  test.strictSame(one.bert.view(), { f: 'written' })
})

void t.test('rm -rf of a union with conflicts in it, and mv of one', async (test) => {
  const one = open(test)
  const { anna, bert, fs, root } = one
  const dir = fs.mkdir(CALLER, root, 'd', 0o755).ino
  anna.write('d/same', 'by anna')
  anna.write('d/a', 'a')
  bert.mkdir('d')
  bert.write('d/same', 'by bert')
  bert.mkdir('d/sub')
  bert.write('d/sub/x', 'x')
  one.world.sync()
  const union = fs.lookup(root, 'd')!
  test.equal(union.ino, dir, 'the larger one keeps its ino')
  test.throws(() => fs.rmdir(root, 'd'), { message: 'errno 39' })
  fs.rename(root, 'd', root, 'e', 0)
  one.world.sync()
  test.strictSame(bert.names(bert.at('e').ino).length, 4)
  const remove = (parent: Ino, name: string): void => {
    const { ino, attr } = fs.lookup(parent, name)!
    if ((attr.mode & 0o170000) !== 0o040000) return fs.unlink(parent, name)
    for (const entry of anna.tree.list(ino, 0, 100)) remove(ino, entry.name)
    fs.rmdir(parent, name)
  }
  remove(root, 'e')
  one.world.sync()
  test.strictSame(bert.view(), {})
  test.strictSame(anna.view(), {})
})

