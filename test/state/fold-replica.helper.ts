// A device of the fuzz: the product's fold over a memory store, with the history and the standing
// that a replica would give it, and everything it shows, checked for consistency while it is read.
import { effectiveTime } from '../../src/ops/hlc.ts'
import type { HlcTime } from '../../src/ops/hlc.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { AttrChange, AuthorId, NodeId, Op, OpRef } from '../../src/ops/types.ts'
import { FACTS_FOLLOW, Facts } from '../../src/state/facts.ts'
import { Fold, makeRoot } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta } from '../../src/state/meta.ts'
import type { HistoryOp } from '../../src/state/node-history.ts'
import { Overlay } from '../../src/state/overlay.ts'
import { ROOT_INO } from '../../src/state/records.ts'
import type { Entry, NodeRecord } from '../../src/state/records.ts'
import { standingOf } from './fuzz-world.helper.ts'
import type { StandingVersion } from './fuzz-world.helper.ts'
import {
  compareTexts, describeModelNode, describeRecord, hex,
} from './naive-compare.helper.ts'
import { contentText } from './naive-model.helper.ts'
import type { Model, ModelBatch } from './naive-model.helper.ts'
import type { Vault } from './naive-user.helper.ts'
import { valueText } from './naive-view.helper.ts'
import type { View, ViewDirectory } from './naive-view.helper.ts'

const refName = (ref: OpRef) => `${ref.author}${ref.seq}.${ref.index}`

/** The op with other objects for the refs in it. */
function withRefs(op: Op, of: (ref: OpRef) => OpRef): Op {
  switch (op.kind) {
    case 'mk': return op.source === undefined ? op : { ...op, source: of(op.source) }
    case 'mv': return { ...op, prev: op.prev.map(of) }
    case 'rm': return { ...op, prev: op.prev.map(of), contentHeads: op.contentHeads.map(of) }
    case 'put': return { ...op, base: op.base.map(of) }
    case 'attr': return { ...op, prev: op.prev.map(of) }
    case 'tag': return { ...op, removeAdds: op.removeAdds.map(of) }
    default: return op
  }
}

interface Applied { time: HlcTime; vv: Map<AuthorId, number>; nodes: Set<NodeId> }

type GivenBatch = ModelBatch & { follow?: boolean; detached?: boolean }

/** What one application recorded for itself, in order: enough to do it all again. */
export type ReplicaEvent =
  | { batch: GivenBatch; own: boolean; facts: Facts }
  | { standing: StandingVersion; facts: Facts }
  | { labels: (author: AuthorId) => string; facts: Facts }

export class FoldReplica {
  readonly base = new MemoryBase()
  store: Overlay
  fold: Fold
  readonly vault: Vault
  readonly events: ReplicaEvent[] = []
  readonly #logs = new Map<AuthorId, Applied[]>()
  readonly #histories = new Map<NodeId, HistoryOp[]>()
  #standing: StandingVersion = { cutoffs: new Map(), voids: new Set() }
  readonly isOpen = new Set<number>()
  label: (author: AuthorId) => string
  #now = 0
  #order = 0
  /** Own ops that are not placed yet, by name, and what they will be. */
  readonly #pending = new Map<string, { ref: OpRef; placed: OpRef }>()

  /** Over memory, or over a store with a root in it. */
  constructor(vault: Vault, store?: Overlay) {
    this.vault = vault
    this.label = vault.label
    this.store = store ?? new Overlay(this.base, new StateMeta())
    if (store === undefined) makeRoot(this.store, vault.root)
    this.fold = this.#newFold()
  }

  /** Goes on over another store, which knows as much. */
  reopen(store: Overlay): void {
    this.place()
    this.store = store
    this.fold = this.#newFold()
  }

