// What `lattice where` does: which devices hold the content below a node, bundle by bundle. What is
// here is compared with theirs (proofs of holding); of what is not here, their word is taken.
// Devices that are not connected are not asked: they may hold it, too.

import { keyOf } from '../chunks/bundle-use.ts'
import type { BundlePlace } from '../chunks/chunk-index-port.ts'
import { PROVE_MAX } from '../net/messages.ts'
import type { AuthorId, BundleId } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type { NodeInfo } from '../vault/tree.ts'
import type { Engine } from './engine.ts'
import { filesBelow } from './files-below.ts'
import type { VaultSync } from './sync.ts'

/** More are not asked about. */
const BUNDLES_MAX = 65_536

export interface WhereaboutsState {
  files: number
  contentBytes: number
  /** That hold it; of them those on this device. */
  bundles: number
  here: number
  /** Chunks in this device's journal only: not announced yet, or small. */
  loose: number
  /** Parts that nobody is known to hold, or that cannot be known without fetching. */
  unknown: number
  /** Asked about so far. */
  asked: number
  /** Connected ones. */
  devices: Map<AuthorId, number>
  /** How many of those asked about are on so many devices, this one included. */
  copies: number[]
}

interface Held {
  id: BundleId
  isHere: boolean
}

export class Whereabouts {
  readonly #engine: Engine
  readonly #peers: Pick<VaultSync, 'status' | 'prove'>
  readonly #top: Ino
  readonly #signal: AbortSignal
  readonly state: WhereaboutsState = {
    files: 0, contentBytes: 0, bundles: 0, here: 0, loose: 0, unknown: 0, asked: 0,
    devices: new Map(), copies: [],
  }

  /** `signal`: aborted when the vault closes. */
  constructor(
    engine: Engine, peers: Pick<VaultSync, 'status' | 'prove'>, top: Ino, signal: AbortSignal,
  ) {
    this.#engine = engine
    this.#peers = peers
    this.#top = top
    this.#signal = signal
  }

  /** Rejects with the signal's reason, 'closed', 'io'. */
  async run(): Promise<void> {
    const { state } = this
    const here = new Map<number, BundlePlace>()
    const away = new Set<BundleId>()
    for await (const node of filesBelow(this.#engine.tree, this.#top)) {
      this.#signal.throwIfAborted()
      state.files++
      state.contentBytes += node.attr.sizeBytes
      this.#see(node, here, away)
      state.here = here.size
      state.bundles = here.size + away.size
      if (state.bundles >= BUNDLES_MAX) break
    }
    for (const { device } of (await this.#peers.status())?.peers ?? []) state.devices.set(device, 0)
    let some: Held[] = []
    const add = async (held: Held): Promise<void> => {
      some.push(held)
      if (some.length < PROVE_MAX) return
      await this.#ask(some)
      some = []
    }
    for (const place of here.values()) {
      const id = await this.#idOf(place)
      if (id !== undefined) await add({ id, isHere: true })
    }
    for (const id of away) await add({ id, isHere: false })
    if (some.length > 0) await this.#ask(some)
  }

  #see(node: NodeInfo, here: Map<number, BundlePlace>, away: Set<BundleId>): void {
    const { state } = this
    const { content, attr: { sizeBytes } } = node
    if (content === undefined) return
    try {
      for (const holding of this.#engine.content.holdings(content, sizeBytes)) {
        state.loose += holding.loose
        if (!holding.isWhole) state.unknown++
        for (const place of holding.here) here.set(keyOf(place.file, place.bundleOffset), place)
        for (const [first] of holding.away) {
          if (first === undefined) state.unknown++
          else away.add(first.id)
        }
      }
    } catch (error) {
      if (!isLatticeError(error)) throw error
      state.unknown++
    }
  }

  async #idOf(place: BundlePlace): Promise<BundleId | undefined> {
    this.#signal.throwIfAborted()
    try {
      return (await this.#engine.content.bundles.inspect(place)).id
    } catch (error) {
      if (!isLatticeError(error)) throw error
      this.state.unknown++
      return undefined
    }
  }

  async #ask(some: readonly Held[]): Promise<void> {
    const { devices, copies } = this.state
    const counts = some.map(({ isHere }): number => (isHere ? 1 : 0))
    const ids = some.map(({ id }) => id)
    await Promise.all([...devices.keys()].map(async (device) => {
      const held = await this.#peers.prove(device, ids, { takesWord: true })
      for (const i of ids.keys()) if (held[i] === true) counts[i] = (counts[i] ?? 0) + 1
      const count = held.filter(Boolean).length
      devices.set(device, (devices.get(device) ?? 0) + count)
    }))
    for (const count of counts) copies[count] = (copies[count] ?? 0) + 1
    this.state.asked += some.length
  }
}
