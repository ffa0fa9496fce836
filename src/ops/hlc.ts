/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): 48-bit milliseconds and
 * a 16-bit counter that carries into them. Invariants: tick() is greater than everything ticked or
 * received before, whatever the wall clock does; a claim above 2^47 ms is void and moves nothing.
 */

import { assert } from '../util/assert.ts'
import { COUNTER_MAX, TIME_MAX_MS } from './bounds.ts'

export interface HlcTime {
  ms: number
  counter: number
}

export const HLC_ZERO: Readonly<HlcTime> = Object.freeze({ ms: 0, counter: 0 })

export function compareTimes(a: Readonly<HlcTime>, b: Readonly<HlcTime>): number {
  return a.ms !== b.ms ? a.ms - b.ms : a.counter - b.counter
}

/** The next time after `time`; the counter carries. */
export function nextTime(time: Readonly<HlcTime>): HlcTime {
  if (time.counter < COUNTER_MAX) return { ms: time.ms, counter: time.counter + 1 }
  return { ms: time.ms + 1, counter: 0 }
}

export function isVoid(claimed: Readonly<HlcTime>): boolean {
  return claimed.ms > TIME_MAX_MS
}

/**
 * Effective time of a batch: its claim (nothing, when void), but later than every effective time in
 * `deps` by a tick at least.
 */
export function effectiveTime(
  claimed: Readonly<HlcTime>,
  deps: Iterable<Readonly<HlcTime>>,
): HlcTime {
  const { ms, counter } = isVoid(claimed) ? HLC_ZERO : claimed
  let time: HlcTime = { ms, counter }
  for (const dep of deps) {
    if (compareTimes(time, dep) <= 0) time = nextTime(dep)
  }
  return time
}

export class Hlc {
  #last: HlcTime

  /** `last`: the greatest time that this device has used or seen. */
  constructor(last: Readonly<HlcTime> = HLC_ZERO) {
    assert(last.ms >= 0 && last.counter >= 0 && last.counter <= COUNTER_MAX, 'hlc: bad start')
    this.#last = { ms: last.ms, counter: last.counter }
  }

  get last(): Readonly<HlcTime> {
    return this.#last
  }

  /** A new time for an own batch. A wall clock outside [0, 2^47] counts as stopped. */
  tick(nowMs: number): HlcTime {
    const wall = nowMs >= 0 && nowMs <= TIME_MAX_MS ? Math.floor(nowMs) : 0
    this.#last = wall > this.#last.ms ? { ms: wall, counter: 0 } : nextTime(this.#last)
    return { ms: this.#last.ms, counter: this.#last.counter }
  }

  /** Takes note of an effective time that was applied. */
  receive(time: Readonly<HlcTime>): void {
    if (compareTimes(time, this.#last) > 0) this.#last = { ms: time.ms, counter: time.counter }
  }
}
