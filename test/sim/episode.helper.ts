// One episode: devices work, fail and lose each other according to a plan; then the world heals,
// and the oracles are asked. `keep` leaves steps out, to shrink a failing plan.
import { SeededRandom } from '../support/random.ts'
import { controlOp } from '../../src/ops/control-codec.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import type { MemberRules } from '../../src/state/members-rules.ts'
import { toHex } from '../../src/util/bytes.ts'
import { Actor } from './actor.helper.ts'
import { CoreEngine } from './core-engine.helper.ts'
import { CoreStorage } from './core-storage.helper.ts'
import { SimDevice } from './device.helper.ts'
import type { Storage } from './device.helper.ts'
import { TRUE_RULES } from './direct-engine.helper.ts'
import type { DirectEngine, DirectRules } from './direct-engine.helper.ts'
import { DirectStorage, directAuthor } from './direct-storage.helper.ts'
import { LmdbPlace, MemoryPlace } from './index-place.helper.ts'
import { learn, lie } from './liar.helper.ts'
import { changeMembers, mintWhereNeeded, removeForked } from './membership.helper.ts'
import { EMPTY_HASH } from './logs.helper.ts'
import { PERFECT } from './network.helper.ts'
import {
  checkEmpty, checkEqual, checkNaive, checkNothingLost, checkRebuild, checkSoFar, isSettled,
  unsettled,
} from './oracles.helper.ts'
import { YEAR_MS, clockOffset } from './plan.helper.ts'
import type { Plan, Step } from './plan.helper.ts'
import { turn } from './scheduler.helper.ts'
import { randomScript, removeEverything } from './scripts.helper.ts'
import { FIRST_EPOCH, GENESIS, SimKeys, addOp } from './sim-vault.helper.ts'
import { mixSeed } from './trace.helper.ts'
import { Violation } from './violation.helper.ts'
import { randomCall } from './workload.helper.ts'
import { World } from './world.helper.ts'

export interface Outcome {
  violation: { oracle: string; message: string } | undefined
  traceHash: string
  trace: readonly string[]
  events: number
  steps: number
}

export interface EpisodeOptions {
  keep?: ReadonlySet<number> | undefined
  /** Broken on purpose. */
  rules?: Partial<DirectRules> | undefined
  memberRules?: Partial<MemberRules> | undefined
}

/** Promise rejections that nobody handles belong to the episode that runs. */
let current: World | undefined
process.on('unhandledRejection', (error) => {
  if (current === undefined) throw error
  current.fail(error)
})

