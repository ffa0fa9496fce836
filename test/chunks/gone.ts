// Bundles that were given up: their space is given back, nothing counts as damage, what lies beside
// them stays; a crash on the way keeps them; the list beside a pack survives tears.
import fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { packNumberOf, packWriterOf } from '../../src/chunks/chunk-index-port.ts'
import type { BundlePlace } from '../../src/chunks/chunk-index-port.ts'
import { GoneList } from '../../src/chunks/gone-list.ts'
import { DirectDisk } from '../../src/chunks/pack-disk.ts'
import { listPack, scanPack } from '../../src/chunks/pack-layout.ts'
import type { Content } from '../../src/ops/types.ts'
import {
  Frozen, bytesOf, keys, openStore, randomOf, readAll, tempDirectory, writeWhole,
} from './content.helper.ts'
import type { Bench } from './content.helper.ts'
import { testSeed } from '../support/seed.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

const disk = new DirectDisk()
const VAULT = new Uint8Array(16).fill(7)

type File = { content: Content; bytes: Uint8Array }

async function written(bench: Bench, sizes: readonly number[], start: number): Promise<File[]> {
  const random = randomOf(start)
  const files: File[] = []
  for (const size of sizes) {
    const bytes = bytesOf(random, size)
    files.push({ bytes, content: await writeWhole(bench, bytes, true) })
  }
  await bench.store.sync()
  return files
}

function placesOf(bench: Bench): BundlePlace[] {
  return bench.packs.files().flatMap((file) => [...bench.packs.bundles(file)])
}

async function isHere({ store }: Bench, { content, bytes }: File): Promise<boolean> {
  if (store.presence(content, bytes.length).state !== 'local') return false
  return Buffer.compare(await readAll(store, store.open(content, bytes.length)), bytes) === 0
}

/** As the evictor does it, without anybody to ask. */
async function leave(bench: Bench, places: readonly BundlePlace[]): Promise<void> {
  const bundles = await Promise.all(places.map((place) => bench.store.bundles.inspect(place)))
  await bench.packs.noteGone(places)
  bench.packs.setGone(places)
  for (const bundle of bundles) bench.store.bundles.leave(bundle)
}

function blocksOf(directory: string): number {
  const names = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return names.reduce((sum, name) => sum + fs.statSync(join(directory, name)).blocks * 512, 0)
}

t.test('its space goes, everything else stays, and nothing is damage', async (t) => {
  for (let round = 0; round < 6; round++) {
    const random = randomOf(seed + round)
    const directory = tempDirectory(t)
    const frozen = new Frozen(16 * 1024 * 1024)
    const options = { directory, workers: false, frozen, packBytes: 3_000_000, unitBytes: 400_000 }
    let bench = await openStore(options)
    const sizes = Array.from({ length: 12 }, () => 1000 + random(1_500_000))
    const files = await written(bench, sizes, seed + round)
    const all = placesOf(bench)
    const gone = all.filter(() => random(2) === 0)
    const before = blocksOf(directory)
    const { loose } = bench
    const storedBytes = bench.packs.storedBytes()
    await leave(bench, gone)
    const goneBytes = gone.reduce((sum, { bundleBytes }) => sum + bundleBytes, 0)
    t.equal(bench.packs.storedBytes(), storedBytes - goneBytes)
    await bench.packs.giveBack()
    t.notOk(bench.packs.hasUnsettled)
    t.ok(before - blocksOf(directory) >= goneBytes - gone.length * 2 * 4096, 'on the disk, too')
    const here = await Promise.all(files.map((file) => isHere(bench, file)))
    await bench.store.close()

    const known = new Map(bench.index.entries)
    bench = await openStore({ ...options, loose })
    t.same(bench.packs.kept, [])
    for (const [id, location] of known) {
      if (location.where === 'journal') bench.index.put(id, location)
    }
    bench.store.recover([])
    t.same(bench.packs.damage, [])
    const key = ({ file, bundleOffset }: BundlePlace): string => `${file} ${bundleOffset}`
    const left = new Set(all.map(key))
    for (const place of gone) left.delete(key(place))
    t.same(placesOf(bench).map(key), [...left])
    t.same(await Promise.all(files.map((file) => isHere(bench, file))), here)
    for (const file of bench.packs.files()) t.same([...bench.store.verifyPack(file)], [])
    const more = await written(bench, [700_000], seed + round + 100)
    t.ok(await isHere(bench, more[0]!), 'writing goes on')
    await bench.store.close()
  }
})

