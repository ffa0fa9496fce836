// OpenFile: what the engine keeps for one ino whose content is open, dirty, or not yet put.
// Belongs to Files and its two helpers (file-sealer.ts, file-reader.ts); nobody else holds one.
//
// Guards: `working` is changed only under `lock`; the rest only on the engine's thread, between
// awaits. At most one sealing pass per file runs (`running`), so at most one job is in flight.

import { Mutex } from '../util/mutex.ts'
import type { Attr, Ino } from './buffers.ts'
import type { WorkingContent } from './content.ts'

/** How far a sealing pass goes. */
export const SEAL_NONE = 0
/** Seals what can be cut for certain; no put. */
export const SEAL_PARTIAL = 1
/** Seals everything and puts. */
export const SEAL_FINAL = 2
/** As final, and somebody waits for the disk. */
export const SEAL_URGENT = 3
export type SealLevel = 0 | 1 | 2 | 3

export interface Waiter {
  resolve: () => void
  reject: (error: unknown) => void
}

export class OpenFile {
  readonly ino: Ino
  readonly working: WorkingContent
  readonly lock = new Mutex()
  /** As last frozen: stands in for the record when that is gone before the put. */
  attr: Attr
  wanted: SealLevel = SEAL_NONE
  running = false
  queued = false
  /** Queued, and in no hurry: a small file that was closed. */
  later = false
  waiters: Waiter[] = []
  /** The tree waits for this content (rename over a file): put it even without a name. */
  promised = false
  /** How often the tree has asked so; as of the last freeze. What was frozen before the last
   *  asking is not all that the rename brings. */
  asked = 0
  askedAtFreeze = 0
  /** Described as it is now, but the tree does not know. */
  owed = false
  /** Given up or put: nothing may be queued for it any more. */
  closed = false
  /** Nodes of its tree are elsewhere: it is kept in a record (held.ts) until they come. */
  isHeld = false
  /** The name of that record; also while more is written. */
  heldAs: string | undefined
  failures = 0
  retryAtMs = 0
  /** When the oldest dirty byte came; undefined while nothing is dirty or unput. */
  dirtySinceMs: number | undefined
  /** Ranges being fetched, unordered. */
  fetching: { begin: number; end: number }[] = []
  /** Asked for while they were being fetched: looked at again when that has ended. */
  late: { begin: number; end: number }[] = []
  windowBytes = 0
  /** Some of its content had to be brought from others. */
  isAway = false
  /** Up to where content was asked for ahead of a sequential reader. */
  aheadEnd = 0

  constructor(ino: Ino, working: WorkingContent, attr: Attr) {
    this.ino = ino
    this.working = working
    this.attr = attr
  }

  /** The tree has older content. */
  get unput(): boolean {
    return this.owed || this.working.changed
  }

  get idle(): boolean {
    return !this.running && !this.queued && this.wanted === SEAL_NONE && !this.lock.held
  }
}
