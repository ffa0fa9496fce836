// Seeds that once broke a promise. Each is replayed by test/sim/sim.ts; whoever fixes a violation
// that the simulator found adds its seed here. A change of the workload or of a profile gives old
// seeds other work: they stay as they are cheap, the case itself belongs into a test of its own.

export interface Regression {
  seed: number
  profile: string
  note: string
}

export const REGRESSIONS: readonly Regression[] = [
  { seed: 6, profile: 'rules', note: 'a new link took the name that a revived file had' },
  { seed: 36, profile: 'rules', note: 'a conflict copy slid to a name that was just freed' },
  { seed: 38, profile: 'rules', note: 'conflict copies followed a new link elsewhere' },
  { seed: 87, profile: 'rules', note: 'the last entry of a removed directory freed its name' },
  { seed: 201, profile: 'rules', note: 'a conflict copy stayed in the directory its file left' },
]
