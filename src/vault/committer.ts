/**
 * Brings queued operations into the journal: places them in batches, seals these, and makes them
 * durable in groups. Invariants:
 *   - the journal receives operations in the order in which they were queued, each whole;
 *   - a batch becomes durable only after the packs that its contents name: a cycle makes these
 *     durable first; what placeAll() places in a hurry closes the journal's gate until they are;
 *   - one cycle at a time; durable() resolves only after the flush that covers its ticket;
 *   - a failure is told once to whoever waits for what it concerns; nothing is dropped: what was
 *     not placed stays in the queue, what was appended stays in the journal's RAM, and the next
 *     cycle (somebody waiting, or the timer) tries again.
 */

import { NONCE_BYTES } from '../crypto/aead.ts'
import { BATCH_OPS_MAX } from '../ops/bounds.ts'
import { BatchEncoder } from '../ops/codec.ts'
import { CONTROL_NUMBERS } from '../ops/control-types.ts'
import { sealBatch } from '../ops/envelope.ts'
import { Hlc, isVoid } from '../ops/hlc.ts'
import type { HlcTime } from '../ops/hlc.ts'
import type { AuthorId, Batch, Op, OpRef } from '../ops/types.ts'
import { encodeFacts } from '../state/facts.ts'
import type { Facts } from '../state/facts.ts'
import { assert, must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import { CommitPace } from './commit-pace.ts'
import type { ContentStore } from './content.ts'
import type { RemoteBatch } from './applier.ts'
import { unplacedIn } from './history.ts'
import type { UnplacedOp } from './history.ts'
import { batchHead, sealFacts } from './journal-batch.ts'
import { Pending } from './pending.ts'
import type { UserOperation } from './pending.ts'
import { JOURNAL_BATCH, JOURNAL_FACTS } from './ports.ts'
import type {
  Clock, EpochSeal, JournalCursor, JournalGate, JournalPort, JournalPosition, Random, Timer,
} from './ports.ts'
import type { Ticket } from './tree.ts'

/** So many operations in the queue start a cycle although nobody waits. */
const EAGER_COUNT = BATCH_OPS_MAX
/** No further operation begins in a batch with so many ops: others apply a batch at one go. */
const BATCH_OPS_AIM = 512
const NO_DEPS: Batch['deps'] = []

/** One is enough for all vaults of a thread: a batch is filled and sealed in one go. */
let sharedEncoder: BatchEncoder | undefined

export interface CommitterOptions {
  journal: JournalPort
  content: Pick<ContentStore, 'sync'>
  clock: Clock
  random: Random
  vaultId: Uint8Array
  author: AuthorId
  /** The epoch that seals now. Asked for each batch. */
  epoch: (announces: boolean) => EpochSeal
  /** 'lattice/0/local-journal' of the database key. */
  localKey: Uint8Array
  /** Sequence of the next own batch, and the greatest time used or seen. */
  nextSeq: number
  lastTime: HlcTime
  /** What the next own batch depends on. Asked for each batch. None when not given. */
  deps?: ((isControl: boolean) => Batch['deps']) | undefined
  /** What others make of a claim that is beyond the end of all clocks. */
  effective?: ((seq: number, batch: Batch) => HlcTime) | undefined
  /** Told of each batch that has been placed, before it is durable. */
  placed?: ((batch: RemoteBatch, position: JournalPosition) => void) | undefined
  /** Called when the last operation in the queue has been placed, before it is durable. */
  allPlaced?: (() => void) | undefined
  /** Whether other devices are to see changes at once. */
  isShared?: (() => boolean) | undefined
  /** Called when own batches have become durable. */
  flushed?: (() => void) | undefined
}

/** Where a rebuild goes on that has everything up to a barrier. */
export interface CommitCursor {
  /** Scan from here: loose chunks behind it may be unknown … */
  scanFrom: JournalCursor
  /** … but batches and facts in records up to this sequence are known. -1 = none. */
  batchesThrough: number
  /** Sequence of the next own batch, and the time of the last one. */
  nextSeq: number
  time: HlcTime
}

interface Waiter {
  ticket: Ticket
  resolve: () => void
  reject: (error: Error) => void
}

interface Barrier {
  ticket: Ticket
  scanFrom: JournalCursor
  cursor: CommitCursor | undefined
}

export class Committer implements JournalGate {
  readonly #options: CommitterOptions
  readonly #pending = new Pending()
  readonly #pace: CommitPace
  readonly #encoder: BatchEncoder
  readonly #hlc: Hlc
  #time: HlcTime
  #nextSeq: number
  /** Of the batch that is being filled. */
  #deps: Batch['deps'] = NO_DEPS
  /** What seals the batch in the making. */
  #seal: EpochSeal | undefined
  /** Operations up to here are in the journal; durable in it. */
  #appended: Ticket = 0
  #durable: Ticket = 0
  /** Own batches that are durable. */
  #durableSeq: number
  /** Packs may lack what operations up to here name. */
  #packsDurable: Ticket = 0
  /** Something is in the journal whose packs are not durable. */
  #isHurried = false
  /** Sequence of the last record of a batch or facts. */
  #batchesThrough: number
  #waiters: Waiter[] = []
  #barrier: Barrier | undefined
  #timer: Timer | undefined
  #isRunning = false
  #isClosed = false
  #trouble: Error | undefined
  /** Why the first operation that is not ready does not become so. */
  #stuck: Error | undefined

  constructor(options: CommitterOptions) {
    this.#options = options
    this.#pace = new CommitPace(options.clock)
    sharedEncoder ??= new BatchEncoder()
    this.#encoder = sharedEncoder
    this.#hlc = new Hlc(options.lastTime)
    this.#time = options.lastTime
    this.#nextSeq = options.nextSeq
    this.#durableSeq = options.nextSeq
    this.#batchesThrough = options.journal.end.sequence - 1
  }

  /** Queues an operation that is in the live view already. */
  push(operation: UserOperation): Ticket {
    assert(!this.#isClosed, 'committer: push after close')
    const ticket = this.#pending.push(operation)
    if (this.#isOverfull()) this.#kick()
    else this.#setTimer()
    return ticket
  }

  /** An operation pushed with ready = false has become ready. */
  unblock(operation: UserOperation): void {
    assert(operation.ready, 'committer: unblocked, but not ready')
    this.#stuck = undefined
    if (this.#waiters.length > 0) this.#kick()
    else this.#setTimer()
  }

  /** An operation cannot become ready at present: whoever waits behind one like it is told. */
  stuck(error: unknown): void {
    this.#stuck = error instanceof Error ? error : new LatticeError('io', String(error))
    const reach = this.#appended + this.#pending.readyCount
    const concerned = this.#waiters.filter((waiter) => waiter.ticket > reach)
    this.#waiters = this.#waiters.filter((waiter) => waiter.ticket <= reach)
    for (const waiter of concerned) waiter.reject(this.#stuck)
  }

  /** Ticket of the operation pushed last. */
  get last(): Ticket {
    return this.#pending.last
  }

  get nextSeq(): number {
    return this.#nextSeq
  }

  /** Own batches that are durable in the journal. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  /**
   * Places every operation that is ready, at once. True when none is left: then what others did may
   * be applied.
   */
  placeAll(): boolean {
    const count = this.#pending.readyCount
    if (count > 0) {
      const isSynced = this.#appended + count <= this.#packsDurable
      if (!isSynced && this.#namesPacks(count)) this.#isHurried = true
      this.#place(count)
      this.#setTimer()
    }
    return this.#pending.count === 0
  }

  /** An effective time that was applied: own ones will be greater. */
  receive(time: Readonly<HlcTime>): void {
    this.#hlc.receive(time)
  }

  /** A batch of this device came back by its log. Nothing may be queued. */
  adopt(nextSeq: number, time: HlcTime): void {
    assert(
      this.#pending.count === 0 && nextSeq === this.#nextSeq + 1, 'committer: not the next one',
    )
    this.#nextSeq = nextSeq
    this.#time = { ...time }
    this.#hlc.receive(time)
    this.#batchesThrough = this.#options.journal.end.sequence - 1
  }

  findUnplaced(ref: OpRef): UnplacedOp | undefined {
    return unplacedIn(this.#pending, ref)
  }

  // ---- the journal's gate ----

  get isOpen(): boolean {
    return !this.#isHurried
  }

  async pass(): Promise<void> {
    this.#isHurried = false
    try {
      await this.#options.content.sync()
    } catch (error) {
      this.#isHurried = true
      throw error
    }
  }

  /** Operations that are not in the journal yet. */
  get queued(): number {
    return this.#pending.count
  }

  /** Why operations do not reach the disk; undefined once they do. New changes are refused. */
  get trouble(): Error | undefined {
    return this.#trouble ?? this.#stuck
  }

  /**
   * Resolves when everything up to the ticket is durable. Rejects when the cycle that tried failed:
   * the operations stay, and asking again tries again.
   */
  durable(ticket: Ticket): Promise<void> {
    assert(ticket <= this.#pending.last, 'committer: a ticket that was never given out')
    if (ticket <= this.#durable) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiters.push({ ticket, resolve, reject })
      this.#kick()
    })
  }

  /** Everything queued so far, durable; waits for what is not ready. */
  drain(): Promise<void> {
    return this.durable(this.#pending.last)
  }

  /**
   * Ends a batch behind the last operation queued, and makes all up to it durable: the state as it
   * is at this call equals the fold of the journal up to the cursor. One at a time.
   */
  async barrier(): Promise<CommitCursor> {
    assert(this.#barrier === undefined, 'committer: one barrier at a time')
    const scanFrom = this.#options.journal.end
    const barrier: Barrier = { ticket: this.#pending.last, scanFrom, cursor: undefined }
    this.#barrier = barrier
    if (this.#appended >= barrier.ticket) this.#reachBarrier(barrier)
    try {
      await this.durable(barrier.ticket)
    } finally {
      this.#barrier = undefined
    }
    assert(barrier.cursor !== undefined, 'committer: a barrier was overrun')
    return barrier.cursor
  }

  /** Drains and stops. Idempotent. Rejects when something cannot be made durable. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      await this.drain()
    } finally {
      this.#timer?.cancel()
      this.#timer = undefined
    }
  }

  // ---- when to run ----

  #setTimer(): void {
    if (this.#timer !== undefined || this.#isRunning || this.#isClosed) return
    const isShared = this.#trouble === undefined && this.#options.isShared?.() === true
    this.#timer = this.#options.clock.setTimer(this.#pace.delayMs(isShared), () => {
      this.#timer = undefined
      this.#pace.passed()
      this.#kick()
    })
  }

  /** Runs cycles unless one is running, which then looks again at its end. */
  #kick(): void {
    if (this.#isRunning || (this.#pending.readyCount === 0 && this.#appended === this.#durable)) {
      return
    }
    this.#timer?.cancel()
    this.#timer = undefined
    this.#isRunning = true
    void this.#run()
  }

  async #run(): Promise<void> {
    do await this.#cycle()
    while (this.#isAwaited() || this.#isOverfull())
    this.#isRunning = false
    if (this.#pending.count > 0 || this.#appended > this.#durable) this.#setTimer()
  }

  /** Enough to go on without being asked, unless that has just failed. */
  #isOverfull(): boolean {
    return this.#trouble === undefined && this.#pending.readyCount >= EAGER_COUNT
  }

  /** Whether somebody waits for what a cycle could make durable. */
  #isAwaited(): boolean {
    const reach = this.#appended + this.#pending.readyCount
    return this.#waiters.some((waiter) => waiter.ticket <= reach)
  }

  /** Never rejects: errors go to the waiters. */
  async #cycle(): Promise<void> {
    const count = this.#pending.readyCount
    const through = this.#appended + count
    try {
      if (this.#namesPacks(count)) {
        await this.#options.content.sync()
        this.#packsDurable = through
      }
      this.#place(through - this.#appended) // placeAll() may have come before
      const seq = this.#nextSeq
      await this.#options.journal.flush()
      this.#durable = Math.max(through, this.#durable)
      if (seq > this.#durableSeq) {
        this.#durableSeq = seq
        this.#options.flushed?.()
      }
      this.#trouble = undefined
      this.#settle(through, undefined)
    } catch (error) {
      const trouble = error instanceof Error ? error : new LatticeError('io', String(error))
      this.#trouble = trouble
      this.#settle(through, trouble)
    }
  }

  #settle(through: Ticket, error: Error | undefined): void {
    const concerned = this.#waiters.filter((waiter) => waiter.ticket <= through)
    this.#waiters = this.#waiters.filter((waiter) => waiter.ticket > through)
    for (const waiter of concerned) {
      if (error === undefined) waiter.resolve()
      else waiter.reject(error)
    }
  }

  // ---- placing ----

  #namesPacks(count: number): boolean {
    for (let i = 0; i < count; i++) {
      for (const op of this.#pending.at(i).ops) {
        if (op.kind === 'put' && op.content.kind !== 'inline') return true
      }
    }
    return false
  }

  /** The first `count` operations, in as many batches as they take. */
  #place(count: number): void {
    for (let left = count; left > 0;) {
      const facts = this.#fillBatch(left)
      this.#append(facts)
      this.#pending.shift(facts.length)
      this.#appended += facts.length
      left -= facts.length
      if (this.#barrier?.ticket === this.#appended) this.#reachBarrier(this.#barrier)
    }
    if (count > 0 && this.#pending.count === 0) this.#options.allPlaced?.()
  }

  /** Encodes whole operations until the batch is full; their facts. */
  #fillBatch(count: number): Facts[] {
    const encoder = this.#encoder
    this.#seal = undefined
    this.#deps = this.#options.deps?.(isControl(this.#pending.at(0))) ?? NO_DEPS
    this.#time = this.#tick()
    encoder.begin(this.#options.author, this.#nextSeq, this.#time, this.#deps)
    const facts: Facts[] = []
    let limit = Math.min(count, BATCH_OPS_MAX)
    const barrier = this.#barrier
    if (barrier !== undefined && barrier.ticket > this.#appended) {
      limit = Math.min(limit, barrier.ticket - this.#appended)
    }
    while (facts.length < limit && encoder.count < BATCH_OPS_AIM) {
      const operation = this.#pending.at(facts.length)
      const first = this.#pending.at(0)
      if (facts.length > 0 && isControl(operation) !== isControl(first)) break
      if (facts.length > 0 && bringsEpoch(operation) !== bringsEpoch(first)) break
      // before anything is placed: it may throw 'missing-key'
      if (operation.ops.length > 0) this.#seal ??= this.#options.epoch(bringsEpoch(operation))
      const mark = encoder.mark()
      this.#encode(operation)
      if (!encoder.fits) {
        assert(facts.length > 0, 'committer: an operation larger than a batch')
        encoder.rewind(mark)
        break
      }
      facts.push(operation.facts)
    }
    return facts
  }

  /** The next time: as claimed, so it counts. Unless somebody has claimed the end of time. */
  #tick(): HlcTime {
    const time = this.#hlc.tick(this.#options.clock.nowMs())
    if (!isVoid(time)) return time
    const batch = { ...time, deps: this.#deps, ops: [] }
    return this.#options.effective?.(this.#nextSeq, batch) ?? time
  }

  #encode(operation: UserOperation): void {
    const { ops, refs, facts } = operation
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i]
      const ref = refs[i]
      assert(op !== undefined && ref !== undefined, 'committer: a ref for each op')
      ref.ms = this.#time.ms
      ref.counter = this.#time.counter
      ref.author = this.#options.author
      ref.seq = this.#nextSeq
      ref.index = this.#encoder.count
      this.#encoder.add(op)
    }
    facts.opCount = ops.length
  }

  #append(facts: Facts[]): void {
    const { journal, random, vaultId, author } = this.#options
    const seq = this.#nextSeq
    if (this.#encoder.count === 0) {
      journal.append(JOURNAL_FACTS, sealFacts(encodeFacts(facts), undefined, this.#options, random))
      this.#batchesThrough = journal.end.sequence - 1
      return
    }
    const sealed = sealFacts(encodeFacts(facts, { author, seq }), seq, this.#options, random)
    const isControlBatch = isControl(this.#pending.at(0))
    const { epochId, opKey, controlKey } = must(this.#seal, 'ops without an epoch')
    const block = sealBatch(this.#encoder.finish(), { vaultId, author, seq }, {
      epochId,
      opKey: isControlBatch ? controlKey : opKey,
      nonce: random.bytes(NONCE_BYTES),
      isControl: isControlBatch,
    })
    const position = journal.append(JOURNAL_BATCH, batchHead(seq, block), block, sealed)
    this.#nextSeq = seq + 1
    this.#batchesThrough = journal.end.sequence - 1
    if (this.#options.placed === undefined) return
    const ops = this.#opsOf(facts.length)
    const deps = this.#deps
    this.#options.placed(
      { author, seq, time: this.#time, treeHash: undefined, deps, ops }, position,
    )
  }

  /** Of the first operations in the queue, which are in the batch. */
  #opsOf(operations: number): Op[] {
    if (operations === 1) return this.#pending.at(0).ops as Op[]
    const ops: Op[] = []
    for (let i = 0; i < operations; i++) ops.push(...this.#pending.at(i).ops)
    return ops
  }

  #reachBarrier(barrier: Barrier): void {
    barrier.cursor = {
      scanFrom: barrier.scanFrom,
      batchesThrough: this.#batchesThrough,
      nextSeq: this.#nextSeq,
      time: { ...this.#time },
    }
  }
}

/** Such a batch is sealed for all who must learn of the epoch. */
function bringsEpoch({ ops }: UserOperation): boolean {
  return ops.some((op) => op.kind === 'control' && op.control === CONTROL_NUMBERS.epoch)
}

/** Control ops stand in batches of their own. */
function isControl(operation: UserOperation): boolean {
  return operation.ops[0]?.kind === 'control'
}
