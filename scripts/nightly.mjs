// npm run nightly -- [--minutes T] [--seed N] [WORD…]: the random test files and the simulator with
// fresh seeds, in turn, until the time is over (default 60 minutes). The suite itself uses the same
// seeds every time, so that it fails for what somebody changed; this run looks for what nobody has
// seen yet. Each failure is told with its seed and the command that replays it; then it exits with
// 1. --seed repeats a whole night. WORDs: only files whose name contains one of them ("sim": the
// simulator).
import { spawn } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
/** One turn of the simulator, as many episodes of the mixture. */
const SIM_EPISODES = 400
const USES_SEED = /\b(testSeed|testRandom)\(/

function readOptions(argv) {
  const options = { minutes: 60, seed: Math.floor(Math.random() * 2 ** 31), words: [] }
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].startsWith('--') ? argv[i].slice(2) : undefined
    if (name === undefined) options.words.push(argv[i])
    else {
      const value = Number(argv[++i])
      if (!['minutes', 'seed'].includes(name) || !(value >= 0)) {
        throw new Error(`usage: nightly [--minutes T] [--seed N] [WORD…], not ${argv[i - 1]}`)
      }
      options[name] = value
    }
  }
  return options
}

/** Test files that take a seed. */
function randomTests(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      return ['support', 'vectors', 'fixtures'].includes(entry.name) ? [] : randomTests(path)
    }
    const isTest = entry.name.endsWith('.ts') && !/\.(helper|d)\.ts$/.test(entry.name)
    return isTest && USES_SEED.test(readFileSync(path, 'utf8')) ? [relative(root, path)] : []
  }).sort()
}

/** The i-th seed of a night: splitmix32, 31 bits. */
function seedOf(night, i) {
  let z = (night + Math.imul(i + 1, 0x9e3779b9)) | 0
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
  return (z ^ (z >>> 15)) >>> 1
}

function run(argv, env) {
  return new Promise((done) => {
    const child = spawn(process.execPath, argv, {
      cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const keep = (text) => (output = (output + text).slice(-16_384))
    child.stdout.setEncoding('utf8').on('data', keep)
    child.stderr.setEncoding('utf8').on('data', keep)
    child.on('close', (code) => done({ failed: code !== 0, output }))
  })
}

const { minutes, seed: night, words } = readOptions(process.argv.slice(2))
const isWanted = (name) => words.length === 0 || words.some((word) => name.includes(word))
const jobs = [
  ...randomTests(join(root, 'test')).filter(isWanted).map((file) => ({
    name: file,
    argv: () => ['scripts/run-tests.mjs', file],
    env: (seed) => ({ SEED: String(seed) }),
    replay: (seed) => `SEED=${seed} npm test -- ${file}`,
  })),
  ...(isWanted('sim') ? [{
    name: 'simulator',
    argv: (seed) => ['scripts/sim.mjs', '--seed', String(seed), '--episodes', String(SIM_EPISODES)],
    env: () => ({}),
    replay: (seed) => `npm run sim -- --seed ${seed} --episodes ${SIM_EPISODES}`,
  }] : []),
]
if (jobs.length === 0) throw new Error(`nothing has a name with ${words.join(' or ')}`)
console.log(`${jobs.length} random tests for ${minutes} minutes, --seed ${night}`)
const endMs = performance.now() + minutes * 60_000
const failures = []
let runs = 0
for (; runs === 0 || performance.now() < endMs; runs++) {
  const { name, argv, env, replay } = jobs[runs % jobs.length]
  const seed = seedOf(night, runs)
  const { failed, output } = await run(argv(seed), env(seed))
  if (!failed) continue
  failures.push(`${name}, seed ${seed}: ${replay(seed)}`)
  console.log(`${output.trimEnd()}\nFAILED ${failures.at(-1)}`)
}
for (const failure of failures) console.log(`FAILED ${failure}`)
console.log(`${runs} runs, ${failures.length} failed`)
process.exitCode = failures.length > 0 ? 1 : 0
