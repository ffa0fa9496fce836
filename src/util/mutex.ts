// Mutual exclusion between asynchronous tasks of one thread, first come, first served.
// Prefer `run`: it cannot forget to release.

import { assert } from './assert.ts'

export class Mutex {
  #held = false
  readonly #waiting: (() => void)[] = []

  get held(): boolean {
    return this.#held
  }

  /** Runs `task` alone; its result or its error is handed through. */
  async run<T>(task: () => Promise<T> | T): Promise<T> {
    await this.lock()
    try {
      return await task()
    } finally {
      this.unlock()
    }
  }

  lock(): Promise<void> {
    if (!this.#held) {
      this.#held = true
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Takes the mutex if it is free. */
  tryLock(): boolean {
    if (this.#held) return false
    this.#held = true
    return true
  }

  unlock(): void {
    assert(this.#held, 'unlock of a free mutex')
    const next = this.#waiting.shift()
    if (next === undefined) this.#held = false
    else next()
  }
}

/** One mutex per key, kept only while somebody holds it or waits for it. */
export class KeyedMutex<Key> {
  readonly #entries = new Map<Key, { mutex: Mutex; users: number }>()

  get size(): number {
    return this.#entries.size
  }

  async run<T>(key: Key, task: () => Promise<T> | T): Promise<T> {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = { mutex: new Mutex(), users: 0 }
      this.#entries.set(key, entry)
    }
    entry.users++
    try {
      return await entry.mutex.run(task)
    } finally {
      entry.users--
      if (entry.users === 0) this.#entries.delete(key)
    }
  }
}
