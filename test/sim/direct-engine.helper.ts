// An engine without journal, keys and replica: LiveTree and Fold over memory, batches through the
// real codec, local facts beside them. It is the fast harness for the rules themselves; what it
// does in place of vault/replica.ts (causal delivery, effective times, whole batches) is written
// again here, plainly, and can be broken on purpose (`DirectRules`).
import { decodeBatch, encodeBatch } from '../../src/ops/codec.ts'
import { Hlc, effectiveTime, isVoid } from '../../src/ops/hlc.ts'
import type { HlcTime } from '../../src/ops/hlc.ts'
import type { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Batch, NodeId, Op, OpRef } from '../../src/ops/types.ts'
import { Facts, decodeFacts, encodeFacts } from '../../src/state/facts.ts'
import { Fold, makeRoot } from '../../src/state/fold.ts'
import type { FoldContext, HistoryOp, Standing } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import { LiveTree } from '../../src/vault/live-tree.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { Ticket } from '../../src/vault/tree.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import type { SeededRandom } from '../support/random.ts'
import { TreeCalls } from './calls.helper.ts'
import type { NaiveInput, SimEngine } from './engine.helper.ts'
import type { SimLogs } from './logs.helper.ts'
import type { DeviceClock } from './scheduler.helper.ts'

/** The rules of replication, true unless a mutant breaks them. */
export interface DirectRules {
  /** A batch waits for its deps. */
  holdBack: boolean
  /** A batch is applied whole. */
  wholeBatches: boolean
  /** How ops are ordered: by effective time, by arrival, by what they claim, by claims that no
   *  clock could make. */
  time: 'effective' | 'arrival' | 'claimed' | 'endless'
  /** What an op names must have been seen. */
  seen: boolean
  standing: (standing: Standing) => Standing
  /** Conflict copies bear the device's name. */
  labels: boolean
  /** Changes an op as this device applies it. */
  rewrite: ((op: Op, ref: OpRef, engine: DirectEngine) => Op) | undefined
  fold: FoldContext['rules']
  /** What a node's history tells, when a cutoff has it worked out anew. */
  history: ((op: HistoryOp, standing: Standing) => HistoryOp | undefined) | undefined
}

export const TRUE_RULES: DirectRules = {
  holdBack: true, wholeBatches: true, time: 'effective', seen: true,
  standing: (standing) => standing, labels: true,
  rewrite: undefined, fold: undefined, history: undefined,
}

/** The control op of this harness, an unknown one: what an author appended from a length on is cut,
 * or void. */
const OP_CUT = 63

interface Stored {
  author: AuthorId
  seq: number // -1: facts only
  time: HlcTime
  block: Uint8Array
  facts: Uint8Array
}

/** What survives a crash: whole records, those not flushed by chance. */
export class DirectJournal {
  records: Stored[] = []
  durable = 0

  crash(random: SeededRandom): void {
    this.records.length = random.int(this.durable, this.records.length + 1)
    this.durable = this.records.length
  }
}

export interface DirectOptions {
  author: AuthorId
  ids: Ids
  root: NodeId
  clock: DeviceClock
  logs: SimLogs
  journal: DirectJournal
  rules: DirectRules
  label: (author: AuthorId) => string
  /** Who may cut. */
  chief: AuthorId
}

const TREE_HASH = Buffer.alloc(32)
const BATCH_OPERATIONS = 40

export class DirectEngine implements SimEngine {
  readonly author: AuthorId
  readonly store: Overlay
  readonly tree: LiveTree
  readonly fold: Fold
  readonly calls: TreeCalls
  readonly #open = new Set<number>()
  readonly #options: DirectOptions
  readonly #base = new MemoryBase()
  readonly #hlc = new Hlc()
  readonly #pending: UserOperation[] = []
  #taken: UserOperation[] = []
  #pushed: Ticket = 0
  /** vv of the last batch of each author. */
  readonly #vectors = new Map<AuthorId, Map<AuthorId, number>>()
  readonly #times = new Map<string, HlcTime>()
  readonly #history = new Map<NodeId, HistoryOp[]>()
  readonly #batches = new Map<string, { ops: Op[]; refs: OpRef[] }>()
  readonly #cuts = new Map<AuthorId, { length: number; standing: Standing }>()
  #told = new Map<AuthorId, number>()
  #arrivals = 0
  /** Of a mutant: second halves, to be applied at the next pump. */
  readonly #halves: { ops: Op[]; refs: OpRef[]; author: AuthorId }[] = []
  #publishing: Promise<void> = Promise.resolve()

