// What `lattice evict` does: content below a node leaves this device, as far as it is used by
// nothing else here. Bundles hold chunks of several files, and a chunk may be in several: a bundle
// goes only when nothing outside, no file that somebody has open and nothing pinned needs it.
//
// So everything in the vault is looked at, in pages between other work; in memory are the places of
// bundles only.

import type { BundlePlace } from '../chunks/chunk-index-port.ts'
import { keyOf } from '../chunks/bundle-use.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type { NodeInfo } from '../vault/tree.ts'
import type { Engine } from './engine.ts'
import type { Evictor, GivenUp, Stays } from './evictor.ts'
import { noneGivenUp } from './evictor.ts'
import { filesBelow } from './files-below.ts'
import type { PinKeeper } from './pin-keeper.ts'

/** Why content stays: a pin covers it, it is open or not stored yet, other files use its bundles,
 *  or what the evictor says. */
export type EvictionStays = Stays | 'pinned' | 'in-use' | 'shared'

export interface EvictionState {
  /** Looked at, below the node. */
  files: number
  bundles: number
  /** Sealed bytes of bundles given up, and of those that stay. */
  freedBytes: number
  stays: Map<EvictionStays, number>
}

export interface EvictionParts {
  engine: Engine
  evictor: Evictor
  pins: Pick<PinKeeper, 'covers'>
}

export class Eviction {
  readonly #parts: EvictionParts
  readonly #top: Ino
  readonly #signal: AbortSignal
  readonly #given: GivenUp = noneGivenUp()
  readonly #kept = new Map<EvictionStays, number>()
  #files = 0

  /** `signal`: aborted when the vault closes. */
  constructor(parts: EvictionParts, top: Ino, signal: AbortSignal) {
    this.#parts = parts
    this.#top = top
    this.#signal = signal
  }

  get state(): EvictionState {
    const { bundles, bytes, stays } = this.#given
    const all = new Map<EvictionStays, number>([...this.#kept, ...stays])
    return { files: this.#files, bundles, freedBytes: bytes, stays: all }
  }

  /** Rejects with the signal's reason, and as Evictor.giveUp() does. */
  async run(copies: number): Promise<void> {
    const { engine } = this.#parts
    await engine.sync()
    await engine.core.pump() // others are told of what is not announced yet
    const wanted = new Map<number, BundlePlace>()
    const needed = new Map<number, { why: EvictionStays; bytes: number }>()
    for await (const node of filesBelow(engine.tree, this.#top)) {
      this.#signal.throwIfAborted()
      this.#files++
      const why = this.#whyKept(node)
      for (const place of bundlesOf(engine, node)) {
        const key = keyOf(place.file, place.bundleOffset)
        if (why === undefined) wanted.set(key, place)
        else needed.set(key, { why, bytes: place.bundleBytes })
      }
    }
    const { tree } = engine
    for await (const node of filesBelow(tree, tree.root, (directory) => directory !== this.#top)) {
      this.#signal.throwIfAborted()
      if (node.ino === this.#top) continue
      for (const { file, bundleOffset, bundleBytes } of bundlesOf(engine, node)) {
        const key = keyOf(file, bundleOffset)
        if (!wanted.has(key) || needed.has(key)) continue
        needed.set(key, { why: 'shared', bytes: bundleBytes })
      }
    }
    for (const [key, { why, bytes }] of needed) {
      wanted.delete(key)
      this.#kept.set(why, (this.#kept.get(why) ?? 0) + bytes)
    }
    await this.#parts.evictor.giveUp(wanted.values(), copies, this.#given)
  }

  #whyKept({ ino }: NodeInfo): EvictionStays | undefined {
    const { engine: { buffers, files }, pins } = this.#parts
    if (buffers.openCount(ino) > 0 || files.isUnsealed(ino)) return 'in-use'
    return pins.covers(ino) ? 'pinned' : undefined
  }
}

/** Places of the bundles that hold what is here of the file; some come several times. */
export function* bundlesOf(engine: Engine, node: NodeInfo): Generator<BundlePlace> {
  const { content, attr: { sizeBytes } } = node
  if (content === undefined) return
  try {
    for (const { here } of engine.content.holdings(content, sizeBytes)) yield* here
  } catch (error) {
    if (!isLatticeError(error)) throw error // a damaged tree: its file cannot be read here either
  }
}
