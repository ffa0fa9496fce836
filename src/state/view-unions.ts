// ViewUnions: directories that share a name are one. The member with the smallest id represents
// them: its record is shown, the others are hidden and say mergedInto. All children are grouped in
// one *body*: the ino with its entries, groups and cookies. A body may pass from one record to
// another: the larger one always stays where it is, so that the kernel keeps its ino and merging or
// splitting costs the smaller side's entries (finding a side's entries reads the whole body).
//
// Claims that lose their body here are handed to `readd`, and are placed again like new ones: that
// is how unions inside of unions merge and split.

import type { Name, NodeId } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { indexOfLink, indexOfShown, linkOf } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import { FIRST_COOKIE, NO_NODES, STORED_HIDDEN } from './records.ts'
import type { NodeRecord } from './records.ts'
import type { ViewEntries } from './view-entries.ts'
import type { ViewGroups } from './view-groups.ts'
import { smallestNode } from './view-items.ts'

const PAGE_ENTRIES = 256

/** A claim of a link that has lost its place. */
export type Readd = (record: NodeRecord, at: number) => void

export class ViewUnions {
  readonly #pass: FoldPass
  readonly #entries: ViewEntries
  readonly #groups: ViewGroups
  readonly #readd: Readd
  /** Members whose claim has left the group of their union. */
  readonly #left = new Set<NodeId>()

  constructor(pass: FoldPass, entries: ViewEntries, groups: ViewGroups, readd: Readd) {
    this.#pass = pass
    this.#entries = entries
    this.#groups = groups
    this.#readd = readd
  }

