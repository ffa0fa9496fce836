// The tree that the rules show ("View" in FORMATS.md): groups of one name, unions of directories,
// conflict copies and their names. Made whole from a naive model, root downwards. Part of the
// executable specification: independent of src/state.
import type { Ids } from '../../src/ops/ids.ts'
import {
  KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SOCKET, KIND_SYMLINK,
} from '../../src/ops/types.ts'
import type { AttrChange, AuthorId, LinkId, Name, NodeId, NodeKind } from '../../src/ops/types.ts'
import { compareOps, contentText, contentsOf } from './naive-model.helper.ts'
import type { Model, ModelHead, ModelLink, ModelNode, PlacedOp } from './naive-model.helper.ts'

export interface ViewContext {
  ids: Ids
  label: (author: AuthorId) => string
}

/** A directory of the view: one node, or a union of several. */
export interface ViewDirectory {
  node: NodeId // the smallest member
  members: ModelNode[] // empty for a root that no op names
  entries: Map<Name, ViewEntry>
  groups: Map<Name, ViewGroup>
}

export interface ViewEntry {
  name: Name
  kind: NodeKind
  node: NodeId // a conflict copy of a head: derived from it
  link: LinkId // a union: the representative's
  of: ModelNode
  head: ModelHead | undefined // of files
  isVariant: boolean
  isConflictName: boolean
  directory: ViewDirectory | undefined
}

/** All that claims one name in one directory. */
export interface ViewGroup {
  name: Name
  links: ModelLink[]
  items: Item[]
  conflicted: boolean
  /** Conflict names that were not to be had. */
  passed: Set<Name>
}

export interface Item {
  link: ModelLink
  by: PlacedOp // a main: its position; a variant: its put
  head: ModelHead | undefined
  isVariant: boolean
  /** What the view shows it as; undefined = a duplicate of an earlier item. */
  shown: Name | undefined
}

export interface View {
  root: ViewDirectory
  /** By node; a union under each of its members. */
  directories: Map<NodeId, ViewDirectory>
}

export function viewNaively(model: Model, context: ViewContext): View {
  const children = new Map<NodeId, ModelLink[]>()
  for (const link of model.links.values()) {
    if (!link.wanted || link.parent === undefined) continue
    const list = children.get(link.parent)
    if (list === undefined) children.set(link.parent, [link])
    else list.push(link)
  }
  const rootNode = model.nodes.get(model.root)
  const root = emptyDirectory(model.root, rootNode === undefined ? [] : [rootNode])
  const directories = new Map([[model.root, root]])
  const todo = [root]
  for (const directory of todo) {
    const members = new Set([directory.node, ...directory.members.map((one) => one.node)])
    const links = [...members].flatMap((node) => children.get(node) ?? [])
    for (const below of fill(directory, links, context)) {
      for (const member of below.members) directories.set(member.node, below)
      todo.push(below)
    }
  }
  return { root, directories }
}

function emptyDirectory(node: NodeId, members: ModelNode[]): ViewDirectory {
  return { node, members, entries: new Map(), groups: new Map() }
}

/** Makes the entries of a directory; returns the directories below. */
function fill(directory: ViewDirectory, links: ModelLink[], context: ViewContext): ViewDirectory[] {
  for (const link of links) {
    const name = link.name as Name
    const group = directory.groups.get(name) ?? {
      name, links: [], items: [], conflicted: false, passed: new Set<Name>(),
    }
    directory.groups.set(name, group)
    group.links.push(link)
  }
  const below: ViewDirectory[] = []
  // names that no conflict copy may take: every group's own, and those given so far
  const taken = new Set(directory.groups.keys())
  for (const name of [...directory.groups.keys()].toSorted((a, b) => (a < b ? -1 : 1))) {
    const group = directory.groups.get(name) as ViewGroup
    const union = mergeDirectories(group)
    if (union !== undefined) {
      below.push(union)
      const first = union.members[0] as ModelNode
      directory.entries.set(name, {
        name, kind: KIND_DIRECTORY, node: union.node, link: first.links[0]!.link, of: first,
        head: undefined, isVariant: false, isConflictName: false, directory: union,
      })
    }
    group.items = itemsOf(group)
    group.conflicted = group.items.length > 1 || (union !== undefined && group.items.length > 0)
    nameItems(group, union !== undefined, taken, context)
    for (const item of group.items) {
      if (item.shown !== undefined) directory.entries.set(item.shown, entryOf(item, name, context))
    }
  }
  return below
}

