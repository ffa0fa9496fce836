// What a device shows, as text: two devices that have the same ops must show the same. The local
// part (inos, cookies, change times) is told apart: a rebuild must come to the same of it, too.
import { KIND_DIRECTORY, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { DirEntry, NodeInfo, Tree } from '../../src/vault/tree.ts'
import { contentText } from '../state/naive-model.helper.ts'
import { valueText } from '../state/naive-view.helper.ts'
import type { View, ViewDirectory } from '../state/naive-view.helper.ts'
import { LIST_MAX, printable, tokenOf } from './actor.helper.ts'
import { promise } from './violation.helper.ts'

export interface Shown {
  /** One line per path: equal on all devices. */
  shared: string[]
  /** The same with inos, cookies and times of this device. */
  local: string[]
  tokens: Set<string>
}

export function showView(tree: Tree): Shown {
  const shown: Shown = { shared: [], local: [], tokens: new Set() }
  const first = new Map<number, string>()
  showDirectory(tree, tree.root, '', first, shown)
  return shown
}

function showDirectory(
  tree: Tree, at: Ino, path: string, first: Map<number, string>, shown: Shown,
): void {
  const entries = tree.list(at, 0, LIST_MAX)
  const directory = tree.node(at)
  promise(directory?.entryCount === entries.length, 'directories count right', () => (
    `${path || '/'} counts ${directory?.entryCount}, but lists ${entries.length}`
  ))
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const node = tree.node(entry.ino)
    promise(node !== undefined, 'listed nodes exist', () => `${path}/${entry.name}`)
    const found = tree.lookup(at, entry.name)
    promise(found?.ino === entry.ino && found.cookie === entry.cookie, 'lookup agrees with list',
      () => `${path}/${entry.name}: ${JSON.stringify(found)}, listed ${JSON.stringify(entry)}`)
    showEntry(`${path}/${printable(entry.name)}`, entry, node as NodeInfo, first, shown, tree)
    if (entry.kind === KIND_DIRECTORY) {
      promise(node?.parent === at, 'directories know their parents', () => (
        `${path}/${entry.name} is in ino ${at}, but says ${node?.parent}`
      ))
      showDirectory(tree, entry.ino, `${path}/${printable(entry.name)}`, first, shown)
    }
  }
}

function showEntry(
  path: string, entry: DirEntry, node: NodeInfo, first: Map<number, string>, shown: Shown,
  tree: Tree,
): void {
  const token = tokenOf(node)
  if (token !== '') shown.tokens.add(token)
  const link = first.get(entry.ino)
  if (link === undefined) first.set(entry.ino, path)
  const { attr } = node
  const xattrs = tree.listXattrs(entry.ino).toSorted().map((name) => (
    `${name}=${Buffer.from(tree.getXattr(entry.ino, name) ?? []).toString('latin1')}`
  ))
  const mtime = node.kind === KIND_FILE && node.content !== undefined
    ? `${attr.mtimeSec}.${attr.mtimeNsec}` : ''
  const links = entry.kind === KIND_DIRECTORY ? '' : `links ${attr.nlink} of ${link ?? path}`
  const line = [
    path, node.kind, attr.mode.toString(8), `${attr.uid}:${attr.gid}`, links, mtime,
    xattrs.join(','), JSON.stringify(token),
  ].join(' ')
  shown.shared.push(line)
  const times = [
    attr.atimeSec, attr.atimeNsec, attr.ctimeSec, attr.ctimeNsec, attr.mtimeSec, attr.mtimeNsec,
  ]
  shown.local.push(`${line} ino ${entry.ino} cookie ${entry.cookie} times ${times.join()}`)
}

/** The first lines in which two lists differ, for people. */
export function difference(one: readonly string[], two: readonly string[]): string {
  const there = new Set(two)
  const here = new Set(one)
  const out: string[] = []
  for (const line of one) if (!there.has(line)) out.push(`- ${line}`)
  for (const line of two) if (!here.has(line)) out.push(`+ ${line}`)
  return out.slice(0, 12).join('\n')
}

/** What the tree shows, as naive-view.helper.ts tells it (owners, unions and ids left out). */
export function treeLines(tree: Tree): string[] {
  const lines: string[] = []
  const walk = (at: Ino, path: string): void => {
    for (const { name, ino, kind } of tree.list(at, 0, LIST_MAX)) {
      const node = tree.node(ino)
      if (node === undefined) continue
      const { attr, content, target } = node
      const xattrs = tree.listXattrs(ino).toSorted().map((one) => (
        `${one}=${Buffer.from(tree.getXattr(ino, one) ?? []).toString('hex')}`
      ))
      const isFile = kind === KIND_FILE
      const mtime = isFile && content !== undefined ? `${attr.mtimeSec}.${attr.mtimeNsec}` : '-'
      const text = isFile ? contentText(content && { sizeBytes: attr.sizeBytes, content }) : '-'
      lines.push([
        `${path}/${name}`, kind, attr.mode & 0o7777, attr.rdev, target, xattrs.join(), mtime, text,
      ].join('; '))
      if (kind === KIND_DIRECTORY) walk(ino, `${path}/${name}`)
    }
  }
  walk(tree.root, '')
  return lines.toSorted()
}

/** The same of a view of the naive model. */
export function naiveLines(view: View): string[] {
  const lines: string[] = []
  const walk = (directory: ViewDirectory, path: string): void => {
    for (const entry of directory.entries.values()) {
      const { name, kind, of, head, isVariant, directory: below } = entry
      const value = (key: string, absent: string): string => {
        const change = of.attrs.get(key)?.change
        return change === undefined ? absent : valueText(change)
      }
      const xattrs = [...of.attrs].filter(([key]) => key.startsWith('x'))
        .map(([key, { change }]) => `${key.slice(1)}=${valueText(change)}`)
        .filter((one) => !one.endsWith('=none')).toSorted()
      const isFile = kind === KIND_FILE
      let mtime = '-'
      if (isFile && head !== undefined) {
        mtime = isVariant ? `${head.put.mtimeSec}.${head.put.mtimeNsec}` : value('3', '0.0')
      }
      const text = isFile ? contentText(head?.put) : '-'
      const target = kind === KIND_SYMLINK ? value('5', '') : ''
      lines.push([
        `${path}/${name}`, kind, value('1', '0'), value('6', '0'), target, xattrs.join(), mtime,
        text,
      ].join('; '))
      if (below !== undefined) walk(below, `${path}/${name}`)
    }
  }
  walk(view.root, '')
  return lines.toSorted()
}
