// Which ops do not exist (R2 of the rules): those that name a birth or an op that their author had
// not seen, that do not fit the kinds, have a bad name, touch the root's position, or mint an id
// twice. Static: nobody's standing matters, and every device comes to the same answer. A device's
// own ops are not checked: they were made on what it shows.

import type { LinkId, NodeId, NodeKind, Op, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import type { FoldPass } from './fold-pass.ts'
import { indexOfLink, linkOf } from './fold-pass.ts'
import { NO_REFS } from './records.ts'

/** Why an op does nothing. */
export type VoidReason =
  | 'duplicate-id'
  | 'bad-name'
  | 'bad-kind'
  | 'unknown-node'
  | 'unknown-link'
  | 'unknown-op'

/** Whether the author of the op had seen the one that this names. */
export type Seen = (ref: OpRef) => boolean

/** For an op of the tree (mk, link, mv, rm, put, attr, tag). */
export function voidReason(pass: FoldPass, op: Op, seen: Seen): VoidReason | undefined {
  const form = badForm(op)
  if (form !== undefined) return form
  for (const ref of refsOf(op)) if (!seen(ref)) return 'unknown-op'
  switch (op.kind) {
    case 'mk':
      if (op.mint > 0 && pass.find(op.node) !== undefined) return 'duplicate-id'
      return seesNode(pass, op.parent, seen) ? undefined : 'unknown-node'
    case 'link': {
      const known = pass.findLink(op.link)
      if (known !== undefined && indexOfLink(known, op.link) >= 0) return 'duplicate-id'
      const sees = seesNode(pass, op.node, seen) && seesNode(pass, op.parent, seen)
      return sees ? undefined : 'unknown-node'
    }
    case 'mv':
      if (!seesLink(pass, op.link, seen)) return 'unknown-link'
      return seesNode(pass, op.parent, seen) ? undefined : 'unknown-node'
    case 'rm':
      return seesLink(pass, op.link, seen) ? undefined : 'unknown-link'
    case 'put':
    case 'attr':
    case 'tag':
      return seesNode(pass, op.node, seen) ? undefined : 'unknown-node'
    default:
      return undefined
  }
}

/** What can be told from the op alone. */
export function badForm(op: Op): VoidReason | undefined {
  switch (op.kind) {
    case 'mk':
      if (idKind(op.node) !== op.nodeKind) return 'bad-kind'
      return badPlace(op)
    case 'link':
      return idKind(op.node) === KIND_DIRECTORY ? 'bad-kind' : badPlace(op)
    case 'mv':
      return badPlace(op)
    case 'put':
      return idKind(op.node) === KIND_FILE ? undefined : 'bad-kind'
    default:
      return undefined
  }
}

export function isName(name: string): boolean {
  if (name.length === 0 || name.length > 255 || name === '.' || name === '..') return false
  return !name.includes('/') && !name.includes('\0')
}

function badPlace({ parent, name }: { parent: NodeId; name: string }): VoidReason | undefined {
  if (!isName(name)) return 'bad-name'
  return idKind(parent) === KIND_DIRECTORY ? undefined : 'bad-kind'
}

/** Ids in ops of strangers may carry anything. */
function idKind(id: NodeId | LinkId): NodeKind {
  return id.charCodeAt(0) as NodeKind
}

function refsOf(op: Op): readonly OpRef[] {
  switch (op.kind) {
    case 'mk':
      return op.source === undefined ? NO_REFS : [op.source]
    case 'mv':
    case 'attr':
      return op.prev
    case 'rm':
      return op.contentHeads.length === 0 ? op.prev : [...op.prev, ...op.contentHeads]
    case 'put':
      return op.base
    case 'tag':
      return op.removeAdds
    default:
      return NO_REFS
  }
}

/** The root was there before any op. */
function seesNode(pass: FoldPass, node: NodeId, seen: Seen): boolean {
  const record = pass.find(node)
  if (record === undefined) return false
  if (record.links.length === 0) return true
  const at = indexOfLink(record, node as string as LinkId)
  return at >= 0 && linkOf(record, at).births.some(seen)
}

function seesLink(pass: FoldPass, link: LinkId, seen: Seen): boolean {
  const record = pass.findLink(link)
  const at = record === undefined ? -1 : indexOfLink(record, link)
  return record !== undefined && at >= 0 && linkOf(record, at).births.some(seen)
}
