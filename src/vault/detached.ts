// Inodes that only this device knows, and only until the process ends:
//   orphan    unlinked while open: nobody else will see what is written to it
//   unnamed   O_TMPFILE: link() may give it a name
//   detached  somebody else's change took its place in the tree while it was open here. It goes on
//             with the content it had; what is written to it becomes a put on the line of content
//             that it was opened on, and so shows beside what others wrote, or brings the file back
// Used by LiveTree alone.

import type { AttrChange, Content, NodeId, Op, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import type { Facts } from '../state/facts.ts'
import { NodeRecord } from '../state/records.ts'
import { applyAttr } from '../state/registers.ts'
import type { Attr } from './buffers.ts'
import { writerBase } from './tree-records.ts'

export interface LocalInode {
  readonly record: NodeRecord
  /** ino of the directory that it was in. */
  readonly parent: number
  readonly kind: 'orphan' | 'unnamed' | 'detached'
}

export interface Detached extends LocalInode {
  readonly kind: 'detached'
  /** The node whose content it is. */
  node: NodeId
  /** The heads that its writer has seen. */
  base: readonly OpRef[]
  /** Restored after a restart, which its put may have come before. */
  readonly isResumed?: boolean
}

/** What an inode would be without a name, as of this moment: a copy. */
export function withoutName(record: NodeRecord): NodeRecord {
  const copy = record.clone()
  copy.links = []
  return copy
}

/** `record` is what the inode was. A directory takes no more names: as one removed here. */
export function detachedFrom(record: NodeRecord, parent: number): LocalInode {
  if (record.kind === KIND_DIRECTORY) {
    return { record: withoutName(record), parent, kind: 'orphan' }
  }
  return detachedFile(record, parent)
}

function detachedFile(record: NodeRecord, parent: number): Detached {
  const node = record.virtualOf === '' ? record.node : record.virtualOf
  return { record: withoutName(record), parent, kind: 'detached', node, base: writerBase(record) }
}

/** An inode for a content whose node has moved on since it was written (held.ts). */
export function resumedFile(
  ino: number, parent: number, of: NodeRecord, base: readonly OpRef[],
): Detached {
  const record = new NodeRecord(ino, of.node, of.kind)
  const { mode, uid, gid } = of
  Object.assign(record, { mode, uid, gid })
  return { record, parent, kind: 'detached', node: of.node, base, isResumed: true }
}

export function isDetached(local: LocalInode): local is Detached {
  return local.kind === 'detached'
}

export function changeLocal(
  record: NodeRecord, changes: AttrChange[], facts: Facts, ref: OpRef,
): void {
  for (const change of changes) applyAttr(record, change, ref, undefined)
  record.ctimeSec = facts.sec
  record.ctimeNsec = facts.nsec
  if (facts.values.length !== 3) return
  record.atimeSec = facts.values[1] ?? 0
  record.atimeNsec = facts.values[2] ?? 0
}

export function putLocal(record: NodeRecord, content: Content, attr: Attr, ref: OpRef): void {
  const { sizeBytes, mtimeSec, mtimeNsec } = attr
  record.heads = [{ ref, covered: false, sizeBytes, mtimeSec, mtimeNsec, content }]
  record.mtimeSec = mtimeSec
  record.mtimeNsec = mtimeNsec
  record.mtimeRef = ref
  record.ctimeSec = attr.ctimeSec
  record.ctimeNsec = attr.ctimeNsec
}

export function detachedPut(
  local: Detached, content: Content, attr: Attr,
): Op & { kind: 'put' } {
  return {
    kind: 'put',
    node: local.node,
    base: [...local.base],
    sizeBytes: attr.sizeBytes,
    mtimeSec: attr.mtimeSec,
    mtimeNsec: attr.mtimeNsec,
    content,
  }
}
