// A list of distinct records in the order in which they came. Most operations touch one to three,
// for which a search is cheaper than a hash table; many go through one all the same.

import type { NodeRecord } from './records.ts'

const SEARCHED_MAX = 8

export class Touched {
  /** May grow while it is walked. */
  readonly list: NodeRecord[] = []
  readonly #known = new Set<NodeRecord>()

  clear(): void {
    if (this.list.length === 0) return
    this.list.length = 0
    if (this.#known.size > 0) this.#known.clear()
  }

  add(record: NodeRecord): void {
    const { list } = this
    if (list.length < SEARCHED_MAX) {
      if (!list.includes(record)) list.push(record)
      return
    }
    if (this.#known.size === 0) for (const one of list) this.#known.add(one)
    if (this.#known.has(record)) return
    this.#known.add(record)
    list.push(record)
  }

  /** `by` takes the place of the record. */
  replace(record: NodeRecord, by: NodeRecord): void {
    const at = this.list.indexOf(record)
    if (at < 0) return this.add(by)
    this.list[at] = by
    if (this.#known.size > 0) this.#known.add(by)
  }
}
