// Base in maps: the twin of db/ for tests, the simulator and the first moments of a vault. It takes
// frozen generations as a checkpoint does, but keeps the decoded records.

import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import { MoveChanges, SideChanges, compareControl, putPlaced } from './overlay-side.ts'
import type { Placed } from './overlay-side.ts'
import type { Generation } from './overlay.ts'
import type {
  BatchInfo, ControlBatch, Entry, GroupRecord, MoveRecord, NodeRecord,
} from './records.ts'
import { NO_NAMES, STORED_BY_INO, STORED_HIDDEN } from './records.ts'
import { StateHash } from './state-hash.ts'
import type { Base, GroupPlace, PlacedGroup } from './store.ts'

interface Directory {
  byName: Map<Name, Entry>
  byCookie: Map<number, Entry>
}

export class MemoryBase implements Base {
  readonly nodes = new Map<number, NodeRecord>()
  readonly hiddenNodes = new Map<NodeId, NodeRecord>()
  readonly stateHash = new StateHash()
  readonly #inos = new Map<NodeId, number>()
  readonly #links = new Map<LinkId, NodeId>()
  readonly #directories = new Map<number, Directory>()
  readonly #side = new SideChanges()
  readonly #moves = new MoveChanges()
  /** Of the last generation that it took. */
  #epoch = 0

  get epoch(): number {
    return this.#epoch
  }

  node(ino: number): NodeRecord | undefined {
    return this.nodes.get(ino)
  }

  entry(parent: number, name: Name): Entry | undefined {
    return this.#directories.get(parent)?.byName.get(name)
  }

  entries(parent: number, after: number, max: number): Entry[] {
    const all = this.#directories.get(parent)?.byCookie.values() ?? []
    const later = [...all].filter((entry) => entry.cookie > after)
    return later.sort((a, b) => a.cookie - b.cookie).slice(0, max)
  }

  inoOf(node: NodeId): number | undefined {
    return this.#inos.get(node)
  }

  nodeOfLink(link: LinkId): NodeId | undefined {
    return this.#links.get(link)
  }

  hidden(node: NodeId): NodeRecord | undefined {
    return this.hiddenNodes.get(node)
  }

  group(dir: number, name: Name): GroupRecord | undefined {
    return this.#side.groups.get(dir)?.get(name) ?? undefined
  }

  skips(dir: number, name: Name): readonly Name[] {
    return this.#side.skips.get(dir)?.get(name) ?? NO_NAMES
  }

  groupOrder(dir: number, name: Name): string {
    return `${String(dir).padStart(16, '0')}/${name}`
  }

  groups(after: GroupPlace | undefined, max: number): PlacedGroup[] {
    const begin = after === undefined ? '' : this.groupOrder(after.dir, after.name)
    const placed = new Map<string, PlacedGroup>()
    for (const [dir, names] of this.#side.groups) {
      for (const [name, group] of names) {
        const order = this.groupOrder(dir, name)
        if (group !== null && order > begin) placed.set(order, { dir, name, group })
      }
    }
    return [...placed].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, max).map(([, one]) => one)
  }

  * movesFrom(end: OpRef | undefined): Iterable<MoveRecord> {
    for (const { move } of this.#moves.descending(end)) if (move !== null) yield move
  }

  batch(author: AuthorId, seq: number): BatchInfo | undefined {
    return this.#side.batches.get(author)?.get(seq)
  }

  control(after: { author: AuthorId; seq: number } | undefined, max: number): ControlBatch[] {
    const out: ControlBatch[] = []
    for (const batches of this.#side.control.values()) out.push(...batches.values())
    out.sort(compareControl)
    return out.filter((one) => after === undefined || compareControl(one, after) > 0).slice(0, max)
  }

  /** Takes a frozen generation whose refs are all placed. */
  absorb(generation: Generation): void {
    this.#epoch = generation.epoch
    this.#absorbSide(generation.side)
    for (const [ino, record] of generation.nodes) {
      if (record === null) {
        this.nodes.delete(ino)
        continue
      }
      this.stateHash.update(record)
      record.stored = STORED_BY_INO
      this.nodes.set(ino, record)
    }
    for (const [node, record] of generation.hidden) {
      if (record === null) {
        this.hiddenNodes.delete(node)
        continue
      }
      this.stateHash.update(record)
      record.stored = STORED_HIDDEN
      this.hiddenNodes.set(node, record)
    }
    for (const [node, ino] of generation.inos) {
      if (ino === 0) this.#inos.delete(node)
      else this.#inos.set(node, ino)
    }
    for (const [link, node] of generation.links) this.#links.set(link, node)
    for (const [parent, changes] of generation.directories) {
      let directory = this.#directories.get(parent)
      if (directory === undefined) {
        directory = { byName: new Map(), byCookie: new Map() }
        this.#directories.set(parent, directory)
      }
      for (const [name, entry] of changes.byName) {
        if (entry === null) directory.byName.delete(name)
        else directory.byName.set(name, entry)
      }
      for (const [cookie, entry] of changes.byCookie) {
        if (entry === null) directory.byCookie.delete(cookie)
        else directory.byCookie.set(cookie, entry)
      }
    }
  }

  #absorbSide(side: SideChanges): void {
    for (const [dir, names] of side.groups) {
      for (const [name, group] of names) {
        if (group !== null) putPlaced(this.#side.groups, dir, name, group)
        else removePlaced(this.#side.groups, dir, name)
      }
    }
    for (const [dir, names] of side.skips) {
      for (const [name, by] of names) {
        if (by.length > 0) putPlaced(this.#side.skips, dir, name, by)
        else removePlaced(this.#side.skips, dir, name)
      }
    }
    for (const [author, batches] of side.batches) {
      for (const [seq, info] of batches) putPlaced(this.#side.batches, author, seq, info)
    }
    for (const [author, batches] of side.control) {
      for (const [seq, batch] of batches) putPlaced(this.#side.control, author, seq, batch)
    }
    const moves = this.#moves
    for (const { ref, move } of side.moves) {
      if (move !== null) moves.set(ref, move)
      else moves.delete(ref)
    }
  }
}

function removePlaced<Place, Key, Value>(
  table: Placed<Place, Key, Value>, place: Place, key: Key,
): void {
  const inner = table.get(place)
  inner?.delete(key)
  if (inner?.size === 0) table.delete(place)
}
