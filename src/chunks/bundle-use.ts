// When bundles were used last, as an order: what was read or came last is last. Bundles that
// nobody has used since the start are not in it. A few dozen bytes for each bundle that was.

import type { BundlePlace } from './chunk-index-port.ts'

/** A pack is smaller than that. */
const PACK_UNIT = 2 ** 26

export class BundleUse {
  readonly #times = new Map<number, number>()
  #now = 0

  touch(file: number, bundleOffset: number): void {
    this.#times.set(keyOf(file, bundleOffset), ++this.#now)
  }

  forget(file: number, bundleOffset: number): void {
    this.#times.delete(keyOf(file, bundleOffset))
  }

  /** Ascending with time; 0: not since the start. */
  lastOf({ file, bundleOffset }: Pick<BundlePlace, 'file' | 'bundleOffset'>): number {
    return this.#times.get(keyOf(file, bundleOffset)) ?? 0
  }
}

/** One number for a bundle of this device; writers up to 7 (chunk-index-port.ts). */
export function keyOf(file: number, bundleOffset: number): number {
  return file * PACK_UNIT + bundleOffset
}
