// The whole path of content: frozen jobs in, packs and journal on a real directory, plans out; on
// the calling thread and through real workers.
import fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  Frozen, bundleKey, bytesOf, openStore, randomOf, readAll, tempDirectory, writeWhole,
} from './content.helper.ts'
import type { Bench } from './content.helper.ts'
import { InlineSealer } from '../../src/chunks/seal-inline.ts'
import { executePieces } from '../../src/chunks/read-plan.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { testSeed } from '../support/seed.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

for (const workers of [false, true]) {
  const how = workers ? 'workers' : 'inline'

  t.test(`random files through random jobs read back (${how})`, async (t) => {
    const random = randomOf(seed)
    const frozen = new Frozen(64 * 1024 * 1024)
    const directory = tempDirectory(t)
    const bench = await openStore({ directory, workers, frozen })
    const { store } = bench
    const contents = []
    for (let f = 0; f < 14; f++) {
      let working = store.open(undefined, 0)
      let model = new Uint8Array(0)
      const steps = 1 + random(6)
      for (let step = 0; step < steps; step++) {
        const scale = [900, 9_000, 300_000, 3_000_000][random(4)]!
        const dirty: { offset: number; length: number; hole?: boolean }[] = []
        let at = random(3) === 0 ? model.length : random(model.length + 1)
        for (let i = 0; i <= random(4); i++) {
          const length = 1 + random(scale)
          const hole = random(6) === 0
          const end = at + length
          if (end > model.length) {
            const grown = new Uint8Array(end)
            grown.set(model)
            model = grown
          }
          model.set(hole ? new Uint8Array(length) : bytesOf(random, length), at)
          dirty.push({ offset: at, length, hole })
          at = end + random(scale)
          if (at > model.length) break
        }
        if (random(8) === 0) {
          const size = random(model.length)
          model = model.slice(0, size)
          for (const one of dirty) one.length = Math.min(one.length, size - one.offset)
        }
        let left = dirty.filter((one) => one.length > 0)
        for (let final = random(2) === 0; left.length > 0; final = true) {
          const job = frozen.job(model, left)
          const { sealedEnd } = await store.seal(working, job, { final, urgent: random(2) === 0 })
          left = left.filter((one) => one.offset + one.length > sealedEnd)
            .map((one) => {
              const offset = Math.max(one.offset, sealedEnd)
              return { ...one, offset, length: one.offset + one.length - offset }
            })
          if (final) t.equal(left.length, 0, 'a final job leaves nothing')
        }
        if (working.sizeBytes > model.length) working.resize(model.length)
        t.equal(working.sizeBytes, model.length)
        t.ok(equal(await readAll(store, working), model), `file ${f} step ${step}`)
        if (random(2) === 0) {
          const content = await store.describe(working)
          t.equal(working.changed, false)
          if (random(2) === 0) working = store.open(content, model.length)
        }
        for (let i = 0; i < 5 && model.length > 0; i++) {
          const offset = random(model.length)
          const length = 1 + random(Math.min(model.length - offset, 70_000))
          const part = await readAll(store, working, offset, length)
          if (!equal(part, model.subarray(offset, offset + length))) t.fail('a part differs')
        }
      }
      contents.push({ content: await store.describe(working), model })
    }
    await store.sync()
    await store.close()

    const again = await openStore({ directory, workers: false, frozen, loose: bench.loose })
    for (const [id, location] of bench.index.entries) {
      if (location.where === 'journal') again.index.put(id, location)
    }
    const bundles = again.store.recover([])
    t.ok(bundles > 0 && again.packs.damage.length === 0, `${bundles} bundles found again`)
    for (const { content, model } of contents) {
      const working = again.store.open(content, model.length)
      t.ok(equal(await readAll(again.store, working), model), 'read after reopening')
    }
    for (const id of again.index.entries.keys()) await again.store.verifyChunk(id)
    for (const file of again.packs.files()) {
      t.strictSame([...again.store.verifyPack(file)], [], 'packs verify')
    }
    await again.store.close()
  })

  t.test(`a second copy costs nothing, whatever the rhythm (${how})`, async (t) => {
    const random = randomOf(seed + 1)
    const frozen = new Frozen(64 * 1024 * 1024)
    const { store, index } = await openStore({ directory: tempDirectory(t), workers, frozen })
    for (let round = 0; round < 4; round++) {
      const model = bytesOf(random, 1025 + random(4_000_000))
      const rhythm = async (steady: boolean): Promise<void> => {
        let working = store.open(undefined, 0)
        let sealed = 0
        for (let end = 0; end < model.length; ) {
          end = Math.min(model.length, end + (steady ? model.length : 1 + random(900_000)))
          const final = end === model.length || random(2) === 0
          const dirty = [{ offset: sealed, length: end - sealed }]
          const job = frozen.job(model.subarray(0, end), dirty)
          const result = await store.seal(working, job, { final, urgent: false })
          sealed = Math.min(end, result.sealedEnd)
          if (final && random(2) === 0) working = store.open(await store.describe(working), end)
        }
        t.ok(equal(await readAll(store, working), model), 'content')
        await store.describe(working)
      }
      await rhythm(true)
      const before = index.entries.size
      await rhythm(true)
      t.equal(index.entries.size, before, 'written at once again: nothing new')
      await rhythm(false)
      const content = await writeWhole({ store, frozen } as Bench, model)
      const ids = store.chunksOf(content, model.length)
      t.ok([...ids].every((id) => index.get(id) !== undefined), 'all chunks are known')
    }
    await store.close()
  })

  t.test(`any rhythm gives the same content, with holes for zeros (${how})`, async (t) => {
    const random = randomOf(seed + 2)
    const frozen = new Frozen(64 * 1024 * 1024)
    const { store } = await openStore({ directory: tempDirectory(t), workers, frozen })
    for (let round = 0; round < 5; round++) {
      const model = bytesOf(random, 1025 + random(3_000_000))
      const zeros = random(model.length)
      model.fill(0, zeros, zeros + random(2_000_000))
      const whole = await writeWhole({ store, frozen } as Bench, model)
      const working = store.open(undefined, 0)
      let sealed = 0
      for (let end = 0; end < model.length; ) {
        end = Math.min(model.length, end + 1 + random(random(2) === 0 ? 2_000 : 700_000))
        const final = end === model.length || random(2) === 0
        const job = frozen.job(model.subarray(0, end), [{ offset: sealed, length: end - sealed }])
        const { sealedEnd } = await store.seal(working, job, { final, urgent: false })
        sealed = Math.min(end, sealedEnd)
      }
      t.strictSame(await store.describe(working), whole, `seed ${seed} round ${round}`)
    }
    await store.close()
  })
}

