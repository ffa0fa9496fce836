// Store: what the fold reads and writes. Base: the part of it that is settled (LMDB, or the memory
// twin), read only, always the state as of one checkpoint. Overlay (overlay.ts) makes a Store of a
// Base by keeping what changed since.

import type { LinkId, Name, NodeId } from '../ops/types.ts'
import type { Entry, NodeRecord } from './records.ts'
import type { StateMeta } from './meta.ts'

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
  /** The ino does not name a node any more (its node has taken another one). */
  dropIno(ino: number): void
  setLink(link: LinkId, node: NodeId): void
  /** Adds or replaces by name and cookie; `freshCookie`: this cookie was never used before. */
  putEntry(entry: Entry, freshCookie: boolean): void
  removeEntry(entry: Entry): void
}
