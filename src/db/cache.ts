// A bounded cache in two halves: what is found in the older half moves to the younger one, and when
// the younger one is full the older one goes. Cheaper per hit than exact LRU, and never more than
// 2 × half entries.

export class HalvesCache<Key, Value> {
  readonly #halfCount: number
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()

  constructor(halfCount: number) {
    this.#halfCount = halfCount
  }

  get(key: Key): Value | undefined {
    const value = this.#young.get(key)
    if (value !== undefined) return value
    const older = this.#old.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#halfCount) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  delete(key: Key): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }
}