t.test('two jobs with equal content at the same time seal it once', async (t) => {
  const random = randomOf(seed + 3)
  const frozen = new Frozen(64 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: true, frozen })
  const model = bytesOf(random, 3_000_000)
  const all = await Promise.all(Array.from({ length: 6 }, () => writeWhole(bench, model)))
  for (const content of all) t.strictSame(content, all[0])
  await bench.store.sync()
  let stored = 0
  for (const { storedBytes } of bench.index.entries.values()) stored += storedBytes
  t.ok(stored <= model.length + 8192, `${stored} bytes stored`)
  await bench.store.close()
})

t.test('small contents', async (t) => {
  const frozen = new Frozen(4 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: false, frozen })
  const { store, index } = bench
  const small = Buffer.from('seventeen letters')
  t.strictSame(await writeWhole(bench, small), { kind: 'inline', bytes: new Uint8Array(small) })
  t.equal(index.entries.size, 0, 'inline content needs no chunk')
  const empty = await store.describe(store.open(undefined, 0))
  t.strictSame(empty, { kind: 'inline', bytes: new Uint8Array(0) })
  const random = randomOf(seed + 4)
  const working = store.open({ kind: 'inline', bytes: small }, small.length)
  const grown = new Uint8Array(9_000)
  grown.set(small)
  grown.set(bytesOf(random, 8_000), 1_000)
  await store.seal(working, frozen.job(grown, [
    { offset: 17, length: 983, hole: true }, { offset: 1_000, length: 8_000 },
  ]), { final: true, urgent: true })
  t.ok(equal(await readAll(store, working), grown), 'inline bytes become a chunk')
  t.ok([...index.entries.values()].every(({ where }) => where === 'journal'), 'loose chunks')
  t.ok(store.planNow(working, 0, 100) !== undefined, 'loose chunks are read at once')
  const content = await store.describe(working)
  t.equal(content.kind, 'refs')

  const source = store.open({ kind: 'inline', bytes: small }, small.length)
  const target = store.open(content, 9_000)
  await store.copyRange(source, 3, target, 8_995, 10)
  const expected = new Uint8Array(9_005)
  expected.set(grown)
  expected.set(small.subarray(3, 13), 8_995)
  t.ok(equal(await readAll(store, target), expected), 'copyRange by reference')
  t.ok(equal(await readAll(store, source), small), 'its source stays')

  const sparse = store.open(undefined, 0)
  sparse.resize(100e9)
  await store.seal(sparse, {
    ...frozen.job(bytesOf(random, 5_000), [{ offset: 0, length: 5_000 }]),
    attr: { ...frozen.job(new Uint8Array(1), []).attr, sizeBytes: 100e9 },
  }, { final: true, urgent: false })
  t.equal(await store.seek(sparse, 0, 'data'), 0)
  t.equal(await store.seek(sparse, 0, 'hole'), 5_000)
  t.equal(await store.seek(sparse, 6_000, 'data'), 100e9)
  t.equal((await store.describe(sparse)).kind, 'refs')
  await store.close()
})

