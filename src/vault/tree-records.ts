// Between records of the state and what filesystem calls see: attributes, owners, the ops that name
// what their caller saw. Pure.

import { REFS_PER_OP_MAX } from '../ops/bounds.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_RDEV, ATTR_KEY_TARGET, ATTR_KEY_XATTR,
  KIND_BLOCK_DEVICE, KIND_CHAR_DEVICE, KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SOCKET,
  KIND_SYMLINK,
} from '../ops/types.ts'
import type { AttrChange, Content, Name, NodeKind, Op, OpRef } from '../ops/types.ts'
import type { LinkRecord, NodeRecord } from '../state/records.ts'
import { sameContent, seenHeads } from '../state/registers.ts'
import { must } from '../util/assert.ts'
import { EMPTY_BYTES, equalBytes } from '../util/bytes.ts'
import type { Attr, Ino } from './buffers.ts'
import type { NewNode, NodeInfo } from './tree.ts'

/** File type bits of st_mode. */
const TYPE_BITS: Record<NodeKind, number> = {
  [KIND_DIRECTORY]: 0o040000,
  [KIND_FILE]: 0o100000,
  [KIND_SYMLINK]: 0o120000,
  [KIND_FIFO]: 0o010000,
  [KIND_SOCKET]: 0o140000,
  [KIND_CHAR_DEVICE]: 0o020000,
  [KIND_BLOCK_DEVICE]: 0o060000,
}

const MODE_BITS = 0o7777

export const EMPTY_CONTENT: Content = Object.freeze({ kind: 'inline', bytes: EMPTY_BYTES })

/** Who mounts: an owner recorded as -1 is this one. */
export interface Owner {
  uid: number
  gid: number
}

export function attrOf(record: NodeRecord, nlink: number, owner: Owner): Attr {
  return {
    mode: TYPE_BITS[record.kind] | record.mode,
    nlink,
    uid: record.uid < 0 ? owner.uid : record.uid,
    gid: record.gid < 0 ? owner.gid : record.gid,
    rdev: record.rdev,
    sizeBytes: record.sizeBytes,
    atimeSec: record.atimeSec,
    atimeNsec: record.atimeNsec,
    mtimeSec: record.mtimeSec,
    mtimeNsec: record.mtimeNsec,
    ctimeSec: record.ctimeSec,
    ctimeNsec: record.ctimeNsec,
  }
}

export function nodeInfoOf(record: NodeRecord, parent: number, owner: Owner): NodeInfo {
  return {
    ino: record.ino as Ino,
    generation: record.generation,
    kind: record.kind,
    attr: attrOf(record, record.nlink, owner),
    content: record.winner?.content,
    target: record.target,
    orphan: false,
    entryCount: record.entryCount,
    parent: parent as Ino,
  }
}

/** The first attributes of a node, ascending by key as the codec wants them. */
export function firstAttrs(
  init: NewNode, owner: Owner, made: { sec: number; nsec: number },
): AttrChange[] {
  const attrs: AttrChange[] = [{ key: ATTR_KEY_MODE, mode: init.mode & MODE_BITS }]
  const recorded = recordedOwner(init.uid, init.gid, owner)
  if (recorded.uid >= 0 || recorded.gid >= 0) attrs.push({ key: ATTR_KEY_OWNER, ...recorded })
  // of directories each device has its own
  if (init.kind !== KIND_DIRECTORY) {
    attrs.push({ key: ATTR_KEY_MTIME, sec: made.sec, nsec: made.nsec })
  }
  if (init.kind === KIND_SYMLINK) attrs.push({ key: ATTR_KEY_TARGET, target: init.target })
  if (init.rdev !== 0) attrs.push({ key: ATTR_KEY_RDEV, rdev: init.rdev })
  return attrs
}

/** The first attributes of a node that has lived without a name. */
export function attrsOf(record: NodeRecord): AttrChange[] {
  const attrs: AttrChange[] = [{ key: ATTR_KEY_MODE, mode: record.mode }]
  if (record.uid >= 0 || record.gid >= 0) {
    attrs.push({ key: ATTR_KEY_OWNER, uid: record.uid, gid: record.gid })
  }
  if (record.heads.length === 0) {
    attrs.push({ key: ATTR_KEY_MTIME, sec: record.mtimeSec, nsec: record.mtimeNsec })
  }
  for (const { name, value } of record.xattrs) {
    if (value !== undefined) attrs.push({ key: ATTR_KEY_XATTR, name, value })
  }
  return attrs
}

/** uid and gid of the mounting user become -1. */
export function recordedOwner(uid: number, gid: number, owner: Owner): Owner {
  return { uid: uid === owner.uid ? -1 : uid, gid: gid === owner.gid ? -1 : gid }
}

