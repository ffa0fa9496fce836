// LiveTree: the Tree over the replicated state. Every mutation becomes ops with provisional refs,
// which are folded into the live state before the call returns, and queued as one user operation
// for the next commit. Inodes without a name (detached.ts) are local and live here only: they end
// with the process, as on any filesystem.
//
// Before a change touches an item of a conflict, an operation of its own makes all of its items
// real (tree-normalise.ts), so that the change does to that item what any filesystem would do, and
// nothing to the others. A union of directories is changed by one op per member; what is made in
// it, or moved into it, is put under its representative.
//
// A rename over a file whose source has content that is not sealed yet waits in the queue: its put
// is filled in, here and in the live record, by the put() that the sealing ends with.

import type { Ids } from '../ops/ids.ts'
import { sameRef } from '../ops/order.ts'
import type { AttrChange, AuthorId, Content, Name, NodeId, Op, OpRef } from '../ops/types.ts'
import {
  ATTR_KEY_MODE, ATTR_KEY_MTIME, ATTR_KEY_OWNER, ATTR_KEY_XATTR, KIND_DIRECTORY, KIND_FILE,
} from '../ops/types.ts'
import { conflictName } from '../state/conflict-names.ts'
import { FACTS_DETACHED, FACTS_FOLLOW, FACTS_NAMED, FACTS_TIMES, Facts } from '../state/facts.ts'
import { LONE_CONTEXT } from '../state/fold-pass.ts'
import { Fold } from '../state/fold.ts'
import type { Entry, LinkRecord } from '../state/records.ts'
import { NodeRecord, ROOT_INO } from '../state/records.ts'
import { sameContent } from '../state/registers.ts'
import type { Store } from '../state/store.ts'
import { assert, must } from '../util/assert.ts'
import { equalBytes } from '../util/bytes.ts'
import {
  ATTR_ATIME, ATTR_CTIME, ATTR_GID, ATTR_MODE, ATTR_MTIME, ATTR_UID,
} from './buffers.ts'
import type { Attr, Ino } from './buffers.ts'
import { BlockedRenames } from './blocked-renames.ts'
import {
  changeLocal, detachedFrom, detachedPut, isDetached, putLocal, resumedFile, withoutName,
} from './detached.ts'
import type { Detached, LocalInode } from './detached.ts'
import type { UserOperation } from './pending.ts'
import type { WriterLine } from './held.ts'
import type { Clock } from './ports.ts'
import type { DirEntry, NewNode, NodeInfo, Ticket, Tree, UnsealedContent } from './tree.ts'
import { TreeConflicts } from './tree-conflicts.ts'
import type {
  ConflictChoice, ConflictPage, ConflictPlace, Resolution, TreeConflict,
} from './tree-conflicts.ts'
import type { Draft } from './tree-normalise.ts'
import { findNode } from './tree-normalise.ts'
import {
  attrDifference, attrOps, attrsOf, firstAttrs, isNothingNew, linkAt, nodeInfoOf,
  putOfContent, recordedOwner, removeOps, writerBase, xattrOf,
} from './tree-records.ts'
import type { Owner } from './tree-records.ts'
import { TreeTouch } from './tree-touch.ts'

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
  /** Places every operation that is ready. True when none is left. */
  placeAll?(): boolean
}

