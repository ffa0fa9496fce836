/**
 * What the engine needs from the world: time, randomness, disk, the journal, the logs, keys.
 * Nothing in ops, state, chunks and vault asks the system itself, so that a seed replays a whole
 * history. Real ones: journal/node-disk.ts, journal/journal.ts, and the daemon's clock and
 * randomness. Simulated ones: test/support/ and test/sim/.
 */

import type { AuthorId } from '../ops/types.ts'
import type { Standing } from '../state/node-history.ts'

export interface Timer {
  /** Idempotent; does nothing once the timer has fired. */
  cancel(): void
}

export interface Clock {
  /** Wall clock in whole milliseconds. May step backwards: whoever needs order uses ops/hlc.ts. */
  nowMs(): number
  /** Wall clock as seconds and nanoseconds, for file times. */
  now(): { sec: number; nsec: number }
  /** Calls `fire` once after `delayMs`. A pending timer does not keep the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer
}

export interface Random {
  /** A new array, the caller's own. */
  bytes(sizeBytes: number): Uint8Array
  /** Fills `into` and returns it. */
  fill<T extends Uint8Array>(into: T): T
}

/**
 * Files and directories, as far as append-only formats need them. Failures are LatticeErrors
 * ('disk-full', 'not-found', 'exists', 'denied', 'io'), thrown or rejected with. Writes that were
 * not followed by a successful sync of the same file may be lost, torn and reordered by a power
 * cut; a new name by a power cut before syncDirectory. After a failed sync nothing is known about
 * what was written since the last good one.
 */
export interface Disk {
  /** With missing parents, mode 0700; fine if it exists. */
  makeDirectory(path: string): void
  /** Names, sorted; none when the directory does not exist. */
  list(directory: string): string[]
  /** A new empty file, mode 0600, opened for reading and writing; 'exists' when there is one. */
  create(path: string): DiskFile
  open(path: string, mode: 'read' | 'write'): DiskFile
  rename(from: string, to: string): void
  remove(path: string): void
  /** Makes names created, renamed and removed in the directory durable. */
  syncDirectory(path: string): Promise<void>
}

export interface DiskFile {
  readonly path: string
  /** The system's descriptor, for native code; undefined on a simulated disk. */
  readonly fd: number | undefined
  sizeBytes(): number
  /** Extends the file with zeros to `sizeBytes`, space and size durable; fine if it is longer. */
  allocate(sizeBytes: number): Promise<void>
  /** Cuts the file; what lay behind is gone. */
  truncate(sizeBytes: number): void
  /** Fills `into` from `offset`; the count is smaller only at the end of the file. */
  readSync(offset: number, into: Uint8Array): number
  /** All of `bytes`, which must stay unchanged until the promise settles. */
  write(offset: number, bytes: Uint8Array): Promise<void>
  writeSync(offset: number, bytes: Uint8Array): void
  /** Data and size are durable when it resolves (fdatasync). */
  sync(): Promise<void>
  /** write, then sync, in one hop to another thread: the way to a fast fsync. */
  writeAndSync(offset: number, bytes: Uint8Array): Promise<void>
  /** Idempotent. Waits for nothing: settle what is in flight first. */
  close(): void
}

/**
 * Where a record starts in the journal: segment number × 2^26 + offset in the segment. It never
 * changes, also when a failed write makes the journal move to another file. Ascending in order of
 * appending.
 */
export type JournalPosition = number & { readonly __journal: true }

const SEGMENT_UNIT = 2 ** 26
const SEGMENT_FIRST_OFFSET = 4096

export const JOURNAL_START: JournalCursor = Object.freeze({
  position: SEGMENT_FIRST_OFFSET as JournalPosition, sequence: 0,
})

export function journalPosition(segment: number, offset: number): JournalPosition {
  return (segment * SEGMENT_UNIT + offset) as JournalPosition
}

export function journalSegment(position: JournalPosition): number {
  return Math.floor(position / SEGMENT_UNIT)
}

export function journalOffset(position: JournalPosition): number {
  return position % SEGMENT_UNIT
}

export const JOURNAL_BATCH = 1 // an own op batch and its local facts (vault/journal-batch.ts)
export const JOURNAL_LOOSE = 2 // a small sealed chunk (chunks/)
export const JOURNAL_FACTS = 3 // local facts of operations that have no replicated part
export const JOURNAL_REMOTE_BATCH = 4 // a batch that came by the logs, and its local facts
export const JOURNAL_HEAD = 5 // another author's signed head (vault/journal-head.ts)
// Written by the journal itself; scans do not yield them:
export const JOURNAL_CLOSING = 254
export const JOURNAL_MARKER = 255
export type JournalRecordType = 1 | 2 | 3 | 4 | 5

export interface JournalRecord {
  type: JournalRecordType
  position: JournalPosition
  /** 0, 1, 2 … over the whole journal, markers included. */
  sequence: number
  /** A view that stays valid: nobody writes to it any more. */
  payload: Uint8Array
}

/** What to read next: the record with this sequence, at the position or behind its padding. */
export interface JournalCursor {
  position: JournalPosition
  sequence: number
}

