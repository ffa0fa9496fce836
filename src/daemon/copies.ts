// Whether everything of this device is published, and how many others have it: batches as they
// acknowledge them (applied and durable there), content as they prove to hold it, each bundle anew
// under a nonce. One instance a question: what was proven is not asked again, in the order in which
// the bundles were announced. Content of others that lies here is theirs to count. Of what this
// device has given up it can check no proof: others' word counts.

import { PROVE_MAX } from '../net/messages.ts'
import type { AuthorId, BundleId } from '../ops/types.ts'
import type { Engine } from './engine.ts'
import { isShared } from './sync-keys.ts'
import type { VaultSync } from './sync.ts'

export interface CopiesState {
  /** Own batches, and how many of them are in the log that others read. */
  batches: number
  published: number
  /** Devices connected now. */
  connected: number
  /** Of them, those that have all batches. */
  acknowledged: number
  /** Own bundles, and how many of them enough devices have proven to hold. */
  bundles: number
  held: number
}

export class Copies {
  readonly #engine: Engine
  readonly #sync: VaultSync
  readonly #wanted: number
  #held = 0

  /** `wanted`: devices beside this one that are to hold everything. */
  constructor(engine: Engine, sync: VaultSync, wanted: number) {
    this.#engine = engine
    this.#sync = sync
    this.#wanted = wanted
  }

  /** Publishes, and asks for some more bundles. */
  async look(): Promise<CopiesState> {
    const { core, keys: { author } } = this.#engine
    await this.#engine.sync()
    await core.pump()
    const batches = core.committer.nextSeq
    // where nobody else belongs there is nobody to publish for
    const published = isShared(this.#engine) ? this.#sync.logs.length(author) : batches
    const status = await this.#sync.status()
    const acknowledged = (status?.acknowledged ?? []).filter(({ length }) => length >= batches)
    const devices = (status?.peers ?? []).map(({ device }) => device)
    if (this.#wanted > 0) await this.#askSome(devices)
    return {
      batches, published, connected: devices.length, acknowledged: acknowledged.length,
      bundles: core.store.meta.bundles, held: this.#held,
    }
  }

  isDone(state: CopiesState): boolean {
    // what is held here has no content yet that others could have
    const isPublished = state.published >= state.batches && this.#engine.files.heldFiles === 0
    if (this.#wanted === 0) return isPublished
    const isHeld = state.held >= state.bundles
    return isPublished && isHeld && state.acknowledged >= this.#wanted
  }

  async #askSome(devices: readonly AuthorId[]): Promise<void> {
    const { index, keys: { author }, core } = this.#engine
    const ids: BundleId[] = []
    for (let at = this.#held; at < core.store.meta.bundles && ids.length < PROVE_MAX; at++) {
      const bundle = index.bundles.described(author, at)
      if (bundle === undefined) break
      ids.push(bundle.id)
    }
    if (ids.length === 0 || devices.length < this.#wanted) return
    const takesWord = { takesWord: true }
    const proofs = await Promise.all(
      devices.map((device) => this.#sync.prove(device, ids, takesWord)),
    )
    for (const i of ids.keys()) {
      const count = proofs.filter((proven) => proven[i] === true).length
      if (count < this.#wanted) return
      this.#held++
    }
  }
}
