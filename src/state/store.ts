// Store: what the fold reads and writes. Base: the part of it that is settled (LMDB, or the memory
// twin), read only, always the state as of one checkpoint. Overlay (overlay.ts) makes a Store of a
// Base by keeping what changed since.

import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import type {
  BatchInfo, ControlBatch, Entry, GroupRecord, MoveRecord, NodeRecord,
} from './records.ts'
import type { StateMeta } from './meta.ts'

/** A group and where it is. `dir` is the ino of the directory that shows it. */
export interface PlacedGroup {
  dir: number
  name: Name
  group: GroupRecord
}

/** Where a list of groups goes on. */
export interface GroupPlace {
  dir: number
  name: Name
}

export interface Base {
  /** A node that the view shows. The record is shared: not to be changed. */
  node(ino: number): NodeRecord | undefined
  entry(parent: number, name: Name): Entry | undefined
  /** Entries with cookie > after, ascending, at most `max`. With `nodes`, their records are likely
   *  to be asked for next. */
  entries(parent: number, after: number, max: number, nodes: boolean): Entry[]
  /** Ino of a shown node. */
  inoOf(node: NodeId): number | undefined
  /** The node that a further link refers to; first links have their node's id. */
  nodeOfLink(link: LinkId): NodeId | undefined
  /** A node that the view does not show: removed, or without a place. */
  hidden(node: NodeId): NodeRecord | undefined

  /** Only for names that are not just one entry: a directory without grouped or skipped names,
   *  and an entry of a node that is not `grouped`, need not ask. */
  group(dir: number, name: Name): GroupRecord | undefined
  /** Names of the groups in `dir` that passed this name over. */
  skips(dir: number, name: Name): readonly Name[]
  /** All groups behind `after`, at most `max`, ascending by groupOrder(). */
  groups(after: GroupPlace | undefined, max: number): PlacedGroup[]
  /** Where the group stands in that list: strings that compare with <. Stable for a store, not the
   *  same on all devices. */
  groupOrder(dir: number, name: Name): string

  /** The log of directory moves, greatest first: those smaller than `end`, or all. Not to be
   *  changed while it is walked. */
  movesFrom(end: OpRef | undefined): Iterable<MoveRecord>

  batch(author: AuthorId, seq: number): BatchInfo | undefined
  /** Batches of control ops behind `after`, ascending by author, sequence; at most `max`. */
  control(after: { author: AuthorId; seq: number } | undefined, max: number): ControlBatch[]
}

export interface Store extends Base {
  /** Counters of the state, live. */
  readonly meta: StateMeta
  /** The counters that a running checkpoint will write, if it writes this very record. */
  frozenMeta(record: NodeRecord): StateMeta | undefined
  /** The record as one that may be changed: itself, or a copy that has taken its place. */
  edit(record: NodeRecord): NodeRecord
  /** A new shown node, or one whose ino changed: adds it under record.ino and maps its id. */
  show(record: NodeRecord): void
  /** The node leaves the view: under its id only. The record must be one that may be changed. */
  hide(record: NodeRecord): void
  /** A shown node that no op has made (a variant) is no more. The record is done with. */
  forget(record: NodeRecord): void
  /** The ino does not name a node any more (its node has taken another one). */
  dropIno(ino: number): void
  setLink(link: LinkId, node: NodeId): void
  /** Adds or replaces by name and cookie; `freshCookie`: this cookie was never used before. */
  putEntry(entry: Entry, freshCookie: boolean): void
  removeEntry(entry: Entry): void

  /** undefined removes. */
  putGroup(dir: number, name: Name, group: GroupRecord | undefined): void
  /** None removes. */
  setSkips(dir: number, name: Name, by: readonly Name[]): void
  /** Adds, or replaces the one with this ref. */
  putMove(move: MoveRecord): void
  removeMove(move: MoveRecord): void
  putBatch(author: AuthorId, seq: number, info: BatchInfo): void
  putControl(batch: ControlBatch): void
}
