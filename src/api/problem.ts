// Errors as RFC 9457 problem documents: the reason of a LatticeError with its sentence and hint.
// The message of anything else stays in the daemon's log: it may name what nobody else should read.

import { STATUS_CODES } from 'node:http'
import { exitCodeOf } from '../config/exit-codes.ts'
import { LatticeError, fromSystemError } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import type { Problem } from './client-types.ts'

const STATUS_BY_REASON: Partial<Record<ErrorCode, number>> = {
  usage: 400,
  invalid: 400,
  'empty-passphrase': 400,
  'phrase-length': 400,
  'phrase-word': 400,
  'phrase-checksum': 400,
  'wrong-passphrase': 403,
  'wrong-phrase': 403,
  'passphrase-needed': 403,
  denied: 403,
  'not-found': 404,
  'not-mounted': 404,
  'vault-not-found': 404,
  'mountpoint-missing': 404,
  exists: 409,
  busy: 409,
  locked: 409,
  'mountpoint-busy': 409,
  'mountpoint-not-empty': 409,
  'mountpoint-not-directory': 409,
  'too-large': 413,
  closed: 503,
  'disk-full': 507,
  ambiguous: 400,
  'code-damaged': 400,
  'code-too-new': 400,
  'invite-unknown': 404,
  'invite-used': 409,
  'invite-expired': 409,
  'invite-revoked': 409,
  'invite-spent': 409,
  'invite-busy': 409,
  'pairing-refused': 409,
  'digits-differ': 409,
  'inviter-offline': 404,
  'no-route': 404,
  'not-ready': 409,
  cancelled: 409,
  unsupported: 409,
}

export function problemOf(thrown: unknown): Problem {
  const error = fromSystemError(thrown, 'the operation failed')
  if (!(error instanceof LatticeError)) {
    return {
      type: 'about:blank',
      title: 'something failed inside the daemon',
      status: 500,
      reason: 'internal',
      exitCode: exitCodeOf('internal'),
      hint: 'its log says more: `lattice status` names it',
    }
  }
  const problem: Problem = {
    type: `urn:lattice:error:${error.code}`,
    title: error.message,
    status: STATUS_BY_REASON[error.code] ?? 500,
    reason: error.code,
    exitCode: exitCodeOf(error.code),
  }
  if (error.hint !== undefined) problem.hint = error.hint
  if (Object.keys(error.details).length > 0) problem.details = error.details
  return problem
}

/** For what HTTP itself refuses: bad JSON, a body that breaks its schema, an unknown route. */
export function httpProblem(status: number, message: string): Problem {
  const reason = status === 404 ? 'not-found' : status === 413 ? 'too-large' : 'usage'
  return {
    type: 'about:blank',
    title: message === '' ? (STATUS_CODES[status] ?? 'error') : message,
    status,
    reason,
    exitCode: exitCodeOf(reason),
  }
}
