// FoldRecords: what single ops do to the records, in two ways that come to the same: step by step
// (valid ops on nodes that have no other), and from the node's whole history. Positions that change
// tell the view, which takes the link's claim away before.

import { compareRefs, sameRef } from '../ops/order.ts'
import type { LinkId, Name, NodeId, Op, OpRef } from '../ops/types.ts'
import { ATTR_KEY_MTIME, KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import { FoldDirectories } from './fold-directories.ts'
import { indexOfLink, linkOf } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import type { VoidReason } from './fold-void.ts'
import { rebuildNode } from './node-history.ts'
import type { HistoryOp, LinkPart, ReplicatedPart, Standing } from './node-history.ts'
import { NOWHERE, NO_REFS, NodeRecord, ROOT_INO } from './records.ts'
import type { ContentHead, LinkRecord } from './records.ts'
import { applyAttr, applyPut, applyTag, sameRefs, withoutRefs } from './registers.ts'
import type { View } from './view.ts'

type TreeOp = Op & { kind: 'mk' | 'link' | 'mv' | 'rm' | 'put' | 'attr' | 'tag' }

const NO_NAME = '' as Name
/** Of the root, until somebody changes it: no op has made it. */
export const ROOT_MODE = 0o700

export class FoldRecords {
  /** Files that got ops from others: what they showed before. */
  readonly winners = new Map<NodeRecord, { ino: number; winner: ContentHead | undefined }>()
  readonly #pass: FoldPass
  readonly #view: View
  readonly #directories: FoldDirectories
  /** Nodes to be made anew, and their ops so far. */
  readonly #slow = new Map<NodeRecord, HistoryOp[]>()

  constructor(pass: FoldPass, view: View) {
    this.#pass = pass
    this.#view = view
    this.#directories = new FoldDirectories(pass, view)
  }

  begin(): void {
    if (this.winners.size > 0) this.winners.clear()
    if (this.#slow.size > 0) this.#slow.clear()
  }

  /** Applies an op that exists. Returns its node's record, or why it does nothing after all. */
  apply(op: TreeOp, ref: OpRef, standing: Standing, isRemote: boolean): NodeRecord | VoidReason {
    const found = this.#recordOf(op, ref, standing)
    if (!(found instanceof NodeRecord)) return found
    const record = this.#pass.touch(found)
    const isSlow = record.hasCut && (isRemote || namesOthers(record, op))
    if (standing !== 'valid' || isSlow) {
      this.#defer(record, op, ref)
      return record
    }
    if (this.#pass.isRemote) {
      if (record.kind === KIND_FILE) this.#noteWinner(record)
      this.#noteNames(record, op)
    }
    this.#step(record, op, ref)
    return record
  }

  /** Makes those records anew that are not changed step by step. */
  rebuild(): void {
    for (const [record, ops] of this.#slow) this.#remake(record, ops)
  }

  /** The node, from its history, under the standings of now. */
  recompute(node: NodeId): void {
    const found = this.#pass.find(node)
    if (found === undefined || found.virtualOf !== '') return
    this.#slow.set(this.#pass.touch(found), [...this.#pass.context.history(found)])
  }

  // ---- finding ----

  /** The record that the op is about, made where the op makes it. */
  #recordOf(op: TreeOp, ref: OpRef, standing: Standing): NodeRecord | VoidReason {
    switch (op.kind) {
      case 'mk':
        return this.#born(op, ref, standing)
      case 'mv':
      case 'rm': {
        const record = this.#pass.findLink(op.link)
        return record === undefined || indexOfLink(record, op.link) < 0 ? 'unknown-link' : record
      }
      default:
        return this.#pass.find(op.node) ?? 'unknown-node'
    }
  }

  #born(op: Op & { kind: 'mk' }, ref: OpRef, standing: Standing): NodeRecord | VoidReason {
    // an op of this moment has an id that was just minted
    const found = ref.seq >= 0 || op.mint === 0 ? this.#pass.find(op.node) : undefined
    if (found !== undefined && found.virtualOf === '') {
      return op.mint > 0 ? 'duplicate-id' : found
    }
    const record = new NodeRecord(0, op.node, op.nodeKind)
    this.#pass.make(record)
    if (found !== undefined) this.#makeReal(found, record)
    const [old] = record.links
    const link = newLink(firstLinkOf(op.node), ref)
    if (old !== undefined) Object.assign(link, { shownParent: old.shownParent, cookie: old.cookie })
    if (standing === 'valid') {
      record.links = [{ ...link, parent: op.parent, name: op.name, shownName: op.name }]
    } else record.links = [link]
    return record
  }

  /** A variant that the view shows becomes a file: the ino stays, ops say what it is. */
  #makeReal(variant: NodeRecord, record: NodeRecord): void {
    const shown = this.#view.leaveVariant(variant)
    this.#view.entries.count(shown, -1)
    record.ino = shown.ino
    record.generation = shown.generation
    record.atimeSec = shown.atimeSec
    record.atimeNsec = shown.atimeNsec
    record.links = shown.links
    record.stored = shown.stored
    record.storedParent = shown.storedParent
    record.storedCookie = shown.storedCookie
    this.#pass.store.show(record)
    this.#view.entries.count(record, 1)
    this.#view.entries.replace(shown, record)
  }

  #noteWinner(record: NodeRecord): void {
    if (record.ino === 0 || this.winners.has(record)) return
    this.winners.set(record, { ino: record.ino, winner: record.winner })
  }

  // ---- step by step ----

  #step(record: NodeRecord, op: TreeOp, ref: OpRef): void {
    switch (op.kind) {
      case 'mk':
        return this.#make(record, op, ref)
      case 'link':
        record.links = [...record.links, {
          ...newLink(op.link, ref),
          parent: op.parent, name: op.name, shownName: op.name, heads: [ref],
        }]
        return this.#pass.store.setLink(op.link, op.node)
      case 'mv':
        return this.#move(record, op, ref)
      case 'rm':
        return this.#remove(record, op, ref)
      case 'put':
        return this.#put(record, op, ref)
      case 'attr':
        return this.#change(record, op, ref)
      case 'tag':
        return applyTag(record, op, ref)
    }
  }

  #make(record: NodeRecord, op: Op & { kind: 'mk' }, ref: OpRef): void {
    for (const change of op.attrs) applyAttr(record, change, ref, undefined)
    const link = linkOf(record, 0)
    if (link.births[0] === ref) {
      record.links = [{ ...link, heads: link.births }]
      return
    }
    // a conflict copy that somebody else has made a file, too
    this.#claim(record, 0, op, ref, NO_REFS)
    const births = [...link.births, ref]
    this.#pass.setLink(record, 0, { ...linkOf(record, 0), births })
  }

  #change(record: NodeRecord, op: Op & { kind: 'attr' }, ref: OpRef): void {
    const { change } = op
    applyAttr(record, change, ref, op.prev)
    if (record.kind !== KIND_DIRECTORY || change.key !== ATTR_KEY_MTIME) return
    if (record.mtimeRef === ref) this.#pass.timeGiven(record, change)
  }

  /** Directories in which the op changes a name. */
  #noteNames(record: NodeRecord, op: TreeOp): void {
    if ('parent' in op) this.#pass.namesChange(op.parent)
    if (op.kind !== 'mv' && op.kind !== 'rm') return
    this.#pass.namesChange(linkOf(record, indexOfLink(record, op.link)).parent)
  }

  #move(record: NodeRecord, op: Op & { kind: 'mv' }, ref: OpRef): void {
    const at = indexOfLink(record, op.link)
    if (record.kind !== KIND_DIRECTORY) {
      this.#claim(record, at, op, ref, op.prev)
      return
    }
    const link = linkOf(record, at)
    this.#pass.setLink(record, at, { ...link, heads: [...withoutRefs(link.heads, op.prev), ref] })
    this.#directories.move(record, { ref, parent: op.parent, name: op.name })
  }

  /** A position that its author gave the link after seeing `prev`. */
  #claim(
    record: NodeRecord, at: number, to: { parent: NodeId; name: Name }, ref: OpRef,
    prev: readonly OpRef[],
  ): void {
    const { parent, name } = to
    const heads = [...withoutRefs(linkOf(record, at).heads, prev), ref]
    if (compareRefs(ref, linkOf(record, at).pos) < 0) {
      this.#pass.setLink(record, at, { ...linkOf(record, at), heads })
      return
    }
    const link = linkOf(record, at)
    if (parent !== link.parent || name !== link.name) this.#view.leave(record, at)
    this.#pass.setLink(record, at, { ...linkOf(record, at), parent, name, pos: ref, heads })
  }

  #remove(record: NodeRecord, op: Op & { kind: 'rm' }, ref: OpRef): void {
    const at = indexOfLink(record, op.link)
    const link = linkOf(record, at)
    const rm = link.rm === undefined || compareRefs(ref, link.rm) > 0 ? ref : link.rm
    const heads = withoutRefs(link.heads, op.prev)
    this.#pass.setLink(record, at, { ...link, heads, rm })
    record.touches = withoutRefs(record.touches, op.prev)
    if (op.contentHeads.length === 0) return
    const before = record.sizeBytes
    for (const head of record.heads) {
      if (head.covered || !sameRefs(op.contentHeads, head.ref)) continue
      record.heads = record.heads.map((one) => (one === head ? { ...one, covered: true } : one))
    }
    this.#countBytes(record, before)
  }

  #put(record: NodeRecord, op: Op & { kind: 'put' }, ref: OpRef): void {
    const before = record.sizeBytes
    applyPut(record, op, ref)
    this.#countBytes(record, before)
  }

  /** Keeps the count of shown bytes. */
  #countBytes(record: NodeRecord, before: number): void {
    if (record.ino === 0 || record.kind !== KIND_FILE) return
    this.#pass.store.meta.contentBytes += record.sizeBytes - before
  }

  // ---- from history ----

  #defer(record: NodeRecord, op: TreeOp, ref: OpRef): void {
    let ops = this.#slow.get(record)
    if (ops === undefined) {
      ops = record.last === undefined ? [] : [...this.#pass.context.history(record)]
      this.#slow.set(record, ops)
    }
    ops.push({ op, ref })
    if (op.kind === 'mk') {
      const link = linkOf(record, 0)
      if (sameRefs(link.births, ref)) return
      this.#pass.setLink(record, 0, { ...link, births: [...link.births, ref] })
    } else if (op.kind === 'link') {
      record.links = [...record.links, newLink(op.link, ref)]
      this.#pass.store.setLink(op.link, op.node)
    }
  }

  #remake(record: NodeRecord, ops: readonly HistoryOp[]): void {
    const { context } = this.#pass
    if (record.kind === KIND_FILE) this.#noteWinner(record)
    const part = rebuildNode(record.kind, ops, (author, seq) => context.standing(author, seq))
    const before = record.sizeBytes
    adopt(record, part)
    this.#countBytes(record, before)
    for (const link of part.links) this.#adoptLink(record, link)
    if (record.kind === KIND_DIRECTORY && record.links.length > 0) {
      this.#directories.replace(record, part)
    }
  }

  #adoptLink(record: NodeRecord, part: LinkPart): void {
    const at = indexOfLink(record, part.link)
    const { births, heads, rm } = part
    if (record.kind === KIND_DIRECTORY) {
      this.#pass.setLink(record, at, { ...linkOf(record, at), births, heads, rm })
      return
    }
    const { parent, name } = linkOf(record, at)
    if (parent !== part.parent || name !== part.name) this.#view.leave(record, at)
    this.#pass.setLink(record, at, {
      ...linkOf(record, at), births, heads, rm,
      parent: part.parent as NodeId, name: part.name as Name, pos: part.pos,
    })
  }
}

