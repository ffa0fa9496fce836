// The content of one open file while it changes: a committed base (inline bytes, few extents, or a
// tree) and the edits since, which win over it. Byte positions never move: an edit replaces a range
// by extents of the same length, and the size cuts or grows by a hole.
//
// Invariants: edits ascend, do not overlap, and end at or before sizeBytes; the base counts below
// baseBytes only; every byte below sizeBytes is in an edit, in the base below baseBytes, or in the
// inline bytes. Inline bytes exist only while there is no other base and no edit before their end.

import type { Content } from '../ops/types.ts'
import type { Unfolded, WorkingContent } from './content-store-ports.ts'
import { assert } from '../util/assert.ts'
import { CHUNKER_FASTCDC } from './chunker.ts'
import {
  REFS_MAX,
  extentsOfRefs,
  holeBytesIn,
  holeOf,
  isSparseRoot,
  pushExtent,
  refsContent,
  rootRef,
  sliceExtent,
  totalBytes,
} from './manifest.ts'
import type { Extent, Placed } from './manifest.ts'
import { editsOf, readTree, rewrite } from './manifest-tree.ts'
import type { Needs, NodeWanted, Rewriter, Rewritten, Tree } from './manifest-tree.ts'

/** Content up to this size travels in the op. */
export const INLINE_MAX_BYTES = 1024

export class Working implements WorkingContent {
  #sizeBytes: number
  #changed = false
  /** Moves with every edit, so that a slow fold knows whether it is still current. */
  version = 0
  /** Chosen when the first chunk is cut; undefined before. */
  chunker: number | undefined
  /** Up to here the content was cut by the chunker, not by the end of a job; 0 when unknown. */
  cutEnd = 0
  #inline: Uint8Array | undefined
  #tree: Tree | undefined
  #extents: Extent[] = []
  #baseBytes = 0
  /** Of a tree with holes it is not known yet how many bytes they have. */
  #rootUnread = false
  readonly #edits = new EditList()
  #described: Content | undefined

