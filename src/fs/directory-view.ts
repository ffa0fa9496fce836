// The names of one directory as a view shows them that does not compare bytes. Where several real
// names are one for the view, the greatest keeps its name and the others get conflict names, in
// ascending order, as concurrent files of one name do; nothing of it is written anywhere.
//
// Invariants: no two shown names have the same key; a shown name never has the key of a real name
// other than its own; adding and removing a name costs what shares its key.
// Used by NameView only.

import type { Name } from '../ops/types.ts'
import { nameKey, shownName } from './name-keys.ts'
import type { NameMatching } from './name-keys.ts'

/** What decides between real names of one directory that the view takes for one. */
export interface NameOrder {
  /** As sort() wants it: by what put the names there. */
  compare(one: Name, other: Name): number
  /** The k-th (from 1) name under which a loser may be shown. */
  conflictName(name: Name, k: number): Name
}

interface Group {
  names: Name[]
  /** Keys of the conflict names that are shown now. */
  keys: string[]
}

export class DirectoryView {
  readonly #matching: NameMatching
  readonly #order: NameOrder
  /** Real names by key. */
  readonly #groups = new Map<string, Group>()
  /** Key of a conflict name that is shown: whose it is, and the key of its group. */
  readonly #conflicts = new Map<string, { real: Name; group: string }>()
  /** Real names that are shown under another one. */
  readonly #shown = new Map<Name, Name>()
  /** Key of a candidate that was taken to the groups that passed it over. */
  readonly #passed = new Map<string, Set<string>>()

  constructor(matching: NameMatching, order: NameOrder) {
    this.#matching = matching
    this.#order = order
  }

  get count(): number {
    return this.#groups.size + this.#conflicts.size
  }

  /** The real name that this name means here; undefined: there is none. */
  resolve(name: Name): Name | undefined {
    const key = this.#keyOf(name)
    return this.#groups.get(key)?.names.at(-1) ?? this.#conflicts.get(key)?.real
  }

  shownAs(real: Name): Name {
    return this.#shown.get(real) ?? real
  }

  /** The name is there, or something about it has changed. */
  add(real: Name): void {
    const key = this.#keyOf(shownName(real))
    const group = this.#groups.get(key)
    if (group === undefined) this.#groups.set(key, { names: [real], keys: [] })
    else if (!group.names.includes(real)) group.names.push(real)
    this.#settle([key, this.#conflicts.get(key)?.group])
  }

  remove(real: Name): void {
    const key = this.#keyOf(shownName(real))
    const group = this.#groups.get(key)
    if (group === undefined || !group.names.includes(real)) return
    group.names = group.names.filter((name) => name !== real)
    this.#shown.delete(real)
    this.#settle([key])
  }

  #keyOf(name: Name): string {
    return nameKey(name, this.#matching)
  }

  /** Names these groups anew, and every group that this touches; smaller keys go first. */
  #settle(keys: (string | undefined)[]): void {
    const todo = new Set(keys.filter((key) => key !== undefined))
    while (todo.size > 0) {
      const key = [...todo].reduce((least, one) => (one < least ? one : least))
      todo.delete(key)
      for (const touched of this.#settleGroup(key)) if (touched !== key) todo.add(touched)
    }
  }

  /** Returns the keys of groups that lost a name by it, or may have a better one now. */
  #settleGroup(key: string): string[] {
    const group = this.#groups.get(key)
    if (group === undefined) return []
    const touched: string[] = []
    const before = group.keys.filter((one) => this.#conflicts.get(one)?.group === key)
    for (const one of before) this.#conflicts.delete(one)
    group.keys = []
    if (group.names.length > 1) group.names.sort((a, b) => this.#order.compare(a, b))
    const winner = group.names.at(-1)
    if (winner === undefined) this.#groups.delete(key)
    else this.#setShown(winner, shownName(winner))
    let k = 1
    for (const name of group.names.slice(0, -1)) {
      const own = shownName(name)
      while (!this.#isFree(this.#keyOf(this.#order.conflictName(own, k)), key)) k++
      const candidate = this.#order.conflictName(own, k++)
      const candidateKey = this.#keyOf(candidate)
      const displaced = this.#conflicts.get(candidateKey)
      if (displaced !== undefined) touched.push(displaced.group)
      this.#conflicts.set(candidateKey, { real: name, group: key })
      this.#setShown(name, candidate)
      group.keys.push(candidateKey)
    }
    const freed = before.filter((one) => !group.keys.includes(one) && !this.#groups.has(one))
    if (winner === undefined) freed.push(key)
    for (const one of freed) touched.push(...this.#waitingFor(one))
    return touched
  }

  #setShown(real: Name, shown: Name): void {
    if (shown === real) this.#shown.delete(real)
    else this.#shown.set(real, shown)
  }

  /** Whether a group may show a conflict name; if not, it is remembered as waiting for it. */
  #isFree(candidate: string, group: string): boolean {
    const owner = this.#conflicts.get(candidate)?.group
    if (!this.#groups.has(candidate) && (owner === undefined || owner > group)) return true
    const waiting = this.#passed.get(candidate)
    if (waiting === undefined) this.#passed.set(candidate, new Set([group]))
    else waiting.add(group)
    return false
  }

  #waitingFor(key: string): string[] {
    const groups = this.#passed.get(key)
    if (groups === undefined) return []
    this.#passed.delete(key)
    return [...groups]
  }
}
