// Decides which bundle is asked of which peer, and when. What somebody waits for goes first, but of
// eight bundles that are asked for one comes from the lowest rank that waits. A bundle is under way
// once, whoever asked for it, and is checked against its id before anybody sees it.
//
//   who is asked   a peer known to have it, the one that will be done first; otherwise, if somebody
//                  waits or there is only one peer, any that may have it; otherwise all that
//                  may are asked first whether they do, many ids at once
//   another peer   after "not there", wrong bytes, or the end of the connection
//   nobody         the job is set aside until a peer comes or says something new, for appearMs at
//                  most unless connections are being made; a reader who asks again soon after
//                  that fails at once, until a peer comes
//
// Bounds: jobs, bytes under way over all peers (what is being stored included), and those of each
// connection (bundle-requests.ts).

import type { BundleId } from '../chunks/bundle-id.ts'
import { bundleIdOf } from '../chunks/bundle-id.ts'
import { BUNDLE_MAX_BYTES } from '../chunks/bundle-layout.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import type { BufferPool } from '../util/buffer-pool.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { BundleRequests } from './bundle-requests.ts'
import { FetchQueue } from './fetch-queue.ts'
import type { Caller, Job } from './fetch-queue.ts'
import type { Holdings } from './holdings.ts'
import { HAVE_MAX, PRIORITY_RANKS } from './messages.ts'
import { FETCH_PRIORITIES } from './ports.ts'
import type { BundleSink, FetchOptions, FetchPriority, Fetcher, NetLog } from './ports.ts'

/** What it needs of a session. */
export interface FetchPeer {
  readonly device: AuthorId
  readonly isReady: boolean
  readonly canAsk: boolean
  readonly requests: BundleRequests
  readonly holdings: Holdings
  askHave(ids: readonly BundleId[]): void
  isAsking(id: BundleId): boolean
}

export interface SchedulerOptions {
  sink: BundleSink
  log: NetLog
  nowMs: () => number
  /** What arrives lies in these. */
  buffers: BufferPool
  /** Whether peers may appear within seconds. */
  isExpecting: () => boolean
  /** The peer sent bytes that do not fit the id. */
  onBadBytes: (peer: FetchPeer) => void
  /** How long nobody needs to have a bundle before fetching it fails. */
  appearMs?: number | undefined
  maxInFlightBytes?: number | undefined
  maxJobs?: number | undefined
}

const APPEAR_MS = 1500
/** So many timeouts long something may wait behind others at a peer that sends them. */
const BEHIND_MAX = 10
const IN_FLIGHT_BYTES = 48 * 1024 * 1024
const URGENT_BYTES = 16 * 1024 * 1024
const JOBS_MAX = 65_536
const SCAN_MAX = 1024
/** So many in a row that wait for room only: the others wait too. */
const CROWDED_MAX = 32
const FAIR_EVERY = 8
const TICK_MS = 100
const BUSY_PAUSE_MS = 1000
const BAD_MAX = 4096
/** So long a reader who waited in vain is not made to wait again; bounds that memory, too. */
const MISSED_MS = 5000
const MISSED_MAX = 4096
const MISSED_RANK_MAX = FETCH_PRIORITIES.indexOf('ahead')

