// Gives local copies of content up, against fresh proofs that others hold them: whole bundles, some
// at a time. Files, versions and their history stay; what was given up is fetched again when it is
// read.
//
// What others may rely on: while this device is about to give a bundle up, it does not prove to
// anybody that it holds it. Of several devices that give the same bundle up at once, the one that
// began last has its proof from one that was not about to, and does not begin any more without a
// proof of its own: so somebody keeps it, whatever crashes. (DESIGN's rule, proofs from smaller
// device ids only, would let the device with the smallest id give up nothing, ever.)
//
// A crash before the space is given back keeps the bundle (chunks/gone-list.ts).

import type { BundlePlace } from '../chunks/chunk-index-port.ts'
import type { LocalBundle } from '../chunks/local-bundles.ts'
import { PROVE_MAX } from '../net/messages.ts'
import type { AuthorId } from '../ops/types.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'
import { VaultMembers } from '../vault/members-view.ts'
import type { Engine } from './engine.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type { VaultSync } from './sync.ts'

/** Space that somebody was reading in is given back then. */
const GIVE_BACK_AGAIN_MS = 5000

/** Why a bundle stays: others have not been told of it; too few devices hold it, as far as could be
 *  proven now; it does not open. */
export type Stays = 'not-published' | 'not-proven' | 'damaged'

/** As far as it has come; bytes are sealed ones. */
export interface GivenUp {
  bundles: number
  bytes: number
  stays: Map<Stays, number>
}

export interface EvictorOptions {
  engine: Engine
  peers: Pick<VaultSync, 'givingUp' | 'forget' | 'prove' | 'status'>
  log: Log
}

export class Evictor {
  readonly #options: EvictorOptions
  readonly #mutex = new Mutex()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: EvictorOptions) {
    this.#options = options
  }

  /**
   * Those that `copies` devices beside this one prove to hold, one of them a device that can read
   * it; until `goalBytes` are given up. `so` counts on the way. Rejects 'closed', 'unsupported',
   * 'disk-full', 'io'.
   */
  giveUp(
    places: Iterable<BundlePlace>, copies: number, so: GivenUp, goalBytes = Infinity,
  ): Promise<void> {
    return this.#mutex.run(async () => {
      let some: LocalBundle[] = []
      let bytes = 0
      for (const place of places) {
        if (this.#isClosed) throw new LatticeError('closed', 'the vault is being closed')
        if (so.bytes + bytes >= goalBytes) break
        const bundle = await this.#inspect(place, so)
        if (bundle === undefined) continue
        some.push(bundle)
        bytes += place.bundleBytes
        if (some.length < PROVE_MAX) continue
        await this.#round(some, copies, so)
        some = []
        bytes = 0
      }
      if (some.length > 0) await this.#round(some, copies, so)
    })
  }

  /** Waits for the round under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#mutex.run(() => Promise.resolve())
  }

  /** The bundle, if others can know of it. */
  async #inspect(place: BundlePlace, so: GivenUp): Promise<LocalBundle | undefined> {
    const { content, index } = this.#options.engine
    try {
      const bundle = await content.bundles.inspect(place)
      const named = index.bundles.get(bundle.id)
      if (named?.file === place.file && named.bundleOffset === place.bundleOffset) return bundle
      count(so, 'not-published', place)
    } catch (error) {
      if (!isLatticeError(error)) throw error
      count(so, 'damaged', place)
    }
    return undefined
  }

  async #round(bundles: readonly LocalBundle[], copies: number, so: GivenUp): Promise<void> {
    const { engine: { packs, content, index }, peers } = this.#options
    try {
      await peers.givingUp(bundles.map(({ id }) => id))
      const isProven = await this.#proven(bundles, copies)
      const gone = bundles.filter((_, i) => isProven[i] === true)
      for (const [i, { place }] of bundles.entries()) {
        if (isProven[i] !== true) count(so, 'not-proven', place)
      }
      if (gone.length === 0 || this.#isClosed) {
        await peers.givingUp([])
        return
      }
      const places = gone.map(({ place }) => place)
      await packs.noteGone(places)
      packs.setGone(places)
      for (const bundle of gone) {
        content.bundles.leave(bundle)
        index.bundles.remove(bundle.id)
        so.bundles++
        so.bytes += bundle.place.bundleBytes
      }
      await peers.forget(gone.map(({ id }) => id))
      await peers.givingUp([])
      await this.#giveBack()
    } catch (error) {
      // nobody may be there to be told: whoever starts anew is
      await peers.givingUp([]).catch(() => undefined)
      if (packs.hasUnsettled) this.#giveBackLater()
      throw error
    }
  }

  /** Of each whether enough devices prove to hold it now. */
  async #proven(bundles: readonly LocalBundle[], copies: number): Promise<boolean[]> {
    const { peers } = this.#options
    const ids = bundles.map(({ id }) => id)
    const holders = ids.map(() => ({ all: 0, readers: 0 }))
    const enough = (i: number): boolean => {
      const { all, readers } = holders[i] ?? { all: 0, readers: 0 }
      return all >= copies && readers >= 1
    }
    for (const device of await this.#devices()) {
      const open = [...ids.keys()].filter((i) => !enough(i))
      if (open.length === 0) break
      const proofs = await peers.prove(device.id, ids.filter((_, i) => open.includes(i)))
      for (const [at, i] of open.entries()) {
        const holder = holders[i]
        if (proofs[at] !== true || holder === undefined) continue
        holder.all++
        if (!device.isBlind) holder.readers++
      }
    }
    return ids.map((_, i) => enough(i))
  }

  /** Connected members, those that can read first. */
  async #devices(): Promise<{ id: AuthorId; isBlind: boolean }[]> {
    const { engine: { core }, peers } = this.#options
    const members = core.members instanceof VaultMembers ? core.members.members : undefined
    const connected = (await peers.status())?.peers ?? []
    return connected.flatMap(({ device }) => {
      const role = members?.get(device)?.role
      return role === undefined ? [] : [{ id: device, isBlind: role === 'blind' }]
    }).toSorted((a, b) => Number(a.isBlind) - Number(b.isBlind))
  }

  /** Once the index is durable without them; what is in use now is given back later. */
  async #giveBack(): Promise<void> {
    const { engine: { packs, checkpointer } } = this.#options
    try {
      await checkpointer.run()
      await packs.giveBack()
    } catch (error) {
      if (!isLatticeError(error, 'busy')) throw error
    }
    if (packs.hasUnsettled) this.#giveBackLater()
  }

  #giveBackLater(): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#mutex.run(() => this.#giveBack()).catch((error: unknown) => {
        this.#options.log.warn(loggable(error), 'space is not given back yet')
        this.#giveBackLater()
      })
    }, GIVE_BACK_AGAIN_MS)
    this.#timer.unref()
  }
}

export function noneGivenUp(): GivenUp {
  return { bundles: 0, bytes: 0, stays: new Map() }
}

function count(so: GivenUp, why: Stays, { bundleBytes }: BundlePlace): void {
  so.stays.set(why, (so.stays.get(why) ?? 0) + bundleBytes)
}