  constructor(options: DirectOptions) {
    this.#options = options
    this.author = options.author
    this.store = new Overlay(this.#base, new StateMeta())
    makeRoot(this.store, options.root)
    const context: FoldContext = {
      standing: (author, seq) => this.#standing(author, seq),
      label: (author) => (options.rules.labels ? options.label(author) : ''),
      history: (record) => this.#historyOf(record),
      isOpen: (ino) => this.#open.has(ino),
      changes: {
        entry: () => undefined, node: () => undefined, content: () => undefined,
        detached: (ino, record, parent) => this.tree.detach(ino, record, parent),
      },
      rules: options.rules.fold,

    }
    this.fold = new Fold(this.store, options.ids, context)
    this.tree = new LiveTree({
      store: this.store,
      queue: {
        push: (operation) => this.#push(operation),
        unblock: () => undefined,
        stuck: () => undefined,
        last: 0,
        durable: async () => undefined,
      },
      fold: this.fold,
      ids: options.ids,
      author: options.author,
      clock: options.clock,
      owner: { uid: 1000, gid: 1000 },
    })
    this.calls = new TreeCalls(this.tree, this.#open)
    for (const stored of options.journal.records) this.#replay(stored)
  }

  // ---- SimEngine ----

  takeOperations(): UserOperation[] {
    const taken = this.#taken
    this.#taken = []
    return taken
  }

  async fsync(): Promise<void> {
    this.#placeAll()
    this.#options.journal.durable = this.#options.journal.records.length
    await this.#publish()
  }

  async pump(): Promise<void> {
    const { logs, rules } = this.#options
    for (const { ops, refs, author } of this.#halves.splice(0)) {
      this.#placeAll()
      const facts = new Facts(Math.floor(this.#options.clock.nowMs() / 1000), 0)
      facts.opCount = ops.length
      this.#applyOps(ops, refs, facts, author)
    }
    for (let found = true; found;) {
      found = false
      for (const author of logs.authors()) {
        if (author === this.author) continue
        const seq = this.applied(author)
        const block = await logs.read(author, seq)
        if (block === undefined) continue
        const batch = this.#decode(block, author, seq)
        const isReady = batch.deps.every((dep) => this.applied(dep.author) >= dep.length)
        if (!isReady && rules.holdBack) continue
        this.#placeAll()
        this.#applyRemote(author, seq, block, batch)
        found = true
      }
    }
  }

  async checkpoint(): Promise<void> {
    this.#placeAll()
    this.#base.absorb(this.store.freeze())
    this.store.release()
  }

  get mayWrite(): boolean {
    return !this.#cuts.has(this.author)
  }

  get ownLength(): number {
    return this.applied(this.author)
  }

  applied(author: AuthorId): number {
    return this.store.meta.authors.get(author)?.length ?? 0
  }

  waiting(): string[] {
    const { logs } = this.#options
    return logs.authors().filter((author) => logs.length(author) > this.applied(author))
  }

  async stateHash(): Promise<string> {
    await this.checkpoint()
    return this.#base.stateHash.digest()
  }

  queued(): number {
    return this.#pending.length
  }

  async close(): Promise<void> {
    await this.fsync()
  }

  async naive(): Promise<NaiveInput> {
    const batches: NaiveInput['batches'] = []
    for (const { author, seq, block } of this.#options.journal.records) {
      if (seq < 0) continue
      batches.push({ ...this.#decode(block, author, seq), author, seq })
    }
    const { ids, root, label } = this.#options
    const standing = (author: AuthorId, seq: number): Standing => {
      const cut = this.#cuts.get(author)
      return cut === undefined || seq < cut.length ? 'valid' : cut.standing
    }
    return { batches, root, ids, label, standing }
  }

  /** Cuts what an author appended from `length` on; `standing` void makes it not exist at all. */
  cut(author: AuthorId, length: number, standing: Standing): void {
    const body = Buffer.concat([
      Buffer.from(author, 'latin1'), Buffer.from([standing === 'void' ? 1 : 0, length]),
    ])
    this.#placeAll()
    const facts = new Facts(1, 0)
    facts.opCount = 1
    const ref: OpRef = { ms: 0, counter: 0, author: this.author, seq: -1, index: 0, order: 0 }
    const op: Op = { kind: 'unknown', opKind: OP_CUT, critical: false, body }
    this.#pending.push({ ops: [op], refs: [ref], facts, ready: true })
    this.#placeAll()
    this.#applyCut(op, this.author)
  }

  // ---- own operations ----

  #push(operation: UserOperation): Ticket {
    this.#pending.push(operation)
    this.#taken.push(operation)
    return ++this.#pushed
  }

  /** All that is queued becomes batches in the journal. */
  #placeAll(): void {
    while (this.#pending.length > 0) {
      const taken = this.#pending.splice(0, BATCH_OPERATIONS)
      const ops = taken.flatMap((operation) => operation.ops)
      const facts = encodeFacts(taken.map((operation) => operation.facts))
      if (ops.length === 0) {
        const none = { author: this.author, seq: -1, time: { ms: 0, counter: 0 } }
        this.#append({ ...none, block: new Uint8Array(0), facts: Uint8Array.from(facts) })
        continue
      }
      this.#placeBatch(taken, ops, facts)
    }
  }

  #placeBatch(taken: UserOperation[], ops: Op[], facts: Uint8Array): void {
    const time = this.#hlc.tick(this.#options.clock.nowMs())
    const seq = this.ownLength
    const refs: OpRef[] = []
    for (const operation of taken) {
      for (const ref of operation.refs) {
        Object.assign(ref, time, { author: this.author, seq, index: refs.length })
        refs.push(ref)
      }
    }
    const deps: Batch['deps'] = []
    for (const [author, { length }] of this.store.meta.authors) {
      if (author !== this.author && length > (this.#told.get(author) ?? 0)) {
        deps.push({ author, length, treeHash: TREE_HASH })
        this.#told.set(author, length)
      }
    }
    deps.sort((a, b) => (a.author < b.author ? -1 : 1))
    const batch: Batch = { ...time, deps, ops }
    const block = Uint8Array.from(encodeBatch(batch, this.author, seq))
    this.#append({ author: this.author, seq, time, block, facts: Uint8Array.from(facts) })
    this.#remember(this.author, seq, batch, time)
    ops.forEach((op, i) => this.#keepHistory(this.#nodeOf(op), op, refs[i] as OpRef))
  }

  #append(stored: Stored): void {
    this.#options.journal.records.push(stored)
  }

  /** One at a time: a second one would append the same again. */
  #publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publishOnce())
    return this.#publishing
  }

  async #publishOnce(): Promise<void> {
    const { logs, journal } = this.#options
    const from = logs.length(this.author)
    const own = journal.records.slice(0, journal.durable)
      .filter((stored) => stored.author === this.author && stored.seq >= from)
    if (own.length > 0) await logs.append(own.map((stored) => stored.block))
  }

  // ---- batches ----

  #applyRemote(author: AuthorId, seq: number, block: Uint8Array, batch: Batch): void {
    const before = [this.#times.get(`${author}${seq - 1}`)]
    for (const dep of batch.deps) before.push(this.#times.get(`${dep.author}${dep.length - 1}`))
    let time = effectiveTime(batch, before.filter((one) => one !== undefined))
    const { time: order } = this.#options.rules
    if (order === 'arrival') time = { ms: 2 ** 46 + this.#arrivals++, counter: 0 }
    if (order === 'claimed') time = effectiveTime(batch, [])
    if (order === 'endless' && isVoid(batch)) time = { ms: batch.ms, counter: batch.counter }
    const facts = new Facts(Math.floor(this.#options.clock.nowMs() / 1000), 0)
    facts.opCount = batch.ops.length
    const refs = this.#refs(author, seq, batch, time)
    this.#remember(author, seq, batch, time)
    const rest = this.#options.rules.wholeBatches ? 0 : batch.ops.length >> 1
    const end = batch.ops.length - rest
    if (rest > 0) facts.opCount = end
    this.#applyOps(batch.ops.slice(0, end), refs.slice(0, end), facts, author)
    if (rest > 0) this.#halves.push({ ops: batch.ops.slice(end), refs: refs.slice(end), author })
    this.#append({
      author, seq, time, block: Uint8Array.from(block),
      facts: Uint8Array.from(encodeFacts([facts])),
    })
    this.#hlc.receive(time)
  }

  #applyOps(ops: Op[], refs: OpRef[], facts: Facts, author: AuthorId | undefined): void {
    const { rules } = this.#options
    const vector = author === undefined ? undefined : this.#vectors.get(author)
    const at = refs[0]
    const seen = vector === undefined || !rules.seen ? () => true : (ref: OpRef): boolean => (
      ref.seq < (vector.get(ref.author) ?? 0) || (ref.author === author && ref.seq === at?.seq)
    )
    const { rewrite } = rules
    const mine = rewrite === undefined ? ops : ops.map((op, i) => (
      author === undefined ? op : rewrite(op, refs[i] as OpRef, this)
    ))
    const nodes = this.fold.apply(mine, refs, facts, author === undefined ? undefined : seen)
    const placed = nodes ?? []
    placed.forEach((node, i) => this.#keepHistory(node, mine[i] as Op, refs[i] as OpRef))
    for (const op of ops) if (op.kind === 'unknown') this.#applyCut(op, author)
  }

  #replay(stored: Stored): void {
    const { author, seq, time, block, facts: bytes } = stored
    const isOwn = author === this.author
    const batch = seq < 0 ? undefined : this.#decode(block, author, seq)
    const refs = batch === undefined ? [] : this.#refs(author, seq, batch, time)
    if (batch !== undefined) this.#remember(author, seq, batch, time)
    let at = 0
    for (const facts of decodeFacts(bytes)) {
      const end = at + facts.opCount
      const ops = batch?.ops.slice(at, end) ?? []
      this.#applyOps(ops, refs.slice(at, end), facts, isOwn ? undefined : author)
      at = end
    }
    if (!isOwn || batch === undefined) {
      if (!isOwn) this.#hlc.receive(time)
      return
    }
    this.#hlc.receive(time)
    const { meta } = this.store
    for (const op of batch.ops) {
      if (op.kind !== 'mk' && op.kind !== 'link') continue
      meta.nextMint = Math.max(meta.nextMint, op.mint + 1)
    }
    for (const dep of batch.deps) this.#told.set(dep.author, dep.length)
  }

  /** What does not decode is an empty batch, for ever. */
  #decode(block: Uint8Array, author: AuthorId, seq: number): Batch {
    try {
      return decodeBatch(block, author, seq, this.#options.ids)
    } catch (error) {
      if (!isLatticeError(error, 'invalid')) throw error
      return { ms: 0, counter: 0, deps: [], ops: [] }
    }
  }

  #refs(author: AuthorId, seq: number, batch: Batch, time: HlcTime): OpRef[] {
    return batch.ops.map((_, index) => ({ ...time, author, seq, index, order: 0 }))
  }

  #remember(author: AuthorId, seq: number, batch: Batch, time: HlcTime): void {
    const vector = new Map(this.#vectors.get(author))
    for (const dep of batch.deps) {
      vector.set(dep.author, Math.max(dep.length, vector.get(dep.author) ?? 0))
    }
    vector.set(author, seq)
    this.#vectors.set(author, vector)
    this.#times.set(`${author}${seq}`, time)
    this.#batches.set(`${author}${seq}`, {
      ops: batch.ops, refs: this.#refs(author, seq, batch, time),
    })
    const state = this.store.meta.authors.get(author)
    this.store.meta.authors.set(author, {
      ...state, length: seq + 1, ms: time.ms, counter: time.counter, treeHash: undefined,
      vv: vector,
    })
  }

