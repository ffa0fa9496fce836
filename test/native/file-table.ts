// The native file table through its port: limits, fetches of sealed bundles, workers. That its
// bytes and states are right is shown by the differential fuzzer, test/vault/buffers-fuzz.ts.

import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { BundleBuilder } from '../../src/chunks/bundle.ts'
import type { ChunkId } from '../../src/chunks/chunk-id.ts'
import { CODEC_RAW } from '../../src/chunks/compress.ts'
import { addonPath } from '../../src/crypto/native.ts'
import { NativeBuffers } from '../../src/fuse/native-buffers.ts'
import type { Ino, ReadPiece } from '../../src/vault/buffers.ts'
import type { ContentStore, WorkingContent } from '../../src/vault/content.ts'
import { FileReader } from '../../src/vault/file-reader.ts'
import { OpenFile } from '../../src/vault/open-file.ts'
import type { Clock } from '../../src/vault/ports.ts'

const GIB = 1024 ** 3

const EMPTY = {
  mode: 0o100644,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0,
  sizeBytes: 0,
  atimeSec: 0,
  atimeNsec: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  ctimeSec: 0,
  ctimeNsec: 0,
}

void t.test('limits: above the dirty limit writers wait, pressure is raised', (test) => {
  const buffers = new NativeBuffers({ dirtyBytesMax: 100_000, cleanBytesMax: 1 })
  test.teardown(() => buffers.close())
  const seen: string[] = []
  buffers.listen({
    need: () => undefined,
    dirty: (ino) => void seen.push(`dirty ${ino}`),
    full: () => undefined,
    flush: () => undefined,
    released: () => undefined,
    pressure: () => void seen.push('pressure'),
    forgotten: (ino) => void seen.push(`forgotten ${ino}`),
  })
  const ino = 5 as Ino
  const attr = { ...EMPTY }
  buffers.attach(ino, attr)
  buffers.openData(ino)
  test.ok(buffers.write(ino, 0, new Uint8Array(100_000)))
  test.notOk(buffers.write(ino, 100_000, new Uint8Array(10)), 'full')
  const job = buffers.freeze(ino)
  test.notOk(buffers.write(ino, 100_000, new Uint8Array(10)), 'frozen bytes count as well')
  buffers.settle(job!.job, true, Infinity)
  test.ok(buffers.write(ino, 100_000, new Uint8Array(10)), 'room again')
  test.equal(buffers.totals().cleanBytes, 0, 'clean bytes beyond their limit were dropped')
  buffers.drain()
  test.same([...new Set(seen)], ['dirty 5', 'pressure'])
  test.throws(() => buffers.write(99 as Ino, 0, new Uint8Array(1)), { code: 'invalid' })
  test.throws(() => buffers.fail(ino, 0, 1, 0), { code: 'invalid' })
  test.throws(() => buffers.zero(ino, 2 ** 53, 1, true))
  test.throws(() => buffers.truncate(ino, -1))
  test.end()
})

interface Packed {
  buffers: NativeBuffers
  fd: number
  bytes: Buffer
  sealed: Uint8Array
  /** A piece of the plaintext at the same offset of the file. */
  piece: (offset: number, length: number) => ReadPiece
}

