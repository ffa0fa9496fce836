// What comes before a local change: an item of a conflict is made real, with all the others of its
// group, so that the change concerns that item alone; conflict copies that wait for a name which
// the change frees are, too; and a change of a union is one of each of its members. Used by
// LiveTree alone. Each step is an operation of its own, complete by itself.

import type { Ids } from '../ops/ids.ts'
import type { AttrChange, AuthorId, Name, Op, OpRef } from '../ops/types.ts'
import type { FoldRules } from '../state/fold-pass.ts'
import type { Entry, NodeRecord } from '../state/records.ts'
import { ROOT_INO } from '../state/records.ts'
import type { PlacedGroup, Store } from '../state/store.ts'
import { must } from '../util/assert.ts'
import { Draft, conflictOf, conflictOfEntry, membersOf, normalise } from './tree-normalise.ts'
import { attrOps, linkAt, moveOp, removeOps } from './tree-records.ts'

export interface TreeTouchOptions {
  store: Store
  ids: Ids
  author: AuthorId
  newRef: () => OpRef
  /** Applies and queues an operation of this moment. */
  run: (draft: Draft) => void
  rules: Pick<FoldRules, 'normalise' | 'keepFreedNames' | 'placeRevived'>
}

export class TreeTouch {
  readonly #options: TreeTouchOptions
  readonly #store: Store

  constructor(options: TreeTouchOptions) {
    this.#options = options
    this.#store = options.store
  }

  /** Makes every item of a conflict real. */
  #normalise(group: PlacedGroup): void {
    const { newRef, run, rules } = this.#options
    if (!rules.normalise) return
    for (const draft of normalise(newRef, this.#options, group)) run(draft)
  }

  /** The node of an entry that is about to be renamed, removed or replaced. */
  toTouch(parent: number, name: Name): NodeRecord {
    const conflict = conflictOfEntry(this.#store, this.#entry(parent, name))
    if (conflict !== undefined) this.#normalise(conflict)
    if (this.#options.rules.keepFreedNames) {
      this.#settleSkips(parent, name)
      this.#settleVanishing(parent)
    }
    return this.#record(this.#entry(parent, name).ino)
  }

  /** A removed directory is shown for what is in it, and goes with its last entry: then its own
   *  name is free. */
  #settleVanishing(dir: number): void {
    if (dir === ROOT_INO) return
    const directory = this.#record(dir)
    const link = directory.onlyLink
    if (directory.entryCount !== 1 || link === undefined) return
    const isDead = membersOf(this.#store, directory).every((member) => (
      member.links.every((one) => one.heads.length === 0)
    ))
    if (!isDead) return
    const { shownParent, shownName } = link
    const conflict = conflictOfEntry(this.#store, this.#entry(shownParent, shownName))
    if (conflict !== undefined) this.#normalise(conflict)
    this.#settleSkips(shownParent, shownName)
    this.#settleVanishing(shownParent)
  }

  /** Conflicts that passed this name over would take it as soon as it is free. */
  #settleSkips(dir: number, name: Name): void {
    if (this.#record(dir).skipCount === 0) return
    for (const passed of this.#store.skips(dir, name)) {
      const group = this.#store.group(dir, passed)
      if (group !== undefined) this.#normalise({ dir, name: passed, group })
    }
  }

  /**
   * The node that gets one more name: its conflict copies would follow a smaller link id, and a
   * name that only somebody's change has brought back would go when there is another one.
   */
  readyToLink(ino: number): NodeRecord {
    let record = this.realRecord(ino)
    if (record.grouped && record.heads.length > 1) {
      for (const { link } of record.links) {
        const shown = record.links.find((one) => one.link === link)
        const conflict = shown?.shown === true
          ? conflictOf(this.#store, record, shown) : undefined
        if (conflict !== undefined) this.#normalise(conflict)
        record = this.#record(ino)
      }
    }
    const revived = record.links.find((one) => one.shown && one.heads.length === 0)
    if (revived === undefined || !this.#options.rules.placeRevived) return record
    const directory = this.#record(revived.shownParent)
    const draft = new Draft(this.#options.newRef)
    draft.add(moveOp(revived, directory, revived.shownName))
    this.#options.run(draft)
    return this.#record(ino)
  }

  /** The record, of a node that ops have made. */
  realRecord(ino: number): NodeRecord {
    const record = this.#record(ino)
    return record.virtualOf === '' ? record : this.underOwnName(record)
  }

  /** The record, once no link of it is shown under a conflict name. */
  underOwnName(record: NodeRecord): NodeRecord {
    const { ino } = record
    let now = record
    for (const { link } of record.links) {
      const shown = now.links.find((one) => one.link === link)
      if (shown?.shown !== true || shown.shownName === shown.name) continue
      const conflict = conflictOf(this.#store, now, shown)
      if (conflict !== undefined) this.#normalise(conflict)
      now = this.#record(ino)
    }
    return now
  }

  removesOf(record: NodeRecord, parent: number, name: Name): Op[] {
    if (record.members.length === 0) return removeOps(record, linkAt(record, parent, name))
    return membersOf(this.#store, record).flatMap((member) => (
      removeOps(member, must(member.links[0], 'a directory has a link'))
    ))
  }

  movesOf(
    record: NodeRecord, parent: number, name: Name, newParent: number, newName: Name,
  ): Op[] {
    const there = this.#record(newParent)
    if (record.members.length === 0) return [moveOp(linkAt(record, parent, name), there, newName)]
    return membersOf(this.#store, record).map((member) => (
      moveOp(must(member.links[0], 'a directory has a link'), there, newName)
    ))
  }

  attrsOf(record: NodeRecord, changes: AttrChange[]): Op[] {
    return membersOf(this.#store, record).flatMap((member) => attrOps(member, changes))
  }

  #entry(parent: number, name: Name): Entry {
    return must(this.#store.entry(parent, name), 'no such entry')
  }

  #record(ino: number): NodeRecord {
    return must(this.#store.node(ino), 'no such inode')
  }
}
