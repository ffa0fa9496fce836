// Errors at the filesystem's edge: one class, the numbers of Linux, and the one place where
// whatever was thrown becomes an errno.
//
// Expected outcomes (ENOENT, EEXIST …) are thrown as shared instances made once: no stack is taken
// and nothing allocated on hot paths. Compare them by `errno`.

import { LatticeError, errnoName, type ErrorCode } from '../util/errors.ts'

export const EPERM = 1
export const ENOENT = 2
export const EINTR = 4
export const EIO = 5
export const ENXIO = 6
export const E2BIG = 7
export const EBADF = 9
export const EAGAIN = 11
export const ENOMEM = 12
export const EACCES = 13
export const EBUSY = 16
export const EEXIST = 17
export const EXDEV = 18
export const ENODEV = 19
export const ENOTDIR = 20
export const EISDIR = 21
export const EINVAL = 22
export const EFBIG = 27
export const ENOSPC = 28
export const EROFS = 30
export const EMLINK = 31
export const ERANGE = 34
export const ENAMETOOLONG = 36
export const ENOSYS = 38
export const ELOOP = 40
export const ENOTEMPTY = 39
export const ENODATA = 61
export const EOPNOTSUPP = 95
export const ENOTCONN = 107
export const EHOSTDOWN = 112
export const ESTALE = 116

export class Errno extends Error {
  /** Positive, as in errno.h of Linux. */
  readonly errno: number

  constructor(number: number) {
    super(`errno ${number}`)
    this.name = 'Errno'
    this.errno = number
  }
}

const instances = new Map<number, Errno>()

/** The shared error of that number, to be thrown. */
export function errno(number: number): Errno {
  let instance = instances.get(number)
  if (instance === undefined) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    instance = new Errno(number)
    Error.stackTraceLimit = limit
    instances.set(number, instance)
  }
  return instance
}

/** What is reported when the cause of an EIO is met for the first time. */
export interface Trouble {
  operation: string
  ino: number
  error: unknown
}

const CAUSES_MAX = 1000

/** Turns anything thrown into a positive errno; the first EIO of each cause goes to `log`. */
export class ErrnoMapper {
  readonly #log: (trouble: Trouble) => void
  readonly #seen = new Set<string>()

  constructor(log: (trouble: Trouble) => void) {
    this.#log = log
  }

  toErrno(error: unknown, operation: string, ino: number): number {
    if (error instanceof Errno) return error.errno
    const known = knownErrno(error)
    if (known !== undefined && known !== EIO) return known
    const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    if (!this.#seen.has(cause)) {
      if (this.#seen.size >= CAUSES_MAX) this.#seen.clear()
      this.#seen.add(cause)
      this.#log({ operation, ino, error })
    }
    return EIO
  }
}

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  'disk-full': ENOSPC,
  denied: EACCES,
  busy: EBUSY,
  exists: EEXIST,
  'not-found': EIO, // content that nobody has; a missing name is an Errno from the start
  unsupported: EOPNOTSUPP,
  cancelled: EINTR,
  closed: ENOTCONN,
  invalid: EINVAL,
  'too-large': EFBIG,
  'not-available': EHOSTDOWN, // others have it, and none of them can be reached
}

function knownErrno(error: unknown): number | undefined {
  if (error instanceof LatticeError) return BY_CODE[error.code]
  const name = errnoName(error)
  return name === 'ENOSPC' || name === 'EDQUOT' ? ENOSPC : undefined
}
