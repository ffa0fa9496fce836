// Replica: applies what the logs bring. It pulls: at any time it holds at most one batch, and of
// each author one note why that author's next batch cannot be applied yet; so memory does not grow
// with what waits. Batches of an author are applied in order, each whole and only after what it
// depends on; the order among authors does not matter for the state.
//
// A batch is applied in one go, without letting others run, and only while nothing local waits for
// a place in the journal: fold, journal, notes. Between batches it pauses after about a millisecond
// of work, so that local operations go on; when the index lags behind, it waits for a checkpoint.
//
// What does not open under a key that is here, or makes no sense, is applied as an empty batch.

import type { AuthorId } from '../ops/types.ts'
import { Facts, encodeFacts } from '../state/facts.ts'
import type { Applier, BatchPlace, RemoteBatch } from './applier.ts'
import { CHECKPOINT_CHANGES } from './checkpoint.ts'
import type { Checkpointer, StateIndex } from './checkpoint.ts'
import type { Committer } from './committer.ts'
import type { ControlAhead } from './control-ahead.ts'
import type { Incoming, Judged, Waiting } from './incoming.ts'
import { remoteParts, sealFacts } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import { JOURNAL_REMOTE_BATCH } from './ports.ts'
import type { Clock, JournalPort, LogPort, Random, Timer } from './ports.ts'
import { isLatticeError } from '../util/errors.ts'

/** Work at one go, in milliseconds and in ops, before others run. */
const SLICE_MS = 1
const SLICE_OPS = 64
/** So many records may wait for a checkpoint. */
const BACKLOG_CHANGES = 4 * CHECKPOINT_CHANGES
const RETRY_MS = 1000

export interface ReplicaOptions {
  index: StateIndex
  logs: LogPort
  journal: JournalPort
  applier: Applier
  incoming: Incoming
  ahead: ControlAhead
  committer: Committer
  checkpointer: Pick<Checkpointer, 'touch' | 'run'>
  /** Brings applied control ops into effect, now that nothing local is unplaced. True if any. */
  refold: () => boolean
  keys: JournalKeys
  clock: Clock
  random: Random
  /** Lets everything else that is due run. */
  pause: () => Promise<void>
  onTrouble: (error: unknown) => void
}

export class Replica {
  readonly #options: ReplicaOptions
  readonly #parked = new Map<AuthorId, Waiting>()
  #running: Promise<void> | undefined
  #again = false
  #isClosed = false
  /** A batch is applied, or was applied by half: then only a restart brings a state that holds. */
  #isHalfway = false
  /** The own log has gone another way than the journal. */
  #isOwnForked = false
  #sliceBeginMs = 0
  #sliceOps = 0
  #timer: Timer | undefined

  constructor(options: ReplicaOptions) {
    this.#options = options
  }

