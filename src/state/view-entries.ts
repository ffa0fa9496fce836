// ViewEntries: the entries of the view and the inos of its nodes: what is put up, taken down, and
// what leaves the view when its last entry has gone. Knows nothing of groups or unions.
//
// Invariants:
//   - link.shown, shownParent, shownName and cookie of a link say where its entry is;
//   - a node with an entry has an ino; a directory may have one without an entry (its entries are
//     in it) while nothing says where it is;
//   - entryCount and subdirCount of a directory count its entries.

import type { Name } from '../ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import { assert, must } from '../util/assert.ts'
import { linkOf } from './fold-pass.ts'
import type { FoldPass } from './fold-pass.ts'
import type { NodeRecord } from './records.ts'
import { headKey } from './registers.ts'
import { Touched } from './touched.ts'

export class ViewEntries {
  /** Others are told of each entry that changes. */
  isLoud = false
  readonly #pass: FoldPass
  /** Records that lost an entry in this pass, or may have none. */
  readonly #bare = new Touched()
  /** Those of them that are variants. */
  readonly #variants: NodeRecord[] = []

  constructor(pass: FoldPass) {
    this.#pass = pass
  }

  begin(isLoud: boolean): void {
    this.isLoud = isLoud
    this.#bare.clear()
    this.#variants.length = 0
  }

  /** Gives the link its entry in `parent`, which must be one that may be changed. */
  putUp(found: NodeRecord, at: number, parent: NodeRecord, name: Name): void {
    const { store, facts, context } = this.#pass
    const record = this.#pass.edit(found)
    const link = linkOf(record, at)
    assert(!link.shown, 'a link has one entry')
    if (record.ino === 0 && !this.#inherit(record, parent.ino, name)) this.giveIno(record)
    const keeps = link.cookie !== 0 && link.shownParent === parent.ino
    const cookie = keeps ? link.cookie : facts.cookie(parent)
    this.#pass.setLink(record, at, {
      ...link, shown: true, shownParent: parent.ino, cookie, shownName: name,
    })
    const { ino, kind } = record
    store.putEntry({ parent: parent.ino, cookie, name, ino, kind }, !keeps)
    parent.entryCount++
    if (kind === KIND_DIRECTORY) parent.subdirCount++
    this.#pass.changeTimes(parent)
    if (this.isLoud) context.changes.entry(parent.ino, name, undefined)
  }

  /** Takes the entry away; shownParent and cookie stay for a new one in the same pass. */
  takeDown(found: NodeRecord, at: number): void {
    const { store, context } = this.#pass
    const record = this.#pass.edit(found)
    const link = linkOf(record, at)
    const directory = must(store.node(link.shownParent), 'an entry without its directory')
    const parent = this.#pass.edit(directory)
    const { ino, kind } = record
    store.removeEntry({ parent: parent.ino, cookie: link.cookie, name: link.shownName, ino, kind })
    parent.entryCount--
    if (kind === KIND_DIRECTORY) parent.subdirCount--
    assert(parent.entryCount >= 0 && parent.subdirCount >= 0, 'a directory has lost count')
    this.#pass.changeTimes(parent)
    this.#pass.setLink(record, at, { ...link, shown: false })
    this.#bare.add(record)
    if (record.virtualOf !== '') this.#variants.push(record)
    if (!this.isLoud) return
    context.changes.entry(parent.ino, link.shownName, { ino, generation: record.generation, kind })
  }

  /** A variant that has become a file of another id, at its name: the ino stays. */
  #inherit(record: NodeRecord, dir: number, name: Name): boolean {
    if (this.#variants.length === 0 || record.kind !== KIND_FILE) return false
    const variant = this.#variants.find((one) => {
      const { shown, shownParent, shownName } = linkOf(one, 0)
      return !shown && one.ino !== 0 && shownParent === dir && shownName === name
    })
    if (variant === undefined || headKey(variant.winner) !== headKey(record.winner)) return false
    const { ino } = variant
    this.count(variant, -1)
    this.#pass.store.forget(variant)
    record.ino = ino
    record.generation = variant.generation
    record.atimeSec = variant.atimeSec
    record.atimeNsec = variant.atimeNsec
    this.#pass.store.show(record)
    this.count(record, 1)
    return true
  }

  giveIno(record: NodeRecord): void {
    const { store, facts } = this.#pass
    record.ino = facts.ino(store.meta, (ino) => store.node(ino) === undefined)
    store.show(record)
    this.count(record, 1)
  }

  /** The record may have no entry at the end of the pass, though none was taken down. */
  watch(record: NodeRecord): void {
    this.#bare.add(record)
  }

  /** Another record has taken the ino of this one. */
  replace(record: NodeRecord, by: NodeRecord): void {
    this.#bare.replace(record, by)
    // its ino is not to be had any more
    const at = this.#variants.indexOf(record)
    if (at >= 0) this.#variants.splice(at, 1)
  }

  count(record: NodeRecord, by: 1 | -1): void {
    const { meta } = this.#pass.store
    if (record.kind === KIND_DIRECTORY) meta.directories += by
    else meta.files += by
    meta.contentBytes += by * (record.kind === KIND_FILE ? record.sizeBytes : 0)
  }

  /** The ino names no node any more: whoever has it open here keeps what it was. */
  vacate(record: NodeRecord): void {
    const { context, isRemote, before } = this.#pass
    const { ino } = record
    if (isRemote && context.isOpen(ino)) {
      const parent = record.links[0]?.shownParent ?? 0
      context.changes.detached(ino, before.get(ino) ?? record.clone(), parent)
    }
    if (this.isLoud) context.changes.node(ino)
  }

  /** Once everything is up: nodes without an entry are hidden, copies that nothing shows go. */
  finish(): void {
    const { store, touched } = this.#pass
    for (const record of this.#bare.list) {
      if (!this.#isNeeded(record)) this.#leave(record)
      for (let at = 0; at < record.links.length; at++) {
        const link = linkOf(record, at)
        if (link.shown || link.cookie === 0) continue
        const { name } = link
        this.#pass.setLink(record, at, { ...link, shownParent: 0, cookie: 0, shownName: name })
      }
    }
    for (const record of touched.list) if (record.epoch === -1) store.hide(record)
  }

  #isNeeded(record: NodeRecord): boolean {
    if (record.ino === 0 || record.links.length === 0) return true
    if (record.kind === KIND_DIRECTORY && record.claimCount > 0) return true
    return record.links.some((link) => link.shown)
  }

  #leave(record: NodeRecord): void {
    this.vacate(record)
    this.count(record, -1)
    if (record.virtualOf === '') this.#pass.store.hide(record)
    else this.#pass.store.forget(record)
  }
}
