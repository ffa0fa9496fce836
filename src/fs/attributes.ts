// Attributes of inodes, and of the filesystem.

import { ATTR_ATIME, ATTR_CTIME, ATTR_GID, ATTR_MODE, ATTR_MTIME } from '../vault/buffers.ts'
import { ATTR_SIZE, ATTR_UID, type Attr } from '../vault/buffers.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import { NAME_MAX_BYTES, type FsContext } from './context.ts'
import { EFBIG, EINVAL, errno } from './errno.ts'
import { MODE_PERMISSIONS, MODE_SETGID, MODE_SETUID, MODE_TYPE } from './types.ts'
import { SET_ATIME_NOW, SET_KILL_PRIVILEGES, SET_MTIME_NOW } from './types.ts'
import type { Ino, Statfs } from './types.ts'

/** Sizes and offsets stay exact as Numbers, sums of two included. */
export const FILE_MAX_BYTES = 2 ** 52

const MODE_GROUP_EXECUTE = 0o010

export class Attributes {
  readonly #fs: FsContext

  constructor(context: FsContext) {
    this.#fs = context
  }

  getattr(ino: Ino): Attr {
    return this.#fs.attrs(this.#fs.node(ino))
  }

  /**
   * Sets what `mask` (ATTR_* and SET_*) names to the values in `attr`; the size first, so that
   * times set in the same call stand. Returns the attributes afterwards.
   */
  setattr(ino: Ino, mask: number, attr: Attr): Attr {
    const fs = this.#fs
    fs.begin()
    const node = fs.node(ino)
    if ((mask & ATTR_SIZE) !== 0) {
      fs.regular(ino)
      if (attr.sizeBytes > FILE_MAX_BYTES) throw errno(EFBIG)
      if (!Number.isInteger(attr.sizeBytes) || attr.sizeBytes < 0) throw errno(EINVAL)
      fs.files.truncate(ino, attr.sizeBytes, false)
    }
    const current = fs.attrs(node)
    const next = { ...current }
    const changed = this.#merge(next, mask, attr, node.kind === KIND_DIRECTORY)
    if (changed === 0) return current
    if (fs.buffers.attrs(ino) === undefined) fs.tree.setAttrs(ino, changed, next)
    else fs.buffers.changeAttrs(ino, changed, next)
    return this.getattr(ino)
  }

  /** Puts the changes into `next`; returns the ATTR_* bits of what is set. */
  #merge(next: Attr, mask: number, attr: Attr, directory: boolean): number {
    let changed = mask & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME | ATTR_CTIME)
    if (mask & ATTR_UID) next.uid = attr.uid
    if (mask & ATTR_GID) next.gid = attr.gid
    const type = next.mode & MODE_TYPE
    if (mask & ATTR_MODE) {
      next.mode = type | (attr.mode & MODE_PERMISSIONS)
    } else if (!directory && (mask & (ATTR_UID | ATTR_GID | SET_KILL_PRIVILEGES)) !== 0) {
      const without = withoutPrivileges(next.mode)
      if (without !== next.mode) changed |= ATTR_MODE
      next.mode = without
    }
    if (mask & (SET_ATIME_NOW | SET_MTIME_NOW)) {
      const { sec, nsec } = this.#fs.clock.now()
      if (mask & SET_ATIME_NOW) changed |= setAtime(next, sec, nsec)
      if (mask & SET_MTIME_NOW) changed |= setMtime(next, sec, nsec)
    }
    if (mask & ATTR_ATIME && !(mask & SET_ATIME_NOW)) {
      setAtime(next, attr.atimeSec, attr.atimeNsec)
    }
    if (mask & ATTR_MTIME && !(mask & SET_MTIME_NOW)) {
      setMtime(next, attr.mtimeSec, attr.mtimeNsec)
    }
    if (mask & ATTR_CTIME) {
      next.ctimeSec = attr.ctimeSec
      next.ctimeNsec = attr.ctimeNsec
    }
    return changed
  }

  statfs(): Statfs {
    const { files, directories } = this.#fs.tree.counts()
    return this.#fs.space.statfs(files + directories, NAME_MAX_BYTES)
  }
}

/** A change of owner or content by the unprivileged takes setuid, and setgid where it means group
 *  execution (without group execution it marks mandatory locking and stays). */
function withoutPrivileges(mode: number): number {
  const group = (mode & MODE_GROUP_EXECUTE) === 0 ? 0 : MODE_SETGID
  return mode & ~(MODE_SETUID | group)
}

function setAtime(attr: Attr, sec: number, nsec: number): number {
  attr.atimeSec = sec
  attr.atimeNsec = nsec
  return ATTR_ATIME
}

function setMtime(attr: Attr, sec: number, nsec: number): number {
  attr.mtimeSec = sec
  attr.mtimeNsec = nsec
  return ATTR_MTIME
}
