// A simulated world: time, network, devices, what users meant, what happened. One per episode.
import { SeededRandom } from '../support/random.ts'
import type { SimDevice } from './device.helper.ts'
import { Ledger } from './ledger.helper.ts'
import { Signatures } from './logs.helper.ts'
import { SimNetwork } from './network.helper.ts'
import type { Plan } from './plan.helper.ts'
import { SimEpochs } from './sim-vault.helper.ts'
import { Scheduler } from './scheduler.helper.ts'
import { Trace, mixSeed } from './trace.helper.ts'

export class World {
  readonly plan: Plan
  readonly scheduler = new Scheduler()
  readonly trace: Trace
  readonly network: SimNetwork
  readonly signatures = new Signatures()
  readonly ledger = new Ledger()
  readonly epochs = new SimEpochs()
  readonly devices: SimDevice[] = []
  readonly random: SeededRandom
  failure: unknown
  /** Devices whose disks give trouble: errors from them are no violations. */
  readonly troubled = new Set<number>()

  constructor(plan: Plan) {
    this.plan = plan
    this.random = new SeededRandom(mixSeed(plan.seed, 0x3041d))
    this.trace = new Trace(() => this.scheduler.nowMs - startOf(this))
    const networkRandom = new SeededRandom(mixSeed(plan.seed, 0x4e7))
    this.network = new SimNetwork(
      this.scheduler, networkRandom, this.trace, plan.profile.faults,
    )
  }

  add(device: SimDevice): void {
    this.devices[device.index] = device
    this.network.join(device)
  }

  /** The first failure counts. */
  fail(error: unknown): void {
    this.failure ??= error
  }

  check(): void {
    if (this.failure !== undefined) throw this.failure
  }

  expectsTrouble(device: SimDevice, _error: unknown): boolean {
    return this.troubled.has(device.index)
  }

  /** Runs what is due up to then; throws what went wrong in it. */
  async runUntil(untilMs: number): Promise<void> {
    const { scheduler } = this
    while (await scheduler.step(untilMs)) {
      this.check()
      for (const device of this.devices) {
        if (device.storage.hasCrashed) this.restart(device, true)
      }
    }
    scheduler.nowMs = Math.max(scheduler.nowMs, untilMs)
  }

  /** Nothing is left behind on this machine. */
  async close(): Promise<void> {
    for (const device of this.devices) await device.storage.close()
  }

  /** Ends the device's process, or its power, and starts it again soon. */
  restart(device: SimDevice, power: boolean): void {
    device.crash(power)
    device.startSoon(device.random.int(1, 3000))
  }

  get honest(): SimDevice[] {
    return this.devices.filter((device) => !device.isOutcast)
  }
}

const starts = new WeakMap<World, number>()

function startOf(world: World): number {
  let start = starts.get(world)
  if (start === undefined) starts.set(world, (start = world.scheduler.nowMs))
  return start
}
