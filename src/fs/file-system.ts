// FileSystem: the operations on inodes of one mounted vault, one method per system call, knowing
// no protocol. Names are latin1 strings (one character per byte), inos are local. Every method
// either returns plain results, throws (or rejects with) an Errno, or passes an error of the
// engine through, which errno() of the mapper turns into a number in one place.
//
// Synchronous wherever nothing has to be waited for; only the calls marked async may wait.
// Called by the transport (fuse/) on the engine's thread; its parts are in this folder.

import { Attributes } from './attributes.ts'
import { FsContext, type FsOptions } from './context.ts'
import { Data } from './data.ts'
import { Directories } from './directories.ts'
import { Namespace } from './namespace.ts'
import { Xattrs } from './xattrs.ts'
import { EEXIST, errno } from './errno.ts'
import { OPEN_EXCL, OPEN_TRUNC, SET_KILL_PRIVILEGES } from './types.ts'
import type { Attr, Caller, DirItem, DirItemPlus, Entry, Ino, Statfs } from './types.ts'

export class FileSystem {
  readonly #context: FsContext
  readonly #names: Namespace
  readonly #attributes: Attributes
  readonly #directories: Directories
  readonly #xattrs: Xattrs
  readonly #data: Data

  constructor(options: FsOptions) {
    this.#context = new FsContext(options)
    this.#names = new Namespace(this.#context)
    this.#attributes = new Attributes(this.#context)
    this.#directories = new Directories(this.#context)
    this.#xattrs = new Xattrs(this.#context)
    this.#data = new Data(this.#context)
  }

  get root(): Ino {
    return this.#context.tree.root
  }

  get readOnly(): boolean {
    return this.#context.readOnly
  }

  /** Brings what the buffers changed by themselves to the tree; every change does it, too. */
  drainAttrs(): void {
    this.#context.drainAttrs()
  }

  /** What every change begins with, for one that comes past the kernel (the control API). */
  begin(): void {
    this.#context.begin()
  }

  // ---- names

  /** undefined: there is no such name. */
  lookup(parent: Ino, name: string): Entry | undefined {
    return this.#names.lookup(parent, name)
  }

  readlink(ino: Ino): string {
    return this.#names.readlink(ino)
  }

  mknod(caller: Caller, parent: Ino, name: string, mode: number, rdev: number): Entry {
    return this.#names.mknod(parent, name, mode, rdev, caller)
  }

  mkdir(caller: Caller, parent: Ino, name: string, mode: number): Entry {
    return this.#names.mkdir(parent, name, mode, caller)
  }

  symlink(caller: Caller, parent: Ino, name: string, target: string): Entry {
    return this.#names.symlink(parent, name, target, caller)
  }

  link(ino: Ino, parent: Ino, name: string): Entry {
    return this.#names.link(ino, parent, name)
  }

  unlink(parent: Ino, name: string): void {
    this.#names.unlink(parent, name)
  }

  rmdir(parent: Ino, name: string): void {
    this.#names.rmdir(parent, name)
  }

  rename(parent: Ino, name: string, newParent: Ino, newName: string, flags: number): void {
    this.#names.rename(parent, name, newParent, newName, flags)
  }

  // ---- attributes

  getattr(ino: Ino): Attr {
    return this.#attributes.getattr(ino)
  }

  /** `mask`: ATTR_* of the attributes to set from `attr`, and SET_* of types.ts. */
  setattr(ino: Ino, mask: number, attr: Attr): Attr {
    return this.#attributes.setattr(ino, mask, attr)
  }

  statfs(): Statfs {
    return this.#attributes.statfs()
  }

  getxattr(ino: Ino, name: string): Uint8Array {
    return this.#xattrs.getxattr(ino, name)
  }

  listxattr(ino: Ino): string[] {
    return this.#xattrs.listxattr(ino)
  }

