// Devices that share one vault by hand: each says what it does on what it shows, in paths; sync()
// brings everybody's batches to everybody. The same batches, in other causal orders, must give
// devices that hear of them for the first time the same tree: sync() checks that each time.
import { effectiveTime } from '../../src/ops/hlc.ts'
import type { HlcTime } from '../../src/ops/hlc.ts'
import { Ids } from '../../src/ops/ids.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type {
  AttrChange, AuthorId, Name, NodeId, NodeKind, Op, OpRef,
} from '../../src/ops/types.ts'
import { FACTS_FOLLOW, Facts } from '../../src/state/facts.ts'
import { Fold, makeRoot } from '../../src/state/fold.ts'
import type { HistoryOp, Standing } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import type { Entry, LinkRecord, NodeRecord } from '../../src/state/records.ts'
import { seenHeads } from '../../src/state/registers.ts'
import { groupOfEntry } from '../../src/state/view-groups.ts'
import { linkAt, moveOp, removeOps } from '../../src/vault/tree-records.ts'
import { SeededRandom } from '../support/random.ts'

export const ids = new Ids(Buffer.alloc(32, 9))
const ROOT = ids.root(Buffer.alloc(16))
const DAY_MS = 86_400_000

interface TestBatch {
  author: AuthorId
  seq: number
  time: HlcTime
  vv: Map<AuthorId, number>
  ops: Op[]
  follow: boolean
}

export class Device {
  readonly author: AuthorId
  readonly base = new MemoryBase()
  readonly store: Overlay
  readonly fold: Fold
  readonly applied = new Map<AuthorId, number>()
  readonly labels: Map<AuthorId, string>
  readonly open = new Set<number>()
  /** What the kernel would be told. */
  told: string[] = []
  standing: (author: AuthorId, seq: number) => Standing = () => 'valid'
  readonly #world: World
  readonly #histories = new Map<NodeId, HistoryOp[]>()
  readonly #events: { batch: TestBatch; facts: Facts }[] = []
  #last: HlcTime = { ms: 0, counter: 0 }
  #mint = 0
  #now = 0

  constructor(world: World, author: AuthorId) {
    this.#world = world
    this.author = author
    this.labels = world.labels
    this.store = new Overlay(this.base, new StateMeta())
    makeRoot(this.store, ROOT)
    this.fold = new Fold(this.store, ids, {
      standing: (author, seq) => this.standing(author, seq),
      label: (author) => this.labels.get(author) ?? '',
      history: (record) => (this.#histories.get(record.node) ?? []).toReversed(),
      isOpen: (ino) => this.open.has(ino),
      changes: {
        entry: (parent, name) => this.told.push(`entry ${parent} ${name}`),
        node: (ino) => this.told.push(`node ${ino}`),
        content: (ino) => this.told.push(`content ${ino}`),
        detached: (ino, record) => this.told.push(`detached ${ino} ${text(record)}`),
      },
    })
  }

  // ---- reading ----

  entry(path: string): Entry | undefined {
    let dir = 1
    let found: Entry | undefined
    for (const name of path.split('/').filter(Boolean)) {
      found = this.store.entry(dir, name as Name)
      if (found === undefined) return undefined
      dir = found.ino
    }
    return found
  }

  record(path: string): NodeRecord {
    return path === '' ? this.store.node(1)! : this.store.node(this.entry(path)!.ino)!
  }

  find(node: NodeId): NodeRecord | undefined {
    const ino = this.store.inoOf(node)
    return ino === undefined ? this.store.hidden(node) : this.store.node(ino)
  }

  names(path = ''): string[] {
    return this.list(this.record(path)).map((one) => one.name).toSorted()
  }

  list(directory: NodeRecord): Entry[] {
    return this.store.entries(directory.ino, 0, 100_000, true)
  }

  read(path: string): string {
    return this.entry(path) === undefined ? 'nothing' : text(this.record(path))
  }

  conflicts(path: string): string[] {
    const placed = groupOfEntry(this.store, this.entry(path)!)
    return placed?.group.shown.map((one) => `${one.kind} ${one.name}`) ?? []
  }

  /** The whole tree, groups and counts: equal on all devices. */
  dump(): string {
    const lines: string[] = []
    const walk = (directory: NodeRecord, path: string) => {
      const entries = this.list(directory)
      if (entries.length !== directory.entryCount) throw new Error(`${path}: count`)
      for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
        if (this.store.entry(directory.ino, entry.name)?.ino !== entry.ino) throw new Error('name')
        const record = this.store.node(entry.ino)!
        const group = groupOfEntry(this.store, entry)
        const { mode, nlink, members } = record
        lines.push([
          `${path}/${entry.name}`, record.kind, Buffer.from(record.node, 'latin1').toString('hex'),
          mode, nlink, text(record), record.virtualOf !== '', members.length,
          group?.name, group?.group.claims.length,
        ].join(' '))
        if (record.isDirectory) walk(record, `${path}/${entry.name}`)
      }
    }
    walk(this.store.node(1)!, '')
    const { files, directories, contentBytes } = this.store.meta
    lines.push(`${files} files, ${directories} directories, ${contentBytes} bytes`)
    return lines.join('\n')
  }

