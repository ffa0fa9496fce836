// Judges what is found after a crash. Metadata operations (names) must be a prefix of what the
// worker did, at least as long as its promises say; each file must hold one whole version of its
// content, not older than what was flushed or what replaced an older file, and not newer than the
// prefix (a version's op comes after every name made before it). A mode is one of those since the
// last flush.

import { fillBytes, isMetadata } from './history.helper.ts'
import type { Logged, Model, Node } from './history.helper.ts'
import { modelOf } from './picture.helper.ts'
import type { Found, Picture } from './picture.helper.ts'

export interface Verdict {
  /** undefined: one of the states that may be found. */
  fault?: string
  /** Names: operations that survived, and all that were issued. */
  kept: number
  issued: number
  /** Operations after the last promise: what the crash could take. */
  atRisk: number
}

/** What has been promised, per node (by id) and for the prefix. */
interface Promises {
  prefix: number // metadata operations up to this number must be there
  content: Map<number, number> // node → changes before this operation are durable
}

export function judge(before: Picture, ops: readonly Logged[], after: Picture): Verdict {
  const whole = modelOf(before) // every node with all its changes; ids are equal in a second replay
  const promises: Promises = { prefix: -1, content: new Map() }
  for (const op of ops) {
    if (op.ok) promise(whole, op, promises)
    whole.apply(op.n, op)
  }
  const nodes = nodesById(whole)
  const metadata = ops.filter(({ op }) => isMetadata(op))
  const atRisk = countAtRisk(ops)
  const issued = metadata.length
  const search = modelOf(before)
  let fault: string | undefined
  let next = 0
  for (let kept = 0; kept <= metadata.length; kept++) {
    const cut = metadata[kept]?.n ?? Infinity // the first name operation that is not there
    for (; next < ops.length && (ops[next] as Logged).n < cut; next++) {
      const op = ops[next] as Logged
      search.apply(op.n, op)
    }
    if (cut <= promises.prefix) continue
    const wrong = compare(search, nodes, promises, cut, after)
    if (wrong === undefined) return { kept, issued, atRisk }
    // The most telling fault is that of the longest prefix whose names are right.
    if (fault === undefined || wrong.startsWith('content') || !fault.startsWith('content')) {
      fault = `${wrong} (names up to operation ${cut}, promised ${promises.prefix})`
    }
  }
  return { fault: fault ?? 'no prefix reaches what was promised', kept: 0, issued, atRisk }
}

function nodesById(model: Model): Map<number, Node> {
  const found = new Map<number, Node>()
  for (const node of model.everyNode) found.set(node.id, node)
  return found
}

function promise(model: Model, op: Logged, promises: Promises): void {
  if (op.op === 'fsync') {
    const node = model.of(op.h)
    promises.content.set(node.id, op.n)
    const placed = model.namesOf(node).map((path) => newestOnTheWay(model, path))
    promises.prefix = Math.max(promises.prefix, ...placed)
  } else if (op.op === 'fsyncdir') {
    const entries = model.at(op.p).entries
    promises.prefix = Math.max(promises.prefix, entries, newestOnTheWay(model, op.p))
  }
}

/** The newest operation that made or moved the node at a path or one of its directories. */
function newestOnTheWay(model: Model, path: string): number {
  let newest = model.at(path).placed
  for (let at = path; at !== ''; ) {
    at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
    newest = Math.max(newest, model.at(at).placed)
  }
  return newest
}

function countAtRisk(ops: readonly Logged[]): number {
  let count = 0
  for (const op of ops) {
    if (!op.ok) continue
    if (op.op === 'fsync' || op.op === 'fsyncdir') count = 0
    else if (op.op !== 'close' && op.op !== 'open') count++
  }
  return count
}

function compare(
  model: Model,
  nodes: Map<number, Node>,
  promises: Promises,
  cut: number,
  after: Picture,
): string | undefined {
  for (const path of after.keys()) {
    if (!model.paths.has(path)) return `name: ${path} is there`
  }
  for (const [path, node] of model.paths) {
    const found = after.get(path)
    if (found === undefined) return `name: ${path} is missing`
    if (found.kind !== node.kind) return `name: ${path} is a ${found.kind}, not a ${node.kind}`
    if (found.target !== node.target) return `name: ${path} leads to ${found.target}`
  }
  const groups = wrongGroup(model, after)
  if (groups !== undefined) return groups
  for (const [path, node] of model.paths) {
    if (node.kind === 'symlink' || path === '') continue
    const whole = nodes.get(node.id) as Node
    const found = after.get(path) as Found
    const wrong =
      wrongMode(whole, promises, cut, found) ??
      (node.kind === 'file' ? wrongContent(whole, promises, cut, found.content) : undefined)
    if (wrong !== undefined) return `content: ${path}: ${wrong}`
  }
  return undefined
}

