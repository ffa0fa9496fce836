// FileBuffers: the port to whatever holds the bytes that are being written and read right now.
//
// One *record* per ino that the kernel or the engine knows. It owns the attributes that calls
// change without the engine (size, times, mode, owner), and an *overlay*: an interval map over the
// file's committed content (the *base*, owned by the engine). A range of the overlay is
//   dirty   bytes, or a hole, that no job has taken yet       -> freeze()
//   frozen  the same, taken by the one job in flight          -> settle()
//   clean   bytes that equal the base: a cache, droppable
//   absent  ask the base: raise `need`, park the reader       -> fetch()/fill()/fail()
// Whatever changed since the base is in the overlay explicitly: a write past the end makes the gap
// a dirty hole, a truncate drops the overlay beyond the new size, growing again adds a dirty hole.
//
// Implemented in C++ (native/, behind the FUSE session) and, as its oracle, in TypeScript
// (buffers-twin.ts). All calls are synchronous and happen on the engine's thread; only
// readFrozen() may be called from seal workers.

/** A local inode number; the kernel's u64, always below 2^53. */
export type Ino = number & { readonly __brand: 'Ino' }

/** One freeze of one ino; never reused within a session. */
export type JobId = number & { readonly __brand: 'JobId' }

/** Attributes as the kernel sees them. Times are whole seconds, maybe negative, and nanoseconds. */
export interface Attr {
  mode: number // with the file type bits
  nlink: number
  uid: number
  gid: number
  rdev: number
  sizeBytes: number
  atimeSec: number
  atimeNsec: number
  mtimeSec: number
  mtimeNsec: number
  ctimeSec: number
  ctimeNsec: number
}

/** Bits of a change of attributes: what a caller set explicitly. */
export const ATTR_MODE = 1
export const ATTR_UID = 2
export const ATTR_GID = 4
export const ATTR_SIZE = 8
export const ATTR_ATIME = 16
export const ATTR_MTIME = 32
export const ATTR_CTIME = 64
/** nlink and rdev are set by the engine alone. */
export const ATTR_ALL = 127

/** What the record answered itself since the last drain, coalesced per ino, oldest first. */
export interface DirtyAttr {
  ino: Ino
  /** Which attributes were set explicitly by SETATTR (ATTR_SIZE and write times come with jobs). */
  mask: number
  attr: Attr
}

export interface FrozenExtent {
  offset: number
  length: number
  /** A hole: zeros that need no bytes. */
  hole: boolean
}

/** What one freeze took, as of one instant. Extents ascend, do not overlap, do not touch if alike.
 * */
export interface FrozenJob {
  job: JobId
  ino: Ino
  attr: Attr
  extents: FrozenExtent[]
  /** Sum of the lengths of the extents that are not holes. */
  dataBytes: number
}

/** One piece of a read plan: where the bytes of [offset, offset + length) of a file come from. */
export type ReadPiece =
  | {
      /** A stretch of a sealed bundle, to be read and opened off the loop. */
      kind: 'bundle'
      offset: number
      length: number
      /** Open descriptor of the pack; the caller keeps it open until the fetch has ended. */
      fd: number
      /** Where the bundle starts in that file, and its sealed size, both in bytes. */
      bundleOffset: number
      bundleBytes: number
      /** Where the stretch starts in the bundle's plaintext; with `block`, where that starts. */
      plainOffset: number
      /** The stretch lies in a chunk that is stored as one LZ4 block. */
      block?: PackedBlock
    }
  | { kind: 'bytes'; offset: number; bytes: Uint8Array }
  | { kind: 'hole'; offset: number; length: number }

export interface PackedBlock {
  storedBytes: number
  /** Of the chunk that it inflates to, and where the stretch starts in it. */
  plainBytes: number
  begin: number
}

/** How a fetch ended: filled; refused because the base moved on (plan again); or failed. */
export type FetchResult = 'filled' | 'stale' | 'damaged' | 'io-error'

export interface BufferEvents {
  /** A reader waits for an absent range. Answer with fetch(), fill() or fail(); asked once per
   * range. */
  need(ino: Ino, offset: number, length: number, sequential: boolean): void
  /** The ino has its first dirty byte, hole or size since it was last entirely clean. */
  dirty(ino: Ino): void
  /** At least one slab (8 MiB) of dirty data of this ino waits: take a job soon. */
  full(ino: Ino): void
  /** A descriptor of a dirty ino was closed (FLUSH): queue it for sealing at once. */
  flush(ino: Ino): void
  /** The last open of the ino ended (RELEASE). It may still be dirty. */
  released(ino: Ino): void
  /** Dirty memory is above its limit, writers are parked: seal what is dirty, oldest first. */
  pressure(): void
  /** The kernel forgot the ino, it has no open and nothing dirty: its record is gone. Told for inos
   *  that were marked with watchForget() only. */
  forgotten(ino: Ino): void
}

