// ViewGroups: what each (directory, name) shows: one group of claims, its items, and the names
// under which those that cannot have their own are shown. A group that is one ordinary entry has no
// record and never comes here, unless its name meets another's.
//
// Within one pass a group that changes is loaded, its claims are changed, and at the end all loaded
// groups of a directory are named (view-naming.ts). Whoever passed a name over is registered
// (Store.skips), and named again when the name is free.
// Work: the groups that changed, their items, and whom they wake.

import type { LinkId, Name, NodeId } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { indexOfLink, indexOfShown, linkOf, shownAt } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import type { Entry, GroupClaim, GroupRecord, GroupShown, NodeRecord } from './records.ts'
import { NO_NAMES } from './records.ts'
import type { Store } from './store.ts'
import type { ViewEntries } from './view-entries.ts'
import { Naming } from './view-naming.ts'
import type { LoadedGroups, Work } from './view-naming.ts'
import { refreshVariant, variantRecord } from './view-variants.ts'

const NO_GROUPS: ReadonlyMap<Name, Work> = new Map()
const NO_CLAIMS: readonly GroupClaim[] = []
const NOBODY: ReadonlySet<NodeId> = new Set()

export class ViewGroups implements LoadedGroups {
  /** Names of groups as they are loaded. */
  readonly recent: Name[] = []
  readonly #pass: FoldPass
  readonly #entries: ViewEntries
  readonly #work = new Map<number, Map<Name, Work>>()
  /** Nodes that may stand in no group any more. */
  readonly #ungrouped = new Set<NodeId>()

  constructor(pass: FoldPass, entries: ViewEntries) {
    this.#pass = pass
    this.#entries = entries
  }