/** A file of 600 KB whose base is one bundle in a pack; `spoil` may damage the sealed bytes. */
function packedFile(
  test: Test,
  ino: Ino,
  spoil: (sealed: Buffer) => void = () => undefined,
): Packed {
  const epochId = randomBytes(8)
  const key = randomBytes(32)
  const bytes = randomBytes(600_000)
  const builder = new BundleBuilder()
  for (let at = 0; at < bytes.length; at += 200_000) {
    const chunk = bytes.subarray(at, at + 200_000)
    const id = randomBytes(32).toString('latin1') as unknown as ChunkId
    if (!builder.add(id, chunk, CODEC_RAW, chunk.length)) throw new Error('it does not fit')
  }
  const who = { vaultId: randomBytes(16), epochId, sealer: randomBytes(32), key }
  const sealed = Buffer.from(builder.finish(who, 'full').sealed)
  spoil(sealed)
  const dir = mkdtempSync(join(tmpdir(), 'lattice-fetch-'))
  writeFileSync(join(dir, 'pack'), Buffer.concat([Buffer.alloc(1000, 7), sealed]))
  const fd = openSync(join(dir, 'pack'), 'r')
  const buffers = new NativeBuffers({ dirtyBytesMax: GIB, cleanBytesMax: GIB })
  buffers.setBundleKey(epochId, key)
  buffers.attach(ino, { ...EMPTY, sizeBytes: bytes.length })
  buffers.openData(ino)
  test.teardown(() => {
    buffers.close()
    closeSync(fd)
    rmSync(dir, { recursive: true })
  })
  const piece = (offset: number, length: number): ReadPiece => {
    const bundle = { fd, bundleOffset: 1000, bundleBytes: sealed.length }
    return { kind: 'bundle', offset, length, ...bundle, plainOffset: offset }
  }
  return { buffers, fd, bytes, sealed, piece }
}

void t.test('fetch opens exactly what a plan names', async (test) => {
  const ino = 3 as Ino
  const { buffers, bytes, piece } = packedFile(test, ino)
  test.equal(buffers.read(ino, 0, 10), undefined)
  const epoch = buffers.baseEpoch(ino)
  test.equal(await buffers.fetch(ino, epoch, [piece(100_000, 4096)]), 'filled')
  test.same(buffers.read(ino, 100_000, 4096), bytes.subarray(100_000, 104_096))
  test.equal(buffers.totals().cleanBytes, 4096)
  buffers.write(ino, 5000, Buffer.alloc(100, 1))
  const plan: ReadPiece[] = [
    piece(0, 16_384),
    piece(16_384, 183_616),
    piece(200_000, 200_000),
    { kind: 'bytes', offset: 400_000, bytes: bytes.subarray(400_000, 400_500) },
    piece(400_500, 199_500),
  ]
  test.equal(await buffers.fetch(ino, epoch, plan), 'filled')
  const expected = Buffer.from(bytes)
  expected.fill(1, 5000, 5100)
  test.ok(expected.equals(buffers.read(ino, 0, 600_000)!), 'newer bytes stay')
  buffers.truncate(ino, 700_000)
  const tail = Buffer.concat([bytes.subarray(-10), Buffer.alloc(90)])
  test.same(Buffer.from(buffers.read(ino, 599_990, 100)!), tail)
  test.equal(await buffers.fetch(ino, epoch + 1, plan), 'stale')
  test.equal(await buffers.fetch(ino, epoch, []), 'filled')
  test.throws(() => buffers.fetch(ino, epoch, [piece(0, 0)]), { code: 'invalid' })
  test.throws(() => buffers.fetch(ino, epoch, [piece(0, 2 ** 21)]), { code: 'invalid' })
})

void t.test('fetch: damage is a result', async (test) => {
  const flips = [0, 1, 18, 26, 58, 61, 62, 80, 81, 90_000, 110_000]
  for (const at of flips) {
    const ino = 3 as Ino
    const damaged = packedFile(test, ino, (sealed) => {
      sealed[at]! ^= 1
    })
    const { buffers, piece } = damaged
    const epoch = buffers.baseEpoch(ino)
    test.equal(await buffers.fetch(ino, epoch, [piece(0, 200_000)]), 'damaged', `byte ${at}`)
    test.equal(buffers.read(ino, 0, 10), undefined, 'nothing was filled')
  }
  const { buffers, fd, sealed, piece, bytes } = packedFile(test, 3 as Ino)
  const epoch = buffers.baseEpoch(3 as Ino)
  const whole = piece(0, 4096) as Extract<ReadPiece, { kind: 'bundle' }>
  const wrong = [
    { ...whole, bundleOffset: 999 },
    { ...whole, bundleOffset: 900_000_000 },
    { ...whole, bundleBytes: sealed.length - 20_000 },
    { ...whole, bundleBytes: 90 },
    { ...whole, bundleBytes: 2 ** 22 },
    { ...whole, plainOffset: 1_048_000 },
  ]
  for (const plan of wrong) {
    test.equal(await buffers.fetch(3 as Ino, epoch, [plan]), 'damaged')
  }
  const closed = openSync(addonPath(), 'r')
  closeSync(closed)
  test.equal(await buffers.fetch(3 as Ino, epoch, [{ ...whole, fd: 9999 }]), 'io-error')
  test.equal(await buffers.fetch(3 as Ino, epoch, [{ ...whole, fd }]), 'filled')
  test.same(buffers.read(3 as Ino, 0, 4096), bytes.subarray(0, 4096))
})

