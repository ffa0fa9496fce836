// The commuting parts of a node: content (multi-value register), attributes (last writer wins, each
// on its own) and tags (observed-remove set). Every function changes only the record it is given,
// which must be one that may be changed (Store.edit). Equal sets of ops in any causal order come to
// equal records.

import { compareRefs, sameRef } from '../ops/order.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_RDEV, ATTR_KEY_TARGET, ATTR_KEY_XATTR,
  KIND_DIRECTORY,
} from '../ops/types.ts'
import type { AttrChange, Content, Op, OpRef } from '../ops/types.ts'
import { equalBytes } from '../util/bytes.ts'
import type { ContentHead, NodeRecord, TagRecord, XattrRecord } from './records.ts'
import { NO_REFS } from './records.ts'

/** From so many refs on they are looked up by name. */
const NAMED_FROM = 8

/** Whether `refs` has the op of `ref`. */
export function sameRefs(refs: readonly OpRef[], ref: OpRef): boolean {
  for (const one of refs) if (sameRef(one, ref)) return true
  return false
}

/** `refs` without those in `seen`; the same array when nothing goes. */
export function withoutRefs(refs: readonly OpRef[], seen: readonly OpRef[]): readonly OpRef[] {
  if (refs.length === 0 || seen.length === 0) return refs
  if (refs.length === 1) return sameRefs(seen, refs[0] as OpRef) ? NO_REFS : refs
  const isSeen = among(seen)
  const left = refs.filter((ref) => !isSeen(ref))
  return left.length === refs.length ? refs : left
}

/** sameRefs() for many questions: an op may name a thousand others. */
function among(refs: readonly OpRef[]): (ref: OpRef) => boolean {
  if (refs.length < NAMED_FROM) return (ref) => sameRefs(refs, ref)
  const names = new Set(refs.map(nameOf))
  return (ref) => names.has(nameOf(ref))
}

function nameOf({ author, seq, index, order }: OpRef): string {
  return seq < 0 ? `?${order}` : `${author}${seq}.${index}`
}

/** `list`, which ascends, with `one` in its place: a copy. Mostly it comes last. */
function inserted<T>(list: readonly T[], one: T, compare: (a: T, b: T) => number): T[] {
  let low = 0
  let high = list.length
  const last = list[high - 1]
  if (last !== undefined && compare(last, one) < 0) low = high
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(list[middle] as T, one) <= 0) low = middle + 1
    else high = middle
  }
  return low === list.length ? [...list, one] : list.toSpliced(low, 0, one)
}

export function applyPut(record: NodeRecord, op: Op & { kind: 'put' }, ref: OpRef): void {
  const head: ContentHead = {
    ref,
    covered: false,
    sizeBytes: op.sizeBytes,
    mtimeSec: op.mtimeSec,
    mtimeNsec: op.mtimeNsec,
    content: op.content,
  }
  record.heads = inserted(withoutHeads(record.heads, op.base), head, compareHeads)
  if (isLater(ref, record.mtimeRef)) {
    record.mtimeRef = ref
    record.mtimeSec = op.mtimeSec
    record.mtimeNsec = op.mtimeNsec
  }
}

function withoutHeads(
  heads: readonly ContentHead[], base: readonly OpRef[],
): readonly ContentHead[] {
  if (heads.length === 0 || base.length === 0) return heads
  const isReplaced = among(base)
  return heads.filter((one) => !isReplaced(one.ref))
}

function compareHeads(a: ContentHead, b: ContentHead): number {
  return compareRefs(a.ref, b.ref)
}

