// npm run sim: runs episodes on all cores until there are enough, the time is over, or a promise is
// broken. Prints episodes and rate; on a violation the seed, the profile, a command that replays it
// and the shrunk trace, and exits with 1.
//
//   --seed N      the first seed (drawn when missing); further episodes have the next ones
//   --episodes M  how many (default 200; 1 with --seed and without --minutes)
//   --minutes T   instead of --episodes
//   --profile P   one profile instead of the mixture
//   --jobs J      processes (default: cores; 0 = in this one)
//   --trace       prints the trace of a single episode
//   --survey      goes on after violations, and lists them by kind at the end (with --jobs 0)
//   --mutants     breaks the rules one by one and tells which seed noticed
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { runEpisode } from './episode.helper.ts'
import type { Outcome } from './episode.helper.ts'
import { planOf } from './plan.helper.ts'
import { PROFILES, profileNamed, profileOf } from './profiles.helper.ts'
import { shrink } from './shrink.helper.ts'

interface Options {
  seed: number
  episodes: number
  minutes: number
  profile: string | undefined
  jobs: number
  trace: boolean
  mutants: boolean
  survey: boolean
}

interface Job {
  seed: number
  step: number
  episodes: number
  minutes: number
  profile: string | undefined
}

interface Progress {
  profiles: Record<string, { episodes: number; ms: number; events: number }>
  failed?: { seed: number; profile: string; oracle: string; message: string } | undefined
  isDone: boolean
}

const TWICE_EVERY = 50
const SHRINK_MS = 60_000
/** Episodes touch much code a few times each: it pays to compile early and collect rarely. */
const NODE_OPTIONS = [
  '--always-sparkplug', '--no-lazy-feedback-allocation', '--min-semi-space-size=32',
  '--max-semi-space-size=32',
]
const print = (text: string): void => void process.stdout.write(`${text}\n`)

function readOptions(argv: readonly string[]): Options {
  const value = (name: string): string | undefined => {
    const at = argv.indexOf(`--${name}`)
    return at < 0 ? undefined : argv[at + 1]
  }
  const given = value('seed')
  const minutes = Number(value('minutes') ?? 0)
  const episodes = value('episodes')
  const isSingle = given !== undefined && minutes === 0 && episodes === undefined
  const options = {
    seed: given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given),
    episodes: minutes > 0 ? Infinity : Number(episodes ?? (isSingle ? 1 : 200)),
    minutes: minutes > 0 ? minutes : Infinity,
    profile: value('profile'),
    jobs: Number(value('jobs') ?? availableParallelism()),
    trace: argv.includes('--trace'),
    mutants: argv.includes('--mutants'),
    survey: argv.includes('--survey'),
  }
  if (options.profile !== undefined) profileNamed(options.profile)
  const numbers = [options.seed, options.episodes, options.minutes, options.jobs]
  if (numbers.some((number) => Number.isNaN(number))) throw new Error('not a number')
  return options
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  if (argv[0] === '--worker') {
    process.on('message', (job) => void work(job as Job, (told) => process.send?.(told)))
    return
  }
  const options = readOptions(argv)
  if (options.mutants) {
    const { runMutants } = await import('./mutants.helper.ts')
    process.exitCode = await runMutants(options, print)
    return
  }
  if (options.survey) {
    await survey(options)
    return
  }
  if (options.jobs === 0) {
    const { seed, episodes, minutes, profile } = options
    await work({ seed, step: 1, episodes, minutes, profile }, (progress) => (
      print(JSON.stringify(progress))
    ))
    return
  }
  if (options.episodes === 1) {
    await single(options)
    return
  }
  await many(options)
}

/** One episode in this process, with everything that it tells. */
async function single({ seed, profile: name, trace }: Options): Promise<void> {
  const profile = name === undefined ? profileOf(seed) : profileNamed(name)
  const plan = planOf(seed, profile)
  const begin = performance.now()
  const outcome = await runEpisode(plan)
  if (trace) for (const line of outcome.trace) print(line)
  if (outcome.violation !== undefined) {
    await report(seed, profile.name, outcome)
    return
  }
  const again = await runEpisode(plan)
  const ms = ((performance.now() - begin) / 2).toFixed(0)
  const isSame = again.traceHash === outcome.traceHash
  const size = `${plan.devices} devices, ${plan.steps.length} steps`
  print(`seed ${seed}, profile ${profile.name}: ${size}`)
  print(`no violation in ${ms} ms, ${outcome.events} events; trace ${outcome.traceHash}`)
  if (isSame) return
  print(`VIOLATION same seed, same trace: the second run gave ${again.traceHash}`)
  const at = outcome.trace.findIndex((line, i) => line !== again.trace[i])
  print(`first: ${outcome.trace[at]}\nthen:  ${again.trace[at]}`)
  process.exitCode = 1
}

/** All kinds of violations among the episodes, each with some seeds and its shortest message. */
async function survey({ seed, episodes, profile: name }: Options): Promise<void> {
  const kinds = new Map<string, { seeds: string[]; message: string }>()
  for (let at = seed; at < seed + episodes; at++) {
    const profile = name === undefined ? profileOf(at) : profileNamed(name)
    const { violation } = await runEpisode(planOf(at, profile))
    if (violation === undefined) continue
    const first = violation.message.split('\n').slice(0, 2).join(' ')
    const key = `${violation.oracle}: ${first.replaceAll(/[0-9]+|"[^"]*"/g, '·').slice(0, 160)}`
    const kind = kinds.get(key) ?? { seeds: [], message: violation.message }
    kind.seeds.push(`${profile.name} ${at}`)
    if (violation.message.length < kind.message.length) kind.message = violation.message
    kinds.set(key, kind)
  }
  for (const { seeds, message } of kinds.values()) {
    print(`${seeds.length} × ${message}\n    seeds ${seeds.slice(0, 6).join(', ')}`)
  }
  print(`${kinds.size} kinds of violations in ${episodes} episodes from seed ${seed}`)
}

