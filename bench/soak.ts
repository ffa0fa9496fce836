// The long runs of tests: `npm run bench -- soak [kill|power|databases|races] [N]`. N rounds (300)
// of kill -9 or of power failures, N transactions (100,000), N seconds (1800). Prints the test's
// TAP, with the seed; exit code 1 when something was found.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const RUNS: Record<string, { file: string; variable: string; count: number }> = {
  kill: { file: 'crash/kill.ts', variable: 'ROUNDS', count: 300 },
  power: { file: 'crash/power.ts', variable: 'ROUNDS', count: 300 },
  databases: { file: 'mount/databases.ts', variable: 'TRANSACTIONS', count: 100_000 },
  races: { file: 'mount/races.ts', variable: 'SECONDS', count: 1800 },
}
const SECONDS_MAX = 24 * 3600

const [name = 'kill', count] = process.argv.slice(2)
const chosen = RUNS[name]
if (chosen === undefined) {
  console.error(`usage: npm run bench -- soak [${Object.keys(RUNS).join('|')}] [N]`)
  process.exitCode = 2
} else {
  const file = fileURLToPath(new URL(`../test/${chosen.file}`, import.meta.url))
  const env = {
    ...process.env,
    [chosen.variable]: count ?? String(chosen.count),
    TAP_TIMEOUT: String(SECONDS_MAX),
  }
  const argv = ['--import', import.meta.resolve('tsx'), file]
  process.exitCode = spawnSync(process.execPath, argv, { stdio: 'inherit', env }).status ?? 1
}
