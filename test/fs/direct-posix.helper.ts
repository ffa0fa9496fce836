// Posix straight over FileSystem and BuffersTwin, without a mount: plays what the kernel does
// between programs and a filesystem (path walks, symlinks, descriptors, lookup counts, FLUSH and
// RELEASE).

import { ErrnoMapper, type Trouble } from '../../src/fs/errno.ts'
import type { FileSystem } from '../../src/fs/file-system.ts'
import type { Caller, Entry } from '../../src/fs/types.ts'
import * as port from '../../src/vault/buffers.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { BuffersTwin } from '../../src/vault/buffers-twin.ts'
import { O_APPEND, O_CREAT, O_EXCL, PosixError } from './posix.helper.ts'
import type { Feature, Posix, Stat } from './posix.helper.ts'

const SYMLINKS_MAX = 40
const ENOENT = 2
const EEXIST = 17
const ENOTDIR = 20
const ELOOP = 40

export class DirectPosix implements Posix {
  readonly name: string
  readonly lacks: ReadonlySet<Feature> = new Set()
  readonly troubles: Trouble[] = []
  caller: Caller = { uid: 1000, gid: 1000 }
  #fs: FileSystem
  #buffers: BuffersTwin
  readonly #errors = new ErrnoMapper((trouble) => this.troubles.push(trouble))
  readonly #fds = new Map<number, { ino: Ino; append: boolean }>()
  readonly #lookups = new Map<Ino, number>()
  #nextFd = 3

  constructor(name: string, fs: FileSystem, buffers: BuffersTwin) {
    this.name = name
    this.#fs = fs
    this.#buffers = buffers
  }

  /** Goes on with another instance of the same vault: as after umount and mount. */
  remounted(fs: FileSystem, buffers: BuffersTwin): void {
    this.#fs = fs
    this.#buffers = buffers
    this.#fds.clear()
    this.#lookups.clear()
  }

  /** What settled() does to the vault; set by whoever made it. */
  sync: () => Promise<void> = async () => undefined

  async settled(): Promise<void> {
    await this.sync()
    this.forget()
    this.#buffers.deliver()
  }

  /** The kernel drops its caches: every ino that nobody has open is forgotten. */
  forget(): void {
    const open = new Set([...this.#fds.values()].map(({ ino }) => ino))
    for (const [ino, count] of this.#lookups) {
      if (open.has(ino)) continue
      this.#lookups.delete(ino)
      this.#buffers.kernelForget(ino, count)
    }
  }

  async open(path: string, flags: number, mode = 0o644): Promise<number> {
    return this.#call('open', () => {
      const { parent, name, entry } = this.#find(path, (flags & O_EXCL) === 0)
      if (entry === undefined && (flags & O_CREAT) === 0) throw new PosixError(ENOENT, 'open')
      if (entry !== undefined) {
        if ((flags & O_EXCL) !== 0 && (flags & O_CREAT) !== 0) throw new PosixError(EEXIST, 'open')
        this.#fs.open(entry.ino, flags & ~O_CREAT, false)
        return this.#opened(entry.ino, flags)
      }
      const made = this.#fs.create(this.caller, parent, name, mode, flags & ~O_CREAT)
      this.#seen(made)
      return this.#opened(made.ino, flags)
    })
  }

