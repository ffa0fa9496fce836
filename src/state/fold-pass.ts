// FoldPass: what one application of ops works with: the store, the records that were touched or
// made, and who is told what changed. One object per fold, begun anew for each operation, so that
// the ordinary case allocates nothing.
//
// Invariant: a record that is edited in a pass keeps its identity until the pass ends (no freeze
// comes in between), so records may be held. One just made (epoch -1) is in no table of the store
// until the view shows or hides it: find() knows it.

import type { Ids } from '../ops/ids.ts'
import type { AuthorId, LinkId, Name, NodeId, NodeKind } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { Facts } from './facts.ts'
import type { VoidReason } from './fold-void.ts'
import type { HistoryOp, Standing } from './node-history.ts'
import type { Entry, LinkRecord, NodeRecord } from './records.ts'
import type { Store } from './store.ts'
import { Touched } from './touched.ts'

export interface GivenTime {
  sec: number
  nsec: number
}

/** What a name showed. */
export interface WasShown {
  ino: number
  generation: number
  kind: NodeKind
}

/** Who is told what the view shows differently now. Not told: what the caller of a local operation
 *  knows anyway. */
export interface ViewChanges {
  /** The name came, went, or names another node now. `was`: what it showed before; of several
   *  changes in one go the first one's counts. */
  entry(parentIno: number, name: Name, was: WasShown | undefined): void
  /** Attributes changed, or the ino names no node any more. */
  node(ino: number): void
  content(ino: number): void
  /** An ino that is open here left the view. `record`: what it was, a copy; `parent`: ino. */
  detached(ino: number, record: NodeRecord, parent: number): void
}

/** What the fold asks about the world outside the records. */
export interface FoldContext {
  standing(author: AuthorId, seq: number): Standing
  /** Name of the author's device; '' = unknown. */
  label(author: AuthorId): string
  /** All ops of the node that are not void by themselves, newest first. */
  history(record: NodeRecord): Iterable<HistoryOp>
  /** Whether a file is open here under this ino. */
  isOpen(ino: number): boolean
  changes: ViewChanges
  /** For tests that break rules. */
  rules?: Partial<FoldRules> | undefined
}

/** Rules of fold, view and local changes that a test of the tests switches off, one at a time. */
export interface FoldRules {
  /** What an op does not exist for. */
  voids: (reason: VoidReason) => boolean
  /** A directory is not moved into itself or below. */
  skipCycles: boolean
  /** A removed directory is shown while something is in it. */
  deadDirectoriesShow: boolean
  /** Content or attributes that no rm has seen bring a name back. */
  revive: boolean
  /** Of several links the one removed last comes back. */
  reviveLatest: boolean
  /** Directories of one name are one. */
  mergeDirectories: boolean
  /** The smallest id represents a union. */
  smallestRepresents: boolean
  /** Of equal things of one name one is shown. */
  mergeEqual: boolean
  /** The greatest has the name itself. */
  greatestKeepsName: boolean
  /** A conflict name is never one that is taken. */
  avoidTakenNames: boolean
  /** A conflict's items are made real before one of them is changed. */
  normalise: boolean
  /** No conflict copy slides to a name that a change frees. */
  keepFreedNames: boolean
  /** What is only revived is placed before it gets one more name. */
  placeRevived: boolean
}

const ALL_RULES: FoldRules = Object.freeze({
  voids: () => true,
  skipCycles: true, deadDirectoriesShow: true, revive: true, reviveLatest: true,
  mergeDirectories: true, smallestRepresents: true, mergeEqual: true, greatestKeepsName: true,
  avoidTakenNames: true, normalise: true, keepFreedNames: true, placeRevived: true,
})

const UNHEARD: ViewChanges = Object.freeze({
  entry: () => undefined,
  node: () => undefined,
  content: () => undefined,
  detached: () => undefined,
})

/** For a vault whose only author is this device: everything is valid, nobody listens. */
export const LONE_CONTEXT: FoldContext = Object.freeze({
  standing: () => 'valid',
  label: () => '',
  history: () => [],
  isOpen: () => false,
  changes: UNHEARD,
})

export class FoldPass {
  readonly store: Store
  readonly #ids: Ids | undefined
  readonly context: FoldContext
  readonly rules: FoldRules
  facts: Facts = new Facts(0, 0)
  /** Others' ops, or standings, or a put that is to them as one of others': the kernel does not
   *  know yet what it changes. */
  isRemote = false
  /** Records whose ops changed, in the order in which they were first touched. */
  readonly touched = new Touched()
  /** What inodes were that are open here, before others' ops changed them: copies. */
  readonly before = new Map<number, NodeRecord>()
  readonly #made = new Map<NodeId, NodeRecord>()
  /** Directories that others' ops gave a time: that time, or undefined when names in it changed
   *  after it. The view, which is settled once, moves their times in no such order. */
  readonly #given = new Map<NodeRecord, GivenTime | undefined>()