function mergeDirectories(group: ViewGroup): ViewDirectory | undefined {
  const members = group.links.map((link) => link.node)
    .filter((node) => node.kind === KIND_DIRECTORY)
    .toSorted((a, b) => (a.node < b.node ? -1 : 1))
  return members[0] === undefined ? undefined : emptyDirectory(members[0].node, members)
}

/** Mains, then variants, each descending; equal ones marked. */
function itemsOf(group: ViewGroup): Item[] {
  const mains: Item[] = []
  const variants: Item[] = []
  for (const link of group.links) {
    const { kind, links } = link.node
    if (kind === KIND_DIRECTORY) continue
    const contents = contentsOf(link.node)
    const by = link.pos as PlacedOp
    mains.push({ link, by, head: contents.at(-1), isVariant: false, shown: undefined })
    const wanted = links.filter((one) => one.wanted).map((one) => one.link)
    if (wanted.some((one) => one < link.link)) continue
    for (const head of contents.slice(0, -1)) {
      variants.push({ link, by: head.by, head, isVariant: true, shown: undefined })
    }
  }
  const descending = (a: Item, b: Item) => compareOps(b.by, a.by)
  return [...mains.sort(descending), ...variants.sort(descending)]
}

/** Items with equal texts are one. */
function itemText({ link, head }: Item): string {
  const { kind, attrs } = link.node
  if (kind === KIND_FILE) return `file ${contentText(head?.put)}`
  if (kind === KIND_FIFO || kind === KIND_SOCKET) return `kind ${kind}`
  const isLink = kind === KIND_SYMLINK
  const change = attrs.get(isLink ? '5' : '6')?.change
  return `kind ${kind} ${change === undefined ? (isLink ? '' : '0') : valueText(change)}`
}

function nameItems(
  group: ViewGroup,
  hasDirectory: boolean,
  taken: Set<Name>,
  context: ViewContext,
): void {
  const seen = new Set<string>()
  const unnamed: Item[] = []
  for (const item of group.items) {
    const text = itemText(item)
    if (seen.has(text)) continue
    if (seen.size === 0 && !hasDirectory) item.shown = group.name
    else unnamed.push(item)
    seen.add(text)
  }
  for (const item of unnamed.toSorted((a, b) => compareOps(a.by, b.by))) {
    for (let k = 1; item.shown === undefined; k++) {
      const name = conflictName(group.name, item.by, k, context.label)
      if (taken.has(name)) {
        group.passed.add(name)
        continue
      }
      taken.add(name)
      item.shown = name
    }
  }
}

function entryOf(item: Item, name: Name, context: ViewContext): ViewEntry {
  const of = item.link.node
  const { author, seq } = item.by.batch.batch
  const ref = { ms: 0, counter: 0, author, seq, index: item.by.index, order: 0 }
  return {
    name: item.shown as Name,
    kind: of.kind,
    node: item.isVariant ? context.ids.derived(ref) : of.node,
    link: item.link.link,
    of,
    head: item.head,
    isVariant: item.isVariant,
    isConflictName: item.shown !== name,
    directory: undefined,
  }
}

// ---- conflict names ----

const NAME_BYTES = 255