t.test('short runs far apart are cut as each alone would be, and asked for together', async (t) => {
  const random = randomOf(seed + 7)
  const cut: InlineSealer['cut'] = Reflect.get(InlineSealer.prototype, 'cut')
  t.teardown(() => {
    InlineSealer.prototype.cut = cut
  })
  let asked = 0
  InlineSealer.prototype.cut = function counted(request) {
    asked++
    return cut.call(this, request)
  }
  for (const start of ['', 'SQLite format 3\0']) {
    const frozen = new Frozen(64 * 1024 * 1024)
    const benches = [false, true].map(() => {
      return openStore({ directory: tempDirectory(t), workers: false, frozen })
    })
    const together = await benches[0]!
    const alone = await benches[1]!
    const model = bytesOf(random, 4_000_000)
    model.set(Buffer.from(start))
    const contents = await Promise.all([writeWhole(together, model), writeWhole(alone, model)])
    const [one, other] = [together, alone].map(({ store }, i) => {
      return store.open(contents[i], model.length)
    })
    const dirty: { offset: number; length: number }[] = []
    for (let at = random(9_000); at < model.length - 200_000; at += 1 + random(9_000)) {
      const length = random(40) === 0 ? 1 + random(150_000) : 1 + random(9_000)
      model.set(bytesOf(random, length, false), at)
      dirty.push({ offset: at, length })
      at += length
    }
    asked = 0
    await together.store.seal(one!, frozen.job(model, dirty), { final: true, urgent: true })
    t.ok(asked < dirty.length / 8, `${dirty.length} runs, ${asked} requests`)
    t.ok(equal(await readAll(together.store, one!), model))
    for (const range of dirty) {
      const job = frozen.job(model, [range])
      await alone.store.seal(other!, job, { final: true, urgent: true })
    }
    t.same(await together.store.describe(one!), await alone.store.describe(other!))
    await Promise.all([together.store.close(), alone.store.close()])
  }
})

