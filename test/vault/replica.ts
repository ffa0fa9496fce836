// The replica: what others did is applied once, whole and in causal order, whatever comes first;
// what cannot be applied waits without taking memory; crashes at any step lose nothing that was
// durable, and a rebuild from the journal comes to the same state, view and local numbers.
// SEED=n begins there, RUNS=n worlds.
import t from 'tap'
import type { Test } from 'tap'
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import { LatticeError } from '../../src/util/errors.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { Device, authorNamed, controlOp, epochNamed, heal, turn } from './cores.helper.ts'
import type { TestControl } from './cores.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 12)

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

async function control(device: Device, random: SeededRandom, all: readonly Device[]): Promise<void> {
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
      t.same(devices.flatMap((device) => device.core.waiting()), [])
      for (const device of devices) t.same(device.troubles, [])
    } catch (error) {
      t.fail(`SEED=${worldSeed} RUNS=1: ${String((error as Error).stack)}`)
    }
  })
}