export interface FileBuffers {
  /** Who is told; set once before anything else. */
  listen(events: BufferEvents): void

  /** Makes or refreshes the record. Attributes that the record holds dirty are kept. */
  attach(ino: Ino, attr: Attr): void
  /** Gives the record an overlay (idempotent): from now on reads, writes and sizes are answered
   * here. */
  openData(ino: Ino): void
  /** Current attributes, or undefined when there is no record. */
  attrs(ino: Ino): Attr | undefined
  /** Bytes of holes in the base, which has `baseBytes`, for st_blocks; after each settle and
   *  replaceBase. At most those that there are: programs take a file without blocks for one
   *  without data. Records only. */
  setBaseHoles(ino: Ino, bytes: number, baseBytes: number): void
  /** Sets the attributes in `mask` (engine side: not reported as dirty). nlink: always set. */
  setAttrs(ino: Ino, mask: number, attr: Attr): void
  /** A caller's SETATTR of mode, owner or times, as the kernel path does it: reported as dirty. */
  changeAttrs(ino: Ino, mask: number, attr: Attr): void
  takeDirtyAttrs(): DirtyAttr[]
  watchForget(ino: Ino): void

  /** Copies bytes in; moves size, mtime, ctime. Returns false when dirty memory is full: park. */
  write(ino: Ino, offset: number, bytes: Uint8Array): boolean
  /** Bytes of [offset, offset + length) cut at the size; undefined when a part is absent (`need`
   *  was raised for the absent parts, once). */
  read(ino: Ino, offset: number, length: number): Uint8Array | undefined
  /** Sets the size. Growing adds a hole. Moves mtime and ctime. */
  truncate(ino: Ino, sizeBytes: number): void
  /** Makes [offset, offset + length) a dirty hole; beyond the size only when it may grow. */
  zero(ino: Ino, offset: number, length: number, mayGrow: boolean): void
  /** The overlay within [offset, end): what differs from the base or is cached, ascending. */
  overlay(ino: Ino, offset: number, end: number): OverlayExtent[]

  /** Takes everything dirty of the ino as one job; undefined when nothing is dirty. At most one job
   *  per ino is in flight (asserted). */
  freeze(ino: Ino): FrozenJob | undefined
  /** Copies frozen bytes of the job from `offset` into `into`; holes read as zeros. Returns the
   * count,
   *  always `into.length`; asking outside the job's extents is a programming error. */
  readFrozen(job: JobId, offset: number, into: Uint8Array): number
  /** Ends the job. Frozen ranges become clean, except those in [thawBegin, end of file), which are
   *  dirty again. The base now holds the rest. With ok = false all of it is dirty again. */
  settle(job: JobId, ok: boolean, thawBegin: number): void
  /** Moves with every settle and replaceBase: what was planned on an older base is refused. */
  baseEpoch(ino: Ino): number
  /** The base of [offset, offset + length) changed under the overlay (copy by reference): clean
   *  ranges in it are dropped, dirty ones as well, the size becomes max(size, offset + length). */
  replaceBase(ino: Ino, offset: number, length: number): void

  /** Puts base content into absent ranges only. 'stale' when the epoch is not the current one. */
  fill(ino: Ino, epoch: number, offset: number, bytes: Uint8Array): FetchResult
  /** Runs a read plan and fills what it brings: at once when the bytes are at hand, else off the
   *  loop. Throws, or rejects, when a piece is impossible. */
  fetch(ino: Ino, epoch: number, pieces: ReadPiece[]): FetchResult | Promise<FetchResult>
  /** Where base content of an open file lies, for reads that then need not be asked for. A hint:
   *  what is not absent stays, a stale epoch is ignored, and the table may forget it. Only pieces
   *  of bundles; their descriptors need not stay open. False: there is no room for more. */
  setPlaces(ino: Ino, epoch: number, pieces: ReadPiece[]): boolean
  /** Readers waiting for a part of the range get this errno (positive). */
  fail(ino: Ino, offset: number, length: number, errno: number): void
  /** The next FLUSH or FSYNC of this ino reports the errno, once. */
  reportError(ino: Ino, errno: number): void
  takeError(ino: Ino): number

  openCount(ino: Ino): number
  dirtyBytes(ino: Ino): number
  isDirty(ino: Ino): boolean
  totals(): { dirtyBytes: number; cleanBytes: number; records: number }
  /** Forgets the record and its bytes: nothing may be frozen, and nobody may have it open. */
  drop(ino: Ino): void
}

export interface OverlayExtent {
  offset: number
  length: number
  state: 'dirty' | 'frozen' | 'clean'
  hole: boolean
}
