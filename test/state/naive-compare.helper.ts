// The same plain description of a node of the naive model and of a NodeRecord, to be compared as
// texts, and kept in vector files. Only what is replicated; refs as `author.sequence.index@time`.
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import type { AttrChange, OpRef } from '../../src/ops/types.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import { contentText } from './naive-model.helper.ts'
import type { ModelNode, PlacedOp } from './naive-model.helper.ts'
import { valueText } from './naive-view.helper.ts'

export interface LinkText {
  link: string
  parent: string | undefined
  name: string | undefined // latin1
  pos: string | undefined
  births: string[]
  heads: string[]
  rm: string | undefined
  wanted: boolean
  skipped: boolean
}

export interface NodeText {
  node: string
  kind: number
  attrs: Record<string, string> // key → value by ref
  heads: string[] // ascending
  touches: string[]
  tags: string[]
  links: LinkText[]
}

export const hex = (latin1: string) => Buffer.from(latin1, 'latin1').toString('hex')

export function refText(ref: OpRef): string {
  return `${hex(ref.author).slice(0, 8)}.${ref.seq}.${ref.index}@${ref.ms}.${ref.counter}`
}

function opText({ batch, index }: PlacedOp): string {
  const { author, seq } = batch.batch
  return refText({ author, seq, index, ms: batch.ms, counter: batch.counter, order: 0 })
}

const byLink = (a: LinkText, b: LinkText) => (a.link < b.link ? -1 : 1)

/** Attributes in one form: which keys a kind of node has does not matter here. */
function attrsText(list: Iterable<{ change: AttrChange; by: string }>, kind: number) {
  const attrs: [string, string][] = []
  for (const { change, by } of list) {
    if (change.key === 3 && kind === KIND_DIRECTORY) continue // follows local changes
    const key = change.key === 4 ? `4 ${change.name}` : String(change.key)
    attrs.push([key, `${valueText(change)} by ${by}`])
  }
  return Object.fromEntries(attrs.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

export function describeModelNode(node: ModelNode): NodeText {
  const texts = (list: readonly PlacedOp[]) => list.map(opText).toSorted()
  return {
    node: hex(node.node),
    kind: node.kind,
    attrs: attrsText(
      [...node.attrs.values()].map(({ change, by }) => ({ change, by: opText(by) })), node.kind,
    ),
    heads: node.heads.map(({ by, put, covered }) => (
      `${opText(by)}${covered ? ' covered' : ''} ${put.mtimeSec}.${put.mtimeNsec} ${contentText(put)}`
    )),
    touches: texts(node.touches),
    tags: node.tags.map(({ tag, by }) => `${tag} by ${opText(by)}`).toSorted(),
    links: node.links.map((link) => ({
      link: hex(link.link),
      parent: link.parent === undefined ? undefined : hex(link.parent),
      name: link.name,
      pos: link.pos === undefined ? undefined : opText(link.pos),
      births: texts(link.births),
      heads: texts(link.heads),
      rm: link.rm === undefined ? undefined : opText(link.rm),
      wanted: link.wanted,
      skipped: link.skipped,
    })).toSorted(byLink),
  }
}

function recordChanges(record: NodeRecord): { change: AttrChange; by: string }[] {
  const changes: { change: AttrChange; by: string }[] = []
  const add = (ref: OpRef | undefined, change: AttrChange) => {
    if (ref !== undefined) changes.push({ change, by: refText(ref) })
  }
  add(record.modeRef, { key: 1, mode: record.mode })
  add(record.ownerRef, { key: 2, uid: record.uid, gid: record.gid })
  add(record.mtimeRef, { key: 3, sec: record.mtimeSec, nsec: record.mtimeNsec })
  add(record.targetRef, { key: 5, target: record.target })
  add(record.rdevRef, { key: 6, rdev: record.rdev })
  for (const { name, value, ref } of record.xattrs) add(ref, { key: 4, name, value })
  return changes
}

export function describeRecord(record: NodeRecord): NodeText {
  const texts = (refs: readonly OpRef[]) => refs.map(refText).toSorted()
  return {
    node: hex(record.node),
    kind: record.kind,
    attrs: attrsText(recordChanges(record), record.kind),
    heads: record.heads.map((head) => (
      `${refText(head.ref)}${head.covered ? ' covered' : ''} ${head.mtimeSec}.${head.mtimeNsec} ${
        contentText(head)}`
    )),
    touches: texts(record.touches),
    tags: record.tags.map(({ tag, add }) => `${tag} by ${refText(add)}`).toSorted(),
    links: record.links.map((link) => ({
      link: hex(link.link),
      parent: hex(link.parent),
      name: link.name as string,
      pos: refText(link.pos),
      births: texts(link.births),
      heads: texts(link.heads),
      rm: link.rm === undefined ? undefined : refText(link.rm),
      wanted: link.wanted,
      skipped: link.skipped,
    })).toSorted(byLink),
  }
}

/** What differs, by field; undefined = equal. A link without a position has any. */
export function compareTexts(is: NodeText, should: NodeText): string | undefined {
  const links = should.links.map((link, i) => {
    const other = is.links[i]
    if (link.pos !== undefined || other?.link !== link.link) return link
    const { parent, name, pos } = other
    return { ...link, parent, name, pos }
  })
  const expected = { ...should, links }
  for (const key of Object.keys(expected) as (keyof NodeText)[]) {
    const [one, two] = [JSON.stringify(is[key]), JSON.stringify(expected[key])]
    if (one !== two) return `node ${is.node}: ${key} is ${one}, should be ${two}`
  }
  return undefined
}
