// What of a vault's content is to be on this device, composed: what is pinned is brought, what is
// to go or exceeds the limit is given up.

import type { Ino } from '../vault/buffers.ts'
import { CacheKeeper } from './cache-keeper.ts'
import type { Engine } from './engine.ts'
import { Eviction } from './eviction.ts'
import { Evictor } from './evictor.ts'
import type { Log } from './log.ts'
import { PinKeeper } from './pin-keeper.ts'
import type { PinList } from './pin-list.ts'
import type { VaultSync } from './sync.ts'

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
  readonly #evictor: Evictor
  readonly #cache: CacheKeeper | undefined

  constructor({ engine, peers, list, limitBytes, log }: PlacingOptions) {
    this.#engine = engine
    this.limitBytes = limitBytes
    this.pins = new PinKeeper({ engine, peers, list, log })
    const { pins } = this
    const evictor = new Evictor({ engine, peers, log })
    this.#evictor = evictor
    if (limitBytes === undefined) return
    this.#cache = new CacheKeeper({ engine, evictor, pins, peers, limitBytes, log })
  }

  /** To be run. */
  eviction(top: Ino): Eviction {
    return new Eviction({ engine: this.#engine, evictor: this.#evictor, pins: this.pins }, top)
  }

  /** Devices came or went. */
  peersChanged(): void {
    this.pins.peersChanged()
    this.#cache?.look()
  }

  /** Waits for what is under way, but not for others. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.pins.close(), this.#evictor.close(), this.#cache?.close()])
  }
}
