// Normalising: what makes a conflict's items real before a local change touches one of them, so
// that removing or renaming one leaves the others where they are. Also what a filesystem call on a
// union of directories means: one op per member. Pure: reads the store, makes ops with provisional
// refs.
//
//   1. each main shown under a conflict name is moved to it
//   2. each node with variants here: a put of its content over all its heads; then each displayed
//      variant becomes a file of its own (mk derived from its put, and a put)
//   3. each main that is equal to a displayed item, and so not displayed, is removed
//
// All of it is one operation, unless that might not fit into a batch: then copies come before the
// put over all heads, each step an operation of its own, and nothing is missing in between.

import { REFS_PER_OP_MAX, TAGS_PER_OP_MAX } from '../ops/bounds.ts'
import type { Ids } from '../ops/ids.ts'
import { kindOfId } from '../ops/ids.ts'
import type { AuthorId, Name, NodeId, Op, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import { isConflicted } from '../state/groups.ts'
import type {
  ContentHead, Entry, GroupClaim, GroupRecord, GroupShown, LinkRecord, NodeRecord,
} from '../state/records.ts'
import type { PlacedGroup, Store } from '../state/store.ts'
import { must } from '../util/assert.ts'
import { attrsOf, removeOps } from './tree-records.ts'

/** An operation of this kind is closed when it has as much; one item more must fit a batch. */
const DRAFT_OPS_MAX = 1000
const DRAFT_MAX_BYTES = 64 * 1024
/** Of the ops of one item, beside its content and xattrs: ids, refs, two names. */
const ITEM_BYTES = 800
const CHUNK_REF_BYTES = 60
/** Ops that a shown item may take. */
const OPS_PER_ITEM = 4

/** Ops in the making, each with the ref that names it. */
export class Draft {
  readonly ops: Op[] = []
  readonly refs: OpRef[] = []
  readonly #newRef: () => OpRef

  constructor(newRef: () => OpRef) {
    this.#newRef = newRef
  }

  add(op: Op): OpRef {
    const ref = this.#newRef()
    this.ops.push(op)
    this.refs.push(ref)
    return ref
  }
}

/** Operations in the making. */
export class Drafts {
  readonly list: Draft[] = []
  /** It may take more than one. */
  readonly isLarge: boolean
  readonly #newRef: () => OpRef
  #lastBytes = 0

  constructor(newRef: () => OpRef, store: Store, group: GroupRecord) {
    this.#newRef = newRef
    const items = group.shown.length + group.claims.length
    let bytes = 0
    for (const { node } of group.shown) bytes += itemBytes(findNode(store, node))
    this.isLarge = OPS_PER_ITEM * items > DRAFT_OPS_MAX || bytes > DRAFT_MAX_BYTES
  }

  /** The operation that ops about this node may be added to, if they may begin a new one. */
  for(record: NodeRecord): Draft {
    const bytes = itemBytes(record)
    const last = this.list[this.list.length - 1]
    const isFull = last === undefined || (this.isLarge && (
      last.ops.length >= DRAFT_OPS_MAX || this.#lastBytes + bytes > DRAFT_MAX_BYTES
    ))
    if (!isFull) {
      this.#lastBytes += bytes
      return last
    }
    const draft = new Draft(this.#newRef)
    this.list.push(draft)
    this.#lastBytes = bytes
    return draft
  }
}

/** What making a file of it takes in a batch, roughly, and rather too much. */
function itemBytes(record: NodeRecord | undefined): number {
  let bytes = ITEM_BYTES
  for (const { name, value } of record?.xattrs ?? []) bytes += name.length + (value?.length ?? 0)
  const content = record?.winner?.content
  if (content?.kind === 'inline') bytes += content.bytes.length
  if (content?.kind === 'refs') bytes += CHUNK_REF_BYTES * content.refs.length
  return bytes
}

export function findNode(store: Store, node: NodeId): NodeRecord | undefined {
  const ino = store.inoOf(node)
  return ino === undefined ? store.hidden(node) : store.node(ino)
}

export function nodeOf(store: Store, node: NodeId): NodeRecord {
  return must(findNode(store, node), 'a node without a record')
}

/** The conflicted group that shows this link. */
export function conflictOf(
  store: Store, record: NodeRecord, link: LinkRecord,
): PlacedGroup | undefined {
  if (!record.grouped && record.virtualOf === '') return undefined
  const dir = link.shownParent
  const group = store.group(dir, link.name)
  if (group === undefined || !isConflicted(group)) return undefined
  return { dir, name: link.name, group }
}

/** The conflicted group that an entry belongs to. */
export function conflictOfEntry(store: Store, entry: Entry): PlacedGroup | undefined {
  const record = must(store.node(entry.ino), 'an entry without its node')
  if (!record.grouped && record.virtualOf === '') return undefined
  const { parent, name } = entry
  const link = record.links.find((one) => (
    one.shown && one.shownParent === parent && one.shownName === name
  ))
  return link === undefined ? undefined : conflictOf(store, record, link)
}

/** All members of the union that the directory represents; itself, when it is in none. */
export function membersOf(store: Store, record: NodeRecord): NodeRecord[] {
  if (record.members.length === 0) return [record]
  return record.members.map((node) => node === record.node ? record : nodeOf(store, node))
}

export function linkIn(record: NodeRecord, { link }: { link: string }): LinkRecord {
  return must(record.links.find((one) => one.link === link), 'a claim without its link')
}

/** Files that have variants in the group: those whose smallest wanted link is in it. */
export function nodesWithVariants(store: Store, group: GroupRecord): NodeRecord[] {
  const out: NodeRecord[] = []
  for (const { node, link } of group.claims) {
    if (kindOfId(node) !== KIND_FILE) continue
    const record = nodeOf(store, node)
    if (record.contents.length < 2) continue
    let first: string | undefined
    for (const one of record.links) {
      if (one.wanted && (first === undefined || one.link < first)) first = one.link
    }
    if (first === link) out.push(record)
  }
  return out
}

/** Claims that are not displayed: equal to an item that is. */
export function duplicatesOf(group: GroupRecord): GroupClaim[] {
  const shown = new Set(group.shown.map((one) => one.kind === 'main' ? one.link : ''))
  return group.claims.filter((claim) => (
    kindOfId(claim.node) !== KIND_DIRECTORY && !shown.has(claim.link)
  ))
}

export function putOp(
  node: NodeId, base: readonly OpRef[], head: ContentHead, mtime: NodeRecord | ContentHead,
): Op {
  const { sizeBytes, content } = head
  const { mtimeSec, mtimeNsec } = mtime
  return { kind: 'put', node, base: [...base], sizeBytes, mtimeSec, mtimeNsec, content }
}

/** Puts content over all heads of a file. Returns the ref of the head that is left. */
export function putOver(
  draft: Draft, record: NodeRecord, head: ContentHead, mtime: NodeRecord | ContentHead,
): OpRef {
  const heads = record.heads.map(({ ref }) => ref)
  let left = draft.add(putOp(record.node, heads.slice(0, REFS_PER_OP_MAX), head, mtime))
  for (let from = REFS_PER_OP_MAX; from < heads.length; from += REFS_PER_OP_MAX - 1) {
    const base = [left, ...heads.slice(from, from + REFS_PER_OP_MAX - 1)]
    left = draft.add(putOp(record.node, base, head, mtime))
  }
  return left
}

export interface RealCopies {
  store: Store
  ids: Ids
  author: AuthorId
}

/** A shown variant becomes a file of its own, under the name that it is shown with. */
export function makeReal(
  draft: Draft, { store, ids, author }: RealCopies, shown: GroupShown,
): void {
  const variant = nodeOf(store, shown.node)
  const head = variant.heads[0]
  const link = variant.links[0]
  if (variant.virtualOf === '' || head === undefined || link === undefined) return
  const attrs = attrsOf(variant)
  const place = { nodeKind: variant.kind, parent: link.parent, name: shown.name, attrs }
  let node = ids.derived(head.ref)
  if (node === variant.node) {
    draft.add({ kind: 'mk', mint: 0, source: head.ref, node, ...place })
  } else {
    // a file has the id already, though the head is still there
    const mint = store.meta.nextMint++
    node = ids.node(author, mint, variant.kind)
    draft.add({ kind: 'mk', mint, node, ...place })
  }
  draft.add(putOp(node, [], head, head))
  const tags = [...new Set(variant.tags.map(({ tag }) => tag))]
  for (let from = 0; from < tags.length; from += TAGS_PER_OP_MAX) {
    const add = tags.slice(from, from + TAGS_PER_OP_MAX)
    draft.add({ kind: 'tag', node, add, removeAdds: [] })
  }
}

/** Removals of links, each naming what is there by then. */
export class Removals {
  readonly #drafts: Drafts
  readonly #gone = new Map<NodeId, string[]>()
  readonly #puts: ReadonlyMap<NodeId, OpRef>

  /** `puts`: nodes whose only content head is this, by an op of the drafts. */
  constructor(drafts: Drafts, puts: ReadonlyMap<NodeId, OpRef>) {
    this.#drafts = drafts
    this.#puts = puts
  }

  remove(record: NodeRecord, link: LinkRecord): void {
    const gone = this.#gone.get(record.node) ?? []
    this.#gone.set(record.node, [...gone, link.link])
    const put = this.#puts.get(record.node)
    const heads = put === undefined ? undefined : [put]
    for (const op of removeOps(record, link, gone, heads)) this.#drafts.for(record).add(op)
  }
}

/** Makes every item of the group real: operations to be applied one after another. */
export function normalise(
  newRef: () => OpRef, copies: RealCopies, { name, group }: PlacedGroup,
): Draft[] {
  const { store } = copies
  const drafts = new Drafts(newRef, store, group)
  for (const shown of group.shown) {
    if (shown.kind !== 'main' || shown.name === name) continue
    drafts.for(nodeOf(store, shown.node)).add(moveTo(store, shown, shown.name))
  }
  const puts = new Map<NodeId, OpRef>()
  for (const record of nodesWithVariants(store, group)) {
    const winner = must(record.winner, 'heads without a winner')
    const put = (): unknown => (
      puts.set(record.node, putOver(drafts.for(record), record, winner, record))
    )
    if (!drafts.isLarge) put()
    for (const shown of variantsOf(store, group, record.node)) {
      makeReal(drafts.for(nodeOf(store, shown.node)), copies, shown)
    }
    if (drafts.isLarge) put()
  }
  const removals = new Removals(drafts, puts)
  for (const claim of duplicatesOf(group)) {
    const record = nodeOf(store, claim.node)
    removals.remove(record, linkIn(record, claim))
  }
  return drafts.list
}

export function variantsOf(store: Store, group: GroupRecord, node: NodeId): GroupShown[] {
  return group.shown.filter((shown) => (
    shown.kind === 'variant' && findNode(store, shown.node)?.virtualOf === node
  ))
}

export function moveTo(store: Store, claim: GroupClaim, name: Name): Op {
  const link = linkIn(nodeOf(store, claim.node), claim)
  const prev = link.heads.slice(-REFS_PER_OP_MAX)
  return { kind: 'mv', link: link.link, parent: link.parent, name, prev }
}
