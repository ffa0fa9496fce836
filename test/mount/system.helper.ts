// What mounted tests ask of the system: programs, temporary directories, the mount table, the end
// of processes. Nothing here works inside a mount, which may be dead.

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 20
const GONE_TIMEOUT_MS = 60_000

/** What the helpers need of a tap test. */
export interface Teardown {
  teardown(close: () => void | Promise<void>): void
}

export function isRoot(): boolean {
  return process.geteuid?.() === 0
}

export function hasProgram(name: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0
}

/** A temporary directory that goes with its test. Short: a unix socket's path has 108 bytes. */
export function temporaryDirectory(t: Teardown, mode = 0o755): string {
  const path = mkdtempSync(join(tmpdir(), 'mt-'))
  chmodSync(path, mode)
  t.teardown(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
  return path
}

/** Mount points at or below a path, deepest first. */
export function mountsBelow(path: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const points = lines.map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
  return points.filter((point) => point === path || point.startsWith(`${path}/`)).sort().reverse()
}

export function isMounted(directory: string): boolean {
  return mountsBelow(directory).includes(directory)
}

/** Takes a mount away, dead or alive. */
export function detach(directory: string): void {
  if (!isMounted(directory)) return
  spawnSync('umount', ['-l', directory], { stdio: 'ignore', cwd: '/' })
  if (isMounted(directory)) spawnSync('fusermount3', ['-u', '-z', directory], { stdio: 'ignore' })
}

export async function until(
  timeoutMs: number,
  message: () => string,
  check: () => boolean,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!check()) {
    if (performance.now() > end) throw new Error(message())
    await delay(POLL_MS)
  }
}

export async function untilGone(pid: number): Promise<void> {
  await until(GONE_TIMEOUT_MS, () => `process ${pid} does not end`, () => !isRunning(pid))
}

/** A zombie counts as gone. */
export function isRunning(pid: number): boolean {
  try {
    const state = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
    return state !== 'Z' && state !== 'X'
  } catch {
    return false
  }
}
