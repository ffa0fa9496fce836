// Whole bundles of this device, for whoever wants to give some up: what is in one, and how its
// chunks are forgotten when others hold it.

import { bundleIdOf } from './bundle-id.ts'
import type { BundleId } from './bundle-id.ts'
import type { BundleEntry } from './bundle-layout.ts'
import { openBundleIndex } from './bundle.ts'
import type { ChunkReader } from './chunk-cache.ts'
import type { BundlePlace, ChunkIndex } from './chunk-index-port.ts'
import type { PackStore } from './pack-store.ts'

export interface LocalBundle {
  id: BundleId
  place: BundlePlace
  entries: readonly BundleEntry[]
}

export class LocalBundles {
  readonly #reader: ChunkReader
  readonly #index: ChunkIndex
  readonly #packs: PackStore

  constructor(reader: ChunkReader, index: ChunkIndex, packs: PackStore) {
    this.#reader = reader
    this.#index = index
    this.#packs = packs
  }

  /** Reads all of it. Rejects 'damaged-pack', 'missing-key', and what is wrong with it else. */
  async inspect(place: BundlePlace): Promise<LocalBundle> {
    const { file, bundleOffset, bundleBytes } = place
    const sealed = await this.#packs.read(file, bundleOffset, bundleBytes)
    const key = this.#packs.keyOf(this.#packs.parse(sealed))
    return { id: bundleIdOf(sealed), place, entries: openBundleIndex(key, sealed) }
  }

  /** Its chunks are here no more, but for those that lie elsewhere, too. */
  leave({ id, place, entries }: LocalBundle): void {
    const bundle = { id, sealedBytes: place.bundleBytes }
    for (const { chunk } of entries) {
      const known = this.#index.get(chunk)
      const liesThere = known?.where === 'pack' && known.file === place.file
        && known.bundleOffset === place.bundleOffset
      if (liesThere) this.#reader.leave(chunk, bundle)
    }
  }
}