export interface LiveTreeOptions {
  store: Store
  queue: OperationQueue
  /** The fold of the store; none: one for a vault that nobody else changes. */
  fold?: Fold
  ids: Ids
  author: AuthorId
  clock: Clock
  /** Who mounts. */
  owner: Owner
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
  /** Inodes without a name. */
  readonly #locals = new Map<number, LocalInode>()
  readonly #conflicts: TreeConflicts
  readonly #touch: TreeTouch
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
    this.#fold = options.fold ?? new Fold(options.store, options.ids, LONE_CONTEXT)
    this.#blocked = new BlockedRenames(options.store, options.queue, options.clock)
    const { store, ids, author } = options
    const newRef = (): OpRef => this.#newRef()
    const run = (draft: Draft): void => this.#runDraft(draft)
    const { rules } = this.#fold
    this.#touch = new TreeTouch({ store, ids, author, newRef, run, rules })
    this.#conflicts = new TreeConflicts({ store, ids, author, newRef, run })
  }

  /** Who knows about content that is not sealed yet; set once, before the first rename. */
  setUnsealedContent(unsealed: UnsealedContent): void {
    this.#unsealed = unsealed
  }

  // ---- reading ----

  node(ino: Ino): NodeInfo | undefined {
    if (this.#locals.size > 0) {
      const local = this.#locals.get(ino)
      if (local !== undefined) return this.#localInfo(local)
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
    const attrs = firstAttrs(init, this.#owner, facts)
    this.#run([this.#mkOp(directory, name, init.kind, attrs)], facts)
    return this.#info(this.#record(this.#entry(parent, name).ino))
  }

  makeUnnamed(init: NewNode): NodeInfo {
    assert(init.kind === KIND_FILE, 'only files may lack a name')
    const record = new NodeRecord(this.#store.meta.nextIno++, '' as NodeId, init.kind)
    const { sec, nsec } = this.#clock.now()
    record.mode = init.mode & 0o7777
    Object.assign(record, recordedOwner(init.uid, init.gid, this.#owner))
    record.atimeSec = record.mtimeSec = record.ctimeSec = sec
    record.atimeNsec = record.mtimeNsec = record.ctimeNsec = nsec
    const local: LocalInode = { record, parent: ROOT_INO, kind: 'unnamed' }
    this.#locals.set(record.ino, local)
    return this.#localInfo(local)
  }

  link(ino: Ino, parent: Ino, name: Name): NodeInfo {
    const directory = this.#record(parent)
    const local = this.#locals.get(ino)
    if (local !== undefined) return this.#nameLocal(local, directory, name)
    const record = this.#touch.readyToLink(ino)
    const mint = this.#store.meta.nextMint++
    const link = this.#ids.link(this.#author, mint, record.node)
    const op: Op = { kind: 'link', mint, link, node: record.node, parent: directory.node, name }
    this.#run([op], this.#now())
    return this.#info(this.#record(ino))
  }

  unlink(parent: Ino, name: Name): { ino: Ino; orphan: boolean } {
    const record = this.#touch.toTouch(parent, name)
    assert(record.entryCount === 0, 'unlink: the directory is not empty')
    const { ino } = record
    const facts = this.#now()
    const orphan = asOrphan(record, parent, facts)
    this.#run(this.#touch.removesOf(record, parent, name), facts)
    return { ino: ino as Ino, orphan: this.#keepOrphan(ino, orphan) }
  }

  rename(
    parent: Ino, name: Name, newParent: Ino, newName: Name,
  ): { replaced: Ino | undefined; orphan: boolean } {
    let source = this.#touch.toTouch(parent, name)
    if (this.#store.entry(newParent, newName) === undefined) {
      this.#run(this.#touch.movesOf(source, parent, name, newParent, newName), this.#now())
      return { replaced: undefined, orphan: false }
    }
    const target = this.#touch.toTouch(newParent, newName)
    source = this.#record(this.#entry(parent, name).ino)
    assert(target.ino !== source.ino, 'rename: both names are of one inode')
    const { ino } = target
    const facts = this.#now()
    const orphan = asOrphan(target, newParent, facts)
    if (hasOneName(source) && hasOneName(target)) {
      this.#replaceContent(source, linkAt(source, parent, name), target, facts)
    } else {
      assert(target.entryCount === 0, 'rename: the directory is not empty')
      const removes = this.#touch.removesOf(target, newParent, newName)
      const ops = [...removes, ...this.#touch.movesOf(source, parent, name, newParent, newName)]
      if (!this.#isUnsealed(source)) this.#run(ops, facts)
      else this.#runWaiting(source.ino as Ino, [putOfContent(source, source), ...ops], facts)
    }
    return { replaced: ino as Ino, orphan: this.#keepOrphan(ino, orphan) }
  }

  exchange(parent: Ino, name: Name, newParent: Ino, newName: Name): void {
    if (this.#entry(parent, name).ino === this.#entry(newParent, newName).ino) return
    this.#touch.toTouch(parent, name)
    const second = this.#touch.toTouch(newParent, newName)
    const first = this.#record(this.#entry(parent, name).ino)
    this.#run([
      ...this.#touch.movesOf(first, parent, name, newParent, newName),
      ...this.#touch.movesOf(second, newParent, newName, parent, name),
    ], this.#now())
  }

  release(ino: Ino): void {
    this.#locals.delete(ino)
  }

  /** Somebody else's change took the name or the content of an inode that is open here. `record`:
   *  what it was, a copy; `parent`: ino of its directory. To be told by the fold (ViewChanges). */
  detach(ino: number, record: NodeRecord, parent: number): void {
    this.#locals.set(ino, detachedFrom(record, parent))
  }

  // ---- content that waits for others (held.ts) ----

  writerOf(ino: Ino): WriterLine | undefined {
    const local = this.#locals.get(ino)
    if (local !== undefined) {
      return isDetached(local) ? { node: local.node, base: local.base } : undefined
    }
    const record = this.#store.node(ino)
    if (record === undefined) return undefined
    const node = record.virtualOf === '' ? record.node : record.virtualOf
    return { node, base: writerBase(record) }
  }

  resume({ node, base }: WriterLine, attr: Attr): { ino: Ino; isDetached: boolean } | undefined {
    const record = findNode(this.#store, node)
    if (record === undefined) return undefined
    const now = writerBase(record)
    const isSame = now.length === base.length && base.every((ref) => (
      now.some((other) => sameRef(ref, other))
    ))
    if (isSame && record.shownLinks > 0) return { ino: record.ino as Ino, isDetached: false }
    const ino = this.#store.meta.nextIno++ as Ino
    const link = record.links.find((one) => one.shown)
    const local = resumedFile(ino, link?.shownParent ?? ROOT_INO, record, base)
    const { mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = attr
    Object.assign(local.record, { mtimeSec, mtimeNsec, ctimeSec, ctimeNsec })
    this.#locals.set(ino, local)
    return { ino, isDetached: true }
  }

  // ---- attributes and content ----

  setAttrs(ino: Ino, mask: number, attr: Attr): void {
    const local = this.#locals.get(ino)
    let record = local?.record ?? this.#record(ino)
    const facts = mask & ATTR_CTIME ? new Facts(attr.ctimeSec, attr.ctimeNsec) : this.#now()
    const changes = this.#changesOf(record, mask, attr)
    if (changes.length > 0 && local === undefined) record = this.#touch.realRecord(ino)
    if (mask & ATTR_ATIME) {
      facts.kind = FACTS_TIMES
      facts.values.push(ino, attr.atimeSec, attr.atimeNsec)
    } else if (changes.length === 0) {
      facts.kind = FACTS_TIMES
      facts.values.push(ino)
    }
    if (local === undefined) this.#run(this.#touch.attrsOf(record, changes), facts)
    else changeLocal(local.record, changes, facts, this.#newRef())
  }

  setXattr(ino: Ino, name: string, value: Uint8Array | undefined): void {
    const local = this.#locals.get(ino)
    const record = local?.record ?? this.#record(ino)
    const old = xattrOf(record, name)
    const isSame = old === undefined
      ? value === undefined
      : value !== undefined && equalBytes(old, value)
    if (isSame) return
    const changes: AttrChange[] = [{ key: ATTR_KEY_XATTR, name, value }]
    if (local !== undefined) changeLocal(local.record, changes, this.#now(), this.#newRef())
    else this.#run(this.#touch.attrsOf(this.#touch.realRecord(ino), changes), this.#now())
  }

  put(ino: Ino, content: Content, attr: Attr): void {
    const filled = this.#blocked.fill(ino, content, attr)
    const local = this.#locals.get(ino)
    if (local !== undefined) {
      const ref = isDetached(local) ? this.#putDetached(local, content, attr) : this.#newRef()
      putLocal(local.record, content, attr, ref)
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
    const { sizeBytes, mtimeSec, mtimeNsec } = attr
    const put = { sizeBytes, mtimeSec, mtimeNsec, content }
    if (isNothingNew(record, put)) return
    const now = this.#touch.underOwnName(record)
    const op: Op = { kind: 'put', node: now.node, base: writerBase(now), ...put }
    this.#run([op], new Facts(attr.ctimeSec, attr.ctimeNsec))
  }

  // ---- conflicts: for the command line ----

  /** Conflicts behind `after`, at most `max`, in an order of this device's own. */
  conflicts(after: ConflictPlace | undefined, max: number): ConflictPage {
    return this.#conflicts.list(after, max)
  }

  /** Names with more than one thing to show. */
  get conflictCount(): number {
    return this.#store.meta.conflicts
  }

  /** The conflict that an entry is part of. */
  conflictAt(parent: Ino, name: Name): TreeConflict | undefined {
    return this.#conflicts.at(parent, name)
  }

  /** Decides a conflict; tree-conflicts.ts says what each choice means. Throws 'usage'. */
  resolve(parent: Ino, name: Name, keep: ConflictChoice): Resolution {
    return this.#conflicts.resolve(parent, name, keep)
  }

  originOf(parent: Ino, name: Name): OpRef | undefined {
    const entry = this.#store.entry(parent, name)
    return entry && linkAt(this.#record(entry.ino), parent, name).pos
  }

  pathOf(ino: Ino): Name[] | undefined {
    const path: Name[] = []
    for (let at = this.#store.node(ino); at?.ino !== ROOT_INO;) {
      const link = at?.links.find((one) => one.shown)
      if (link === undefined) return undefined
      path.push(link.shownName)
      at = this.#store.node(link.shownParent)
    }
    return path.reverse()
  }

  // ---- inside ----

  #run(ops: Op[], facts: Facts, ready = true): UserOperation {
    return this.#runWith(ops, ops.map(() => this.#newRef()), facts, ready)
  }

  #runWith(ops: Op[], refs: OpRef[], facts: Facts, ready: boolean): UserOperation {
    facts.opCount = ops.length
    this.#fold.apply(ops, refs, facts)
    const { voids } = this.#fold
    assert(voids.length === 0, () => `a local operation is void: ${voids.join()}`)
    const operation: UserOperation = { ops, refs, facts, ready }
    this.#queue.push(operation)
    return operation
  }

  #runDraft({ ops, refs }: Draft): void {
    if (ops.length > 0) this.#runWith(ops, refs, this.#now(), true)
  }

  /** What a detached inode was written goes beside what others wrote. */
  #putDetached(local: Detached, content: Content, attr: Attr): OpRef {
    const node = must(findNode(this.#store, local.node), 'a detached inode without its node')
    if (local.isResumed === true) {
      // the put came before the end of the process, and only its record was still there
      const made = node.heads.find((head) => sameContent(head, {
        ...head, content, sizeBytes: attr.sizeBytes,
      }))
      if (made !== undefined) return made.ref
    }
    const op = detachedPut(local, content, attr)
    // a head that is not named becomes a variant, whose id needs its place in a batch
    const isPlaced = (): boolean => node.heads.every(({ ref }) => (
      ref.seq >= 0 || local.base.includes(ref)
    ))
    if (!isPlaced()) this.#queue.placeAll?.()
    const ops = isPlaced() ? [op] : this.#asCopy(local, node, op)
    const facts = new Facts(attr.ctimeSec, attr.ctimeNsec)
    facts.kind = FACTS_DETACHED
    const { refs } = this.#run(ops, facts)
    const ref = must(refs[refs.length - 1], 'a put without a ref')
    local.base = [ref]
    return ref
  }

  /** As a file beside it: from now on, the inode's content is that one's. */
  #asCopy(local: Detached, node: NodeRecord, put: Op & { kind: 'put' }): Op[] {
    const link = node.links.find((one) => one.shown) ?? node.links[0]
    const directory = this.#store.node(link?.shownParent ?? 0)
      ?? this.#store.node(local.parent) ?? this.#record(ROOT_INO)
    const origin = { ms: this.#clock.nowMs(), author: this.#author }
    const wanted = link?.name ?? 'file' as Name
    let name = wanted
    for (let k = 1; this.#store.entry(directory.ino, name) !== undefined; k++) {
      name = conflictName(wanted, origin, '', k)
    }
    const mk = this.#mkOp(directory, name, KIND_FILE, attrsOf(local.record))
    local.node = mk.node
    return [mk, { ...put, node: mk.node, base: [] }]
  }

  /** Rename over a file, both with one name: the target takes over content and attributes. */
  #replaceContent(source: NodeRecord, link: LinkRecord, target: NodeRecord, facts: Facts): void {
    const changes = attrOps(target, attrDifference(target, source))
    facts.kind = FACTS_FOLLOW
    const ops = [putOfContent(target, source), ...changes, ...removeOps(source, link)]
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

  #nameLocal({ kind, record }: LocalInode, directory: NodeRecord, name: Name): NodeInfo {
    assert(kind === 'unnamed', 'link: the inode has lost its name')
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
    this.#locals.delete(record.ino)
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

  #keepOrphan(ino: number, orphan: LocalInode): boolean {
    if (this.#store.node(ino) !== undefined) return false
    this.#locals.set(ino, orphan)
    return true
  }

  #info(record: NodeRecord): NodeInfo {
    const parent = record.kind === KIND_DIRECTORY ? record.onlyLink?.shownParent : undefined
    return nodeInfoOf(record, parent ?? ROOT_INO, this.#owner)
  }

  #localInfo({ record, parent, kind }: LocalInode): NodeInfo {
    const info = nodeInfoOf(record, parent, this.#owner)
    info.attr.nlink = 0
    info.orphan = kind !== 'detached'
    return info
  }

  #entry(parent: number, name: Name): Entry {
    return must(this.#store.entry(parent, name), 'no such entry')
  }

  #record(ino: number): NodeRecord {
    return must(this.#store.node(ino), 'no such inode')
  }

  #any(ino: number): NodeRecord {
    return this.#locals.get(ino)?.record ?? this.#record(ino)
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

/** What the inode would be without a name, taken before the operation. */
function asOrphan(record: NodeRecord, parent: number, facts: Facts): LocalInode {
  const copy = withoutName(record)
  copy.ctimeSec = facts.sec
  copy.ctimeNsec = facts.nsec
  return { record: copy, parent, kind: 'orphan' }
}
