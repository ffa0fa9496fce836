// Reading and rewriting manifest trees, as generators: they yield the ref of each node that they
// need and get the node back. A caller that has all nodes at hand runs them at once (runNow), one
// that must fetch runs the same code with waits (runAsync). Pure otherwise.
//
// Edits never move bytes: a file write replaces [begin, end) by extents of the same total length;
// only the end of the file moves. Rewriting goes level by level: a level's edits are composed with
// its old entries from the start of the first touched node, cut into nodes anew, until a cut falls
// on an old node's start behind the edit: from there on nothing differs. The nodes made are the
// edits of the level above.
//
// A node that cannot be read is kept as it is, by its ref, where the edits leave it whole: nodes
// beside it then end where it begins or ends, and the tree has a form of its own until it is made
// anew. So an append needs nothing of what lies before it.

import { isLatticeError } from '../util/errors.ts'
import { assert } from '../util/assert.ts'
import { joinExtents, pushExtent, sliceExtent } from './manifest.ts'
import type { Extent, Placed } from './manifest.ts'
import { DEPTH_MAX, endsNode, entryAt } from './manifest-node.ts'
import type { ManifestNode } from './manifest-node.ts'

/** A node that is wanted, and the level that it must stand at. */
export type NodeWanted = { ref: Extent; level: number }
export type Needs<T> = Generator<NodeWanted, T, ManifestNode>

/** `root` covers the whole content (its length); `depth` counts levels: 1 = the root is a leaf. */
export type Tree = { root: Extent; depth: number }

/** Entries that replace [begin, end) of a level, and cover it. Sorted, apart from each other. */
export type Edit = { begin: number; end: number; entries: Extent[] }

/** The result, or undefined as soon as `get` lacks a node. */
export function runNow<T>(
  needs: Needs<T>,
  get: (wanted: NodeWanted) => ManifestNode | undefined,
): T | undefined {
  let step = needs.next()
  while (step.done !== true) {
    const node = get(step.value)
    if (node === undefined) return undefined
    step = needs.next(node)
  }
  return step.value
}

export async function runAsync<T>(
  needs: Needs<T>,
  get: (wanted: NodeWanted) => ManifestNode | undefined,
  load: (wanted: NodeWanted) => Promise<ManifestNode>,
): Promise<T> {
  let step = needs.next()
  while (step.done !== true) {
    let node: ManifestNode
    try {
      node = get(step.value) ?? (await load(step.value))
    } catch (error) {
      step = needs.throw(error)
      continue
    }
    step = needs.next(node)
  }
  return step.value
}

/** Extents of [from, to) of a tree's content, cut to the range, into `out`. */
export function* readTree(tree: Tree, from: number, to: number, out: Placed[]): Needs<void> {
  if (from < to) yield* readBelow(tree.root, tree.depth - 1, 0, from, to, out)
}

function* readBelow(
  ref: Extent,
  level: number,
  base: number,
  from: number,
  to: number,
  out: Placed[],
): Needs<void> {
  const node = yield { ref, level }
  for (let i = entryAt(node, Math.max(0, from - base)); i < node.entries.length; i++) {
    const entry = node.entries[i] as Extent
    const begin = base + (node.ends[i] as number) - entry.length
    if (begin >= to) return
    if (level > 0) {
      yield* readBelow(entry, level - 1, begin, from, to, out)
      continue
    }
    const first = Math.max(from, begin)
    const last = Math.min(to, begin + entry.length)
    out.push({ offset: first, extent: sliceExtent(entry, first - begin, last - begin) })
  }
}

/** What rewriting needs besides the tree: where nodes end, and what becomes of a new one. */
export type Rewriter = {
  splitKey: Uint8Array
  /** Keeps the new node and returns the ref to it (length = content bytes). */
  make(level: number, entries: Extent[]): Extent
}

/** A whole content: few extents, or a tree. */
export type Rewritten = { extents: Extent[] } | Tree

/**
 * The content of `contentBytes` that results from the edits. `old` may be absent: then the edits
 * cover everything. Wherever the new content differs from the old, or is longer, there is an edit;
 * where it is shorter there is an edit (perhaps empty) that ends at its end.
 */
