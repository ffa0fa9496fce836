// Reading directories. There is no state per open directory: a cookie is the tree's own number of
// an entry, ascending and never reused, so that a listing continues correctly whatever changed.

import { KIND_DIRECTORY, KIND_FILE, type Name } from '../ops/types.ts'
import type { FsContext } from './context.ts'
import type { DirItem, DirItemPlus, Entry, Ino } from './types.ts'

const COOKIE_SELF = 1
const COOKIE_PARENT = 2

export class Directories {
  readonly #fs: FsContext

  constructor(context: FsContext) {
    this.#fs = context
  }

  opendir(ino: Ino): void {
    this.#fs.directory(ino)
  }

  /** Items behind the cookie (0 = from the start), at most `max`; fewer only at the end. */
  readdir(ino: Ino, after: number, max: number): DirItem[] {
    const { parent } = this.#fs.directory(ino)
    const items: DirItem[] = []
    if (after < COOKIE_SELF) items.push(dots('.', COOKIE_SELF, ino))
    if (after < COOKIE_PARENT) items.push(dots('..', COOKIE_PARENT, parent))
    const rest = max - items.length
    if (rest <= 0) return items.slice(0, max)
    for (const entry of this.#fs.tree.list(ino, Math.max(after, COOKIE_PARENT), rest)) {
      items.push(entry)
    }
    return items
  }

  /** As readdir(), with attributes. Those of '.' and '..' are not to be counted as lookups. */
  readdirplus(ino: Ino, after: number, max: number): DirItemPlus[] {
    const fs = this.#fs
    const items: DirItemPlus[] = []
    if (after < COOKIE_PARENT) {
      for (const item of this.readdir(ino, after, Math.min(max, COOKIE_PARENT - after))) {
        const { generation, attr } = fs.entry(fs.node(item.ino))
        items.push({ ...item, generation, attr })
      }
    } else {
      fs.directory(ino)
    }
    const rest = max - items.length
    if (rest <= 0) return items
    for (const { entry, node } of fs.tree.listNodes(ino, Math.max(after, COOKIE_PARENT), rest)) {
      items.push({ ...entry, generation: node.generation, attr: fs.attrs(node) })
    }
    return items
  }

  /** What may be told of entries before anybody asks for them, at most `max` behind the cookie;
   *  undefined for a node whose attributes are more than what the tree has. */
  ahead(ino: Ino, after: number, max: number): { item: DirItem; entry: Entry | undefined }[] {
    const { files, tree } = this.#fs
    return tree.listNodes(ino, Math.max(after, COOKIE_PARENT), max).map(({ entry: item, node }) => {
      const isPlain = node.kind !== KIND_FILE || files.isAtRest(node)
      return { item, entry: isPlain ? node : undefined }
    })
  }

  /** Where an entry stands among the others; 0: there is no such name. */
  cookieOf(ino: Ino, name: string): number {
    return this.#fs.tree.lookup(ino, name as Name)?.cookie ?? 0
  }
}

function dots(name: string, cookie: number, ino: Ino): DirItem {
  return { name, cookie, ino, kind: KIND_DIRECTORY }
}
