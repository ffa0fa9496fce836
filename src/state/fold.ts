// The fold: what ops do to the records, and what the view shows then. Pure: no time, no randomness,
// no disk; what a device decides for itself comes in as Facts. The order of concurrent ops does not
// matter for positions, contents, attributes, tags and liveness; ops come after what they depend
// on.
//
//   position   of a link: the greatest mk, link or mv. `heads` = position ops nobody has superseded
//              or seen while removing: a link is kept while it has one
//   content    multi-value register over base; the greatest head wins
//   attributes last writer wins, each on its own; `touches` = those no rm has seen
//   kept       a node without a kept link, but with content heads or touches that no rm has seen,
//              keeps the link that was removed last
//
// One user operation is applied as a whole: first the records, then entries that went, then entries
// that came: so two names may swap. A node that the view cannot show (removed, or its name is
// taken) is *hidden*: kept whole under its id. A removed directory with something in it is shown.
// To come: unions and conflict names for the latter, undo of directory moves, cut authors.

import { kindOfId } from '../ops/ids.ts'
import { compareRefs } from '../ops/order.ts'
import type { LinkId, Name, NodeId, Op, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import { assert, must } from '../util/assert.ts'
import { applyAttr, applyPut, applyTag, sameRefs, withoutRefs } from './registers.ts'
import { FACTS_FOLLOW, FACTS_NAMED, FACTS_TIMES } from './facts.ts'
import type { Facts } from './facts.ts'
import type { LinkRecord } from './records.ts'
import { NodeRecord, ROOT_INO } from './records.ts'
import type { Store } from './store.ts'

/** Why an op does nothing. */
export type VoidReason =
  | 'duplicate-id'
  | 'bad-name'
  | 'bad-kind'
  | 'unknown-node'
  | 'unknown-link'
  | 'cycle'
  | 'root'

/** Why a node that is kept is not in the view (for the next rules, and tests). */
export type HiddenReason = 'no-directory' | 'name-taken'

export class Fold {
  readonly #store: Store
  readonly #touched: NodeRecord[] = []
  /** What the last apply() found void or could not show. */
  readonly voids: VoidReason[] = []
  readonly unshown: HiddenReason[] = []

  /** The root's times are those of the first operation in the vault. */
  #rootUntimed: boolean

  constructor(store: Store) {
    this.#store = store
    this.#rootUntimed = store.node(ROOT_INO)?.ctimeSec === 0
  }

  /** Applies one user operation whole; refs[i] names ops[i]. */
  apply(ops: readonly Op[], refs: readonly OpRef[], facts: Facts): void {
    this.#begin(facts)
    let followed: NodeRecord | undefined
    let target: NodeId | undefined
    if (facts.kind === FACTS_FOLLOW) {
      const first = must(ops[0], 'follow: no op')
      const last = must(ops[ops.length - 1], 'follow: no op')
      assert(first.kind === 'put' && last.kind === 'rm', 'follow: put first, rm last')
      target = first.node
      followed = this.#findLink(last.link)
    }
    const followedIno = followed === undefined ? 0 : followed.ino
    for (let i = 0; i < ops.length; i++) {
      this.#applyOp(ops[i] as Op, refs[i] as OpRef, facts)
    }
    this.#settle(facts)
    if (target !== undefined && followed !== undefined) {
      this.#follow(target, followedIno, followed, facts)
    }
    if (facts.kind === FACTS_TIMES) this.#setTimes(facts)
    else if (facts.kind === FACTS_NAMED) this.#setFirstAtime(facts)
    this.#store.meta.voids += this.voids.length
  }

  #begin(facts: Facts): void {
    if (this.#rootUntimed) {
      const root = this.#store.edit(must(this.#store.node(ROOT_INO), 'a state without a root'))
      root.atimeSec = facts.sec
      root.atimeNsec = facts.nsec
      changeTimes(root, facts)
      this.#rootUntimed = false
    }
    this.#touched.length = 0
    this.voids.length = 0
    this.unshown.length = 0
  }

  #applyOp(op: Op, ref: OpRef, facts: Facts): void {
    switch (op.kind) {
      case 'mk':
        return this.#make(op, ref, facts)
      case 'link':
        return this.#link(op, ref, facts)
      case 'mv':
        return this.#move(op, ref, facts)
      case 'rm':
        return this.#remove(op, ref, facts)
      case 'put': {
        const record = this.#toChange(op.node, facts)
        if (record === undefined) return
        if (record.kind !== KIND_FILE) return this.#void('bad-kind')
        const before = record.sizeBytes
        applyPut(record, op, ref)
        if (record.ino !== 0) this.#store.meta.contentBytes += record.sizeBytes - before
        return
      }
      case 'attr': {
        const record = this.#toChange(op.node, facts)
        if (record !== undefined) applyAttr(record, op.change, ref, op.prev)
        return
      }
      case 'tag': {
        const record = this.#toChange(op.node, facts)
        if (record !== undefined) applyTag(record, op, ref)
        return
      }
      default:
        return // control, bundle, note, ack, unknown: not the tree's
    }
  }

  #make(op: Op & { kind: 'mk' }, ref: OpRef, facts: Facts): void {
    if (kindOfId(op.node) !== op.nodeKind) return this.#void('bad-kind')
    if (!isName(op.name)) return this.#void('bad-name')
    // an op of this moment has an id that was just minted
    if (ref.seq >= 0 && this.#find(op.node) !== undefined) return this.#void('duplicate-id')
    const record = new NodeRecord(0, op.node, op.nodeKind)
    record.epoch = -1 // in no table yet
    record.atimeSec = record.mtimeSec = record.ctimeSec = facts.sec
    record.atimeNsec = record.mtimeNsec = record.ctimeNsec = facts.nsec
    for (const change of op.attrs) applyAttr(record, change, ref, undefined)
    record.links = [firstPosition(op.node as string as LinkId, op.parent, op.name, ref)]
    this.#touched.push(record)
  }

  #link(op: Op & { kind: 'link' }, ref: OpRef, facts: Facts): void {
    if (!isName(op.name)) return this.#void('bad-name')
    if (kindOfId(op.node) === KIND_DIRECTORY) return this.#void('bad-kind')
    if (this.#findLink(op.link) !== undefined) return this.#void('duplicate-id')
    const record = this.#toChange(op.node, facts)
    if (record === undefined) return
    record.links = [...record.links, firstPosition(op.link, op.parent, op.name, ref)]
    this.#store.setLink(op.link, op.node)
  }

  #move(op: Op & { kind: 'mv' }, ref: OpRef, facts: Facts): void {
    if (!isName(op.name)) return this.#void('bad-name')
    const record = this.#ofLink(op.link, facts)
    if (record === undefined) return
    if (record.kind === KIND_DIRECTORY && this.#isWithin(op.parent, record.node)) {
      return this.#void('cycle')
    }
    const at = indexOfLink(record, op.link)
    let link = record.links[at] as LinkRecord
    const heads = [...withoutRefs(link.heads, op.prev), ref]
    if (compareRefs(ref, link.pos) < 0) {
      this.#setLinkRecord(record, at, { ...link, heads })
      return
    }
    if (link.shown) this.#takeDown(record, at, facts)
    link = record.links[at] as LinkRecord
    this.#setLinkRecord(record, at, {
      ...link, parent: op.parent, name: op.name, shownName: op.name, pos: ref, heads,
    })
  }

  #remove(op: Op & { kind: 'rm' }, ref: OpRef, facts: Facts): void {
    const record = this.#ofLink(op.link, facts)
    if (record === undefined) return
    const at = indexOfLink(record, op.link)
    const link = record.links[at] as LinkRecord
    const rm = link.rm === undefined || compareRefs(ref, link.rm) > 0 ? ref : link.rm
    const heads = withoutRefs(link.heads, op.prev)
    this.#setLinkRecord(record, at, { ...link, heads, rm })
    record.touches = withoutRefs(record.touches, op.prev)
    for (const head of record.heads) {
      if (head.covered || !sameRefs(op.contentHeads, head.ref)) continue
      record.heads = record.heads.map((one) => one === head ? { ...one, covered: true } : one)
    }
  }

  // ---- the view ----

  /** Makes entries of what the records say, for everything that was touched. */
  #settle(facts: Facts): void {
    // both loops reach what they add: directories that are left by their last entry
    const touched = this.#touched
    for (let t = 0; t < touched.length; t++) {
      const record = touched[t] as NodeRecord
      for (let i = 0; i < record.links.length; i++) {
        const link = record.links[i] as LinkRecord
        if (link.shown && !isWanted(record, i)) this.#takeDown(record, i, facts)
      }
    }
    for (let t = 0; t < touched.length; t++) this.#putUp(touched[t] as NodeRecord, facts)
  }

  #putUp(record: NodeRecord, facts: Facts): void {
    if (record.ino === ROOT_INO) return
    const wasShown = record.ino !== 0
    let shown = 0
    for (let i = 0; i < record.links.length; i++) {
      const link = record.links[i] as LinkRecord
      if (link.shown || (isWanted(record, i) && this.#show(record, i, facts))) shown++
      else if (link.cookie !== 0) {
        this.#setLinkRecord(record, i, { ...link, shownParent: 0, cookie: 0 })
      }
    }
    if (shown > 0) return
    if (wasShown) this.#count(record, -1)
    if (record.epoch === -1 || wasShown) this.#store.hide(record)
  }

  /** Gives the link its entry. False when it has no place: no directory, or the name is taken. */
  #show(record: NodeRecord, at: number, facts: Facts): boolean {
    const store = this.#store
    const link = record.links[at] as LinkRecord
    const found = this.#shownDirectory(link.parent, facts)
    if (found === undefined) {
      this.unshown.push('no-directory')
      return false
    }
    if (store.entry(found.ino, link.name) !== undefined) {
      this.unshown.push('name-taken')
      return false
    }
    const parent = store.edit(found)
    if (record.ino === 0) {
      record.ino = facts.ino(store.meta)
      store.show(record)
      this.#count(record, 1)
    }
    const keeps = link.cookie !== 0 && link.shownParent === parent.ino
    const cookie = keeps ? link.cookie : facts.cookie(parent)
    this.#setLinkRecord(record, at, { ...link, shown: true, shownParent: parent.ino, cookie })
    store.putEntry(
      { parent: parent.ino, cookie, name: link.name, ino: record.ino, kind: record.kind },
      !keeps,
    )
    parent.entryCount++
    if (record.kind === KIND_DIRECTORY) parent.subdirCount++
    changeTimes(parent, facts)
    return true
  }

  /** The directory, in the view: a removed one comes back for what is to be shown in it. */
  #shownDirectory(node: NodeId, facts: Facts): NodeRecord | undefined {
    const found = this.#find(node)
    if (found === undefined || found.kind !== KIND_DIRECTORY) return undefined
    if (found.ino !== 0) return found
    const record = this.#toChange(node, facts)
    return record !== undefined && this.#show(record, 0, facts) ? record : undefined
  }

  /** Takes the entry away; shownParent and cookie stay for a new one in the same operation. */
  #takeDown(record: NodeRecord, at: number, facts: Facts): void {
    const store = this.#store
    const link = record.links[at] as LinkRecord
    const parent = store.edit(must(store.node(link.shownParent), 'an entry without its directory'))
    store.removeEntry({
      parent: parent.ino, cookie: link.cookie, name: link.name, ino: record.ino, kind: record.kind,
    })
    parent.entryCount--
    if (record.kind === KIND_DIRECTORY) parent.subdirCount--
    assert(parent.entryCount >= 0 && parent.subdirCount >= 0, 'a directory has lost count')
    changeTimes(parent, facts)
    this.#setLinkRecord(record, at, { ...link, shown: false })
    // the last thing that kept a removed directory in the view
    if (parent.entryCount === 0 && parent.links[0]?.heads.length === 0) {
      if (!this.#touched.includes(parent)) this.#touched.push(parent)
    }
  }

  /** Rename over: the target takes the ino under which the kernel knows what is now its content. */
  #follow(target: NodeId, ino: number, source: NodeRecord, facts: Facts): void {
    const store = this.#store
    const found = this.#find(target)
    const link = found?.onlyLink
    if (found === undefined || link === undefined || found.ino === 0 || ino === 0) return
    const record = store.edit(found)
    store.dropIno(record.ino)
    record.ino = ino
    record.generation = source.generation
    record.atimeSec = source.atimeSec
    record.atimeNsec = source.atimeNsec
    record.stored = 0
    store.show(record)
    const parent = store.edit(must(store.node(link.shownParent), 'an entry without its directory'))
    changeTimes(parent, facts)
    store.putEntry(
      { parent: parent.ino, cookie: link.cookie, name: link.name, ino, kind: record.kind }, false,
    )
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

  #setFirstAtime(facts: Facts): void {
    const { sec, nsec } = facts.atime()
    const record = this.#touched[0]
    if (record === undefined) return
    record.atimeSec = sec
    record.atimeNsec = nsec
  }

  #count(record: NodeRecord, by: 1 | -1): void {
    const meta = this.#store.meta
    if (record.kind === KIND_DIRECTORY) meta.directories += by
    else meta.files += by
    meta.contentBytes += by * (record.kind === KIND_FILE ? record.sizeBytes : 0)
  }

  // ---- finding ----

  #find(node: NodeId): NodeRecord | undefined {
    for (const record of this.#touched) if (record.node === node) return record
    const ino = this.#store.inoOf(node)
    return ino === undefined ? this.#store.hidden(node) : this.#store.node(ino)
  }

  #findLink(link: LinkId): NodeRecord | undefined {
    return this.#find(this.#store.nodeOfLink(link) ?? (link as string as NodeId))
  }

  /** The node's record, to be changed; its ctime moves. */
  #toChange(node: NodeId, facts: Facts): NodeRecord | undefined {
    const found = this.#find(node)
    if (found === undefined) {
      this.#void('unknown-node')
      return undefined
    }
    let record = found
    if (!this.#touched.includes(found)) {
      record = this.#store.edit(found)
      this.#touched.push(record)
    }
    record.ctimeSec = facts.sec
    record.ctimeNsec = facts.nsec
    return record
  }

  #ofLink(link: LinkId, facts: Facts): NodeRecord | undefined {
    const found = this.#findLink(link)
    if (found === undefined || indexOfLink(found, link) < 0) {
      this.#void(found?.ino === ROOT_INO ? 'root' : 'unknown-link')
      return undefined
    }
    return this.#toChange(found.node, facts)
  }

  /** Whether directory `inner` is `outer` or below it, by the positions that win now. */
  #isWithin(inner: NodeId, outer: NodeId): boolean {
    let node: NodeId | undefined = inner
    while (node !== undefined) {
      if (node === outer) return true
      node = this.#find(node)?.links[0]?.parent
    }
    return false
  }

  #setLinkRecord(record: NodeRecord, at: number, link: LinkRecord): void {
    if (record.links.length === 1) record.links = [link]
    else record.links = record.links.map((one, i) => i === at ? link : one)
  }

  #void(reason: VoidReason): void {
    this.voids.push(reason)
  }
}

