// Files: when content is sealed and put, what happens when that fails, how reads wait, and that
// neither a job in flight nor a missing name loses or invents bytes. Over the twin and naive parts;
// time is real but runs fast.

import t, { type Test } from 'tap'
import { Errno } from '../../src/fs/errno.ts'
import { LatticeError } from '../../src/util/errors.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { ChunkId, Name } from '../../src/ops/types.ts'
import { isSparse } from '../../src/vault/content.ts'
import { memoryVault, type MemoryVault, type MemoryVaultOptions } from '../fs/vault.helper.ts'

const text = (value: string): Uint8Array => Buffer.from(value)
const caller = { uid: 1, gid: 1 }
const ENOSPC = 28
const EIO = 5

interface Opened {
  vault: MemoryVault
  make: (name: string, content?: string) => Ino
  close: (ino: Ino) => number
  sealed: (ino: Ino) => string | undefined
}

function open(test: Test, options: MemoryVaultOptions = {}): Opened {
  const vault = memoryVault({ speed: 100, ...options })
  test.teardown(async () => vault.close().catch(() => undefined))
  const { fs, buffers, tree } = vault
  return {
    vault,
    make: (name, content) => {
      const { ino } = fs.create(caller, tree.root, name, 0o644, 2)
      buffers.kernelLookup(ino)
      buffers.kernelOpen(ino)
      if (content !== undefined) fs.write(ino, 0, text(content))
      return ino
    },
    close: (ino) => {
      const errno = buffers.kernelFlush(ino)
      buffers.kernelRelease(ino)
      return errno
    },
    sealed: (ino) => {
      const content = tree.node(ino)?.content
      return content?.kind === 'inline' ? Buffer.from(content.bytes).toString() : undefined
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

void t.test('close seals and puts; nothing stays open', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'hello')
  test.equal(sealed(ino), undefined)
  test.ok(vault.files.isUnsealed(ino))
  close(ino)
  await until('put', () => sealed(ino) === 'hello')
  await until('closed', () => vault.files.openFiles === 0)
  test.notOk(vault.files.isUnsealed(ino))
})

void t.test('three seconds after the first dirty byte it is sealed, open or not', async (test) => {
  const { vault, make, sealed } = open(test)
  const ino = make('a', 'one')
  await until('put', () => sealed(ino) === 'one')
  vault.fs.write(ino, 3, text(' two'))
  await until('put again', () => sealed(ino) === 'one two')
})

void t.test('8 MiB of dirty data seal without a put; the close puts', async (test) => {
  const { vault, make, close } = open(test, { speed: 1 })
  const ino = make('a')
  const piece = new Uint8Array(1024 * 1024).fill(7)
  for (let i = 0; i < 9; i++) vault.fs.write(ino, i * piece.length, piece)
  await until('partly sealed', () => vault.buffers.dirtyBytes(ino) < piece.length)
  test.equal(vault.tree.node(ino)?.content, undefined)
  test.equal(vault.fs.getattr(ino).sizeBytes, 9 * piece.length)
  close(ino)
  await until('put', () => vault.tree.node(ino)?.attr.sizeBytes === 9 * piece.length)
})

void t.test('what is written while a job runs is sealed by the next', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'first')
  const done = vault.fs.fsync(ino)
  await new Promise((resolve) => setImmediate(resolve))
  vault.fs.write(ino, 0, text('F'))
  vault.files.truncate(ino, 3, false)
  vault.fs.write(ino, 5, text('!'))
  await done
  test.equal(sealed(ino), 'first')
  test.equal(Buffer.from(await vault.fs.read(ino, 0, 9)).toString(), 'Fir\0\0!')
  close(ino)
  await until('second put', () => sealed(ino) === 'Fir\0\0!')
})

