// The seed of a random test: SEED in the environment, else one that follows from the file's name,
// so that a normal run of the suite does the same work every time. Fresh seeds are for
// scripts/nightly.mjs. Whoever uses it prints it.
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const TESTS = fileURLToPath(new URL('..', import.meta.url))

export function testSeed(): number {
  const given = process.env['SEED']
  if (given === undefined) return seedOfName(relative(TESTS, process.argv[1] ?? ''))
  const seed = Number(given)
  if (!Number.isSafeInteger(seed)) throw new Error(`SEED=${given} is no whole number`)
  return seed
}

/** FNV-1a, 31 bits. */
export function seedOfName(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 1
}
