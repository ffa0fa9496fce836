// The replica: what others did is applied once, whole and in causal order, whatever comes first;
// what cannot be applied waits without taking memory; crashes at any step lose nothing that was
// durable, and a rebuild from the journal comes to the same state, view and local numbers.
// SEED=n begins there, RUNS=n worlds.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { Device, controlOp, epochNamed, heal, turn } from './cores.helper.ts'
import type { TestControl } from './cores.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 12)
if (process.env['RUNS'] !== undefined) t.setTimeout(0)

async function pair(seed: number): Promise<[Device, Device]> {
  return [await Device.start('A', seed), await Device.start('B', seed + 1)]
}

async function same(t: Test, devices: readonly Device[], what = ''): Promise<void> {
  const [first, ...others] = devices
  const hash = await first!.stateHash()
  for (const other of others) {
    t.same(other.list(), first!.list(), `${what} equal views`)
    t.equal(await other.stateHash(), hash, `${what} equal state`)
  }
  for (const device of devices) {
    await device.core.sync()
    const twin = await device.rebuilt()
    t.same(twin.list(true), device.list(true), `${what} the rebuild has the same numbers`)
    await twin.core.checkpointer.run().catch(() => undefined)
    t.equal(await twin.stateHash(), hash, `${what} the rebuild has the same state`)
  }
}