/** Whether an own op names contents that are no heads: written through a handle that was opened on
 *  one that is cut now. */
function namesOthers(record: NodeRecord, op: TreeOp): boolean {
  if (op.kind !== 'put') return false
  return op.base.some((ref) => !record.heads.some((head) => sameRef(head.ref, ref)))
}

/** Everything but the links. */
function adopt(record: NodeRecord, part: ReplicatedPart): void {
  const { mtimeSec, mtimeNsec } = record
  const keepsMtime = part.mtimeRef === undefined
    || (record.kind === KIND_DIRECTORY && part.mtimeRef === record.mtimeRef)
  const { links: _links, moves: _moves, movesAreCut: _cut, ...plain } = part
  Object.assign(record, plain)
  if (record.ino === ROOT_INO && part.modeRef === undefined) record.mode = ROOT_MODE
  if (keepsMtime) Object.assign(record, { mtimeSec, mtimeNsec })
}

/** A link that nothing has placed yet. */
function newLink(link: LinkId, birth: OpRef): LinkRecord {
  return {
    link, parent: NOWHERE, name: NO_NAME, pos: birth, births: [birth], heads: NO_REFS,
    rm: undefined, skipped: false,
    wanted: false, shown: false, shownParent: 0, cookie: 0, shownName: NO_NAME,
  }
}

function firstLinkOf(node: NodeId): LinkId {
  return node as string as LinkId
}
