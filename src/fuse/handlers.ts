// Handlers: one per FUSE request that reaches JavaScript. Each reads its arguments, calls the file
// system operation of the same name and writes the reply, nothing else: rules live in fs/, layouts
// in reply-writer.ts and request-reader.ts.
//
// A handler either answers at once (returns undefined) or returns a promise of a function that
// writes the reply later; the request's bytes must not be used after it returned, so everything
// needed later is taken out first. Thrown errors become the reply's errno (session.ts).

import type { FileSystem } from '../fs/file-system.ts'
import { EINVAL, ERANGE, errno } from '../fs/errno.ts'
import {
  SET_ATIME_NOW,
  SET_KILL_PRIVILEGES,
  SET_MTIME_NOW,
  type Caller,
  type Entry,
} from '../fs/types.ts'
import {
  ATTR_ATIME,
  ATTR_CTIME,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_SIZE,
  ATTR_UID,
  type Attr,
  type Ino,
} from '../vault/buffers.ts'
import * as protocol from './protocol.ts'
import type { ReplyWriter } from './reply-writer.ts'
import type { RequestReader } from './request-reader.ts'

/** Writes the payload of one reply. */
export type Reply = (writer: ReplyWriter) => void
export type Handler = (fs: FileSystem, request: RequestReader) => Reply | Promise<Reply>

const DT_SHIFT = 12
const MODE_TYPE = 0o170000

const nothing: Reply = () => undefined

const lookup: Handler = (fs, request) => {
  const found = fs.lookup(ino(request), request.cstring())
  if (found === undefined) return (writer) => writer.negativeEntry()
  return entryReply(found)
}

const getattr: Handler = (fs, request) => {
  const node = ino(request)
  const attr = fs.getattr(node)
  return (writer) => writer.attrOut(node, attr)
}

const setattr: Handler = (fs, request) => {
  const node = ino(request)
  const valid = request.u32()
  request.skip(4 + 8)
  const sizeBytes = (valid & protocol.FATTR_SIZE) !== 0 ? request.u64() : skipped(request, 8)
  request.skip(8)
  const atimeSec = request.i64()
  const mtimeSec = request.i64()
  const ctimeSec = request.i64()
  const atimeNsec = request.u32()
  const mtimeNsec = request.u32()
  const ctimeNsec = request.u32()
  const mode = request.u32()
  request.skip(4)
  const uid = request.u32()
  const gid = request.u32()
  const attr: Attr = {
    mode,
    nlink: 0,
    uid,
    gid,
    rdev: 0,
    sizeBytes,
    atimeSec,
    atimeNsec,
    mtimeSec,
    mtimeNsec,
    ctimeSec,
    ctimeNsec,
  }
  const done = fs.setattr(node, setattrMask(valid), attr)
  return then(done, (now) => (writer) => writer.attrOut(node, now))
}

const readlink: Handler = (fs, request) => {
  const target = fs.readlink(ino(request))
  return (writer) => writer.latin1(target)
}

const symlink: Handler = (fs, request) => {
  const parent = ino(request)
  const name = request.cstring()
  const target = request.cstring()
  return entryReply(fs.symlink(caller(request), parent, name, target))
}

const mknod: Handler = (fs, request) => {
  const mode = request.u32()
  const rdev = request.u32()
  request.skip(8)
  const name = request.cstring()
  return entryReply(fs.mknod(caller(request), ino(request), name, mode, rdev))
}

const mkdir: Handler = (fs, request) => {
  const mode = request.u32()
  request.skip(4)
  const name = request.cstring()
  return entryReply(fs.mkdir(caller(request), ino(request), name, mode))
}

const unlink: Handler = (fs, request) => {
  fs.unlink(ino(request), request.cstring())
  return nothing
}

const rmdir: Handler = (fs, request) => {
  fs.rmdir(ino(request), request.cstring())
  return nothing
}

const rename: Handler = (fs, request) => {
  const newParent = request.u64() as Ino
  return renameTail(fs, request, newParent, 0)
}

const rename2: Handler = (fs, request) => {
  const newParent = request.u64() as Ino
  const flags = request.u32()
  request.skip(4)
  return renameTail(fs, request, newParent, flags)
}

function renameTail(fs: FileSystem, request: RequestReader, newParent: Ino, flags: number): Reply {
  const name = request.cstring()
  const newName = request.cstring()
  fs.rename(ino(request), name, newParent, newName, flags)
  return nothing
}

const link: Handler = (fs, request) => {
  const target = request.u64() as Ino
  const name = request.cstring()
  return entryReply(fs.link(target, ino(request), name))
}

const open: Handler = (fs, request) => {
  const node = ino(request)
  const flags = request.u32()
  const killPrivileges = (request.u32() & protocol.FUSE_OPEN_KILL_SUIDGID) !== 0
  const opened = fs.open(node, flags, killPrivileges)
  return then(opened, () => (writer) => writer.openOut(protocol.FOPEN_KEEP_CACHE))
}