void t.test('a failed seal: fsync gets the error, data stays, the retry succeeds', async (test) => {
  const { vault, make, sealed } = open(test)
  const ino = make('a', 'precious')
  vault.content.fault = () => {
    throw new LatticeError('disk-full', 'injected')
  }
  await test.rejects(vault.fs.fsync(ino), { code: 'disk-full' })
  test.equal(vault.buffers.writeRefusal, ENOSPC, 'writers are refused')
  await test.rejects(vault.fs.fsync(ino), { code: 'disk-full' }, 'a retried fsync does not lie')
  test.equal(Buffer.from(await vault.fs.read(ino, 0, 99)).toString(), 'precious')
  vault.content.fault = () => undefined
  await vault.fs.fsync(ino)
  test.equal(sealed(ino), 'precious')
  test.equal(vault.buffers.writeRefusal, 0)
})

void t.test('an error nobody waited for is reported at the next close, once', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'precious')
  vault.content.fault = () => {
    throw new LatticeError('io', 'injected')
  }
  await until('tried', () => vault.troubles.length > 0)
  vault.buffers.kernelOpen(ino)
  test.equal(close(ino), EIO)
  vault.content.fault = () => undefined
  await until('retried', () => sealed(ino) === 'precious')
  vault.buffers.takeError(ino)
  test.equal(close(ino), 0)
  test.equal(vault.troubles.length, 1, 'one cause is logged once')
})

void t.test('a failing describe keeps the content unsealed and retries', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'text')
  vault.content.fault = (step) => {
    if (step === 'describe') throw new LatticeError('io', 'injected')
  }
  close(ino)
  await until('tried', () => vault.troubles.length > 0)
  test.ok(vault.files.isUnsealed(ino))
  test.equal(vault.fs.getattr(ino).sizeBytes, 4, 'the size is known before the put')
  vault.content.fault = () => undefined
  await until('put', () => sealed(ino) === 'text')
})

void t.test('no room on the disk is found before anything is frozen', async (test) => {
  let spaceBytes = 0
  const { vault, make, sealed } = open(test, { spaceBytes: () => spaceBytes })
  const ino = make('a', 'text')
  await test.rejects(vault.fs.fsync(ino), { code: 'disk-full' })
  spaceBytes = 1000
  await vault.fs.fsync(ino)
  test.equal(sealed(ino), 'text')
})

void t.test('memory pressure seals the oldest until half is free', async (test) => {
  const { vault, make } = open(test, { speed: 1, twin: { dirtyBytesMax: 300_000 } })
  const inos = [0, 1, 2, 3, 4].map((i) => make(`f${i}`, 'x'.repeat(60_000)))
  test.throws(() => vault.fs.write(inos[0] as Ino, 0, text('more')), new Errno(11))
  await until('room', () => vault.buffers.totals().dirtyBytes <= 150_000)
  vault.fs.write(inos[0] as Ino, 0, text('more'))
})

void t.test('cold reads wait, in any order, and survive changes of the base', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const wanted = Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join('')
  const ino = make('a', wanted)
  close(ino)
  await until('put', () => sealed(ino) === wanted)
  vault.buffers.kernelForget(ino, 1)
  await until('closed', () => vault.files.openFiles === 0)
  vault.fs.open(ino, 0, false)
  vault.buffers.kernelOpen(ino)
  const reads = [0, 9000, 4000, 20_000].map(async (at) => vault.fs.read(ino, at, 5000))
  vault.fs.write(ino, 6000, text('CHANGED'))
  const sync = vault.fs.fsync(ino)
  const got = await Promise.all(reads)
  await sync
  test.equal(Buffer.from(got[1] as Uint8Array).toString(), wanted.slice(9000, 14_000))
  test.equal(Buffer.from(got[3] as Uint8Array).toString(), wanted.slice(20_000, 25_000))
  const all = Buffer.from(await vault.fs.read(ino, 0, 100_000)).toString()
  test.equal(all, wanted.slice(0, 6000) + 'CHANGED' + wanted.slice(6007))
})

