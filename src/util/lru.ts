// A map that forgets the least recently used entries once their sizes exceed a bound in bytes.
// Invariant: sizeBytes is the sum of the entries' sizes and never exceeds maxBytes; an entry
// greater than the bound is not kept at all. Keys of JavaScript's Map: strings, numbers, objects.

import { assert } from './assert.ts'

export type LruOptions<Key, Value> = {
  maxBytes: number
  /** Called for what is pushed out or replaced, not for what delete() and clear() remove. */
  onEvict?: ((key: Key, value: Value) => void) | undefined
}

export class Lru<Key, Value> {
  readonly #entries = new Map<Key, { value: Value; sizeBytes: number }>()
  readonly #maxBytes: number
  readonly #onEvict: ((key: Key, value: Value) => void) | undefined
  #sizeBytes = 0

  constructor(options: LruOptions<Key, Value>) {
    assert(options.maxBytes >= 0, 'lru: negative bound')
    this.#maxBytes = options.maxBytes
    this.#onEvict = options.onEvict
  }

  get count(): number {
    return this.#entries.size
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  has(key: Key): boolean {
    return this.#entries.has(key)
  }

  /** The value, now the most recently used. */
  get(key: Key): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  /** The value, its age unchanged. */
  peek(key: Key): Value | undefined {
    return this.#entries.get(key)?.value
  }

  /** False when the entry is greater than the whole bound and was not kept. */
  set(key: Key, value: Value, sizeBytes: number): boolean {
    assert(Number.isFinite(sizeBytes) && sizeBytes >= 0, 'lru: negative size')
    const old = this.#entries.get(key)
    if (old !== undefined) {
      this.delete(key)
      if (old.value !== value) this.#onEvict?.(key, old.value)
    }
    if (sizeBytes > this.#maxBytes) return false
    this.#entries.set(key, { value, sizeBytes })
    this.#sizeBytes += sizeBytes
    this.#shrink()
    return true
  }

  delete(key: Key): boolean {
    const entry = this.#entries.get(key)
    if (entry === undefined) return false
    this.#entries.delete(key)
    this.#sizeBytes -= entry.sizeBytes
    return true
  }

  clear(): void {
    this.#entries.clear()
    this.#sizeBytes = 0
  }

  /** Entries from the least to the most recently used. */
  *entries(): IterableIterator<[Key, Value]> {
    for (const [key, entry] of this.#entries) yield [key, entry.value]
  }

  #shrink(): void {
    while (this.#sizeBytes > this.#maxBytes) {
      const oldest = this.#entries.entries().next()
      assert(!oldest.done, 'lru: size without entries')
      const [key, entry] = oldest.value
      this.delete(key)
      this.#onEvict?.(key, entry.value)
    }
  }
}