  setxattr(ino: Ino, name: string, value: Uint8Array, flags: number): void {
    this.#xattrs.setxattr(ino, name, value, flags)
  }

  removexattr(ino: Ino, name: string): void {
    this.#xattrs.removexattr(ino, name)
  }

  // ---- directories

  opendir(ino: Ino): void {
    this.#directories.opendir(ino)
  }

  readdir(ino: Ino, after: number, max: number): DirItem[] {
    return this.#directories.readdir(ino, after, max)
  }

  readdirplus(ino: Ino, after: number, max: number): DirItemPlus[] {
    return this.#directories.readdirplus(ino, after, max)
  }

  /** Entries behind the cookie, to be told to the kernel's side ahead of their LOOKUP; without an
   *  `entry`, the name alone may be told. */
  ahead(ino: Ino, after: number, max: number): { item: DirItem; entry: Entry | undefined }[] {
    return this.#directories.ahead(ino, after, max)
  }

  /** 0: there is no such name. */
  cookieOf(ino: Ino, name: string): number {
    return this.#directories.cookieOf(ino, name)
  }

  /** Entries of the directory, without '.' and '..'; 0 as well when it is none. */
  entryCount(ino: Ino): number {
    return this.#context.tree.node(ino)?.entryCount ?? 0
  }

  // ---- content

  /** `killPrivileges`: a truncating open by someone without privilege clears setuid and setgid. */
  open(ino: Ino, flags: number, killPrivileges: boolean): void {
    this.#data.open(ino, flags)
    if (!killPrivileges || (flags & OPEN_TRUNC) === 0) return
    this.#attributes.setattr(ino, SET_KILL_PRIVILEGES, this.getattr(ino))
  }

  /** Makes and opens; opens what is there already unless O_EXCL says otherwise. */
  create(caller: Caller, parent: Ino, name: string, mode: number, flags: number): Entry {
    const existing = this.#names.lookup(parent, name)
    if (existing !== undefined) {
      if ((flags & OPEN_EXCL) !== 0) throw errno(EEXIST)
      this.#data.open(existing.ino, flags)
      return { ...existing, attr: this.getattr(existing.ino) }
    }
    const entry = this.#names.createFile(parent, name, mode, caller)
    this.#data.open(entry.ino, flags & ~OPEN_TRUNC)
    return entry
  }

  /** A file without a name, opened; link() may give it one while it is open. */
  tmpfile(caller: Caller, parent: Ino, mode: number, flags: number): Entry {
    const node = this.#names.createUnnamed(parent, mode, caller)
    this.#context.files.orphans.addUnnamed(node.ino)
    this.#data.open(node.ino, flags & ~OPEN_TRUNC)
    return this.#context.entry(node)
  }

  async read(ino: Ino, offset: number, length: number): Promise<Uint8Array> {
    return this.#data.read(ino, offset, length)
  }

  write(ino: Ino, offset: number, bytes: Uint8Array): number {
    return this.#data.write(ino, offset, bytes)
  }

  flush(ino: Ino): void {
    this.#data.flush(ino)
  }

  /** The last open ended. The native session tells the buffers' listener by itself. */
  release(ino: Ino): void {
    this.#context.files.released(ino)
  }

  async fsync(ino: Ino): Promise<void> {
    return this.#data.fsync(ino)
  }

  async fsyncdir(ino: Ino): Promise<void> {
    return this.#data.fsyncdir(ino)
  }

  fallocate(ino: Ino, mode: number, offset: number, length: number): void {
    this.#data.fallocate(ino, mode, offset, length)
  }

  async lseek(ino: Ino, offset: number, whence: number): Promise<number> {
    return this.#data.lseek(ino, offset, whence)
  }

  async copyFileRange(
    source: Ino,
    sourceOffset: number,
    target: Ino,
    targetOffset: number,
    length: number,
  ): Promise<number> {
    return this.#data.copyFileRange(source, sourceOffset, target, targetOffset, length)
  }
}
