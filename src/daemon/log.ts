// The daemon's log: JSON lines through pino, to its standard error, which is the log file when it
// runs in the background. Reasons, ids, numbers and mount points; never names or contents of files
// in a vault, never keys.

import { pino } from 'pino'
import type { Logger } from 'pino'
import type { LogLevel } from '../config/config-schema.ts'
import { LatticeError } from '../util/errors.ts'

export type Log = Logger

export function openLog(level: LogLevel): Log {
  const options = { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }
  return pino(options, pino.destination({ fd: 2, sync: true }))
}

/** What may be written of an error: its reason, and for the unexpected the place in our code. */
export function loggable(error: unknown): Record<string, unknown> {
  if (error instanceof LatticeError) {
    const cause = error.cause === undefined ? undefined : loggable(error.cause)
    return { reason: error.code, message: error.message, details: error.details, cause }
  }
  if (error instanceof Error) {
    return { reason: 'internal', message: error.message, stack: error.stack }
  }
  return { reason: 'internal', message: String(error) }
}