export interface JournalPort {
  /**
   * Takes a record, in RAM until a flush; the parts are copied before it returns. The payload lies
   * JOURNAL_RECORD_HEADER_BYTES behind the position.
   */
  append(type: JournalRecordType, ...parts: Uint8Array[]): JournalPosition
  /**
   * Everything appended before the call is durable when it resolves. On failure every caller whose
   * records were in it is told once; the records stay in RAM, and the next flush writes them anew
   * to another file.
   */
  flush(): Promise<void>
  /**
   * The record at a position that append() or a scan returned, flushed or not. `payloadBytes` saves
   * a system call when it is known. Throws 'damaged-journal'.
   */
  read(position: JournalPosition, payloadBytes?: number): JournalRecord
  /**
   * Records from the cursor on, in order, those not flushed included; as of the first step.
   * Throws 'damaged-journal'.
   */
  scan(from: JournalCursor): IterableIterator<JournalRecord>
  /** Behind the last record appended. */
  readonly end: JournalCursor
  /** Why flushing fails at present; undefined while all is well. New changes should be refused. */
  readonly trouble: Error | undefined
  /** True while the disk is too full for the reserve: begin nothing that needs more room. */
  readonly isSpaceLow: boolean
  /** Looks whether there is room for the reserve again: flushes do it too, but may not come. */
  lookForSpace?(): void
}

export const JOURNAL_RECORD_HEADER_BYTES = 24
export const JOURNAL_RECORD_MAX_BYTES = 1 << 20 // of payload

/** What must be durable before the journal writes records that name it. */
export interface JournalGate {
  /** False while the journal has to wait for pass(). */
  readonly isOpen: boolean
  /** Rejects when it cannot be made durable: then the flush fails, and may be tried again. */
  pass(): Promise<void>
}

/**
 * The ops logs of one vault as this device holds them: blocks from the first on, without gaps.
 * What is here has its author's signature; what is in it nobody has looked at.
 */
export interface LogPort {
  /** All authors of whom there is a log, this device included once it has published. */
  authors(): AuthorId[]
  /** Contiguous blocks held, from 0. A log may also become shorter: its store may be lost. */
  length(author: AuthorId): number
  /** Undefined when the block is not there, or not any more. Not to be changed by the caller. */
  read(author: AuthorId, seq: number): Promise<Uint8Array | undefined>
  /** 32 bytes; of the first `length` blocks, undefined when they are not all there. */
  treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined>
  /**
   * Adds to the own log as it is at the call. When it has grown by itself meanwhile, or a peer
   * holds more of it than is here, nothing is added, and length() tells. The blocks stay unchanged.
   */
  append(blocks: readonly Uint8Array[]): Promise<void>
  /** Calls whenever blocks of the author came, until the engine is closed. */
  onGrowth(grown: (author: AuthorId) => void): void
  /**
   * Calls when a peer was found to hold another branch of the own log, until the engine is closed:
   * from then on append() adds nothing. What was found before counts, too.
   */
  onOwnFork?(forked: () => void): void
}

/** Every author has two logs: sealed batches, and descriptors of the bundles that it has made. */
export type LogKind = 'ops' | 'content'

/** What an author has signed of one of its logs: enough, with the blocks, to make the log anew. */
export interface SignedHead {
  length: number
  /** 32 bytes. */
  treeHash: Uint8Array
  /** Ed25519, 64 bytes. */
  signature: Uint8Array
}

/** The keys of one epoch that batches are sealed with. */
export interface EpochSeal {
  epochId: Uint8Array
  opKey: Uint8Array
  controlKey: Uint8Array
}

/** The keys that this device has. They stay the port's. */
export interface KeyPort {
  /** The epoch that seals now. Asked for each batch. `floor`: epochs of what it depends on; a data
   *  batch is void if it is sealed under one before them. `announces`: it brings a new epoch, and
   *  every member must be able to open it. Throws 'missing-key'. */
  current(floor: () => readonly Uint8Array[], announces?: boolean): EpochSeal
  /** Undefined when the key is not there (yet). */
  opKey(epochId: Uint8Array): Uint8Array | undefined
  controlKey(epochId: Uint8Array): Uint8Array | undefined
  /** Other members, or other epochs: takes what is boxed to this device. At opening, too. */
  learn?(members: MembersView): void
  /** Resolves when what was learnt so far is stored where the next start finds it. */
  kept?(): Promise<void>
}

/** What the control ops that are applied say, all of them together. Immutable. */
export interface MembersView {
  standing(author: AuthorId, seq: number): Standing
  /** Name of the author's device; '' = unknown. */
  label(author: AuthorId): string
  /** Whether epoch `one` (8 bytes) comes before `other`: what has seen `other` is not sealed by
   *  `one` any more. */
  precedes(one: Uint8Array, other: Uint8Array): boolean
  /** Whether the op that made the epoch (8 bytes) is among them. Of all when it is not there. */
  knowsEpoch?(epochId: Uint8Array): boolean
  /** Whether a critical op that is not known here counts when it is in this batch. */
  mayRequire(author: AuthorId, seq: number): boolean
  /** Sequences at which the author's standing may change, ascending. When not there, all applied
   *  sequences are looked at. */
  breaks?(author: AuthorId): readonly number[]
}
