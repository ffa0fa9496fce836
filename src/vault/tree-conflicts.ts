// Conflicts as people see and decide them. A conflict is a group with more than one item, or a
// directory whose last move was skipped because it would have made a cycle. Items are numbered from
// 1 as listed: the one that has the name first, then the others as displayed.
//
// Deciding keeps some items and removes the rest, in one operation. One kept item has the name; of
// several, the first has it, and the others become files of their own under the names that they are
// shown with. What is removed stays in the history. A directory always stays: its files can be
// removed one by one. Deciding a cycle confirms the place where the directory is.
// Used by LiveTree alone.

import type { Ids } from '../ops/ids.ts'
import { compareRefs, sameRef } from '../ops/order.ts'
import type { AuthorId, Name, NodeId, NodeKind, OpRef } from '../ops/types.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { hasDirectory, isUndecided } from '../state/groups.ts'
import type { GroupClaim, GroupShown, MoveRecord, NodeRecord } from '../state/records.ts'
import type { PlacedGroup, Store } from '../state/store.ts'
import { must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { Ino } from './buffers.ts'
import {
  Draft, Drafts, Removals, conflictOfEntry, duplicatesOf, findNode, linkIn, makeReal, moveTo,
  nodeOf, nodesWithVariants, putOver, variantsOf,
} from './tree-normalise.ts'

export interface ConflictItem {
  /** In the conflict's directory. */
  readonly name: Name
  readonly ino: Ino
  readonly kind: NodeKind
  readonly sizeBytes: number
  /** Who put it there, and when: its position op, or its put when contents differ. */
  readonly origin: OpRef
  /** It has the name itself. */
  readonly winner: boolean
}

export interface TreeConflict {
  /** content: versions of one file; name: things of one name; cycle: a directory's move. */
  readonly kind: 'content' | 'name' | 'cycle'
  readonly parent: Ino
  readonly name: Name
  readonly items: readonly ConflictItem[]
}

/** Where a list of conflicts goes on. */
export type ConflictPlace =
  | { readonly kind: 'group'; readonly dir: number; readonly name: Name }
  | { readonly kind: 'cycle'; readonly before: OpRef | undefined }

export interface ConflictPage {
  readonly conflicts: readonly TreeConflict[]
  /** Undefined: these are the last. */
  readonly next: ConflictPlace | undefined
}

/** mine: what this device made; theirs: what others made; a number: that item. */
export type ConflictChoice = 'mine' | 'theirs' | 'both' | number

export interface Resolution {
  /** Names in the conflict's directory, as they are now. */
  readonly kept: readonly Name[]
  /** Names that were displayed. */
  readonly removed: readonly Name[]
}

export interface TreeConflictsOptions {
  store: Store
  ids: Ids
  author: AuthorId
  newRef: () => OpRef
  run: (draft: Draft) => void
}

const GROUPS_PAGE = 64

export class TreeConflicts {
  readonly #options: TreeConflictsOptions
  readonly #store: Store

  constructor(options: TreeConflictsOptions) {
    this.#options = options
    this.#store = options.store
  }

  list(after: ConflictPlace | undefined, max: number): ConflictPage {
    const conflicts: TreeConflict[] = []
    let place: PlacedGroup | undefined = after?.kind === 'group'
      ? { ...after, group: { claims: [], shown: [], skipped: [] } } : undefined
    while (after?.kind !== 'cycle') {
      const page = this.#store.groups(place, GROUPS_PAGE)
      for (const placed of page) {
        if (conflicts.length >= max) return { conflicts, next: groupPlace(place) }
        place = placed
        if (isUndecided(placed.group)) conflicts.push(this.#ofGroup(placed))
      }
      if (page.length < GROUPS_PAGE) break
    }
    return this.#cycles(conflicts, after?.kind === 'cycle' ? after.before : undefined, max)
  }

  at(parent: number, name: Name): TreeConflict | undefined {
    const entry = this.#store.entry(parent, name)
    if (entry === undefined) return undefined
    const placed = conflictOfEntry(this.#store, entry)
    if (placed !== undefined && isUndecided(placed.group)) return this.#ofGroup(placed)
    const record = must(this.#store.node(entry.ino), 'an entry without its node')
    return record.links[0]?.skipped === true ? this.#ofCycle(record) : undefined
  }

  /** Throws 'not-found' when the entry is in no conflict, 'usage' when the choice fits no item. */
  resolve(parent: number, name: Name, choice: ConflictChoice): Resolution {
    const entry = this.#store.entry(parent, name)
    const placed = entry && conflictOfEntry(this.#store, entry)
    if (placed !== undefined && isUndecided(placed.group)) {
      return this.#resolveGroup(placed, choice)
    }
    const conflict = this.at(parent, name)
    if (conflict === undefined) throw new LatticeError('not-found', 'this is in no conflict')
    this.#confirm(conflict)
    return { kept: [conflict.name], removed: [] }
  }

  // ---- looking ----

  #ofGroup({ dir, name, group }: PlacedGroup): TreeConflict {
    const items = group.shown.map((shown) => this.#item(shown, name))
    items.sort((a, b) => Number(b.winner) - Number(a.winner))
    if (hasDirectory(group)) items.unshift(this.#directoryItem(dir, name))
    const kind = group.claims.length > 1 ? 'name' : 'content'
    return { kind, parent: dir as Ino, name, items }
  }

  /** A directory has its name, and is not among what the group itself shows. */
  #directoryItem(dir: number, name: Name): ConflictItem {
    const entry = must(this.#store.entry(dir, name), 'a directory without its entry')
    const { ino, kind } = entry
    const record = must(this.#store.node(ino), 'an entry without its node')
    const { pos: origin } = must(record.links[0], 'a directory has a link')
    return { name, ino: ino as Ino, kind, sizeBytes: record.sizeBytes, origin, winner: true }
  }

  #item(shown: GroupShown, name: Name): ConflictItem {
    const record = nodeOf(this.#store, shown.node)
    const { kind, sizeBytes } = record
    const winner = shown.name === name
    const origin = shown.kind === 'main' && record.contents.length < 2
      ? linkIn(record, shown).pos : must(record.winner, 'a variant without content').ref
    return { name: shown.name, ino: record.ino as Ino, kind, sizeBytes, origin, winner }
  }

  #cycles(found: TreeConflict[], from: OpRef | undefined, max: number): ConflictPage {
    let before = from
    for (const move of this.#store.movesFrom(from)) {
      if (found.length >= max) return { conflicts: found, next: { kind: 'cycle', before } }
      before = move.ref
      const record = this.#skippedBy(move)
      if (record !== undefined) found.push(this.#ofCycle(record))
    }
    return { conflicts: found, next: undefined }
  }

  /** The shown directory whose greatest move this is, and was skipped. */
  #skippedBy(move: MoveRecord): NodeRecord | undefined {
    if (!move.skipped || move.fallback) return undefined
    const record = findNode(this.#store, move.link as string as NodeId)
    const link = record?.links[0]
    if (record === undefined || link?.shown !== true || !link.skipped) return undefined
    const greatest = link.heads.toSorted(compareRefs).at(-1)
    return greatest !== undefined && sameRef(greatest, move.ref) ? record : undefined
  }

  #ofCycle(record: NodeRecord): TreeConflict {
    const link = must(record.links[0], 'a directory has a link')
    const { shownParent, shownName: name, pos: origin } = link
    const { kind, sizeBytes } = record
    const item = { name, ino: record.ino as Ino, kind, sizeBytes, origin, winner: true }
    return { kind: 'cycle', parent: shownParent as Ino, name, items: [item] }
  }

  // ---- deciding ----

  #resolveGroup(placed: PlacedGroup, choice: ConflictChoice): Resolution {
    const { items } = this.#ofGroup(placed)
    const kept = items.filter((item, i) => this.#isChosen(item, i + 1, choice))
    const directory = items.find((item) => item.kind === KIND_DIRECTORY)
    if (kept.length === 0) {
      throw new LatticeError('usage', 'no item of this conflict fits that choice')
    }
    if (directory !== undefined && !kept.includes(directory)) kept.unshift(directory)
    const names = new Set(kept.map((item) => item.name))
    const mains = placed.group.shown.filter((one) => one.kind === 'main')
    const first = kept.find((item) => item.winner)
      ?? kept.find((item) => mains.some((one) => one.name === item.name))
      ?? must(kept[0], 'nothing is kept')
    kept.sort((a, b) => Number(b === first) - Number(a === first))
    const drafts = new Drafts(this.#options.newRef, this.#store, placed.group)
    new Decision(drafts, this.#options, placed, names, first.name).run()
    for (const draft of drafts.list) this.#options.run(draft)
    return {
      kept: kept.map((item) => item === first ? placed.name : item.name),
      removed: items.filter((item) => !names.has(item.name)).map((item) => item.name),
    }
  }

  #isChosen(item: ConflictItem, number: number, choice: ConflictChoice): boolean {
    if (choice === 'both') return true
    if (typeof choice === 'number') return number === choice
    return (item.origin.author === this.#options.author) === (choice === 'mine')
  }

  #confirm({ items }: TreeConflict): void {
    const record = must(this.#store.node(items[0]?.ino ?? 0), 'a conflict without its node')
    const { link, parent, name, heads } = must(record.links[0], 'a directory has a link')
    const draft = new Draft(this.#options.newRef)
    draft.add({ kind: 'mv', link, parent, name, prev: [...heads] })
    this.#options.run(draft)
  }
}

/** The ops of one decision. */
class Decision {
  readonly #drafts: Drafts
  readonly #options: TreeConflictsOptions
  readonly #placed: PlacedGroup
  readonly #kept: ReadonlySet<Name>
  /** The displayed name of the item that gets the group's name. */
  readonly #first: Name
  readonly #puts = new Map<NodeId, OpRef>()
  /** Files that stay for one of their variants: the name that it is displayed under. */
  readonly #as = new Map<NodeId, Name>()

  constructor(
    drafts: Drafts, options: TreeConflictsOptions, placed: PlacedGroup,
    kept: ReadonlySet<Name>, first: Name,
  ) {
    this.#drafts = drafts
    this.#options = options
    this.#placed = placed
    this.#kept = kept
    this.#first = first
  }

  run(): void {
    const { store } = this.#options
    const { group } = this.#placed
    for (const record of nodesWithVariants(store, group)) this.#decideContent(record)
    const removals = new Removals(this.#drafts, this.#puts)
    const remove = ({ node, link }: GroupClaim): void => {
      const record = nodeOf(store, node)
      removals.remove(record, linkIn(record, { link }))
    }
    for (const shown of group.shown) {
      if (shown.kind === 'variant') continue
      if (this.#kept.has(shown.name)) this.#place(shown, shown.name)
      else if (!this.#placeAs(shown)) remove(shown)
    }
    for (const claim of duplicatesOf(group)) if (!this.#placeAs(claim)) remove(claim)
  }

  /** A file with several contents: one put over all of them, and files for the others kept. */
  #decideContent(record: NodeRecord): void {
    const { store } = this.#options
    const { group } = this.#placed
    const main = group.shown.find((one) => one.kind === 'main' && one.node === record.node)
    const kept = variantsOf(store, group, record.node).filter(({ name }) => this.#kept.has(name))
    let own: GroupShown | undefined
    if (main === undefined || !this.#kept.has(main.name)) {
      own = kept.find((one) => one.name === this.#first) ?? kept[0]
      if (own === undefined) return // the file goes, with all of it
      this.#as.set(record.node, own.name)
    }
    const chosen = must(
      own === undefined ? record.winner : nodeOf(store, own.node).winner, 'no head',
    )
    for (const shown of kept) {
      if (shown === own) continue
      makeReal(this.#drafts.for(nodeOf(store, shown.node)), this.#options, shown)
    }
    const mtime = own === undefined ? record : chosen
    this.#puts.set(record.node, putOver(this.#drafts.for(record), record, chosen, mtime))
  }

  /** Where a file stands for one of its variants, it takes that one's name. */
  #placeAs(claim: GroupClaim): boolean {
    const name = this.#as.get(claim.node)
    if (name === undefined) return false
    this.#as.delete(claim.node)
    this.#place(claim, name)
    return true
  }

  /** The main stays, as what is displayed under `name`. */
  #place(claim: GroupClaim, name: Name): void {
    if (name === this.#first || name === this.#placed.name) return
    const { store } = this.#options
    this.#drafts.for(nodeOf(store, claim.node)).add(moveTo(store, claim, name))
  }
}

function groupPlace(placed: PlacedGroup | undefined): ConflictPlace | undefined {
  return placed && { kind: 'group', dir: placed.dir, name: placed.name }
}
