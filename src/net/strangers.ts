// Connections that have proven nothing yet, bounded in number and time for all doors together.
// When there are too many, the oldest of the address that holds most has to go: one machine cannot
// keep the others out.

export interface Stranger {
  /** Idempotent. The connection stays, and is no stranger any more. */
  proven: () => void
  /** Idempotent. The connection is gone. */
  gone: () => void
}

interface Entry {
  host: string
  end: (reason: string) => void
  timer: NodeJS.Timeout
}

export interface StrangersOptions {
  max?: number
  timeoutMs?: number
}

export const UNPROVEN_MAX = 32
export const UNPROVEN_TIMEOUT_MS = 5000

export class Strangers {
  readonly #entries = new Set<Entry>()
  readonly #max: number
  readonly #timeoutMs: number

  constructor(options: StrangersOptions = {}) {
    this.#max = options.max ?? UNPROVEN_MAX
    this.#timeoutMs = options.timeoutMs ?? UNPROVEN_TIMEOUT_MS
  }

  get count(): number {
    return this.#entries.size
  }

  /** `end` destroys the connection; it is called at most once, and not after proven() or gone(). */
  admit(host: string, end: (reason: string) => void): Stranger {
    while (this.#entries.size >= this.#max) this.#expel(this.#mostGreedy(), 'too many strangers')
    const timer = setTimeout(() => this.#expel(entry, 'not proven in time'), this.#timeoutMs)
    const entry: Entry = { host, end, timer }
    this.#entries.add(entry)
    const leave = (): void => void this.#forget(entry)
    return { proven: leave, gone: leave }
  }

  close(): void {
    for (const entry of this.#entries) this.#expel(entry, 'closing')
  }

  #mostGreedy(): Entry {
    const counts = new Map<string, number>()
    let most = 0
    for (const { host } of this.#entries) {
      const count = (counts.get(host) ?? 0) + 1
      counts.set(host, count)
      most = Math.max(most, count)
    }
    for (const entry of this.#entries) if (counts.get(entry.host) === most) return entry
    throw new Error('unreachable: a full set has a first entry')
  }

  #expel(entry: Entry, reason: string): void {
    if (!this.#forget(entry)) return
    entry.end(reason)
  }

  #forget(entry: Entry): boolean {
    clearTimeout(entry.timer)
    return this.#entries.delete(entry)
  }
}
