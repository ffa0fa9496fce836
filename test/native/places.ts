// READs of known places, answered by the native session alone, and what becomes of them when the
// base moves, the file is cut, the pack is damaged or its descriptor closed. A fake kernel and real
// sealed bundles, raw and compressed. Also run under the sanitizers. SEED=n replays what is random.

import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { BundleBuilder } from '../../src/chunks/bundle.ts'
import type { ChunkId } from '../../src/chunks/chunk-id.ts'
import { compressChunk } from '../../src/chunks/compress.ts'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FakeKernel, OP, attrAt, body } from './support/fake-kernel.ts'
import { MemoryFs } from './support/memory-fs.ts'
import { testSeed } from '../support/seed.ts'
import { numbersBelow } from '../support/random.ts'

const SEED = testSeed()
const CHUNK_BYTES = 100_000
const CHUNKS = 8
/** Reads so far apart are not taken for a sequence. */
const STRIDE = 2 * 1024 * 1024
const SIZE = CHUNKS * STRIDE
const BUNDLE_AT = 1000
const FATTR_SIZE = 8

interface Packed {
  kernel: FakeKernel
  fs: MemoryFs
  ino: number
  /** What the file holds. */
  base: Buffer
  /** Rows of pieces for all chunks. */
  rows: Float64Array
  fd: number
  needs: () => number[][]
  read: (offset: number, length: number) => Promise<Buffer>
}

/** Offset of a byte of a chunk in the file. */
const inChunk = (chunk: number, at: number): number => 4096 + chunk * STRIDE + at

/** An open file with chunks of one bundle, far apart: every other one compresses. */
async function packed(test: Test, manual = true): Promise<Packed> {
  const epochId = randomBytes(8)
  const key = randomBytes(32)
  const builder = new BundleBuilder()
  const base = Buffer.alloc(SIZE)
  const rows: number[] = []
  let plainOffset = 0
  for (let i = 0; i < CHUNKS; i++) {
    const begin = inChunk(i, 0)
    const chunk = base.subarray(begin, begin + CHUNK_BYTES)
    for (let at = 0; at < CHUNK_BYTES; at++) chunk[at] = i % 2 === 0 ? (at >> 7) + i : 0
    if (i % 2 === 1) randomBytes(CHUNK_BYTES).copy(chunk)
    const { codec, stored } = compressChunk(chunk)
    const id = randomBytes(32).toString('latin1') as unknown as ChunkId
    if (!builder.add(id, stored, codec, chunk.length)) throw new Error('it does not fit')
    const block = i % 2 === 0 ? [stored.length, CHUNK_BYTES, 0] : [0, 0, 0]
    rows.push(begin, CHUNK_BYTES, 0, BUNDLE_AT, 0, plainOffset, ...block)
    plainOffset += stored.length
  }
  const who = { vaultId: randomBytes(16), epochId, sealer: randomBytes(32), key }
  const { sealed } = builder.finish(who, 'full')
  const dir = mkdtempSync(join(tmpdir(), 'lattice-places-'))
  writeFileSync(join(dir, 'pack'), Buffer.concat([Buffer.alloc(BUNDLE_AT, 7), sealed]))
  const fd = openSync(join(dir, 'pack'), 'r+')
  for (let at = 0; at < rows.length; at += 9) {
    rows[at + 2] = fd
    rows[at + 4] = sealed.length
  }
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ fd: ours, manual })
  const kernel = new FakeKernel(theirs)
  test.teardown(async () => {
    fs.close()
    await kernel.ended
    try {
      closeSync(fd)
    } catch {
      // the test closed it
    }
    rmSync(dir, { recursive: true })
  })
  await kernel.ok(OP.init, 0, body.init())
  const { ino } = attrAt(await kernel.ok(OP.create, 1, body.create('a')), 40)
  fs.table.setBundleKey(epochId, key)
  fs.nodes.get(ino)!.base = base
  const attr = fs.packed(ino)
  attr[5] = SIZE
  fs.table.setAttrs(ino, FATTR_SIZE, attr)
  const needs = (): number[][] =>
    fs.events.filter((row) => row[0] === 1).map((row) => row.slice(1, 4))
  const read = async (offset: number, length: number): Promise<Buffer> =>
    kernel.ok(OP.read, ino, body.read(offset, length))
  return { kernel, fs, ino, base, rows: new Float64Array(rows), fd, needs, read }
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > end) throw new Error('it never became true')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

