// Rounds of work, crash, recovery and judgement. Three worker processes work in directories of
// their own in a place; the caller says how it crashes and comes back. After each round the oracle
// judges every directory; what it accepts is where the next round begins. Then it is shown damaged
// copies of what it accepted, and must refuse them: an oracle that says yes to everything would be
// noticed.

import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../support/random.helper.ts'
import type { TestRandom } from '../support/random.helper.ts'
import { monotonicMs, parseLog } from './history.helper.ts'
import type { Logged } from './history.helper.ts'
import { judge } from './oracle.helper.ts'
import { takePicture } from './picture.helper.ts'
import type { Picture } from './picture.helper.ts'
import type { Report, Task } from './worker.helper.ts'

export interface RoundsOptions {
  rounds: number
  seed: number
  /** The mounted directory. */
  directory: string
  /** For the logs, outside of what crashes. */
  outside: string
  /** How long the workers may work before the crash. */
  workMs: [number, number]
  crash: (random: TestRandom) => Promise<void>
  recover: () => Promise<void>
  /** Errors that a worker may end with. */
  errors: readonly string[]
  say: (line: string) => void
}

export interface Outcome {
  faults: string[]
  /** Rounds in which something completed was not promised yet. */
  withWorkInFlight: number
  issuedOps: number
  /** Names that the crashes took. */
  lostNames: number
  damageRefused: number
  damageTried: number
}

const WORKERS = 3
const STOP_TIMEOUT_MS = 60_000
const program = fileURLToPath(new URL('worker.helper.ts', import.meta.url))

class Worker {
  readonly #child: ChildProcess
  #ended: string | undefined

  constructor() {
    this.#child = spawn(process.execPath, ['--import', 'tsx', program], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.once('exit', (code, signal) => (this.#ended = `worker ended: ${signal ?? code}`))
  }

  /** Resolves when the worker begins, with the promise of its end. */
  async start(task: Task): Promise<{ report: Promise<Report> }> {
    const begins = this.#message()
    this.#child.send(task)
    await begins
    const report = this.#message()
    report.catch(() => undefined) // the caller awaits it later
    return { report }
  }

  #message(): Promise<Report> {
    return new Promise((resolve, reject) => {
      const exited = (): void => reject(new Error(this.#ended ?? 'worker ended'))
      if (this.#ended !== undefined) return exited()
      this.#child.once('exit', exited)
      this.#child.once('message', (report: Report) => {
        this.#child.off('exit', exited)
        resolve(report)
      })
    })
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }
}

export async function runRounds(options: RoundsOptions): Promise<Outcome> {
  const random = seededRandom(options.seed)
  const outcome: Outcome = {
    faults: [], withWorkInFlight: 0, issuedOps: 0, lostNames: 0, damageRefused: 0, damageTried: 0,
  }
  const workers = Array.from({ length: WORKERS }, () => new Worker())
  try {
    const directories = workers.map((_, index) => join(options.directory, `worker-${index}`))
    for (const directory of directories) mkdirSync(directory)
    let before = directories.map(takePicture)
    for (let round = 0; round < options.rounds && outcome.faults.length === 0; round++) {
      const logs = await work(options, workers, directories, random, round)
      await options.recover()
      const after = directories.map(takePicture)
      judgeRound(options, outcome, round, before, logs, after, random)
      before = after
    }
  } finally {
    for (const worker of workers) worker.end()
  }
  return outcome
}

async function work(
  options: RoundsOptions,
  workers: Worker[],
  directories: string[],
  random: TestRandom,
  round: number,
): Promise<Logged[][]> {
  const tasks = directories.map((directory, index): Task => {
    const log = join(options.outside, `log-${index}`)
    writeFileSync(log, '')
    return { directory, log, seed: random.below(2 ** 31) }
  })
  const started = await Promise.all(
    workers.map((worker, index) => worker.start(tasks[index] as Task)),
  )
  const [least, most] = options.workMs
  await delay(least + random.below(most - least + 1))
  const crashMs = monotonicMs()
  await options.crash(random)
  const late = delay(STOP_TIMEOUT_MS, undefined, { ref: false }).then(() => {
    throw new Error(`round ${round}: a worker did not notice the crash`)
  })
  late.catch(() => undefined)
  const reports = Promise.all(started.map(({ report }) => report))
  for (const { error, message, ops } of await Promise.race([reports, late])) {
    if (options.errors.includes(error)) continue
    throw new Error(`round ${round}: after ${ops} operations a worker got ${error}: ${message}`)
  }
  return tasks.map(({ log }) => parseLog(readFileSync(log, 'utf8'), crashMs))
}

function judgeRound(
  options: RoundsOptions,
  outcome: Outcome,
  round: number,
  before: Picture[],
  logs: Logged[][],
  after: Picture[],
  random: TestRandom,
): void {
  let atRisk = 0
  let lost = 0
  let issued = 0
  logs.forEach((ops, index) => {
    const verdict = judge(before[index] as Picture, ops, after[index] as Picture)
    issued += ops.length
    atRisk += verdict.atRisk
    if (verdict.fault !== undefined) {
      outcome.faults.push(`round ${round}, worker ${index}: ${verdict.fault}`)
      keepEvidence(options, round, index, ops, outcome)
      return
    }
    lost += verdict.issued - verdict.kept
    showDamage(outcome, before[index] as Picture, ops, after[index] as Picture, random)
  })
  outcome.issuedOps += issued
  outcome.lostNames += lost
  if (atRisk > 0) outcome.withWorkInFlight++
  options.say(`round ${round}: ${issued} operations, ${atRisk} at risk, ${lost} names lost`)
}

/** The operations on the path of a fault, for whoever looks into it. */
function keepEvidence(
  options: RoundsOptions,
  round: number,
  index: number,
  ops: Logged[],
  outcome: Outcome,
): void {
  const path = /content: ([^:]*):|name: (\S*)/.exec(outcome.faults[outcome.faults.length - 1] ?? '')
  const name = path?.[1] ?? path?.[2] ?? ''
  const handles = new Set<number>()
  const shown: string[] = []
  for (const op of ops) {
    const names = 'p' in op ? [op.p, 'q' in op ? op.q : ''] : []
    if ('h' in op && names.includes(name)) handles.add(op.h)
    if (names.includes(name) || ('h' in op && handles.has(op.h))) shown.push(JSON.stringify(op))
  }
  options.say(`round ${round}, worker ${index}: what was done to ${name}:`)
  for (const line of shown.slice(-60)) options.say(line)
}

/** The oracle must refuse what it accepted once something that was promised is damaged in it. */
function showDamage(
  outcome: Outcome,
  before: Picture,
  ops: readonly Logged[],
  after: Picture,
  random: TestRandom,
): void {
  const files = [...after].filter(([, found]) => found.kind === 'file' && found.content.length > 0)
  if (files.length === 0) return
  const [path, found] = random.pick(files)
  const copy: Picture = new Map(after)
  const content = Uint8Array.from(found.content)
  const at = random.below(content.length)
  content[at] = (content[at] ?? 0) ^ 1
  for (const [other, one] of after) if (one.ino === found.ino) copy.set(other, { ...one, content })
  outcome.damageTried++
  if (judge(before, ops, copy).fault !== undefined) outcome.damageRefused++
  const flushed = ops.some(({ op, ok }) => op === 'fsyncdir' && ok)
  if (!flushed) return
  const missing: Picture = new Map(after)
  missing.delete(path)
  const rest: Picture = new Map([...missing].filter(([name]) => name === ''))
  outcome.damageTried++
  if (judge(before, ops, rest).fault !== undefined) outcome.damageRefused++
}
