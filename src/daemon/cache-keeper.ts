// Keeps what a vault stores of content on this device below a limit: what was used least recently
// is given up, against proofs that others hold it (evictor.ts). What is pinned, open or only here
// stays, so that the limit may be exceeded: then it is tried again less and less often. What comes
// faster than it is looked exceeds it for that long.
//
// Recency is that of bundles since the daemon started; those not used since go first, the oldest
// packs before the others.

import { setImmediate as pause } from 'node:timers/promises'
import { keyOf } from '../chunks/bundle-use.ts'
import type { BundlePlace } from '../chunks/chunk-index-port.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type { Engine } from './engine.ts'
import { bundlesOf } from './eviction.ts'
import { noneGivenUp } from './evictor.ts'
import type { Evictor } from './evictor.ts'
import { filesBelow } from './files-below.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type { PinKeeper } from './pin-keeper.ts'
import type { VaultSync } from './sync.ts'

/** So far below the limit, that it is not reached again at once. */
const GOAL_SHARE = 0.95
const LOOK_EVERY_MS = 5000
/** After a round that could not free enough, and after the next ones; each reads all that it tries
 *  to give up. */
const TRY_AGAIN_MS = 10 * 60_000
const TRY_AGAIN_MAX_MS = 6 * 3_600_000
const COPIES = 1

export interface CacheKeeperOptions {
  engine: Engine
  evictor: Evictor
  pins: Pick<PinKeeper, 'pinned'>
  peers: Pick<VaultSync, 'count'>
  /** Sealed bytes of content, of this vault. */
  limitBytes: number
  log: Log
}

export class CacheKeeper {
  readonly #options: CacheKeeperOptions
  readonly #timer: NodeJS.Timeout
  #running: Promise<void> | undefined
  #notBeforeMs = 0
  #tryAgainMs = TRY_AGAIN_MS
  #isClosed = false

  constructor(options: CacheKeeperOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
    this.look()
  }

  /** At most one round runs at a time. */
  look(): void {
    const { engine: { packs }, limitBytes, log } = this.#options
    if (this.#isClosed || this.#running !== undefined || packs.storedBytes() <= limitBytes) return
    if (performance.now() < this.#notBeforeMs) return
    this.#running = this.#round()
      .catch((error: unknown) => {
        if (!isLatticeError(error, 'closed')) log.warn(loggable(error), 'keeping below the limit')
        this.#tryLater()
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  /** Waits for the round under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#running
  }

  async #round(): Promise<void> {
    const { engine, evictor, peers, limitBytes, log } = this.#options
    await pause()
    if (await peers.count() === 0) return // nobody could prove anything
    const goalBytes = engine.packs.storedBytes() - Math.floor(limitBytes * GOAL_SHARE)
    const so = noneGivenUp()
    const candidates = await this.#leastRecentFirst(await this.#needed())
    await evictor.giveUp(candidates, COPIES, so, goalBytes)
    const isEnough = engine.packs.storedBytes() <= limitBytes
    if (isEnough) this.#tryAgainMs = TRY_AGAIN_MS
    else this.#tryLater()
    const fields = { bundles: so.bundles, bytes: so.bytes, stays: Object.fromEntries(so.stays) }
    if (isEnough) log.info(fields, 'content used least recently was given up')
    else log.warn(fields, 'more content is here than the limit: the rest is pinned, or only here')
  }

  #tryLater(): void {
    this.#notBeforeMs = performance.now() + this.#tryAgainMs
    this.#tryAgainMs = Math.min(2 * this.#tryAgainMs, TRY_AGAIN_MAX_MS)
  }

  /** Bundles that stay whoever else has them. */
  async #needed(): Promise<Set<number>> {
    const { engine, pins } = this.#options
    const needed = new Set<number>()
    const note = (top: Ino): Promise<void> => this.#noteBelow(top, needed)
    for (const ino of pins.pinned()) await note(ino)
    for (const ino of engine.files.openInos()) await note(ino)
    return needed
  }

  async #noteBelow(top: Ino, needed: Set<number>): Promise<void> {
    const { engine } = this.#options
    for await (const node of filesBelow(engine.tree, top)) {
      this.#checkOpen()
      for (const { file, bundleOffset } of bundlesOf(engine, node)) {
        needed.add(keyOf(file, bundleOffset))
      }
    }
  }

  async #leastRecentFirst(needed: ReadonlySet<number>): Promise<BundlePlace[]> {
    const { engine: { packs } } = this.#options
    const found: { place: BundlePlace; lastUse: number }[] = []
    for (const file of packs.files()) {
      this.#checkOpen()
      for (const place of packs.bundles(file)) {
        if (needed.has(keyOf(file, place.bundleOffset))) continue
        found.push({ place, lastUse: packs.use.lastOf(place) })
      }
      await pause()
    }
    return found.toSorted((a, b) => a.lastUse - b.lastUse).map(({ place }) => place)
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new LatticeError('closed', 'the vault is being closed')
  }
}
