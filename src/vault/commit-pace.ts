// How long an operation that nobody waits for is gathered with those behind it. Alone, a device may
// take its time. While others are there they should see a save at once, and a save is a few
// batches; but of much that is done in a row, each batch costs every device a block of the log, so
// that it is better gathered.

import type { Clock } from './ports.ts'

const ALONE_MS = 1000
const SOON_MS = 10
const GATHER_MS = 50
/** So many batches go out soon. */
const BURST_COUNT = 4
/** After so long without one they do again. */
const QUIET_MS = 250

export class CommitPace {
  readonly #clock: Clock
  #count = 0
  #lastMs = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `isShared`: others are there. */
  delayMs(isShared: boolean): number {
    if (!isShared) return ALONE_MS
    const sinceMs = this.#clock.nowMs() - this.#lastMs
    if (sinceMs < 0 || sinceMs > QUIET_MS) this.#count = 0
    return this.#count < BURST_COUNT ? SOON_MS : GATHER_MS
  }

  /** The delay has passed. */
  passed(): void {
    this.#count++
    this.#lastMs = this.#clock.nowMs()
  }
}
