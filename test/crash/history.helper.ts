// What a worker of the crash tests does, as data: operations with numbers, and the model of its
// directory that results. The worker uses the model to choose what to do next, the oracle replays
// the same operations to know every state that may be found after a crash.
//
// A log is lines of JSON: {n, op, …} before an operation, {n, ok: time} after it; the second line
// of an fsync is a promise. Paths are relative to the worker's directory; '' is that directory.

export type Op =
  | { op: 'create'; h: number; p: string; mode: number }
  | { op: 'open'; h: number; p: string; trunc: boolean }
  | { op: 'write'; h: number; at: number; size: number; seed: number }
  | { op: 'trunc'; h: number; size: number }
  | { op: 'fsync'; h: number; data: boolean }
  | { op: 'close'; h: number }
  | { op: 'mkdir' | 'rmdir' | 'unlink' | 'fsyncdir'; p: string }
  | { op: 'rename' | 'link'; p: string; q: string }
  | { op: 'symlink'; p: string; to: string }
  | { op: 'chmod'; p: string; mode: number }

export type Logged = Op & { n: number; ok: boolean }

/**
 * A change of a file's content; `seed` gives the bytes, from its byte `from` on. Truncation has
 * no seed. A write that begins inside a page reaches a FUSE daemon as two requests, the first up to
 * the page's end: two changes of one operation.
 */
export interface Change {
  n: number
  at: number
  size: number
  seed?: number
  from?: number
}

const PAGE_BYTES = 4096

export interface Node {
  id: number
  kind: 'file' | 'directory' | 'symlink'
  /** A file's content when the round began. */
  base: Uint8Array
  changes: Change[]
  sizeBytes: number
  /** Operation → mode from then on; the first entry is the mode it began with. */
  modes: { n: number; mode: number }[]
  target: string
  /** The newest operation that made or moved one of its links; -1 for what was there before. */
  placed: number
  /** A directory's newest change of entries. */
  entries: number
  /** Replacing an older file at n: from then on content since before n must be there. */
  replaced: number[]
}

export const isMetadata = (op: Op['op']): boolean =>
  ['create', 'mkdir', 'rmdir', 'unlink', 'rename', 'link', 'symlink'].includes(op)

/** Fills `into` with the bytes that belong to `seed`. */
export function fillBytes(into: Uint8Array, seed: number): void {
  let state = (Math.imul(seed, 2654435761) ^ 0x5bd1e995) | 1
  for (let i = 0; i < into.length; i++) {
    if ((i & 3) === 0) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
    }
    into[i] = state >>> ((i & 3) * 8)
  }
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** Names and nodes as the operations so far leave them. */
export class Model {
  readonly paths = new Map<string, Node>()
  readonly handles = new Map<number, Node>()
  /** Those without a name too. */
  readonly everyNode: Node[] = []

  constructor() {
    this.paths.set('', this.node('directory', -1, 0o755))
  }

  node(kind: Node['kind'], n: number, mode: number): Node {
    const made: Node = {
      id: this.everyNode.length,
      kind,
      base: new Uint8Array(0),
      changes: [],
      sizeBytes: 0,
      modes: [{ n, mode }],
      target: '',
      placed: n,
      entries: n,
      replaced: [],
    }
    this.everyNode.push(made)
    return made
  }

  at(path: string): Node {
    const found = this.paths.get(path)
    if (found === undefined) throw new Error(`the history names ${path}, which is not there`)
    return found
  }

  of(handle: number): Node {
    const found = this.handles.get(handle)
    if (found === undefined) throw new Error(`the history names handle ${handle}`)
    return found
  }

  namesOf(node: Node): string[] {
    const found: string[] = []
    for (const [path, other] of this.paths) if (other === node) found.push(path)
    return found
  }

  isEmpty(path: string): boolean {
    for (const other of this.paths.keys()) if (other.startsWith(`${path}/`)) return false
    return true
  }

  /** An operation that works: the worker does only such. */
  apply(n: number, op: Op): void {
    switch (op.op) {
      case 'create': {
        const node = this.node('file', n, op.mode)
        this.#put(n, op.p, node)
        this.handles.set(op.h, node)
        break
      }
      case 'open': {
        const node = this.at(op.p)
        this.handles.set(op.h, node)
        if (op.trunc) this.#change(node, { n, at: 0, size: 0 })
        break
      }
      case 'write': {
        const node = this.of(op.h)
        const { at, seed } = op
        const first = Math.min(op.size, PAGE_BYTES - (at % PAGE_BYTES))
        this.#change(node, { n, at, size: first, seed, from: 0 })
        if (first === op.size) break
        this.#change(node, { n, at: at + first, size: op.size - first, seed, from: first })
        break
      }
      case 'trunc':
        this.#change(this.of(op.h), { n, at: 0, size: op.size })
        break
      case 'close':
        this.handles.delete(op.h)
        break
      case 'fsync':
      case 'fsyncdir':
        break
      case 'chmod':
        this.at(op.p).modes.push({ n, mode: op.mode })
        break
      default:
        this.#applyName(n, op)
    }
  }

  #applyName(n: number, op: Op): void {
    switch (op.op) {
      case 'mkdir':
        return this.#put(n, op.p, this.node('directory', n, 0o755))
      case 'symlink': {
        const node = this.node('symlink', n, 0o777)
        node.target = op.to
        return this.#put(n, op.p, node)
      }
      case 'link': {
        const node = this.at(op.p)
        node.placed = n
        return this.#put(n, op.q, node)
      }
      case 'rmdir':
      case 'unlink':
        this.paths.delete(op.p)
        this.at(parentOf(op.p)).entries = n
        return
      case 'rename':
        return this.#rename(n, op.p, op.q)
      default:
        throw new Error(`unknown: ${op.op}`)
    }
  }

  #rename(n: number, from: string, to: string): void {
    const node = this.at(from)
    if (this.paths.get(to) === node) return // two links of one file: nothing happens
    if (this.paths.has(to) && node.kind === 'file') node.replaced.push(n)
    node.placed = n
    this.at(parentOf(from)).entries = n
    this.paths.delete(from)
    if (node.kind === 'directory') {
      const below = [...this.paths].filter(([path]) => path.startsWith(`${from}/`))
      for (const [path, child] of below) {
        this.paths.delete(path)
        this.paths.set(to + path.slice(from.length), child)
      }
    }
    this.#put(n, to, node)
  }

  #put(n: number, path: string, node: Node): void {
    this.at(parentOf(path)).entries = n
    this.paths.set(path, node)
  }

  #change(node: Node, change: Change): void {
    node.changes.push(change)
    if (change.seed === undefined) node.sizeBytes = change.size
    else node.sizeBytes = Math.max(node.sizeBytes, change.at + change.size)
  }
}

/** A clock that all processes of the machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000
}

/**
 * The operations of a log, in order; the last may lack its second line. What was answered after
 * `crashMs` counts as not answered: while ext4 is being shut down, O_DSYNC writes into new blocks
 * return success, and are lost (kernel 6.18; a plain C program shows it once in some twenty tries).
 */
export function parseLog(text: string, crashMs: number): Logged[] {
  const ops: Logged[] = []
  for (const line of text.split('\n')) {
    if (line === '') continue
    const entry = JSON.parse(line) as { n: number; op?: string; ok?: number }
    if (entry.op !== undefined) ops.push({ ...(entry as unknown as Logged), ok: false })
    else if ((entry.ok ?? Infinity) < crashMs) (ops[ops.length - 1] as Logged).ok = true
  }
  return ops
}
