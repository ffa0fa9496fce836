// The profiles of the simulator: what devices do and what goes wrong. `share` weighs them in the
// default mixture; those with share 0 are asked for by name.
import { SeededRandom } from '../support/random.ts'
import { PERFECT } from './network.helper.ts'
import type { NetworkFaults } from './network.helper.ts'
import type { Profile } from './plan.helper.ts'
import { mixSeed } from './trace.helper.ts'

const LAN: NetworkFaults = { ...PERFECT, delayMs: 30, slowChance: 0.02 }
const BAD: NetworkFaults = { lossChance: 0.15, doubleChance: 0.1, delayMs: 400, slowChance: 0.05 }

const WORK = { call: 70, script: 6, look: 3, announce: 4, checkpoint: 1, fsync: 3 }
const SPLITS = { partition: 2, isolate: 1, heal: 2, sync: 2 }

export const PROFILES: readonly Profile[] = [
  {
    name: 'rules', engine: 'direct', devices: [2, 4], steps: 200, faults: LAN, skewChance: 0.2,
    weights: { ...WORK, ...SPLITS, clock: 1, crash: 0.5, kill: 0.5 },
    share: 4, emptyChance: 0.3,
  },
  {
    name: 'cuts', engine: 'direct', devices: [3, 4], steps: 200, faults: LAN, skewChance: 0.1,
    weights: { ...WORK, ...SPLITS, cut: 0.6, void: 0.3 },
    share: 1, emptyChance: 0.2,
  },
  {
    name: 'liar', engine: 'direct', devices: [3, 4], steps: 200, faults: LAN, skewChance: 0.1,
    weights: { ...WORK, ...SPLITS, kill: 0.3 }, hasLiar: true,
    share: 1, emptyChance: 0,
  },
  {
    name: 'core', engine: 'core', devices: [2, 4], steps: 200, faults: LAN, skewChance: 0.2,
    weights: { ...WORK, ...SPLITS, clock: 1, crash: 1, kill: 1, 'armed-crash': 1 },
    share: 4, emptyChance: 0.3,
  },
  {
    name: 'disks', engine: 'core', devices: [1, 3], steps: 200, faults: LAN, skewChance: 0.2,
    weights: {
      ...WORK, ...SPLITS, fsync: 8, checkpoint: 3, crash: 2, kill: 2, 'armed-crash': 5,
      'disk-trouble': 3,
    },
    share: 1, emptyChance: 0.1,
  },
  {
    name: 'members', engine: 'core', devices: [3, 5], steps: 200, faults: LAN, skewChance: 0.2,
    weights: {
      ...WORK, ...SPLITS, kill: 0.4, remove: 0.7, role: 0.5, rotate: 0.7, readmit: 0.5, void: 0.2,
    },
    share: 2, emptyChance: 0.2,
  },
  {
    name: 'core-liar', engine: 'core', devices: [3, 4], steps: 200, faults: LAN, skewChance: 0.1,
    weights: { ...WORK, ...SPLITS, kill: 0.3 }, hasLiar: true,
    share: 1, emptyChance: 0,
  },
  {
    name: 'old-keys', engine: 'core', devices: [3, 4], steps: 200, faults: LAN, skewChance: 0.1,
    weights: { ...WORK, ...SPLITS, kill: 0.3, rotate: 2 }, hasLiar: true,
    share: 0.5, emptyChance: 0,
  },
  {
    name: 'full', engine: 'core', devices: [1, 3], steps: 200, faults: LAN, skewChance: 0.1,
    weights: {
      ...WORK, ...SPLITS, fsync: 6, checkpoint: 3, crash: 1, kill: 1, 'disk-full': 3,
      'disk-freed': 2,
    },
    spareBytes: 16_384, gapMaxMs: 60_000, share: 1, emptyChance: 0.1,
  },
  {
    name: 'storm', engine: 'core', devices: [2, 4], steps: 200, faults: BAD, skewChance: 0.3,
    weights: { ...WORK, ...SPLITS, sync: 4, kill: 0.5, crash: 0.5 },
    share: 1, emptyChance: 0.2,
  },
  {
    name: 'years', engine: 'core', devices: [2, 4], steps: 200, faults: LAN, skewChance: 0.5,
    weights: {
      ...WORK, sync: 2, isolate: 3, heal: 1, gap: 1, clock: 2, crash: 0.5, kill: 0.5, rotate: 0.3,
    },
    share: 1, emptyChance: 0.2,
  },
  {
    name: 'restored', engine: 'core', devices: [2, 4], steps: 200, faults: LAN, skewChance: 0.1,
    weights: { ...WORK, ...SPLITS, kill: 0.5, backup: 2, restore: 0.7, rotate: 0.2 },
    share: 1, emptyChance: 0.2,
  },
  {
    name: 'lmdb', engine: 'core', devices: [2, 3], steps: 200, faults: LAN, skewChance: 0.2,
    weights: {
      ...WORK, ...SPLITS, checkpoint: 4, crash: 1, kill: 1, 'armed-crash': 1, rotate: 0.3,
    },
    hasLmdb: true, share: 0, emptyChance: 0.3,
  },
  {
    name: 'crowd', engine: 'core', devices: [6, 8], steps: 400, faults: LAN, skewChance: 0.2,
    weights: {
      ...WORK, ...SPLITS, clock: 1, crash: 1, kill: 1, 'armed-crash': 0.5, remove: 0.3,
      role: 0.2, rotate: 0.4,
    },
    share: 0, emptyChance: 0.2,
  },
]

export function profileNamed(name: string): Profile {
  const found = PROFILES.find((profile) => profile.name === name)
  if (found === undefined) {
    throw new Error(`no profile "${name}"; there are ${PROFILES.map((one) => one.name).join(', ')}`)
  }
  return found
}

/** The profile that the mixture has for a seed. */
export function profileOf(seed: number): Profile {
  const total = PROFILES.reduce((sum, profile) => sum + profile.share, 0)
  let at = new SeededRandom(mixSeed(seed, 0xf17e)).next() * total
  for (const profile of PROFILES) {
    at -= profile.share
    if (at < 0) return profile
  }
  return PROFILES[0] as Profile
}

export { BAD, LAN, SPLITS, WORK }
