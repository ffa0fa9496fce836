// FsContext: what every filesystem operation stands on, and the checks that they share.
//
// Attributes have one authority: the record in the buffers where there is one, else content that is
// sealed but not put, else the tree. After each change of the tree the records it touched are
// refreshed, and what records changed by themselves is drained before it.
// Used inside fs/ only.

import { ATTR_CTIME, ATTR_MTIME, type Attr, type FileBuffers } from '../vault/buffers.ts'
import type { Files } from '../vault/files.ts'
import type { Clock } from '../vault/ports.ts'
import type { NodeInfo, Tree } from '../vault/tree.ts'
import { KIND_DIRECTORY, KIND_FILE, type Name } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { DiskSpace } from './disk-space.ts'
import { EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EROFS } from './errno.ts'
import { ESTALE, errno } from './errno.ts'
import type { Entry, Ino } from './types.ts'

export const NAME_MAX_BYTES = 255

/** Buffers whose reads can wait for absent content in this process; the native ones park instead.
 * */
export interface WaitingReads {
  /** Rejects with a positive errno. */
  readWait(ino: Ino, offset: number, length: number): Promise<Uint8Array>
}

export interface FsOptions {
  tree: Tree
  files: Files
  buffers: FileBuffers & Partial<WaitingReads>
  clock: Clock
  space: DiskSpace
  readOnly: boolean
  /** False while this device's changes count for nothing. */
  mayChange?: (() => boolean) | undefined
  /** Why changes do not reach the disk at present. */
  trouble?: (() => Error | undefined) | undefined
}

export class FsContext {
  readonly tree: Tree
  readonly files: Files
  readonly buffers: FileBuffers & Partial<WaitingReads>
  readonly clock: Clock
  readonly space: DiskSpace
  readonly readOnly: boolean
  readonly #mayChange: () => boolean
  readonly #trouble: () => Error | undefined

  constructor(options: FsOptions) {
    this.tree = options.tree
    this.files = options.files
    this.buffers = options.buffers
    this.clock = options.clock
    this.space = options.space
    this.readOnly = options.readOnly
    this.#mayChange = options.mayChange ?? (() => true)
    this.#trouble = options.trouble ?? (() => undefined)
  }

  /** The start of every change: EROFS, the disk's trouble (else changes would pile up in RAM; a
   *  full one takes removals), and the tree gets what the records hold. */
  begin(): void {
    if (this.readOnly || !this.#mayChange()) throw errno(EROFS)
    const trouble = this.#trouble()
    if (trouble !== undefined && !isLatticeError(trouble, 'disk-full')) throw trouble
    this.files.drainAttrs()
  }

  /** The start of a change that needs room on the disk. */
  beginGrowing(): void {
    this.begin()
    if (this.space.availableBytes() <= 0 || this.#trouble() !== undefined) throw errno(ENOSPC)
  }

  /** Between changes; while they cannot be stored, the records keep what they hold. */
  drainAttrs(): void {
    if (this.#trouble() === undefined) this.files.drainAttrs()
  }

  node(ino: Ino): NodeInfo {
    const node = this.tree.node(ino)
    if (node === undefined) throw errno(ESTALE)
    return node
  }

  directory(ino: Ino): NodeInfo {
    const node = this.node(ino)
    if (node.kind !== KIND_DIRECTORY) throw errno(ENOTDIR)
    return node
  }

  /** A directory in which names may be made: one that was removed takes none. */
  liveDirectory(ino: Ino): NodeInfo {
    const node = this.directory(ino)
    if (node.orphan) throw errno(ENOENT)
    return node
  }

  regular(ino: Ino): NodeInfo {
    const node = this.node(ino)
    if (node.kind === KIND_DIRECTORY) throw errno(EISDIR)
    if (node.kind !== KIND_FILE) throw errno(EINVAL)
    return node
  }

  attrs(node: NodeInfo): Attr {
    if (node.kind === KIND_FILE) this.files.tellHoles(node)
    return this.files.attrs(node.ino, node.attr)
  }

  entry(node: NodeInfo): Entry {
    return { ino: node.ino, generation: node.generation, attr: this.attrs(node) }
  }

  /** Brings link count and times of a changed node from the tree to its record, if it has one. */
  refresh(ino: Ino): void {
    if (this.buffers.attrs(ino) === undefined) return
    const node = this.tree.node(ino)
    if (node === undefined) return
    const mask = node.kind === KIND_DIRECTORY ? ATTR_MTIME | ATTR_CTIME : ATTR_CTIME
    this.buffers.setAttrs(ino, mask, node.attr)
  }
}

/** A name as it may stand in a directory. */
export function checkName(name: string): Name {
  if (name.length > NAME_MAX_BYTES) throw errno(ENAMETOOLONG)
  if (name === '' || name.includes('/') || name.includes('\0')) throw errno(EINVAL)
  if (name === '.' || name === '..') throw errno(EINVAL)
  return name as Name
}