/** The k-th candidate for an item of the group `name` (bytes as latin1). */
export function conflictName(
  name: Name,
  by: PlacedOp,
  k: number,
  label: ViewContext['label'],
): Name {
  const dot = name.lastIndexOf('.')
  const hasExt = dot > 0 && name.length - dot <= 16
  const ext = hasExt ? name.slice(dot) : ''
  const stem = hasExt ? name.slice(0, dot) : name
  const day = new Date(by.batch.ms).toISOString().slice(0, 10)
  const number = k === 1 ? '' : ` ${k}`
  const who = labelBytes(label(by.batch.batch.author), by.batch.batch.author)
  const tail = ` (conflict ${day} ${who})${number}${ext}`
  return cutUtf8(stem, NAME_BYTES - tail.length) + tail as Name
}

function labelBytes(label: string, author: AuthorId): string {
  if (label === '') return Buffer.from(author, 'latin1').toString('hex').slice(0, 8)
  const bytes = Buffer.from(label, 'utf8').toString('latin1')
  // eslint-disable-next-line no-control-regex -- control characters are what it is about
  return cutUtf8(bytes.replaceAll(/[\x00-\x1f\x7f/]/g, '_'), 32)
}

/** At most `size` bytes of `bytes`, cut where a character begins. */
function cutUtf8(bytes: string, size: number): string {
  if (bytes.length <= size) return bytes
  let end = size
  while (end > 0 && (bytes.charCodeAt(end) & 0xc0) === 0x80) end--
  return bytes.slice(0, end)
}

// ---- texts to compare ----

export function valueText(change: AttrChange): string {
  switch (change.key) {
    case 1: return String(change.mode)
    case 2: return `${change.uid}:${change.gid}`
    case 3: return `${change.sec}.${change.nsec}`
    case 4: return change.value === undefined ? 'none' : Buffer.from(change.value).toString('hex')
    case 5: return change.target
    case 6: return String(change.rdev)
  }
}

/**
 * Each entry by its path: what a user sees there. Bytes as latin1. `nodes`: with node ids, those of
 * a union's members too. `without`: as if these directories were no members of their unions.
 */
export function viewLines(
  view: View, nodes = true, without: ReadonlySet<NodeId> = new Set(),
): Map<string, string> {
  const lines = new Map<string, string>()
  const walk = (directory: ViewDirectory, path: string) => {
    for (const entry of directory.entries.values()) {
      const at = `${path}/${entry.name}`
      lines.set(at, entryLine(entry, nodes, without))
      if (entry.directory !== undefined) walk(entry.directory, at)
    }
  }
  walk(view.root, '')
  return lines
}

const toHex = (id: string) => Buffer.from(id, 'latin1').toString('hex')

function entryLine(
  { kind, node, of: first, head, isVariant, directory }: ViewEntry,
  nodes: boolean,
  without: ReadonlySet<NodeId>,
): string {
  const of = directory?.members.find((one) => !without.has(one.node)) ?? first
  const id = nodes ? toHex(node) : ''
  const value = (key: string, absent: string) => {
    const change = of.attrs.get(key)?.change
    return change === undefined ? absent : valueText(change)
  }
  const xattrs = [...of.attrs].filter(([key]) => key.startsWith('x'))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, { change }]) => `${key.slice(1)}=${valueText(change)}`)
    .filter((one) => !one.endsWith('=none'))
  const own = head === undefined ? '0.0' : `${head.put.mtimeSec}.${head.put.mtimeNsec}`
  return [
    `kind ${kind}`, id, `mode ${value('1', '0')}`, `owner ${value('2', '-1:-1')}`,
    `rdev ${value('6', '0')}`, `target ${value('5', '')}`, `xattrs ${xattrs.join()}`,
    kind === KIND_FILE ? `mtime ${isVariant ? own : value('3', '0.0')}` : '',
    kind === KIND_FILE ? `content ${contentText(head?.put)}` : '',
    !nodes || directory === undefined || directory.members.length < 2 ? ''
      : `union ${directory.members.map((one) => toHex(one.node)).join()}`,
  ].join('; ')
}
