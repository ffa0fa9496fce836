// Base in maps: the twin of db/ for tests, the simulator and the first moments of a vault. It takes
// frozen generations as a checkpoint does, but keeps the decoded records.

import type { LinkId, Name, NodeId } from '../ops/types.ts'
import type { Generation } from './overlay.ts'
import type { Entry, NodeRecord } from './records.ts'
import { STORED_BY_INO, STORED_HIDDEN } from './records.ts'
import { StateHash } from './state-hash.ts'
import type { Base } from './store.ts'

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

  /** Takes a frozen generation whose refs are all placed. */
  absorb(generation: Generation): void {
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
}
