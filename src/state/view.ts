// The materialised view: which links are wanted, and what each name of each directory shows. Kept
// up to date as records change: takedowns at once, and at the end of a pass, in this order: what is
// wanted; unions that fall apart; claims that are new, with unions that form; names; entries.
//
//   wanted    a link that is kept or revived, or of a directory with something wanted in it
//   claim     a wanted link, counted by its parent (claimCount) and in the group of its name
//   ordinary  one claim, one entry, nothing else of that name: needs neither group nor union, and
//             costs what an entry costs
//
// Each displayed entry belongs to a link whose claim is in place: a link that moves or goes loses
// claim and entry in one step, before its record says otherwise. So what a name shows tells which
// group it belongs to. fold.ts calls this, nobody else.

import { compareRefs } from '../ops/order.ts'
import type { LinkId, NodeId, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { linkOf } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import type { LinkRecord, NodeRecord } from './records.ts'
import { NOWHERE } from './records.ts'
import { ViewEntries } from './view-entries.ts'
import { ViewGroups } from './view-groups.ts'
import { ViewUnions } from './view-unions.ts'

interface Pending {
  record: NodeRecord
  at: number
}

export class View {
  readonly entries: ViewEntries
  readonly #pass: FoldPass
  readonly #groups: ViewGroups
  readonly #unions: ViewUnions
  /** Wanted links that are in no group yet. */
  readonly #pending = new Map<LinkId, Pending>()
  /** Directories whose last claim went, or first one came. */
  readonly #unsure: NodeRecord[] = []

  constructor(pass: FoldPass) {
    this.#pass = pass
    this.entries = new ViewEntries(pass)
    this.#groups = new ViewGroups(pass, this.entries)
    this.#unions = new ViewUnions(pass, this.entries, this.#groups, (record, at) => {
      this.#pending.set(linkOf(record, at).link, { record, at })
    })
  }

  begin(): void {
    this.entries.begin(this.#pass.isRemote)
    this.#groups.begin()
    this.#unions.begin()
    if (this.#pending.size > 0) this.#pending.clear()
    this.#unsure.length = 0
  }

  /** Before the link says that it is elsewhere: its claim goes. */
  leave(record: NodeRecord, at: number): void {
    if (linkOf(record, at).wanted) this.#unclaim(record, at)
  }

  /** A shown variant, about to become a file of its own: its entry goes. */
  leaveVariant(found: NodeRecord): NodeRecord {
    const { shownParent, name } = linkOf(found, 0)
    this.#groups.load(shownParent, name)
    const record = this.#pass.edit(found)
    this.entries.takeDown(record, 0)
    return record
  }

  /** What a node shows besides its name may have changed, or how it compares with others. */
  reload(record: NodeRecord): void {
    for (const link of record.links) {
      if (!link.wanted) continue
      const { ino } = this.#pass.body(this.#pass.get(link.parent))
      if (ino !== 0) this.#groups.load(ino, link.name)
    }
  }

  /** All groups, once more: from `dir`, `name` on. */
  renew(dir: number, name: LinkRecord['name']): void {
    this.#groups.load(dir, name)
  }

  /** Brings the view to what the records say. */
  settle(): void {
    for (const record of this.#pass.touched.list) this.#decide(record)
    for (let next = this.#unsure.pop(); next !== undefined; next = this.#unsure.pop()) {
      this.#decide(next)
    }
    this.#unions.split()
    for (const [link, { record, at }] of this.#pending) {
      this.#pending.delete(link)
      this.#place(record, at)
    }
    for (const record of this.#pass.touched.list) {
      if (record.heads.length < 2 && !record.grouped) continue
      if (record.kind !== KIND_DIRECTORY) this.reload(record)
    }
    if (!this.#groups.isIdle) {
      this.entries.isLoud = true
      this.#groups.settle()
    }
    this.entries.finish()
  }

  // ---- which links are wanted ----

  #decide(record: NodeRecord): void {
    const { revive, reviveLatest, deadDirectoriesShow } = this.#pass.rules
    const revived = revive ? revivedLink(record, reviveLatest) : undefined
    const holds = record.kind === KIND_DIRECTORY && record.claimCount > 0 && deadDirectoriesShow
    for (let at = 0; at < record.links.length; at++) {
      const { parent, heads, wanted } = linkOf(record, at)
      const isWanted = parent !== NOWHERE && (heads.length > 0 || at === revived || holds)
      if (isWanted === wanted) continue
      if (isWanted) this.#claim(record, at)
      else this.#unclaim(record, at)
    }
    if (record.ino !== 0 && !holds) this.entries.watch(record)
  }

  #claim(record: NodeRecord, at: number): void {
    const link = linkOf(record, at)
    const parent = this.#pass.edit(this.#pass.get(link.parent))
    this.#pass.setLink(record, at, { ...link, wanted: true })
    this.#pending.set(link.link, { record, at })
    if (++parent.claimCount === 1) this.#noteUnsure(parent)
  }

  #unclaim(found: NodeRecord, at: number): void {
    const record = this.#pass.edit(found)
    const link = linkOf(record, at)
    const parent = this.#pass.edit(this.#parentOf(link))
    assert(parent.claimCount > 0, 'a directory has lost count of its claims')
    if (--parent.claimCount === 0) this.#noteUnsure(parent)
    const isPending = this.#pending.delete(link.link)
    if (!isPending) this.#displace(record, at, parent)
    this.#pass.setLink(record, at, { ...linkOf(record, at), wanted: false })
  }

  #noteUnsure(directory: NodeRecord): void {
    const [link] = directory.links
    if (link !== undefined && link.heads.length === 0) this.#unsure.push(directory)
  }

  /** By the ino where it is shown, if that is this directory: that costs less. */
  #parentOf(link: LinkRecord): NodeRecord {
    const shown = link.shown ? this.#pass.store.node(link.shownParent) : undefined
    return shown?.node === link.parent ? shown : this.#pass.get(link.parent)
  }

  /** Takes the link out of its group, and its entry down. */
  #displace(record: NodeRecord, at: number, parent: NodeRecord): void {
    const link = linkOf(record, at)
    const body = this.#pass.body(parent)
    const isMember = record.kind === KIND_DIRECTORY && ViewUnions.isMember(record)
    const isOrdinary = !record.grouped && body.skipCount === 0 && !isMember
      && (this.#groups.isIdle || !this.#groups.isLoaded(body.ino, link.name))
    if (!isOrdinary) {
      this.#groups.removeClaim(this.#groups.load(body.ino, link.name), link.link)
      if (isMember) this.#unions.noteLeft(record)
    }
    if (link.shown) this.entries.takeDown(record, at)
  }

  // ---- placing claims ----

  #place(record: NodeRecord, at: number): void {
    const link = linkOf(record, at)
    const body = this.#pass.edit(this.#pass.body(this.#pass.get(link.parent)))
    if (body.ino === 0) this.entries.giveIno(body)
    const isMember = record.kind === KIND_DIRECTORY && ViewUnions.isMember(record)
    const isOrdinary = body.skipCount === 0 && record.heads.length < 2 && !isMember
      && (this.#groups.isIdle || !this.#groups.isLoaded(body.ino, link.name))
      && this.#pass.store.entry(body.ino, link.name) === undefined
    if (isOrdinary) {
      this.entries.putUp(record, at, body, link.name)
      return
    }
    const work = this.#groups.load(body.ino, link.name)
    this.#groups.addClaim(work, record, link.link)
    if (record.kind !== KIND_DIRECTORY || !this.#pass.rules.mergeDirectories) return
    const other = work.claims.find(({ node }) => isOtherDirectory(node, record))
    if (other !== undefined) this.#unions.meet(this.#pass.get(other.node), record)
  }
}

function isOtherDirectory(node: NodeId, record: NodeRecord): boolean {
  return node.charCodeAt(0) === KIND_DIRECTORY && node !== record.node
}

/** Index of the link that keeps a node which has no kept link, or -1. */
function revivedLink(record: NodeRecord, isLatest: boolean): number {
  for (const link of record.links) if (link.heads.length > 0) return -1
  if (record.touches.length === 0 && record.heads.every((head) => head.covered)) return -1
  let last = -1
  let lastRm: OpRef | undefined
  for (let at = 0; at < record.links.length; at++) {
    const { rm, parent } = linkOf(record, at)
    if (rm === undefined || parent === NOWHERE) continue
    if (lastRm !== undefined && (compareRefs(rm, lastRm) < 0) === isLatest) continue
    last = at
    lastRm = rm
  }
  return last >= 0 ? last : lastPosition(record)
}

function lastPosition(record: NodeRecord): number {
  let last = -1
  for (let at = 0; at < record.links.length; at++) {
    const { pos, parent } = linkOf(record, at)
    if (parent === NOWHERE) continue
    if (last < 0 || compareRefs(pos, linkOf(record, last).pos) > 0) last = at
  }
  return last
}
