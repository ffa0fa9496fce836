// Reads bundles for peers, a few at a time for all connections together, what somebody waits for
// first. What is in a bundle is not looked at: the receiver checks it against the id.

import type { BundleId } from '../chunks/bundle-id.ts'
import { PRIORITY_RANKS } from './messages.ts'
import type { BundleSource } from './ports.ts'

const READS_MAX = 4

interface Waiting {
  id: BundleId
  resolve: (bytes: Uint8Array | undefined) => void
  reject: (error: unknown) => void
}

export class ReadGate {
  readonly #source: BundleSource
  readonly #waiting: Waiting[][] = Array.from({ length: PRIORITY_RANKS }, () => [])
  #running = 0

  constructor(source: BundleSource) {
    this.#source = source
  }

  has(ids: readonly BundleId[]): Promise<boolean[]> {
    return this.#source.has(ids)
  }

  reliable(ids: readonly BundleId[]): Promise<boolean[]> {
    return this.#source.reliable(ids)
  }

  /** Callers bound how many they wait for. */
  read(id: BundleId, rank: number): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting[rank]?.push({ id, resolve, reject })
      this.#pump()
    })
  }

  #pump(): void {
    while (this.#running < READS_MAX) {
      const next = this.#waiting.find((queue) => queue.length > 0)?.shift()
      if (next === undefined) return
      this.#running++
      this.#source.read(next.id).then(next.resolve, next.reject).finally(() => {
        this.#running--
        this.#pump()
      })
    }
  }
}