void t.test('who waits for content of others holds up nobody else', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const files = [make('elsewhere', 'e'.repeat(200_000)), make('here', 'h'.repeat(100_000))] as const
  for (const ino of files) {
    close(ino)
    await until('put', () => sealed(ino) !== undefined)
    vault.buffers.kernelForget(ino, 1)
  }
  await until('closed', () => vault.files.openFiles === 0)
  let come = (): void => undefined
  const coming = new Promise<void>((resolve) => (come = resolve))
  const plan = vault.content.plan.bind(vault.content)
  vault.content.planNow = () => undefined
  vault.content.plan = async (working, ...range) => {
    if (working.sizeBytes === 200_000) await coming
    return plan(working, ...range)
  }
  for (const ino of files) {
    vault.fs.open(ino, 0, false)
    vault.buffers.kernelOpen(ino)
  }
  const [elsewhere, here] = files
  const offsets = Array.from({ length: 20 }, (_, i) => 190_000 - i * 9000)
  const waiting = offsets.map((offset) => vault.fs.read(elsewhere, offset, 9))
  const got = await Promise.race([vault.fs.read(here, 0, 5), new Promise((resolve) => {
    setTimeout(() => resolve('held up'), 1000)
  })])
  come()
  test.strictSame(Buffer.from(got as Uint8Array).toString(), 'hhhhh')
  for (const read of waiting) test.equal((await read).length, 9)
})

void t.test('content that cannot be read is EIO for each reader, logged once', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const wanted = 'y'.repeat(200_000)
  const ino = make('a', wanted)
  close(ino)
  await until('put', () => sealed(ino) === wanted)
  vault.buffers.kernelForget(ino, 1)
  vault.content.fault = (step) => {
    if (step === 'plan') throw new LatticeError('damaged-pack', 'injected')
  }
  vault.fs.open(ino, 0, false)
  vault.buffers.kernelOpen(ino)
  await test.rejects(vault.fs.read(ino, 0, 10), new Errno(EIO))
  await test.rejects(vault.fs.read(ino, 100_000, 10), new Errno(EIO))
  test.equal(vault.troubles.length, 1)
  vault.content.fault = () => undefined
  test.equal((await vault.fs.read(ino, 0, 10)).length, 10)
})

void t.test('an unlinked file is not sealed, and its record goes when all forget', async (test) => {
  const { vault, make, close } = open(test)
  const ino = make('a', 'secret')
  vault.fs.unlink(vault.tree.root, 'a')
  await vault.fs.fsync(ino)
  test.equal(vault.tree.node(ino)?.content, undefined)
  test.equal(vault.fs.getattr(ino).nlink, 0)
  close(ino)
  vault.buffers.deliver()
  test.ok(vault.tree.node(ino), 'the kernel still knows it')
  vault.buffers.kernelForget(ino, 1)
  vault.buffers.deliver()
  test.equal(vault.tree.node(ino), undefined)
  test.equal(vault.files.openFiles, 0)
})

void t.test('seal() for a rename puts even when the name is gone meanwhile', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'kept')
  const done = vault.files.seal(ino)
  vault.fs.unlink(vault.tree.root, 'a')
  close(ino)
  await done
  test.equal(sealed(ino), 'kept')
  vault.buffers.kernelForget(ino, 1)
  await until('released', () => vault.tree.node(ino) === undefined)
})

void t.test('attributes: drained before names change, mtime comes with the put', async (test) => {
  const { vault, make, close, sealed } = open(test)
  const ino = make('a', 'x')
  const attr = { ...vault.fs.getattr(ino), mode: 0o600, mtimeSec: 77, mtimeNsec: 5 }
  vault.fs.setattr(ino, 1 | 32, attr)
  test.equal(vault.fs.lookup(vault.tree.root, 'a')?.attr.mtimeSec, 77)
  test.not((vault.tree.node(ino)?.attr.mode ?? 0) & 0o777, 0o600, 'held by the record')
  vault.fs.mkdir(caller, vault.tree.root, 'd', 0o755)
  test.equal((vault.tree.node(ino)?.attr.mode ?? 0) & 0o777, 0o600, 'drained')
  close(ino)
  await until('put', () => sealed(ino) === 'x')
  test.equal(vault.tree.node(ino)?.attr.mtimeSec, 77)
})

