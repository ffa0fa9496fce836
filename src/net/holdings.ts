// Which bundles a peer said that it has, as far as it was asked: bounded, the oldest answers are
// forgotten. That it has one not is believed for a while only, it may be fetching it.

import type { BundleId } from '../chunks/bundle-id.ts'

const KNOWN_MAX = 65_536
const ABSENT_TRUSTED_MS = 10_000

export class Holdings {
  /** When it was found absent, or -1: there. */
  readonly #known = new Map<BundleId, number>()
  readonly #nowMs: () => number
  #held = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** How many it is known to have. */
  get count(): number {
    return this.#held
  }

  has(id: BundleId): 'yes' | 'no' | 'unknown' {
    const entry = this.#known.get(id)
    if (entry === undefined) return 'unknown'
    if (entry < 0) return 'yes'
    return this.#nowMs() - entry < ABSENT_TRUSTED_MS ? 'no' : 'unknown'
  }

  learn(id: BundleId, isThere: boolean): void {
    this.#forget(id)
    this.#known.set(id, isThere ? -1 : this.#nowMs())
    if (isThere) this.#held++
    if (this.#known.size <= KNOWN_MAX) return
    for (const oldest of this.#known.keys()) {
      this.#forget(oldest)
      return
    }
  }

  #forget(id: BundleId): void {
    const entry = this.#known.get(id)
    if (entry === undefined) return
    if (entry < 0) this.#held--
    this.#known.delete(id)
  }
}
