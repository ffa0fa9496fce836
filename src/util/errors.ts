// The one error class of lattice, and every reason it can carry.
//
// Expected trouble (bad input, damaged files, a full disk) is a LatticeError whose code names the
// rule that was broken, so that callers, tests and `--json` can ask for that reason. The impossible
// is an assert (assert.ts). Conversions to errno and to exit codes live at the edges, never here.
// The code list is append-only: codes appear in `--json` output and in scripts of users.

export type ErrorCode =
  // Environment and use
  | 'io'
  | 'disk-full'
  | 'denied'
  | 'not-found'
  | 'exists'
  | 'busy'
  | 'locked'
  | 'usage'
  | 'prerequisite'
  | 'unsupported'
  | 'timeout'
  | 'cancelled'
  | 'closed'
  | 'invalid'
  | 'too-large'
  | 'internal'
  // Mount
  | 'no-fuse'
  | 'no-fusermount'
  | 'mountpoint-busy'
  | 'mountpoint-not-empty'
  | 'mountpoint-not-directory'
  | 'mountpoint-missing'
  | 'not-mounted'
  // Daemon and control API
  | 'daemon-not-running'
  | 'daemon-running'
  | 'addon-missing'
  | 'self-test-failed'
  // Keys
  | 'wrong-passphrase'
  | 'empty-passphrase'
  | 'passphrase-needed'
  | 'wrong-phrase'
  | 'phrase-length'
  | 'phrase-word'
  | 'phrase-checksum'
  | 'no-recovery-box'
  | 'damaged-keys'
  | 'missing-key'
  | 'vault-not-found'
  // Invites and pairing
  | 'code-damaged'
  | 'code-too-new'
  | 'invite-unknown'
  | 'invite-used'
  | 'invite-expired'
  | 'invite-revoked'
  | 'invite-spent'
  | 'invite-busy'
  | 'pairing-refused'
  | 'digits-differ'
  | 'pairing-protocol'
  | 'inviter-offline'
  | 'no-route'
  | 'not-ready'
  | 'ambiguous'
  // Formats, in general and file by file
  | 'unknown-format'
  | 'corrupt'
  | 'damaged-journal'
  | 'damaged-pack'
  | 'damaged-index'
  | 'damaged-config'
  // Sealed records and bundles: one reason per rule
  | 'unauthentic'
  | 'record-short'
  | 'bundle-short'
  | 'bundle-too-large'
  | 'bundle-version'
  | 'bundle-suite'
  | 'bundle-header'
  | 'bundle-segment-count'
  | 'bundle-segment-range'
  | 'bundle-vault'
  | 'bundle-seal'
  | 'bundle-index-length'
  | 'bundle-index-count'
  | 'bundle-index-entry'
  | 'bundle-index-overlap'
  | 'bundle-index-order'
  | 'bundle-padding'
  | 'codec-unknown'
  | 'codec-size'
  | 'codec-data'
  | 'chunk-missing'
  | 'chunk-id-mismatch'
  // Canonical encodings
  | 'varint'
  | 'truncated'
  | 'trailing-bytes'
  | 'not-canonical'
  | 'out-of-bounds'
  // Network
  | 'forked'
  | 'not-available'
  | 'unreachable'
  | 'refused'
  | 'protocol'

/** Ids and numbers that help to find the culprit. Never plaintext names or keys. */
export type ErrorDetails = Record<string, string | number>

export type ErrorOptions = {
  /** One sentence that tells the user what to do. */
  hint?: string | undefined
  details?: ErrorDetails | undefined
  cause?: unknown
}

export class LatticeError extends Error {
  readonly code: ErrorCode
  readonly hint?: string
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'LatticeError'
    this.code = code
    this.details = options.details ?? {}
    if (options.hint !== undefined) this.hint = options.hint
  }
}

export function isLatticeError(error: unknown, code?: ErrorCode): error is LatticeError {
  return error instanceof LatticeError && (code === undefined || error.code === code)
}

/** The system's errno name ('ENOENT', …) of an error that Node threw, or undefined. */
export function errnoName(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined
}

/** A Node system error as a LatticeError; `what` says what was tried. Others pass unchanged. */
export function fromSystemError(error: unknown, what: string): Error {
  if (error instanceof LatticeError) return error
  const name = errnoName(error)
  const cause = error instanceof Error ? error : new Error(String(error))
  if (name === undefined) return cause
  const code = SYSTEM_CODES[name] ?? 'io'
  return new LatticeError(code, `${what}: ${name}`, { cause, details: { errno: name } })
}

const SYSTEM_CODES: Record<string, ErrorCode> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  ENOENT: 'not-found',
  EEXIST: 'exists',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  EBUSY: 'busy',
}
