// `lattice doctor`: what this machine lacks. The looking happens in a process of its own
// (daemon/doctor.ts), since a broken addon may end it. With --names it looks at names instead.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EXIT_OK, exitCodeOf } from '../config/exit-codes.ts'
import { flag } from './command.ts'
import type { Context } from './command.ts'
import { run as lookAtNames } from './doctor-names.ts'

interface Finding {
  name: string
  state: 'ok' | 'warning' | 'error'
  message: string
  hint?: string
  reason?: string
}

export async function run(context: Context): Promise<number | undefined> {
  if (flag(context, 'names')) return lookAtNames(context)
  const findings = await look()
  const width = Math.max(...findings.map(({ name }) => name.length))
  const marks = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' }
  const lines = findings.flatMap(({ name, state, message, hint }) => [
    `${marks[state]}  ${name.padEnd(width)}  ${message}`,
    ...(hint === undefined ? [] : [`${' '.repeat(width + 11)}hint: ${hint}`]),
  ])
  context.output.result({ checks: findings }, lines)
  const worst = findings.find(({ state }) => state === 'error')
  return worst === undefined ? EXIT_OK : exitCodeOf(worst.reason ?? 'prerequisite')
}

async function look(): Promise<Finding[]> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const program = fileURLToPath(new URL(`../daemon/doctor.${extension}`, import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  const end = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? String(code)))
  })
  const findings = text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Finding)
  if (end !== '0') {
    const message = `looking ended early (${end})`
    findings.push({ name: 'doctor', state: 'error', message, reason: 'self-test-failed' })
  }
  return findings
}
