// LiveTree: the Tree over the replicated state. Every mutation becomes ops with provisional refs,
// which are folded into the live state before the call returns, and queued as one user operation
// for the next commit. Inodes without a name (unlinked while open, O_TMPFILE) are local and live
// here only: they end with the process, as on any filesystem.
//
// A rename over a file whose source has content that is not sealed yet waits in the queue: its put
// is filled in, here and in the live record, by the put() that the sealing ends with.

import type { Ids } from '../ops/ids.ts'
import type { AttrChange, AuthorId, Content, Name, NodeId, Op, OpRef } from '../ops/types.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_XATTR, KIND_DIRECTORY, KIND_FILE,
} from '../ops/types.ts'
import { FACTS_FOLLOW, FACTS_NAMED, FACTS_TIMES, Facts } from '../state/facts.ts'
import { Fold } from '../state/fold.ts'
import type { Entry, LinkRecord } from '../state/records.ts'
import { NodeRecord, ROOT_INO } from '../state/records.ts'
import { applyAttr, sameContent, seenHeads } from '../state/registers.ts'
import type { Store } from '../state/store.ts'
import { assert, must } from '../util/assert.ts'
import { equalBytes } from '../util/bytes.ts'
import {
  ATTR_ATIME, ATTR_CTIME, ATTR_GID, ATTR_MODE, ATTR_MTIME, ATTR_UID,
} from './buffers.ts'
import type { Attr, Ino } from './buffers.ts'
import { BlockedRenames } from './blocked-renames.ts'
import type { UserOperation } from './pending.ts'
import type { Clock } from './ports.ts'
import type { DirEntry, NewNode, NodeInfo, Ticket, Tree, UnsealedContent } from './tree.ts'
import {
  EMPTY_CONTENT, attrDifference, attrsOf, firstAttrs, linkAt, moveOp, nodeInfoOf, recordedOwner,
  removeOp, xattrOf,
} from './tree-records.ts'
import type { Owner } from './tree-records.ts'

/** The queue of operations that wait for a commit (vault/committer.ts). */
export interface OperationQueue {
  push(operation: UserOperation): Ticket
  /** An operation pushed with ready = false has become ready. */
  unblock(operation: UserOperation): void
  /** One pushed with ready = false cannot become so at present. */
  stuck(error: unknown): void
  /** The ticket of the operation pushed last. */
  readonly last: Ticket
  durable(ticket: Ticket): Promise<void>
}

export interface LiveTreeOptions {
  store: Store
  queue: OperationQueue
  ids: Ids
  author: AuthorId
  clock: Clock
  /** Who mounts. */
  owner: Owner
}

/** A node that no name refers to, on this device only. */
interface Orphan {
  record: NodeRecord
  parent: number
  /** Made without a name: link() may give it one. */
  unnamed: boolean
}

export class LiveTree implements Tree {
  readonly root = ROOT_INO as Ino
  readonly #store: Store
  readonly #queue: OperationQueue
  readonly #ids: Ids
  readonly #author: AuthorId
  readonly #clock: Clock
  readonly #owner: Owner
  readonly #fold: Fold
  readonly #orphans = new Map<number, Orphan>()
  readonly #blocked: BlockedRenames
  #unsealed: UnsealedContent | undefined
  #order = 0

  constructor(options: LiveTreeOptions) {
    this.#store = options.store
    this.#queue = options.queue
    this.#ids = options.ids
    this.#author = options.author
    this.#clock = options.clock
    this.#owner = options.owner
    this.#fold = new Fold(options.store, options.ids)
    this.#blocked = new BlockedRenames(options.store, options.queue, options.clock)
  }

  /** Who knows about content that is not sealed yet; set once, before the first rename. */
  setUnsealedContent(unsealed: UnsealedContent): void {
    this.#unsealed = unsealed
  }

  // ---- reading ----

  node(ino: Ino): NodeInfo | undefined {
    if (this.#orphans.size > 0) {
      const orphan = this.#orphans.get(ino)
      if (orphan !== undefined) return this.#orphanInfo(orphan)
    }
    const record = this.#store.node(ino)
    return record === undefined ? undefined : this.#info(record)
  }