  constructor(content: Content | undefined, sizeBytes: number) {
    this.#sizeBytes = sizeBytes
    this.#described = content
    if (content === undefined) {
      if (sizeBytes > 0) this.#edits.replace(0, sizeBytes, [holeOf(sizeBytes)])
      return
    }
    if (content.kind === 'inline') {
      this.#inline = content.bytes.slice(0, sizeBytes)
      this.#baseBytes = this.#inline.length
    } else if (content.kind === 'refs') {
      this.chunker = content.chunker
      this.#extents = extentsOfRefs(content)
      this.#baseBytes = Math.min(totalBytes(this.#extents), sizeBytes)
    } else {
      this.chunker = content.chunker
      const { chunk, chunkBytes } = content.root
      this.#rootUnread = isSparseRoot(content.root)
      const root = { chunk, chunkBytes, begin: this.#rootUnread ? 1 : 0, length: sizeBytes }
      this.#tree = { root, depth: content.depth }
      this.#baseBytes = sizeBytes
    }
    if (this.#baseBytes < sizeBytes) this.#growByHole(this.#baseBytes, sizeBytes)
  }

  /** What `unfolded` was taken of. Where the base was cut and grew again, edits lie over it. */
  static reopen({ root, depth, chunker, ...sizes }: Unfolded): Working {
    const { baseBytes, sizeBytes, edits } = sizes
    const working = new Working({ kind: 'tree', chunker, root, depth }, baseBytes)
    working.resize(sizeBytes)
    for (const { offset, extent } of edits) working.splice(offset, [extent])
    working.#touch()
    return working
  }

  /** The tree and what lies over it; undefined without a tree. */
  get unfolded(): Unfolded | undefined {
    if (this.#tree === undefined) return undefined
    const { root, depth } = this.#tree
    return {
      root: rootRef(root), depth, chunker: this.chunker ?? CHUNKER_FASTCDC,
      baseBytes: root.length, sizeBytes: this.#sizeBytes,
      edits: [...this.#edits.items],
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get changed(): boolean {
    return this.#changed
  }

  /** The bytes of a small content that has no chunk: [0, inline.length) of it. */
  get inline(): Uint8Array | undefined {
    return this.#inline
  }

  /** True when all of the content is inline bytes and holes. */
  get isInlineOnly(): boolean {
    return this.#tree === undefined && this.#extents.length === 0 && this.#edits.allHoles
  }

  /** Bytes of holes: at most those that there are; exactly, after a rebase and nothing else. */
  get holeBytes(): number {
    let inEdits = 0
    let overBase = 0
    for (const { offset, extent } of this.#edits.items) {
      if (extent.chunk === '') inEdits += extent.length
      overBase += Math.max(0, Math.min(offset + extent.length, this.#baseBytes) - offset)
    }
    if (this.#inline !== undefined) return inEdits
    const ofBase = this.#tree?.root.begin ?? holeBytesIn(this.#extents)
    const cutOff = (this.#tree?.root.length ?? totalBytes(this.#extents)) - this.#baseBytes
    return inEdits + Math.max(0, ofBase - cutOff - overBase)
  }

  /** The root of a tree whose holes nobody has counted; learnHoles() takes what it says. */
  get rootToAsk(): NodeWanted | undefined {
    if (this.#tree === undefined || !this.#rootUnread) return undefined
    return { ref: this.#tree.root, level: this.#tree.depth - 1 }
  }

  learnHoles(bytes: number): void {
    assert(this.#tree !== undefined, 'holes of a tree that is not there')
    this.#rootUnread = false
    this.#tree = { ...this.#tree, root: { ...this.#tree.root, begin: bytes } }
  }

  resize(sizeBytes: number): void {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, 'size out of range')
    if (sizeBytes === this.#sizeBytes) return
    if (sizeBytes > this.#sizeBytes) this.#growByHole(this.#sizeBytes, sizeBytes)
    else this.#cut(sizeBytes)
    this.#sizeBytes = sizeBytes
    this.cutEnd = Math.min(this.cutEnd, sizeBytes)
    this.#touch()
  }

  /** Replaces [offset, offset + total length) by the extents; a gap before it becomes a hole. */
  splice(offset: number, extents: readonly Extent[]): void {
    const end = offset + totalBytes(extents)
    if (end === offset) return
    assert(this.#inline === undefined || offset >= this.#inline.length, 'inline bytes in the way')
    if (offset > this.#sizeBytes) this.#growByHole(this.#sizeBytes, offset)
    this.#edits.replace(offset, end, extents)
    this.#sizeBytes = Math.max(this.#sizeBytes, end)
    this.#touch()
  }

  /** Makes the whole content inline. */
  setInline(bytes: Uint8Array): void {
    assert(bytes.length <= INLINE_MAX_BYTES, 'too long to be inline')
    this.#setBase(undefined, [])
    this.#inline = bytes
    this.#baseBytes = this.#sizeBytes = bytes.length
    this.cutEnd = 0
    this.#touch()
  }

  /** The inline bytes have become this chunk. */
  replaceInline(extent: Extent | undefined): void {
    const bytes = this.#inline?.length ?? 0
    this.#inline = undefined
    this.#baseBytes = 0
    if (extent === undefined) return
    assert(extent.length === bytes, 'the chunk is not the inline content')
    this.splice(0, [extent])
  }

  /** Extents of [from, to), cut at the size, in order and without gaps, appended to `out`. */
  *extents(from: number, to: number, out: Placed[]): Needs<void> {
    assert(this.#inline === undefined || from >= this.#inline.length, 'extents of inline bytes')
    const stop = Math.min(to, this.#sizeBytes)
    let index = this.#edits.indexAt(from)
    let at = from
    while (at < stop) {
      const edit = this.#edits.items[index]
      if (edit !== undefined && edit.offset <= at) {
        const end = Math.min(stop, edit.offset + edit.extent.length)
        const extent = sliceExtent(edit.extent, at - edit.offset, end - edit.offset)
        out.push({ offset: at, extent })
        at = end
        index++
      } else {
        const end = Math.min(stop, edit?.offset ?? stop)
        assert(end <= this.#baseBytes, 'content without a base')
        yield* this.#readBase(at, end, out)
        at = end
      }
    }
  }

  /** What the content is with all edits folded in. The inline case is the caller's. */
  *fold(rewriter: Rewriter): Needs<Rewritten> {
    assert(this.#inline === undefined, 'fold of inline content')
    const size = this.#sizeBytes
    if (this.#tree === undefined) {
      const placed: Placed[] = []
      yield* this.extents(0, size, placed)
      const extents: Extent[] = []
      for (const { extent } of placed) pushExtent(extents, extent)
      if (extents.length <= REFS_MAX) return { extents }
      return yield* rewrite(
        undefined,
        [{ begin: 0, end: size, entries: extents }],
        size,
        rewriter,
        REFS_MAX,
      )
    }
    const edits = editsOf(this.#edits.items)
    const isCut = this.#tree.root.length > size
    if (isCut && edits[edits.length - 1]?.end !== size) {
      edits.push({ begin: size, end: size, entries: [] })
    }
    if (edits.length === 0) return this.#tree
    return yield* rewrite(this.#tree, edits, size, rewriter, REFS_MAX)
  }

  /** Takes the result of a fold of this very version as the new base. */
  rebase(folded: Rewritten): Content {
    if ('extents' in folded) this.#setBase(undefined, folded.extents)
    else this.#setBase(folded, [])
    this.#baseBytes = this.#sizeBytes
    const chunker = this.chunker ?? CHUNKER_FASTCDC
    return this.settle('extents' in folded
      ? refsContent(chunker, folded.extents)
      : { kind: 'tree', chunker, root: rootRef(folded.root), depth: folded.depth })
  }

  /** The content is described by `content` as it is now. */
  settle(content: Content): Content {
    this.#described = content
    this.#changed = false
    return content
  }

  /** The description of the unchanged content. */
  get described(): Content | undefined {
    return this.#changed ? undefined : this.#described
  }

  *#readBase(from: number, to: number, out: Placed[]): Needs<void> {
    if (this.#tree !== undefined) {
      yield* readTree(this.#tree, from, to, out)
      return
    }
    let begin = 0
    for (const extent of this.#extents) {
      const end = begin + extent.length
      if (end > from && begin < to) {
        const first = Math.max(from, begin)
        const last = Math.min(to, end)
        out.push({ offset: first, extent: sliceExtent(extent, first - begin, last - begin) })
      }
      begin = end
    }
  }

  #setBase(tree: Tree | undefined, extents: Extent[]): void {
    this.#inline = undefined
    this.#rootUnread &&= tree === this.#tree
    this.#tree = tree
    this.#extents = extents
    this.#edits.clear()
  }

  #growByHole(from: number, to: number): void {
    this.#edits.replace(from, to, [holeOf(to - from)])
  }

  #cut(sizeBytes: number): void {
    this.#edits.replace(sizeBytes, this.#sizeBytes, [])
    this.#baseBytes = Math.min(this.#baseBytes, sizeBytes)
    if (this.#inline !== undefined) this.#inline = this.#inline.slice(0, sizeBytes)
  }

  #touch(): void {
    this.#changed = true
    this.version++
  }
}

/** Placed extents in ascending order, apart from each other. */
class EditList {
  readonly items: Placed[] = []

  get allHoles(): boolean {
    return this.items.every(({ extent }) => extent.chunk === '')
  }

  /** Index of the first item that ends behind `offset`. */
  indexAt(offset: number): number {
    let low = 0
    let high = this.items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const { offset: begin, extent } = this.items[middle] as Placed
      if (begin + extent.length > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  /** [begin, end) is now covered by `extents` (of that total length, or none at all). */
  replace(begin: number, end: number, extents: readonly Extent[]): void {
    const first = this.indexAt(begin)
    let last = first
    const placed: Placed[] = []
    const head = this.items[first]
    if (head !== undefined && head.offset < begin) {
      placed.push({ offset: head.offset, extent: sliceExtent(head.extent, 0, begin - head.offset) })
    }
    let at = begin
    for (const extent of extents) {
      if (extent.length === 0) continue
      placed.push({ offset: at, extent })
      at += extent.length
    }
    let tail: Placed | undefined
    for (let item = head; item !== undefined && item.offset < end; item = this.items[++last]) {
      tail = item
    }
    if (tail !== undefined) {
      const tailEnd = tail.offset + tail.extent.length
      if (tailEnd > end) {
        const extent = sliceExtent(tail.extent, end - tail.offset, tail.extent.length)
        placed.push({ offset: end, extent })
      }
    }
    // The usual case is an append or a replacement in place: few items move.
    if (placed.length < 1024) this.items.splice(first, last - first, ...placed)
    else {
      const rest = this.items.splice(first)
      for (const item of placed) this.items.push(item)
      for (let i = last - first; i < rest.length; i++) this.items.push(rest[i] as Placed)
    }
  }

  clear(): void {
    this.items.length = 0
  }
}
