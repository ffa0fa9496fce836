// Extended attributes: user.* of files and directories. Others are not supported (EOPNOTSUPP), and
// user.lattice.* is what lattice itself tells: readable, never listed, never set.

import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import {
  XATTRS_PER_NODE_MAX, XATTRS_TOTAL_MAX_BYTES, XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES,
} from '../ops/bounds.ts'
import type { NodeInfo } from '../vault/tree.ts'
import { utf8 } from '../util/bytes.ts'
import type { FsContext } from './context.ts'
import { E2BIG, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, ERANGE } from './errno.ts'
import { errno } from './errno.ts'
import { XATTR_CREATE, XATTR_REPLACE, type Ino } from './types.ts'

const PREFIX = 'user.'
const OWN_PREFIX = 'user.lattice.'
const XATTR_LIST_MAX_BYTES = 64 * 1024

export class Xattrs {
  readonly #fs: FsContext

  constructor(context: FsContext) {
    this.#fs = context
  }

  /** Names are latin1 strings, with their prefix. */
  getxattr(ino: Ino, name: string): Uint8Array {
    checkXattrName(name)
    const node = this.#fs.node(ino)
    const value = name.startsWith(OWN_PREFIX)
      ? this.#own(node, name)
      : this.#fs.tree.getXattr(ino, name)
    if (value === undefined) throw errno(ENODATA)
    return value
  }

  listxattr(ino: Ino): string[] {
    this.#fs.node(ino)
    return this.#fs.tree.listXattrs(ino)
  }

  setxattr(ino: Ino, name: string, value: Uint8Array, flags: number): void {
    const fs = this.#fs
    fs.beginGrowing()
    this.#checkSettable(ino, name)
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) throw errno(EINVAL)
    if (value.length > XATTR_VALUE_MAX_BYTES) throw errno(E2BIG)
    const exists = fs.tree.getXattr(ino, name) !== undefined
    if (exists && (flags & XATTR_CREATE) !== 0) throw errno(EEXIST)
    if (!exists && (flags & XATTR_REPLACE) !== 0) throw errno(ENODATA)
    this.#checkRoom(ino, name, value)
    fs.tree.setXattr(ino, name, Uint8Array.from(value))
    fs.refresh(ino)
  }

  removexattr(ino: Ino, name: string): void {
    const fs = this.#fs
    fs.begin()
    this.#checkSettable(ino, name)
    if (fs.tree.getXattr(ino, name) === undefined) throw errno(ENODATA)
    fs.tree.setXattr(ino, name, undefined)
    fs.refresh(ino)
  }

  /** A node with all its attributes must fit into one batch. */
  #checkRoom(ino: Ino, name: string, value: Uint8Array): void {
    const { tree } = this.#fs
    const names = tree.listXattrs(ino).filter((other) => other !== name)
    let listBytes = name.length + 1
    let totalBytes = name.length + value.length
    for (const other of names) {
      listBytes += other.length + 1
      totalBytes += other.length + (tree.getXattr(ino, other)?.length ?? 0)
    }
    const isFull = names.length >= XATTRS_PER_NODE_MAX || listBytes > XATTR_LIST_MAX_BYTES
    if (isFull || totalBytes > XATTRS_TOTAL_MAX_BYTES) throw errno(ENOSPC)
  }

  #checkSettable(ino: Ino, name: string): void {
    checkXattrName(name)
    const { kind } = this.#fs.node(ino)
    if (kind !== KIND_FILE && kind !== KIND_DIRECTORY) throw errno(EPERM)
    if (name.startsWith(OWN_PREFIX)) throw errno(EPERM)
  }

  #own(node: NodeInfo, name: string): Uint8Array | undefined {
    if (name !== 'user.lattice.state' || node.kind !== KIND_FILE) return undefined
    return utf8(this.#fs.files.state(node.ino))
  }
}

function checkXattrName(name: string): void {
  if (!name.startsWith(PREFIX)) throw errno(EOPNOTSUPP)
  if (name.length === PREFIX.length || name.includes('\0')) throw errno(EINVAL)
  if (name.length > XATTR_NAME_MAX_BYTES) throw errno(ERANGE)
}
