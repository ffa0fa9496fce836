// Seeded randomness for tests: SEED in the environment, else the file's own seed (seed.ts); the
// caller prints it. splitmix32, good enough to vary inputs.
import { testSeed } from './seed.ts'

export type TestRandom = {
  seed: number
  /** An integer in [0, below). */
  below(limit: number): number
  bytes(length: number): Uint8Array
  pick<T>(items: readonly T[]): T
}

export function testRandom(): TestRandom {
  return seededRandom(testSeed())
}

export function seededRandom(seed: number): TestRandom {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  const below = (limit: number): number => next() % limit
  return {
    seed,
    below,
    bytes: (length) => {
      const out = new Uint8Array(length)
      for (let i = 0; i < length; i++) out[i] = next()
      return out
    },
    pick: (items) => items[below(items.length)] as (typeof items)[number],
  }
}
