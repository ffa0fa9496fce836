// Exit codes of the command line: one table, append-only, printed by `lattice help exit-codes`.
// Every reason (ErrorCode) has one class; the reason's own name is in `--json` output. A code that
// a script does not know is a failure.

import type { ErrorCode } from '../util/errors.ts'

export interface ExitCode {
  code: number
  name: string
  meaning: string
  reasons: ErrorCode[]
  /** What to do, for errors that bring no hint of their own. */
  hint?: string
}

export const EXIT_OK = 0
export const EXIT_FAILURE = 1
export const EXIT_USAGE = 2
export const EXIT_PARTIAL = 3
export const EXIT_CHECK_FOUND = 26
export const EXIT_INTERRUPTED = 130

export const EXIT_CODES: readonly ExitCode[] = [
  { code: EXIT_OK, name: 'ok', meaning: 'done', reasons: [] },
  {
    code: EXIT_FAILURE,
    name: 'failure',
    meaning: 'something else failed',
    reasons: [
      'io', 'internal', 'timeout', 'closed', 'invalid', 'too-large', 'exists', 'protocol',
    ],
    hint: 'the log of the daemon may say more: lattice status --json names it',
  },
  {
    code: EXIT_USAGE,
    name: 'usage',
    meaning: 'the command line is wrong',
    reasons: ['usage', 'ambiguous'],
    hint: 'lattice help [COMMAND]',
  },
  {
    code: EXIT_PARTIAL,
    name: 'partial',
    meaning: 'done in part: see the messages',
    reasons: [],
  },
  {
    code: 4,
    name: 'not-found',
    meaning: 'nothing to do, or not there',
    reasons: ['not-found', 'not-mounted', 'mountpoint-missing', 'no-recovery-box'],
    hint: 'check the path; lattice status lists what is mounted',
  },
  { code: 5, name: 'conflict', meaning: 'a conflict needs a decision', reasons: ['forked'] },
  {
    code: 6,
    name: 'no-daemon',
    meaning: 'the daemon is not running or cannot be started',
    reasons: ['daemon-not-running'],
    hint: 'its log says why: daemon.log in the state directory',
  },
  {
    code: 7,
    name: 'busy',
    meaning: 'the mount point is busy, not empty or no directory; the mount is in use',
    reasons: ['busy', 'mountpoint-busy', 'mountpoint-not-empty', 'mountpoint-not-directory'],
    hint: 'close what uses it, or name another directory',
  },
  {
    code: 8,
    name: 'no-fuse',
    meaning: 'FUSE is not available',
    reasons: ['no-fuse', 'no-fusermount'],
    hint: 'lattice doctor says what is missing',
  },
  {
    code: 9,
    name: 'unreachable',
    meaning: 'network or storage not reachable',
    reasons: [
      'not-available', 'unreachable', 'refused', 'inviter-offline', 'no-route', 'not-ready',
    ],
    hint: 'lattice peers shows who is connected',
  },
  {
    code: 10,
    name: 'no-vault',
    meaning: 'the vault does not exist',
    reasons: ['vault-not-found'],
    hint: 'lattice status lists the vaults',
  },
  {
    code: 11,
    name: 'locked',
    meaning: 'another process uses the vault',
    reasons: ['locked', 'daemon-running'],
    hint: 'lattice status names the daemon that runs',
  },
  {
    code: 12,
    name: 'wrong-passphrase',
    meaning: 'passphrase or recovery phrase is wrong or missing',
    reasons: [
      'wrong-passphrase',
      'passphrase-needed',
      'wrong-phrase',
      'phrase-length',
      'phrase-word',
      'phrase-checksum',
    ],
    hint: 'check it for typing errors',
  },
  {
    code: 13,
    name: 'denied',
    meaning: 'no permission',
    reasons: ['denied'],
    hint: 'check owner and mode of the path and of the directories above it',
  },
  {
    code: 14,
    name: 'damaged',
    meaning: 'stored data are damaged or not authentic',
    reasons: [
      'damaged-keys',
      'missing-key',
      'corrupt',
      'damaged-journal',
      'damaged-pack',
      'damaged-index',
      'damaged-config',
      'unauthentic',
      'record-short',
      'bundle-short',
      'bundle-too-large',
      'bundle-header',
      'bundle-segment-count',
      'bundle-segment-range',
      'bundle-vault',
      'bundle-seal',
      'bundle-index-length',
      'bundle-index-count',
      'bundle-index-entry',
      'bundle-index-overlap',
      'bundle-index-order',
      'bundle-padding',
      'codec-size',
      'codec-data',
      'chunk-missing',
      'chunk-id-mismatch',
      'varint',
      'truncated',
      'trailing-bytes',
      'not-canonical',
      'out-of-bounds',
    ],
    hint: 'nothing was changed; keep a copy of the state directory, then: lattice check DIR',
  },
  {
    code: 15,
    name: 'unknown-format',
    meaning: 'written by another version of lattice',
    reasons: ['unknown-format', 'unsupported', 'bundle-version', 'bundle-suite', 'codec-unknown'],
    hint: 'use the version of lattice that wrote it, or a newer one',
  },
  {
    code: 22,
    name: 'empty-passphrase',
    meaning: 'the passphrase is empty',
    reasons: ['empty-passphrase'],
    hint: 'give a passphrase of at least one character',
  },
  {
    code: 23,
    name: 'invite',
    meaning: 'the invite code is damaged, unknown, used, expired or revoked',
    reasons: [
      'code-damaged', 'code-too-new', 'invite-unknown', 'invite-used', 'invite-expired',
      'invite-revoked', 'invite-spent', 'invite-busy',
    ],
    hint: 'ask for a new one: lattice invite',
  },
  {
    code: 24,
    name: 'not-paired',
    meaning: 'the two devices did not come together: refused, or the digits differ',
    reasons: ['pairing-refused', 'digits-differ', 'pairing-protocol'],
    hint: 'try again with a new code, and both devices at hand',
  },
  {
    code: EXIT_CHECK_FOUND,
    name: 'check-found',
    meaning: '`lattice check` found errors',
    reasons: [],
  },
  {
    code: 28,
    name: 'disk-full',
    meaning: 'no space is left',
    reasons: ['disk-full'],
    hint: 'free some space where the state directory lies; removing files in the vault works',
  },
  {
    code: 69,
    name: 'prerequisite',
    meaning: 'something that lattice needs is missing',
    reasons: ['prerequisite', 'addon-missing', 'self-test-failed'],
    hint: 'lattice doctor says what is missing',
  },
  {
    code: EXIT_INTERRUPTED,
    name: 'interrupted',
    meaning: 'ended by Ctrl-C',
    reasons: ['cancelled'],
  },
]

/** The hint of a reason's class; undefined for what was ended on purpose. */
export function defaultHintOf(reason: string): string | undefined {
  return EXIT_CODES.find(({ code }) => code === exitCodeOf(reason))?.hint
}

const BY_REASON = new Map<string, number>(
  EXIT_CODES.flatMap(({ code, reasons }) => reasons.map((reason) => [reason, code] as const)),
)

/** The exit code of a reason; 1 for what this version does not know. */
export function exitCodeOf(reason: string): number {
  return BY_REASON.get(reason) ?? EXIT_FAILURE
}