export async function runEpisode(plan: Plan, options: EpisodeOptions = {}): Promise<Outcome> {
  const world = new World(plan)
  current = world
  let violation: Outcome['violation']
  try {
    await new Episode(world, options).run()
  } catch (error) {
    violation = {
      oracle: error instanceof Violation ? error.oracle : 'no errors',
      message: error instanceof Violation ? error.message : stackOf(error),
    }
    for (const device of world.devices) device.life.isOver = true
  }
  await turn()
  await world.close()
  current = undefined
  const { trace, scheduler } = world
  return {
    violation, traceHash: trace.hash, trace: trace.lines, events: scheduler.eventsRun,
    steps: plan.steps.length,
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

class Episode {
  readonly #world: World
  readonly #plan: Plan
  readonly #keep: ReadonlySet<number> | undefined
  readonly #random: SeededRandom
  readonly #memberRules: Partial<MemberRules> | undefined

  constructor(world: World, options: EpisodeOptions) {
    this.#world = world
    this.#plan = world.plan
    this.#keep = options.keep
    this.#random = new SeededRandom(mixSeed(world.plan.seed, 0xe91))
    const rules = { ...TRUE_RULES, ...options.rules }
    this.#memberRules = options.memberRules
    const everybody = Array.from({ length: world.plan.devices }, (_, i) => directAuthor(i))
    world.epochs.add(FIRST_EPOCH, '0', everybody)
    for (let index = 0; index < world.plan.devices; index++) {
      const seed = mixSeed(world.plan.seed, 0xd00 + index)
      const storage = this.#storage(index, seed, rules)
      const device = new SimDevice(world, index, directAuthor(index), seed, storage)
      device.clock.offsetMs = world.plan.offsetsMs[index] ?? 0
      world.add(device)
    }
  }

  #storage(index: number, seed: number, rules: DirectRules): Storage {
    if (this.#plan.profile.engine === 'direct') {
      return new DirectStorage(seed, rules, this.#plan.devices)
    }
    const keys = new SimKeys(index, this.#world.epochs, toHex(FIRST_EPOCH))
    const { hasLmdb = false, spareBytes = 0 } = this.#plan.profile
    const place = hasLmdb && index % 2 === 1
      ? new LmdbPlace(this.#world.scheduler) : new MemoryPlace()
    return new CoreStorage({ seed, keys, index: place, memberRules: this.#memberRules, spareBytes })
  }

  /** Everybody is a member and up, and knows it. */
  async #begin(): Promise<void> {
    const world = this.#world
    const { scheduler, devices } = world
    if (this.#plan.profile.hasLiar === true) {
      const liar = devices.at(-1) as SimDevice
      liar.isLiar = liar.isOutcast = true
    }
    for (const device of devices) {
      if (device.isLiar) continue
      const first = devices[0] as SimDevice
      if (device !== first) device.logs.copyFrom(first.logs)
      await scheduler.drive(device.start(), 'a start')
      const { engine } = device
      if (!(engine instanceof CoreEngine)) continue
      if (device === first) {
        await scheduler.drive(engine.control([controlOp(GENESIS)]), 'the genesis')
        const adds = devices.slice(1).map(({ index }) => controlOp(addOp(index)))
        if (adds.length > 0) await scheduler.drive(engine.control(adds), 'adding devices')
      }
      await scheduler.drive(engine.pump(), 'a first pump')
    }
    const liar = devices.find((device) => device.isLiar)
    liar?.logs.copyFrom((devices[0] as SimDevice).logs)
  }

  async run(): Promise<void> {
    const world = this.#world
    await this.#begin()
    for (const step of this.#plan.steps) {
      await world.runUntil(world.scheduler.nowMs + step.gapMs)
      if (this.#keep === undefined || this.#keep.has(step.index)) this.#tryStep(step)
      world.check()
    }
    await this.#settle()
    const shown = await checkEqual(world)
    const first = world.honest[0] as SimDevice
    const input = await world.scheduler.drive(first.live.naive(), 'the batches')
    if (!world.ledger.hasVoid) await checkNothingLost(world, shown, input)
    await checkNaive(world, first, input)
    const last = this.#random.int(0, world.honest.length)
    const isWhole = (mixSeed(this.#plan.seed, 0x1db) & 1) === 0
    await checkRebuild(world, world.honest[last] as SimDevice, isWhole)
    if (this.#random.chance(this.#plan.profile.emptyChance)) await this.#empty()
    await this.#quiet()
  }

  // ---- steps ----

  /** A disk that has just crashed may be met at once. */
  #tryStep(step: Step): void {
    const device = this.#world.devices[step.device] as SimDevice
    try {
      this.#step(step)
    } catch (error) {
      if (!device.storage.hasCrashed) throw error
      this.#world.restart(device, true)
    }
  }

  #step(step: Step): void {
    const world = this.#world
    const device = world.devices[step.device] as SimDevice
    const random = new SeededRandom(step.seed)
    if (device.isLiar) {
      this.#mayFail(device, this.#lie(device, step, random))
      return
    }
    if (step.kind !== 'call' && step.kind !== 'script') {
      world.trace.note(`#${step.index} ${step.kind} d${step.device}`)
    }
    switch (step.kind) {
      case 'call':
        this.#call(device, step, random)
        return
      case 'script':
        if (device.isOnline) device.scripts.push(randomScript(this.#actor(device, step, random)))
        return
      case 'fsync':
        if (device.isOnline) void device.fsync()
        return
      case 'look':
        if (device.isOnline && !device.isOutcast && !world.ledger.clouded) {
          checkSoFar(world, device)
        }
        return
      case 'checkpoint':
        if (device.isOnline) this.#mayFail(device, device.live.checkpoint())
        return
      case 'announce':
        if (device.isOnline) this.#publish(device)
        return
      case 'sync':
        for (const one of world.devices) if (one.engine !== undefined) this.#publish(one)
        return
      case 'crash':
      case 'kill':
        if (device.isOnline) world.restart(device, step.kind === 'crash')
        return
      case 'armed-crash':
        if (device.isOnline && !device.storage.hasCrashed) device.storage.arm(random.int(1, 40))
        return
      case 'disk-trouble':
        world.troubled.add(device.index)
        device.storage.fail(random)
        return
      case 'disk-full':
        world.troubled.add(device.index)
        device.storage.fill(random.int(0, 12_000))
        return
      case 'disk-freed':
        device.storage.fill(Infinity)
        return
      case 'backup':
        if (device.isOnline && device.index > 0) device.backUp()
        return
      case 'restore':
        if (device.isOnline && device.restore()) device.startSoon(random.int(1, 3000))
        return
      case 'partition':
        world.network.partition(random, 2)
        return
      case 'isolate':
        world.network.isolate(device.index)
        return
      case 'heal':
        world.network.heal()
        return
      case 'clock':
        device.clock.offsetMs = clockOffset(random, 0.5)
        return
      case 'gap':
        world.scheduler.nowMs += random.int(0, YEAR_MS)
        return
      case 'cut':
      case 'void':
        if (this.#plan.profile.engine === 'direct') this.#cut(device, step, random)
        else this.#mayFail(device, changeMembers(world, device, step.kind, random))
        return
      case 'remove':
      case 'rotate':
      case 'role':
      case 'add':
      case 'readmit':
        this.#mayFail(device, changeMembers(world, device, step.kind, random))
        return
      default:
    }
  }

  #actor(device: SimDevice, step: Step, random: SeededRandom): Actor {
    const actor = new Actor(device, this.#world.ledger, random, `s${step.index}`)
    const { cut, remove } = this.#plan.profile.weights
    actor.sharesTokens = cut === undefined && remove === undefined
    return actor
  }

  /** One call of a program, or the next one of a script that is under way. */
  #call(device: SimDevice, step: Step, random: SeededRandom): void {
    if (!device.isOnline || !device.live.mayWrite) return
    if (device.scripts.length > 0 && random.chance(0.5)) {
      const at = random.int(0, device.scripts.length)
      const script = device.scripts[at]
      if (script?.next().done === true) device.scripts.splice(at, 1)
      return
    }
    for (let tries = 0; tries < 4; tries++) {
      if (randomCall(this.#actor(device, step, random), device.handles)) break
    }
  }

  #publish(device: SimDevice): void {
    this.#mayFail(device, device.fsync().then(() => {
      if (device.isOnline) this.#world.network.announceSoon(device.index)
    }))
  }

  #mayFail(device: SimDevice, promise: Promise<unknown>): void {
    const { life } = device
    promise.catch((error: unknown) => device.trouble(error, life))
  }

  /** Device 0 cuts what the last device appended from some length on, which then counts for
   *  nothing; what it does later is cut, too. */
  #cut(_device: SimDevice, step: Step, random: SeededRandom): void {
    const world = this.#world
    const first = world.devices[0] as SimDevice
    const target = world.devices.at(-1) as SimDevice
    if (!first.isOnline || target.isOutcast || target === first) return
    const applied = first.live.applied(target.author)
    if (applied > 250) return
    const length = random.int(Math.max(0, applied - 3), applied + 1)
    world.trace.note(`${step.kind} d${target.index} at ${length} of ${applied}`)
    const engine = first.live as DirectEngine
    engine.cut(target.author, length, step.kind === 'cut' ? 'cut' : 'void')
    target.isOutcast = true
    world.ledger.clouded = true
    if (step.kind === 'void') world.ledger.hasVoid = true
  }

  /** A liar appends something to its log. */
  async #lie(device: SimDevice, step: Step, random: SeededRandom): Promise<void> {
    const world = this.#world
    if (!random.chance(0.3)) return
    const { logs, author } = device
    const { ids, open, seal } = device.storage.liar
    const known = await learn(logs, open)
    const seq = logs.length(author)
    const treeHash = (other: AuthorId, length: number): Uint8Array => (
      Buffer.from(logs.hashAt(other, length) ?? EMPTY_HASH, 'latin1')
    )
    const plain = lie(random, known, { author, seq, nowMs: device.clock.nowMs(), ids, treeHash })
    world.trace.note(`#${step.index} d${device.index} lies at ${seq}: ${plain.length} bytes`)
    await logs.append([seal(plain, author, seq)])
    world.network.announceSoon(device.index)
  }

  // ---- the end ----

  /** The world heals; everybody hears everything. */
  async #settle(): Promise<void> {
    const world = this.#world
    const { scheduler, network } = world
    network.faults = PERFECT
    for (const device of world.devices) {
      device.storage.disarm()
      device.scripts = []
      for (const { ino } of device.handles.splice(0)) device.engine?.calls.close(ino)
    }
    for (let round = 0; round < 40; round++) {
      network.heal()
      for (const device of world.devices) {
        if (device.isLiar) continue
        if (!device.isOnline && !device.isStarting) device.startSoon(1)
        else if (device.isOnline) {
          this.#publish(device)
          device.pumpSoon()
          if (device.engine instanceof CoreEngine && device.engine.isBroken) {
            world.restart(device, false)
          }
        }
      }
      if (round < 30) {
        const fail = (error: unknown): void => world.fail(error)
        void removeForked(world).then(() => mintWhereNeeded(world)).catch(fail)
      }
      await world.runUntil(scheduler.nowMs + 2000)
      world.check()
      if (round > 0 && isSettled(world)) return
    }
    throw new Violation('everything arrives', unsettled(world))
  }

  /** One device removes all that it sees; nothing comes back anywhere. */
  async #empty(): Promise<void> {
    const world = this.#world
    const device = this.#random.pick(world.honest.filter((one) => one.live.mayWrite))
    world.trace.note(`d${device.index} removes everything`)
    removeEverything(new Actor(device, world.ledger, this.#random, 'empty'))
    await this.#settle()
    await checkEqual(world)
    checkEmpty(world)
  }

  /** No timer goes on by itself. */
  async #quiet(): Promise<void> {
    const world = this.#world
    await world.runUntil(world.scheduler.nowMs + 60_000)
    if (world.scheduler.pending > 0) {
      throw new Violation('the run ends quietly', `${world.scheduler.pending} events wait`)
    }
    world.check()
  }
}
