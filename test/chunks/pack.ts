// Packs under power loss, failing writes and flushes, a full disk, damage and kill -9.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MemoryLooseChunks } from '../../src/chunks/chunk-index-port.ts'
import type { Content } from '../../src/ops/types.ts'
import {
  NO_PACK, bundleChecksum, parsePackHeader, scanPack, writePackHeader, writeRecordHeader,
} from '../../src/chunks/pack-layout.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { SimDisk } from '../support/sim-disk.ts'
import {
  Frozen, bytesOf, openStore, randomOf, readAll, tempDirectory, writeWhole,
} from './content.helper.ts'
import type { Bench } from './content.helper.ts'
import { fileOf } from './pack-kill.helper.ts'
import { testSeed } from '../support/seed.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

type File = { content: Content; bytes: Uint8Array }
const small = { workers: false, directory: '/v/packs', packBytes: 250_000, unitBytes: 60_000 }

async function reads({ store }: Bench, { content, bytes }: File): Promise<boolean> {
  const read = await readAll(store, store.open(content, bytes.length))
  if (Buffer.compare(read, bytes) !== 0) throw new Error('wrong content')
  return true
}

/** Loose chunks and their index entries live on: the journal has its own tests. */
async function reopen(disk: SimDisk, before: Bench, frozen: Frozen): Promise<Bench> {
  const bench = await openStore({ ...small, disk, frozen, loose: before.loose })
  for (const [id, location] of before.index.entries) {
    if (location.where === 'journal') bench.index.put(id, location)
  }
  bench.store.recover([])
  return bench
}

t.test('power loss at any step keeps what was synced, and tears the rest only', async (t) => {
  const frozen = new Frozen(4 * 1024 * 1024)
  let lost = 0
  let crashes = 0
  for (let round = 0; round < 16; round++) {
    const random = randomOf(seed + round)
    let disk = new SimDisk(seed + round)
    let bench = await openStore({ ...small, disk, frozen, loose: new MemoryLooseChunks() })
    const synced: File[] = []
    for (let session = 0; session < 3; session++) {
      let unsynced: File[] = []
      disk.crashAfter(10 + random(80))
      try {
        for (let i = 0; i < 40; i++) {
          const bytes = bytesOf(random, 20_000 + random(60_000))
          unsynced.push({ bytes, content: await writeWhole(bench, bytes, true) })
          if (random(3) > 0) continue
          await bench.store.sync()
          synced.push(...unsynced)
          unsynced = []
        }
      } catch (error) {
        if (!disk.hasCrashed) throw error
        crashes++
      }
      disk = random(4) === 0 ? disk.restart() : disk.reboot()
      bench = await reopen(disk, bench, frozen)
      t.strictSame(bench.packs.damage, [], `seed ${seed} round ${round}: torn, not damaged`)
      for (const file of synced) await reads(bench, file)
      for (const file of unsynced) {
        try {
          await reads(bench, file)
        } catch (error) {
          if (!isLatticeError(error, 'chunk-missing')) throw error
          lost++
        }
      }
    }
  }
  t.ok(crashes > 20, `${crashes} crashes`)
  t.ok(lost > 3, `${lost} files that nobody had synced were lost`)
})