void t.test('syncAll tries every file and reports the first failure', async (test) => {
  const { vault, make, sealed } = open(test)
  const [a, b] = [make('a', 'aaa'), make('b', 'bbb')]
  let first = true
  vault.content.fault = (step) => {
    if (step !== 'seal' || !first) return
    first = false
    throw new LatticeError('io', 'injected')
  }
  await test.rejects(vault.files.syncAll(), { code: 'io' })
  test.equal([a, b].filter((ino) => sealed(ino) !== undefined).length, 1)
  await vault.files.syncAll()
  test.same([sealed(a), sealed(b)], ['aaa', 'bbb'])
})

void t.test('O_TRUNC and a write are put together, never the empty file between', async (test) => {
  const { vault, make, close, sealed } = open(test, { speed: 1 })
  const ino = make('a', 'old')
  close(ino)
  await until('put', () => sealed(ino) === 'old')
  vault.fs.open(ino, 0o1001, false)
  vault.buffers.kernelOpen(ino)
  await new Promise((resolve) => setTimeout(resolve, 20))
  test.equal(sealed(ino), 'old')
  test.equal(vault.fs.getattr(ino).sizeBytes, 0)
  vault.fs.write(ino, 0, text('new'))
  close(ino)
  await until('put', () => sealed(ino) === 'new')
})

void t.test('a read-only mount refuses every change', async (test) => {
  const writable = memoryVault()
  const { ino } = writable.fs.create(caller, writable.tree.root, 'a', 0o644, 2)
  await writable.close()
  const { fs, tree, close } = memoryVault({ readOnly: true, tree: writable.tree })
  test.teardown(close)
  const EROFS = new Errno(30)
  const { root } = tree
  test.throws(() => fs.create(caller, root, 'b', 0o644, 2), EROFS)
  test.throws(() => fs.open(ino, 1, false), EROFS)
  test.throws(() => fs.mkdir(caller, root, 'd', 0o755), EROFS)
  test.throws(() => fs.unlink(root, 'a'), EROFS)
  test.throws(() => fs.rename(root, 'a', root, 'b', 0), EROFS)
  test.throws(() => fs.setattr(ino, 1, fs.getattr(ino)), EROFS)
  test.throws(() => fs.setxattr(ino, 'user.x', text('x'), 0), EROFS)
  fs.open(ino, 0, false)
  test.ok(tree.lookup(root, 'a' as Name))
})

t.test('which contents have holes, told without reading', (t) => {
  const ref = { chunk: 'c'.repeat(32) as ChunkId, chunkBytes: 50_000, begin: 0, length: 50_000 }
  const size = 100_000
  t.ok(isSparse(undefined, size))
  t.ok(isSparse({ kind: 'inline', bytes: new Uint8Array(100) }, size))
  t.ok(isSparse({ kind: 'refs', chunker: 0, refs: [{ hole: 50_000 }, ref] }, size))
  t.notOk(isSparse({ kind: 'refs', chunker: 0, refs: [ref, ref] }, size))
  t.notOk(isSparse({ kind: 'refs', chunker: 0, refs: [{ hole: 5000 }] }, 5000), 'not worth it')
  t.notOk(isSparse({ kind: 'tree', chunker: 0, root: ref, depth: 1 }, size))
  const sparse = { ...ref, begin: 1, length: ref.length - 1 }
  t.ok(isSparse({ kind: 'tree', chunker: 0, root: sparse, depth: 1 }, size))
  t.end()
})
