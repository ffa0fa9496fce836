// What a generation of the overlay changes beside nodes and entries: groups, names passed over,
// directory moves, batches. Each is a map or a sorted list over the base, a newer generation
// overriding an older one. For overlay.ts, and for whoever writes a generation down.
//
// Moves stay in order while their refs are placed: provisional refs are the greatest, and become
// greater than everything applied before them, in the order in which they were made.

import { compareRefs } from '../ops/order.ts'
import type { AuthorId, Name, OpRef } from '../ops/types.ts'
import type { BatchInfo, ControlBatch, GroupRecord, MoveRecord } from './records.ts'
import type { Base, GroupPlace, PlacedGroup } from './store.ts'

/** Two keys to a value. */
export type Placed<Place, Key, Value> = Map<Place, Map<Key, Value>>

/** A move that was put, or removed (null). */
export interface MoveChange {
  readonly ref: OpRef
  readonly move: MoveRecord | null
}

export class SideChanges {
  /** By ino of the directory and name; null = removed. */
  readonly groups: Placed<number, Name, GroupRecord | null> = new Map()
  /** Empty = removed. */
  readonly skips: Placed<number, Name, readonly Name[]> = new Map()
  readonly moves = new MoveChanges()
  readonly batches: Placed<AuthorId, number, BatchInfo> = new Map()
  readonly control: Placed<AuthorId, number, ControlBatch> = new Map()

  #placedCount = 0

  /** Records to write, at least. */
  get size(): number {
    return this.moves.size + this.#placedCount
  }

  /** Into one of the tables of this generation. */
  put<Place, Key, Value>(
    table: Placed<Place, Key, Value>, place: Place, key: Key, value: Value,
  ): void {
    if (putPlaced(table, place, key, value)) this.#placedCount++
  }

  /** Adds an earlier generation's, where this one says nothing. */
  putUnder(earlier: SideChanges): void {
    this.#putUnder(this.groups, earlier.groups)
    this.#putUnder(this.skips, earlier.skips)
    this.#putUnder(this.batches, earlier.batches)
    this.#putUnder(this.control, earlier.control)
    for (const { ref, move } of earlier.moves.descending(undefined)) {
      if (!this.moves.has(ref)) this.moves.set(ref, move)
    }
  }

  /** Moves batches here that lie before `position` in the journal. */
  takeEarlierBatches(later: SideChanges, position: number): void {
    for (const [author, batches] of later.batches) {
      for (const [seq, info] of batches) {
        if (info.position >= position) continue
        batches.delete(seq)
        later.#placedCount--
        this.put(this.batches, author, seq, info)
        const control = later.control.get(author)?.get(seq)
        if (control === undefined) continue
        later.control.get(author)?.delete(seq)
        later.#placedCount--
        this.put(this.control, author, seq, control)
      }
    }
  }

  #putUnder<Place, Key, Value>(
    table: Placed<Place, Key, Value>, earlier: Placed<Place, Key, Value>,
  ): void {
    for (const [place, inner] of earlier) {
      for (const [key, value] of inner) {
        if (table.get(place)?.has(key) !== true) this.put(table, place, key, value)
      }
    }
  }
}

/** Changes of the move log, ascending by ref. Adding at the end is cheap. */
export class MoveChanges {
  readonly #changes: MoveChange[] = []

  get size(): number {
    return this.#changes.length
  }

  has(ref: OpRef): boolean {
    const at = this.#lowerBound(ref)
    const found = this.#changes[at]
    return found !== undefined && compareRefs(found.ref, ref) === 0
  }