  // ---- changing ----

  make(
    path: string, kind: NodeKind, content?: string, mode = 0o644, attrs: AttrChange[] = [],
  ): void {
    const [parent, name] = this.#split(path)
    const node = ids.node(this.author, ++this.#mint, kind)
    const ops: Op[] = [{
      kind: 'mk', mint: this.#mint, node, nodeKind: kind, parent: parent.node, name,
      attrs: [{ key: 1, mode }, ...attrs],
    }]
    if (content !== undefined) ops.push(putOp(node, content, []))
    this.emit(ops)
  }

  file(path: string, content?: string): void {
    this.make(path, KIND_FILE, content)
  }

  dir(path: string): void {
    this.make(path, KIND_DIRECTORY)
  }

  link(path: string, to: string): void {
    const [parent, name] = this.#split(to)
    const { node } = this.record(path)
    const link = ids.link(this.author, ++this.#mint, node)
    this.emit([{ kind: 'link', mint: this.#mint, link, node, parent: parent.node, name }])
  }

  write(path: string, content: string): void {
    const record = this.record(path)
    this.emit([putOp(record.node, content, seenHeads(record))])
  }

  move(path: string, to: string): void {
    const [parent, name] = this.#split(to)
    const [from, old] = this.#split(path)
    const record = this.record(path)
    const { members } = record
    const links = members.length > 0
      ? members.map((node) => this.find(node)!.links[0]!) : [linkAt(record, from.ino, old)]
    this.emit(links.map((link) => moveOp(link, parent, name)))
  }

  /** Moves one member of a union by itself, as a device does that sees only that one. */
  moveOne(node: NodeId, parent: string, name: string): void {
    this.emit([moveOp(this.find(node)!.links[0]!, this.record(parent), name as Name)])
  }

  remove(path: string): void {
    const [parent, name] = this.#split(path)
    const record = this.record(path)
    const nodes = record.members.length > 0
      ? record.members.map((one) => this.find(one)!)
      : [record]
    this.emit(nodes.flatMap((one) => removeOps(one, linkOf(one, parent.ino, name))))
  }

  replace(path: string, by: string): void {
    const [parent, name] = this.#split(by)
    const source = this.record(by)
    const target = this.record(path)
    const [remove] = removeOps(source, linkAt(source, parent.ino, name))
    this.emit([putOp(target.node, text(source), seenHeads(target)), remove!], true)
  }

  chmod(path: string, mode: number): void {
    const { node, touches } = this.record(path)
    this.emit([{ kind: 'attr', node, change: { key: 1, mode }, prev: [...touches] }])
  }

  emit(ops: Op[], follow = false): void {
    const seq = this.applied.get(this.author) ?? 0
    const time = effectiveTime({ ms: this.#world.now(this), counter: 0 }, [this.#last])
    const vv = new Map(this.applied).set(this.author, seq)
    const batch = { author: this.author, seq, time, vv, ops, follow }
    this.#world.logs.get(this.author)!.push(batch)
    this.apply(batch)
  }

  apply(batch: TestBatch, replayed?: Facts): void {
    const { author, seq, time, vv, ops, follow } = batch
    const own = author === this.author
    const facts = replayed ?? new Facts(++this.#now, 0)
    facts.opCount = ops.length
    if (own && follow) facts.kind = FACTS_FOLLOW
    this.#events.push({ batch, facts })
    const refs = ops.map((_, index): OpRef => ({ ...time, author, seq, index, order: 0 }))
    const seen = (ref: OpRef) => (
      ref.seq < (vv.get(ref.author) ?? 0) || (ref.author === author && ref.seq === seq)
    )
    const nodes = this.fold.apply(ops, refs, facts, own ? undefined : seen)
    if (this.fold.voids.length > 0) throw new Error(`void: ${this.fold.voids.join()}`)
    nodes.forEach((node, i) => {
      if (node === undefined) return
      const list = this.#histories.get(node) ?? []
      list.push({ op: ops[i]!, ref: refs[i]! })
      this.#histories.set(node, list)
    })
    this.applied.set(author, seq + 1)
    if (time.ms > this.#last.ms) this.#last = time
  }

  /** Everything by `author` from `seq` on has this standing now. */
  judge(author: AuthorId, from: number, standing: Standing): void {
    this.standing = (one, seq) => (one === author && seq >= from ? standing : 'valid')
    const nodes = [...this.#histories].flatMap(([node, ops]) => (
      ops.some(({ ref }) => ref.author === author && ref.seq >= from) ? [node] : []
    ))
    this.fold.recompute(nodes, new Facts(++this.#now, 0))
  }

  /** The same device once more, from its batches and local facts, with nothing open. */
  replay(): Device {
    const again = new Device(this.#world, this.author)
    for (const { batch, facts } of this.#events) {
      const { kind, sec, nsec, values } = facts
      again.apply(batch, Facts.replaying(kind, sec, nsec, [...values]))
    }
    return again
  }

  /** Paths with their inos and cookies. */
  inos(): string[] {
    const lines: string[] = []
    const walk = (directory: NodeRecord, path: string) => {
      for (const { name, ino, cookie } of this.list(directory)) {
        lines.push(`${path}/${name} ${ino} ${cookie}`)
        const record = this.store.node(ino)!
        if (record.isDirectory) walk(record, `${path}/${name}`)
      }
    }
    walk(this.store.node(1)!, '')
    return lines
  }

  relabel(): void {
    this.fold.relabel(new Facts(++this.#now, 0))
  }

  checkpoint(): void {
    this.base.absorb(this.store.freeze())
    this.store.release()
  }

  #split(path: string): [NodeRecord, Name] {
    const at = path.lastIndexOf('/')
    return [this.record(path.slice(0, Math.max(at, 0))), path.slice(at + 1) as Name]
  }
}

export class World {
  readonly labels = new Map<AuthorId, string>()
  readonly logs = new Map<AuthorId, TestBatch[]>()
  readonly devices: Device[] = []
  readonly random = new SeededRandom(7)
  /** Days after 2026-11-20, and a millisecond more for each batch. */
  day = 0
  #ticks = 0

  /** One device for each label; a later one's clock is ahead. */
  constructor(...labels: string[]) {
    for (const [i, label] of labels.entries()) {
      const author = String.fromCharCode(65 + i).repeat(32) as AuthorId
      this.labels.set(author, label)
      this.logs.set(author, [])
      this.devices.push(new Device(this, author))
    }
  }

  now(device: Device): number {
    const base = Date.UTC(2026, 10, 20) + this.day * DAY_MS
    return base + this.devices.indexOf(device) * 1000 + ++this.#ticks
  }

  /** Brings everything to everybody. Returns the tree, which is the same everywhere. */
  sync(): string {
    for (const device of this.devices) this.deliver(device)
    const dumps = this.devices.map((device) => device.dump())
    for (let i = 0; i < 4; i++) {
      const fresh = new Device(this, '?'.repeat(32) as AuthorId)
      this.deliver(fresh, i > 0 ? this.random : undefined)
      dumps.push(fresh.dump())
      fresh.checkpoint()
    }
    const other = dumps.findIndex((one) => one !== dumps[0])
    if (other >= 0) throw new Error(`order matters (${other}):\n${dumps[0]}\n\n${dumps[other]}`)
    const hashes = new Set(this.devices.map((device) => {
      device.checkpoint()
      return device.base.stateHash.digest()
    }))
    if (hashes.size > 1) throw new Error('state hashes differ')
    return dumps[0]!
  }

  /** All that the device lacks; `random`: in any order that keeps causes before effects. */
  deliver(to: Device, random?: SeededRandom): void {
    for (;;) {
      const ready = [...this.logs].flatMap(([author, log]) => {
        const batch = log[to.applied.get(author) ?? 0]
        const isReady = batch !== undefined
          && [...batch.vv].every(([one, length]) => (to.applied.get(one) ?? 0) >= length)
        return isReady ? [batch] : []
      })
      if (ready.length === 0) return
      to.apply(random === undefined ? ready[0]! : random.pick(ready))
      if (random?.chance(0.2) === true) to.checkpoint()
    }
  }
}

export function text(record: NodeRecord): string {
  const content = record.winner?.content
  if (record.target !== '') return record.target
  return content?.kind === 'inline' ? Buffer.from(content.bytes).toString() : ''
}

function linkOf(record: NodeRecord, parent: number, name: Name): LinkRecord {
  return record.links.length === 1 ? record.links[0]! : linkAt(record, parent, name)
}

export function putOp(node: NodeId, content: string, base: OpRef[]): Op {
  const bytes = new Uint8Array(Buffer.from(content))
  return {
    kind: 'put', node, base, sizeBytes: bytes.length, mtimeSec: 5, mtimeNsec: 0,
    content: { kind: 'inline', bytes },
  }
}
