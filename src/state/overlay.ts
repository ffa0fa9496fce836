// Overlay: a Store over a settled Base, keeping what changed since the last checkpoint as decoded
// records, in at most two generations. freeze() ends the current generation: from then on it is
// only read, and records of it that change again are copied into the next one. Once the base has
// taken a frozen generation, release() forgets it.
//
// Invariants: cookies of a directory only grow, so its entries lie in ascending order: base, frozen
// additions, current additions; a newer generation overrides an older one, both override the base.

import { assert } from '../util/assert.ts'
import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import { isUndecided } from './groups.ts'
import type { StateMeta } from './meta.ts'
import {
  SideChanges, asChanges, mergeControl, overrideGroups, overrideMoves,
} from './overlay-side.ts'
import type {
  BatchInfo, ControlBatch, Entry, GroupRecord, MoveRecord, NodeRecord,
} from './records.ts'
import { STORED_HIDDEN, STORED_NOWHERE } from './records.ts'
import type { Base, GroupPlace, PlacedGroup, Store } from './store.ts'

/** Changes of one directory's entries within one generation; null = removed. */
export class DirectoryChanges {
  readonly byName = new Map<Name, Entry | null>()
  readonly byCookie = new Map<number, Entry | null>()
  /** Cookies given out in this generation, ascending. */
  readonly added: number[] = []
  /** The base has no entry of this directory: it is new. */
  readonly isNew: boolean

  constructor(isNew: boolean) {
    this.isNew = isNew
  }
}

export class Generation {
  readonly epoch: number
  /** The counters as they were when it was frozen. */
  meta: StateMeta | undefined = undefined
  /** null: the ino names no node any more. */
  readonly nodes = new Map<number, NodeRecord | null>()
  readonly hidden = new Map<NodeId, NodeRecord | null>()
  /** 0: not shown any more. */
  readonly inos = new Map<NodeId, number>()
  readonly links = new Map<LinkId, NodeId>()
  readonly directories = new Map<number, DirectoryChanges>()
  /** Groups, moves, batches. */
  readonly side = new SideChanges()

  constructor(epoch: number) {
    this.epoch = epoch
  }

  /** Records to write, roughly. */
  get size(): number {
    return this.nodes.size + this.hidden.size + this.side.size
  }

  /** Adds an earlier generation, where this one says nothing. */
  putUnder(earlier: Generation): void {
    putUnder(this.nodes, earlier.nodes)
    putUnder(this.hidden, earlier.hidden)
    putUnder(this.inos, earlier.inos)
    putUnder(this.links, earlier.links)
    this.side.putUnder(earlier.side)
    for (const [parent, before] of earlier.directories) {
      const changes = this.directories.get(parent)
      if (changes !== undefined) {
        putUnder(before.byName, changes.byName, true)
        putUnder(before.byCookie, changes.byCookie, true)
        before.added.push(...changes.added)
      }
      this.directories.set(parent, before)
    }
  }
}

export class Overlay implements Store {
  readonly meta: StateMeta
  readonly #base: Base
  #current: Generation
  #frozen: Generation | undefined

  /** `epoch`: of the first generation, above that of every record in the base. */
  constructor(base: Base, meta: StateMeta, epoch = 1) {
    this.#base = base
    this.meta = meta
    this.#current = new Generation(epoch)
  }

  get changes(): number {
    return this.#current.size
  }

  get epoch(): number {
    return this.#current.epoch
  }

