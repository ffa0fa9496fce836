// Several devices of one vault, each a real LiveTree over the real fold and a memory store; batches
// go from one to the other through the real codec, when the test says so.
import { BATCH_MAX_BYTES } from '../../src/ops/bounds.ts'
import { decodeBatch, encodeBatch } from '../../src/ops/codec.ts'
import { Hlc, effectiveTime } from '../../src/ops/hlc.ts'
import type { HlcTime } from '../../src/ops/hlc.ts'
import { Ids } from '../../src/ops/ids.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { AuthorId, Batch, Name, NodeId, OpRef } from '../../src/ops/types.ts'
import { Facts } from '../../src/state/facts.ts'
import { Fold } from '../../src/state/fold.ts'
import type { HistoryOp } from '../../src/state/node-history.ts'
import type { Overlay } from '../../src/state/overlay.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import type { Files } from '../../src/vault/files.ts'
import { LiveTree } from '../../src/vault/live-tree.ts'
import type { StateIndex } from '../../src/vault/checkpoint.ts'
import { MemoryIndex } from '../support/sim-index.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { describe } from './tree.helper.ts'

const ids = new Ids(Buffer.alloc(32, 3))
export const ROOT = ids.root(Buffer.alloc(16, 7))
const START_MS = Date.UTC(2026, 10, 20)
const TREE_HASH = new Uint8Array(32)

interface Stored { time: HlcTime; vv: Map<AuthorId, number>; plain: Buffer }

export class Device {
  readonly author: AuthorId
  readonly index: StateIndex & { readonly store: Overlay }
  readonly fold: Fold
  readonly tree: LiveTree
  readonly log: Stored[] = []
  /** Each operation is a batch. */
  smallBatches = false
  /** Inos that are open here. */
  readonly open = new Set<number>()
  readonly detached: number[] = []
  /** Whoever keeps the content of open files here. */
  files: Files | undefined
  readonly #applied = new Map<AuthorId, Stored[]>()
  readonly #histories = new Map<NodeId, HistoryOp[]>()
  readonly #hlc = new Hlc({ ms: START_MS, counter: 0 })
  readonly #nowMs: () => number
  #queue: UserOperation[] = []
  #position = 0
  #pushed = 0

