// The items of a group: what stands for one name of one directory before anything is named. Mains
// are the wanted links that are not directories, variants the content heads that lost; each list
// descends by op, equal items are shown once. Pure over records.

import { compareRefs } from '../ops/order.ts'
import type { LinkId, NodeId, OpRef } from '../ops/types.ts'
import { KIND_FIFO, KIND_FILE, KIND_SOCKET, KIND_SYMLINK } from '../ops/types.ts'
import type { ContentHead, LinkRecord, NodeRecord } from './records.ts'
import { headKey } from './registers.ts'

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

/** Mains, then variants. `links`: the group's, of nodes that are not directories. */
export function itemsOf(links: readonly { record: NodeRecord; link: LinkRecord }[]): Item[] {
  const mains: Item[] = []
  const variants: Item[] = []
  for (const { record, link } of links) {
    mains.push({ kind: 'main', link, record, head: record.winner, op: link.pos })
    if (record.heads.length < 2 || smallestWanted(record) !== link.link) continue
    for (const head of record.contents.slice(0, -1)) {
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
  if (items.length < 2) return [...items]
  const seen = new Set<string>()
  return items.filter((item) => {
    const key = keyOf(item)
    return !seen.has(key) && seen.add(key)
  })
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

/** Items with equal keys are shown once. */
function keyOf({ record, head }: Item): string {
  const { kind } = record
  if (kind === KIND_FILE) return `f${headKey(head)}`
  if (kind === KIND_SYMLINK) return `s${record.target}`
  return kind === KIND_FIFO || kind === KIND_SOCKET ? String(kind) : `${kind} ${record.rdev}`
}
