// MemoryTree: the port Tree over plain maps, nothing durable, no operations. The naive oracle that
// the real tree is compared with, and a stand-in for tests of what stands on the port.

import * as port from '../../src/vault/buffers.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { DirEntry, NewNode, NodeInfo, Ticket, Tree } from '../../src/vault/tree.ts'
import { KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Content, Name, NodeKind } from '../../src/ops/types.ts'

interface MemoryNode {
  ino: Ino
  kind: NodeKind
  attr: Attr
  content: Content | undefined
  target: string
  entries: Map<Name, { cookie: number; ino: Ino }>
  nextCookie: number
  parent: Ino
  links: number
  unnamed: boolean
  xattrs: Map<string, Uint8Array>
}

const TYPE_BITS = [0, 0o040000, 0o100000, 0o120000, 0o010000, 0o140000, 0o020000, 0o060000]

export class MemoryTree implements Tree {
  readonly root = 1 as Ino
  readonly #now: () => { sec: number; nsec: number }
  readonly #nodes = new Map<Ino, MemoryNode>()
  #nextIno = 1

  constructor(now: () => { sec: number; nsec: number }) {
    this.#now = now
    const init = { kind: KIND_DIRECTORY, mode: 0o755, uid: 0, gid: 0, rdev: 0, target: '' } as const
    const root = this.#add(init)
    root.parent = root.ino
    root.links = 1
  }

  get size(): number {
    return this.#nodes.size
  }

  node(ino: Ino): NodeInfo | undefined {
    const node = this.#nodes.get(ino)
    return node && this.#info(node)
  }

