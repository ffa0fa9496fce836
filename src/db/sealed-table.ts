// A table of sealed values that is written by checkpoints: what was put since the last one is in a
// map, what is being written in another, so that a table has two generations like the overlay of
// the records (state/overlay.ts). An undefined value is a removal.

import { RecordReader, RecordWriter } from '../state/wire.ts'
import { assert } from '../util/assert.ts'
import { HalvesCache } from './cache.ts'
import type { IndexEnvironment, Write } from './environment.ts'

const CACHE_HALF_COUNT = 8192

export interface TableFormat<K extends string, V> {
  key(id: K): Buffer
  encode(writer: RecordWriter, value: V): void
  /** Throws 'damaged-index'. */
  decode(reader: RecordReader): V
}

export class SealedTable<K extends string, V> {
  readonly #environment: IndexEnvironment
  readonly #format: TableFormat<K, V>
  readonly #cache = new HalvesCache<K, V>(CACHE_HALF_COUNT)
  readonly #writer = new RecordWriter()
  readonly #reader = new RecordReader(Buffer.alloc(0))
  #current = new Map<K, V | undefined>()
  #frozen: Map<K, V | undefined> | undefined

  constructor(environment: IndexEnvironment, format: TableFormat<K, V>) {
    this.#environment = environment
    this.#format = format
  }

  get changes(): number {
    return this.#current.size
  }

  get(id: K): V | undefined {
    if (this.#current.has(id)) return this.#current.get(id)
    if (this.#frozen?.has(id) === true) return this.#frozen.get(id)
    const cached = this.#cache.get(id)
    if (cached !== undefined) return cached
    const plain = this.#environment.getSealed(this.#format.key(id))
    if (plain === undefined) return undefined
    const value = this.#format.decode(this.#reader.reset(plain))
    this.#cache.set(id, value)
    return value
  }

  /** Takes effect at once. */
  put(id: K, value: V | undefined): void {
    this.#current.set(id, value)
  }

  freeze(): void {
    assert(this.#frozen === undefined, 'the table is frozen already')
    this.#frozen = this.#current
    this.#current = new Map()
  }

  /** Takes the last freeze back. */
  thaw(): void {
    const frozen = this.#frozen ?? new Map<K, V | undefined>()
    for (const [id, value] of this.#current) frozen.set(id, value)
    this.#current = frozen
    this.#frozen = undefined
  }

  /** Adds what is frozen as writes; about 2 µs each. */
  prepare(out: Write[]): void {
    for (const [id, value] of this.#frozen ?? []) {
      const key = this.#format.key(id)
      if (value === undefined) {
        out.push({ key, value: undefined })
        continue
      }
      this.#format.encode(this.#writer.reset(), value)
      out.push({ key, value: this.#environment.seal(key, this.#writer.view()) })
    }
  }

  /** What was frozen is written. */
  release(): void {
    for (const [id, value] of this.#frozen ?? []) {
      if (value === undefined) this.#cache.delete(id)
      else this.#cache.set(id, value)
    }
    this.#frozen = undefined
  }
}