export function isName(name: string): name is Name {
  if (name.length === 0 || name.length > 255 || name === '.' || name === '..') return false
  return !name.includes('/') && !name.includes('\0')
}

/** Whether the view should show this link: it is kept, or keeps something that is. */
function isWanted(record: NodeRecord, at: number): boolean {
  const link = record.links[at] as LinkRecord
  return link.heads.length > 0 || record.entryCount > 0 || at === revivedLink(record)
}

/** Index of the link that keeps a node which has no kept link, or -1. */
function revivedLink(record: NodeRecord): number {
  let last = -1
  let lastRm: OpRef | undefined
  for (let i = 0; i < record.links.length; i++) {
    const link = record.links[i] as LinkRecord
    if (link.heads.length > 0) return -1
    if (link.rm === undefined) continue
    if (lastRm !== undefined && compareRefs(link.rm, lastRm) < 0) continue
    last = i
    lastRm = link.rm
  }
  if (record.touches.length > 0) return last
  for (const head of record.heads) if (!head.covered) return last
  return -1
}

function firstPosition(link: LinkId, parent: NodeId, name: Name, ref: OpRef): LinkRecord {
  return {
    link, parent, name, pos: ref, births: [ref], heads: [ref], rm: undefined, skipped: false,
    wanted: false, shown: false, shownParent: 0, cookie: 0, shownName: name,
  }
}

export function indexOfLink(record: NodeRecord, link: LinkId): number {
  for (let i = 0; i < record.links.length; i++) if (record.links[i]?.link === link) return i
  return -1
}

function changeTimes(directory: NodeRecord, facts: Facts): void {
  directory.mtimeSec = directory.ctimeSec = facts.sec
  directory.mtimeNsec = directory.ctimeNsec = facts.nsec
}

/** The root of an empty vault: it is there before any op. */
export function makeRoot(store: Store, node: NodeId): void {
  const root = new NodeRecord(ROOT_INO, node, KIND_DIRECTORY)
  root.mode = 0o700
  store.show(root)
  store.meta.directories = 1
}