void t.test(`random reads of known places ask nobody, SEED=${SEED}`, async (test) => {
  const { fs, ino, base, rows, fd, needs, read } = await packed(test)
  const random = numbersBelow(SEED)
  test.ok(fs.table.setPlaces(ino, fs.table.baseEpoch(ino), rows))
  closeSync(fd)
  for (let i = 0; i < 300; i++) {
    const at = random(CHUNK_BYTES)
    const offset = inChunk((i * 3) % CHUNKS, at)
    const length = 1 + random(Math.min(i % 10 === 0 ? CHUNK_BYTES : 5000, CHUNK_BYTES - at))
    const bytes = await read(offset, length)
    if (!bytes.equals(base.subarray(offset, offset + length))) throw new Error(`at ${offset}`)
  }
  test.same(needs(), [])
  const beyond = read(inChunk(5, CHUNK_BYTES - 10), 20)
  await until(() => needs().length === 1)
  test.same(needs(), [[ino, inChunk(5, CHUNK_BYTES - 10), 20]], 'partly unknown')
  fs.fillFromBase(ino, inChunk(5, CHUNK_BYTES - 10), 20)
  test.equal((await beyond).length, 20)
})

void t.test('places that were never true, or not of this base', async (test) => {
  const { fs, ino, base, rows, needs, read } = await packed(test)
  const epoch = fs.table.baseEpoch(ino)
  test.ok(fs.table.setPlaces(ino, epoch + 1, rows), 'stale: ignored')
  test.ok(fs.table.setPlaces(ino + 100, epoch, rows), 'no such file: ignored')
  const invalid = { code: 'invalid' }
  test.throws(() => fs.table.setPlaces(ino, epoch, new Float64Array(5)), invalid)
  test.throws(() => fs.table.setPlaces(ino, epoch, new Float64Array(9).fill(-1)), invalid)
  const nowhere = rows.map((value, i) => (i % 9 === 2 ? 9999 : value))
  test.notOk(fs.table.setPlaces(ino, epoch, nowhere), 'no such descriptor')
  const wrong = rows.slice()
  wrong[18 + 8] = 50_000 // a stretch beyond its chunk
  wrong[27 + 5] = 10_000_000 // beyond the bundle
  wrong[36 + 6]! -= 1 // a block that does not inflate
  for (const chunk of [1, 2, 3, 4]) {
    const before = needs().length
    const offset = inChunk(chunk, 1000)
    const bytes = read(offset, 4096)
    await until(() => needs().length > before)
    test.same(needs().at(-1), [ino, offset, 4096], `chunk ${chunk}: the engine is asked`)
    fs.fillFromBase(ino, offset, 4096)
    test.ok((await bytes).equals(base.subarray(offset, offset + 4096)))
    if (chunk === 1) test.ok(fs.table.setPlaces(ino, epoch, wrong))
  }
})

void t.test('damage is the engine’s to tell', async (test) => {
  const { fs, kernel, ino, rows, fd, needs } = await packed(test)
  const damage = rows[9 + 5]! + 30_000
  writeSync(fd, Buffer.alloc(100, 1), 0, 100, BUNDLE_AT + 81 + damage)
  test.ok(fs.table.setPlaces(ino, fs.table.baseEpoch(ino), rows))
  const failed = kernel.start(OP.read, ino, body.read(inChunk(1, 10), CHUNK_BYTES - 10))
  await until(() => needs().length > 0)
  for (const [, offset, length] of needs()) fs.table.fail(ino, offset!, length!, 5)
  test.equal((await failed.answer).error, 5)
})

