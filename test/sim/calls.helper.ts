// How programs change a device's tree: straight through the Tree, with contents inside the ops, or
// through the filesystem, where contents are written to buffers and sealed later.
import { KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Content, Name } from '../../src/ops/types.ts'
import { OPEN_TRUNC } from '../../src/fs/types.ts'
import type { FileSystem } from '../../src/fs/file-system.ts'
import type { BuffersTwin } from '../../src/vault/buffers-twin.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { Files } from '../../src/vault/files.ts'
import type { NewNode, NodeInfo, Tree } from '../../src/vault/tree.ts'
import { tokenOf } from './actor.helper.ts'

export interface Calls {
  make(parent: Ino, name: Name, init: NewNode): Ino
  /** Opens, writes all of it anew, closes. */
  put(ino: Ino, token: string): void
  unlink(parent: Ino, name: Name): void
  rename(parent: Ino, name: Name, newParent: Ino, newName: Name): void
  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void
  link(ino: Ino, parent: Ino, name: Name): void
  setAttrs(ino: Ino, mask: number, attr: Attr): void
  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void
  /** What a reader of the node sees. */
  token(node: NodeInfo): string
  open(ino: Ino): void
  close(ino: Ino): void
}

export class TreeCalls implements Calls {
  readonly #tree: Tree
  readonly #open: Set<number>

  constructor(tree: Tree, open: Set<number>) {
    this.#tree = tree
    this.#open = open
  }

  make(parent: Ino, name: Name, init: NewNode): Ino {
    return this.#tree.make(parent, name, init).ino
  }

  put(ino: Ino, token: string): void {
    const attr = (this.#tree.node(ino) as NodeInfo).attr
    const bytes = Buffer.from(token, 'latin1')
    const content: Content = { kind: 'inline', bytes }
    const times = { ...attr, mtimeSec: attr.mtimeSec + 1, ctimeSec: attr.ctimeSec + 1 }
    this.#tree.put(ino, content, { ...times, sizeBytes: bytes.length })
  }

  unlink(parent: Ino, name: Name): void {
    const { ino, orphan } = this.#tree.unlink(parent, name)
    if (orphan && !this.#open.has(ino)) this.#tree.release(ino)
  }

  rename(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    const { replaced, orphan } = this.#tree.rename(parent, name, newParent, newName)
    if (orphan && replaced !== undefined && !this.#open.has(replaced)) this.#tree.release(replaced)
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    this.#tree.exchange(parent, name, newParent, newName)
  }

  link(ino: Ino, parent: Ino, name: Name): void {
    this.#tree.link(ino, parent, name)
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    this.#tree.setAttrs(ino, mask, attr)
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    this.#tree.setXattr(ino, name, value)
  }

  token(node: NodeInfo): string {
    return tokenOf(node)
  }

  open(ino: Ino): void {
    this.#open.add(ino)
  }

  close(ino: Ino): void {
    this.#open.delete(ino)
    if (this.#tree.node(ino)?.orphan === true) this.#tree.release(ino)
  }
}

const CALLER = { uid: 1000, gid: 1000 }
const RENAME_EXCHANGE = 2
const CREATE_OR_REPLACE = 0

export interface FsParts {
  fs: FileSystem
  files: Files
  buffers: BuffersTwin
  tree: Tree
}

/** Plays the kernel: opens, FLUSH and RELEASE around every write. */
export class FsCalls implements Calls {
  readonly #parts: FsParts
  /** What was written and is not sealed yet. */
  readonly #written = new Map<Ino, string>()

  constructor(parts: FsParts) {
    this.#parts = parts
  }

  make(parent: Ino, name: Name, init: NewNode): Ino {
    const { fs, buffers } = this.#parts
    if (init.kind === KIND_DIRECTORY) return fs.mkdir(CALLER, parent, name, init.mode).ino
    if (init.kind === KIND_SYMLINK) return fs.symlink(CALLER, parent, name, init.target).ino
    if (init.kind !== KIND_FILE) return fs.mknod(CALLER, parent, name, 0o010644, 0).ino
    const { ino } = fs.create(CALLER, parent, name, init.mode, 0)
    buffers.kernelOpen(ino)
    this.close(ino)
    return ino
  }

  put(ino: Ino, token: string): void {
    const { fs, buffers } = this.#parts
    fs.open(ino, OPEN_TRUNC, false)
    buffers.kernelOpen(ino)
    fs.write(ino, 0, Buffer.from(token, 'latin1'))
    this.#written.set(ino, token)
    this.close(ino)
  }

  unlink(parent: Ino, name: Name): void {
    const { fs, tree } = this.#parts
    if (tree.lookup(parent, name)?.kind === KIND_DIRECTORY) fs.rmdir(parent, name)
    else fs.unlink(parent, name)
  }

  rename(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    this.#parts.fs.rename(parent, name, newParent, newName, CREATE_OR_REPLACE)
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    this.#parts.fs.rename(parent, name, newParent, newName, RENAME_EXCHANGE)
  }

  link(ino: Ino, parent: Ino, name: Name): void {
    this.#parts.fs.link(ino, parent, name)
  }

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    this.#parts.fs.setattr(ino, mask, attr)
    this.#parts.fs.drainAttrs()
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    const { fs, tree } = this.#parts
    if (value !== undefined) fs.setxattr(ino, name, value, 0)
    else if (tree.getXattr(ino, name) !== undefined) fs.removexattr(ino, name)
  }

  token(node: NodeInfo): string {
    const written = this.#written.get(node.ino)
    if (written === undefined) return tokenOf(node)
    if (this.#parts.files.isUnsealed(node.ino)) return written
    this.#written.delete(node.ino)
    return tokenOf(node)
  }

  open(ino: Ino): void {
    const { fs, buffers } = this.#parts
    fs.open(ino, 0, false)
    buffers.kernelOpen(ino)
  }

  close(ino: Ino): void {
    const { buffers } = this.#parts
    buffers.kernelFlush(ino)
    buffers.kernelRelease(ino)
  }
}