/** Names of one file share an inode, others do not. */
function wrongGroup(model: Model, after: Picture): string | undefined {
  const inos = new Map<number, Node>()
  for (const [path, node] of model.paths) {
    if (node.kind !== 'file') continue
    const found = after.get(path) as Found
    const other = inos.get(found.ino)
    if (other !== undefined && other !== node) return `name: ${path} is a link of another file`
    inos.set(found.ino, node)
    const links = model.namesOf(node).length
    if (found.links !== links) return `name: ${path} has ${found.links} links, not ${links}`
    for (const second of model.namesOf(node)) {
      if (after.get(second)?.ino !== found.ino) return `name: ${path} and ${second} are two files`
    }
  }
  return undefined
}

function wrongMode(node: Node, promises: Promises, cut: number, found: Found): string | undefined {
  const since = durableSince(node, promises, cut)
  const allowed: number[] = []
  node.modes.forEach(({ n, mode }, index) => {
    const following = node.modes[index + 1]?.n ?? Infinity
    if (following >= since && (n < cut || cut === Infinity)) allowed.push(mode)
  })
  if (allowed.includes(found.mode)) return undefined
  const octal = (mode: number): string => mode.toString(8)
  return `mode ${octal(found.mode)}, not one of ${allowed.map(octal).join(' ')}`
}

/** Changes before this operation must be there, given the names up to `cut`. */
function durableSince(node: Node, promises: Promises, cut: number): number {
  const replaced = node.replaced.filter((n) => n < cut)
  return Math.max(promises.content.get(node.id) ?? -1, ...replaced, -1)
}

function wrongContent(
  node: Node,
  promises: Promises,
  cut: number,
  found: Uint8Array,
): string | undefined {
  const since = durableSince(node, promises, cut)
  const version = new Version(node)
  let at = 0
  const applyUntil = (n: number): void => {
    while (at < node.changes.length && (node.changes[at]?.n ?? Infinity) < n) version.apply(at++)
  }
  applyUntil(since)
  const oldest = at
  if (version.equals(found)) return undefined
  while (at < node.changes.length && (node.changes[at]?.n ?? Infinity) < cut) {
    version.apply(at++)
    if (version.equals(found)) return undefined
  }
  const newest = at
  const others = whichVersion(node, found)
  const sizes = `${found.length} bytes, the newest allowed has ${version.sizeBytes}`
  return `none of the versions ${oldest} to ${newest} (${sizes}; ${others})`
}

/** For the report: is it at least a version of another time, and where does it differ? */
function whichVersion(node: Node, found: Uint8Array): string {
  const version = new Version(node)
  if (version.equals(found)) return 'it is version 0'
  for (let at = 0; at < node.changes.length; at++) {
    version.apply(at)
    if (version.equals(found)) return `it is version ${at + 1}`
  }
  const last = version.bytes()
  const first = last.findIndex((byte, index) => byte !== found[index])
  const zeros = found.every((byte) => byte === 0)
  return zeros ? 'torn: all zeros' : `torn: differs from the last version at ${first}`
}

/** A file's content while its changes are replayed. */
class Version {
  readonly #node: Node
  #bytes: Uint8Array
  sizeBytes: number

  constructor(node: Node) {
    this.#node = node
    this.sizeBytes = node.base.length
    this.#bytes = new Uint8Array(Math.max(1024, this.sizeBytes))
    this.#bytes.set(node.base)
  }

  apply(index: number): void {
    const change = this.#node.changes[index]
    if (change === undefined) throw new Error('no such change')
    const end = change.at + change.size
    this.#reserve(end)
    if (change.seed === undefined) {
      this.#bytes.fill(0, end)
      this.sizeBytes = end
      return
    }
    const from = change.from ?? 0
    const bytes = new Uint8Array(from + change.size)
    fillBytes(bytes, change.seed)
    this.#bytes.set(bytes.subarray(from), change.at)
    this.sizeBytes = Math.max(this.sizeBytes, end)
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.sizeBytes)
  }

  equals(found: Uint8Array): boolean {
    return found.length === this.sizeBytes && Buffer.compare(found, this.bytes()) === 0
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(size, this.#bytes.length * 2))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}
