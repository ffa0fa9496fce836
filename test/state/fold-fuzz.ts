// The fold against the rules: several devices in the worlds of fuzz-world.helper.ts, where names
// collide, directories move into each other, conflict copies become real, devices are cut off and
// let in again and some are hostile. Each device applies what it makes and what it hears, in any
// causal order; records, groups, entries and counts must be those of the naive model, after the
// sync and at times on the way. At the end all state hashes are equal, a device that hears of
// everything in another order agrees, and a replay with the recorded local facts comes to the same
// inos and cookies.
//   SEED=n         begins there (each world prints its own seed; options follow from it)
//   RUNS=n         that many worlds
//   SOAK=seconds   as long as that
//   MINIMAL=1      a failure is told as the fewest ops that make it
import t from 'tap'
import { testSeed } from '../support/random.ts'
import type { SeededRandom } from '../support/random.ts'
import { Facts } from '../../src/state/facts.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import { minimise } from './fold-minimal.helper.ts'
import { FuzzWorld, VAULT, optionsOf, standingOf } from './fuzz-world.helper.ts'
import type { StandingVersion } from './fuzz-world.helper.ts'
import type { ModelBatch } from './naive-model.helper.ts'
import type { NaiveUser } from './naive-user.helper.ts'
import { REGRESSIONS } from './regressions.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 16)
const soakSeconds = Number(process.env['SOAK'] ?? 0)
const STEPS = 140

class Device {
  readonly user: NaiveUser
  readonly replica = new FoldReplica(VAULT)
  standing: StandingVersion = { cutoffs: new Map(), voids: new Set() }

  constructor(user: NaiveUser) {
    this.user = user
  }

  adopt(standing: StandingVersion): void {
    if (this.standing === standing) return
    this.standing = standing
    this.user.changeStanding(standingOf(standing))
    guard(this.replica, () => this.replica.changeStanding(standing))
  }

  rename(label: typeof VAULT.label): void {
    if (this.replica.label === label) return
    this.user.changeLabels(label)
    guard(this.replica, () => this.replica.changeLabels(label))
  }

  /** Something is opened here, something else closed. */
  open(random: SeededRandom): void {
    const { isOpen, store } = this.replica
    isOpen.clear()
    for (let n = 0; n < 5; n++) isOpen.add(random.int(2, store.meta.nextIno + 1))
  }

  check(): void {
    const { model, view } = this.user.seen
    const wrong = this.replica.compare(model, view)
    if (wrong !== undefined) throw new DeviceError(this.replica, wrong)
  }
}

class DeviceError extends Error {
  readonly replica: FoldReplica

  constructor(replica: FoldReplica, message: string) {
    super(message)
    this.replica = replica
  }
}

class World {
  readonly fuzz: FuzzWorld
  readonly devices: Device[]

  constructor(seed: number) {
    this.fuzz = new FuzzWorld(seed, optionsOf(seed))
    this.devices = this.fuzz.users.map((user) => new Device(user))
  }

  live(): void {
    const { fuzz, devices } = this
    const { random } = fuzz
    for (let step = 0; step < STEPS; step++) {
      const device = random.pick(devices)
      if (random.chance(0.55)) this.#act(device)
      else this.#hear(device)
      if (fuzz.options.cuts && random.chance(0.03)) fuzz.changeStanding()
      if (random.chance(0.1)) device.adopt(fuzz.standing)
      if (random.chance(0.01)) fuzz.changeLabels()
      if (random.chance(0.05)) device.rename(fuzz.label)
      if (random.chance(0.1)) device.open(random)
      if (random.chance(0.1)) device.check()
      if (random.chance(0.05)) device.replica.checkpoint()
    }
    for (const device of devices) while (this.#hear(device));
    for (const device of devices) {
      device.adopt(fuzz.standing)
      device.rename(fuzz.label)
      device.check()
    }
    this.#agree()
  }

  #act({ user, replica }: Device): void {
    const batch = this.fuzz.random.chance(0.08) ? this.fuzz.normalise(user) : this.fuzz.act(user)
    if (batch !== undefined) guard(replica, () => replica.apply(batch, !this.fuzz.options.hostile))
  }

