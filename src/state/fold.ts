// The fold: what ops do to the records, and what the view shows then. Pure: no time, no randomness,
// no disk; what a device decides for itself comes in as Facts. The result depends on the set of ops
// alone; they come in any order in which each follows what its author had seen.
//
//   position   of a link: the greatest mk, link or mv; of directories: as the move log has it.
//              `heads` = position ops nobody has superseded: a link is kept while it has one
//   content    multi-value register over base; the greatest head wins
//   attributes last writer wins, each on its own; `touches` = those nobody has superseded
//   history    ops that are cut or void, and what others do to a node that has such, are not
//              applied step by step: the record is made anew from its history (node-history.ts)
//
// One batch, or one user operation, is applied as a whole: first the records, then the view once.

import type { Ids } from '../ops/ids.ts'
import type { NodeId, Op, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { FACTS_DETACHED, FACTS_FOLLOW, FACTS_NAMED, FACTS_TIMES } from './facts.ts'
import type { Facts } from './facts.ts'
import { FoldPass, LONE_CONTEXT } from './fold-pass.ts'
import type { FoldContext, FoldRules } from './fold-pass.ts'
import { FoldRecords, ROOT_MODE } from './fold-records.ts'
import { badForm, voidReason } from './fold-void.ts'
import type { Seen, VoidReason } from './fold-void.ts'
import type { Standing } from './node-history.ts'
import type { ContentHead } from './records.ts'
import { NodeRecord, ROOT_INO } from './records.ts'
import { sameContent } from './registers.ts'
import type { Store } from './store.ts'
import { View } from './view.ts'

export type { FoldContext, ViewChanges, WasShown } from './fold-pass.ts'
export type { HistoryOp, Standing } from './node-history.ts'

const GROUPS_PAGE = 256

export class Fold {
  readonly #store: Store
  readonly #pass: FoldPass
  readonly #view: View
  readonly #records: FoldRecords
  /** What the last apply() found void. */
  readonly voids: VoidReason[] = []
  /** The root's times are those of the first operation in the vault. */
  #rootUntimed: boolean

  /** Without `ids` and `context`: for a vault that only this device changes. */
  constructor(store: Store, ids?: Ids, context: FoldContext = LONE_CONTEXT) {
    this.#store = store
    this.#pass = new FoldPass(store, ids, context)
    this.#view = new View(this.#pass)
    this.#records = new FoldRecords(this.#pass, this.#view)
    this.#rootUntimed = store.node(ROOT_INO)?.ctimeSec === 0
  }

  /**
   * Applies one user operation, or one batch of somebody else, whole; refs[i] names ops[i]. `seen`:
   * what the batch's author had seen; undefined for an own operation, which sees everything.
   * Returns for each op the node that it is about: undefined when it is none of the tree's, or
   * void.
   */
  apply(
    ops: readonly Op[], refs: readonly OpRef[], facts: Facts, seen?: Seen,
  ): (NodeId | undefined)[] {
    this.#begin(facts, seen !== undefined || facts.kind === FACTS_DETACHED)
    const follow = facts.kind === FACTS_FOLLOW ? this.#followed(ops) : undefined
    const standing = this.#standingOf(refs[0], seen)
    const nodes: (NodeId | undefined)[] = []
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i] as Op
      const ref = refs[i] as OpRef
      const record = this.#applyOp(op, ref, standing, seen)
      if (record === undefined) facts.chain[i] = undefined
      else facts.link(i, record, ref)
      nodes.push(record?.node)
    }
    const first = this.#firstTouched()
    this.#finish()
    if (follow !== undefined) this.#follow(follow)
    if (facts.kind === FACTS_TIMES) this.#setTimes(facts)
    else if (facts.kind === FACTS_NAMED && first !== undefined) setFirstAtime(first, facts)
    this.#store.meta.voids += this.voids.length
    return nodes
  }

  /** All of them, but in tests that break one. */
  get rules(): FoldRules {
    return this.#pass.rules
  }

  /** The standing of ops on these nodes is another one now: they are made anew. Everything applied
   *  must be placed. */
  recompute(nodes: Iterable<NodeId>, facts: Facts): void {
    this.#begin(facts, true)
    for (const node of nodes) this.#records.recompute(node)
    this.#finish()
  }

  /** Names of devices changed: all conflict names are made anew. */
  relabel(facts: Facts): void {
    for (let page = this.#store.groups(undefined, GROUPS_PAGE); page.length > 0;) {
      this.#begin(facts, true)
      for (const { dir, name } of page) this.#view.renew(dir, name)
      this.#finish()
      page = this.#store.groups(page[page.length - 1], GROUPS_PAGE)
    }
  }

  #begin(facts: Facts, isRemote: boolean): void {
    this.#pass.begin(facts, isRemote)
    this.#view.begin()
    this.#records.begin()
    this.voids.length = 0
    if (!this.#rootUntimed) return
    const root = this.#store.edit(must(this.#store.node(ROOT_INO), 'a state without a root'))
    root.atimeSec = facts.sec
    root.atimeNsec = facts.nsec
    this.#pass.changeTimes(root)
    this.#rootUntimed = false
  }

  /** A batch stands as one. */
  #standingOf(ref: OpRef | undefined, seen: Seen | undefined): Standing {
    if (seen === undefined || ref === undefined) return 'valid'
    return this.#pass.context.standing(ref.author, ref.seq)
  }

  #applyOp(
    op: Op, ref: OpRef, standing: Standing, seen: Seen | undefined,
  ): NodeRecord | undefined {
    if (!isOfTree(op)) return undefined
    let reason = seen === undefined ? badForm(op) : voidReason(this.#pass, op, seen)
    if (reason === undefined || !this.#pass.rules.voids(reason)) {
      const record = this.#records.apply(op, ref, standing, seen !== undefined)
      if (record instanceof NodeRecord) return record
      reason = record
    }
    this.voids.push(reason)
    return undefined
  }

  #finish(): void {
    this.#records.rebuild()
    this.#view.settle()
    this.#pass.settleTimes()
    if (!this.#pass.isRemote) return
    for (const [record, was] of this.#records.winners) this.#replaceContent(record, was)
    const { changes } = this.#pass.context
    for (const { ino } of this.#pass.touched.list) if (ino !== 0) changes.node(ino)
  }

  #firstTouched(): NodeRecord | undefined {
    return this.#pass.touched.list[0]
  }

  // ---- inodes ----

  /** Somebody else's content: an inode that is open here keeps what it had, without the name. */
  #replaceContent(
    record: NodeRecord, was: { ino: number; winner: ContentHead | undefined },
  ): void {
    const { winner } = record
    if (record.ino === 0 || record.ino !== was.ino || winner === was.winner) return
    if (winner !== undefined && was.winner !== undefined && sameContent(winner, was.winner)) return
    const { context, facts, before } = this.#pass
    const { ino } = record
    if (!facts.detach(() => context.isOpen(ino))) {
      context.changes.content(ino)
      return
    }
    const parent = record.links.find((link) => link.shown)?.shownParent ?? ROOT_INO
    const kept = before.get(ino)
    if (kept !== undefined) context.changes.detached(ino, kept, parent)
    const isFree = (one: number): boolean => this.#store.node(one) === undefined
    this.#renumber(record, facts.ino(this.#store.meta, isFree))
    const shown = { ino, generation: record.generation, kind: record.kind }
    for (const link of record.links) {
      if (link.shown) context.changes.entry(link.shownParent, link.shownName, shown)
    }
  }

  /** The node's names get another ino; the old one names nothing any more. */
  #renumber(record: NodeRecord, ino: number): void {
    const store = this.#store
    store.dropIno(record.ino)
    record.ino = ino
    record.stored = 0
    store.show(record)
    const { kind } = record
    for (const { shown, shownParent: parent, cookie, shownName: name } of record.links) {
      if (shown) store.putEntry({ parent, cookie, name, ino, kind }, false)
    }
  }

  /** Rename over: the last op removes the source, the last put brings its content to the target. */
  #followed(ops: readonly Op[]): Followed | undefined {
    const remove = ops.findLast((op) => op.kind === 'rm')
    const put = ops.findLast((op) => op.kind === 'put')
    if (remove?.kind !== 'rm' || put?.kind !== 'put') return undefined
    const source = this.#pass.findLink(remove.link)
    return source === undefined ? undefined : { target: put.node, source, ino: source.ino }
  }

  /** The target takes the ino under which the kernel knows what is now its content. */
  #follow({ target, source, ino }: Followed): void {
    const found = this.#pass.find(target)
    const link = found?.onlyLink
    if (found === undefined || link === undefined || found.ino === 0 || ino === 0) return
    if (this.#store.node(ino) !== undefined) return // it has another name
    const record = this.#store.edit(found)
    record.generation = source.generation
    record.atimeSec = source.atimeSec
    record.atimeNsec = source.atimeNsec
    this.#renumber(record, ino)
    const directory = must(this.#store.node(link.shownParent), 'an entry without its directory')
    this.#pass.changeTimes(this.#store.edit(directory))
  }

  #setTimes(facts: Facts): void {
    const [ino = 0, atimeSec, atimeNsec] = facts.values
    const found = this.#store.node(ino)
    if (found === undefined) return
    const record = this.#store.edit(found)
    record.ctimeSec = facts.sec
    record.ctimeNsec = facts.nsec
    if (atimeSec === undefined || atimeNsec === undefined) return
    record.atimeSec = atimeSec
    record.atimeNsec = atimeNsec
  }
}

interface Followed {
  target: NodeId
  source: NodeRecord
  ino: number
}

function setFirstAtime(record: NodeRecord, facts: Facts): void {
  const { sec, nsec } = facts.atime()
  record.atimeSec = sec
  record.atimeNsec = nsec
}

type TreeOp = Op & { kind: 'mk' | 'link' | 'mv' | 'rm' | 'put' | 'attr' | 'tag' }

function isOfTree(op: Op): op is TreeOp {
  switch (op.kind) {
    case 'mk':
    case 'link':
    case 'mv':
    case 'rm':
    case 'put':
    case 'attr':
    case 'tag':
      return true
    default:
      return false // control, bundle, note, ack, unknown
  }
}

/** The root of an empty vault: it is there before any op. */
export function makeRoot(store: Store, node: NodeId): void {
  const root = new NodeRecord(ROOT_INO, node, KIND_DIRECTORY)
  root.mode = ROOT_MODE
  store.show(root)
  store.meta.directories = 1
}