const create: Handler = (fs, request) => {
  const flags = request.u32()
  const mode = request.u32()
  request.skip(8)
  const name = request.cstring()
  const made = fs.create(caller(request), ino(request), name, mode, flags)
  return then(made, openedReply)
}

const tmpfile: Handler = (fs, request) => {
  const flags = request.u32()
  const mode = request.u32()
  const made = fs.tmpfile(caller(request), ino(request), mode, flags)
  return then(made, openedReply)
}

const statfs: Handler = (fs) => {
  const stats = fs.statfs()
  return (writer) => {
    writer.u64(stats.blocks)
    writer.u64(stats.blocksFree)
    writer.u64(stats.blocksAvailable)
    writer.u64(stats.files)
    writer.u64(stats.filesFree)
    writer.u32(stats.blockBytes)
    writer.u32(stats.nameMaxBytes)
    writer.u32(stats.blockBytes)
    for (let i = 0; i < 7; i++) writer.u32(0)
  }
}

const fsync: Handler = async (fs, request) => {
  const node = ino(request)
  await fs.fsync(node)
  return nothing
}

const fsyncdir: Handler = async (fs, request) => {
  const node = ino(request)
  await fs.fsyncdir(node)
  return nothing
}

const setxattr: Handler = (fs, request) => {
  const sizeBytes = request.u32()
  const flags = request.u32()
  const name = request.cstring()
  fs.setxattr(ino(request), name, request.view(sizeBytes).slice(), flags)
  return nothing
}

const getxattr: Handler = (fs, request) => {
  const sizeMaxBytes = request.u32()
  request.skip(4)
  const value = fs.getxattr(ino(request), request.cstring())
  return then(value, (bytes) => sizedReply(bytes, sizeMaxBytes))
}

const listxattr: Handler = (fs, request) => {
  const sizeMaxBytes = request.u32()
  const names = fs.listxattr(ino(request)).map((name) => `${name}\0`)
  return sizedReply(Buffer.from(names.join(''), 'latin1'), sizeMaxBytes)
}

const removexattr: Handler = (fs, request) => {
  fs.removexattr(ino(request), request.cstring())
  return nothing
}

const readdir: Handler = (fs, request) => list(fs, request, false)
const readdirplus: Handler = (fs, request) => list(fs, request, true)

/** Entries that may fit one reply: the smallest dirent is 32 bytes, the smallest direntplus 160. */
function list(fs: FileSystem, request: RequestReader, plus: boolean): Reply {
  const node = ino(request)
  request.skip(8)
  const after = request.u64()
  const limitBytes = request.u32()
  const most = Math.max(1, Math.floor(limitBytes / (plus ? 160 : 32)))
  if (!plus) {
    const items = fs.readdir(node, after, most)
    return (writer) => {
      let last = after
      for (const { name, ino, cookie, kind } of items) {
        const type = direntType(kind)
        if (!writer.dirent(limitBytes, undefined, false, ino, cookie, type, name)) return
        last = cookie
      }
      if (items.length < most) writer.endCookie = last
    }
  }
  const items = fs.readdirplus(node, after, most)
  return (writer) => {
    let last = after
    for (const item of items) {
      // '.' and '..' carry no entry: the kernel must not count a lookup for them.
      const entry = item.name === '.' || item.name === '..' ? undefined : item
      const type = (item.attr.mode & MODE_TYPE) >> DT_SHIFT
      if (!writer.dirent(limitBytes, entry, true, item.ino, item.cookie, type, item.name)) return
      last = item.cookie
    }
    if (items.length < most) writer.endCookie = last
  }
}

const fallocate: Handler = (fs, request) => {
  request.skip(8)
  const offset = request.u64()
  const length = request.u64()
  const mode = request.u32()
  return then(fs.fallocate(ino(request), mode, offset, length), () => nothing)
}

const lseek: Handler = (fs, request) => {
  request.skip(8)
  const offset = request.u64()
  const whence = request.u32()
  return then(fs.lseek(ino(request), offset, whence), (at) => (writer) => writer.u64(at))
}

const copyFileRange: Handler = (fs, request) => {
  request.skip(8)
  const sourceOffset = request.u64()
  const target = request.u64() as Ino
  request.skip(8)
  const targetOffset = request.u64()
  const length = request.u64()
  const flags = request.u64()
  if (flags !== 0) throw errno(EINVAL)
  const copied = fs.copyFileRange(ino(request), sourceOffset, target, targetOffset, length)
  return then(copied, (count) => (writer) => {
    writer.u32(count)
    writer.u32(0)
  })
}

/** By opcode. What is not here is answered with ENOSYS, which the kernel remembers: meant for ever.
 * */
