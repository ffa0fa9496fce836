// Bundles in the sync worker: read from packs for whoever may have them, verified and stored when
// they come from others. Where they lie only the engine knows; it is asked, many at once.

import { closeSync, openSync, read } from 'node:fs'
import type { BundleReceiver } from '../chunks/bundle-receiver.ts'
import type { BundleSink, BundleSource } from '../net/ports.ts'
import type { BundleId } from '../ops/types.ts'
import { fromSystemError } from '../util/errors.ts'
import { Lru } from '../util/lru.ts'
import type { ServedPlace } from './sync-protocol.ts'

const OPEN_MAX = 32
/** Places of bundles that peers asked about lately: they ask again to get them. */
const PLACES_MAX = 8192
const PLACE_MS = 2000

export type AskPlaces = (ids: readonly BundleId[]) => Promise<(ServedPlace | undefined)[]>

export class PackBundles implements BundleSource {
  readonly #ask: AskPlaces
  readonly #places = new Lru<BundleId, { place: ServedPlace; atMs: number }>({
    maxBytes: PLACES_MAX,
  })
  readonly #files = new Lru<string, OpenPack>({
    maxBytes: OPEN_MAX, onEvict: (_, pack) => pack.close(),
  })
  readonly #sync: () => Promise<void>
  readonly #reads = new Set<Promise<unknown>>()
  #givingUp: ReadonlySet<BundleId> = new Set()

  /** `sync`: makes durable what came from others. */
  constructor(ask: AskPlaces, sync: () => Promise<void>) {
    this.#ask = ask
    this.#sync = sync
  }

  async has(ids: readonly BundleId[]): Promise<boolean[]> {
    return (await this.#located(ids)).map((place) => place !== undefined)
  }

  async reliable(ids: readonly BundleId[]): Promise<boolean[]> {
    await this.#sync()
    return ids.map((id) => !this.#givingUp.has(id))
  }

  /** From now on these are not reliable, instead of those before. */
  givingUp(ids: readonly BundleId[]): void {
    this.#givingUp = new Set(ids)
  }

  /** They are here no more: when it resolves nobody reads where they were. */
  async forget(ids: readonly BundleId[]): Promise<void> {
    for (const id of ids) this.#places.delete(id)
    await Promise.allSettled(this.#reads)
  }

  read(id: BundleId): Promise<Uint8Array | undefined> {
    const reading = this.#read(id)
    this.#reads.add(reading)
    void reading.catch(() => undefined).finally(() => this.#reads.delete(reading))
    return reading
  }

  async #read(id: BundleId): Promise<Uint8Array | undefined> {
    const [place] = await this.#located([id])
    if (place === undefined) return undefined
    let pack = this.#files.get(place.path)
    if (pack === undefined) {
      pack = new OpenPack(place.path)
      this.#files.set(place.path, pack, 1)
    }
    return pack.read(place.bundleOffset, place.bundleBytes)
  }

  close(): void {
    for (const [, pack] of this.#files.entries()) pack.close()
    this.#files.clear()
  }

  async #located(ids: readonly BundleId[]): Promise<(ServedPlace | undefined)[]> {
    const nowMs = performance.now()
    const found = ids.map((id) => {
      const known = this.#places.get(id)
      return known !== undefined && nowMs - known.atMs < PLACE_MS ? known : undefined
    })
    const wanted = ids.filter((_, i) => found[i] === undefined)
    const answers = wanted.length === 0 ? [] : await this.#ask(wanted)
    const places = new Map(wanted.map((id, i) => [id, answers[i]]))
    for (const [id, place] of places) {
      if (place !== undefined) this.#places.set(id, { place, atMs: nowMs }, 1)
    }
    return ids.map((id, i) => {
      const known = found[i]
      return known === undefined ? places.get(id) : known.place
    })
  }
}

/** Closed when the last read of it has ended. */
class OpenPack {
  readonly #fd: number
  #reads = 0
  #isClosed = false

  constructor(path: string) {
    try {
      this.#fd = openSync(path, 'r')
    } catch (error) {
      throw fromSystemError(error, 'open a pack')
    }
  }

  /** Undefined when the file ends before. */
  read(offset: number, sizeBytes: number): Promise<Uint8Array | undefined> {
    const bytes = Buffer.allocUnsafeSlow(sizeBytes)
    this.#reads++
    return new Promise((resolve, reject) => {
      read(this.#fd, bytes, 0, sizeBytes, offset, (error, count) => {
        if (--this.#reads === 0 && this.#isClosed) closeSync(this.#fd)
        if (error !== null) reject(fromSystemError(error, 'read a pack'))
        else resolve(count < sizeBytes ? undefined : bytes)
      })
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#reads === 0) closeSync(this.#fd)
  }
}

export function sinkOf(receiver: BundleReceiver): BundleSink {
  return { store: (id, sealed) => receiver.store(id, sealed) }
}
