// The items of a group: what stands for one name of one directory before anything is named. Mains
// are the wanted links that are not directories, variants the content heads that lost; each list
// descends by op, equal items are shown once. Pure over records.

import { compareRefs } from '../ops/order.ts'
import type { LinkId, NodeId, OpRef } from '../ops/types.ts'
import { KIND_FIFO, KIND_FILE, KIND_SOCKET, KIND_SYMLINK } from '../ops/types.ts'
import { EMPTY_BYTES } from '../util/bytes.ts'
import type { ContentHead, LinkRecord, NodeRecord } from './records.ts'
import { sameContent } from './registers.ts'

export interface Item {
  readonly kind: 'main' | 'variant'
  /** A variant: the link at which its node shows variants. */
  readonly link: LinkRecord
  /** A variant: the node whose content lost. */
  readonly record: NodeRecord
  /** Of files that were ever written. */
  readonly head: ContentHead | undefined
  /** What it is ordered and named by. */
  readonly op: OpRef
}

const NEVER_WRITTEN: ContentHead = Object.freeze({
  ref: { ms: 0, counter: 0, author: '' as OpRef['author'], seq: 0, index: 0, order: 0 },
  covered: false,
  sizeBytes: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  content: Object.freeze({ kind: 'inline', bytes: EMPTY_BYTES } as const),
})

/** Mains, then variants. `links`: the group's, of nodes that are not directories. */
export function itemsOf(links: readonly { record: NodeRecord; link: LinkRecord }[]): Item[] {
  const mains: Item[] = []
  const variants: Item[] = []
  for (const { record, link } of links) {
    mains.push({ kind: 'main', link, record, head: record.winner, op: link.pos })
    if (record.heads.length < 2 || smallestWanted(record) !== link.link) continue
    for (const head of record.heads.slice(0, -1)) {
      // a copy's id comes from the place of its op, which this one does not have yet
      if (head.ref.seq >= 0) variants.push({ kind: 'variant', link, record, head, op: head.ref })
    }
  }
  mains.sort((a, b) => compareRefs(b.op, a.op))
  variants.sort((a, b) => compareRefs(b.op, a.op))
  return [...mains, ...variants]
}

/** Those of `items` that are shown: the first of equal ones. */
export function distinctItems(items: readonly Item[]): Item[] {
  const distinct: Item[] = []
  for (const item of items) {
    if (!distinct.some((one) => isEqual(one, item))) distinct.push(item)
  }
  return distinct
}

/** The link at which a node shows the contents that lost. */
export function smallestWanted(record: NodeRecord): LinkId | undefined {
  let smallest: LinkId | undefined
  for (const { link, wanted } of record.links) {
    if (wanted && (smallest === undefined || link < smallest)) smallest = link
  }
  return smallest
}

/** The smallest id among nodes. */
export function smallestNode(nodes: readonly NodeId[]): NodeId {
  return nodes.reduce((a, b) => (a < b ? a : b))
}

function isEqual(a: Item, b: Item): boolean {
  const kind = a.record.kind
  if (kind !== b.record.kind) return false
  if (kind === KIND_FILE) return sameContent(a.head ?? NEVER_WRITTEN, b.head ?? NEVER_WRITTEN)
  if (kind === KIND_SYMLINK) return a.record.target === b.record.target
  if (kind === KIND_FIFO || kind === KIND_SOCKET) return true
  return a.record.rdev === b.record.rdev
}