  // ---- history and standing ----

  #nodeOf(op: Op): NodeId | undefined {
    if (op.kind === 'mv' || op.kind === 'rm') {
      return this.store.nodeOfLink(op.link) ?? (op.link as string as NodeId)
    }
    return 'node' in op ? op.node : undefined
  }

  #keepHistory(node: NodeId | undefined, op: Op, ref: OpRef): void {
    if (node === undefined) return
    const known = this.#history.get(node)
    if (known === undefined) this.#history.set(node, [{ op, ref }])
    else known.push({ op, ref })
  }

  #historyOf(record: NodeRecord): HistoryOp[] {
    const all = (this.#history.get(record.node) ?? []).toReversed()
    const { history } = this.#options.rules
    if (history === undefined) return all
    return all.map((one) => history(one, this.#standing(one.ref.author, one.ref.seq)))
      .filter((one) => one !== undefined)
  }

  #standing(author: AuthorId, seq: number): Standing {
    const cut = this.#cuts.get(author)
    if (cut === undefined || seq < cut.length) return 'valid'
    return this.#options.rules.standing(cut.standing)
  }

  /** Only the device that `cut` may. */
  #applyCut(op: Op & { kind: 'unknown' }, by: AuthorId | undefined): void {
    if (op.opKind !== OP_CUT || (by ?? this.author) !== this.#options.chief) return
    const author = Buffer.from(op.body.subarray(0, 32)).toString('latin1') as AuthorId
    const standing: Standing = op.body[32] === 1 ? 'void' : 'cut'
    const length = op.body[33] ?? 0
    this.#cuts.set(author, { length, standing })
    const touched = new Set<NodeId>()
    for (let seq = length; seq < this.applied(author); seq++) {
      for (const one of this.#batches.get(`${author}${seq}`)?.ops ?? []) {
        const node = this.#nodeOf(one)
        if (node !== undefined) touched.add(node)
      }
    }
    this.fold.recompute(touched, new Facts(1, 0))
  }
}
