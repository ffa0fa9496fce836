// Seeds of worlds that once failed in fold-fuzz.ts, which lives through them first.

export const REGRESSIONS: { seed: number; what: string }[] = []
