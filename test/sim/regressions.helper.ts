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
  { seed: 60049, profile: 'members', note: 'sealed under a senior epoch that knew of no removal' },
  { seed: 400545, profile: 'members', note: 'the same, by who had heard of both' },
  { seed: 401153, profile: 'members', note: 'the same, by the senior himself' },
  { seed: 100110, profile: 'members', note: 'a removed admin had an epoch, and a member no keys' },
  { seed: 200084, profile: 'members', note: 'a cut normalisation hid a content for good' },
  { seed: 8, profile: 'old-keys', note: 'a batch under an epoch before its op divided devices' },
  { seed: 2, profile: 'full', note: 'after a full disk an idle device applied nothing' },
  { seed: 400169, profile: 'members', note: 'an old handle wrote onto a content that is cut' },
]
