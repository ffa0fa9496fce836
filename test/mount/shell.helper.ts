// Programs run by tests in a mount: a shell script or an argv, asynchronously (the test may serve
// or watch meanwhile), ended with the test. Output is kept; what fails throws with all of it.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { Teardown } from './system.helper.ts'

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  out: string
}

export interface Running {
  readonly child: ChildProcess
  /** Standard output and error so far, in the order they came. */
  readonly out: () => string
  readonly finished: Promise<Finished>
}

export interface RunOptions {
  cwd: string
  env?: Record<string, string>
  input?: string
  timeoutMs?: number
}

const TIMEOUT_MS = 120_000

/** Without the user's own settings: git, npm and vim behave the same everywhere. */
const PLAIN_ENVIRONMENT = {
  LC_ALL: 'C.UTF-8',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_AUTHOR_NAME: 'Test',
  GIT_AUTHOR_EMAIL: 'test@example.org',
  GIT_COMMITTER_NAME: 'Test',
  GIT_COMMITTER_EMAIL: 'test@example.org',
}

export function start(t: Teardown, argv: string[], options: RunOptions): Running {
  const [program = '', ...words] = argv
  const env = { ...process.env, ...PLAIN_ENVIRONMENT, ...options.env }
  const child = spawn(program, words, { cwd: options.cwd, env, stdio: 'pipe', detached: true })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (out += text))
  }
  child.stdin.on('error', () => undefined) // it may end before it has read everything
  child.stdin.end(options.input ?? '')
  const end = (): void => killGroup(child) // what it started too: one call that hangs is enough
  const timer = setTimeout(end, options.timeoutMs ?? TIMEOUT_MS)
  t.teardown(() => end())
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, out })
    })
  })
  return { child, out: () => out, finished }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    return // it ended meanwhile
  }
}

/** Runs to the end; its output. */
export async function run(t: Teardown, argv: string[], options: RunOptions): Promise<string> {
  const { code, signal, out } = await start(t, argv, options).finished
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${signal ?? code}:\n${out}`)
  return out
}

/** A shell script that ends at its first failing command. */
export function sh(t: Teardown, script: string, cwd: string, env?: Record<string, string>) {
  return run(t, ['sh', '-euc', script], env === undefined ? { cwd } : { cwd, env })
}