t.test('databases are cut in fixed pieces for good', async (t) => {
  const random = randomOf(seed + 5)
  const frozen = new Frozen(16 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: false, frozen })
  const { store } = bench
  const model = bytesOf(random, 1_000_000, false)
  model.set(Buffer.from('SQLite format 3\0'))
  const content = await writeWhole(bench, model)
  t.equal(content.kind !== 'inline' && content.chunker, 2)
  const working = store.open(content, model.length)
  const before = bench.index.entries.size
  for (let i = 0; i < 20; i++) {
    const page = random(240) * 4096
    model.set(bytesOf(random, 4096), page)
    await store.seal(working, frozen.job(model, [{ offset: page, length: 4096 }]), {
      final: true, urgent: true,
    })
  }
  t.ok(equal(await readAll(store, working), model))
  t.ok(bench.index.entries.size <= before + 20, 'a page is a chunk')
  const plan = store.planNow(store.open(content, model.length), 32_768, 4096)
  t.equal(plan!.pieces.length, 1)
  t.equal(plan!.pieces[0]!.kind === 'bundle' && plan!.pieces[0]!.bundleBytes <= 256 * 1024, true)
  plan!.release()
  await store.close()
})

t.test('a flipped bit anywhere is an error or nothing, never wrong content', async (t) => {
  const random = randomOf(seed + 6)
  const frozen = new Frozen(16 * 1024 * 1024)
  const directory = tempDirectory(t)
  const bench = await openStore({ directory, workers: false, frozen })
  const model = bytesOf(random, 700_000)
  const content = await writeWhole(bench, model, true)
  await bench.store.close()
  const path = join(directory, '0', '00000000.pack')
  const good = fs.readFileSync(path)
  let refused = 0
  for (let i = 0; i < 60; i++) {
    const bad = Buffer.from(good)
    const at = i < 20 ? random(4200) : random(bad.length)
    bad[at] = bad[at]! ^ (1 << random(8))
    fs.writeFileSync(path, bad)
    try {
      const again = await openStore({ directory, workers: false, frozen, index: bench.index })
      try {
        const read = await readAll(again.store, again.store.open(content, model.length))
        if (!equal(read, model)) t.fail(`wrong content after a flip at ${at}`)
      } finally {
        await again.store.close()
      }
    } catch (error) {
      if (!isLatticeError(error)) throw error
      refused++
    }
    const rebuilt = await openStore({ directory, workers: false, frozen })
    rebuilt.store.recover([])
    for (const id of rebuilt.index.entries.keys()) await rebuilt.store.verifyChunk(id)
    await rebuilt.store.close()
  }
  t.ok(refused > 30, `${refused} of 60 flips refused`)
  fs.writeFileSync(path, good)
})

t.test('an append behind a damaged or missing tail is sealed', async (t) => {
  const random = randomOf(seed + 7)
  const frozen = new Frozen(16 * 1024 * 1024)
  const directory = tempDirectory(t)
  const bench = await openStore({ directory, workers: false, frozen })
  const old = bytesOf(random, 60_000, false)
  const content = await writeWhole(bench, old)
  await bench.store.close()
  const path = join(directory, '0', '00000000.pack')
  const good = fs.readFileSync(path)
  const grown = Buffer.concat([old, bytesOf(random, 50_000, false)])
  for (const how of ['good', 'damaged', 'missing', 'cut off'] as const) {
    const bad = Buffer.from(good)
    if (how === 'damaged') bad.fill(0x55, 4096 + 300, 4096 + 50_000)
    fs.writeFileSync(path, how === 'cut off' ? bad.subarray(0, 8192) : bad)
    const index = how === 'missing' ? {} : { index: bench.index }
    const { store, packs } = await openStore({ directory, workers: false, frozen, ...index })
    // An index that knows of more than the disk has.
    if (how === 'damaged') packs.grew(0, good.length)
    const working = store.open(content, old.length)
    const job = frozen.job(grown, [{ offset: old.length, length: 50_000 }])
    await store.seal(working, job, { final: true, urgent: false })
    const described = await store.describe(working)
    const again = store.open(described, grown.length)
    const tail = await readAll(store, again, old.length)
    t.ok(equal(tail, grown.subarray(old.length)), `${how}: what was appended reads back`)
    if (how === 'good') t.ok(equal(await readAll(store, again), grown))
    else await t.rejects(readAll(store, again, 0, 1000), 'what is damaged stays an error')
    await store.close()
    // What the append wrote goes.
    for (const name of fs.readdirSync(join(directory, '0'))) {
      if (name !== '00000000.pack') fs.rmSync(join(directory, '0', name))
    }
  }
})

