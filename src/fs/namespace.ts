// Names: making, linking, removing and renaming, with POSIX's rules of what may replace what.
// Permissions (sticky bit included), symlink resolution, umask and mount crossings are the
// kernel's.

import { KIND_BLOCK_DEVICE, KIND_CHAR_DEVICE, KIND_DIRECTORY, KIND_FIFO } from '../ops/types.ts'
import { KIND_FILE, KIND_SOCKET, KIND_SYMLINK, type Name, type NodeKind } from '../ops/types.ts'
import type { DirEntry, NewNode, NodeInfo } from '../vault/tree.ts'
import { checkName, type FsContext } from './context.ts'
import { EEXIST, EINVAL, EISDIR, EMLINK, ENAMETOOLONG, ENOENT, ENOTDIR } from './errno.ts'
import { ENOTEMPTY, EPERM, errno } from './errno.ts'
import { MODE_PERMISSIONS, MODE_SETGID, MODE_TYPE } from './types.ts'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, type Caller, type Entry, type Ino } from './types.ts'

export const SYMLINK_MAX_BYTES = 4095
export const LINK_MAX = 65_000

const KIND_OF_TYPE: ReadonlyMap<number, NodeKind> = new Map<number, NodeKind>([
  [0, KIND_FILE], // mknod without a type makes a regular file
  [0o100000, KIND_FILE],
  [0o010000, KIND_FIFO],
  [0o140000, KIND_SOCKET],
  [0o020000, KIND_CHAR_DEVICE],
  [0o060000, KIND_BLOCK_DEVICE],
])

export class Namespace {
  readonly #fs: FsContext

  constructor(context: FsContext) {
    this.#fs = context
  }

  /** undefined: no such name. */
  lookup(parent: Ino, name: string): Entry | undefined {
    const fs = this.#fs
    if (name === '.') return fs.entry(fs.directory(parent))
    if (name === '..') return fs.entry(fs.node(fs.directory(parent).parent))
    const node = fs.tree.lookupNode(parent, checkName(name))
    if (node !== undefined) return fs.entry(node)
    fs.directory(parent)
    return undefined
  }

  readlink(ino: Ino): string {
    const node = this.#fs.node(ino)
    if (node.kind !== KIND_SYMLINK) throw errno(EINVAL)
    return node.target
  }

  mknod(parent: Ino, name: string, mode: number, rdev: number, caller: Caller): Entry {
    const kind = KIND_OF_TYPE.get(mode & MODE_TYPE)
    if (kind === undefined) throw errno(EINVAL)
    const device = kind === KIND_CHAR_DEVICE || kind === KIND_BLOCK_DEVICE
    return this.#make(parent, name, kind, mode, caller, { rdev: device ? rdev : 0, target: '' })
  }

  mkdir(parent: Ino, name: string, mode: number, caller: Caller): Entry {
    return this.#make(parent, name, KIND_DIRECTORY, mode, caller, { rdev: 0, target: '' })
  }

  symlink(parent: Ino, name: string, target: string, caller: Caller): Entry {
    if (target === '') throw errno(ENOENT)
    if (target.length > SYMLINK_MAX_BYTES) throw errno(ENAMETOOLONG)
    return this.#make(parent, name, KIND_SYMLINK, 0o777, caller, { rdev: 0, target })
  }

  /** A new file that is about to be opened. */
  createFile(parent: Ino, name: string, mode: number, caller: Caller): Entry {
    return this.#make(parent, name, KIND_FILE, mode, caller, { rdev: 0, target: '' })
  }

  createUnnamed(parent: Ino, mode: number, caller: Caller): NodeInfo {
    const fs = this.#fs
    fs.beginGrowing()
    const directory = fs.liveDirectory(parent)
    const owner = ownerIn(directory, KIND_FILE, mode, caller)
    return fs.tree.makeUnnamed({ kind: KIND_FILE, rdev: 0, target: '', ...owner })
  }

