// What filesystem calls take and give: plain data without any protocol's layout.

import type { Attr, Ino } from '../vault/buffers.ts'
import type { NodeKind } from '../ops/types.ts'

export type { Attr, Ino } from '../vault/buffers.ts'
export type { NodeKind } from '../ops/types.ts'

/** Who calls: the filesystem ids of the calling process. */
export interface Caller {
  uid: number
  gid: number
}

/** A name that was found or made. `attr` may change with the next call: encode it at once. */
export interface Entry {
  ino: Ino
  generation: number
  attr: Attr
}

/** One directory entry. Cookie 1 is '.', 2 is '..', later ones ascend and are never reused. */
export interface DirItem {
  name: string // latin1: one character per byte
  cookie: number
  ino: Ino
  kind: NodeKind
}

export interface DirItemPlus extends DirItem {
  generation: number
  attr: Attr
}

/** Bits of a SETATTR beside ATTR_* of vault/buffers.ts. */
export const SET_ATIME_NOW = 256
export const SET_MTIME_NOW = 512
/** The kernel left it to us to clear setuid and setgid (truncation by someone without privilege).
 * */
export const SET_KILL_PRIVILEGES = 1024

export const OPEN_ACCMODE = 3
export const OPEN_RDONLY = 0
export const OPEN_EXCL = 0o200
export const OPEN_TRUNC = 0o1000

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4

export const XATTR_CREATE = 1
export const XATTR_REPLACE = 2

export const FALLOC_KEEP_SIZE = 1
export const FALLOC_PUNCH_HOLE = 2
export const FALLOC_ZERO_RANGE = 16

export const SEEK_DATA = 3
export const SEEK_HOLE = 4

export const MODE_TYPE = 0o170000
export const MODE_SETUID = 0o4000
export const MODE_SETGID = 0o2000
export const MODE_PERMISSIONS = 0o7777

export interface Statfs {
  blockBytes: number
  blocks: number
  blocksFree: number
  blocksAvailable: number
  files: number
  filesFree: number
  nameMaxBytes: number
}
