// The ops on a node, read back from the journal: each op knows the one that was applied to its node
// before it (Facts.chain, kept beside its batch), and the record knows the last. So a history costs
// one read per batch in it, and nothing is stored twice.

import type { HlcTime } from '../ops/hlc.ts'
import { sameRef } from '../ops/order.ts'
import type { AuthorId, LinkId, NodeId, Op, OpRef } from '../ops/types.ts'
import type { Facts } from '../state/facts.ts'
import type { HistoryOp } from '../state/node-history.ts'
import type { NodeRecord } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { Lru } from '../util/lru.ts'
import { decodeJournalBatch } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import type { JournalPort, JournalPosition } from './ports.ts'

const HELD_MAX_BYTES = 16 << 20
/** Decoded, a batch takes about so many times its journal record. */
const DECODED_FACTOR = 8

/** An applied batch as it is read back. */
export interface PastBatch {
  /** Effective. */
  time: HlcTime
  ops: readonly Op[]
  /** Of each op: what was applied to its node before. Without times. */
  chain: readonly (OpRef | undefined)[]
}

/** An op that is in no batch yet, and what was applied to its node before. */
export interface UnplacedOp {
  op: Op
  before: OpRef | undefined
}

export interface HistoryOptions {
  store: Store
  journal: Pick<JournalPort, 'read'>
  keys: JournalKeys
}

export class History {
  readonly #options: HistoryOptions
  readonly #held = new Lru<string, PastBatch>({ maxBytes: HELD_MAX_BYTES })
  /** The batch that is being applied: not in the journal yet. */
  #current: { author: AuthorId; seq: number; batch: PastBatch } | undefined
  /** Where local operations wait; set once there is a queue. */
  findUnplaced: (ref: OpRef) => UnplacedOp | undefined = () => undefined

  constructor(options: HistoryOptions) {
    this.#options = options
  }

  /** The batch is being applied now: its ops and the chain, which grows meanwhile. */
  begin(author: AuthorId, seq: number, time: HlcTime, ops: readonly Op[], facts: Facts): void {
    this.#current = { author, seq, batch: { time, ops, chain: facts.chain } }
  }

  end(): void {
    this.#current = undefined
  }

  /** All ops on the node that are not void by themselves, newest first as applied here. */
  * of(record: NodeRecord): Iterable<HistoryOp> {
    for (let next = record.last; next !== undefined;) {
      if (next.seq < 0) {
        const found = this.findUnplaced(next)
        if (found === undefined) throw lost(next)
        yield { op: found.op, ref: next }
        next = found.before
        continue
      }
      const { time, ops, chain } = this.batch(next.author, next.seq)
      const op = ops[next.index]
      if (op === undefined) throw lost(next)
      const { author, seq, index } = next
      yield { op, ref: { ...time, author, seq, index, order: 0 } }
      next = chain[index]
    }
  }

  /** An applied batch. Throws 'damaged-index' when it is not known, 'damaged-journal'. */
  batch(author: AuthorId, seq: number): PastBatch {
    const current = this.#current
    if (current !== undefined && current.seq === seq && current.author === author) {
      return current.batch
    }
    const key = `${author}${seq}`
    const held = this.#held.get(key)
    if (held !== undefined) return held
    const info = this.#options.store.batch(author, seq)
    if (info === undefined) throw lost({ author, seq, index: 0 })
    const record = this.#options.journal.read(info.position as JournalPosition)
    const { batch, facts } = decodeJournalBatch(record, this.#options.keys)
    const { ms, counter } = info
    const past = {
      time: { ms, counter }, ops: batch?.ops ?? [], chain: facts.flatMap(chainOf),
    }
    this.#held.set(key, past, record.payload.length * DECODED_FACTOR)
    return past
  }

  /** Nodes that the ops of an applied batch name, to `into`; those that are void included. */
  nodesOf(author: AuthorId, seq: number, into: Set<NodeId>): void {
    const { store } = this.#options
    const ofLink = (link: LinkId) => store.nodeOfLink(link) ?? (link as string as NodeId)
    for (const op of this.batch(author, seq).ops) {
      switch (op.kind) {
        case 'mk':
        case 'link':
        case 'put':
        case 'attr':
        case 'tag':
          into.add(op.node)
          break
        case 'mv':
        case 'rm':
          into.add(ofLink(op.link))
      }
    }
  }
}

/** The op of an operation in a queue, by its ref. */
export function unplacedIn(
  operations: Iterable<{ ops: readonly Op[]; refs: readonly OpRef[]; facts: Facts }>, ref: OpRef,
): UnplacedOp | undefined {
  for (const { ops, refs, facts } of operations) {
    for (let i = 0; i < ops.length; i++) {
      if (sameRef(refs[i] as OpRef, ref)) return { op: ops[i] as Op, before: facts.chain[i] }
    }
  }
  return undefined
}

function chainOf({ opCount, chain }: Facts): (OpRef | undefined)[] {
  return Array.from({ length: opCount }, (_, i) => chain[i])
}

function lost({ author, seq, index }: Pick<OpRef, 'author' | 'seq' | 'index'>): LatticeError {
  return new LatticeError('damaged-index', 'an op of a node\'s history is not to be found', {
    details: { author: toHex(Buffer.from(author, 'latin1')), seq, index },
    hint: 'the index is rebuilt from the journal at the next start',
  })
}