  #make(
    parent: Ino,
    name: string,
    kind: NodeKind,
    mode: number,
    caller: Caller,
    more: { rdev: number; target: string },
  ): Entry {
    const fs = this.#fs
    fs.beginGrowing()
    const checked = this.#freeName(parent, name)
    const owner = ownerIn(fs.liveDirectory(parent), kind, mode, caller)
    const node = fs.tree.make(parent, checked, { kind, ...more, ...owner })
    fs.refresh(parent)
    return fs.entry(node)
  }

  link(ino: Ino, parent: Ino, name: string): Entry {
    const fs = this.#fs
    fs.beginGrowing()
    const node = fs.node(ino)
    if (node.kind === KIND_DIRECTORY) throw errno(EPERM)
    // one that another device's change has just replaced has no name either
    if (node.attr.nlink === 0 && !fs.files.orphans.isUnnamed(ino)) throw errno(ENOENT)
    if (node.attr.nlink >= LINK_MAX) throw errno(EMLINK)
    const linked = fs.tree.link(ino, parent, this.#freeName(parent, name))
    fs.files.orphans.named(ino)
    fs.refresh(parent)
    fs.refresh(ino)
    return fs.entry(linked)
  }

  unlink(parent: Ino, name: string): void {
    this.#fs.begin()
    const entry = this.#existing(parent, checkName(name))
    if (entry.kind === KIND_DIRECTORY) throw errno(EISDIR)
    this.#remove(parent, entry)
  }

  rmdir(parent: Ino, name: string): void {
    this.#fs.begin()
    if (name === '..') throw errno(ENOTEMPTY)
    const entry = this.#existing(parent, checkName(name))
    if (entry.kind !== KIND_DIRECTORY) throw errno(ENOTDIR)
    if (this.#fs.node(entry.ino).entryCount > 0) throw errno(ENOTEMPTY)
    this.#remove(parent, entry)
  }

  #remove(parent: Ino, entry: DirEntry): void {
    const fs = this.#fs
    const { ino, orphan } = fs.tree.unlink(parent, entry.name)
    fs.refresh(parent)
    this.#lostName(ino, orphan)
  }

  #lostName(ino: Ino, orphan: boolean): void {
    this.#fs.refresh(ino)
    if (orphan) this.#fs.files.orphans.add(ino)
  }

  rename(parent: Ino, name: string, newParent: Ino, newName: string, flags: number): void {
    const fs = this.#fs
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) throw errno(EINVAL)
    const exchange = (flags & RENAME_EXCHANGE) !== 0
    const noReplace = (flags & RENAME_NOREPLACE) !== 0
    if (exchange && noReplace) throw errno(EINVAL)
    fs.begin()
    const source = this.#existing(parent, checkName(name))
    const targetName = checkName(newName)
    fs.liveDirectory(newParent)
    const target = fs.tree.lookup(newParent, targetName)
    if (noReplace && target !== undefined) throw errno(EEXIST)
    if (exchange && target === undefined) throw errno(ENOENT)
    const isRespelt = target?.name === source.name && parent === newParent
      && targetName !== source.name
    if (target?.ino === source.ino && !isRespelt) return
    if (isRespelt) {
      fs.tree.rename(parent, source.name, newParent, targetName)
      fs.refresh(parent)
      return
    }
    this.#checkNoLoop(source, newParent)
    if (exchange && target !== undefined) {
      this.#checkNoLoop(target, parent)
      fs.tree.exchange(parent, source.name, newParent, targetName)
      fs.refresh(target.ino)
    } else {
      if (target !== undefined) this.#checkReplace(source, target)
      const { replaced, orphan } = fs.tree.rename(parent, source.name, newParent, targetName)
      if (replaced !== undefined) this.#lostName(replaced, orphan)
    }
    fs.refresh(source.ino)
    fs.refresh(parent)
    if (newParent !== parent) fs.refresh(newParent)
  }

  /** A directory may not move into itself or below. */
  #checkNoLoop(moved: DirEntry, newParent: Ino): void {
    if (moved.kind !== KIND_DIRECTORY) return
    const { tree } = this.#fs
    for (let at = newParent; at !== tree.root; at = this.#fs.node(at).parent) {
      if (at === moved.ino) throw errno(EINVAL)
    }
  }

  #checkReplace(source: DirEntry, target: DirEntry): void {
    const fromDirectory = source.kind === KIND_DIRECTORY
    if (target.kind !== KIND_DIRECTORY) {
      if (fromDirectory) throw errno(ENOTDIR)
      return
    }
    if (!fromDirectory) throw errno(EISDIR)
    if (this.#fs.node(target.ino).entryCount > 0) throw errno(ENOTEMPTY)
  }

  #existing(parent: Ino, name: Name): DirEntry {
    const entry = this.#fs.tree.lookup(parent, name)
    if (entry !== undefined) return entry
    this.#fs.directory(parent)
    throw errno(ENOENT)
  }

  #freeName(parent: Ino, name: string): Name {
    if (name === '.' || name === '..') throw errno(EEXIST)
    const checked = checkName(name)
    this.#fs.liveDirectory(parent)
    if (this.#fs.tree.lookup(parent, checked) !== undefined) throw errno(EEXIST)
    return checked
  }
}

/** Owner and mode of something made in a directory: a setgid directory hands its group down, and to
 *  directories the bit as well. */
function ownerIn(
  directory: NodeInfo,
  kind: NodeKind,
  mode: number,
  caller: Caller,
): Pick<NewNode, 'uid' | 'gid' | 'mode'> {
  const inherits = (directory.attr.mode & MODE_SETGID) !== 0
  const bits = mode & MODE_PERMISSIONS
  return {
    uid: caller.uid,
    gid: inherits ? directory.attr.gid : caller.gid,
    mode: inherits && kind === KIND_DIRECTORY ? bits | MODE_SETGID : bits,
  }
}