  constructor(name: string, nowMs: () => number, index: Device['index'] = new MemoryIndex(ROOT)) {
    this.author = name.padEnd(32, '.') as AuthorId
    this.index = index
    this.#nowMs = nowMs
    this.#applied.set(this.author, this.log)
    this.fold = new Fold(this.index.store, ids, {
      standing: () => 'valid',
      label: (author) => author.replaceAll('.', ''),
      history: (record) => (this.#histories.get(record.node) ?? []).toReversed(),
      isOpen: (ino) => this.files?.isInUse(ino as Ino) ?? this.open.has(ino),
      changes: {
        entry: () => undefined,
        node: (ino) => this.files?.changedElsewhere(ino as Ino),
        content: (ino) => this.files?.changedElsewhere(ino as Ino),
        detached: (ino, record, parent) => {
          this.detached.push(ino)
          this.tree.detach(ino, record, parent)
          this.files?.detached(ino as Ino)
        },
      },
    })
    const clock = new FakeClock()
    this.tree = new LiveTree({
      store: this.index.store, fold: this.fold, ids, author: this.author,
      clock: { nowMs, now: () => clock.now(), setTimer: (ms, fn) => clock.setTimer(ms, fn) },
      owner: { uid: 1000, gid: 1000 },
      queue: {
        push: (operation) => {
          this.#queue.push(operation)
          return ++this.#pushed
        },
        unblock: () => undefined,
        stuck: () => undefined,
        last: 0,
        durable: async () => undefined,
        placeAll: () => this.place(),
      },
    })
  }

  get root(): Ino {
    return this.tree.root
  }

  /** Places the queue up to the first operation that is not ready, as one batch. */
  place(): boolean {
    const end = this.#queue.findIndex((operation) => !operation.ready)
    const taken = this.#queue.splice(0, end < 0 ? this.#queue.length : end)
    for (let from = 0; from < taken.length;) {
      const isLarge = taken.length > 100 || taken.some((operation) => operation.ops.length > 100)
      const end = isLarge || this.smallBatches ? from + 1 : taken.length
      const some = taken.slice(from, end)
      const ops = some.flatMap((operation) => operation.ops)
      if (ops.length > 0) this.#placeBatch(some, ops)
      from = end
    }
    return this.#queue.length === 0
  }

  /** Puts a batch into the log that this device itself does not apply. */
  forge(ops: Batch['ops']): void {
    const seq = this.log.length
    const time = this.#hlc.tick(this.#nowMs())
    const vv = new Map([...this.#applied].map(([author, log]) => [author, log.length]))
    vv.set(this.author, seq)
    const plain = Buffer.from(encodeBatch({ ...time, deps: [], ops }, this.author, seq))
    this.log.push({ time, vv, plain })
  }

  #placeBatch(taken: UserOperation[], ops: Batch['ops']): void {
    const seq = this.log.length
    const time = this.#hlc.tick(this.#nowMs())
    const refs = taken.flatMap((operation) => operation.refs)
    refs.forEach((ref, index) => Object.assign(ref, time, { seq, index }))
    const before = this.log[seq - 1]?.vv ?? new Map<AuthorId, number>()
    const vv = new Map([...this.#applied].map(([author, log]) => [author, log.length]))
    vv.set(this.author, seq)
    const deps = [...vv]
      .filter(([author, length]) => author !== this.author && length > (before.get(author) ?? 0))
      .map(([author, length]) => ({ author, length, treeHash: TREE_HASH }))
      .toSorted((a, b) => (a.author < b.author ? -1 : 1))
    const plain = Buffer.from(encodeBatch({ ...time, deps, ops }, this.author, seq))
    if (plain.length > BATCH_MAX_BYTES - 1000) throw new Error('an operation is too large')
    this.log.push({ time, vv, plain })
    this.#remember(ops, refs)
  }

  /** Applies what `other` has and this one has not, as far as its dependencies are here. */
  pull(...others: Device[]): void {
    if (!this.place()) throw new Error('something waits for its content')
    for (let found = true; found;) {
      found = false
      for (const other of others) {
        for (const [author, log] of other.#applied) {
          const mine = this.#applied.get(author) ?? []
          this.#applied.set(author, mine)
          const next = log[mine.length]
          if (author === this.author || next === undefined || !this.#isReady(next, author)) continue
          this.#applyRemote(author, mine.length, next)
          mine.push(next)
          found = true
        }
      }
    }
  }

  #isReady({ vv }: Stored, author: AuthorId): boolean {
    return [...vv].every(([seen, length]) => (
      seen === author || (this.#applied.get(seen)?.length ?? 0) >= length
    ))
  }

  #applyRemote(author: AuthorId, seq: number, { time, vv, plain }: Stored): void {
    const { ops } = decodeBatch(plain, author, seq, ids)
    const refs = ops.map((_, index): OpRef => ({ ...time, author, seq, index, order: 0 }))
    const facts = new Facts(Math.floor(this.#nowMs() / 1000), 0)
    facts.opCount = ops.length
    this.#hlc.receive(effectiveTime(time, []))
    this.fold.apply(ops, refs, facts, (ref) => (
      ref.seq < (vv.get(ref.author) ?? 0) || (ref.author === author && ref.seq === seq)
    ))
    if (this.fold.voids.length > 0) throw new Error(`void: ${this.fold.voids.join()}`)
    this.#remember(ops, refs)
  }

  #remember(ops: Batch['ops'], refs: readonly OpRef[]): void {
    ops.forEach((op, i) => {
      const node = this.#nodeOf(op)
      if (node === undefined) return
      const history = this.#histories.get(node) ?? []
      history.push({ op, ref: refs[i] as OpRef })
      this.#histories.set(node, history)
    })
  }

  #nodeOf(op: Batch['ops'][number]): NodeId | undefined {
    if ('node' in op) return op.node
    if (!('link' in op)) return undefined
    return this.index.store.nodeOfLink(op.link) ?? (op.link as string as NodeId)
  }

  async checkpoint(): Promise<string> {
    this.place()
    this.index.freeze()
    const position = ++this.#position as JournalPosition
    const cut = { position, batches: 0, ms: 0, counter: 0, resume: new Uint8Array(0) }
    await this.index.write(position, this.author, cut as never)
    return this.index.stateHash()
  }

  /** All that the store says, local facts included, as text. */
  dump(store: Overlay = this.index.store): string[] {
    const out: string[] = []
    for (const node of [ROOT, ...this.#histories.keys()]) {
      const ino = store.inoOf(node)
      const record = ino === undefined ? store.hidden(node) : store.node(ino)
      if (record === undefined) throw new Error('a record is lost')
      out.push(describe(record))
      if (ino === undefined || !record.isDirectory) continue
      for (const entry of store.entries(ino, 0, 1000, true)) {
        const named = store.entry(ino, entry.name)
        const skips = store.skips(ino, entry.name)
        out.push(JSON.stringify([entry, named?.cookie === entry.cookie, skips]))
        out.push(describe(store.node(entry.ino)!))
      }
    }
    for (const placed of store.groups(undefined, 1000)) out.push(JSON.stringify(placed))
    for (const move of store.movesFrom(undefined)) out.push(JSON.stringify(plainRefs(move)))
    return out
  }

  // ---- as a user ----

  at(path: string): { parent: Ino; name: Name; ino: Ino } {
    const parts = path.split('/')
    const name = parts.pop() as Name
    let parent = this.root
    for (const part of parts) parent = this.tree.lookup(parent, part as Name)!.ino
    return { parent, name, ino: this.tree.lookup(parent, name)?.ino as Ino }
  }

  write(path: string, text: string): Ino {
    const { parent, name, ino } = this.at(path)
    const file = ino === undefined ? this.make(parent, name, KIND_FILE) : ino
    this.put(file, text)
    return file
  }

  put(ino: Ino, text: string): void {
    const { attr } = this.tree.node(ino)!
    const bytes = new Uint8Array(Buffer.from(text))
    const sec = Math.floor(this.#nowMs() / 1000)
    this.tree.put(ino, { kind: 'inline', bytes }, {
      ...attr, sizeBytes: bytes.length, mtimeSec: sec, mtimeNsec: this.log.length + this.#pushed,
    })
  }

  mkdir(path: string): Ino {
    const { parent, name } = this.at(path)
    return this.make(parent, name, KIND_DIRECTORY)
  }

  make(parent: Ino, name: Name, kind: typeof KIND_FILE | typeof KIND_DIRECTORY): Ino {
    return this.tree.make(parent, name, {
      kind, mode: 0o644, uid: 1000, gid: 1000, rdev: 0, target: '',
    }).ino
  }

  link(path: string, newPath: string): void {
    const to = this.at(newPath)
    this.tree.link(this.at(path).ino, to.parent, to.name)
  }

  remove(path: string): void {
    const { parent, name } = this.at(path)
    this.tree.unlink(parent, name)
  }

  /** rm -rf. A directory that somebody else removed goes with its last entry. */
  removeAll(path: string): void {
    const { ino } = this.at(path)
    if (this.tree.node(ino)!.kind === KIND_DIRECTORY) {
      for (const name of this.names(ino)) {
        if (this.view()[`${path}/${name}`] !== undefined) this.removeAll(`${path}/${name}`)
      }
    }
    if (this.view()[path] !== undefined) this.remove(path)
  }

  rename(path: string, newPath: string): void {
    const from = this.at(path)
    const to = this.at(newPath)
    this.tree.rename(from.parent, from.name, to.parent, to.name)
  }

  exchange(path: string, newPath: string): void {
    const from = this.at(path)
    const to = this.at(newPath)
    this.tree.exchange(from.parent, from.name, to.parent, to.name)
  }

  text(ino: Ino): string {
    const content = this.tree.node(ino)?.content
    return content?.kind === 'inline' ? Buffer.from(content.bytes).toString() : ''
  }

  read(path: string): string {
    return this.text(this.at(path).ino)
  }

  names(ino: Ino = this.root): Name[] {
    return this.tree.list(ino, 0, 10_000).map((entry) => entry.name).toSorted()
  }

  /** Everything that is shown: path → content, or '/' for a directory. */
  view(): Record<string, string> {
    const out: Record<string, string> = {}
    const walk = (directory: Ino, path: string): void => {
      const names = this.names(directory)
      if (names.length !== this.tree.node(directory)!.entryCount) throw new Error('lost count')
      for (const name of names) {
        const { ino, kind } = this.tree.lookup(directory, name)!
        out[path + name] = kind === KIND_DIRECTORY ? '/' : this.text(ino)
        if (kind === KIND_DIRECTORY) walk(ino, `${path}${name}/`)
      }
    }
    walk(this.root, '')
    return out
  }

  record(path: string): NodeRecord {
    return this.index.store.node(this.at(path).ino)!
  }
}

/** Without what says nothing about placed ops. */
function plainRefs(value: object): unknown {
  return JSON.parse(JSON.stringify(value, (key, one: unknown) => (key === 'order' ? 0 : one)))
}

/** Time of the world: each device asks it, and every call is a little later. */
export class World {
  readonly devices: Device[]
  #nowMs = START_MS

  constructor(...names: string[]) {
    this.devices = names.map((name) => new Device(name, () => this.#nowMs += 7))
  }

  add(name: string, index: Device['index']): Device {
    const device = new Device(name, () => this.#nowMs += 7, index)
    this.devices.push(device)
    return device
  }

  /** Until everybody has everything. */
  sync(...devices: Device[]): void {
    const all = devices.length === 0 ? this.devices : devices
    for (let round = 0; round < 2; round++) {
      for (const device of all) device.pull(...all.filter((other) => other !== device))
    }
  }
}