  constructor(store: Store, ids: Ids | undefined, context: FoldContext) {
    this.store = store
    this.#ids = ids
    this.context = context
    this.rules = context.rules === undefined ? ALL_RULES : { ...ALL_RULES, ...context.rules }
  }

  get ids(): Ids {
    return must(this.#ids, 'a fold that makes no ids')
  }

  begin(facts: Facts, isRemote: boolean): void {
    this.facts = facts
    this.isRemote = isRemote
    this.touched.clear()
    if (this.before.size > 0) this.before.clear()
    if (this.#made.size > 0) this.#made.clear()
    if (this.#given.size > 0) this.#given.clear()
  }

  find(node: NodeId): NodeRecord | undefined {
    if (this.#made.size > 0) {
      const made = this.#made.get(node)
      if (made !== undefined) return made
    }
    const ino = this.store.inoOf(node)
    return ino === undefined ? this.store.hidden(node) : this.store.node(ino)
  }

  get(node: NodeId): NodeRecord {
    return must(this.find(node), 'a node without a record')
  }

  /** The shown node with this ino. */
  atIno(ino: number): NodeRecord {
    return must(this.store.node(ino), 'an ino without a record')
  }

  findLink(link: LinkId): NodeRecord | undefined {
    return this.find(this.store.nodeOfLink(link) ?? (link as string as NodeId))
  }

  /** The record as one that may be changed. */
  edit(record: NodeRecord): NodeRecord {
    return record.epoch === -1 ? record : this.store.edit(record)
  }

  /** A record that is new; it comes into the store when the view is settled. */
  make(record: NodeRecord): void {
    record.epoch = -1
    const { facts } = this
    record.atimeSec = record.mtimeSec = record.ctimeSec = facts.sec
    record.atimeNsec = record.mtimeNsec = record.ctimeNsec = facts.nsec
    this.#made.set(record.node, record)
  }

  /** The record to change for an op of its own: its ctime moves. */
  touch(found: NodeRecord): NodeRecord {
    if (this.isRemote) this.#keepOpen(found)
    const record = this.edit(found)
    this.touched.add(record)
    record.ctimeSec = this.facts.sec
    record.ctimeNsec = this.facts.nsec
    return record
  }

  #keepOpen(record: NodeRecord): void {
    const { ino } = record
    if (ino === 0 || this.before.has(ino) || !this.context.isOpen(ino)) return
    this.before.set(ino, record.clone())
  }

  /** The directory whose body the children of this one are in: itself, or its union's. */
  body(directory: NodeRecord): NodeRecord {
    return directory.mergedInto === '' ? directory : this.get(directory.mergedInto)
  }

  setLink(record: NodeRecord, at: number, link: LinkRecord): void {
    if (record.links.length === 1) record.links = [link]
    else record.links = record.links.map((one, i) => (i === at ? link : one))
  }

  /** An op gave the directory this time, as that of its last change. */
  timeGiven(directory: NodeRecord, time: GivenTime): void {
    if (this.isRemote) this.#given.set(directory, time)
  }

  /** An op changes a name in the directory. */
  namesChange(node: NodeId): void {
    if (this.#given.size === 0) return
    const directory = this.find(node)
    if (directory !== undefined && this.#given.has(directory)) {
      this.#given.set(directory, undefined)
    }
  }

  /** After the view: times are as if its changes had come in the order of the ops. */
  settleTimes(): void {
    for (const [found, time] of this.#given) {
      const directory = this.edit(found)
      if (time === undefined) this.changeTimes(directory)
      else Object.assign(directory, { mtimeSec: time.sec, mtimeNsec: time.nsec })
    }
  }

  /** Moves mtime and ctime of a directory whose entries change. */
  changeTimes(directory: NodeRecord): void {
    directory.mtimeSec = directory.ctimeSec = this.facts.sec
    directory.mtimeNsec = directory.ctimeNsec = this.facts.nsec
  }
}

export function linkOf(record: NodeRecord, at: number): LinkRecord {
  return record.links[at] as LinkRecord
}

export function indexOfLink(record: NodeRecord, link: LinkId): number {
  for (let i = 0; i < record.links.length; i++) if (record.links[i]?.link === link) return i
  return -1
}

/** Index of the link that the view shows at (dir, name); -1 = none. */
export function indexOfShown(record: NodeRecord, dir: number, name: Name): number {
  for (let i = 0; i < record.links.length; i++) {
    const link = record.links[i] as LinkRecord
    if (link.shown && link.shownParent === dir && link.shownName === name) return i
  }
  return -1
}

/** The link that an entry shows. */
export function shownAt(store: Store, entry: Entry): { record: NodeRecord; at: number } {
  const record = must(store.node(entry.ino), 'an entry without its node')
  const at = indexOfShown(record, entry.parent, entry.name)
  return { record, at: must(at < 0 ? undefined : at, 'an entry without its link') }
}