  begin(): void {
    if (this.#work.size > 0) this.#work.clear()
    if (this.#ungrouped.size > 0) this.#ungrouped.clear()
    this.recent.length = 0
  }

  /** Nothing is loaded. */
  get isIdle(): boolean {
    return this.#work.size === 0
  }

  isLoaded(dir: number, name: Name): boolean {
    return this.#work.get(dir)?.has(name) === true
  }

  loaded(dir: number): ReadonlyMap<Name, Work> {
    return this.#work.get(dir) ?? NO_GROUPS
  }

  /** The group, to be changed and named anew. Loads whoever shows something under its name, too. */
  load(dir: number, name: Name): Work {
    const known = this.#work.get(dir)?.get(name)
    if (known !== undefined) return known
    const { store } = this.#pass
    const stored = store.group(dir, name)
    const work: Work = {
      dir, name, stored, claims: [...stored?.claims ?? []], was: [...stored?.shown ?? []],
      next: [], skipped: [], hasVariants: false,
    }
    this.#add(work)
    const entry = store.entry(dir, name)
    if (entry === undefined) return work
    const { record, at } = shownAt(store, entry)
    const { link, name: group } = linkOf(record, at)
    if (group !== name) {
      this.load(dir, group)
      return work
    }
    const { node } = record
    if (stored === undefined) work.claims.push({ link, node })
    // a directory has the name, but is no item of the group
    if (stored === undefined || record.kind === KIND_DIRECTORY) {
      work.was.push({ name, kind: 'main', link, node })
    }
    return work
  }

  addClaim(work: Work, record: NodeRecord, link: LinkId): void {
    work.claims.push({ link, node: record.node })
  }

  removeClaim(work: Work, link: LinkId): void {
    work.claims = work.claims.filter((claim) => claim.link !== link)
  }

  /** Takes everything that the directory shows down, and gives its claims back, in a stable order.
   *  Its groups are no more. */
  dissolve(dir: number): GroupClaim[] {
    const { store } = this.#pass
    const claims: GroupClaim[] = []
    for (let after = 0; ;) {
      const page = store.entries(dir, after, 256, true)
      for (const entry of page) {
        after = entry.cookie
        if (this.isLoaded(dir, entry.name)) continue
        const { record, at } = shownAt(store, entry)
        const link = linkOf(record, at)
        if (link.name !== entry.name) continue // its group has an entry under its own name
        if (record.grouped) {
          this.load(dir, entry.name)
          continue
        }
        claims.push({ link: link.link, node: record.node })
        this.#entries.takeDown(record, at)
      }
      if (page.length < 256) break
    }
    for (const work of this.loaded(dir).values()) {
      claims.push(...work.claims)
      work.claims = []
      this.#takeDownOld(work)
      this.#write(work)
    }
    this.#work.delete(dir)
    return claims
  }

  /** Names and shows everything loaded, and writes it down. */
  settle(): void {
    for (const dir of this.#work.keys()) {
      this.#wakeFreed(dir)
      new Naming(this, this.#pass, dir).run()
    }
    for (const groups of this.#work.values()) {
      for (const work of groups.values()) this.#takeDownOld(work)
    }
    for (const groups of this.#work.values()) {
      for (const work of groups.values()) this.#putUpNew(work)
    }
    for (const groups of this.#work.values()) {
      for (const work of groups.values()) this.#write(work)
    }
    for (const node of this.#ungrouped) this.#checkGrouped(node)
    if (this.#work.size > 0) this.#work.clear()
  }

  // ---- inside ----

  #add(work: Work): void {
    const groups = this.#work.get(work.dir)
    this.recent.push(work.name)
    if (groups === undefined) this.#work.set(work.dir, new Map([[work.name, work]]))
    else groups.set(work.name, work)
  }

  /** Names that nobody claims any more may be had by groups that had passed them over. */
  #wakeFreed(dir: number): void {
    const { store } = this.#pass
    if (this.#pass.atIno(dir).skipCount === 0) return
    for (const { name, claims } of this.loaded(dir).values()) {
      if (claims.length > 0) continue
      for (const other of store.skips(dir, name)) this.load(dir, other)
    }
  }

  #takeDownOld(work: Work): void {
    const next = new Map(work.next.map(({ shown }) => [shown.name, shown]))
    for (const old of work.was) {
      const record = this.#pass.find(old.node)
      const at = record === undefined ? -1 : indexOfShown(record, work.dir, old.name)
      if (record === undefined || at < 0) continue
      // by now it may be shown there as its own name
      const link = linkOf(record, at)
      if (link.name !== work.name) continue
      const now = next.get(old.name)
      if (now?.node === old.node && link.link === shownLink(now)) continue
      this.#entries.takeDown(record, at)
    }
  }

  #putUpNew(work: Work): void {
    const parent = this.#pass.edit(this.#pass.atIno(work.dir))
    for (const { shown, item } of work.next) {
      const isVariant = shown.kind === 'variant' && item !== undefined
      const record = isVariant
        ? variantRecord(this.#pass, shown.node, item, work.name) : this.#pass.get(shown.node)
      const at = indexOfLink(record, shownLink(shown))
      const link = linkOf(record, at)
      if (!link.shown) this.#entries.putUp(record, at, parent, shown.name)
      else if (isVariant) refreshVariant(this.#pass, record, item)
    }
  }

  #write(work: Work): void {
    const { store } = this.#pass
    const { dir, name, claims, stored } = work
    const items = work.next.filter((one) => one.item !== undefined)
    const shown = items.map((one) => one.shown)
    const isGroup = claims.length > 1 || (claims.length === 1 && work.hasVariants)
    if (isGroup) {
      store.putGroup(dir, name, { claims, shown, skipped: work.skipped })
      for (const { node } of claims) this.#setGrouped(this.#pass.get(node), true)
    } else if (stored !== undefined) store.putGroup(dir, name, undefined)
    const before = stored?.claims ?? NO_CLAIMS
    const staying = isGroup && before.length > 0 ? new Set(claims.map(({ node }) => node)) : NOBODY
    for (const { node } of before) if (!staying.has(node)) this.#ungrouped.add(node)
    this.#writeSkips(work, stored?.skipped ?? NO_NAMES, isGroup ? work.skipped : NO_NAMES)
  }

  #writeSkips({ dir, name }: Work, before: readonly Name[], after: readonly Name[]): void {
    if (before.length === 0 && after.length === 0) return
    const [old, now] = [new Set(before), new Set(after)]
    for (const passed of before) if (!now.has(passed)) this.#unskip(dir, passed, name)
    for (const passed of after) if (!old.has(passed)) this.#skip(dir, passed, name)
  }

  #skip(dir: number, passed: Name, by: Name): void {
    const { store } = this.#pass
    const names = store.skips(dir, passed)
    store.setSkips(dir, passed, [...names, by])
    if (names.length === 0) this.#pass.edit(this.#pass.atIno(dir)).skipCount++
  }

  #unskip(dir: number, passed: Name, by: Name): void {
    const { store } = this.#pass
    const names = store.skips(dir, passed).filter((name) => name !== by)
    store.setSkips(dir, passed, names)
    if (names.length === 0) this.#pass.edit(this.#pass.atIno(dir)).skipCount--
  }

  #setGrouped(found: NodeRecord, grouped: boolean): void {
    if (found.grouped !== grouped) this.#pass.edit(found).grouped = grouped
  }

  /** Another of its links may still stand in a group. */
  #checkGrouped(node: NodeId): void {
    const record = this.#pass.find(node)
    if (record === undefined || record.virtualOf !== '') return
    this.#setGrouped(record, record.links.some((link) => {
      if (!link.wanted) return false
      const dir = this.#pass.body(this.#pass.get(link.parent)).ino
      const group = this.#pass.store.group(dir, link.name)
      return group?.claims.some((claim) => claim.link === link.link) === true
    }))
  }
}

/** The group that an entry belongs to: undefined when it is alone in it. */
export function groupOfEntry(
  store: Store, entry: Entry,
): { dir: number; name: Name; group: GroupRecord } | undefined {
  const { record, at } = shownAt(store, entry)
  if (!record.grouped) return undefined
  const { name } = linkOf(record, at)
  const group = store.group(entry.parent, name)
  return group === undefined ? undefined : { dir: entry.parent, name, group }
}

/** The link by which a record shows an item: variants have one of their own. */
function shownLink(shown: GroupShown): LinkId {
  return shown.kind === 'variant' ? shown.node as string as LinkId : shown.link
}
