// Naming: gives the groups of one directory that were loaded for a change their items and names, in
// ascending order of the groups' names: a conflict name belongs to the smallest group that wants
// it. So naming one can concern only greater ones, which are loaded then. See view-groups.ts.

import { compareRefs } from '../ops/order.ts'
import type { LinkId, Name } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { assert, must } from '../util/assert.ts'
import { candidate, conflictMark } from './conflict-names.ts'
import { indexOfLink, linkOf, shownAt } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import type { GroupClaim, GroupRecord, GroupShown, LinkRecord, NodeRecord } from './records.ts'
import { distinctItems, itemsOf } from './view-items.ts'
import type { Item } from './view-items.ts'
import { variantId } from './view-variants.ts'

/** A group being changed. */
export interface Work {
  readonly dir: number
  readonly name: Name
  claims: GroupClaim[]
  /** As stored; undefined: at most one ordinary entry. */
  readonly stored: GroupRecord | undefined
  /** What it showed when it was loaded. */
  readonly was: GroupShown[]
  /** What it is to show. */
  next: { shown: GroupShown; item: Item | undefined }[]
  skipped: Name[]
  /** Some node has heads that lost, shown or equal to what is. */
  hasVariants: boolean
}

/** The groups that were loaded. */
export interface LoadedGroups {
  loaded(dir: number): ReadonlyMap<Name, Work>
  load(dir: number, name: Name): Work
  /** Names of groups, as they are loaded: to be taken out. */
  readonly recent: Name[]
}

/** Gives the loaded groups of one directory their items and names. */
export class Naming {
  readonly #groups: LoadedGroups
  readonly #pass: FoldPass
  readonly #dir: number
  readonly #skipCount: number
  /** Conflict names given out here. */
  readonly #given = new Set<Name>()

  constructor(groups: LoadedGroups, pass: FoldPass, dir: number) {
    this.#groups = groups
    this.#pass = pass
    this.#dir = dir
    this.#skipCount = pass.atIno(dir).skipCount
  }

  run(): void {
    const loaded = this.#groups.loaded(this.#dir)
    const { recent } = this.#groups
    const queue = [...loaded.keys()].sort(byBytes)
    recent.length = 0
    for (let i = 0; i < queue.length; i++) {
      this.#name(must(loaded.get(queue[i] as Name), 'a group that was loaded'))
      // whoever was loaded meanwhile comes later: it is greater
      for (let name = recent.pop(); name !== undefined; name = recent.pop()) {
        queue.splice(lowerBound(queue, name, i + 1), 0, name)
      }
    }
  }

  #name(work: Work): void {
    const links: { record: NodeRecord; link: LinkRecord }[] = []
    let directory: NodeRecord | undefined
    for (const { link, node } of work.claims) {
      const record = this.#pass.get(node)
      if (record.kind === KIND_DIRECTORY) directory = this.#pass.body(record)
      else links.push({ record, link: linkOf(record, indexOfLink(record, link)) })
    }
    const all = itemsOf(links)
    work.hasVariants = all.some((item) => item.kind === 'variant')
    const { mergeEqual, greatestKeepsName } = this.#pass.rules
    const items = mergeEqual ? distinctItems(all) : all
    if (!greatestKeepsName) items.reverse()
    work.next = []
    work.skipped = []
    if (directory !== undefined) {
      const { node } = directory
      const link = node as string as LinkId
      work.next.push({ shown: { name: work.name, kind: 'main', link, node }, item: undefined })
    } else {
      const first = items.shift()
      if (first !== undefined) this.#show(work, first, work.name)
    }
    this.#nameOthers(work, items)
    this.#wakeGreater(work)
  }

  #nameOthers(work: Work, items: Item[]): void {
    const { context } = this.#pass
    const own = new Set<Name>()
    const last = new Map<string, number>()
    items.sort((a, b) => compareRefs(a.op, b.op))
    for (const item of items) {
      const mark = conflictMark(item.op, context.label(item.op.author))
      for (let k = (last.get(mark) ?? 0) + 1; ; k++) {
        const name = candidate(work.name, mark, k)
        if (own.has(name)) continue
        if (!this.#isAvailable(name, work.name)) {
          work.skipped.push(name)
          own.add(name)
          continue
        }
        last.set(mark, k)
        own.add(name)
        this.#given.add(name)
        this.#show(work, item, name)
        break
      }
    }
  }

  #show(work: Work, item: Item, name: Name): void {
    const { kind, record } = item
    const node = item.kind === 'variant' && item.head !== undefined
      ? variantId(this.#pass, record.node, item.head.ref) : record.node
    work.next.push({ shown: { name, kind, link: item.link.link, node }, item })
  }

  /** Whether group `by` may show an item under this name. Loads the greater one that does now. */
  #isAvailable(name: Name, by: Name): boolean {
    const { avoidTakenNames } = this.#pass.rules
    if (this.#given.has(name)) return false
    const loaded = this.#groups.loaded(this.#dir)
    const claimed = loaded.get(name)
    if (claimed !== undefined && claimed.claims.length > 0) return !avoidTakenNames
    const { store } = this.#pass
    const entry = store.entry(this.#dir, name)
    if (entry === undefined) return true
    const { record, at } = shownAt(store, entry)
    const group = linkOf(record, at).name
    if (group === name) return !avoidTakenNames
    if (loaded.has(group)) return true // what it shows now is passing
    if (group < by) return false
    this.#groups.load(this.#dir, group)
    return true
  }

  /** Greater groups passed over what this one showed until now. */
  #wakeGreater(work: Work): void {
    if (this.#skipCount === 0) return
    for (const { name } of work.was) {
      if (name === work.name || this.#given.has(name)) continue
      for (const other of this.#pass.store.skips(this.#dir, name)) {
        if (other > work.name) this.#groups.load(this.#dir, other)
      }
    }
  }
}

/** Index of the first name from `begin` on that is not smaller. */
function lowerBound(names: readonly Name[], name: Name, begin: number): number {
  let low = begin
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((names[middle] as Name) < name) low = middle + 1
    else high = middle
  }
  assert(low > begin || begin === 0 || (names[begin - 1] as Name) < name, 'a name out of order')
  return low
}

function byBytes(a: Name, b: Name): number {
  return a < b ? -1 : 1
}
