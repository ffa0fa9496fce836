// A look at LMDB's file before LMDB maps it: it trusts what it maps, and a file that is not its
// own, or shorter than it says, ends the process instead of giving an error. Read from the two meta
// pages (mdb.c, struct MDB_meta): magic, version, page size, last page, transaction.
//
// Damage inside pages cannot be seen from here. A file `opening` is there while the index is being
// opened: if two openings in a row never came to their end, the index is given up.

import {
  closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const FILE = 'data.mdb'
const OPENING = 'opening'
const MAGIC = 0xbeefc0de
const META_BYTES = 168
const AT_MAGIC = 24
const AT_PAGE_BYTES = 48
const AT_LAST_PAGE = 144
const AT_TRANSACTION = 152
const ATTEMPTS_MAX = 2

/** Why the file must not be mapped; undefined when it looks sound, or is not there. */
export function faultOf(directory: string): string | undefined {
  const path = join(directory, FILE)
  if (!existsSync(path)) return undefined
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    if (size === 0) return undefined // LMDB begins anew
    const first = readMeta(file, 0)
    if (first === undefined) return 'it is not an LMDB file'
    const second = readMeta(file, first.pageBytes)
    if (second === undefined) return 'its second meta page is damaged'
    const newest = first.transaction >= second.transaction ? first : second
    const wanted = (newest.lastPage + 1) * newest.pageBytes
    return size < wanted ? `it has ${size} bytes instead of ${wanted}` : undefined
  } finally {
    closeSync(file)
  }
}

/** Notes that opening begins. False when that was tried too often without coming to an end. */
export function beginOpening(directory: string): boolean {
  const path = join(directory, OPENING)
  const attempts = existsSync(path) ? readFileSync(path).length : 0
  if (attempts >= ATTEMPTS_MAX) return false
  writeFileSync(path, '.'.repeat(attempts + 1), { mode: 0o600 })
  return true
}

export function endOpening(directory: string): void {
  rmSync(join(directory, OPENING), { force: true })
}

interface Meta {
  pageBytes: number
  lastPage: number
  transaction: number
}

function readMeta(file: number, offset: number): Meta | undefined {
  const bytes = Buffer.alloc(META_BYTES)
  if (readSync(file, bytes, 0, META_BYTES, offset) < META_BYTES) return undefined
  if (bytes.readUInt32LE(AT_MAGIC) !== MAGIC) return undefined
  const pageBytes = bytes.readUInt32LE(AT_PAGE_BYTES)
  if (pageBytes < 256 || pageBytes > 65_536) return undefined
  const lastPage = Number(bytes.readBigUInt64LE(AT_LAST_PAGE))
  return { pageBytes, lastPage, transaction: Number(bytes.readBigUInt64LE(AT_TRANSACTION)) }
}
