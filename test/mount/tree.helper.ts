// A picture of a whole tree, and how two of them differ: names as bytes, types, modes, owners,
// mtime to the nanosecond, symlink targets, link counts and which names are links of one file,
// content by hash, extended attributes where python3 can read them. What the user sees is what is
// compared.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'

/** Path below the root, as latin1 bytes → what is there, as one line. */
export type Tree = Map<string, string>

export interface TreeOptions {
  /** Paths below the root that are left out, with what is below them. */
  without?: RegExp
  /** False: only names, types and content. */
  metadata?: boolean
}

const READ_BYTES = 1 << 20
const HASHED_BYTES_MAX = 1 << 30 // of a larger (sparse) file only the size is compared

export function takeTree(root: string, options: TreeOptions = {}): Tree {
  const tree: Tree = new Map()
  const groups = new Map<bigint, string>() // files of several links → their first path
  const attributes = options.metadata === false ? new Map() : readAttributes(root)
  const visit = (path: string): void => {
    const full = join(root, path)
    const stats = lstatSync(full, { bigint: true })
    let line = describe(full, stats, options.metadata !== false)
    if (stats.nlink > 1n && !stats.isDirectory()) {
      const first = groups.get(stats.ino) ?? path
      groups.set(stats.ino, first)
      line += ` links ${stats.nlink} first ${first}`
    }
    const values = attributes.get(path)
    if (values !== undefined) line += ` xattr ${values}`
    tree.set(path, line)
    if (!stats.isDirectory()) return
    for (const name of readdirSync(full, { encoding: 'latin1' }).sort()) {
      const below = path === '' ? name : `${path}/${name}`
      if (options.without?.test(below) !== true) visit(below)
    }
  }
  visit('')
  return tree
}

/** At most 20 lines: what is missing, new or changed. */
export function differences(before: Tree, after: Tree): string[] {
  const lines: string[] = []
  for (const [path, line] of before) {
    const other = after.get(path)
    if (other === undefined) lines.push(`missing: ${path}: ${line}`)
    else if (other !== line) lines.push(`changed: ${path}: ${line} → ${other}`)
  }
  for (const [path, line] of after) if (!before.has(path)) lines.push(`new: ${path}: ${line}`)
  const more = lines.length - 20
  return more > 0 ? [...lines.slice(0, 20), `and ${more} more`] : lines
}

const join = (root: string, path: string): Buffer =>
  Buffer.concat([Buffer.from(path === '' ? root : `${root}/`), Buffer.from(path, 'latin1')])

function describe(full: Buffer, stats: BigIntStats, metadata: boolean): string {
  const type = Number(stats.mode >> 12n).toString(8)
  let line = `type ${type}`
  if (metadata) {
    line += ` mode ${Number(stats.mode & 0o7777n).toString(8)} owner ${stats.uid}:${stats.gid}`
    line += ` mtime ${stats.mtimeNs}`
  }
  if (stats.isFile()) line += ` size ${stats.size} content ${hash(full, stats.size)}`
  else if (stats.isSymbolicLink()) line += ` to ${readlinkSync(full, 'latin1')}`
  else if (!stats.isDirectory()) line += ` device ${stats.rdev}`
  return line
}

function hash(path: Buffer, size: bigint): string {
  if (size > HASHED_BYTES_MAX) return 'not read'
  const digest = createHash('sha1')
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Number(size) + 1))
  const fd = openSync(path, 'r')
  try {
    for (let at = 0; ; ) {
      const got = readSync(fd, buffer, 0, buffer.length, at)
      if (got === 0) break
      digest.update(buffer.subarray(0, got))
      at += got
    }
  } finally {
    closeSync(fd)
  }
  return digest.digest('hex')
}

const LIST_ATTRIBUTES = `
import os, sys
root = os.fsencode(sys.argv[1])
def visit(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
        names = sorted(n for n in names if n.startswith('user.'))
    except OSError:
        names = []
    if names:
        out = path[len(root) + 1:].hex()
        for n in names:
            value = os.getxattr(path, n, follow_symlinks=False).hex()
            out += ' ' + os.fsencode(n).hex() + '=' + value
        print(out)
visit(root)
for at, directories, files in os.walk(root):
    for name in directories + files:
        visit(os.path.join(at, name))
`

function readAttributes(root: string): Map<string, string> {
  const found = new Map<string, string>()
  const result = spawnSync('python3', ['-c', LIST_ATTRIBUTES, root], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (result.error !== undefined) return found // no python3: without attributes
  if (result.status !== 0) throw new Error(result.stderr)
  for (const line of result.stdout.split('\n').filter(Boolean)) {
    const [path = '', ...values] = line.split(' ')
    found.set(Buffer.from(path, 'hex').toString('latin1'), values.join(' '))
  }
  return found
}