  set(ref: OpRef, move: MoveRecord | null): void {
    const at = this.#lowerBound(ref)
    const found = this.#changes[at]
    const replaces = found !== undefined && compareRefs(found.ref, ref) === 0
    if (at === this.#changes.length) this.#changes.push({ ref, move })
    else this.#changes.splice(at, replaces ? 1 : 0, { ref, move })
  }

  /** Forgets what is known about the ref. */
  delete(ref: OpRef): void {
    if (this.has(ref)) this.#changes.splice(this.#lowerBound(ref), 1)
  }

  /** Those smaller than `end`, or all. */
  * descending(end: OpRef | undefined): Generator<MoveChange, void> {
    let at = end === undefined ? this.#changes.length : this.#lowerBound(end)
    while (at-- > 0) yield this.#changes[at] as MoveChange
  }

  [Symbol.iterator](): Iterator<MoveChange> {
    return this.#changes[Symbol.iterator]()
  }

  /** Index of the first change that is not smaller. */
  #lowerBound(ref: OpRef): number {
    const changes = this.#changes
    const last = changes[changes.length - 1]
    if (last === undefined || compareRefs(last.ref, ref) < 0) return changes.length
    let low = 0
    let high = changes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareRefs((changes[middle] as MoveChange).ref, ref) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** True when the keys are new. */
export function putPlaced<Place, Key, Value>(
  table: Placed<Place, Key, Value>, place: Place, key: Key, value: Value,
): boolean {
  const inner = table.get(place)
  if (inner === undefined) {
    table.set(place, new Map([[key, value]]))
    return true
  }
  const before = inner.size
  inner.set(key, value)
  return inner.size > before
}

export function * asChanges(moves: Iterable<MoveRecord>): Generator<MoveChange, void> {
  for (const move of moves) yield { ref: move.ref, move }
}

/** Both descending; where both have a ref, the newer one says what it is. */
export function * overrideMoves(
  newer: Iterable<MoveChange>, older: Iterable<MoveChange>,
): Generator<MoveChange, void> {
  const news = newer[Symbol.iterator]()
  let next = news.next()
  for (const old of older) {
    let order = -1
    while (next.done !== true && (order = compareRefs(next.value.ref, old.ref)) >= 0) {
      yield next.value
      next = news.next()
      if (order === 0) break
    }
    if (order !== 0) yield old
  }
  while (next.done !== true) {
    yield next.value
    next = news.next()
  }
}

/** Base.groups() of all three. */
export function overrideGroups(
  base: Base, frozen: SideChanges | undefined, current: SideChanges,
  after: GroupPlace | undefined, max: number,
): PlacedGroup[] {
  const begin = after === undefined ? '' : base.groupOrder(after.dir, after.name)
  const changed = new Map<string, GroupPlace & { group: GroupRecord | null }>()
  for (const side of [frozen, current]) {
    for (const [dir, names] of side?.groups ?? []) {
      for (const [name, group] of names) {
        const order = base.groupOrder(dir, name)
        if (order > begin) changed.set(order, { dir, name, group })
      }
    }
  }
  const out: PlacedGroup[] = []
  const pending = [...changed.keys()].sort()
  let at = 0
  const takeChanged = (): void => {
    const one = changed.get(pending[at++] as string)
    if (one !== undefined && one.group !== null) out.push({ ...one, group: one.group })
  }
  for (const placed of allGroups(base, after, max)) {
    if (out.length >= max) break
    const order = base.groupOrder(placed.dir, placed.name)
    while (at < pending.length && (pending[at] as string) < order) takeChanged()
    if (!changed.has(order)) out.push(placed)
  }
  while (at < pending.length && out.length < max) takeChanged()
  return out.slice(0, max)
}

/** Base.control() of all three. */
export function mergeControl(
  base: readonly ControlBatch[], after: { author: AuthorId; seq: number } | undefined, max: number,
  ...sides: readonly (SideChanges | undefined)[]
): ControlBatch[] {
  const out = [...base]
  for (const side of sides) {
    for (const batches of side?.control.values() ?? []) {
      for (const batch of batches.values()) {
        if (after === undefined || compareControl(batch, after) > 0) out.push(batch)
      }
    }
  }
  return out.sort(compareControl).slice(0, max)
}

export function compareControl(
  a: { author: AuthorId; seq: number }, b: { author: AuthorId; seq: number },
): number {
  if (a.author !== b.author) return a.author < b.author ? -1 : 1
  return a.seq - b.seq
}

function * allGroups(
  base: Base, from: GroupPlace | undefined, max: number,
): Generator<PlacedGroup, void> {
  let after = from
  for (;;) {
    const page = base.groups(after, max)
    yield * page
    if (page.length < max) return
    after = page[page.length - 1]
  }
}
