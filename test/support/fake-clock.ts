// A Clock that moves only when told. Timers fire in order of their time, within advance().
import type { Clock, Timer } from '../../src/vault/ports.ts'

export class FakeClock implements Clock {
  #nowMs: number
  #timers: { atMs: number; fire: () => void }[] = []

  constructor(nowMs = 1_800_000_000_000) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  now(): { sec: number; nsec: number } {
    return { sec: Math.floor(this.#nowMs / 1000), nsec: (this.#nowMs % 1000) * 1_000_000 }
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, fire }
    this.#timers.push(timer)
    return { cancel: () => void (this.#timers = this.#timers.filter((other) => other !== timer)) }
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Moves the wall clock without firing anything: it may go back. */
  set(nowMs: number): void {
    this.#nowMs = nowMs
  }

  advance(ms: number): void {
    const end = this.#nowMs + ms
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= end)
      const next = due.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.fire()
    }
    this.#nowMs = end
  }
}
