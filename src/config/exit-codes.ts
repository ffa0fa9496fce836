// Exit codes of the command line: one table, append-only, printed by `lattice help exit-codes`.
// Every reason (ErrorCode) has one class; the reason's own name is in `--json` output. A code that
// a script does not know is a failure.

import type { ErrorCode } from '../util/errors.ts'

export interface ExitCode {
  code: number
  name: string
  meaning: string
  reasons: ErrorCode[]
}

export const EXIT_OK = 0
export const EXIT_FAILURE = 1
export const EXIT_USAGE = 2
export const EXIT_CHECK_FOUND = 26
export const EXIT_INTERRUPTED = 130

export const EXIT_CODES: readonly ExitCode[] = [
  { code: EXIT_OK, name: 'ok', meaning: 'done', reasons: [] },
  {
    code: EXIT_FAILURE,
    name: 'failure',
    meaning: 'something else failed',
    reasons: ['io', 'internal', 'timeout', 'closed', 'invalid', 'too-large', 'exists'],
  },
  { code: EXIT_USAGE, name: 'usage', meaning: 'the command line is wrong', reasons: ['usage'] },
  {
    code: 3,
    name: 'partial',
    meaning: 'done in part: see the messages',
    reasons: [],
  },
  {
    code: 4,
    name: 'not-found',
    meaning: 'nothing to do, or not there',
    reasons: ['not-found', 'not-mounted', 'mountpoint-missing', 'no-recovery-box'],
  },
  { code: 5, name: 'conflict', meaning: 'a conflict needs a decision', reasons: [] },
  {
    code: 6,
    name: 'no-daemon',
    meaning: 'the daemon is not running or cannot be started',
    reasons: ['daemon-not-running'],
  },
  {
    code: 7,
    name: 'busy',
    meaning: 'the mount point is busy, not empty or no directory; the mount is in use',
    reasons: ['busy', 'mountpoint-busy', 'mountpoint-not-empty', 'mountpoint-not-directory'],
  },
  {
    code: 8,
    name: 'no-fuse',
    meaning: 'FUSE is not available',
    reasons: ['no-fuse', 'no-fusermount'],
  },
  { code: 9, name: 'unreachable', meaning: 'network or storage not reachable', reasons: [] },
  { code: 10, name: 'no-vault', meaning: 'the vault does not exist', reasons: ['vault-not-found'] },
  {
    code: 11,
    name: 'locked',
    meaning: 'another process uses the vault',
    reasons: ['locked', 'daemon-running'],
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
  },
  { code: 13, name: 'denied', meaning: 'no permission', reasons: ['denied'] },
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
  },
  {
    code: 15,
    name: 'unknown-format',
    meaning: 'written by another version of lattice',
    reasons: ['unknown-format', 'unsupported', 'bundle-version', 'bundle-suite', 'codec-unknown'],
  },
  {
    code: 22,
    name: 'empty-passphrase',
    meaning: 'the passphrase is empty',
    reasons: ['empty-passphrase'],
  },
  {
    code: EXIT_CHECK_FOUND,
    name: 'check-found',
    meaning: '`lattice check` found errors',
    reasons: [],
  },
  { code: 28, name: 'disk-full', meaning: 'no space is left', reasons: ['disk-full'] },
  {
    code: 69,
    name: 'prerequisite',
    meaning: 'something that lattice needs is missing',
    reasons: ['prerequisite', 'addon-missing', 'self-test-failed'],
  },
  {
    code: EXIT_INTERRUPTED,
    name: 'interrupted',
    meaning: 'ended by Ctrl-C',
    reasons: ['cancelled'],
  },
]

const BY_REASON = new Map<string, number>(
  EXIT_CODES.flatMap(({ code, reasons }) => reasons.map((reason) => [reason, code] as const)),
)

/** The exit code of a reason; 1 for what this version does not know. */
export function exitCodeOf(reason: string): number {
  return BY_REASON.get(reason) ?? EXIT_FAILURE
}