export function* rewrite(
  old: Tree | undefined,
  edits: Edit[],
  contentBytes: number,
  rewriter: Rewriter,
  extentsMax: number,
): Needs<Rewritten> {
  if (contentBytes === 0) return { extents: [] }
  let levelEdits = edits
  for (let level = 0; level < DEPTH_MAX; level++) {
    const below = old !== undefined && level < old.depth ? old : undefined
    if (old !== undefined && level === old.depth) keepOldRoot(old, levelEdits)
    const spans = yield* rewriteLevel(below, level, levelEdits, contentBytes, rewriter)
    const first = spans[0]
    assert(first !== undefined, 'a rewrite without edits')
    const single = first.begin === 0 && first.end === contentBytes && first.nodes.length === 1
    const only = first.nodes[0] as Extent[]
    if (single && level === 0 && only.length <= extentsMax) return { extents: only }
    levelEdits = spans.map(({ begin, end, nodes }) => {
      return { begin, end, entries: nodes.map((entries) => rewriter.make(level, entries)) }
    })
    if (single) return { root: levelEdits[0]?.entries[0] as Extent, depth: level + 1 }
  }
  throw new Error('manifest: too many levels')
}

/** An unread root becomes the first node below a new one. */
function keepOldRoot({ root }: Tree, edits: Edit[]): void {
  const begin = edits[0]?.begin ?? 0
  if (begin > 0) edits.unshift({ begin: 0, end: begin, entries: [root] })
}

type Span = { begin: number; end: number; nodes: Extent[][] }

function* rewriteLevel(
  old: Tree | undefined,
  level: number,
  edits: Edit[],
  contentBytes: number,
  rewriter: Rewriter,
): Needs<Span[]> {
  const spans: Span[] = []
  let next = 0
  while (next < edits.length) {
    const cutter = new Cutter(rewriter.splitKey, level === 0)
    const span = yield* rewriteSpan(old, level, edits, next, contentBytes, cutter)
    spans.push({ begin: span.begin, end: span.end, nodes: cutter.nodes })
    assert(span.next > next, 'a rewrite must consume edits')
    next = span.next
  }
  return spans
}

/** Cuts anew from the node that edit `next` touches until old and new nodes meet again. */
function* rewriteSpan(
  old: Tree | undefined,
  level: number,
  edits: Edit[],
  next: number,
  contentBytes: number,
  cutter: Cutter,
): Needs<{ begin: number; end: number; next: number }> {
  const oldBytes = old?.root.length ?? 0
  const firstEdit = edits[next] as Edit
  // At level 0 the edit's first extent may join the last one of the node before.
  const touched = level === 0 ? firstEdit.begin - 1 : firstEdit.begin
  let begin = 0
  if (old !== undefined) {
    const at = Math.max(0, Math.min(touched, oldBytes - 1))
    const found = yield* orDamage(findNode(old, level, at))
    if ('damage' in found && firstEdit.begin < oldBytes) throw found.damage
    begin = 'damage' in found ? firstEdit.begin : found.begin
  }
  cutter.start(begin)
  let at = begin
  let editEnd = firstEdit.end
  let oldEnd = -1 // of the last node that was read
  let refused = begin // a cut that is known to meet no old node
  while (at < contentBytes || next < edits.length) {
    let edit = edits[next]
    if (edit !== undefined && edit.begin === at) {
      for (const entry of edit.entries) cutter.feed(entry)
      at = editEnd = edit.end
      next++
      continue
    }
    assert(old !== undefined && at < oldBytes, 'a rewrite lacks an edit')
    const found = yield* orDamage(findNode(old, level, at))
    if ('damage' in found) {
      if (at > begin && at === oldEnd) break
      throw found.damage
    }
    const { begin: nodeBegin, ref } = found
    const nodeEnd = nodeBegin + ref.length
    const node = yield* orDamage(readNode(ref, level))
    if ('damage' in node) {
      const isWhole = at === nodeBegin && (edit?.begin ?? contentBytes) >= nodeEnd
      if (!isWhole) throw node.damage
      if (at > begin) break
      begin = at = nodeEnd
      cutter.start(begin)
      continue
    }
    oldEnd = nodeEnd
    const stop = Math.min(nodeEnd, edit?.begin ?? contentBytes, contentBytes)
    for (let i = entryAt(node, at - nodeBegin); at < stop; i++) {
      const entry = node.entries[i] as Extent
      const entryBegin = nodeBegin + (node.ends[i] as number) - entry.length
      const end = Math.min(stop, entryBegin + entry.length)
      cutter.feed(sliceExtent(entry, at - entryBegin, end - entryBegin))
      at = end
      // A cut at the start of an old node, with no edit before or upon it that is still to come.
      const cut = cutter.lastCut
      if (cut < editEnd || cut === refused) continue
      edit = edits[next]
      if (edit !== undefined && edit.begin <= cut) continue
      if (cut === nodeBegin || (yield* isNodeStart(old, level, cut))) {
        return { begin, end: cut, next }
      }
      refused = cut
    }
  }
  cutter.finish()
  return { begin, end: at, next }
}