/** `prev` undefined: the attribute came with the node's mk, and is no touch of its own. */
export function applyAttr(
  record: NodeRecord,
  change: AttrChange,
  ref: OpRef,
  prev: readonly OpRef[] | undefined,
): void {
  if (prev !== undefined) record.touches = [...withoutRefs(record.touches, prev), ref]
  switch (change.key) {
    case ATTR_KEY_MODE:
      if (!isLater(ref, record.modeRef)) return
      record.mode = change.mode
      record.modeRef = ref
      return
    case ATTR_KEY_OWNER:
      if (!isLater(ref, record.ownerRef)) return
      record.uid = change.uid
      record.gid = change.gid
      record.ownerRef = ref
      return
    case ATTR_KEY_MTIME:
      if (!isLater(ref, record.mtimeRef)) return
      record.mtimeSec = change.sec
      record.mtimeNsec = change.nsec
      record.mtimeRef = ref
      return
    case ATTR_KEY_XATTR:
      applyXattr(record, change.name, change.value, ref)
      return
    case ATTR_KEY_TARGET:
      if (!isLater(ref, record.targetRef)) return
      record.target = change.target
      record.targetRef = ref
      return
    case ATTR_KEY_RDEV:
      if (!isLater(ref, record.rdevRef)) return
      record.rdev = change.rdev
      record.rdevRef = ref
  }
}

function applyXattr(
  record: NodeRecord,
  name: string,
  value: Uint8Array | undefined,
  ref: OpRef,
): void {
  const next: XattrRecord = { name, value, ref }
  const at = record.xattrs.findIndex((one) => one.name === name)
  if (at < 0) {
    record.xattrs = inserted(record.xattrs, next, compareNames)
    return
  }
  const old = record.xattrs[at]
  if (old === undefined || !isLater(ref, old.ref)) return
  record.xattrs = record.xattrs.map((one, i) => i === at ? next : one)
}

function compareNames(a: XattrRecord, b: XattrRecord): number {
  return a.name === b.name ? 0 : a.name < b.name ? -1 : 1
}

/** A tag op is a touch, too, one that only removes as well. */
export function applyTag(record: NodeRecord, op: Op & { kind: 'tag' }, ref: OpRef): void {
  let tags = record.tags
  if (tags.length > 0 && op.removeAdds.length > 0) {
    const isRemoved = among(op.removeAdds)
    tags = tags.filter((one) => !isRemoved(one.add))
  }
  for (const tag of op.add) tags = inserted(tags, { tag, add: ref }, compareTags)
  record.tags = tags
  record.touches = [...withoutRefs(record.touches, op.removeAdds), ref]
}

function compareTags(a: TagRecord, b: TagRecord): number {
  return a.tag !== b.tag ? (a.tag < b.tag ? -1 : 1) : compareRefs(a.add, b.add)
}

/** Equal for the view: the same size and the same canonical manifest. */
export function sameContent(
  a: Pick<ContentHead, 'sizeBytes' | 'content'>, b: Pick<ContentHead, 'sizeBytes' | 'content'>,
): boolean {
  if (a.sizeBytes !== b.sizeBytes) return false
  const one = a.content
  const two = b.content
  if (one === two) return true
  if (one.kind === 'inline') return two.kind === 'inline' && equalBytes(one.bytes, two.bytes)
  return contentKey(one) === contentKey(two)
}

/** The heads that a new put of someone who reads the file replaces: the winner and its equals. */
export function seenHeads(record: NodeRecord): OpRef[] {
  const winner = record.winner
  if (winner === undefined) return []
  if (record.heads.length === 1) return [winner.ref]
  return record.heads.filter((head) => sameContent(head, winner)).map((head) => head.ref)
}

/** Whether the mtime of this node is replicated: that of directories follows local changes. */
export function hasReplicatedMtime(record: NodeRecord): boolean {
  return record.kind !== KIND_DIRECTORY && record.mtimeRef !== undefined
}

function isLater(ref: OpRef, than: OpRef | undefined): boolean {
  return than === undefined || compareRefs(ref, than) > 0
}

/** Equal keys = equal contents, of equal sizes. */
export function headKey(head: ContentHead | undefined): string {
  return head === undefined ? '0i' : `${head.sizeBytes}${contentKey(head.content)}`
}

function contentKey(content: Content): string {
  if (content.kind === 'inline') return `i${Buffer.from(content.bytes).toString('latin1')}`
  if (content.kind === 'tree') {
    const root = content.root
    return `t${content.chunker},${content.depth},${root.chunk}${root.begin},${root.length}`
  }
  const parts = content.refs.map((ref) => (
    'hole' in ref ? `h${ref.hole}` : `c${ref.chunk}${ref.begin},${ref.length}`
  ))
  return `r${content.chunker},${parts.join()}`
}
