// ContentStore: the port between open files (vault/files.ts) and sealed storage (chunks/).
// Plaintext goes in as frozen jobs and comes out as read plans; everything below it is sealed.

import type { FrozenJob, ReadPiece } from './buffers.ts'
import type { AwayBundle } from '../chunks/chunk-index-port.ts'
import { isSparseRoot } from '../chunks/manifest.ts'
import type { Placed } from '../chunks/manifest.ts'
import type { ChunkId, ChunkRef, Content } from '../ops/types.ts'

/**
 * The content of one open file while it changes: a committed manifest plus edits, lazily loaded.
 * Owned by one open file; not shared. Lookups and edits of small files are synchronous in effect;
 * tree nodes that are not cached make them asynchronous.
 */
export interface WorkingContent {
  readonly sizeBytes: number
  /** Sets the size: cuts, or grows by a hole. */
  resize(sizeBytes: number): void
  /** True when it differs from the last Content that commit() returned or that it was opened with.
   * */
  readonly changed: boolean
}

export interface SealOptions {
  /** The file is settled (close, rename over, sync): the uncertain tail is cut too. Otherwise bytes
   *  from `sealedEnd` on stay dirty. */
  final: boolean
  /** Someone waits (fsync): close the open bundle at once. */
  urgent: boolean
}

export interface Sealed {
  /** Bytes of the job below this offset are sealed, and the working content names them. */
  sealedEnd: number
}

/** A working content over a tree, as it is before its edits are folded in: what describe() would
 *  make of it when the tree's nodes are at hand. */
export interface Unfolded {
  root: ChunkRef
  depth: number
  chunker: number
  /** Of the tree's content, which counts below `sizeBytes` where no edit is. */
  baseBytes: number
  sizeBytes: number
  edits: readonly Placed[]
}

/** How much a part of a content that others hold is wanted: a reader waits, one will soon, it is
 *  to be kept here. */
export type Urgency = 'read' | 'ahead' | 'pin'

/** What of this vault's content is not on this device, but elsewhere. */
export interface AwayBundles {
  /** One of the bundles, whichever comes: in a pack and in the index when it resolves. Rejects
   *  'not-available' when nobody who can be reached has one, within bounded time. */
  fetch(bundles: readonly AwayBundle[], urgency: Urgency): Promise<void>
  /** Resolves when somebody has said which bundle holds the chunk, or nobody has for too long. */
  announced(chunk: ChunkId): Promise<void>
}

/**
 * local: all of it is here; remote: nothing is, or not the root of its tree; partial: a part is;
 * unknown: it is so large that looking takes long. Bytes are counted without holes, where cheap.
 */
export interface Presence {
  state: 'local' | 'remote' | 'partial' | 'unknown'
  bytes?: { here: number; all: number }
}

export interface ContentStore {
  open(content: Content | undefined, sizeBytes: number): WorkingContent
  /**
   * Cuts, dedups and seals what the job froze and splices it into the working content. Small jobs
   * (<= 16 KiB in all) run on the calling thread and land in the journal as loose chunks or inline
   * content; others run in the seal workers. On rejection the working content is unchanged.
   */
  seal(working: WorkingContent, job: FrozenJob, options: SealOptions): Promise<Sealed>
  /** The Content that describes the working content now: inline, refs, or a tree whose new nodes
   *  are sealed first. */
  describe(working: WorkingContent): Promise<Content>
  /** Undefined when it does not lie over a tree: then it can be described without anything else. */
  unfolded(working: WorkingContent): Unfolded | undefined
  /** The working content that unfolded() was asked of. */
  reopen(unfolded: Unfolded): WorkingContent
  /** Where the bytes of [offset, offset + length) come from; pieces ascend and cover the range, cut
   *  at the size. Pins the packs that it names until `release` is called. What is not on this
   *  device is asked of others. Throws 'damaged-pack', 'damaged-index', 'chunk-missing' when a
   *  chunk is nowhere, 'not-available' when nobody who has it can be reached. */
  plan(
    working: WorkingContent, offset: number, length: number, urgency?: Urgency,
  ): Promise<ReadPlan>
  /** As plan(), at once, or undefined when it would have to wait. */
  planNow(working: WorkingContent, offset: number, length: number): ReadPlan | undefined
  /** What of the range lies in packs, as pieces of bundles that ascend; the rest is left out. */
  places(working: WorkingContent, offset: number, length: number): Promise<ReadPlan>
  /** Copies a range by reference from one working content to another. */
  copyRange(
    source: WorkingContent,
    sourceOffset: number,
    target: WorkingContent,
    targetOffset: number,
    length: number,
  ): Promise<void>
  /** Holes and data of the working content: the next offset >= `offset` that is data (or a hole),
   *  or the size. */
  seek(working: WorkingContent, offset: number, wanted: 'data' | 'hole'): Promise<number>
  /** Bytes of holes: at most those that there are, and exactly those after a describe(), or
   *  when nothing was changed. May read one node from the disk and wait for it; what is damaged
   *  counts as data. */
  holeBytes(working: WorkingContent): number
  /** How much of a content is on this device, at once: few short reads, bounded lookups. */
  presence(content: Content | undefined, sizeBytes: number): Presence
  /** Everything sealed so far is durable when this resolves (pack fdatasync, group-wise). */
  sync(): Promise<void>
  /** Waits for the open bundles to be written (not durable). */
  flush(): Promise<void>
  close(): Promise<void>
}

/** Smaller files are not worth the question. */
const SPARSE_MIN_BYTES = 64 * 1024

/** False when the content has no holes that would matter: most files, told without reading. */
export function isSparse(content: Content | undefined, sizeBytes: number): boolean {
  if (sizeBytes < SPARSE_MIN_BYTES) return false
  if (content?.kind === 'tree') return isSparseRoot(content.root)
  let dataBytes = 0
  if (content?.kind === 'inline') dataBytes = content.bytes.length
  if (content?.kind === 'refs') {
    for (const ref of content.refs) if (!('hole' in ref)) dataBytes += ref.length
  }
  return dataBytes < sizeBytes
}

export interface ReadPlan {
  pieces: ReadPiece[]
  release(): void
}
