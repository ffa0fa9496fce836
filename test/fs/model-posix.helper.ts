// ModelPosix: POSIX as naive as can be, in plain objects: the oracle of test/fs/random.ts.
// Contents are byte arrays, inodes are objects, nothing is shared, cached or delayed.

import { O_APPEND, O_CREAT, O_EXCL, O_TRUNC, PosixError, type Posix } from './posix.helper.ts'
import type { Feature, Stat } from './posix.helper.ts'

const ENOENT = 2
const EPERM = 1
const EEXIST = 17
const ENOTDIR = 20
const EISDIR = 21
const EINVAL = 22
const ENOTEMPTY = 39
const ELOOP = 40
const EOPNOTSUPP = 95

const NOW = 2_000_000_000n * 1_000_000_000n

interface Common {
  mode: number
  mtimeNs: bigint
}

export interface ModelFile extends Common {
  kind: 'file'
  bytes: Uint8Array
}

interface ModelLink extends Common {
  kind: 'symlink'
  target: string
}

interface ModelDirectory extends Common {
  kind: 'directory'
  entries: Map<string, ModelNode>
}

type ModelNode = ModelFile | ModelLink | ModelDirectory

const fail = (errno: number): never => {
  throw new PosixError(errno, 'model')
}

const unsupported = async (): Promise<never> => {
  throw new Error('not in the model')
}

export class ModelPosix implements Posix {
  readonly name = 'model'
  readonly lacks: ReadonlySet<Feature> = new Set<Feature>(['xattr', 'mknod', 'seek', 'lattice'])
  readonly #root: ModelDirectory = directory(0o700)
  readonly #fds = new Map<number, { file: ModelFile; append: boolean }>()
  #nextFd = 3

  chown = unsupported
  statfs = unsupported
  mknod = unsupported
  seek = unsupported
  getxattr = unsupported
  listxattr = unsupported
  setxattr = unsupported
  removexattr = unsupported

  inode(fd: number): ModelFile {
    return this.#file(fd).file
  }

  /** Every path of an inode. */
  namesOf(node: ModelNode, from = this.#root, path = ''): string[] {
    const out: string[] = []
    for (const [name, child] of from.entries) {
      if (child === node) out.push(`${path}/${name}`)
      if (child.kind === 'directory') out.push(...this.namesOf(node, child, `${path}/${name}`))
    }
    return out
  }

  async open(path: string, flags: number, mode = 0o644): Promise<number> {
    const { parent, name } = this.#walk(path)
    const exclusive = (flags & O_EXCL) !== 0
    let node = parent.entries.get(name)
    if (node === undefined) {
      if ((flags & O_CREAT) === 0) fail(ENOENT)
      node = file(mode)
      parent.entries.set(name, node)
      parent.mtimeNs = NOW
      return this.#opened(node, flags)
    }
    if (exclusive && (flags & O_CREAT) !== 0) fail(EEXIST)
    if (node.kind === 'symlink') {
      const beside = `${path.slice(0, path.lastIndexOf('/'))}/nowhere`
      return this.open(beside, flags, mode)
    }
    if (node.kind === 'directory') return fail(EISDIR)
    if (flags & O_TRUNC) {
      node.bytes = new Uint8Array(0)
      node.mtimeNs = NOW
    }
    return this.#opened(node, flags)
  }

