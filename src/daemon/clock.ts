// The machine's clock and randomness behind the engine's ports (vault/ports.ts).

import { randomFill } from '../crypto/random.ts'
import type { Clock, Random, Timer } from '../vault/ports.ts'

const DRIFT_MS_MAX = 2

/**
 * Nanoseconds that do not run backwards between two calls: the monotonic clock, set by the wall
 * clock at the start and again whenever that has been stepped or has drifted away.
 */
export class SystemClock implements Clock {
  #wallMs = performance.timeOrigin + performance.now()
  #monotonicMs = performance.now()

  nowMs(): number {
    return Date.now()
  }

  now(): { sec: number; nsec: number } {
    const monotonicMs = performance.now()
    let ms = this.#wallMs + (monotonicMs - this.#monotonicMs)
    const wallMs = Date.now()
    if (ms < wallMs - DRIFT_MS_MAX || ms > wallMs + 1 + DRIFT_MS_MAX) {
      this.#wallMs = wallMs
      this.#monotonicMs = monotonicMs
      ms = wallMs
    }
    const sec = Math.floor(ms / 1000)
    return { sec, nsec: Math.min(999_999_999, Math.floor((ms - sec * 1000) * 1e6)) }
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = setTimeout(fire, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  }
}

export class SystemRandom implements Random {
  bytes(sizeBytes: number): Uint8Array {
    return this.fill(new Uint8Array(sizeBytes))
  }

  fill<T extends Uint8Array>(into: T): T {
    randomFill(into)
    return into
  }
}
