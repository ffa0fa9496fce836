// Bundles that are to be fetched, by rank; within a rank, first come, first served. A job is in
// exactly one place: waiting in its rank, set aside (no peer that is connected has it), under way,
// or being stored.

import type { BundleId } from '../chunks/bundle-id.ts'
import type { Transfer } from './bundle-requests.ts'
import { PRIORITY_RANKS } from './messages.ts'

export interface Caller {
  rank: number
  timeoutMs: number
  sinceMs: number
  resolve: () => void
  reject: (error: Error) => void
  /** Takes its listener off the signal. */
  release: () => void
}

export interface Job {
  readonly id: BundleId
  readonly sizeBytes: number
  readonly callers: Set<Caller>
  rank: number
  state: 'waiting' | 'aside' | 'moving' | 'storing'
  transfer: Transfer | undefined
  /** Peers (sessions) not to ask again, and until when. */
  readonly shunned: Map<object, number>
  /** When something of it arrived last. */
  progressMs: number
  /** When something arrived last of whom it is asked, of this or another bundle. */
  peerProgressMs: () => number
  /** Since when nobody has it; undefined once a peer was asked for it. */
  asideSinceMs: number | undefined
  /** Peers sent it, and it had another size than is known here. */
  isWrongSize: boolean
}

export class FetchQueue {
  readonly #jobs = new Map<BundleId, Job>()
  readonly #ranks: Map<BundleId, Job>[] = Array.from({ length: PRIORITY_RANKS }, () => new Map())
  readonly #aside = new Map<BundleId, Job>()

  get count(): number {
    return this.#jobs.size
  }

  get(id: BundleId): Job | undefined {
    return this.#jobs.get(id)
  }

  all(): Iterable<Job> {
    return this.#jobs.values()
  }

  waiting(rank: number): Iterable<Job> {
    return this.#ranks[rank]?.values() ?? []
  }

  hasWaiting(): boolean {
    return this.#ranks.some((rank) => rank.size > 0)
  }

  counts(): { waiting: number; aside: number; moving: number } {
    const waiting = this.#ranks.reduce((sum, rank) => sum + rank.size, 0)
    const aside = this.#aside.size
    return { waiting, aside, moving: this.#jobs.size - waiting - aside }
  }

  add(id: BundleId, sizeBytes: number, rank: number, nowMs: number): Job {
    const job: Job = {
      id,
      sizeBytes,
      callers: new Set(),
      rank,
      state: 'waiting',
      transfer: undefined,
      shunned: new Map(),
      progressMs: nowMs,
      peerProgressMs: () => 0,
      asideSinceMs: undefined,
      isWrongSize: false,
    }
    this.#jobs.set(id, job)
    this.#ranks[rank]?.set(id, job)
    return job
  }

  remove(job: Job): void {
    if (this.#jobs.get(job.id) !== job) return
    this.#leave(job)
    this.#jobs.delete(job.id)
  }

  move(job: Job, state: Job['state'], nowMs: number): void {
    this.#leave(job)
    job.state = state
    if (state === 'waiting') this.#ranks[job.rank]?.set(job.id, job)
    if (state === 'moving') job.asideSinceMs = undefined
    if (state !== 'aside') return
    job.asideSinceMs ??= nowMs
    this.#aside.set(job.id, job)
  }

  /** To the rank of its most urgent caller; true when it changed. */
  rerank(job: Job): boolean {
    const rank = Math.min(...[...job.callers].map((caller) => caller.rank))
    if (!Number.isFinite(rank) || rank === job.rank) return false
    this.#ranks[job.rank]?.delete(job.id)
    job.rank = rank
    if (job.state === 'waiting') this.#ranks[rank]?.set(job.id, job)
    return true
  }

  /** Back into their ranks: somebody may have them now. */
  reconsider(): void {
    for (const job of this.#aside.values()) {
      job.state = 'waiting'
      this.#ranks[job.rank]?.set(job.id, job)
    }
    this.#aside.clear()
  }

  #leave(job: Job): void {
    this.#ranks[job.rank]?.delete(job.id)
    this.#aside.delete(job.id)
  }
}