export const HANDLERS: ReadonlyMap<number, { name: string; handle: Handler }> = new Map([
  [protocol.OP_LOOKUP, { name: 'lookup', handle: lookup }],
  [protocol.OP_GETATTR, { name: 'getattr', handle: getattr }],
  [protocol.OP_SETATTR, { name: 'setattr', handle: setattr }],
  [protocol.OP_READLINK, { name: 'readlink', handle: readlink }],
  [protocol.OP_SYMLINK, { name: 'symlink', handle: symlink }],
  [protocol.OP_MKNOD, { name: 'mknod', handle: mknod }],
  [protocol.OP_MKDIR, { name: 'mkdir', handle: mkdir }],
  [protocol.OP_UNLINK, { name: 'unlink', handle: unlink }],
  [protocol.OP_RMDIR, { name: 'rmdir', handle: rmdir }],
  [protocol.OP_RENAME, { name: 'rename', handle: rename }],
  [protocol.OP_RENAME2, { name: 'rename', handle: rename2 }],
  [protocol.OP_LINK, { name: 'link', handle: link }],
  [protocol.OP_OPEN, { name: 'open', handle: open }],
  [protocol.OP_CREATE, { name: 'create', handle: create }],
  [protocol.OP_TMPFILE, { name: 'tmpfile', handle: tmpfile }],
  [protocol.OP_STATFS, { name: 'statfs', handle: statfs }],
  [protocol.OP_FSYNC, { name: 'fsync', handle: fsync }],
  [protocol.OP_FSYNCDIR, { name: 'fsyncdir', handle: fsyncdir }],
  [protocol.OP_SETXATTR, { name: 'setxattr', handle: setxattr }],
  [protocol.OP_GETXATTR, { name: 'getxattr', handle: getxattr }],
  [protocol.OP_LISTXATTR, { name: 'listxattr', handle: listxattr }],
  [protocol.OP_REMOVEXATTR, { name: 'removexattr', handle: removexattr }],
  [protocol.OP_READDIR, { name: 'readdir', handle: readdir }],
  [protocol.OP_READDIRPLUS, { name: 'readdirplus', handle: readdirplus }],
  [protocol.OP_FALLOCATE, { name: 'fallocate', handle: fallocate }],
  [protocol.OP_LSEEK, { name: 'lseek', handle: lseek }],
  [protocol.OP_COPY_FILE_RANGE, { name: 'copy_file_range', handle: copyFileRange }],
])

function ino(request: RequestReader): Ino {
  return request.nodeId as Ino
}

function caller(request: RequestReader): Caller {
  return { uid: request.uid, gid: request.gid }
}

function skipped(request: RequestReader, count: number): number {
  request.skip(count)
  return 0
}

function entryReply(entry: Entry): Reply {
  return (writer) => writer.entry(entry)
}

function openedReply(entry: Entry): Reply {
  return (writer) => {
    writer.entry(entry)
    writer.openOut(protocol.FOPEN_KEEP_CACHE)
  }
}

/** The protocol of getxattr(2) and listxattr(2): size 0 asks for the size. */
function sizedReply(bytes: Uint8Array, sizeMaxBytes: number): Reply {
  if (sizeMaxBytes === 0) {
    return (writer) => {
      writer.u32(bytes.length)
      writer.u32(0)
    }
  }
  if (bytes.length > sizeMaxBytes) throw errno(ERANGE)
  return (writer) => writer.bytes(bytes)
}

function setattrMask(valid: number): number {
  let mask = 0
  if ((valid & protocol.FATTR_MODE) !== 0) mask |= ATTR_MODE
  if ((valid & protocol.FATTR_UID) !== 0) mask |= ATTR_UID
  if ((valid & protocol.FATTR_GID) !== 0) mask |= ATTR_GID
  if ((valid & protocol.FATTR_SIZE) !== 0) mask |= ATTR_SIZE
  if ((valid & protocol.FATTR_ATIME) !== 0) mask |= ATTR_ATIME
  if ((valid & protocol.FATTR_MTIME) !== 0) mask |= ATTR_MTIME
  if ((valid & protocol.FATTR_CTIME) !== 0) mask |= ATTR_CTIME
  if ((valid & protocol.FATTR_ATIME_NOW) !== 0) mask |= SET_ATIME_NOW
  if ((valid & protocol.FATTR_MTIME_NOW) !== 0) mask |= SET_MTIME_NOW
  if ((valid & protocol.FATTR_KILL_SUIDGID) !== 0) mask |= SET_KILL_PRIVILEGES
  return mask
}

/** DT_* of a node kind, by its number in ops/types.ts. */
function direntType(kind: number): number {
  return DIRENT_TYPES[kind] ?? 0
}

const DIRENT_TYPES = [0, 4, 8, 10, 1, 12, 2, 6] // unknown, DIR, REG, LNK, FIFO, SOCK, CHR, BLK

function then<T>(value: T | Promise<T>, reply: (value: T) => Reply): Reply | Promise<Reply> {
  return value instanceof Promise ? value.then(reply) : reply(value)
}
