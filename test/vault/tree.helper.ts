// A LiveTree on a real index, with a journal in memory: batches go through the real codec, local
// facts beside them. Commits and cuts happen when the test says so.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { decodeBatch, encodeBatch } from '../../src/ops/codec.ts'
import { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Batch, NodeId } from '../../src/ops/types.ts'
import { encodeFacts } from '../../src/state/facts.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import type { Store } from '../../src/state/store.ts'
import type { Cut, CutSource } from '../../src/vault/checkpoint.ts'
import { LiveTree } from '../../src/vault/live-tree.ts'
import type { OperationQueue } from '../../src/vault/live-tree.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { Clock, JournalPosition } from '../../src/vault/ports.ts'
import { replay } from '../../src/vault/rebuild.ts'
import type { ReplayRecord, ReplayResult, ReplaySource } from '../../src/vault/rebuild.ts'
import type { Ticket } from '../../src/vault/tree.ts'

export const AUTHOR = 'A'.repeat(32) as AuthorId
export const OWNER = { uid: 1000, gid: 1000 }
const START = 0 as JournalPosition
const VAULT_ID = Buffer.alloc(16, 7)

interface Stored {
  plain: Buffer | undefined // undefined: facts only
  seq: number
  ms: number
  counter: number
  facts: Uint8Array
}

/** Queue, committer and journal in one, all in memory. */
export class TestLog implements OperationQueue, CutSource, ReplaySource {
  readonly records: Stored[] = []
  readonly #ids: Ids
  readonly #queue: UserOperation[] = []
  readonly #cuts: { at: number; resolve: (cut: Cut) => void }[] = []
  #pushed = 0
  #placed = 0
  #seq = 0
  #ms = 1_700_000_000_000

  constructor(ids: Ids) {
    this.#ids = ids
  }

  get last(): Ticket {
    return this.#pushed
  }

  get waiting(): number {
    return this.#queue.length
  }

  get end(): JournalPosition {
    return this.records.length as JournalPosition
  }

  resumeHere(): Uint8Array {
    return new Uint8Array(0)
  }

  push(operation: UserOperation): Ticket {
    this.#queue.push(operation)
    return ++this.#pushed
  }

  unblock(): void {}

  stuck(): void {}

  async durable(): Promise<void> {
    this.commit(1000)
  }

  cut(): Promise<Cut> {
    return new Promise((resolve) => {
      this.#cuts.push({ at: this.#pushed, resolve })
      this.#answerCuts()
    })
  }

  /** Places the ready prefix, at most `max` operations a batch. */
  commit(max: number): void {
    for (;;) {
      const room = Math.min(max, (this.#cuts[0]?.at ?? Infinity) - this.#placed)
      const taken: UserOperation[] = []
      while (taken.length < room && this.#queue[0]?.ready) {
        taken.push(this.#queue.shift() as UserOperation)
      }
      if (taken.length === 0) return
      this.#place(taken)
      this.#placed += taken.length
      this.#answerCuts()
    }
  }

  * scan(from: JournalPosition): Iterable<ReplayRecord> {
    for (let at = from as number; at < this.records.length; at++) {
      const { plain, seq, ms, counter, facts } = this.records[at] as Stored
      const ops = plain === undefined ? [] : decodeBatch(plain, AUTHOR, seq, this.#ids).ops
      const batch = plain === undefined ? undefined : { author: AUTHOR, seq, ms, counter, ops }
      yield { position: at as JournalPosition, batch, facts }
    }
  }

  #place(taken: UserOperation[]): void {
    const ops = taken.flatMap((operation) => operation.ops)
    const facts = encodeFacts(taken.map((operation) => operation.facts))
    if (ops.length === 0) {
      this.records.push({ plain: undefined, seq: -1, ms: 0, counter: 0, facts })
      return
    }
    const seq = this.#seq++
    this.#ms += 3
    const place = { ms: this.#ms, counter: seq % 3 }
    let index = 0
    for (const operation of taken) {
      for (const ref of operation.refs) Object.assign(ref, place, { seq, index: index++ })
    }
    const batch: Batch = { ...place, deps: [], ops }
    const plain = Buffer.from(encodeBatch(batch, AUTHOR, seq))
    this.records.push({ plain, seq, ...place, facts })
  }

  #answerCuts(): void {
    while (this.#cuts[0] !== undefined && this.#cuts[0].at <= this.#placed) {
      const last = this.records.findLast((record) => record.plain !== undefined)
      this.#cuts.shift()?.resolve({
        position: this.end,
        batches: this.#seq,
        ms: last?.ms ?? 0,
        counter: last?.counter ?? 0,
        resume: this.resumeHere(),
      })
    }
  }
}

export class TestVault {
  readonly directory = mkdtempSync(join(tmpdir(), 'lattice-tree-'))
  readonly ids = new Ids(Buffer.alloc(32, 3))
  readonly rootNode = this.ids.root(VAULT_ID)
  readonly log = new TestLog(this.ids)
  readonly clock: Clock
  index!: LmdbIndex
  tree!: LiveTree
  replayed: ReplayResult = { batches: 0, ops: 0 }

  constructor(clock: Clock) {
    this.clock = clock
  }

  get indexDirectory(): string {
    return join(this.directory, 'index')
  }

  openIndex(directory = this.indexDirectory): Promise<LmdbIndex> {
    return LmdbIndex.open({
      directory,
      vaultId: VAULT_ID.toString('hex'),
      valueKey: Buffer.alloc(32, 1),
      hashKey: Buffer.alloc(32, 2),
      rootNode: this.rootNode,
    })
  }

  async open(): Promise<void> {
    this.index = await this.openIndex()
    this.replayed = await replay(this.index, this.log, AUTHOR)
    this.tree = new LiveTree({
      store: this.index.store,
      queue: this.log,
      ids: this.ids,
      author: AUTHOR,
      clock: this.clock,
      owner: OWNER,
    })
  }

  async close(): Promise<void> {
    await this.index.close()
  }

  async destroy(): Promise<void> {
    await this.index?.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Every node that ever was, as comparable text. */
  dump(store: Store = this.index.store): Map<string, string> {
    const nodes = new Set<NodeId>([this.rootNode])
    for (const { batch } of this.log.scan(START)) {
      for (const op of batch?.ops ?? []) if (op.kind === 'mk') nodes.add(op.node)
    }
    const out = new Map<string, string>()
    for (const node of nodes) {
      const ino = store.inoOf(node)
      const record = ino === undefined ? store.hidden(node) : store.node(ino)
      const id = Buffer.from(node, 'latin1').toString('hex')
      out.set(id, record === undefined ? 'missing' : describe(record))
    }
    return out
  }
}

/** What must be equal after a rebuild: everything but where the index has it. */
export function describe(record: NodeRecord): string {
  const plain = Object.fromEntries(Object.entries(record)) as Record<string, unknown>
  const unequal = ['epoch', 'stored', 'storedParent', 'storedCookie', 'namesHash', 'stateHash']
  for (const key of unequal) delete plain[key]
  return JSON.stringify(plain, (_key, value: unknown) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    // a Buffer has become this before the replacer sees it
    if (isBufferJson(value)) return Buffer.from(value.data).toString('hex')
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
    const { order: _order, ...rest } = value as Record<string, unknown>
    const keys = Object.keys(rest).toSorted()
    return Object.fromEntries(keys.map((key) => [key, rest[key]]))
  })
}

function isBufferJson(value: unknown): value is { data: number[] } {
  return value !== null && typeof value === 'object' && 'type' in value && value.type === 'Buffer'
}
