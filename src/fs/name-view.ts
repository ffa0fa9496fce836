// NameView: a tree whose names match by NFC or without case, as other systems expect it, over one
// whose names are bytes. Two real names that are one for the view are both shown, one of them
// under a conflict name; names that are no text have their bad bytes escaped. Nothing replicated
// changes: names are stored as they were given, and what is read is translated here.
//
// A directory's names are gathered when it is first looked into, at a cost of its size, and kept
// up to date; whoever changes the tree beneath (other devices' changes) tells changed(). Memory is
// bounded by forgetting the directories that were used longest ago.

import type { Content, Name, OpRef } from '../ops/types.ts'
import type { Attr, Ino } from '../vault/buffers.ts'
import type { DirEntry, NewNode, NodeInfo, Ticket, Tree } from '../vault/tree.ts'
import { DirectoryView } from './directory-view.ts'
import type { NameOrder } from './directory-view.ts'
import type { NameMatching } from './name-keys.ts'
import { Lru } from '../util/lru.ts'

/** Names kept in RAM, over all directories; a greater directory is gathered at each use. */
const NAMES_MAX = 1_500_000
const PAGE = 1000

export interface NameViewOptions {
  tree: Tree
  matching: NameMatching
  /** What decides between names of the directory that the view takes for one. */
  order: (parent: Ino) => NameOrder
}

export class NameView implements Tree {
  readonly root: Ino
  readonly #tree: Tree
  readonly #options: NameViewOptions
  readonly #views = new Lru<Ino, DirectoryView>({ maxBytes: NAMES_MAX })

  constructor(options: NameViewOptions) {
    this.#options = options
    this.#tree = options.tree
    this.root = options.tree.root
  }

  /** An entry of the tree beneath has come, gone or changed. */
  changed(parent: Ino, name: Name): void {
    const view = this.#views.get(parent)
    if (view === undefined) return
    if (this.#tree.lookup(parent, name) === undefined) view.remove(name)
    else view.add(name)
    this.#views.set(parent, view, view.count + 1)
  }

  /** The name under which a real one is shown, as far as the directory has been looked into. */
  shownAs(parent: Ino, real: Name): Name {
    return this.#views.get(parent)?.shownAs(real) ?? real
  }

  // ---- names in, names out ----

  lookup(parent: Ino, name: Name): DirEntry | undefined {
    const view = this.#view(parent)
    const real = view?.resolve(name)
    const entry = real === undefined ? undefined : this.#tree.lookup(parent, real)
    return entry === undefined ? undefined : shown(entry, view)
  }

  lookupNode(parent: Ino, name: Name): NodeInfo | undefined {
    const real = this.#view(parent)?.resolve(name)
    return real === undefined ? undefined : this.#tree.lookupNode(parent, real)
  }

  list(parent: Ino, after: number, max: number): DirEntry[] {
    const view = this.#view(parent)
    return this.#tree.list(parent, after, max).map((entry) => shown(entry, view))
  }

  listNodes(parent: Ino, after: number, max: number): { entry: DirEntry; node: NodeInfo }[] {
    const view = this.#view(parent)
    const list = this.#tree.listNodes(parent, after, max)
    return list.map(({ entry, node }) => ({ entry: shown(entry, view), node }))
  }

  originOf(parent: Ino, name: Name): OpRef | undefined {
    return this.#tree.originOf(parent, this.#real(parent, name))
  }

  make(parent: Ino, name: Name, init: NewNode): NodeInfo {
    const node = this.#tree.make(parent, name, init)
    this.changed(parent, name)
    return node
  }

  link(ino: Ino, parent: Ino, name: Name): NodeInfo {
    const node = this.#tree.link(ino, parent, name)
    this.changed(parent, name)
    return node
  }

  unlink(parent: Ino, name: Name): { ino: Ino; orphan: boolean } {
    const real = this.#real(parent, name)
    const result = this.#tree.unlink(parent, real)
    this.changed(parent, real)
    return result
  }

  rename(
    parent: Ino, name: Name, newParent: Ino, newName: Name,
  ): { replaced: Ino | undefined; orphan: boolean } {
    const real = this.#real(parent, name)
    const there = this.#real(newParent, newName)
    // only the spelling changes
    const isSame = parent === newParent && there === real
    const target = isSame ? newName : there
    const result = this.#tree.rename(parent, real, newParent, target)
    this.changed(parent, real)
    this.changed(newParent, target)
    return result
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    this.#tree.exchange(parent, this.#real(parent, name), newParent, this.#real(newParent, newName))
  }

  #real(parent: Ino, name: Name): Name {
    return this.#view(parent)?.resolve(name) ?? name
  }

  #view(parent: Ino): DirectoryView | undefined {
    const known = this.#views.get(parent)
    if (known !== undefined) return known
    if (this.#tree.node(parent) === undefined) return undefined
    const view = new DirectoryView(this.#options.matching, this.#options.order(parent))
    for (let after = 0; ;) {
      const page = this.#tree.list(parent, after, PAGE)
      for (const { name } of page) view.add(name)
      if (page.length < PAGE) break
      after = page[page.length - 1]?.cookie ?? after
    }
    this.#views.set(parent, view, view.count + 1)
    return view
  }

  // ---- what has no names ----

  node(ino: Ino): NodeInfo | undefined {
    return this.#tree.node(ino)
  }

  makeUnnamed(init: NewNode): NodeInfo {
    return this.#tree.makeUnnamed(init)
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    this.#tree.setAttrs(ino, mask, attr)
  }

  getXattr(ino: Ino, name: string): Uint8Array | undefined {
    return this.#tree.getXattr(ino, name)
  }

  listXattrs(ino: Ino): string[] {
    return this.#tree.listXattrs(ino)
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    this.#tree.setXattr(ino, name, value)
  }

  put(ino: Ino, content: Content, attr: Attr): void {
    this.#tree.put(ino, content, attr)
  }

  release(ino: Ino): void {
    this.#tree.release(ino)
  }

  ticket(): Ticket {
    return this.#tree.ticket()
  }

  durable(ticket: Ticket): Promise<void> {
    return this.#tree.durable(ticket)
  }

  counts(): { files: number; directories: number; contentBytes: number } {
    return this.#tree.counts()
  }
}

function shown(entry: DirEntry, view: DirectoryView | undefined): DirEntry {
  const name = view?.shownAs(entry.name) ?? entry.name
  return name === entry.name ? entry : { ...entry, name }
}
