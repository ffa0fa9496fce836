// The worlds of fuzz-world.helper.ts with a product fold on every device: it applies what its user
// makes and what it hears, and is compared with the naive model after the sync and at times on the
// way; at the end with all others, with one that hears of everything in another order, and with its
// own replay.
import { Facts } from '../../src/state/facts.ts'
import type { SeededRandom } from '../support/random.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import type { ReplicaEvent } from './fold-replica.helper.ts'
import { FuzzWorld, VAULT, optionsOf, standingOf } from './fuzz-world.helper.ts'
import type { StandingVersion } from './fuzz-world.helper.ts'
import type { ModelBatch } from './naive-model.helper.ts'
import type { NaiveUser } from './naive-user.helper.ts'

const STEPS = 140

export class Device {
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

export class DeviceError extends Error {
  readonly replica: FoldReplica

  constructor(replica: FoldReplica, message: string) {
    super(message)
    this.replica = replica
  }
}

export class World {
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
    fuzz.settleStanding()
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
  for (const event of replica.events) replayEvent(again, event)
  return again
}

export function replayEvent(replica: FoldReplica, event: ReplicaEvent): void {
  const { kind, sec, nsec, values } = event.facts
  const facts = Facts.replaying(kind, sec, nsec, [...values])
  if ('batch' in event) replica.apply(event.batch, event.own, facts)
  else if ('labels' in event) replica.changeLabels(event.labels, facts)
  else replica.changeStanding(event.standing, facts)
}
