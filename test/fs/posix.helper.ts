// The calls of POSIX that the suite uses, by path and descriptor, over whatever filesystem.
// Errors are PosixErrors with a positive errno.

export interface Stat {
  ino: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  size: number
  mtimeNs: bigint
  atimeNs: bigint
  ctimeNs: bigint
}

export type Feature =
  | 'rename-flags'
  | 'mknod'
  | 'tmpfile'
  | 'fallocate'
  | 'seek'
  | 'copy-range'
  | 'xattr'
  | 'lattice' // answers that only a lattice vault gives

export interface Posix {
  readonly name: string
  readonly lacks: ReadonlySet<Feature>
  open(path: string, flags: number, mode?: number): Promise<number>
  close(fd: number): Promise<void>
  read(fd: number, offset: number, length: number): Promise<Uint8Array>
  /** Without an offset: appends (O_APPEND). Returns the count. */
  write(fd: number, bytes: Uint8Array, offset?: number): Promise<number>
  fsync(fd: number): Promise<void>
  ftruncate(fd: number, size: number): Promise<void>
  truncate(path: string, size: number): Promise<void>
  stat(path: string): Promise<Stat>
  lstat(path: string): Promise<Stat>
  fstat(fd: number): Promise<Stat>
  mkdir(path: string, mode?: number): Promise<void>
  rmdir(path: string): Promise<void>
  unlink(path: string): Promise<void>
  rename(from: string, to: string, flags?: number): Promise<void>
  link(from: string, to: string): Promise<void>
  symlink(target: string, path: string): Promise<void>
  readlink(path: string): Promise<string>
  /** Without '.' and '..', unordered. */
  readdir(path: string): Promise<string[]>
  chmod(path: string, mode: number): Promise<void>
  chown(path: string, uid: number, gid: number): Promise<void>
  utimes(path: string, atimeSec: number, mtimeSec: number): Promise<void>
  statfs(path: string): Promise<{ blocks: number; blockBytes: number }>
  mknod(path: string, mode: number, rdev: number): Promise<void>
  tmpfile(directory: string, mode: number): Promise<number>
  linkFd(fd: number, path: string): Promise<void>
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>
  seek(fd: number, offset: number, whence: number): Promise<number>
  copyRange(from: number, fromAt: number, to: number, toAt: number, length: number): Promise<number>
  getxattr(path: string, name: string): Promise<Uint8Array>
  listxattr(path: string): Promise<string[]>
  setxattr(path: string, name: string, value: Uint8Array, flags?: number): Promise<void>
  removexattr(path: string, name: string): Promise<void>
  /** Seals everything and drops what is cached, where that can be asked for. */
  settled?(): Promise<void>
}

export class PosixError extends Error {
  readonly errno: number
  constructor(errno: number, call: string) {
    super(`${call}: errno ${errno}`)
    this.errno = errno
  }
}

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000

export const text = (value: string): Uint8Array => Buffer.from(value, 'latin1')

export async function writeFile(
  fs: Posix,
  path: string,
  content: Uint8Array | string,
): Promise<void> {
  const bytes = typeof content === 'string' ? text(content) : content
  const fd = await fs.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
  for (let at = 0; at < bytes.length; at += 65536) {
    await fs.write(fd, bytes.subarray(at, at + 65536), at)
  }
  await fs.close(fd)
}

export async function readFile(fs: Posix, path: string): Promise<Uint8Array> {
  const fd = await fs.open(path, O_RDONLY)
  const { size } = await fs.fstat(fd)
  const parts: Uint8Array[] = []
  for (let at = 0; at <= size; at += 65536) parts.push(await fs.read(fd, at, 65536))
  await fs.close(fd)
  return Buffer.concat(parts)
}

export async function readText(fs: Posix, path: string): Promise<string> {
  return Buffer.from(await readFile(fs, path)).toString('latin1')
}

export async function exists(fs: Posix, path: string): Promise<boolean> {
  try {
    await fs.lstat(path)
    return true
  } catch (error) {
    if (error instanceof PosixError && error.errno === 2) return false
    throw error
  }
}
