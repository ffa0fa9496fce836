// Variants as the view shows them: a content head that lost is a file of its own, though no op made
// one. Its record has an ino and an entry like any other; its id is the one that its file will have
// once somebody makes it real (mk with `source`), so that its ino stays.

import { BATCH_OPS_MAX } from '../ops/bounds.ts'
import type { LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import { KIND_FILE } from '../ops/types.ts'
import type { FoldPass } from './fold-pass.ts'
import { NO_REFS, NodeRecord } from './records.ts'
import type { LinkRecord } from './records.ts'
import type { Item } from './view-items.ts'

/**
 * The id under which a head of `node` is shown. Where a file has that id already (made real, but
 * the head is still there: its maker was removed, or lied), one that no op can have.
 */
export function variantId(pass: FoldPass, node: NodeId, head: OpRef): NodeId {
  for (let ref = head; ; ref = { ...ref, index: ref.index + BATCH_OPS_MAX }) {
    const id = pass.ids.derived(ref)
    const found = pass.find(id)
    if (found === undefined || found.virtualOf === node) return id
  }
}

/** The record under this id, as an item of group `name`: the one there is, or a new one. */
export function variantRecord(
  pass: FoldPass, id: NodeId, item: Item, name: Name,
): NodeRecord {
  const found = pass.find(id)
  if (found === undefined) {
    const record = new NodeRecord(0, id, KIND_FILE)
    pass.make(record)
    record.virtualOf = item.record.node
    record.grouped = true
    record.links = [variantLink(id, item, name)]
    copyFrom(record, item)
    return record
  }
  const [link] = found.links
  if (link === undefined) return refreshVariant(pass, found, item)
  const { parent } = item.link // the node may have moved, also within a union
  if (link.parent !== parent || (link.name !== name && !link.shown)) {
    const now = link.shown ? link.name : name
    pass.setLink(pass.edit(found), 0, { ...link, parent, name: now })
  }
  return refreshVariant(pass, found, item)
}

/** Takes over what has changed about its node. */
export function refreshVariant(pass: FoldPass, found: NodeRecord, item: Item): NodeRecord {
  const { mode, uid, gid, xattrs, tags } = item.record
  const isSame = found.mode === mode && found.uid === uid && found.gid === gid
    && found.xattrs === xattrs && found.tags === tags
  if (isSame) return pass.edit(found)
  const record = pass.edit(found)
  copyFrom(record, item)
  return record
}

/** Attributes of its node; size, mtime and content of its own put. */
function copyFrom(record: NodeRecord, { record: node, head }: Item): void {
  record.mode = node.mode
  record.modeRef = node.modeRef
  record.uid = node.uid
  record.gid = node.gid
  record.ownerRef = node.ownerRef
  record.xattrs = node.xattrs
  record.tags = node.tags
  if (head === undefined) return
  record.heads = head.covered ? [{ ...head, covered: false }] : [head]
  record.mtimeSec = head.mtimeSec
  record.mtimeNsec = head.mtimeNsec
  record.mtimeRef = head.ref
}

function variantLink(id: NodeId, item: Item, name: Name): LinkRecord {
  return {
    link: id as string as LinkId, parent: item.link.parent, name, pos: item.op,
    births: NO_REFS, heads: NO_REFS, rm: undefined, skipped: false,
    wanted: false, shown: false, shownParent: 0, cookie: 0, shownName: name,
  }
}