export class FetchScheduler implements Fetcher {
  readonly #options: SchedulerOptions
  readonly #queue = new FetchQueue()
  readonly #peers = new Set<FetchPeer>()
  /** Bundles whose content the sink found bad. */
  readonly #bad = new Set<BundleId>()
  /** Bundles that readers waited for in vain, and until when that counts. */
  readonly #missed = new Map<BundleId, number>()
  readonly #maxBytes: number
  readonly #maxJobs: number
  #inFlightBytes = 0
  #starts = 0
  /** When any part arrived. */
  #progressMs = 0
  #ticks = 0
  #timer: NodeJS.Timeout | undefined
  #isPumpDue = false
  #isClosed = false

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#maxBytes = options.maxInFlightBytes ?? IN_FLIGHT_BYTES
    this.#maxJobs = options.maxJobs ?? JOBS_MAX
  }

  get counts(): { waiting: number; aside: number; moving: number; inFlightBytes: number } {
    return { ...this.#queue.counts(), inFlightBytes: this.#inFlightBytes }
  }

  fetch(
    id: BundleId, sizeBytes: number, priority: FetchPriority, options: FetchOptions,
  ): Promise<void> {
    const rank = FETCH_PRIORITIES.indexOf(priority)
    const refusal = this.#refusal(id, sizeBytes, options.signal) ?? this.#missedOf(id, rank)
    if (refusal !== undefined) return Promise.reject(refusal)
    const nowMs = this.#options.nowMs()
    const job = this.#queue.get(id) ?? this.#queue.add(id, sizeBytes, rank, nowMs)
    const { signal, timeoutMs } = options
    return new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#dismiss(job, caller, new LatticeError('cancelled', 'nobody waits any more'))
      }
      const release = (): void => signal?.removeEventListener('abort', onAbort)
      const caller: Caller = { rank, timeoutMs, sinceMs: nowMs, resolve, reject, release }
      signal?.addEventListener('abort', onAbort, { once: true })
      job.callers.add(caller)
      this.#rerank(job)
      this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
      this.#pumpSoon()
    })
  }

  addPeer(peer: FetchPeer): void {
    this.#peers.add(peer)
    this.#missed.clear()
    this.#queue.reconsider()
    this.#pumpSoon()
  }

  removePeer(peer: FetchPeer): void {
    this.#peers.delete(peer)
    for (const job of this.#queue.all()) job.shunned.delete(peer)
    this.#pumpSoon()
  }

  /** A peer answered, or has room. */
  onMove(): void {
    this.#pumpSoon()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#peers.clear()
    for (const job of this.#queue.all()) {
      job.transfer?.cancel()
      this.#settle(job, new LatticeError('closed', 'the network is closed'))
    }
  }

  #refusal(
    id: BundleId, sizeBytes: number, signal: AbortSignal | undefined,
  ): LatticeError | undefined {
    if (this.#isClosed) return new LatticeError('closed', 'the network is closed')
    if (signal?.aborted === true) return new LatticeError('cancelled', 'nobody waits any more')
    if (this.#bad.has(id)) return new LatticeError('corrupt', 'the content of the bundle is bad')
    if (!(sizeBytes > 0 && sizeBytes <= BUNDLE_MAX_BYTES)) {
      return new LatticeError('corrupt', 'no bundle has that size', { details: { sizeBytes } })
    }
    if (this.#queue.get(id) === undefined && this.#queue.count >= this.#maxJobs) {
      return new LatticeError('busy', 'too many bundles are waited for')
    }
    return undefined
  }

  /** Why a reader need not wait: others have just waited in vain, and nobody has come since. */
  #missedOf(id: BundleId, rank: number): LatticeError | undefined {
    if (rank > MISSED_RANK_MAX || this.#queue.get(id)?.state === 'storing') return undefined
    const untilMs = this.#missed.get(id)
    if (untilMs === undefined) return undefined
    if (untilMs > this.#options.nowMs()) return nobodyHas()
    this.#missed.delete(id)
    return undefined
  }

  #miss(id: BundleId, nowMs: number): void {
    this.#missed.delete(id)
    this.#missed.set(id, nowMs + MISSED_MS)
    if (this.#missed.size <= MISSED_MAX) return
    for (const oldest of this.#missed.keys()) {
      this.#missed.delete(oldest)
      return
    }
  }

  #rerank(job: Job): void {
    if (this.#queue.rerank(job)) job.transfer?.reprioritise(job.rank)
  }

  #pumpSoon(): void {
    if (this.#isPumpDue || this.#isClosed) return
    this.#isPumpDue = true
    queueMicrotask(() => {
      this.#isPumpDue = false
      if (!this.#isClosed) this.#pump()
    })
  }

  #pump(): void {
    const peers = [...this.#peers].filter((peer) => peer.isReady)
    const questions = new Map<FetchPeer, BundleId[]>()
    if (this.#starts % FAIR_EVERY === FAIR_EVERY - 1) this.#startLowest(peers, questions)
    for (let rank = 0; rank < PRIORITY_RANKS; rank++) {
      let scanned = 0
      let crowded = 0
      for (const job of this.#queue.waiting(rank)) {
        if (++scanned > SCAN_MAX || !this.#hasRoom(peers, rank)) break
        if (!this.#consider(job, peers, questions) && ++crowded > CROWDED_MAX) break
      }
    }
    for (const [peer, ids] of questions) peer.askHave(ids)
  }

  #startLowest(peers: readonly FetchPeer[], questions: Map<FetchPeer, BundleId[]>): void {
    for (let rank = PRIORITY_RANKS - 1; rank > 0; rank--) {
      for (const job of this.#queue.waiting(rank)) {
        this.#consider(job, peers, questions)
        return
      }
    }
  }

  #hasRoom(peers: readonly FetchPeer[], rank: number): boolean {
    const isUrgent = rank === 0
    const most = this.#maxBytes + (isUrgent ? URGENT_BYTES : 0)
    if (this.#inFlightBytes >= most) return false
    // without a peer the jobs are still to be set aside
    return peers.length === 0 || peers.some((peer) => peer.requests.hasRoom(1, isUrgent))
  }

  /** False when only room was missing, at the peers that have it. */
  #consider(
    job: Job, peers: readonly FetchPeer[], questions: Map<FetchPeer, BundleId[]>,
  ): boolean {
    const nowMs = this.#options.nowMs()
    const open = peers.filter((peer) => (job.shunned.get(peer) ?? 0) <= nowMs)
    const having = open.filter((peer) => peer.holdings.has(job.id) === 'yes')
    if (having.length > 0) {
      return this.#start(job, having)
    }
    const unknown = open.filter((peer) => peer.holdings.has(job.id) === 'unknown')
    if (unknown.length === 0) {
      const isBusy = peers.some((peer) => peer.holdings.has(job.id) === 'yes')
      if (!isBusy) this.#queue.move(job, 'aside', nowMs)
      return true
    }
    const isDirect = job.rank <= 1 || (unknown.length === 1 && peers.length === 1)
    const isStarted = isDirect && this.#start(job, unknown)
    for (const peer of unknown) {
      if (isDirect && unknown.length === 1) break
      if (!peer.canAsk || peer.isAsking(job.id)) continue
      const ids = questions.get(peer) ?? []
      if (ids.length < HAVE_MAX) ids.push(job.id)
      questions.set(peer, ids)
    }
    return isStarted || !isDirect
  }

  /** At the peer that will be done first; false when none has room. */
  #start(job: Job, peers: readonly FetchPeer[]): boolean {
    const isUrgent = job.rank === 0
    let best: FetchPeer | undefined
    let bestMs = Infinity
    for (const peer of peers) {
      if (!peer.requests.hasRoom(job.sizeBytes, isUrgent)) continue
      const { window, requestedBytes } = peer.requests
      const rate = Math.max(window.bytesPerSecond, 256 * 1024)
      const queuedBytes = isUrgent ? 0 : requestedBytes
      const doneMs = (window.roundTripMs ?? 100) + ((queuedBytes + job.sizeBytes) / rate) * 1000
      if (doneMs >= bestMs) continue
      best = peer
      bestMs = doneMs
    }
    if (best !== undefined) this.#transfer(job, best)
    return best !== undefined
  }

  #transfer(job: Job, peer: FetchPeer): void {
    this.#starts++
    this.#queue.move(job, 'moving', this.#options.nowMs())
    this.#inFlightBytes += job.sizeBytes
    const onProgress = (): void => {
      job.progressMs = this.#options.nowMs()
      this.#progressMs = job.progressMs
    }
    const transfer = peer.requests.want(job.id, job.sizeBytes, job.rank, onProgress)
    job.transfer = transfer
    job.peerProgressMs = () => peer.requests.lastArrivalMs
    transfer.done.then((sealed) => this.#arrived(job, peer, sealed)).catch((error: unknown) => {
      this.#failed(job, peer, error)
    }).finally(() => {
      this.#inFlightBytes -= job.sizeBytes
      this.#pumpSoon()
    })
  }

  async #arrived(job: Job, peer: FetchPeer, sealed: Uint8Array): Promise<void> {
    job.transfer = undefined
    if (bundleIdOf(sealed) !== job.id) {
      this.#options.onBadBytes(peer)
      throw new LatticeError('unauthentic', 'a peer sent other bytes')
    }
    this.#missed.delete(job.id)
    peer.holdings.learn(job.id, true)
    this.#queue.move(job, 'storing', this.#options.nowMs())
    try {
      await this.#options.sink.store(job.id, sealed)
      this.#settle(job, undefined)
    } catch (error) {
      if (isLatticeError(error, 'corrupt')) this.#condemn(job.id)
      this.#settle(job, error instanceof Error ? error : new Error(String(error)))
    } finally {
      this.#options.buffers.give(sealed)
    }
  }

  #failed(job: Job, peer: FetchPeer, error: unknown): void {
    job.transfer = undefined
    if (this.#queue.get(job.id) !== job) return
    const code = isLatticeError(error) ? error.code : 'internal'
    const nowMs = this.#options.nowMs()
    if (code === 'busy') job.shunned.set(peer, nowMs + BUSY_PAUSE_MS)
    else if (code !== 'closed') {
      peer.holdings.learn(job.id, false)
      if (code !== 'not-available' && code !== 'io') job.shunned.set(peer, Infinity)
    }
    if (code === 'corrupt') job.isWrongSize = true
    this.#queue.move(job, 'waiting', nowMs)
  }

  #condemn(id: BundleId): void {
    this.#bad.add(id)
    if (this.#bad.size <= BAD_MAX) return
    for (const oldest of this.#bad) {
      this.#bad.delete(oldest)
      return
    }
  }

  #settle(job: Job, error: Error | undefined): void {
    this.#queue.remove(job)
    for (const caller of job.callers) {
      caller.release()
      if (error === undefined) caller.resolve()
      else caller.reject(error)
    }
    job.callers.clear()
    if (this.#queue.count > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** One caller goes; the job too when it was the last. */
  #dismiss(job: Job, caller: Caller, error: Error): void {
    if (!job.callers.delete(caller)) return
    caller.release()
    caller.reject(error)
    if (job.callers.size > 0) this.#rerank(job)
    else if (job.state !== 'storing') {
      this.#settle(job, error)
      job.transfer?.cancel()
    }
  }

  /** What waits for its turn is not late while others arrive, here or behind them at the peer; but
   *  a peer may not send others for ever. What somebody waits for gets its turn at once. */
  #isLate(job: Job, { rank, sinceMs, timeoutMs }: Caller, nowMs: number): boolean {
    const isQueued = job.state === 'waiting' && rank > 0
    const elsewhereMs = job.state === 'moving' ? job.peerProgressMs() : 0
    const progressMs = Math.max(sinceMs, isQueued ? this.#progressMs : job.progressMs)
    if (nowMs - Math.max(progressMs, elsewhereMs) >= timeoutMs) return true
    return nowMs - progressMs >= BEHIND_MAX * timeoutMs
  }

  /** Times out callers, gives up what nobody has. Rarely when there is much to look at. */
  #tick(): void {
    this.#ticks++
    if (this.#queue.count > SCAN_MAX && this.#ticks % 10 !== 0) return
    const nowMs = this.#options.nowMs()
    const isExpecting = this.#options.isExpecting()
    const appearMs = this.#options.appearMs ?? APPEAR_MS
    // what was not there is worth another question after a while
    if (this.#ticks % 20 === 0) this.#queue.reconsider()
    for (const job of this.#queue.all()) {
      if (job.state === 'storing') continue
      const isHopeless = job.state === 'aside' && !isExpecting &&
        nowMs - (job.asideSinceMs ?? nowMs) >= appearMs
      for (const caller of job.callers) {
        if (!isHopeless && !this.#isLate(job, caller, nowMs)) continue
        if (!job.isWrongSize) this.#miss(job.id, nowMs)
        this.#dismiss(job, caller, notAvailable(job, isHopeless))
      }
    }
    this.#pumpSoon()
  }
}

function notAvailable(job: Job, isHopeless: boolean): LatticeError {
  assert(job.sizeBytes > 0, 'a job has a size')
  if (job.isWrongSize) {
    return new LatticeError('corrupt', 'the bundle has another size than its author says')
  }
  return nobodyHas(isHopeless ? 'no device that is connected has it' : 'it did not come in time')
}

function nobodyHas(why = 'nobody could send it a moment ago'): LatticeError {
  return new LatticeError('not-available', `content is not here, and ${why}`, {
    hint: 'lattice status says which devices are connected',
  })
}
