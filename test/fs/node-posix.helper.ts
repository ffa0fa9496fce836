// Posix over a real directory through node:fs: any mounted filesystem, as far as node reaches.

import { promises as nodeFs, fsync, ftruncate, read, write, close, open, fstat } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { O_APPEND, PosixError, type Feature, type Posix, type Stat } from './posix.helper.ts'

const LACKS: Feature[] = [
  ...(['rename-flags', 'mknod', 'tmpfile', 'fallocate'] as const),
  ...(['seek', 'copy-range', 'xattr'] as const),
]

export function nodePosix(root: string, more: Partial<Posix> = {}): Posix {
  const at = (path: string): string => join(root, path)
  const appending = new Set<number>()
  const missing = async (): Promise<never> => {
    throw new Error('node:fs has no such call')
  }
  const base: Posix = {
    name: `directory ${root}`,
    lacks: new Set<Feature>([...LACKS, 'lattice']),
    open: async (path, flags, mode) => {
      const fd = await call('open', promisify(open)(at(path), flags, mode))
      if (flags & O_APPEND) appending.add(fd)
      return fd
    },
    close: async (fd) => {
      appending.delete(fd)
      await call('close', promisify(close)(fd))
    },
    read: async (fd, offset, length) => {
      const buffer = Buffer.alloc(length)
      const { bytesRead } = await call('read', promisify(read)(fd, buffer, 0, length, offset))
      return buffer.subarray(0, bytesRead)
    },
    write: async (fd, bytes, offset) => {
      const position = offset ?? null
      const done = promisify(write)(fd, bytes, 0, bytes.length, position)
      return (await call('write', done)).bytesWritten
    },
    fsync: async (fd) => call('fsync', promisify(fsync)(fd)),
    ftruncate: async (fd, size) => call('ftruncate', promisify(ftruncate)(fd, size)),
    truncate: async (path, size) => call('truncate', nodeFs.truncate(at(path), size)),
    stat: async (path) => stats(await call('stat', nodeFs.stat(at(path), { bigint: true }))),
    lstat: async (path) => stats(await call('lstat', nodeFs.lstat(at(path), { bigint: true }))),
    fstat: async (fd) =>
      stats(
        await call(
          'fstat',
          new Promise<BigIntStats>((resolve, reject) => {
            fstat(fd, { bigint: true }, (error, result) => {
              if (error) reject(error)
              else resolve(result)
            })
          }),
        ),
      ),
    mkdir: async (path, mode) => {
      await call('mkdir', nodeFs.mkdir(at(path), mode))
    },
    rmdir: async (path) => call('rmdir', nodeFs.rmdir(at(path))),
    unlink: async (path) => call('unlink', nodeFs.unlink(at(path))),
    rename: async (from, to) => call('rename', nodeFs.rename(at(from), at(to))),
    link: async (from, to) => call('link', nodeFs.link(at(from), at(to))),
    symlink: async (target, path) => call('symlink', nodeFs.symlink(target, at(path))),
    readlink: async (path) => call('readlink', nodeFs.readlink(at(path), 'latin1')),
    readdir: async (path) => call('readdir', nodeFs.readdir(at(path), 'latin1')),
    chmod: async (path, mode) => call('chmod', nodeFs.chmod(at(path), mode)),
    chown: async (path, uid, gid) => call('chown', nodeFs.chown(at(path), uid, gid)),
    utimes: async (path, atime, mtime) => call('utimes', nodeFs.utimes(at(path), atime, mtime)),
    statfs: async (path) => {
      const { blocks, bsize } = await call('statfs', nodeFs.statfs(at(path)))
      return { blocks, blockBytes: bsize }
    },
    mknod: missing,
    tmpfile: missing,
    linkFd: missing,
    fallocate: missing,
    seek: missing,
    copyRange: missing,
    getxattr: missing,
    listxattr: missing,
    setxattr: missing,
    removexattr: missing,
  }
  return { ...base, ...more }
}

async function call<T>(name: string, done: Promise<T>): Promise<T> {
  try {
    return await done
  } catch (error) {
    if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
      throw new PosixError(-error.errno, name)
    }
    throw error
  }
}

function stats(from: BigIntStats): Stat {
  return {
    ino: Number(from.ino),
    mode: Number(from.mode),
    nlink: Number(from.nlink),
    uid: Number(from.uid),
    gid: Number(from.gid),
    rdev: Number(from.rdev),
    size: Number(from.size),
    mtimeNs: from.mtimeNs,
    atimeNs: from.atimeNs,
    ctimeNs: from.ctimeNs,
  }
}
