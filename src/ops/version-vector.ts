/**
 * Author → (length, tree hash) of its ops log: what a device has, what a batch depends on. Lengths
 * only grow. Two vectors that agree in length but not in tree hash mean a fork (not decided here).
 *
 *   bytes: count uint ‖ (author 32 ‖ length uint ‖ tree hash 32)…, ascending by author
 */

import { assert } from '../util/assert.ts'
import { AUTHOR_BYTES, BATCH_DEPS_MAX, TREE_HASH_BYTES } from './bounds.ts'
import { reject } from './reject.ts'
import type { AuthorId, Batch } from './types.ts'
import { Reader, Writer } from './wire.ts'

export interface LogHead {
  length: number
  treeHash: Uint8Array
}

const ENTRY_MIN_BYTES = AUTHOR_BYTES + 1 + TREE_HASH_BYTES
const ENTRY_MAX_BYTES = AUTHOR_BYTES + 9 + TREE_HASH_BYTES

export class VersionVector {
  readonly #heads = new Map<AuthorId, LogHead>()

  get size(): number {
    return this.#heads.size
  }

  get(author: AuthorId): LogHead | undefined {
    return this.#heads.get(author)
  }

  lengthOf(author: AuthorId): number {
    return this.#heads.get(author)?.length ?? 0
  }

  /** Never backwards. Keeps `treeHash` by reference. */
  set(author: AuthorId, length: number, treeHash: Uint8Array): void {
    assert(length > 0 && length >= this.lengthOf(author), 'a log does not get shorter')
    assert(treeHash.length === TREE_HASH_BYTES, 'a tree hash has 32 bytes')
    this.#heads.set(author, { length, treeHash })
  }

  /** Whether everything in `other` is here, going by lengths. */
  covers(other: VersionVector): boolean {
    for (const [author, head] of other.#heads) if (this.lengthOf(author) < head.length) return false
    return true
  }

  /** Whether a batch with these deps may be applied. */
  coversDeps(deps: Batch['deps']): boolean {
    return deps.every((dep) => this.lengthOf(dep.author) >= dep.length)
  }

  equals(other: VersionVector): boolean {
    return this.size === other.size && this.covers(other) && other.covers(this)
  }

  /** What has grown since `before`, as deps, ascending by author; `own` is left out. */
  depsSince(before: VersionVector, own: AuthorId): Batch['deps'] {
    const deps: Batch['deps'] = []
    for (const [author, head] of this.entries()) {
      if (author !== own && head.length > before.lengthOf(author)) deps.push({ author, ...head })
    }
    return deps
  }

  /** Ascending by author. */
  entries(): [AuthorId, LogHead][] {
    return [...this.#heads].toSorted(([a], [b]) => (a < b ? -1 : 1))
  }

  clone(): VersionVector {
    const copy = new VersionVector()
    for (const [author, head] of this.#heads) copy.#heads.set(author, head)
    return copy
  }

  encode(): Buffer {
    const writer = new Writer(9 + 9 + this.size * ENTRY_MAX_BYTES)
    writer.uint(this.size)
    for (const [author, head] of this.entries()) {
      writer.id(author, AUTHOR_BYTES)
      writer.uint(head.length)
      writer.raw(head.treeHash)
    }
    return writer.buffer.subarray(0, writer.at)
  }

  /** Throws 'invalid' with a RejectRule. */
  static decode(bytes: Uint8Array): VersionVector {
    const reader = new Reader(bytes)
    const vector = new VersionVector()
    const count = reader.count(BATCH_DEPS_MAX, ENTRY_MIN_BYTES, 'deps-count')
    let before = ''
    for (let i = 0; i < count; i++) {
      const author = reader.id(AUTHOR_BYTES) as AuthorId
      const length = reader.uint(Number.MAX_SAFE_INTEGER)
      if (length === 0) reject('dep-length')
      if (i > 0 && author <= before) reject('not-canonical')
      before = author
      vector.set(author, length, reader.raw(TREE_HASH_BYTES))
    }
    reader.finish()
    if (!vector.encode().equals(bytes)) reject('not-canonical')
    return vector
  }
}
