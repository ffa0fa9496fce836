// Which errors say that stored data are damaged, as opposed to trouble with the machine or the
// caller.

import { exitCodeOf } from '../config/exit-codes.ts'
import { isLatticeError } from '../util/errors.ts'
import type { LatticeError } from '../util/errors.ts'

const DAMAGED_EXIT_CODE = exitCodeOf('corrupt')

/**
 * Whether the index is what failed: a value that does not open, or whatever lmdb throws when its
 * pages make no sense.
 */
export function isIndexDamage(error: unknown): boolean {
  return isLatticeError(error, 'damaged-index') || isFromLmdb(error)
}

/** lmdb's errors have no class of their own. */
export function isFromLmdb(error: unknown): error is Error {
  if (!(error instanceof Error) || isLatticeError(error)) return false
  return /[/\\]node_modules[/\\]lmdb[/\\]/.test(error.stack ?? '')
}

export function isDamage(error: unknown): error is LatticeError {
  return isLatticeError(error) && exitCodeOf(error.code) === DAMAGED_EXIT_CODE
}