t.test('a crash before the space is given back keeps the bundle', async (t) => {
  const directory = tempDirectory(t)
  const frozen = new Frozen(16 * 1024 * 1024)
  const options = { directory, workers: false, frozen }
  let bench = await openStore(options)
  const [first, second] = await written(bench, [900_000, 800_000], seed)
  const { loose, index } = bench
  const places = placesOf(bench)
  t.ok(places.length >= 2)
  await leave(bench, places)
  t.notOk(await isHere(bench, first!))
  await bench.store.close()

  bench = await openStore({ ...options, loose, index })
  t.same(bench.packs.kept.map(({ bundleOffset }) => bundleOffset).toSorted((a, b) => a - b),
    places.map(({ bundleOffset }) => bundleOffset).toSorted((a, b) => a - b))
  for (const place of bench.packs.kept) bench.store.adopt(await bench.store.bundles.inspect(place))
  t.ok(await isHere(bench, first!))
  t.ok(await isHere(bench, second!))
  await bench.packs.giveBack()
  await bench.store.close()
  bench = await openStore({ ...options, loose, index })
  t.same(bench.packs.kept, [], 'that is not asked again')
  t.ok(await isHere(bench, first!))
  await bench.store.close()
})

t.test('a pack that somebody reads is left alone', async (t) => {
  const bench = await openStore({
    directory: tempDirectory(t), workers: false, frozen: new Frozen(16 * 1024 * 1024),
  })
  const [file] = await written(bench, [900_000], seed)
  const plan = await bench.store.plan(bench.store.open(file!.content, 900_000), 0, 900_000)
  await leave(bench, placesOf(bench))
  await bench.packs.giveBack()
  t.ok(bench.packs.hasUnsettled)
  plan.release()
  await bench.packs.giveBack()
  t.notOk(bench.packs.hasUnsettled)
  await bench.store.close()
})

t.test('the list', async (t) => {
  const directory = tempDirectory(t)
  fs.mkdirSync(directory, { recursive: true })
  const pack = join(directory, '00000003.pack')
  const path = join(directory, '00000003.gone')
  const read = (): GoneList => GoneList.read(disk, pack, VAULT)
  const list = read()
  t.equal(list.count, 0)
  const one = { bundleOffset: 4108, bundleBytes: 70_000 }
  const two = { bundleOffset: 90_000, bundleBytes: 5000 }
  await list.note([one, two])
  t.equal(list.at(4108), undefined, 'not before it is said')
  list.add([one, two])
  t.same([list.at(4108), list.at(90_000), list.sumBytes], [70_000, 5000, 75_000])
  t.same(read().unsettled, [one, two])
  await list.settle()
  t.same(read().unsettled, [])
  t.equal(read().sumBytes, 75_000)
  await list.revoke([two])
  t.same([read().at(4108), read().at(90_000)], [70_000, undefined])

  const whole = fs.readFileSync(path)
  for (let bytes = 0; bytes < whole.length; bytes++) {
    fs.writeFileSync(path, whole.subarray(0, bytes))
    const torn = read()
    await torn.note([{ bundleOffset: 8192, bundleBytes: 81 }])
    t.equal(read().at(8192), 81, `written over a tail torn at ${bytes}`)
  }
  fs.writeFileSync(path, whole)
  const failed = read()
  const three = { bundleOffset: 200_000, bundleBytes: 900 }
  const four = { bundleOffset: 300_000, bundleBytes: 900 }
  await failed.note([three]) // and something fails before it is given up
  await failed.note([four])
  failed.add([four])
  await failed.settle()
  t.same([read().at(200_000), read().at(300_000)], [undefined, 900], 'noted only is kept')
  const flipped = Buffer.from(whole)
  flipped[40]! ^= 1
  fs.writeFileSync(path, flipped)
  t.equal(read().count, 0, 'nothing behind a broken record counts')
  const newer = Buffer.from(whole)
  newer[8] = 1
  fs.writeFileSync(path, newer)
  t.throws(read, { code: 'unknown-format' })
  fs.writeFileSync(path, whole)
  t.throws(() => GoneList.read(disk, pack, keys.vaultId), { code: 'unknown-format' })
})

t.test('listing finds what scanning finds', async (t) => {
  const directory = tempDirectory(t)
  const random = randomOf(seed + 50)
  const bench = await openStore({
    directory, workers: false, frozen: new Frozen(16 * 1024 * 1024), packBytes: 2_000_000,
    unitBytes: 150_000,
  })
  await written(bench, Array.from({ length: 60 }, () => 17_000 + random(90_000)), seed + 50)
  for (const file of bench.packs.files()) {
    const name = `${String(packNumberOf(file)).padStart(8, '0')}.pack`
    const bytes = fs.readFileSync(join(directory, String(packWriterOf(file)), name))
    const read = (offset: number, into: Uint8Array): number => {
      const part = bytes.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    }
    const listed = [...listPack(read, bytes.length, () => undefined)]
    t.same(listed, scanPack(read, 4096, bytes.length).records)
  }
  await bench.store.close()
})