  lookup(parent: Ino, name: Name): DirEntry | undefined {
    const entry = this.#nodes.get(parent)?.entries.get(name)
    return entry && { name, ...entry, kind: this.#must(entry.ino).kind }
  }

  lookupNode(parent: Ino, name: Name): NodeInfo | undefined {
    const entry = this.lookup(parent, name)
    return entry && this.node(entry.ino)
  }

  list(parent: Ino, after: number, max: number): DirEntry[] {
    const all = [...this.#must(parent).entries].map(([name, entry]): DirEntry => {
      return { name, ...entry, kind: this.#must(entry.ino).kind }
    })
    return all
      .filter((entry) => entry.cookie > after)
      .sort((a, b) => a.cookie - b.cookie)
      .slice(0, max)
  }

  listNodes(parent: Ino, after: number, max: number): { entry: DirEntry; node: NodeInfo }[] {
    return this.list(parent, after, max).map((entry) => {
      return { entry, node: this.#info(this.#must(entry.ino)) }
    })
  }

  originOf(): undefined {
    return undefined
  }

  make(parent: Ino, name: Name, init: NewNode): NodeInfo {
    const node = this.#add(init)
    this.#enter(parent, name, node)
    return this.#info(node)
  }

  makeUnnamed(init: NewNode): NodeInfo {
    const node = this.#add(init)
    node.unnamed = true
    return this.#info(node)
  }

  link(ino: Ino, parent: Ino, name: Name): NodeInfo {
    const node = this.#must(ino)
    node.unnamed = false
    this.#enter(parent, name, node)
    this.#ctime(node)
    return this.#info(node)
  }

  unlink(parent: Ino, name: Name): { ino: Ino; orphan: boolean } {
    const node = this.#leave(parent, name)
    return { ino: node.ino, orphan: node.links === 0 }
  }

  rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
  ): { replaced: Ino | undefined; orphan: boolean } {
    const target = this.lookup(newParent, newName)
    const replaced = target && this.#leave(newParent, newName)
    const node = this.#leave(parent, name)
    this.#enter(newParent, newName, node)
    return { replaced: replaced?.ino, orphan: replaced?.links === 0 }
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    const a = this.#leave(parent, name)
    const b = this.#leave(newParent, newName)
    this.#enter(parent, name, b)
    this.#enter(newParent, newName, a)
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    const node = this.#must(ino)
    const mine = node.attr
    if (mask & port.ATTR_MODE) mine.mode = (mine.mode & 0o170000) | (attr.mode & 0o7777)
    if (mask & port.ATTR_UID) mine.uid = attr.uid
    if (mask & port.ATTR_GID) mine.gid = attr.gid
    if (mask & port.ATTR_ATIME) {
      mine.atimeSec = attr.atimeSec
      mine.atimeNsec = attr.atimeNsec
    }
    if (mask & port.ATTR_MTIME) {
      mine.mtimeSec = attr.mtimeSec
      mine.mtimeNsec = attr.mtimeNsec
    }
    this.#ctime(node)
  }

  getXattr(ino: Ino, name: string): Uint8Array | undefined {
    return this.#must(ino).xattrs.get(name)
  }

  listXattrs(ino: Ino): string[] {
    return [...this.#must(ino).xattrs.keys()]
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    const node = this.#must(ino)
    if (value === undefined) node.xattrs.delete(name)
    else node.xattrs.set(name, value)
    this.#ctime(node)
  }

  put(ino: Ino, content: Content, attr: Attr): void {
    const node = this.#must(ino)
    node.content = content
    node.attr.sizeBytes = attr.sizeBytes
    node.attr.mtimeSec = attr.mtimeSec
    node.attr.mtimeNsec = attr.mtimeNsec
    this.#ctime(node)
  }

  release(ino: Ino): void {
    const node = this.#must(ino)
    if (node.links > 0) throw new Error('release: the node has a name')
    this.#nodes.delete(ino)
  }

  ticket(): Ticket {
    return 0
  }

  async durable(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
  }

  counts(): { files: number; directories: number; contentBytes: number } {
    let directories = 0
    for (const node of this.#nodes.values()) if (node.kind === KIND_DIRECTORY) directories++
    return { files: this.#nodes.size - directories, directories, contentBytes: 0 }
  }

  #add(init: NewNode): MemoryNode {
    const { sec, nsec } = this.#now()
    const ino = this.#nextIno++ as Ino
    const node: MemoryNode = {
      ino,
      kind: init.kind,
      attr: {
        mode: (TYPE_BITS[init.kind] as number) | init.mode,
        nlink: 0,
        uid: init.uid,
        gid: init.gid,
        rdev: init.rdev,
        sizeBytes: init.kind === KIND_SYMLINK ? init.target.length : 0,
        atimeSec: sec,
        atimeNsec: nsec,
        mtimeSec: sec,
        mtimeNsec: nsec,
        ctimeSec: sec,
        ctimeNsec: nsec,
      },
      content: undefined,
      target: init.target,
      entries: new Map(),
      nextCookie: 3,
      parent: ino,
      links: 0,
      unnamed: false,
      xattrs: new Map(),
    }
    this.#nodes.set(ino, node)
    return node
  }

  #enter(parent: Ino, name: Name, node: MemoryNode): void {
    const directory = this.#must(parent)
    if (directory.entries.has(name)) throw new Error('the name is taken')
    directory.entries.set(name, { cookie: directory.nextCookie++, ino: node.ino })
    node.links++
    node.parent = parent
    this.#modified(directory)
    this.#ctime(node)
  }

  #leave(parent: Ino, name: Name): MemoryNode {
    const directory = this.#must(parent)
    const entry = directory.entries.get(name)
    if (entry === undefined) throw new Error('no such name')
    directory.entries.delete(name)
    const node = this.#must(entry.ino)
    node.links--
    this.#modified(directory)
    this.#ctime(node)
    return node
  }

  #info(node: MemoryNode): NodeInfo {
    const { ino, kind, content, target, parent } = node
    let { links } = node
    if (kind === KIND_DIRECTORY && links > 0) {
      links = 2
      for (const entry of node.entries.values()) {
        if (this.#must(entry.ino).kind === KIND_DIRECTORY) links++
      }
    }
    const attr = { ...node.attr, nlink: links }
    const orphan = node.links === 0
    const entryCount = node.entries.size
    if (kind !== KIND_FILE && content !== undefined) throw new Error('content of no file')
    return { ino, generation: 0, kind, attr, content, target, orphan, entryCount, parent }
  }

  #must(ino: Ino): MemoryNode {
    const node = this.#nodes.get(ino)
    if (node === undefined) throw new Error(`no ino ${ino}`)
    return node
  }

  #ctime(node: MemoryNode): void {
    const { sec, nsec } = this.#now()
    node.attr.ctimeSec = sec
    node.attr.ctimeNsec = nsec
  }

  #modified(node: MemoryNode): void {
    this.#ctime(node)
    node.attr.mtimeSec = node.attr.ctimeSec
    node.attr.mtimeNsec = node.attr.ctimeNsec
  }
}
