// npm run sim -- --seed N [--episodes M] [--profile P] [--minutes T] [--mutants]: the deterministic
// simulator, test/sim/main.helper.ts has the options.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../test/sim/main.helper.ts', import.meta.url))
const argv = ['--import', 'tsx', main, ...process.argv.slice(2)]
process.exitCode = spawnSync(process.execPath, argv, { stdio: 'inherit' }).status ?? 1
