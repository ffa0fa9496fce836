// The fold against the rules: several devices in the worlds of fuzz-world.helper.ts, where names
// collide, directories move into each other, conflict copies become real, devices are cut off and
// let in again and some are hostile. Each device applies what it makes and what it hears, in any
// causal order; records, groups, entries and counts must be those of the naive model, after the
// sync and at times on the way. At the end all state hashes are equal, a device that hears of
// everything in another order agrees, and a replay with the recorded local facts comes to the same
// inos and cookies.
//   SEED=n         begins there (each world prints its own seed; options follow from it)
//   RUNS=n         that many worlds
//   SOAK=seconds   as long as that
//   MINIMAL=1      a failure is told as the fewest ops that make it
import t from 'tap'
import { testSeed } from '../support/random.ts'
import { minimise } from './fold-minimal.helper.ts'
import { DeviceError, World } from './fold-worlds.helper.ts'
import { VAULT } from './fuzz-world.helper.ts'
import { REGRESSIONS } from './regressions.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 16)
const soakSeconds = Number(process.env['SOAK'] ?? 0)

function run(worldSeed: number, counts: Map<string, number>): void {
  const world = new World(worldSeed)
  try {
    world.live()
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    if (error instanceof DeviceError && process.env['MINIMAL'] === '1') {
      process.stderr.write(`${minimise(VAULT, error.replica.events, text)}\n`)
    }
    throw new Error(`SEED=${worldSeed}: ${text}`, { cause: error })
  }
  for (const [what, n] of world.fuzz.counts) counts.set(what, (counts.get(what) ?? 0) + n)
}

t.setTimeout((60 + runs + soakSeconds) * 1000)

t.test('worlds that failed once', (t) => {
  for (const { seed, what } of REGRESSIONS) {
    t.doesNotThrow(() => run(seed, new Map()), `${seed}: ${what}`)
  }
  t.end()
})

t.test(`worlds, seed ${seed}`, (t) => {
  const counts = new Map<string, number>()
  const end = Date.now() + soakSeconds * 1000
  let worlds = 0
  for (; worlds < runs || Date.now() < end; worlds++) {
    t.doesNotThrow(() => run(seed + worlds, counts), `seed ${seed + worlds}`)
  }
  t.comment(`${worlds} worlds: ${[...counts].map(([what, n]) => `${what} ${n}`).join(', ')}`)
  t.end()
})