  #newFold(): Fold {
    return new Fold(this.store, this.vault.ids, {
      standing: (author, seq) => standingOf(this.#standing)(author, seq),
      label: (author) => this.label(author),
      history: (record) => (this.#histories.get(record.node) ?? []).toReversed(),
      isOpen: (ino) => this.isOpen.has(ino),
      changes: {
        entry: () => undefined, node: () => undefined,
        content: () => undefined, detached: () => undefined,
      },
    })
  }

  /**
   * Applies a batch whole. Own ones are provisional, as in the product, until something else
   * happens; not so writes through old handles, nor anything when it is replayed.
   */
  apply(given: GivenBatch, own: boolean, replay?: Facts): void {
    const { author, seq } = given
    const isProvisional = own && given.detached !== true && replay === undefined
    if (!isProvisional) this.place()
    const log = this.#logs.get(author) ?? []
    this.#logs.set(author, log)
    const before = log[seq - 1]
    const deps = given.deps.map((dep) => this.#logs.get(dep.author)![dep.length - 1]!)
    const past = before === undefined ? deps : [before, ...deps]
    const time = effectiveTime(given, past.map((one) => one.time))
    const vv = new Map(before?.vv)
    vv.set(author, seq)
    for (const dep of given.deps) {
      vv.set(dep.author, Math.max(vv.get(dep.author) ?? 0, dep.length))
    }
    const refs = given.ops.map((_, index): OpRef => {
      const placed = { ...time, author, seq, index, order: ++this.#order }
      if (!isProvisional) return placed
      const ref = { ...placed, ms: 0, counter: 0, seq: -1 }
      this.#pending.set(refName(placed), { ref, placed })
      return ref
    })
    const ops = !isProvisional ? given.ops : given.ops.map((op) => (
      withRefs(op, (ref) => this.#pending.get(refName(ref))?.ref ?? ref)
    ))
    const facts = replay ?? new Facts(++this.#now, 0)
    if (own && given.follow === true && replay === undefined) facts.kind = FACTS_FOLLOW
    facts.opCount = given.ops.length
    this.events.push({ batch: given, own, facts })
    const sees = (ref: OpRef) => ref.seq < (vv.get(ref.author) ?? 0)
      || (ref.author === author && ref.seq === seq)
    const nodes = this.fold.apply(ops, refs, facts, own ? undefined : sees)
    log[seq] = { time, vv, nodes: new Set(nodes.filter((one) => one !== undefined)) }
    nodes.forEach((node, i) => {
      if (node === undefined) return
      const history = this.#histories.get(node) ?? []
      history.push({ op: ops[i]!, ref: refs[i]! })
      this.#histories.set(node, history)
    })
  }

  /** Own ops get their batches: from now on they are what everybody knows them as. */
  place(): void {
    for (const { ref, placed } of this.#pending.values()) {
      const { ms, counter, seq } = placed
      Object.assign(ref, { ms, counter, seq })
    }
    this.#pending.clear()
  }

  changeLabels(label: (author: AuthorId) => string, replay?: Facts): void {
    this.place()
    this.label = label
    const facts = replay ?? new Facts(++this.#now, 0)
    this.events.push({ labels: label, facts })
    this.fold.relabel(facts)
  }

  /** Others count now: every node that a batch of another standing touched is worked out anew. */
  changeStanding(standing: StandingVersion, replay?: Facts): void {
    this.place()
    const [was, is] = [standingOf(this.#standing), standingOf(standing)]
    const nodes = new Set<NodeId>()
    for (const [author, log] of this.#logs) {
      log.forEach((one, seq) => {
        if (was(author, seq) !== is(author, seq)) one.nodes.forEach((node) => nodes.add(node))
      })
    }
    this.#standing = standing
    const facts = replay ?? new Facts(++this.#now, 0)
    this.events.push({ standing, facts })
    if (nodes.size > 0) this.fold.recompute(nodes, facts)
  }

  checkpoint(): void {
    this.place()
    this.base.absorb(this.store.freeze())
    this.store.release()
  }

  find(node: NodeId): NodeRecord | undefined {
    const ino = this.store.inoOf(node)
    return ino === undefined ? this.store.hidden(node) : this.store.node(ino)
  }

  /** Entries of a directory, each also found by its name. */
  entries(directory: NodeRecord): Entry[] {
    const all: Entry[] = []
    for (let after = 0; ;) {
      const page = this.store.entries(directory.ino, after, 3, true)
      for (const entry of page) {
        after = entry.cookie
        const named = this.store.entry(directory.ino, entry.name)
        if (named?.ino !== entry.ino) throw new Error(`${entry.name} is not found by its name`)
        all.push(entry)
      }
      if (page.length < 3) return all
    }
  }

  /** All inos, names and cookies: what a replay must come to again. */
  localText(): string {
    const lines: string[] = []
    const walk = (directory: NodeRecord, path: string) => {
      for (const entry of this.entries(directory)) {
        lines.push(`${path}/${entry.name} ${entry.ino} ${entry.cookie}`)
        if (entry.kind !== KIND_DIRECTORY) continue
        walk(this.store.node(entry.ino)!, `${path}/${entry.name}`)
      }
    }
    walk(this.store.node(ROOT_INO)!, '')
    return lines.join('\n')
  }

  /** What is wrong with records, view and groups, by the model. */
  compare(model: Model, view: View): string | undefined {
    this.place()
    for (const node of model.nodes.values()) {
      const record = this.find(node.node)
      if (record === undefined) return `node ${hex(node.node)} has no record`
      const wrong = compareTexts(describeRecord(record), describeModelNode(node))
      if (wrong !== undefined && node.node !== this.vault.root) return wrong
      if (node.kind !== KIND_DIRECTORY) continue
      let claims = 0
      for (const link of model.links.values()) {
        if (link.wanted && link.parent === node.node) claims++
      }
      if (record.claimCount !== claims) {
        return `directory ${hex(node.node)} has ${record.claimCount} claims, should have ${claims}`
      }
    }
    const counts = { files: 0, directories: 1, seen: new Set<number>() }
    const wrong = this.#compareDirectory(this.store.node(ROOT_INO)!, view.root, '', model, counts)
    if (wrong !== undefined) return wrong
    const { files, directories } = this.store.meta
    // what lies in a directory that is nowhere keeps its inos, and counts
    if ([...model.links.values()].some((link) => link.pos === undefined)) return undefined
    // children of a directory without a position have entries, though no name leads there
    const isWhole = [...model.links.values()].every((one) => (
      one.pos !== undefined || one.node.kind !== KIND_DIRECTORY
    ))
    if (isWhole && (files !== counts.files || directories !== counts.directories)) {
      const expected = `${counts.files}, ${counts.directories}`
      return `counts ${files} files, ${directories} directories: should be ${expected}`
    }
    return undefined
  }

  #compareDirectory(
    record: NodeRecord,
    should: ViewDirectory,
    path: string,
    model: Model,
    counts: { files: number; directories: number; seen: Set<number> },
  ): string | undefined {
    const entries = new Map(this.entries(record).map((one) => [one.name, one]))
    const names = (list: Iterable<string>) => [...list].toSorted().join(' | ')
    if (names(entries.keys()) !== names(should.entries.keys())) {
      return `${path}/ has ${names(entries.keys())}, should have ${names(should.entries.keys())}`
    }
    if (record.entryCount !== entries.size) return `${path}/ has lost count`
    const subdirs = [...entries.values()].filter((one) => one.kind === KIND_DIRECTORY).length
    if (record.subdirCount !== subdirs) return `${path}/ has lost count of directories`
    const members = should.members.length < 2 ? [] : should.members.map((one) => one.node)
    if (record.members.toSorted().join() !== members.join()) return `${path}/ has other members`
    const groups = this.#compareGroups(record, should, path)
    if (groups !== undefined) return groups
    for (const [name, expected] of should.entries) {
      const entry = entries.get(name)!
      const node = this.store.node(entry.ino)
      const at = `${path}/${name}`
      if (node === undefined) return `${at} names no node`
      const isKind = node.kind === expected.kind && entry.kind === expected.kind
      if (!isKind) return `${at} is of another kind`
      const isShared = expected.isVariant && model.nodes.has(expected.node)
      if (node.node !== expected.node && !isShared) {
        return `${at} is ${hex(node.node)}, should be ${hex(expected.node)}`
      }
      if ((node.virtualOf !== '') !== expected.isVariant) return `${at}: virtual, or not`
      const is = contentText(node.winner)
      const text = contentText(expected.head?.put)
      if (node.kind === KIND_FILE && is !== text) return `${at} is ${is}, should be ${text}`
      const attrs = this.#compareVariant(node, expected.of.attrs)
      if (expected.isVariant && attrs !== undefined) return `${at}: ${attrs}`
      const sort = node.kind === KIND_DIRECTORY ? 'directories' : 'files'
      if (!counts.seen.has(entry.ino)) counts[sort]++
      counts.seen.add(entry.ino)
      if (expected.directory === undefined) continue
      const below = this.#compareDirectory(node, expected.directory, at, model, counts)
      if (below !== undefined) return below
    }
    return undefined
  }

  #compareVariant(
    record: NodeRecord, attrs: ReadonlyMap<string, { change: AttrChange }>,
  ): string | undefined {
    const value = (key: string, absent: string) => {
      const change = attrs.get(key)?.change
      return change === undefined ? absent : valueText(change)
    }
    if (String(record.mode) !== value('1', '0')) return `mode ${record.mode}`
    return `${record.uid}:${record.gid}` === value('2', '-1:-1') ? undefined : 'owner'
  }

  /** Records of groups: for those with several claims or a variant. */
  #compareGroups(record: NodeRecord, should: ViewDirectory, path: string): string | undefined {
    for (const group of should.groups.values()) {
      const isOne = group.links.length < 2 && group.items.every((one) => !one.isVariant)
      const is = this.store.group(record.ino, group.name)
      if (isOne && is !== undefined && is.skipped.length === 0) {
        return `${path}/${group.name} needs no group`
      }
      // variants that are all duplicates: with or without a record
      const shows = group.items.filter((one) => one.shown !== undefined).length
      if (isOne || (is === undefined && group.links.length < 2 && shows < 2)) continue
      if (is === undefined) return `${path}/${group.name} has no group`
      const sort = (list: string[]) => list.toSorted().join()
      const claims = sort(is.claims.map((one) => hex(one.link)))
      const links = sort(group.links.map((one) => hex(one.link)))
      if (claims !== links) return `${path}/${group.name}: claims ${claims}, should be ${links}`
      const shown = sort(is.shown.map((one) => `${hex(one.link)} ${one.kind} ${one.name}`))
      const items = sort(group.items.flatMap((one) => (
        one.shown === undefined ? []
          : [`${hex(one.link.link)} ${one.isVariant ? 'variant' : 'main'} ${one.shown}`]
      )))
      if (shown !== items) return `${path}/${group.name}: shows ${shown}, should be ${items}`
    }
    return undefined
  }
}