  /** Ends the current generation and returns it. The last one must have been released. */
  freeze(): Generation {
    assert(this.#frozen === undefined, 'a generation is frozen already')
    this.#frozen = this.#current
    this.#frozen.meta = this.meta.copy()
    this.#current = new Generation(this.#frozen.epoch + 1)
    return this.#frozen
  }

  /** Batches whose journal record lies before `position` belong to the frozen generation, though
   *  they were placed only after the freeze. */
  takeEarlierBatches(position: number): void {
    assert(this.#frozen !== undefined, 'no generation is frozen')
    this.#frozen.side.takeEarlierBatches(this.#current.side, position)
  }

  /** Takes the last freeze back: both generations are one, the newer, again. */
  thaw(): void {
    const frozen = this.#frozen
    assert(frozen !== undefined, 'no generation is frozen')
    this.#frozen = undefined
    this.#current.putUnder(frozen)
  }

  /** The base has the frozen generation now. Copies made since learn where they are stored. */
  release(): void {
    const frozen = this.#frozen
    assert(frozen !== undefined, 'no generation is frozen')
    this.#frozen = undefined
    const current = this.#current
    for (const [ino, record] of frozen.nodes) {
      if (record === null) continue
      settleCopy(current, record)
      settleBody(current, ino, record)
    }
    for (const record of frozen.hidden.values()) if (record !== null) settleCopy(current, record)
  }

  node(ino: number): NodeRecord | undefined {
    let record = this.#current.nodes.get(ino)
    if (record === undefined && this.#frozen !== undefined) record = this.#frozen.nodes.get(ino)
    if (record === undefined) return this.#base.node(ino)
    return record === null ? undefined : record
  }

  hidden(node: NodeId): NodeRecord | undefined {
    let record = this.#current.hidden.get(node)
    if (record === undefined && this.#frozen !== undefined) record = this.#frozen.hidden.get(node)
    if (record === undefined) return this.#base.hidden(node)
    return record === null ? undefined : record
  }

  inoOf(node: NodeId): number | undefined {
    let ino = this.#current.inos.get(node)
    if (ino === undefined && this.#frozen !== undefined) ino = this.#frozen.inos.get(node)
    if (ino === undefined) return this.#base.inoOf(node)
    return ino === 0 ? undefined : ino
  }

  nodeOfLink(link: LinkId): NodeId | undefined {
    return this.#current.links.get(link) ?? this.#frozen?.links.get(link)
      ?? this.#base.nodeOfLink(link)
  }

  entry(parent: number, name: Name): Entry | undefined {
    const current = this.#current.directories.get(parent)
    let entry = current?.byName.get(name)
    let isNew = current?.isNew === true
    if (entry === undefined && this.#frozen !== undefined) {
      const frozen = this.#frozen.directories.get(parent)
      entry = frozen?.byName.get(name)
      isNew ||= frozen?.isNew === true
    }
    if (entry === undefined) return isNew ? undefined : this.#base.entry(parent, name)
    return entry === null ? undefined : entry
  }

  entries(parent: number, after: number, max: number, nodes: boolean): Entry[] {
    const current = this.#current.directories.get(parent)
    const frozen = this.#frozen?.directories.get(parent)
    if (current === undefined && frozen === undefined) {
      return this.#base.entries(parent, after, max, nodes)
    }
    const out: Entry[] = []
    let last = after
    let more = current?.isNew !== true && frozen?.isNew !== true
    while (more && out.length < max) {
      const wanted = max - out.length
      const page = this.#base.entries(parent, last, wanted, nodes)
      for (const entry of page) {
        last = entry.cookie
        const now = override(entry, current, frozen)
        if (now !== null) out.push(now)
      }
      more = page.length === wanted
    }
    if (frozen !== undefined) last = appendAdded(out, last, max, frozen, current)
    if (current !== undefined) appendAdded(out, last, max, current, undefined)
    return out
  }

  frozenMeta(record: NodeRecord): StateMeta | undefined {
    return this.#frozen?.epoch === record.epoch ? this.#frozen.meta : undefined
  }

  edit(record: NodeRecord): NodeRecord {
    const generation = this.#current
    if (record.epoch === generation.epoch) return record
    const copy = record.clone()
    copy.epoch = generation.epoch
    if (copy.ino === 0) generation.hidden.set(copy.node, copy)
    else generation.nodes.set(copy.ino, copy)
    return copy
  }

  show(record: NodeRecord): void {
    record.epoch = this.#current.epoch
    if (record.stored === STORED_HIDDEN) {
      this.#current.hidden.set(record.node, null)
      record.stored = STORED_NOWHERE
    }
    this.#current.nodes.set(record.ino, record)
    this.#current.inos.set(record.node, record.ino)
  }

  hide(record: NodeRecord): void {
    record.epoch = this.#current.epoch
    if (record.ino !== 0) {
      this.#current.nodes.set(record.ino, null)
      this.#current.inos.set(record.node, 0)
      record.ino = 0
    }
    record.stored = STORED_HIDDEN
    this.#current.hidden.set(record.node, record)
  }

  forget(record: NodeRecord): void {
    this.#current.nodes.set(record.ino, null)
    this.#current.inos.set(record.node, 0)
    record.ino = 0
  }

  dropIno(ino: number): void {
    this.#current.nodes.set(ino, null)
  }

  setLink(link: LinkId, node: NodeId): void {
    this.#current.links.set(link, node)
  }

  putEntry(entry: Entry, freshCookie: boolean): void {
    const changes = this.#changesOf(entry.parent)
    changes.byName.set(entry.name, entry)
    if (freshCookie) changes.added.push(entry.cookie)
    changes.byCookie.set(entry.cookie, entry)
  }

  removeEntry(entry: Entry): void {
    const changes = this.#changesOf(entry.parent)
    changes.byName.set(entry.name, null)
    changes.byCookie.set(entry.cookie, null)
  }

  // ---- groups, moves, batches ----

  group(dir: number, name: Name): GroupRecord | undefined {
    let group = this.#current.side.groups.get(dir)?.get(name)
    if (group === undefined) group = this.#frozen?.side.groups.get(dir)?.get(name)
    if (group === undefined) return this.#base.group(dir, name)
    return group === null ? undefined : group
  }

  skips(dir: number, name: Name): readonly Name[] {
    return this.#current.side.skips.get(dir)?.get(name)
      ?? this.#frozen?.side.skips.get(dir)?.get(name)
      ?? this.#base.skips(dir, name)
  }

  groupOrder(dir: number, name: Name): string {
    return this.#base.groupOrder(dir, name)
  }

  groups(after: GroupPlace | undefined, max: number): PlacedGroup[] {
    return overrideGroups(this.#base, this.#frozen?.side, this.#current.side, after, max)
  }

  * movesFrom(end: OpRef | undefined): Iterable<MoveRecord> {
    let moves = overrideMoves(
      this.#frozen?.side.moves.descending(end) ?? [], asChanges(this.#base.movesFrom(end)),
    )
    moves = overrideMoves(this.#current.side.moves.descending(end), moves)
    for (const { move } of moves) if (move !== null) yield move
  }

  batch(author: AuthorId, seq: number): BatchInfo | undefined {
    return this.#current.side.batches.get(author)?.get(seq)
      ?? this.#frozen?.side.batches.get(author)?.get(seq)
      ?? this.#base.batch(author, seq)
  }

  control(after: { author: AuthorId; seq: number } | undefined, max: number): ControlBatch[] {
    const base = this.#base.control(after, max)
    return mergeControl(base, after, max, this.#frozen?.side, this.#current.side)
  }

  putGroup(dir: number, name: Name, group: GroupRecord | undefined): void {
    const before = isUndecided(this.group(dir, name)) ? 1 : 0
    this.meta.conflicts += (isUndecided(group) ? 1 : 0) - before
    const { side } = this.#current
    side.put(side.groups, dir, name, group ?? null)
  }

  setSkips(dir: number, name: Name, by: readonly Name[]): void {
    const { side } = this.#current
    side.put(side.skips, dir, name, by)
  }

  putMove(move: MoveRecord): void {
    this.#current.side.moves.set(move.ref, move)
  }

  removeMove({ ref }: MoveRecord): void {
    this.#current.side.moves.set(ref, null)
  }

  putBatch(author: AuthorId, seq: number, info: BatchInfo): void {
    const { side } = this.#current
    side.put(side.batches, author, seq, info)
  }

  putControl(batch: ControlBatch): void {
    const { side } = this.#current
    side.put(side.control, batch.author, batch.seq, batch)
  }

  #changesOf(parent: number): DirectoryChanges {
    let changes = this.#current.directories.get(parent)
    if (changes !== undefined) return changes
    const record = this.node(parent)
    assert(record !== undefined && record.isDirectory, 'entries belong to a directory')
    const frozen = this.#frozen?.directories.get(parent)
    // what the frozen generation knows to be new stays so: its own entries are found in it
    const isNew = record.stored === STORED_NOWHERE && frozen === undefined
    changes = new DirectoryChanges(isNew)
    this.#current.directories.set(parent, changes)
    return changes
  }
}

/** Copies entries that `target` lacks, or all of them. */
function putUnder<K, V>(target: Map<K, V>, source: Map<K, V>, replaces = false): void {
  for (const [key, value] of source) if (replaces || !target.has(key)) target.set(key, value)
}

/** The copy of a settled record in the newer generation, if any, takes over what is the index's. */
function settleCopy(current: Generation, record: NodeRecord): void {
  const hidden = current.hidden.get(record.node)
  const ino = current.inos.get(record.node) ?? record.ino
  const copy = hidden ?? (ino === 0 ? undefined : current.nodes.get(ino))
  if (copy === undefined || copy === null || copy.node !== record.node) return
  copy.stateHash = record.stateHash
  if (copy.ino !== record.ino || copy.ino === 0) return
  copy.namesHash = record.namesHash
  copy.stored = record.stored
  copy.storedParent = record.storedParent
  copy.storedCookie = record.storedCookie
}

/** A directory's entries may have come under another node since: what is known about them, too. */
function settleBody(current: Generation, ino: number, record: NodeRecord): void {
  const now = current.nodes.get(ino)
  if (now === undefined || now === null || now.node === record.node || !now.isDirectory) return
  now.namesHash = record.namesHash
  now.stored = record.stored
  now.storedParent = record.storedParent
  now.storedCookie = record.storedCookie
}

function override(
  entry: Entry,
  current: DirectoryChanges | undefined,
  frozen: DirectoryChanges | undefined,
): Entry | null {
  const newest = current?.byCookie.get(entry.cookie)
  if (newest !== undefined) return newest
  const newer = frozen?.byCookie.get(entry.cookie)
  return newer === undefined ? entry : newer
}

/** Adds what `from` added behind cookie `after`, as `newer` sees it. Returns the last cookie. */
function appendAdded(
  out: Entry[],
  after: number,
  max: number,
  from: DirectoryChanges,
  newer: DirectoryChanges | undefined,
): number {
  const added = from.added
  let low = 0
  let high = added.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((added[middle] as number) > after) high = middle
    else low = middle + 1
  }
  let last = after
  for (; low < added.length && out.length < max; low++) {
    last = added[low] as number
    const entry = newer?.byCookie.get(last) ?? from.byCookie.get(last)
    const now = newer?.byCookie.get(last) === null ? null : entry
    if (now !== null && now !== undefined) out.push(now)
  }
  return last
}
