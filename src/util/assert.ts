// Asserts for what cannot happen unless the code is wrong. They stay on in production: a failed
// assert throws a plain Error, never a LatticeError, so that nobody mistakes it for expected
// trouble. Messages may be functions, so that building them costs nothing on hot paths.

export type Message = string | (() => string)

export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

export function assert(condition: unknown, message: Message): asserts condition {
  if (!condition) fail(message)
}

/** The value itself, once it is known to be neither undefined nor null. */
export function must<T>(value: T, message: Message): NonNullable<T> {
  if (value === undefined || value === null) fail(message)
  return value
}

/** The end of an exhaustive switch: a compile-time error as soon as a case is missing. */
export function unreachable(value: never): never {
  fail(() => `unreachable case: ${String(value)}`)
}

function fail(message: Message): never {
  throw new AssertionError(typeof message === 'string' ? message : message())
}