  lookup(parent: Ino, name: Name): DirEntry | undefined {
    return this.#store.entry(parent, name) as DirEntry | undefined
  }

  lookupNode(parent: Ino, name: Name): NodeInfo | undefined {
    const entry = this.#store.entry(parent, name)
    return entry === undefined ? undefined : this.#info(this.#record(entry.ino))
  }

  list(parent: Ino, after: number, max: number): DirEntry[] {
    return this.#store.entries(parent, after, max, false) as (Entry & DirEntry)[]
  }

  listNodes(parent: Ino, after: number, max: number): { entry: DirEntry; node: NodeInfo }[] {
    const out: { entry: DirEntry; node: NodeInfo }[] = []
    for (const entry of this.#store.entries(parent, after, max, true)) {
      out.push({ entry: entry as Entry & DirEntry, node: this.#info(this.#record(entry.ino)) })
    }
    return out
  }

  getXattr(ino: Ino, name: string): Uint8Array | undefined {
    return xattrOf(this.#any(ino), name)
  }

  listXattrs(ino: Ino): string[] {
    const present = this.#any(ino).xattrs.filter((xattr) => xattr.value !== undefined)
    return present.map((xattr) => xattr.name)
  }

  counts(): { files: number; directories: number; contentBytes: number } {
    const { files, directories, contentBytes } = this.#store.meta
    return { files, directories, contentBytes }
  }

  ticket(): Ticket {
    return this.#queue.last
  }

  durable(ticket: Ticket): Promise<void> {
    return this.#queue.durable(ticket)
  }

  // ---- names ----

  make(parent: Ino, name: Name, init: NewNode): NodeInfo {
    const directory = this.#record(parent)
    const facts = this.#now()
    this.#run([this.#mkOp(directory, name, init.kind, firstAttrs(init, this.#owner))], facts)
    return this.#info(this.#record(facts.values[0] ?? 0))
  }

  makeUnnamed(init: NewNode): NodeInfo {
    assert(init.kind === KIND_FILE, 'only files may lack a name')
    const record = new NodeRecord(this.#store.meta.nextIno++, '' as NodeId, init.kind)
    const { sec, nsec } = this.#clock.now()
    record.mode = init.mode & 0o7777
    Object.assign(record, recordedOwner(init.uid, init.gid, this.#owner))
    record.atimeSec = record.mtimeSec = record.ctimeSec = sec
    record.atimeNsec = record.mtimeNsec = record.ctimeNsec = nsec
    const orphan: Orphan = { record, parent: ROOT_INO, unnamed: true }
    this.#orphans.set(record.ino, orphan)
    return this.#orphanInfo(orphan)
  }

  link(ino: Ino, parent: Ino, name: Name): NodeInfo {
    const directory = this.#record(parent)
    const orphan = this.#orphans.get(ino)
    if (orphan !== undefined) return this.#nameOrphan(orphan, directory, name)
    const record = this.#record(ino)
    const mint = this.#store.meta.nextMint++
    const link = this.#ids.link(this.#author, mint, record.node)
    const op: Op = { kind: 'link', mint, link, node: record.node, parent: directory.node, name }
    this.#run([op], this.#now())
    return this.#info(this.#record(ino))
  }

  unlink(parent: Ino, name: Name): { ino: Ino; orphan: boolean } {
    const entry = must(this.#store.entry(parent, name), 'unlink: no such entry')
    const record = this.#record(entry.ino)
    assert(record.entryCount === 0, 'unlink: the directory is not empty')
    const facts = this.#now()
    const orphan = this.#asOrphan(record, parent, facts)
    this.#run([removeOp(record, linkAt(record, parent, name))], facts)
    return { ino: entry.ino as Ino, orphan: this.#keepOrphan(entry.ino, orphan) }
  }

  rename(
    parent: Ino, name: Name, newParent: Ino, newName: Name,
  ): { replaced: Ino | undefined; orphan: boolean } {
    const entry = must(this.#store.entry(parent, name), 'rename: no such entry')
    const target = this.#store.entry(newParent, newName)
    const source = this.#record(entry.ino)
    const link = linkAt(source, parent, name)
    const facts = this.#now()
    if (target === undefined) {
      this.#run([moveOp(link, this.#record(newParent), newName)], facts)
      return { replaced: undefined, orphan: false }
    }
    assert(target.ino !== entry.ino, 'rename: both names are of one inode')
    const replaced = this.#record(target.ino)
    const orphan = this.#asOrphan(replaced, newParent, facts)
    if (hasOneName(source) && hasOneName(replaced)) {
      this.#replaceContent(source, link, replaced, facts)
    } else {
      assert(replaced.entryCount === 0, 'rename: the directory is not empty')
      const remove = removeOp(replaced, linkAt(replaced, newParent, newName))
      const move = moveOp(link, this.#record(newParent), newName)
      if (!this.#isUnsealed(source)) this.#run([remove, move], facts)
      else this.#runWaiting(source.ino as Ino, [putOf(source, source), remove, move], facts)
    }
    return { replaced: target.ino as Ino, orphan: this.#keepOrphan(target.ino, orphan) }
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    const one = must(this.#store.entry(parent, name), 'exchange: no such entry')
    const two = must(this.#store.entry(newParent, newName), 'exchange: no such entry')
    if (one.ino === two.ino) return
    const first = this.#record(one.ino)
    const second = this.#record(two.ino)
    const there = this.#record(newParent)
    const here = this.#record(parent)
    this.#run([
      moveOp(linkAt(first, parent, name), there, newName),
      moveOp(linkAt(second, newParent, newName), here, name),
    ], this.#now())
  }

  release(ino: Ino): void {
    this.#orphans.delete(ino)
  }

  // ---- attributes and content ----

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    const orphan = this.#orphans.get(ino)
    const record = orphan?.record ?? this.#record(ino)
    const facts = mask & ATTR_CTIME ? new Facts(attr.ctimeSec, attr.ctimeNsec) : this.#now()
    const changes = this.#changesOf(record, mask, attr)
    if (mask & ATTR_ATIME) {
      facts.kind = FACTS_TIMES
      facts.values.push(ino, attr.atimeSec, attr.atimeNsec)
    } else if (changes.length === 0) {
      facts.kind = FACTS_TIMES
      facts.values.push(ino)
    }
    if (orphan === undefined) this.#run(attrOps(record, changes), facts)
    else changeOrphan(orphan.record, changes, facts, this.#newRef())
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    const orphan = this.#orphans.get(ino)
    const record = orphan?.record ?? this.#record(ino)
    const old = xattrOf(record, name)
    const facts = this.#now()
    const isSame = old === undefined
      ? value === undefined
      : value !== undefined && equalBytes(old, value)
    if (isSame) return
    const changes: AttrChange[] = [{ key: ATTR_KEY_XATTR, name, value }]
    if (orphan === undefined) this.#run(attrOps(record, changes), facts)
    else changeOrphan(orphan.record, changes, facts, this.#newRef())
  }

  put(ino: Ino, content: Content, attr: Attr): void {
    const filled = this.#blocked.fill(ino, content, attr)
    const orphan = this.#orphans.get(ino)
    if (orphan !== undefined) {
      putOrphan(orphan.record, content, attr, this.#newRef())
      return
    }
    const record = this.#record(ino)
    if (filled) {
      const facts = new Facts(attr.ctimeSec, attr.ctimeNsec)
      facts.kind = FACTS_TIMES
      facts.values.push(ino)
      // an explicit time set since the rename would win over the put that was filled
      this.#run(attrOps(record, this.#changesOf(record, ATTR_MTIME, attr)), facts)
      return
    }
    assert(record.kind === KIND_FILE, 'put: not a file')
    const op: Op & { kind: 'put' } = {
      kind: 'put',
      node: record.node,
      base: seenHeads(record),
      sizeBytes: attr.sizeBytes,
      mtimeSec: attr.mtimeSec,
      mtimeNsec: attr.mtimeNsec,
      content,
    }
    if (isNothingNew(record, op)) return
    this.#run([op], new Facts(attr.ctimeSec, attr.ctimeNsec))
  }

  // ---- inside ----

  #run(ops: Op[], facts: Facts, ready = true): UserOperation {
    const refs: OpRef[] = []
    for (let i = 0; i < ops.length; i++) refs.push(this.#newRef())
    facts.opCount = ops.length
    this.#fold.apply(ops, refs, facts)
    assert(
      this.#fold.voids.length === 0,
      () => `a local operation is void: ${this.#fold.voids.join()}`,
    )
    const operation: UserOperation = { ops, refs, facts, ready }
    this.#queue.push(operation)
    return operation
  }

  /** Rename over a file, both with one name: the target takes over content and attributes. */
  #replaceContent(source: NodeRecord, link: LinkRecord, target: NodeRecord, facts: Facts): void {
    const changes = attrOps(target, attrDifference(target, source))
    facts.kind = FACTS_FOLLOW
    const ops = [putOf(target, source), ...changes, removeOp(source, link)]
    if (this.#isUnsealed(source)) this.#runWaiting(source.ino as Ino, ops, facts)
    else this.#run(ops, facts)
  }

  #isUnsealed({ ino, kind }: NodeRecord): boolean {
    if (kind !== KIND_FILE || this.#unsealed === undefined) return false
    return this.#unsealed.isUnsealed(ino as Ino) || this.#blocked.has(ino as Ino)
  }

  /** An operation that begins with a put of unsealed content of `ino`. */
  #runWaiting(ino: Ino, ops: Op[], facts: Facts): void {
    const operation = this.#run(ops, facts, false)
    this.#blocked.add(ino, operation, must(this.#unsealed, 'rename: nobody seals'))
  }

  #nameOrphan(orphan: Orphan, directory: NodeRecord, name: Name): NodeInfo {
    assert(orphan.unnamed, 'link: the inode was unlinked')
    const record = orphan.record
    const facts = this.#now()
    facts.kind = FACTS_NAMED
    facts.presetIno = record.ino
    facts.presetAtime = { sec: record.atimeSec, nsec: record.atimeNsec }
    const mk = this.#mkOp(directory, name, record.kind, attrsOf(record))
    const ops: Op[] = [mk]
    const head = record.winner
    if (head !== undefined) {
      ops.push({
        kind: 'put',
        node: mk.node,
        base: [],
        sizeBytes: head.sizeBytes,
        mtimeSec: record.mtimeSec,
        mtimeNsec: record.mtimeNsec,
        content: head.content,
      })
    }
    this.#run(ops, facts)
    this.#orphans.delete(record.ino)
    return this.#info(this.#record(record.ino))
  }

  #mkOp(
    directory: NodeRecord, name: Name, kind: NodeRecord['kind'], attrs: AttrChange[],
  ): Op & { kind: 'mk' } {
    const mint = this.#store.meta.nextMint++
    const node = this.#ids.node(this.#author, mint, kind)
    return { kind: 'mk', mint, node, nodeKind: kind, parent: directory.node, name, attrs }
  }

  #changesOf(record: NodeRecord, mask: number, attr: Attr): AttrChange[] {
    const changes: AttrChange[] = []
    const mode = attr.mode & 0o7777
    if (mask & ATTR_MODE && mode !== record.mode) changes.push({ key: ATTR_KEY_MODE, mode })
    const owner = recordedOwner(attr.uid, attr.gid, this.#owner)
    const uid = mask & ATTR_UID ? owner.uid : record.uid
    const gid = mask & ATTR_GID ? owner.gid : record.gid
    if (uid !== record.uid || gid !== record.gid) changes.push({ key: ATTR_KEY_OWNER, uid, gid })
    const sameMtime = attr.mtimeSec === record.mtimeSec && attr.mtimeNsec === record.mtimeNsec
    if (mask & ATTR_MTIME && !sameMtime) {
      changes.push({ key: ATTR_KEY_MTIME, sec: attr.mtimeSec, nsec: attr.mtimeNsec })
    }
    return changes
  }

  /** What the inode would be without a name, taken before the operation. */
  #asOrphan(record: NodeRecord, parent: number, facts: Facts): Orphan {
    const copy = record.clone()
    copy.links = []
    copy.ctimeSec = facts.sec
    copy.ctimeNsec = facts.nsec
    return { record: copy, parent, unnamed: false }
  }

  #keepOrphan(ino: number, orphan: Orphan): boolean {
    if (this.#store.node(ino) !== undefined) return false
    this.#orphans.set(ino, orphan)
    return true
  }

  #info(record: NodeRecord): NodeInfo {
    const parent = record.kind === KIND_DIRECTORY ? record.onlyLink?.shownParent : undefined
    return nodeInfoOf(record, parent ?? ROOT_INO, this.#owner)
  }

  #orphanInfo(orphan: Orphan): NodeInfo {
    const info = nodeInfoOf(orphan.record, orphan.parent, this.#owner)
    info.attr.nlink = 0
    info.orphan = true
    return info
  }

  #record(ino: number): NodeRecord {
    return must(this.#store.node(ino), 'no such inode')
  }

  #any(ino: number): NodeRecord {
    return this.#orphans.get(ino)?.record ?? this.#record(ino)
  }

  #now(): Facts {
    const { sec, nsec } = this.#clock.now()
    return new Facts(sec, nsec)
  }

  #newRef(): OpRef {
    return { ms: 0, counter: 0, author: this.#author, seq: -1, index: 0, order: ++this.#order }
  }
}

function hasOneName(record: NodeRecord): boolean {
  return record.kind === KIND_FILE && record.shownLinks === 1
}

/** The content of `source`, sealed so far, as that of `target`. */
function putOf(target: NodeRecord, source: NodeRecord): Op & { kind: 'put' } {
  const winner = source.winner
  return {
    kind: 'put',
    node: target.node,
    base: seenHeads(target),
    sizeBytes: winner?.sizeBytes ?? 0,
    mtimeSec: source.mtimeSec,
    mtimeNsec: source.mtimeNsec,
    content: winner?.content ?? EMPTY_CONTENT,
  }
}

/** One op per change; the first names what the caller saw being changed (all: a batch is full). */
function attrOps(record: NodeRecord, changes: AttrChange[]): Op[] {
  return changes.map((change, i) => (
    { kind: 'attr', node: record.node, change, prev: i === 0 ? [...record.touches] : [] }
  ))
}

function isNothingNew(record: NodeRecord, op: Op & { kind: 'put' }): boolean {
  const winner = record.winner
  if (winner === undefined || record.heads.length > 1) return false
  if (record.mtimeSec !== op.mtimeSec || record.mtimeNsec !== op.mtimeNsec) return false
  return sameContent(winner, { ...winner, content: op.content, sizeBytes: op.sizeBytes })
}

function changeOrphan(
  record: NodeRecord, changes: AttrChange[], facts: Facts, ref: OpRef,
): void {
  for (const change of changes) applyAttr(record, change, ref, undefined)
  record.ctimeSec = facts.sec
  record.ctimeNsec = facts.nsec
  if (facts.values.length !== 3) return
  record.atimeSec = facts.values[1] ?? 0
  record.atimeNsec = facts.values[2] ?? 0
}

function putOrphan(record: NodeRecord, content: Content, attr: Attr, ref: OpRef): void {
  const { sizeBytes, mtimeSec, mtimeNsec } = attr
  record.heads = [{ ref, covered: false, sizeBytes, mtimeSec, mtimeNsec, content }]
  record.mtimeSec = mtimeSec
  record.mtimeNsec = mtimeNsec
  record.mtimeRef = ref
  record.ctimeSec = attr.ctimeSec
  record.ctimeNsec = attr.ctimeNsec
}