void t.test('what changes leaves its places', async (test) => {
  const { fs, kernel, ino, base, rows, needs, read } = await packed(test)
  const expected = Buffer.from(base)
  const check = async (offset: number, length: number, asks = false): Promise<void> => {
    const before = needs().length
    const reading = read(offset, length)
    if (asks) {
      await until(() => needs().length > before)
      for (const [, from, count] of needs().slice(before)) fs.fillFromBase(ino, from!, count!)
    }
    const bytes = await reading
    test.ok(bytes.equals(expected.subarray(offset, offset + length)), `at ${offset}`)
    if (!asks) test.equal(needs().length, before)
  }
  fs.table.setPlaces(ino, fs.table.baseEpoch(ino), rows)
  const written = inChunk(3, 50_000)
  await kernel.ok(OP.write, ino, body.write(written, Buffer.alloc(1000, 9)))
  expected.fill(9, written, written + 1000)
  await check(written - 1000, 3000)
  await check(inChunk(6, 0), 10)
  fs.seal(ino)
  fs.table.setLimits(1 << 30, 0)
  await check(written - 2000, 2000)
  await check(inChunk(6, 0), 10)
  fs.table.setLimits(1 << 30, 1 << 30)
  await check(written - 500, 1000, true)

  const cut = inChunk(5, 20_000)
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR_SIZE, { size: cut }))
  await kernel.ok(OP.setattr, ino, body.setattr(FATTR_SIZE, { size: SIZE }))
  expected.fill(0, cut)
  await check(cut - 1000, 2000)
  fs.seal(ino)
  fs.table.setLimits(1 << 30, 0)
  await check(inChunk(1, 0), 100)
  await check(cut - 2000, 2000)
  fs.table.setLimits(1 << 30, 1 << 30)
  await check(inChunk(7, 500), 10, true)

  fs.table.replaceBase(ino, inChunk(1, 1000), 1000)
  fs.nodes.get(ino)!.base.fill(4, inChunk(1, 1000), inChunk(1, 2000))
  expected.fill(4, inChunk(1, 1000), inChunk(1, 2000))
  await check(inChunk(1, 1500), 10, true)
  await check(inChunk(4, 1500), 10)
  await check(inChunk(1, 5000), 10)
})

void t.test(`reads, writes, cuts and seals at once, SEED=${SEED}`, async (test) => {
  const { fs, kernel, ino, base, rows } = await packed(test, false)
  const random = numbersBelow(SEED + 1)
  const expected = Buffer.from(base)
  fs.table.setPlaces(ino, fs.table.baseEpoch(ino), rows)
  let wrong = 0
  for (let round = 0; round < 100; round++) {
    const at = inChunk(random(CHUNKS), random(CHUNK_BYTES))
    const length = 1 + random(8000)
    const reads = Array.from({ length: 6 }, async (_, i) => {
      const offset = inChunk((round + i * 3) % CHUNKS, random(CHUNK_BYTES - 9000))
      const bytes = await kernel.ok(OP.read, ino, body.read(offset, 9000))
      if (offset < at + length && at < offset + 9000) return // the write may come before or after
      if (!bytes.equals(expected.subarray(offset, offset + 9000))) wrong++
    })
    const write = kernel.ok(OP.write, ino, body.write(at, Buffer.alloc(length, round)))
    if (round % 5 === 0) fs.seal(ino)
    if (round % 7 === 0) fs.table.setLimits(1 << 30, round % 2 === 0 ? 0 : 1 << 30)
    await Promise.all(reads)
    await write
    expected.fill(round, at, at + length)
  }
  test.equal(wrong, 0)
  await kernel.ok(OP.flush, ino, body.flush())
  test.equal(fs.table.totals()[3], 0, 'nobody waits')
})
