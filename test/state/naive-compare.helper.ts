// The same plain description of a node of the naive model and of a NodeRecord, to be compared as
// texts, and kept in vector files. Only what is replicated; refs as `author.sequence.index@time`.
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import type { AttrChange, OpRef } from '../../src/ops/types.ts'
import type { ReplicatedPart } from '../../src/state/node-history.ts'
import type { ContentHead, NodeRecord } from '../../src/state/records.ts'
import { contentText } from './naive-model.helper.ts'
import type { ModelLink, ModelNode, PlacedOp } from './naive-model.helper.ts'
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
      `${opText(by)}${covered ? ' covered' : ''} ${put.mtimeSec}.${put.mtimeNsec} ${
        contentText(put)}`
    )),
    touches: texts(node.touches),
    tags: node.tags.map(({ tag, by }) => `${tag} by ${opText(by)}`).toSorted(),
    links: node.links.map(describeLink).toSorted(byLink),
  }
}

function describeLink(link: ModelLink): LinkText {
  const texts = (list: readonly PlacedOp[]) => list.map(opText).toSorted()
  return {
    link: hex(link.link),
    parent: link.parent === undefined ? undefined : hex(link.parent),
    name: link.name,
    pos: link.pos === undefined ? undefined : opText(link.pos),
    births: texts(link.births),
    heads: texts(link.heads),
    rm: link.rm === undefined ? undefined : opText(link.rm),
    wanted: link.wanted,
    skipped: link.skipped,
  }
}

function recordChanges(record: NodeRecord | ReplicatedPart): { change: AttrChange; by: string }[] {
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

/** A rebuilt node; what the move log and the view add to it is as in `model`. */
export function describePart(part: ReplicatedPart, model: ModelNode): NodeText {
  const texts = (refs: readonly OpRef[]) => refs.map(refText).toSorted()
  const { node, kind } = model
  return {
    node: hex(node),
    kind,
    attrs: attrsText(recordChanges(part), kind),
    heads: part.heads.map((head) => headText(head)),
    touches: texts(part.touches),
    tags: part.tags.map(({ tag, add }) => `${tag} by ${refText(add)}`).toSorted(),
    links: part.links.map((link) => {
      const { wanted, skipped, parent, name, pos } = describeLink(
        model.links.find((one) => one.link === link.link)!,
      )
      const isMoved = kind === KIND_DIRECTORY
      return {
        link: hex(link.link),
        parent: isMoved ? parent : hex(link.parent),
        name: isMoved ? name : link.name as string,
        pos: isMoved ? pos : refText(link.pos),
        births: texts(link.births),
        heads: texts(link.heads),
        rm: link.rm === undefined ? undefined : refText(link.rm),
        wanted,
        skipped,
      }
    }).toSorted(byLink),
  }
}

function headText(head: ContentHead): string {
  const { ref, covered, mtimeSec, mtimeNsec } = head
  const cover = covered ? ' covered' : ''
  return `${refText(ref)}${cover} ${mtimeSec}.${mtimeNsec} ${contentText(head)}`
}

export function describeRecord(record: NodeRecord): NodeText {
  const texts = (refs: readonly OpRef[]) => refs.map(refText).toSorted()
  return {
    node: hex(record.node),
    kind: record.kind,
    attrs: attrsText(recordChanges(record), record.kind),
    heads: record.heads.map((head) => headText(head)),
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

/** The first field that differs; undefined = equal. Where the rules give a link no position, the
 *  record's parent and name are not looked at. */
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