async function report(seed: number, name: string, outcome: Outcome): Promise<void> {
  const plan = planOf(seed, profileNamed(name))
  print(`VIOLATION ${outcome.violation?.message}`)
  print(`replay: npm run sim -- --seed ${seed} --profile ${name}`)
  const shrunk = await shrink(plan, outcome, {}, SHRINK_MS, () => performance.now())
  print(`shrunk to ${shrunk.steps.length} of ${plan.steps.length} steps in ${shrunk.runs} runs:`)
  for (const { index, device, kind } of shrunk.steps) print(`  #${index} d${device} ${kind}`)
  print('its trace:')
  for (const line of shrunk.outcome.trace.slice(-120)) print(`  ${line}`)
  print(`VIOLATION (shrunk) ${shrunk.outcome.violation?.message}`)
  process.exitCode = 1
}

// ---- many ----

async function many(options: Options): Promise<void> {
  const { seed, profile, jobs } = options
  print(`seed ${seed}, ${profile ?? 'mixture of profiles'}, ${jobs} processes`)
  let begin: number | undefined // once the first one is ready
  const totals: Progress['profiles'] = {}
  let failed: Progress['failed']
  const workers: ChildProcess[] = []
  await Promise.all(Array.from({ length: jobs }, (_, i) => new Promise<void>((resolve) => {
    const worker = fork(fileURLToPath(import.meta.url), ['--worker'], {
      execArgv: [...NODE_OPTIONS, '--import', 'tsx'],
    })
    workers.push(worker)
    worker.on('message', (message) => {
      const progress = message as Progress
      begin ??= performance.now()
      add(totals, progress.profiles)
      failed ??= progress.failed
      if (progress.failed !== undefined) for (const one of workers) one.kill()
      else if (progress.isDone) worker.disconnect()
    })
    worker.on('exit', (code) => {
      if (code !== 0 && failed === undefined) {
        print(`a worker ended with ${code}`)
        process.exitCode = 1
      }
      resolve()
    })
    const episodes = Number.isFinite(options.episodes)
      ? Math.ceil((options.episodes - i) / jobs) : -1
    const minutes = Number.isFinite(options.minutes) ? options.minutes : -1
    worker.send({ seed: seed + i, step: jobs, episodes, minutes, profile } satisfies Job)
  })))
  const now = performance.now()
  printTotals(totals, (now - (begin ?? now)) / 1000, jobs)
  if (failed === undefined) return
  const plan = planOf(failed.seed, profileNamed(failed.profile))
  const outcome = await runEpisode(plan)
  if (outcome.violation === undefined) {
    print(`VIOLATION ${failed.message}`)
    print(`seed ${failed.seed}, profile ${failed.profile}: not seen again in a process of its own`)
    process.exitCode = 1
    return
  }
  await report(failed.seed, failed.profile, outcome)
}

function add(totals: Progress['profiles'], more: Progress['profiles']): void {
  for (const [name, { episodes, ms, events }] of Object.entries(more)) {
    const total = (totals[name] ??= { episodes: 0, ms: 0, events: 0 })
    total.episodes += episodes
    total.ms += ms
    total.events += events
  }
}

function printTotals(totals: Progress['profiles'], seconds: number, jobs: number): void {
  let episodes = 0
  for (const [name, total] of Object.entries(totals)) {
    episodes += total.episodes
    const each = (total.ms / total.episodes).toFixed(1)
    print(`  ${name}: ${total.episodes} episodes, ${each} ms each`)
  }
  const rate = (episodes / seconds).toFixed(1)
  print(`${episodes} episodes in ${seconds.toFixed(1)} s: ${rate} a second, in ${jobs} processes`)
}

async function work(job: Job, tell: (progress: Progress) => void): Promise<void> {
  tell({ profiles: {}, isDone: false })
  const begin = performance.now()
  let told = begin
  let profiles: Progress['profiles'] = {}
  for (let i = 0; ; i++) {
    const now = performance.now()
    if (job.episodes >= 0 ? i >= job.episodes : now - begin > job.minutes * 60_000) break
    if (now - told > 1000) {
      tell({ profiles, isDone: false })
      profiles = {}
      told = now
    }
    const seed = job.seed + i * job.step
    const profile = job.profile === undefined ? profileOf(seed) : profileNamed(job.profile)
    const plan = planOf(seed, profile)
    const outcome = await runEpisode(plan)
    add(profiles, {
      [profile.name]: { episodes: 1, ms: performance.now() - now, events: outcome.events },
    })
    const violation = outcome.violation ?? (await twice(plan, i, outcome))
    if (violation === undefined) continue
    const failed = { seed, profile: profile.name, ...violation }
    tell({ profiles, failed, isDone: true })
    return
  }
  tell({ profiles, isDone: true })
}

async function twice(
  plan: ReturnType<typeof planOf>, i: number, outcome: Outcome,
): Promise<Outcome['violation']> {
  if (i % TWICE_EVERY !== 0) return undefined
  const again = await runEpisode(plan)
  if (again.traceHash === outcome.traceHash) return undefined
  const message = `same seed, same trace: ${outcome.traceHash}, then ${again.traceHash}`
  return { oracle: 'same seed, same trace', message }
}

if (process.argv.includes('--help')) {
  print(`profiles: ${PROFILES.map((profile) => profile.name).join(', ')}`)
} else {
  await main()
}