  #opened(node: ModelFile, flags: number): number {
    const fd = this.#nextFd++
    this.#fds.set(fd, { file: node, append: (flags & O_APPEND) !== 0 })
    return fd
  }

  async close(fd: number): Promise<void> {
    this.#fds.delete(fd)
  }

  async read(fd: number, offset: number, length: number): Promise<Uint8Array> {
    return this.#file(fd).file.bytes.slice(offset, offset + length)
  }

  async write(fd: number, bytes: Uint8Array, offset?: number): Promise<number> {
    const { file: node, append } = this.#file(fd)
    if (bytes.length === 0) return 0
    const at = append || offset === undefined ? node.bytes.length : offset
    node.bytes = resized(node.bytes, Math.max(node.bytes.length, at + bytes.length))
    node.bytes.set(bytes, at)
    node.mtimeNs = NOW
    return bytes.length
  }

  async fsync(): Promise<void> {}

  async ftruncate(fd: number, size: number): Promise<void> {
    this.#truncate(this.#file(fd).file, size)
  }

  async truncate(path: string, size: number): Promise<void> {
    const node = this.#follow(path)
    if (node.kind === 'directory') fail(EISDIR)
    if (node.kind === 'file') this.#truncate(node, size)
  }

  #truncate(node: ModelFile, size: number): void {
    node.bytes = resized(node.bytes, size)
    node.mtimeNs = NOW
  }

  async stat(path: string): Promise<Stat> {
    return this.#stat(this.#follow(path))
  }

  async lstat(path: string): Promise<Stat> {
    return this.#stat(this.#node(path))
  }

  async fstat(fd: number): Promise<Stat> {
    return this.#stat(this.#file(fd).file)
  }

  async mkdir(path: string, mode = 0o755): Promise<void> {
    this.#enter(path, directory(mode))
  }

  async symlink(target: string, path: string): Promise<void> {
    this.#enter(path, { kind: 'symlink', mode: 0o777, mtimeNs: NOW, target })
  }

  async link(from: string, to: string): Promise<void> {
    this.#walk(to)
    const node = this.#node(from)
    if (node.kind === 'directory') fail(EPERM)
    this.#enter(to, node)
  }

  async tmpfile(path: string, mode: number): Promise<number> {
    const node = this.#follow(path)
    if (node.kind !== 'directory') fail(ENOTDIR)
    return this.#opened(file(mode), 0)
  }

  async linkFd(fd: number, path: string): Promise<void> {
    this.#enter(path, this.#file(fd).file)
  }

  async rmdir(path: string): Promise<void> {
    const { parent, name } = this.#walk(path)
    const node = parent.entries.get(name) ?? fail(ENOENT)
    if (node.kind !== 'directory') return fail(ENOTDIR)
    if (node.entries.size > 0) fail(ENOTEMPTY)
    parent.entries.delete(name)
    parent.mtimeNs = NOW
  }

  async unlink(path: string): Promise<void> {
    const { parent, name } = this.#walk(path)
    const node = parent.entries.get(name) ?? fail(ENOENT)
    if (node.kind === 'directory') fail(EISDIR)
    parent.entries.delete(name)
    parent.mtimeNs = NOW
  }

  async rename(from: string, to: string, flags = 0): Promise<void> {
    const source = this.#walk(from)
    const target = this.#walk(to)
    const node = source.parent.entries.get(source.name) ?? fail(ENOENT)
    const there = target.parent.entries.get(target.name)
    if (flags === 1 && there !== undefined) fail(EEXIST)
    if (flags === 2 && there === undefined) fail(ENOENT)
    if (node === there) return
    if (contains(node, target.parent)) fail(EINVAL)
    if (flags === 2 && there !== undefined) {
      if (contains(there, source.parent)) fail(EINVAL)
      source.parent.entries.set(source.name, there)
    } else {
      if (there !== undefined) this.#checkReplace(node, there)
      source.parent.entries.delete(source.name)
    }
    target.parent.entries.set(target.name, node)
    source.parent.mtimeNs = NOW
    target.parent.mtimeNs = NOW
  }

  #checkReplace(node: ModelNode, there: ModelNode): void {
    if (there.kind !== 'directory') {
      if (node.kind === 'directory') fail(ENOTDIR)
      return
    }
    if (node.kind !== 'directory') fail(EISDIR)
    if (there.entries.size > 0) fail(ENOTEMPTY)
  }

  async readlink(path: string): Promise<string> {
    const node = this.#node(path)
    return node.kind === 'symlink' ? node.target : fail(EINVAL)
  }

  async readdir(path: string): Promise<string[]> {
    const node = this.#follow(path)
    return node.kind === 'directory' ? [...node.entries.keys()] : fail(ENOTDIR)
  }

  async chmod(path: string, mode: number): Promise<void> {
    this.#follow(path).mode = mode
  }

  async utimes(path: string, _atimeSec: number, mtimeSec: number): Promise<void> {
    this.#follow(path).mtimeNs = BigInt(mtimeSec) * 1_000_000_000n
  }

  async fallocate(fd: number, mode: number, offset: number, length: number): Promise<void> {
    const { file: node } = this.#file(fd)
    if (length <= 0) fail(EINVAL)
    if (![0, 1, 3, 16, 17].includes(mode)) fail(EOPNOTSUPP)
    const grows = mode === 0 || mode === 16
    const size = node.bytes.length
    if (grows && offset + length > size) this.#truncate(node, offset + length)
    if (mode < 3 || offset >= node.bytes.length) return
    node.bytes = node.bytes.slice()
    node.bytes.fill(0, offset, offset + length)
    node.mtimeNs = NOW
  }

  async copyRange(
    from: number,
    fromAt: number,
    to: number,
    toAt: number,
    length: number,
  ): Promise<number> {
    const { file: source } = this.#file(from)
    const { file: target } = this.#file(to)
    const bytes = source.bytes.slice(fromAt, fromAt + length)
    if (source === target && Math.abs(fromAt - toAt) < bytes.length) fail(EINVAL)
    if (bytes.length === 0) return 0
    target.bytes = resized(target.bytes, Math.max(target.bytes.length, toAt + bytes.length))
    target.bytes.set(bytes, toAt)
    target.mtimeNs = NOW
    return bytes.length
  }

  #file(fd: number): { file: ModelFile; append: boolean } {
    return this.#fds.get(fd) ?? fail(9)
  }

  #walk(path: string): { parent: ModelDirectory; name: string } {
    const parts = path.split('/').filter((part) => part !== '')
    const name = parts.pop() ?? '.'
    let at: ModelNode = this.#root
    for (const part of parts) {
      if (at.kind !== 'directory') return fail(ENOTDIR)
      const here: ModelDirectory = at
      at = here.entries.get(part) ?? fail(ENOENT)
      // every symlink of the test points to 'nowhere', beside it; a file at most
      if (at.kind === 'symlink') at = here.entries.get(at.target) ?? fail(ENOENT)
    }
    if (at.kind !== 'directory') return fail(ENOTDIR)
    return { parent: at, name }
  }

  #node(path: string): ModelNode {
    const { parent, name } = this.#walk(path)
    return name === '.' ? parent : (parent.entries.get(name) ?? fail(ENOENT))
  }

  #follow(path: string, depth = 0): ModelNode {
    if (depth > 40) fail(ELOOP)
    const node = this.#node(path)
    if (node.kind !== 'symlink') return node
    return this.#follow(`${path.slice(0, path.lastIndexOf('/'))}/${node.target}`, depth + 1)
  }

  #enter(path: string, node: ModelNode): void {
    const { parent, name } = this.#walk(path)
    if (parent.entries.has(name)) fail(EEXIST)
    parent.entries.set(name, node)
    parent.mtimeNs = NOW
  }

  #stat(node: ModelNode): Stat {
    const type = { file: 0o100000, symlink: 0o120000, directory: 0o040000 }[node.kind]
    let nlink = this.namesOf(node).length
    let size = 0
    if (node.kind === 'file') size = node.bytes.length
    if (node.kind === 'symlink') size = node.target.length
    if (node.kind === 'directory') {
      nlink = 2
      for (const child of node.entries.values()) if (child.kind === 'directory') nlink++
    }
    const { mtimeNs } = node
    const none = { ino: 0, uid: 0, gid: 0, rdev: 0, atimeNs: 0n, ctimeNs: 0n }
    return { ...none, mode: type | node.mode, nlink, size, mtimeNs }
  }
}

function file(mode: number): ModelFile {
  return { kind: 'file', mode, mtimeNs: NOW, bytes: new Uint8Array(0) }
}

function directory(mode: number): ModelDirectory {
  return { kind: 'directory', mode, mtimeNs: NOW, entries: new Map() }
}

function contains(node: ModelNode, wanted: ModelDirectory): boolean {
  if (node === wanted) return true
  if (node.kind !== 'directory') return false
  return [...node.entries.values()].some((child) => contains(child, wanted))
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length)
  out.set(bytes.subarray(0, length))
  return out
}
