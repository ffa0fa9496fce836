// Which errors say that stored data are damaged, as opposed to trouble with the machine or the
// caller.

import { exitCodeOf } from '../config/exit-codes.ts'
import { isLatticeError } from '../util/errors.ts'
import type { LatticeError } from '../util/errors.ts'

const DAMAGED_EXIT_CODE = exitCodeOf('corrupt')

export function isDamage(error: unknown): error is LatticeError {
  return isLatticeError(error) && exitCodeOf(error.code) === DAMAGED_EXIT_CODE
}