/** The same on LMDB. */
async function sameInLmdb(t: Test, device: Device): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-replica-'))
  const index = await LmdbIndex.open({
    directory, vaultId: '00', rootNode: device.rootNode,
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  })
  try {
    const twin = await device.rebuilt(index)
    t.same(twin.list(true), device.list(true), 'rebuilt in LMDB: the same numbers')
    await twin.core.checkpointer.run()
    t.equal(index.stateHash(), await device.stateHash(), 'rebuilt in LMDB: the same state')
    t.same(twin.list(true), device.list(true), 'read back from LMDB')
  } finally {
    await index.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

t.test('two devices exchange what they did', async (t) => {
  const [a, b] = await pair(1)
  a.mkdir('/d')
  a.save('/d/one', 'of a')
  b.save('/two', 'of b')
  await heal([a, b])
  t.same(a.list().length, 3)
  await same(t, [a, b])
  b.save('/d/one', 'of b, later')
  a.rename('/two', '/d/three')
  await heal([a, b])
  await same(t, [a, b])
  for (const device of [a, b]) await device.stop()
})

t.test('a batch waits for what it depends on, and only that', async (t) => {
  const [a, b] = await pair(10)
  const c = await Device.start('C', 12)
  a.mkdir('/d')
  await a.sync()
  b.logs.pull(a.logs)
  await b.core.pump()
  b.save('/d/of b', 'x')
  await b.sync()
  c.logs.pull(b.logs)
  c.logs.logs.delete(a.author)
  await c.core.pump()
  t.match(c.core.waiting(), [{ author: b.author, seq: 0, for: 'dep', on: a.author, length: 1 }])
  t.same(c.list(), [])
  c.save('/own', 'goes on')
  await c.sync()
  c.logs.pull(a.logs)
  await c.core.pump()
  t.same(c.core.waiting(), [])
  await heal([a, b, c])
  await same(t, [a, b, c])
})

t.test('without its key a batch waits; with it, it is applied', async (t) => {
  const [a, b] = await pair(20)
  a.save('/first', '1')
  await a.sync()
  a.keys.known.add('2')
  a.keys.sealing = '2'
  a.save('/second', '2')
  await a.core.control([controlOp({ label: a.author, name: 'also readable' })])
  await a.sync()
  b.logs.pull(a.logs)
  await b.core.pump()
  const epoch = epochNamed('2').toString('hex')
  t.match(b.core.waiting(), [{ author: a.author, seq: 1, for: 'key', epoch }])
  t.equal(b.list().length, 1)
  await b.crash()
  t.equal(b.list().length, 1)
  b.keys.known.add('2')
  await b.core.pump()
  t.same(b.core.waiting(), [])
  t.equal(b.core.members.label(a.author), 'also readable')
  b.keys.sealing = '2'
  await heal([a, b])
  await same(t, [a, b])
})

t.test('what does not open, or comes from an epoch that is over, is an empty batch', async (t) => {
  const [a, b] = await pair(30)
  a.save('/one', '1')
  await a.sync()
  const block = (await a.logs.read(a.author, 0))!
  const changed = Uint8Array.from(block)
  changed[changed.length - 1]! ^= 1
  b.logs.put(a.author, block)
  b.logs.put(a.author, changed) // not at its place, and not intact
  b.logs.put(a.author, new Uint8Array(3))
  b.logs.put(a.author, new Uint8Array(300_000))
  const suite = Uint8Array.from(block)
  suite[1] = 1
  b.logs.put(a.author, suite)
  await b.core.pump()
  t.equal(b.core.applier.length(a.author), 5)
  t.equal(b.list().length, 1)
  b.save('/two', '2')
  await b.sync()
  t.same((await b.rebuilt()).list(true), b.list(true))
})

t.test('a batch sealed under an epoch before one that it has seen is empty', async (t) => {
  const [a, b] = await pair(35)
  for (const device of [a, b]) device.keys.known.add('2')
  await a.core.control([controlOp({ epoch: '2'.repeat(8), after: '1'.repeat(8) })])
  a.keys.sealing = '2'
  a.save('/one', '1')
  await a.sync()
  b.logs.pull(a.logs)
  await b.core.pump()
  b.save('/lost', 'sealed with the old key, though it knew better')
  await b.sync()
  b.keys.sealing = '2'
  b.save('/kept', 'x')
  await b.sync()
  a.logs.pull(b.logs)
  await a.core.pump()
  t.same(a.list().map((line) => line.split(' ')[0]), ['/kept', '/one'])
})

t.test('another branch of a log is not applied, and what builds on it waits', async (t) => {
  const [a, b] = await pair(40)
  const twin = await Device.start('A', 77)
  const c = await Device.start('C', 43)
  a.save('/real', '1')
  twin.save('/other', '1')
  await a.sync()
  await twin.sync()
  b.logs.pull(a.logs)
  c.logs.pull(twin.logs)
  await b.core.pump()
  await c.core.pump()
  c.save('/builds on it', '2')
  await c.sync()
  b.logs.pull(c.logs)
  b.save('/goes on', '3')
  await b.sync()
  t.match(b.core.waiting(), [{ author: c.author, seq: 0, for: 'fork', on: a.author, length: 1 }])
  b.logs.logs.delete(a.author)
  twin.save('/other 2', '2')
  await twin.sync()
  b.logs.pull(twin.logs)
  await b.core.pump()
  t.equal(b.core.applier.length(a.author), 1)
  t.ok(b.core.waiting().some((one) => one.author === a.author && one.for === 'fork'))
  t.notOk(b.list().some((line) => line.startsWith('/other')))
})

t.test('a critical op of a later lattice ends applying and writing', async (t) => {
  const [a, b] = await pair(50)
  a.save('/before', '1')
  await a.sync()
  await a.core.control([controlOp({ needs: 'more' })])
  a.save('/after', '2')
  await a.sync()
  b.logs.pull(a.logs)
  await b.core.pump()
  t.match(b.core.waiting(), [{ author: a.author, seq: 1, for: 'needs-newer' }])
  t.equal(b.core.mayWrite, false)
  t.equal(b.list().length, 1)
})

t.test('who was cut off long ago: old batches count differently, here as everywhere', async (t) => {
  const [a, b] = await pair(60)
  const late = await Device.start('C', 62)
  b.mkdir('/d')
  b.save('/d/kept', 'b1')
  await heal([a, b])
  a.save('/d/kept', 'a1')
  b.rename('/d', '/e')
  b.save('/later', 'b2')
  await heal([a, b])
  a.save('/later', 'a2')
  a.save('/e/new', 'a3')
  await heal([a, b])
  await a.core.control([controlOp({ cut: b.author, from: 1 })])
  await a.core.control([controlOp({ label: a.author, name: 'of a' })])
  await heal([a, b])
  t.equal(b.core.mayWrite, false)
  for (const device of [a, b]) late.logs.pull(device.logs)
  await late.core.pump()
  await same(t, [a, b, late])
  t.match(a.list().join('\n'), /\/d\/new .*"a3"/, 'the rename is undone')
  await a.crash()
  await same(t, [a, b, late], 'after a crash')
})

t.test('others wait while a rename waits for content, and then go on', async (t) => {
  const [a, b] = await pair(70)
  a.save('/from a', '1')
  await a.sync()
  b.make('/source')
  b.save('/target', 'old')
  let sealed = (): void => undefined
  const sealing = new Promise<void>((resolve) => (sealed = resolve))
  const unsealed = b.at('/source')
  b.tree.setUnsealedContent({ isUnsealed: (ino) => ino === unsealed, seal: () => sealing })
  b.rename('/source', '/target')
  b.save('/behind', 'x')
  b.logs.pull(a.logs)
  await b.core.pump()
  t.match(b.core.waiting(), [{ author: a.author, seq: 0, for: 'local' }])
  b.write(unsealed, 'new')
  sealed()
  await turn()
  await b.core.pump()
  t.same(b.core.waiting(), [])
  await heal([a, b])
  await same(t, [a, b])
  t.match(a.list().join('\n'), /\/target .*"new"/)
})

t.test('a local op is not durable before the pack that it names, ' +
  'however it was placed', async (t) => {
  const [a, b] = await pair(80)
  a.save('/from a', '1')
  await a.sync()
  b.write(b.make('/large'), 'in a pack', true)
  b.logs.pull(a.logs)
  b.contentFails = 1
  await t.rejects(b.core.pump(), /simulated: pack/)
  t.equal(b.list().length, 2, 'applied, though not durable')
  await b.core.sync()
  t.equal(b.contentSyncs >= 2, true)
  const whole = b.list(true)
  await b.crash()
  t.same(b.list(true), whole)
  await heal([a, b])
  await same(t, [a, b])
})

t.test('an open file whose name got other content lives on, ' +
  'and what is written stays', async (t) => {
  const [a, b] = await pair(90)
  a.save('/f', 'old')
  await heal([a, b])
  const ino = b.at('/f')
  b.open.add(ino)
  a.save('/f', 'new')
  await heal([a, b])
  t.not(b.at('/f'), ino)
  b.write(ino, 'of the one who had it open')
  await heal([a, b])
  t.equal(b.list().length, 2, 'both are there')
  await same(t, [a, b])
})

t.test('a long backlog: applied in bounded memory, and local work goes on', async (t) => {
  const [a, b] = await pair(100)
  a.mkdir('/d')
  for (let i = 0; i < 1500; i++) {
    a.save(`/d/${i % 500}`, String(i))
    a.core.committer.placeAll()
  }
  await a.sync()
  await a.stop()
  b.logs.pull(a.logs)
  let most = 0
  let local = 0
  const pumping = b.core.pump()
  let isDone = false
  void pumping.then(() => (isDone = true))
  while (!isDone) {
    b.save(`/own ${local++ % 10}`, String(local))
    most = Math.max(most, b.index.changes)
    await turn()
  }
  await pumping
  t.equal(b.core.applier.length(a.author), a.logs.length(a.author))
  t.ok(local > 5, `${local} local operations meanwhile`)
  t.ok(most < 20_000, `${most} changes in memory at most`)
  t.ok(b.journal.pendingBytes < 4 << 20)
  await b.core.sync()
  t.same((await b.rebuilt()).list(true), b.list(true))
})

// ---- random worlds ----

const NAMES = ['a', 'b', 'c', 'd']

/** One call of a program, somewhere in the tree. */
function work(device: Device, random: SeededRandom): void {
  const lines = device.list().map((line) => line.split(' '))
  const kindOf = (line: string[]): number => Number(line.at(-4))
  const directories = ['', ...lines.filter((line) => kindOf(line) === KIND_DIRECTORY).map(pathOf)]
  const files = lines.filter((line) => kindOf(line) !== KIND_DIRECTORY).map(pathOf)
  const target = `${random.pick(directories)}/${random.pick(NAMES)}`
  const exists = lines.some((line) => pathOf(line) === target)
  const choice = random.int(0, 10)
  if (choice < 2 && !exists) device.mkdir(target)
  else if (choice < 6 && !directories.includes(target)) {
    device.save(target, `${device.author[0]}${random.int(0, 3)}`)
  } else if (choice < 7 && files.length > 0) device.unlink(random.pick(files))
  else if (choice < 9) {
    const from = random.pick([...files, ...directories.slice(1)])
    const isFree = !exists || (files.includes(target) && files.includes(from))
    if (from === undefined || !isFree || from === target || target.startsWith(`${from}/`)) return
    device.rename(from, target)
  } else if (files.length > 0) {
    const ino = device.at(random.pick(files))
    if (random.chance(0.5)) device.open.add(ino)
    else device.open.delete(ino)
  }
}

function pathOf(line: string[]): string {
  return line.slice(0, -4).join(' ')
}

async function control(
  device: Device, random: SeededRandom, all: readonly Device[],
): Promise<void> {
  const other = random.pick(all)
  const cut = other.author
  const length = device.core.applier.length(cut)
  const kinds: TestControl[] = [
    { label: cut, name: `name ${random.int(0, 3)}` },
    { cut: '?'.repeat(32), from: 0 },
  ]
  if (other !== all[0] && length > 1) {
    kinds.push({ cut, from: random.int(1, length) }, { void: cut, seq: random.int(1, length) })
  }
  await device.core.control([controlOp(random.pick(kinds))])
}

async function live(devices: Device[], random: SeededRandom, steps: number): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const device = random.pick(devices)
    device.clock.advance(random.int(0, 400))
    const choice = random.int(0, 100)
    if (choice < 60 && device.core.mayWrite) work(device, random)
    else if (choice < 68) await device.core.sync()
    else if (choice < 76) device.core.pump().catch(() => undefined)
    else if (choice < 84) await device.sync()
    else if (choice < 92) device.logs.pull(random.pick(devices).logs, random.int(1, 4))
    else if (choice < 95) await device.checkpoint()
    else if (choice < 97) await control(device, random, devices)
    else await crash(device, random)
    if (random.chance(0.2)) await turn()
  }
}