  #hear({ user, replica }: Device): boolean {
    const batch = this.fuzz.next(user)
    if (batch === undefined) return false
    const received = this.fuzz.encoded(batch)
    user.receive(received)
    guard(replica, () => replica.apply(received, false))
    return true
  }

  #agree(): void {
    const { devices, fuzz } = this
    const hashes = devices.map(({ replica }) => {
      replica.checkpoint()
      return replica.base.stateHash.digest()
    })
    const late = this.#refold()
    late.checkpoint()
    hashes.push(late.base.stateHash.digest())
    if (hashes.some((one) => one !== hashes[0])) throw new Error(`state hashes differ: ${
      hashes.map((one) => hashes.indexOf(one)).join()}`)
    const device = fuzz.random.pick(devices)
    const again = replay(device.replica)
    if (again.localText() !== device.replica.localText()) {
      throw new Error(`a replay differs:\n${again.localText()}\n\n${device.replica.localText()}`)
    }
  }

  /** Everything in another order, by a device that is none of the authors. */
  #refold(): FoldReplica {
    const { fuzz, devices } = this
    const replica = new FoldReplica(VAULT)
    if (fuzz.random.chance(0.5)) replica.changeLabels(fuzz.label)
    const lengths = new Map<string, number>()
    const isReady = (batch: ModelBatch) => batch.deps.every(({ author, length }) => (
      (lengths.get(author) ?? 0) >= length
    ))
    if (fuzz.random.chance(0.5)) replica.changeStanding(fuzz.standing)
    for (;;) {
      const ready = [...fuzz.logs].flatMap(([author, log]) => {
        const batch = log[lengths.get(author) ?? 0]
        return batch !== undefined && isReady(batch) ? [batch] : []
      })
      if (ready.length === 0) break
      const batch = fuzz.random.pick(ready)
      guard(replica, () => replica.apply(fuzz.encoded(batch), false))
      lengths.set(batch.author, batch.seq + 1)
    }
    replica.changeStanding(fuzz.standing)
    replica.changeLabels(fuzz.label)
    const { model, view } = devices[0]!.user.seen
    const wrong = replica.compare(model, view)
    if (wrong !== undefined) throw new DeviceError(replica, `refold: ${wrong}`)
    return replica
  }
}

function guard(replica: FoldReplica, run: () => void): void {
  try {
    run()
  } catch (error) {
    throw new DeviceError(replica, error instanceof Error ? error.stack ?? '' : String(error))
  }
}

/** The same events with the facts that were recorded. */
function replay(replica: FoldReplica): FoldReplica {
  const again = new FoldReplica(VAULT)
  for (const event of replica.events) {
    const { kind, sec, nsec, values } = event.facts
    const facts = Facts.replaying(kind, sec, nsec, [...values])
    if ('batch' in event) again.apply(event.batch, event.own, facts)
    else if ('labels' in event) again.changeLabels(event.labels, facts)
    else again.changeStanding(event.standing, facts)
  }
  return again
}

function run(worldSeed: number, counts: Map<string, number>): void {
  const world = new World(worldSeed)
  try {
    world.live()
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    if (error instanceof DeviceError && process.env['MINIMAL'] === '1') {
      process.stderr.write(`${minimise(VAULT, error.replica.events, text)}\n`)
    }
    throw new Error(`SEED=${worldSeed}: ${text}`, { cause: error })
  }
  for (const [what, n] of world.fuzz.counts) counts.set(what, (counts.get(what) ?? 0) + n)
}

t.test('worlds that failed once', (t) => {
  for (const { seed, what } of REGRESSIONS) {
    t.doesNotThrow(() => run(seed, new Map()), `${seed}: ${what}`)
  }
  t.end()
})

t.test(`worlds, seed ${seed}`, (t) => {
  const counts = new Map<string, number>()
  const end = Date.now() + soakSeconds * 1000
  let worlds = 0
  for (; worlds < runs || Date.now() < end; worlds++) run(seed + worlds, counts)
  t.comment(`${worlds} worlds: ${[...counts].map(([what, n]) => `${what} ${n}`).join(', ')}`)
  t.end()
})