t.test('failing writes and flushes cost packs, never bytes', async (t) => {
  const frozen = new Frozen(4 * 1024 * 1024)
  let failures = 0
  for (let round = 0; round < 16; round++) {
    const random = randomOf(seed + round)
    const disk = new SimDisk(seed + round)
    const bench = await openStore({ ...small, disk, frozen, loose: new MemoryLooseChunks() })
    let sealed: File[] = []
    const synced: File[] = []
    for (let i = 0; i < 40; i++) {
      const calls = ['write', 'sync', 'create', 'syncDirectory'] as const
      if (random(4) === 0) disk.fail(calls[random(4)]!)
      try {
        const bytes = bytesOf(random, 20_000 + random(60_000))
        sealed.push({ bytes, content: await writeWhole(bench, bytes, true) })
      } catch (error) {
        if (!isLatticeError(error)) throw error
        failures++
      }
      if (random(3) > 0) continue
      try {
        await bench.store.sync()
        synced.push(...sealed)
        sealed = []
      } catch (error) {
        if (!isLatticeError(error)) throw error
        failures++
      }
    }
    for (const file of [...sealed, ...synced]) await reads(bench, file)
    const again = await reopen(disk.reboot(), bench, frozen)
    for (const file of synced) await reads(again, file)
    t.strictSame(again.packs.damage, [], `seed ${seed} round ${round}`)
  }
  t.ok(failures > 5, `${failures} calls told of a failure`)
})

t.test('a full disk is told to every waiter, and nothing is lost', async (t) => {
  const frozen = new Frozen(16 * 1024 * 1024)
  const disk = new SimDisk(seed)
  const random = randomOf(seed)
  const bench = await openStore({ ...small, disk, frozen })
  const kept: File[] = []
  const bytes = bytesOf(random, 50_000)
  kept.push({ bytes, content: await writeWhole(bench, bytes, true) })
  await bench.store.sync()
  disk.capacityBytes = disk.usedBytes() + 100_000
  const waiters = Array.from({ length: 5 }, () => bytesOf(random, 90_000, false))
  const outcomes = await Promise.allSettled(waiters.map((one) => writeWhole(bench, one, true)))
  const failed = outcomes.filter((one) => one.status === 'rejected')
  t.ok(failed.length >= 4, `${failed.length} of 5 did not fit`)
  for (const { reason } of failed) t.equal(reason.code, 'disk-full')
  disk.capacityBytes = Infinity
  for (const one of waiters) kept.push({ bytes: one, content: await writeWhole(bench, one, true) })
  await bench.store.sync()
  const again = await reopen(disk.reboot(), bench, frozen)
  for (const file of kept) await reads(again, file)
  t.equal(again.packs.damage.length, 0)
})

t.test('damage before the durable length is reported, not cut', async (t) => {
  const frozen = new Frozen(4 * 1024 * 1024)
  const disk = new SimDisk(seed)
  const random = randomOf(seed)
  const bench = await openStore({ ...small, packBytes: 1 << 26, disk, frozen })
  const files: File[] = []
  for (let i = 0; i < 3; i++) {
    const bytes = bytesOf(random, 60_000, false)
    files.push({ bytes, content: await writeWhole(bench, bytes, true) })
    await bench.store.sync()
  }
  const pack = '/v/packs/0/00000000.pack'
  disk.edit(pack, (bytes) => {
    bytes[5000] = bytes[5000]! ^ 1
  })
  const again = await reopen(disk, bench, frozen)
  t.strictSame(again.packs.damage, [{ file: 0, offset: 4096, reason: 'checksum' }])
  await t.rejects(reads(again, files[0]!), { code: 'chunk-missing' })
  t.ok(await reads(again, files[1]!))
  t.ok(await reads(again, files[2]!))
  const stale = await openStore({ ...small, disk, frozen, index: bench.index })
  await t.rejects(reads(stale, files[0]!), { code: 'damaged-pack' })
  t.equal([...stale.store.verifyPack(0)].length, 1)
})

