// Seeded randomness for tests: mulberry32 behind the Random port; seed.ts says which seed a run
// has.
import type { Random } from '../../src/vault/ports.ts'

export { testSeed } from './seed.ts'

export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer in [begin, end). */
  int(begin: number, end: number): number {
    return begin + Math.floor(this.next() * (end - begin))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length)] as T
  }

  bytes(sizeBytes: number): Uint8Array {
    return this.fill(new Uint8Array(sizeBytes))
  }

  fill<T extends Uint8Array>(into: T): T {
    for (let i = 0; i < into.length; i++) into[i] = this.int(0, 256)
    return into
  }
}

/** Numbers below n, the same for the same seed. */
export function numbersBelow(seed: number): (n: number) => number {
  const random = new SeededRandom(seed)
  return (n) => random.int(0, n)
}
