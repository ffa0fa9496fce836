// What the user sees: results on stdout, everything else on stderr; with --json one document on
// stdout and errors as one JSON line on stderr. Text from outside has its control characters
// escaped.

import { defaultHintOf, exitCodeOf } from '../config/exit-codes.ts'
import { LatticeError, fromSystemError } from '../util/errors.ts'

export class Output {
  readonly json: boolean

  constructor(json: boolean) {
    this.json = json
  }

  /** The command's result: `value` as JSON, or the lines. */
  result(value: unknown, lines: readonly string[]): void {
    if (this.json) process.stdout.write(`${JSON.stringify(value)}\n`)
    else for (const line of lines) process.stdout.write(`${printable(line)}\n`)
  }

  /** A step on the way to the result: one JSON document a line, or a sentence on stderr. */
  progress(value: unknown, sentence: string): void {
    if (this.json) process.stdout.write(`${JSON.stringify(value)}\n`)
    else this.notice(sentence)
  }

  notice(sentence: string): void {
    if (!this.json) process.stderr.write(`lattice: ${printable(sentence)}\n`)
  }

  warning(sentence: string): void {
    if (!this.json) process.stderr.write(`lattice: warning: ${printable(sentence)}\n`)
  }

  /** Shows the error and returns its exit code. */
  error(thrown: unknown): number {
    const error = fromSystemError(thrown, 'the command failed')
    const reason = error instanceof LatticeError ? error.code : 'internal'
    const exitCode = exitCodeOf(reason)
    const own = error instanceof LatticeError ? error.hint : undefined
    const hint = own ?? defaultHintOf(reason)
    if (this.json) {
      const details = error instanceof LatticeError ? error.details : {}
      const document = { error: { reason, message: error.message, hint, exitCode, details } }
      process.stderr.write(`${JSON.stringify(document)}\n`)
      return exitCode
    }
    process.stderr.write(`lattice: error: ${printable(error.message)}\n`)
    if (hint !== undefined) process.stderr.write(`lattice: hint: ${printable(hint)}\n`)
    if (!(error instanceof LatticeError)) process.stderr.write(`${printable(error.stack ?? '')}\n`)
    return exitCode
  }
}

/** Control characters, also those above 127, as \xNN; line breaks between lines stay. */
export function printable(text: string): string {
  let shown = ''
  for (const character of text) {
    const code = character.charCodeAt(0)
    const control = (code < 32 && character !== '\n') || (code >= 127 && code < 160)
    shown += control ? `\\x${code.toString(16).padStart(2, '0')}` : character
  }
  return shown
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** '0 B', '812 B', '1.5 MiB'. */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}

/** 2026-11-20 14:05:09, in the local time zone. */
export function timeText(ms: number): string {
  const time = new Date(ms)
  const two = (number: number): string => String(number).padStart(2, '0')
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join('-')
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':')}`
}