t.test('an append behind a manifest node that is missing is sealed', async (t) => {
  const random = randomOf(seed + 8)
  const frozen = new Frozen(64 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: false, frozen })
  const old = bytesOf(random, 5_000_000, false)
  const content = await writeWhole(bench, old)
  if (content.kind !== 'tree') throw new Error('the file should have a tree')
  await bench.store.close()
  const root = bench.index.get(content.root.chunk)!
  bench.index.entries.delete(content.root.chunk)
  const { directory, index, loose } = bench
  const { store } = await openStore({ directory, workers: false, frozen, index, loose })
  const working = store.open(content, old.length)
  let grown = Buffer.from(old)
  for (let append = 0; append < 4; append++) {
    const more = bytesOf(random, 1 + random(append === 0 ? 100 : 3_000_000), false)
    const dirty = [{ offset: grown.length, length: more.length }]
    grown = Buffer.concat([grown, more])
    await store.seal(working, frozen.job(grown, dirty), { final: true, urgent: append === 1 })
    await store.describe(working)
  }
  const again = store.open(await store.describe(working), grown.length)
  t.ok(equal(await readAll(store, again, old.length), grown.subarray(old.length)), 'it reads back')
  await t.rejects(readAll(store, again, 0, 1000), { code: 'chunk-missing' })
  const job = frozen.job(grown, [{ offset: 1000, length: 70_000 }])
  await store.seal(working, job, { final: true, urgent: false })
  await t.rejects(store.describe(working), { code: 'chunk-missing' }, 'not so a change inside')
  index.put(content.root.chunk, root)
  const healed = store.open(await store.describe(working), grown.length)
  t.ok(equal(await readAll(store, healed), grown), 'when it is back, all of it is there')
  await store.close()
})

t.test('long runs of zeros are holes, short ones are not', async (t) => {
  const random = randomOf(seed + 9)
  const frozen = new Frozen(64 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: false, frozen })
  const { store } = bench
  const model = bytesOf(random, 9_000_000, false)
  model.fill(0, 1_000_000, 7_000_000)
  model.fill(0, 8_000_000, 8_300_000)
  const working = store.open(await writeWhole(bench, model), model.length)
  t.ok(equal(await readAll(store, working), model))
  const holeBytes = store.holeBytes(working)
  t.ok(holeBytes > 4_500_000 && holeBytes <= 6_000_000, `${holeBytes} bytes are holes`)
  t.equal(holeBytes % (512 * 1024), 0)
  const database = new Uint8Array(1_000_000)
  database.set(Buffer.from('SQLite format 3\0'))
  database.fill(1, 500_000, 500_001)
  const pages = store.open(await writeWhole(bench, database), database.length)
  t.ok(equal(await readAll(store, pages), database))
  t.equal(store.holeBytes(pages), 59 * 16 * 1024, 'whole pages but the first and one inside')
  await store.close()
})

t.test('plans pin what they name', async (t) => {
  const frozen = new Frozen(4 * 1024 * 1024)
  const bench = await openStore({ directory: tempDirectory(t), workers: false, frozen })
  const model = bytesOf(randomOf(seed), 200_000)
  const content = await writeWhole(bench, model, true)
  const plan = await bench.store.plan(bench.store.open(content, model.length), 1, 199_000)
  t.ok(equal(executePieces(plan.pieces, bundleKey), model.subarray(1, 199_001)))
  plan.release()
  plan.release()
  await bench.store.close()
})
