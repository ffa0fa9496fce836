// Seeds of worlds that once failed in fold-fuzz.ts, which lives through them first. What a seed
// does changes with the worlds: the cases themselves are in test/vectors/fold-cases.ts.

export const REGRESSIONS: { seed: number; what: string }[] = [
  { seed: 1, what: 'a conflict copy became real while the view showed it' },
  { seed: 325, what: 'a member left a union with a directory and a file of one name' },
  { seed: 2050, what: 'a union lost its members one after another to a cutoff' },
  { seed: 2103, what: 'a conflict copy became real where its derived node was there already' },
  { seed: 60018, what: 'a device that was cut off made a conflict copy real' },
]