/** What the steps return, or why a node could not be read. */
function* orDamage<T extends object>(needs: Needs<T>): Needs<T | { damage: unknown }> {
  try {
    return yield* needs
  } catch (damage) {
    if (!isLatticeError(damage)) throw damage
    return { damage }
  }
}

function* readNode(ref: Extent, level: number): Needs<ManifestNode> {
  return yield { ref, level }
}

/** The node of `level` that holds the byte at `offset`, found from its parents only. */
function* findNode(
  tree: Tree,
  level: number,
  offset: number,
): Needs<{ begin: number; ref: Extent }> {
  let ref = tree.root
  let begin = 0
  for (let at = tree.depth - 1; at > level; at--) {
    const node = yield { ref, level: at }
    const index = entryAt(node, offset - begin)
    ref = node.entries[index] as Extent
    begin += (node.ends[index] as number) - ref.length
  }
  return { begin, ref }
}

function* isNodeStart(tree: Tree, level: number, offset: number): Needs<boolean> {
  if (offset >= tree.root.length) return false
  return (yield* findNode(tree, level, offset)).begin === offset
}

/**
 * Makes nodes of a stream of entries, normalising it on level 0. What was fed behind the last cut
 * is in no node yet; a rewrite that ends there leaves it to the old nodes, which say the same.
 */
class Cutter {
  readonly #splitKey: Uint8Array
  readonly #joins: boolean
  nodes: Extent[][] = []
  /** Where the last finished node ended. */
  lastCut = 0
  #entries: Extent[] = []
  #entriesBytes = 0
  /** The last entry fed: the next one may still join it. */
  #pending: Extent | undefined

  constructor(splitKey: Uint8Array, joins: boolean) {
    this.#splitKey = splitKey
    this.#joins = joins
  }

  start(offset: number): void {
    this.lastCut = offset
  }

  feed(entry: Extent): void {
    const pending = this.#pending
    if (pending !== undefined) {
      const joined = this.#joins ? joinExtents(pending, entry) : undefined
      if (joined !== undefined) {
        this.#pending = joined
        return
      }
      this.#commit(pending)
    }
    this.#pending = entry
  }

  /** Ends the stream: what is left is the last node. */
  finish(): void {
    if (this.#pending !== undefined) this.#commit(this.#pending)
    this.#pending = undefined
    if (this.#entries.length > 0) this.#close()
  }

  #commit(entry: Extent): void {
    this.#entries.push(entry)
    this.#entriesBytes += entry.length
    if (endsNode(this.#splitKey, entry, this.#entries.length)) this.#close()
  }

  #close(): void {
    this.nodes.push(this.#entries)
    this.lastCut += this.#entriesBytes
    this.#entries = []
    this.#entriesBytes = 0
  }
}

/** Groups placed extents, ascending and apart, into edits. */
export function editsOf(placed: Iterable<Placed>): Edit[] {
  const edits: Edit[] = []
  for (const { offset, extent } of placed) {
    const last = edits[edits.length - 1]
    if (last !== undefined && last.end === offset) {
      pushExtent(last.entries, extent)
      last.end += extent.length
    } else {
      edits.push({ begin: offset, end: offset + extent.length, entries: [extent] })
    }
  }
  return edits
}
