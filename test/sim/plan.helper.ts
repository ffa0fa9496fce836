// The plan of an episode: everything that is decided from the seed before anything runs. Each step
// has a seed of its own, so that leaving some out (shrinking) changes nothing in the others.
import { SeededRandom } from '../support/random.ts'
import type { NetworkFaults } from './network.helper.ts'
import { mixSeed } from './trace.helper.ts'

export type StepKind =
  | 'call' | 'script' | 'fsync' | 'checkpoint' | 'announce' | 'sync' | 'look'
  | 'crash' | 'kill' | 'armed-crash' | 'disk-trouble' | 'disk-full' | 'disk-freed'
  | 'partition' | 'isolate' | 'heal'
  | 'clock' | 'gap'
  | 'cut' | 'void'
  | 'remove' | 'rotate' | 'role' | 'add' | 'readmit'
  | 'backup' | 'restore'

export interface Step {
  index: number
  /** Virtual time since the step before. */
  gapMs: number
  device: number
  kind: StepKind
  seed: number
}

export interface Profile {
  name: string
  /** 'direct' = the rules alone; 'core' = the whole engine. */
  engine: 'direct' | 'core'
  /** Every second device keeps its index in LMDB, on a real disk. */
  hasLmdb?: boolean
  /** What journals keep free for themselves, so that a full disk shows before they stop. */
  spareBytes?: number
  devices: readonly [number, number]
  steps: number
  /** Relative weight of each kind of step. */
  weights: Partial<Record<StepKind, number>>
  faults: NetworkFaults
  /** Chance that a device's clock is far off from the start. */
  skewChance: number
  /** The longest pause between two steps; a day when not given. */
  gapMaxMs?: number
  /** Share in the default mixture. */
  share: number
  /** Device 1 is a liar. */
  hasLiar?: boolean
  /** Chance that the episode ends with one device removing everything. */
  emptyChance: number
}

export interface Plan {
  seed: number
  profile: Profile
  devices: number
  offsetsMs: number[]
  steps: Step[]
}

const DAY_MS = 86_400_000
export const YEAR_MS = 365 * DAY_MS

export function planOf(seed: number, profile: Profile): Plan {
  const random = new SeededRandom(mixSeed(seed, 0xa11))
  const devices = random.int(profile.devices[0], profile.devices[1] + 1)
  const offsetsMs = Array.from({ length: devices }, () => clockOffset(random, profile.skewChance))
  const kinds = Object.entries(profile.weights) as [StepKind, number][]
  const total = kinds.reduce((sum, [, weight]) => sum + weight, 0)
  const steps: Step[] = []
  for (let index = 0; index < profile.steps; index++) {
    let at = random.next() * total
    let kind: StepKind = 'call'
    for (const [one, weight] of kinds) {
      kind = one
      at -= weight
      if (at < 0) break
    }
    const device = random.int(0, devices)
    const gapMs = gap(random, profile.gapMaxMs ?? DAY_MS)
    steps.push({ index, gapMs, device, kind, seed: mixSeed(seed, 0x57e9 + index) })
  }
  return { seed, profile, devices, offsetsMs, steps }
}

function gap(random: SeededRandom, maxMs: number): number {
  const roll = random.next()
  if (roll < 0.5) return random.int(0, 40)
  if (roll < 0.92) return random.int(40, 900)
  if (roll < 0.998) return random.int(900, 8000)
  return random.int(0, maxMs)
}

export function clockOffset(random: SeededRandom, skewChance: number): number {
  if (!random.chance(skewChance)) return random.int(-500, 500)
  return random.int(-YEAR_MS, YEAR_MS)
}
