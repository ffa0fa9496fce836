// What of a vault's content is to be on this device, composed: what is pinned is brought, what is
// to go or exceeds the limit is given up. Nothing of it goes on once it is closed.

import { LatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import { CacheKeeper } from './cache-keeper.ts'
import type { Engine } from './engine.ts'
import { Eviction } from './eviction.ts'
import type { EvictionState } from './eviction.ts'
import { Evictor } from './evictor.ts'
import type { Log } from './log.ts'
import { PinKeeper } from './pin-keeper.ts'
import type { PinList } from './pin-list.ts'
import type { Work } from './steps.ts'
import type { VaultSync } from './sync.ts'
import { Whereabouts } from './whereabouts.ts'
import type { WhereaboutsState } from './whereabouts.ts'

export interface PlacingOptions {
  engine: Engine
  peers: VaultSync
  list: PinList
  limitBytes: number | undefined
  log: Log
}

export class Placing {
  readonly pins: PinKeeper
  readonly limitBytes: number | undefined
  readonly #engine: Engine
  readonly #peers: VaultSync
  readonly #closed = new AbortController()
  readonly #begunWork = new Set<Promise<void>>()
  readonly #evictor: Evictor
  readonly #cache: CacheKeeper | undefined

  constructor({ engine, peers, list, limitBytes, log }: PlacingOptions) {
    this.#engine = engine
    this.#peers = peers
    this.limitBytes = limitBytes
    this.pins = new PinKeeper({ engine, peers, list, log })
    const { pins } = this
    const evictor = new Evictor({ engine, peers, log })
    this.#evictor = evictor
    if (limitBytes === undefined) return
    this.#cache = new CacheKeeper({ engine, evictor, pins, peers, limitBytes, log })
  }

  /** Gives up what lies below, as far as nothing else here needs it. Throws 'denied' when it is
   *  pinned. */
  evict(top: Ino, copies: number): Work<EvictionState> {
    if (this.pins.covers(top)) {
      throw new LatticeError('denied', 'it is pinned: it stays here', {
        hint: 'lattice unpin first; lattice pins lists what is pinned',
      })
    }
    const parts = { engine: this.#engine, evictor: this.#evictor, pins: this.pins }
    const eviction = new Eviction(parts, top, this.#closed.signal)
    return this.#begun({ state: () => eviction.state, ended: eviction.run(copies) })
  }

  /** Asks which devices hold what lies below. */
  where(top: Ino): Work<WhereaboutsState> {
    const whereabouts = new Whereabouts(this.#engine, this.#peers, top, this.#closed.signal)
    return this.#begun({ state: () => whereabouts.state, ended: whereabouts.run() })
  }

  /** Devices came or went. */
  peersChanged(): void {
    this.pins.peersChanged()
    this.#cache?.look()
  }

  /** Waits for what is under way, but not for others. Idempotent. */
  async close(): Promise<void> {
    this.#closed.abort(new LatticeError('closed', 'the vault is being closed'))
    await Promise.all([this.pins.close(), this.#evictor.close(), this.#cache?.close()])
    await Promise.allSettled(this.#begunWork)
  }

  #begun<State>(work: Work<State>): Work<State> {
    this.#begunWork.add(work.ended)
    void work.ended.catch(() => undefined).finally(() => this.#begunWork.delete(work.ended))
    return work
  }
}