/** At whatever step of journal, fold and checkpoint the disk's next calls are. */
async function crash(device: Device, random: SeededRandom): Promise<void> {
  device.disk.crashAfter(random.int(1, 12))
  const ignore = (): void => undefined
  const going = [device.checkpoint(), device.core.sync(), device.core.pump()]
  for (const one of going) one.catch(ignore)
  await Promise.allSettled(going)
  await device.core.replica?.close()
  await device.core.publisher?.close()
  await device.crash(random.chance(0.5))
}

for (let run = 0; run < runs; run++) {
  const worldSeed = seed + run
  t.test(`a world of several devices, seed ${worldSeed}`, async (t) => {
    const random = new SeededRandom(worldSeed)
    const names = ['A', 'B', 'C'].slice(0, random.int(2, 4))
    const devices: Device[] = []
    for (const [i, name] of names.entries()) {
      devices.push(await Device.start(name, worldSeed * 10 + i))
    }
    try {
      await live(devices, random, 200)
      await heal(devices)
      await same(t, devices)
      if (run % 4 === 0) await sameInLmdb(t, random.pick(devices))
      t.same(devices.flatMap((device) => device.core.waiting()), [])
      for (const device of devices) t.same(device.troubles, [])
    } catch (error) {
      t.fail(`SEED=${worldSeed} RUNS=1: ${String((error as Error).stack)}`)
    }
  })
}