t.test('layout', async (t) => {
  const block = new Uint8Array(4096)
  const header = {
    vaultId: new Uint8Array(16).fill(9), writer: 3, number: 7, previousNumber: NO_PACK,
    previousBytes: 0,
  }
  writePackHeader(block, header)
  t.strictSame(parsePackHeader(block), header)
  const with1 = (at: number) => {
    const copy = block.slice()
    copy[at] = copy[at]! ^ 1
    return parsePackHeader(copy)
  }
  t.equal(with1(0), 'magic')
  t.equal(with1(8), 'version')
  for (const at of [9, 25, 29, 33, 40, 50, 4000, 4095]) t.equal(with1(at), 'checksum')
  t.equal(parsePackHeader(block.subarray(0, 4000)), 'magic')

  const file = new Uint8Array(16384)
  const put = (at: number, length: number, durable: number) => {
    const bundle = file.subarray(at + 12, at + 12 + length).fill(at & 255)
    writeRecordHeader(file.subarray(at, at + 12), length, durable, bundleChecksum(bundle))
  }
  put(4096, 200, 0)
  put(4308, 300, 0)
  put(8192, 500, 0)
  put(12288, 400, 8192)
  const read = (offset: number, into: Uint8Array) => {
    const part = file.subarray(offset, offset + into.length)
    into.set(part)
    return part.length
  }
  const offsets = () => scanPack(read, 4096, file.length).records.map((one) => one.bundleOffset)
  t.strictSame(offsets(), [4108, 4320, 8204, 12300])
  file[8300] = 77
  t.match(scanPack(read, 4096, file.length), { brokenAt: 8192, damaged: false })
  t.strictSame(offsets(), [4108, 4320], 'a torn tail ends the pack')
  const known = scanPack(read, 4096, file.length, { durableBytes: 9000 })
  t.match(known, { damaged: true }, 'known to be durable')
  file[4200] = 77
  t.match(scanPack(read, 4096, file.length), { brokenAt: 4096, damaged: true })
  t.strictSame(offsets(), [12300], 'behind damage the next unit is found')
})

t.test('a unit may end so near the next block that no record header fits between', async (t) => {
  for (let restBytes = 1; restBytes <= 14; restBytes++) {
    const file = new Uint8Array(12288)
    const put = (at: number, length: number) => {
      const bundle = file.subarray(at + 12, at + 12 + length).fill(7)
      writeRecordHeader(file.subarray(at, at + 12), length, 4096, bundleChecksum(bundle))
    }
    put(4096, 4096 - 12 - restBytes)
    put(8192, 500)
    const read = (offset: number, into: Uint8Array) => {
      const part = file.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    }
    const { records, brokenAt } = scanPack(read, 4096, file.length)
    t.strictSame(records.map((one) => one.bundleOffset), [4108, 8204], `${restBytes} bytes left`)
    t.equal(brokenAt, undefined)
  }
})

t.test('kill -9 of a process with real workers', async (t) => {
  const helper = fileURLToPath(new URL('./pack-kill.helper.ts', import.meta.url))
  const frozen = new Frozen(64 * 1024 * 1024)
  let total = 0
  for (let round = 0; round < 3; round++) {
    const directory = tempDirectory(t)
    const args = ['--import', 'tsx', helper, directory, String(seed + round)]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    let told = ''
    child.stdout.on('data', (data: Buffer) => {
      told += data.toString()
    })
    while (told.split('\n').length < 3 + round * 3) await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, round * 7))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const synced = [...told.matchAll(/synced (\d+)\n/g)].map((match) => Number(match[1]))
    const bench = await openStore({ directory, workers: false, frozen })
    t.ok(bench.store.recover([]) > 0)
    t.strictSame(bench.packs.damage, [])
    // Manifest nodes are loose: they went down with the journal that this test does not have.
    const inPacks = (): number =>
      [...bench.index.entries.values()].filter(({ where }) => where === 'pack').length
    const known = inPacks()
    for (const first of synced) {
      for (let n = first; n < first + 3; n++) {
        const bytes = fileOf(seed + round, n)
        await reads(bench, { bytes, content: await writeWhole(bench, bytes, true) })
        total++
      }
    }
    t.equal(inPacks(), known, `seed ${seed + round}: all of the synced chunks were there`)
    for (const id of bench.index.entries.keys()) await bench.store.verifyChunk(id)
    await bench.store.close()
    t.ok(fs.existsSync(join(directory, '1')) || fs.existsSync(join(directory, '2')))
  }
  t.comment(`${total} synced files read back`)
})