void t.test('what came and went before its fetch had ended is fetched again', async (test) => {
  const ino = 3 as Ino
  const { buffers, bytes, piece } = packedFile(test, ino)
  const plan = (_: unknown, offset: number, length: number) => ({
    pieces: [piece(offset, Math.min(length, bytes.length - offset))],
    release: () => undefined,
  })
  const content = { planNow: plan, plan } as unknown as ContentStore
  const file = new OpenFile(ino, { sizeBytes: bytes.length } as WorkingContent, EMPTY)
  const toErrno = () => 5
  const clock = {} as Clock
  const reader = new FileReader({ content, buffers, clock, toErrno }, () => undefined)
  const more = [() => undefined, () => undefined] as const
  buffers.listen({
    need: (_, offset, length) => reader.need(file, offset, length, true),
    dirty: more[0], full: more[0], flush: more[0], released: more[0], pressure: more[1],
    forgotten: more[0],
  })
  const come = async (): Promise<Uint8Array> => {
    for (let i = 0; i < 1000; i++) {
      const found = buffers.read(ino, 0, 10)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    throw new Error('it never came')
  }
  // A fetch of which one part has come, and the other takes long.
  const fetch = buffers.fetch.bind(buffers)
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => (end = resolve))
  buffers.fetch = async (...args) => {
    const result = await fetch(...args)
    await ended
    return result
  }
  test.same(await come(), bytes.subarray(0, 10))
  buffers.table.setLimits(GIB, 0) // it is dropped
  test.equal(buffers.read(ino, 0, 10), undefined)
  buffers.drain()
  buffers.table.setLimits(GIB, GIB)
  buffers.fetch = fetch
  end()
  test.same(await come(), bytes.subarray(0, 10))
})

void t.test('a worker reads what is frozen, and may end at any time', async (test) => {
  const buffers = new NativeBuffers({ dirtyBytesMax: GIB, cleanBytesMax: GIB })
  test.teardown(() => buffers.close())
  const ino = 9 as Ino
  const bytes = randomBytes(3_000_000)
  buffers.attach(ino, EMPTY)
  buffers.openData(ino)
  buffers.write(ino, 0, bytes)
  const { job } = buffers.freeze(ino)!
  const worker = new Worker(
    `const { createRequire } = require('node:module')
     const { parentPort, workerData } = require('node:worker_threads')
     const addon = require(workerData.path)
     const table = addon.openFileTable(workerData.handle)
     const into = Buffer.alloc(3_000_000)
     table.readFrozen(workerData.job, 0, into)
     parentPort.postMessage(into)
     const mine = addon.createFileTable()
     mine.onWake(() => undefined)
     const [fd] = addon.socketPair()
     const session = addon.createSession({ fd, table: mine, readOnly: false,
       onWake: () => undefined, maxWriteBytes: 1048576, lifetimeSec: 1 })`,
    { eval: true, workerData: { path: addonPath(), handle: buffers.handle, job } },
  )
  for (let i = 0; i < 50; i++) buffers.write(ino, i * 1000, Buffer.alloc(500, i))
  const message = await new Promise<Uint8Array>((resolve) => worker.once('message', resolve))
  test.ok(bytes.equals(message))
  await worker.terminate()
  test.pass('terminated with a live session')
})