  #opened(ino: Ino, flags: number): number {
    this.#buffers.kernelOpen(ino)
    const fd = this.#nextFd++
    this.#fds.set(fd, { ino, append: (flags & O_APPEND) !== 0 })
    return fd
  }

  async close(fd: number): Promise<void> {
    const { ino } = this.#fd(fd)
    this.#fds.delete(fd)
    const errno = this.#buffers.kernelFlush(ino)
    this.#buffers.kernelRelease(ino)
    await Promise.resolve()
    if (errno !== 0) throw new PosixError(errno, 'close')
  }

  async read(fd: number, offset: number, length: number): Promise<Uint8Array> {
    return this.#call('read', async () => this.#fs.read(this.#fd(fd).ino, offset, length))
  }

  async write(fd: number, bytes: Uint8Array, offset?: number): Promise<number> {
    return this.#call('write', () => {
      const { ino, append } = this.#fd(fd)
      const at = append || offset === undefined ? this.#fs.getattr(ino).sizeBytes : offset
      return this.#fs.write(ino, at, bytes)
    })
  }

  async fsync(fd: number): Promise<void> {
    return this.#call('fsync', async () => this.#fs.fsync(this.#fd(fd).ino))
  }

  async ftruncate(fd: number, size: number): Promise<void> {
    return this.#set('ftruncate', this.#fd(fd).ino, port.ATTR_SIZE, { sizeBytes: size })
  }

  async truncate(path: string, size: number): Promise<void> {
    return this.#call('truncate', () => {
      this.#setNow(this.#existing(path, true), port.ATTR_SIZE, { sizeBytes: size })
    })
  }

  async stat(path: string): Promise<Stat> {
    return this.#call('stat', () => this.#stat(this.#existing(path, true)))
  }

  async lstat(path: string): Promise<Stat> {
    return this.#call('lstat', () => this.#stat(this.#existing(path, false)))
  }

  async fstat(fd: number): Promise<Stat> {
    return this.#call('fstat', () => this.#stat(this.#fd(fd).ino))
  }

  async mkdir(path: string, mode = 0o755): Promise<void> {
    return this.#make('mkdir', path, (parent, name) => {
      return this.#fs.mkdir(this.caller, parent, name, mode)
    })
  }

  async symlink(target: string, path: string): Promise<void> {
    return this.#make('symlink', path, (parent, name) => {
      return this.#fs.symlink(this.caller, parent, name, target)
    })
  }

  async mknod(path: string, mode: number, rdev: number): Promise<void> {
    return this.#make('mknod', path, (parent, name) => {
      return this.#fs.mknod(this.caller, parent, name, mode, rdev)
    })
  }

  async link(from: string, to: string): Promise<void> {
    return this.#make('link', to, (parent, name) => {
      return this.#fs.link(this.#existing(from, false), parent, name)
    })
  }

  async linkFd(fd: number, path: string): Promise<void> {
    return this.#make('link', path, (parent, name) => {
      return this.#fs.link(this.#fd(fd).ino, parent, name)
    })
  }

  async rmdir(path: string): Promise<void> {
    return this.#call('rmdir', () => {
      const { parent, name } = this.#find(path, false)
      this.#fs.rmdir(parent, name)
    })
  }

  async unlink(path: string): Promise<void> {
    return this.#call('unlink', () => {
      const { parent, name } = this.#find(path, false)
      this.#fs.unlink(parent, name)
    })
  }

  async rename(from: string, to: string, flags = 0): Promise<void> {
    return this.#call('rename', () => {
      const source = this.#find(from, false)
      const target = this.#find(to, false)
      this.#fs.rename(source.parent, source.name, target.parent, target.name, flags)
    })
  }

  async readlink(path: string): Promise<string> {
    return this.#call('readlink', () => this.#fs.readlink(this.#existing(path, false)))
  }

  async readdir(path: string): Promise<string[]> {
    return this.#call('readdir', () => {
      const ino = this.#existing(path, true)
      this.#fs.opendir(ino)
      const names: string[] = []
      for (let after = 0; ; ) {
        const items = this.#fs.readdirplus(ino, after, 7)
        for (const item of items) {
          after = item.cookie
          if (item.name === '.' || item.name === '..') continue
          this.#seen(item)
          names.push(item.name)
        }
        if (items.length < 7) return names
      }
    })
  }

  async chmod(path: string, mode: number): Promise<void> {
    return this.#call('chmod', () => {
      this.#setNow(this.#existing(path, true), port.ATTR_MODE, { mode })
    })
  }

  async chown(path: string, uid: number, gid: number): Promise<void> {
    return this.#call('chown', () => {
      const mask = (uid < 0 ? 0 : port.ATTR_UID) | (gid < 0 ? 0 : port.ATTR_GID)
      this.#setNow(this.#existing(path, true), mask, { uid, gid })
    })
  }

  async utimes(path: string, atimeSec: number, mtimeSec: number): Promise<void> {
    return this.#call('utimes', () => {
      const mask = port.ATTR_ATIME | port.ATTR_MTIME
      const times = { atimeSec, atimeNsec: 0, mtimeSec, mtimeNsec: 0 }
      this.#setNow(this.#existing(path, true), mask, times)
    })
  }

  async statfs(): Promise<{ blocks: number; blockBytes: number }> {
    return this.#call('statfs', () => this.#fs.statfs())
  }

  async tmpfile(directory: string, mode: number): Promise<number> {
    return this.#call('open', () => {
      const made = this.#fs.tmpfile(this.caller, this.#existing(directory, true), mode, 2)
      this.#seen(made)
      return this.#opened(made.ino, 2)
    })
  }

  async fallocate(fd: number, mode: number, offset: number, length: number): Promise<void> {
    return this.#call('fallocate', () => this.#fs.fallocate(this.#fd(fd).ino, mode, offset, length))
  }

  async seek(fd: number, offset: number, whence: number): Promise<number> {
    return this.#call('lseek', async () => this.#fs.lseek(this.#fd(fd).ino, offset, whence))
  }

  async copyRange(
    from: number,
    fromAt: number,
    to: number,
    toAt: number,
    length: number,
  ): Promise<number> {
    return this.#call('copy_file_range', async () => {
      return this.#fs.copyFileRange(this.#fd(from).ino, fromAt, this.#fd(to).ino, toAt, length)
    })
  }

  async getxattr(path: string, name: string): Promise<Uint8Array> {
    return this.#call('getxattr', () => this.#fs.getxattr(this.#existing(path, true), name))
  }

  async listxattr(path: string): Promise<string[]> {
    return this.#call('listxattr', () => this.#fs.listxattr(this.#existing(path, true)))
  }

  async setxattr(path: string, name: string, value: Uint8Array, flags = 0): Promise<void> {
    return this.#call('setxattr', () => {
      this.#fs.setxattr(this.#existing(path, true), name, value, flags)
    })
  }

  async removexattr(path: string, name: string): Promise<void> {
    return this.#call('removexattr', () => {
      this.#fs.removexattr(this.#existing(path, true), name)
    })
  }

  // ---- the kernel's part

  #fd(fd: number): { ino: Ino; append: boolean } {
    const open = this.#fds.get(fd)
    if (open === undefined) throw new PosixError(9, 'fd')
    return open
  }

  /** An entry reached the kernel: the session registers the record and counts a lookup. */
  #seen(entry: Entry): void {
    this.#buffers.attach(entry.ino, entry.attr)
    this.#buffers.kernelLookup(entry.ino)
    this.#lookups.set(entry.ino, (this.#lookups.get(entry.ino) ?? 0) + 1)
  }

  #find(
    path: string,
    follow: boolean,
    from = this.#fs.root,
    depth = 0,
  ): { parent: Ino; name: string; entry: Entry | undefined } {
    if (depth > SYMLINKS_MAX) throw new PosixError(ELOOP, 'walk')
    const parts = path.split('/').filter((part) => part !== '')
    let parent = path.startsWith('/') ? this.#fs.root : from
    for (let i = 0; i < parts.length; i++) {
      const name = parts[i] as string
      const last = i === parts.length - 1
      const entry = this.#fs.lookup(parent, name)
      if (entry !== undefined && name !== '.' && name !== '..') this.#seen(entry)
      const link = entry !== undefined && (entry.attr.mode & 0o170000) === 0o120000
      if (link && (!last || follow)) {
        const rest = [this.#fs.readlink(entry.ino), ...parts.slice(i + 1)].join('/')
        return this.#find(rest, follow, parent, depth + 1)
      }
      if (last) return { parent, name, entry }
      if (entry === undefined) throw new PosixError(ENOENT, 'walk')
      if ((entry.attr.mode & 0o170000) !== 0o040000) throw new PosixError(ENOTDIR, 'walk')
      parent = entry.ino
    }
    const attr = this.#fs.getattr(parent)
    return { parent, name: '.', entry: { ino: parent, generation: 0, attr } }
  }

  #existing(path: string, follow: boolean): Ino {
    const { entry } = this.#find(path, follow)
    if (entry === undefined) throw new PosixError(ENOENT, 'walk')
    return entry.ino
  }

  #setNow(ino: Ino, mask: number, change: Partial<Attr>): void {
    this.#fs.setattr(ino, mask, { ...this.#fs.getattr(ino), ...change })
  }

  async #set(call: string, ino: Ino, mask: number, change: Partial<Attr>): Promise<void> {
    return this.#call(call, () => this.#setNow(ino, mask, change))
  }

  #stat(ino: Ino): Stat {
    const attr = this.#fs.getattr(ino)
    const { mode, nlink, uid, gid, rdev, sizeBytes } = attr
    const ns = (sec: number, nsec: number): bigint => BigInt(sec) * 1_000_000_000n + BigInt(nsec)
    return {
      ino,
      mode,
      nlink,
      uid,
      gid,
      rdev,
      size: sizeBytes,
      mtimeNs: ns(attr.mtimeSec, attr.mtimeNsec),
      atimeNs: ns(attr.atimeSec, attr.atimeNsec),
      ctimeNs: ns(attr.ctimeSec, attr.ctimeNsec),
    }
  }

  async #make(
    call: string,
    path: string,
    make: (parent: Ino, name: string) => Entry,
  ): Promise<void> {
    return this.#call(call, () => {
      const { parent, name } = this.#find(path, false)
      this.#seen(make(parent, name))
    })
  }

  async #call<T>(call: string, act: () => T | Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      if (error instanceof PosixError) throw error
      throw new PosixError(this.#errors.toErrno(error, call, 0), call)
    }
  }
}
