// Seeds that once broke a promise. Each is replayed by test/sim/sim.ts; whoever fixes a violation
// that the simulator found adds its seed here. A change of the workload or of a profile gives old
// seeds other work: they stay as they are cheap, the case itself belongs into a test of its own.

export interface Regression {
  seed: number
  profile: string
  note: string
}

export const REGRESSIONS: readonly Regression[] = []
