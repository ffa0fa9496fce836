// What bench/sync.ts measures of two processes that talk to each other: their CPU time, and the
// bytes on their TCP connections. Linux only: /proc, and `ss` for the kernel's own counters.

import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const TICKS_PER_SECOND = 100

/** The processes and all their descendants that live now. */
export function withChildren(pids: readonly number[]): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const fields = /^\d+$/.test(name) ? statFields(Number(name)) : undefined
    if (fields !== undefined) parents.set(Number(name), Number(fields[1]))
  }
  const all = new Set(pids)
  for (let before = 0; before !== all.size;) {
    before = all.size
    for (const [pid, parent] of parents) if (all.has(parent)) all.add(pid)
  }
  return [...all]
}

/** CPU seconds that the processes have used, all threads. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const fields = statFields(pid)
    if (fields !== undefined) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

/** Behind the command's name: state, parent, … */
function statFields(pid: number): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')
  } catch {
    return undefined
  }
}

/** Payload bytes so far, both ways, of the processes' connections, but those with `exceptPort`. */
export function wireBytes(pids: readonly number[], exceptPort: number): number {
  const out = execFileSync('ss', ['-tinpHO', 'state', 'established'], { encoding: 'utf8' })
  let sum = 0
  for (const line of out.split('\n')) {
    if (!pids.some((pid) => line.includes(`pid=${pid},`))) continue
    if (new RegExp(`:${exceptPort}\\s`).test(line)) continue
    sum += field(line, 'bytes_sent') + field(line, 'bytes_received')
  }
  return sum
}

function field(line: string, name: string): number {
  return Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0)
}

/** Waits until the processes have used next to nothing for a second; the time then. */
export async function settled(pids: readonly number[], timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs
  for (let quiet = 0; quiet < 4 && performance.now() < end;) {
    const before = cpuSeconds(pids)
    await delay(250)
    quiet = cpuSeconds(pids) - before <= 0.01 ? quiet + 1 : 0
  }
}

export async function until(
  what: string, timeoutMs: number, everyMs: number, check: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!await check()) {
    if (performance.now() > end) throw new Error(`${what}: not after ${timeoutMs / 1000} s`)
    await delay(everyMs)
  }
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