  /** Of each author at most one; for people, and for whoever fetches keys. */
  waiting(): Waiting[] {
    return [...this.#parked.values()]
  }

  /** What control batches say that cannot be applied yet. */
  get ahead(): ControlAhead {
    return this.#options.ahead
  }

  /** A critical op that is not known waits, and all that depends on it: nothing may be written. */
  get isHalted(): boolean {
    for (const waiting of this.#parked.values()) if (waiting.for === 'needs-newer') return true
    return false
  }

  /** Applying a batch has failed halfway: nothing may be stored, or built on it, any more. */
  get isBroken(): boolean {
    return this.#isHalfway
  }

  get isOwnForked(): boolean {
    return this.#isOwnForked
  }

  /** The own log was found to be another one: it must not be appended to. */
  noteOwnFork(length: number): void {
    this.#isOwnForked = true
    const { author } = this.#options.keys
    this.#parked.set(author, { author, seq: length, for: 'fork', on: author, length })
  }

  /**
   * Applies all that can be applied, that which comes meanwhile included, and makes it durable.
   * Rejects when the disk fails, or for an error of lattice's own; then it may be called again.
   */
  pump(): Promise<void> {
    this.#again = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Waits for the batch that is being applied. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#running?.catch(() => undefined)
  }

  async #run(): Promise<void> {
    try {
      await this.#applyAll()
    } catch (error) {
      if (!this.#isHalfway) this.#retryLater()
      throw error
    }
  }

  async #applyAll(): Promise<void> {
    const { ahead, journal, pause } = this.#options
    this.#sliceBeginMs = this.#options.clock.nowMs()
    do {
      this.#again = false
      let applied = 0
      for (let more = true; more && !this.#isClosed;) {
        more = false
        for (const author of this.#options.logs.authors()) {
          const count = await this.#drain(author)
          applied += count
          more ||= count > 0
        }
      }
      if (applied > 0) await journal.flush()
      if (!this.#isClosed && await ahead.look(this.#parked.values())) this.#again = true
      if (this.#again) await pause()
    } while (this.#again && !this.#isClosed)
  }

  /** Applies batches of the author until one has to wait. Returns how many. */
  async #drain(author: AuthorId): Promise<number> {
    const { applier, logs, incoming, keys } = this.#options
    const isOwn = author === keys.author
    let count = 0
    for (; !this.#isClosed && !this.#isHalfway; count++) {
      const seq = applier.length(author)
      if (logs.length(author) <= seq || (isOwn && this.#isOwnForked)) break
      const place = { author, seq }
      if (!this.#isWorthTrying(place)) break
      if (count === 0 && !await incoming.isSameLog(author, seq)) {
        if (isOwn) this.noteOwnFork(seq)
        else this.#parked.set(author, { ...place, for: 'fork', on: author, length: seq })
        break
      }
      if (!await this.#step(place)) break
      await this.#breathe()
    }
    return count
  }

  /** False as long as what it waited for has not come: then it is not read again. */
  #isWorthTrying({ author, seq }: BatchPlace): boolean {
    const parked = this.#parked.get(author)
    if (parked === undefined || parked.seq !== seq) return true
    if (parked.for !== 'dep' || parked.on === undefined) return true
    return this.#options.applier.length(parked.on) >= (parked.length ?? 0)
  }

  /** The next batch of the author. False when it waits. */
  async #step(place: BatchPlace): Promise<boolean> {
    const { logs, incoming, applier, journal } = this.#options
    const { author, seq } = place
    const block = await logs.read(author, seq)
    const treeHash = await logs.treeHash(author, seq + 1)
    if (block === undefined || treeHash === undefined) return false
    const judged = await incoming.judge(place, block)
    if ('for' in judged) return this.#park(judged)
    if (journal.trouble !== undefined || journal.isSpaceLow) {
      this.#retryLater()
      return this.#park({ ...place, for: 'disk' })
    }
    // from here on nobody else runs
    if (this.#isClosed || applier.length(author) !== seq) return false
    if (!this.#isPlaced(place)) return this.#park({ ...place, for: 'local' })
    this.#apply(place, block, treeHash, judged)
    this.#parked.delete(author)
    return true
  }

  #park(waiting: Waiting): false {
    this.#parked.set(waiting.author, waiting)
    return false
  }

  #isPlaced({ author, seq }: BatchPlace): boolean {
    const { committer, keys } = this.#options
    if (author !== keys.author) {
      if (!this.#placeLocal()) return false
      this.#refold()
      return true
    }
    return committer.queued === 0 && committer.nextSeq === seq
  }

  /** What a device has queued that was made blind meanwhile has no key: it stays queued. */
  #placeLocal(): boolean {
    try {
      return this.#options.committer.placeAll()
    } catch (error) {
      if (!isLatticeError(error, 'missing-key')) throw error
      return false
    }
  }

  #apply(place: BatchPlace, block: Uint8Array, treeHash: Uint8Array, judged: Judged): void {
    const { applier, clock, committer, journal, keys, random, checkpointer } = this.#options
    const { author, seq } = place
    const { isEmpty } = judged
    const { deps, ops } = judged.batch
    const time = applier.effectiveTime(place, judged.batch)
    const batch: RemoteBatch = { author, seq, time, treeHash: treeHash.slice(), deps, ops }
    const now = clock.now()
    const facts = new Facts(now.sec, now.nsec)
    this.#isHalfway = true
    applier.fold(batch, facts)
    const sealed = sealFacts(encodeFacts([facts], place), seq, keys, random, author)
    const parts = remoteParts({ author, seq, time, isEmpty, treeHash, block })
    const position = journal.append(JOURNAL_REMOTE_BATCH, ...parts, sealed)
    applier.note(batch, position)
    if (author === keys.author) committer.adopt(seq + 1, time)
    else committer.receive(time)
    this.#refold()
    this.#isHalfway = false
    checkpointer.touch()
    this.#sliceOps += 1 + ops.length
  }

  /** Other members, other keys: what waited may go on. */
  #refold(): void {
    if (this.#options.refold()) this.#again = true
  }

  async #breathe(): Promise<void> {
    const { clock, pause, index, checkpointer } = this.#options
    const passedMs = clock.nowMs() - this.#sliceBeginMs
    if (this.#sliceOps < SLICE_OPS && passedMs >= 0 && passedMs < SLICE_MS) return
    await pause()
    if (index.changes > BACKLOG_CHANGES) await checkpointer.run()
    this.#sliceOps = 0
    this.#sliceBeginMs = clock.nowMs()
  }

  #retryLater(): void {
    this.#timer?.cancel()
    if (this.#isClosed) return
    this.#timer = this.#options.clock.setTimer(RETRY_MS, () => {
      this.#timer = undefined
      this.#options.journal.lookForSpace?.()
      if (!this.#isClosed) this.pump().catch(this.#options.onTrouble)
    })
  }
}