  begin(): void {
    if (this.#left.size > 0) this.#left.clear()
  }

  static isMember(directory: NodeRecord): boolean {
    return directory.mergedInto !== '' || directory.members.length > 0
  }

  noteLeft(directory: NodeRecord): void {
    this.#left.add(directory.node)
  }

  /** Takes those that have left out of their unions. */
  split(): void {
    for (const node of this.#left) {
      const directory = this.#pass.get(node)
      if (!ViewUnions.isMember(directory)) continue
      const union = this.#pass.body(directory)
      if (!this.#movesWhole(union)) this.#separate(union, node)
    }
    if (this.#left.size > 0) this.#left.clear()
  }

  /** Two directories have come to one name: they are one. */
  meet(one: NodeRecord, two: NodeRecord): void {
    const first = this.#pass.body(one)
    const second = this.#pass.body(two)
    if (first === second) return
    const isFirst = first.entryCount !== second.entryCount
      ? first.entryCount > second.entryCount : first.ino !== 0
    const larger = this.#pass.edit(isFirst ? first : second)
    const smaller = this.#pass.edit(isFirst ? second : first)
    const claims = smaller.ino === 0 ? [] : this.#groups.dissolve(smaller.ino)
    if (smaller.ino !== 0) this.#leaveBody(smaller)
    const members = [...membersOf(larger), ...membersOf(smaller)].sort()
    const node = this.#representative(members)
    if (smaller.node === node && larger.ino !== 0) this.#passBody(larger, smaller)
    this.#unite(members)
    for (const { link, node } of claims) {
      const record = this.#pass.edit(this.#pass.get(node))
      this.#readd(record, indexOfLink(record, link))
    }
  }

  // ---- inside ----

  /** All members have left for the same place: the union goes there as it is. */
  #movesWhole({ members }: NodeRecord): boolean {
    let parent: NodeId | undefined
    let name: Name | undefined
    for (const node of members) {
      if (!this.#left.has(node)) return false
      const link = linkOf(this.#pass.get(node), 0)
      if (!link.wanted) return false
      parent ??= link.parent
      name ??= link.name
      if (link.parent !== parent || link.name !== name) return false
    }
    return true
  }

  /** One member leaves. The side with fewer claims leaves the body. */
  #separate(union: NodeRecord, leaver: NodeId): void {
    const others = union.members.filter((node) => node !== leaver)
    const claims = this.#pass.get(leaver).claimCount
    let otherClaims = 0
    for (const node of others) otherClaims += this.#pass.get(node).claimCount
    const leaverStays = claims > otherClaims
    const staying = leaverStays ? [leaver] : others
    const going = leaverStays ? others : [leaver]
    const stays = this.#pass.get(this.#representative(staying))
    const dir = union.ino
    if (stays.node !== union.node && dir !== 0) {
      this.#passBody(this.#pass.edit(union), this.#pass.edit(stays))
    }
    this.#entries.watch(this.#pass.edit(stays))
    this.#unite(staying)
    this.#unite(going)
    if (dir !== 0 && Math.min(claims, otherClaims) > 0) this.#takeOut(dir, new Set(going))
  }

  /** Takes the claims whose position is in one of the directories out of the body. */
  #takeOut(dir: number, going: ReadonlySet<NodeId>): void {
    const { store } = this.#pass
    for (const name of this.#groups.loaded(dir).keys()) this.#takeOutOf(dir, name, going)
    const seen = new Set(this.#groups.loaded(dir).keys())
    for (let after = 0; ;) {
      const page = store.entries(dir, after, PAGE_ENTRIES, true)
      for (const entry of page) {
        after = entry.cookie
        if (seen.has(entry.name)) continue
        const record = this.#pass.atIno(entry.ino)
        const at = indexOfShown(record, dir, entry.name)
        // not the first of its group, which may have been taken out already
        const link = at < 0 ? undefined : linkOf(record, at)
        if (link === undefined || link.name !== entry.name) continue
        if (record.grouped || going.has(link.parent)) this.#takeOutOf(dir, entry.name, going)
      }
      if (page.length < PAGE_ENTRIES) return
    }
  }

  #takeOutOf(dir: number, name: Name, going: ReadonlySet<NodeId>): void {
    const work = this.#groups.load(dir, name)
    for (const { link, node } of work.claims) {
      const record = this.#pass.get(node)
      const at = indexOfLink(record, link)
      if (!going.has(linkOf(record, at).parent)) continue
      const changed = this.#pass.edit(record)
      this.#groups.removeClaim(work, link)
      if (linkOf(changed, at).shown) this.#entries.takeDown(changed, at)
      if (record.kind === KIND_DIRECTORY && ViewUnions.isMember(record)) this.noteLeft(record)
      this.#readd(changed, at)
    }
  }

  /** These are one union now, or none if there is but one. Bodies are where they belong. */
  #unite(members: readonly NodeId[]): void {
    const node = this.#representative(members)
    for (const member of members) {
      const record = this.#pass.edit(this.#pass.get(member))
      record.mergedInto = member === node ? '' : node
      record.members = member === node && members.length > 1 ? members : NO_NODES
    }
  }

  #representative(members: readonly NodeId[]): NodeId {
    if (this.#pass.rules.smallestRepresents) return smallestNode(members)
    return members.reduce((a, b) => (a > b ? a : b))
  }

  /** The ino with everything in it becomes `to`'s, which has none. */
  #passBody(from: NodeRecord, to: NodeRecord): void {
    const { store } = this.#pass
    // their entries name an ino that is another node's now
    for (const record of [from, to]) if (linkOf(record, 0).shown) this.#entries.takeDown(record, 0)
    const { ino, stored, storedParent, storedCookie } = from
    store.hide(from)
    to.ino = ino
    to.generation = from.generation
    to.atimeSec = from.atimeSec
    to.atimeNsec = from.atimeNsec
    to.mtimeSec = from.mtimeSec
    to.mtimeNsec = from.mtimeNsec
    to.ctimeSec = from.ctimeSec
    to.ctimeNsec = from.ctimeNsec
    to.entryCount = from.entryCount
    to.subdirCount = from.subdirCount
    to.nextCookie = from.nextCookie
    to.skipCount = from.skipCount
    to.namesHash = from.namesHash
    store.show(to)
    to.stored = stored === STORED_HIDDEN ? to.stored : stored
    to.storedParent = storedParent
    to.storedCookie = storedCookie
    empty(from)
    if (this.#entries.isLoud) this.#pass.context.changes.node(ino)
  }

  /** The directory has no entries any more, and its ino goes. */
  #leaveBody(directory: NodeRecord): void {
    if (linkOf(directory, 0).shown) this.#entries.takeDown(directory, 0)
    this.#entries.vacate(directory)
    this.#entries.count(directory, -1)
    this.#pass.store.hide(directory)
    empty(directory)
  }
}

function membersOf(directory: NodeRecord): readonly NodeId[] {
  return directory.members.length > 0 ? directory.members : [directory.node]
}

/** A directory without a body. */
function empty(directory: NodeRecord): void {
  directory.entryCount = 0
  directory.subdirCount = 0
  directory.skipCount = 0
  directory.nextCookie = FIRST_COOKIE
  directory.namesHash = ''
}