/** What turns the attributes of `from` (another file) into those of `to`, times not included. */
export function attrDifference(from: NodeRecord, to: NodeRecord): AttrChange[] {
  const changes: AttrChange[] = []
  if (from.mode !== to.mode) changes.push({ key: ATTR_KEY_MODE, mode: to.mode })
  if (from.uid !== to.uid || from.gid !== to.gid) {
    changes.push({ key: ATTR_KEY_OWNER, uid: to.uid, gid: to.gid })
  }
  for (const { name, value } of to.xattrs) {
    if (value === undefined) continue
    const old = xattrOf(from, name)
    if (old === undefined || !equalBytes(old, value)) {
      changes.push({ key: ATTR_KEY_XATTR, name, value })
    }
  }
  for (const { name, value } of from.xattrs) {
    if (value !== undefined && xattrOf(to, name) === undefined) {
      changes.push({ key: ATTR_KEY_XATTR, name, value: undefined })
    }
  }
  return changes
}

export function xattrOf(record: NodeRecord, name: string): Uint8Array | undefined {
  for (const xattr of record.xattrs) if (xattr.name === name) return xattr.value
  return undefined
}

/** The link that the view shows under (parent, name). */
export function linkAt(record: NodeRecord, parent: number, name: Name): LinkRecord {
  const links = record.links
  const link = links.length === 1
    ? links[0]
    : links.find((one) => one.shown && one.shownParent === parent && one.shownName === name)
  return must(link, 'an entry without its link')
}

export function moveOp(link: LinkRecord, parent: NodeRecord, name: Name): Op {
  const prev = link.heads.slice(-REFS_PER_OP_MAX)
  return { kind: 'mv', link: link.link, parent: parent.node, name, prev }
}

/**
 * Removes the link. Whoever removes the last name of a node has seen its content and attributes go;
 * whoever removes one of several has not meant them. `gone`: links of it that are removed before,
 * by the same operation; `heads`: its content heads by then, when others than the record's.
 */
export function removeOps(
  record: NodeRecord, link: LinkRecord, gone: readonly string[] = [], heads?: readonly OpRef[],
): Op[] {
  const isLast = record.links.every((one) => (
    one === link || gone.includes(one.link) || !(one.shown || one.wanted)
  ))
  if (!isLast) return removeParts(link, [...link.heads], [])
  const contentHeads = heads ?? record.heads.filter((head) => !head.covered).map(({ ref }) => ref)
  return removeParts(link, [...link.heads, ...record.touches], [...contentHeads])
}

/** As many ops as the refs need. */
function removeParts(link: LinkRecord, prev: OpRef[], contentHeads: OpRef[]): Op[] {
  const ops: Op[] = []
  const count = Math.max(prev.length, contentHeads.length, 1)
  for (let from = 0; from < count; from += REFS_PER_OP_MAX) {
    const end = from + REFS_PER_OP_MAX
    ops.push({
      kind: 'rm', link: link.link,
      prev: prev.slice(from, end), contentHeads: contentHeads.slice(from, end),
    })
  }
  return ops
}

/** The heads that somebody replaces who reads the file: the winner, and what is equal to it. */
export function writerBase(record: NodeRecord): OpRef[] {
  return seenHeads(record).slice(-REFS_PER_OP_MAX)
}

/** The content of `source`, sealed so far, as that of `target`. */
export function putOfContent(target: NodeRecord, source: NodeRecord): Op & { kind: 'put' } {
  const winner = source.winner
  return {
    kind: 'put',
    node: target.node,
    base: writerBase(target),
    sizeBytes: winner?.sizeBytes ?? 0,
    mtimeSec: source.mtimeSec,
    mtimeNsec: source.mtimeNsec,
    content: winner?.content ?? EMPTY_CONTENT,
  }
}

/** One op per change; the first names what the caller saw being changed (all: a batch is full). */
export function attrOps(record: NodeRecord, changes: readonly AttrChange[]): Op[] {
  return changes.map((change, i) => {
    const prev = i === 0 ? record.touches.slice(0, REFS_PER_OP_MAX) : []
    return { kind: 'attr', node: record.node, change, prev }
  })
}

/** Whether the file has this very content and time, and no other. */
export function isNothingNew(
  record: NodeRecord,
  put: { sizeBytes: number; mtimeSec: number; mtimeNsec: number; content: Content },
): boolean {
  const winner = record.winner
  if (winner === undefined || record.heads.length > 1) return false
  if (record.mtimeSec !== put.mtimeSec || record.mtimeNsec !== put.mtimeNsec) return false
  return sameContent(winner, { ...winner, content: put.content, sizeBytes: put.sizeBytes })
}
