// Tree: the vault's directory tree as this device sees it at this instant, pending changes
// included. The port between filesystem semantics (fs/) and the replicated state. Every mutation
//   1. takes effect in the live view before it returns (the fold runs at the call), and
//   2. is queued as one user-level operation, in order, for the next commit (journal).
// Reads and mutations are synchronous; permissions and POSIX error rules are the caller's (fs/):
// what is asked for here must be possible, or an assertion fails.
//
// A directory may be a union of several nodes, and an entry an item of a conflict, under its own or
// a conflict name: callers see ordinary directories and files. A change of one item leaves the
// others under the names that they had.

import type { Attr, Ino } from './buffers.ts'
import type { Content, Name, NodeKind, OpRef } from '../ops/types.ts'

export interface DirEntry {
  name: Name
  /** Stable for the life of the entry, ascending, never reused in its directory; > 2. */
  cookie: number
  ino: Ino
  kind: NodeKind
}

/** A node as fs/ needs it. A snapshot: valid until the next mutation of the same ino. */
export interface NodeInfo {
  ino: Ino
  generation: number
  kind: NodeKind
  attr: Attr // size, nlink and times included (what buffers hold dirty is newer)
  content: Content | undefined // of the winning head; files only; undefined = never written, empty
  target: string // symlink, latin1; '' otherwise
  /** No name refers to it any more. An open file that somebody else's change took its name or its
   *  content from is none: it has no name, but what is written to it is kept. */
  orphan: boolean
  entryCount: number // directories: live entries without . and ..
  /** Directories: the parent's ino (of the root: the root). */
  parent: Ino
}

export interface NewNode {
  kind: NodeKind
  mode: number // permission bits, 12 bits
  uid: number
  gid: number
  rdev: number
  target: string
}

/** A moment in the order of queued operations: durable when committed up to it. */
export type Ticket = number

export interface Tree {
  readonly root: Ino // 1
  node(ino: Ino): NodeInfo | undefined
  lookup(parent: Ino, name: Name): DirEntry | undefined
  /** With the attributes in one go, for LOOKUP and READDIRPLUS of cold directories. */
  lookupNode(parent: Ino, name: Name): NodeInfo | undefined
  /** Entries with cookie > after, ascending, at most `max`. */
  list(parent: Ino, after: number, max: number): DirEntry[]
  listNodes(parent: Ino, after: number, max: number): { entry: DirEntry; node: NodeInfo }[]

  /** The op that put the entry there: its time and author decide between names that are one for
   *  other systems. */
  originOf(parent: Ino, name: Name): OpRef | undefined

  make(parent: Ino, name: Name, init: NewNode): NodeInfo
  /** A file without a name (O_TMPFILE): local until link() gives it one. */
  makeUnnamed(init: NewNode): NodeInfo
  link(ino: Ino, parent: Ino, name: Name): NodeInfo
  /** Removes an entry; a directory must be empty. The ino lives on as an orphan until release(). */
  unlink(parent: Ino, name: Name): { ino: Ino; orphan: boolean }
  /**
   * Renames over whatever is there (fs/ checked kinds and emptiness). Regular file with one link
   * over regular file with one link: the target's node gets the source's content and attributes,
   * the ino follows the source as POSIX says; the operation waits in the queue for unsealed content
   * of the source. Returns the ino that lost its name, if any.
   */
  rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
  ): { replaced: Ino | undefined; orphan: boolean }
  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void

  /** Explicit changes (ATTR_* bits of buffers.ts except SIZE): mode, owner, times. */
  setAttrs(ino: Ino, mask: number, attr: Attr): void
  getXattr(ino: Ino, name: string): Uint8Array | undefined
  listXattrs(ino: Ino): string[]
  /** undefined removes. */
  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void
  /** New content of a file, sealed: its chunks are in packs or in `loose` (not yet durable). It
   *  replaces what the ino's openers have seen, and nothing that others have written since. */
  put(ino: Ino, content: Content, attr: Attr): void

  /** The orphan is not used any more (no opens, forgotten): its local record goes. */
  release(ino: Ino): void
  /** Everything queued so far. */
  ticket(): Ticket
  /** Resolves when everything up to the ticket is durable in packs and journal. */
  durable(ticket: Ticket): Promise<void>
  counts(): { files: number; directories: number; contentBytes: number }
}

/** What Tree needs from the keeper of file content, for rename over a file. */
export interface UnsealedContent {
  /** True when the ino has content that no put() has brought to the tree yet. */
  isUnsealed(ino: Ino): boolean
  /** Seals it now and calls tree.put() before it resolves. */
  seal(ino: Ino): Promise<void>
}
