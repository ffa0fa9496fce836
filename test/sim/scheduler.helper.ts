// Virtual time: a heap of events, run one after another, each followed by every promise reaction
// that it set off. Nothing else moves in a simulated world, so that a seed replays it whole.
//
// Invariants: events run in the order (time, order of scheduling); virtual time never goes back;
// what belongs to a Life that has ended never runs.
import type { Clock, Timer } from '../../src/vault/ports.ts'

export const START_MS = Date.UTC(2026, 10, 20)

/** One run of one device's process. When it ends, all its timers and disk operations do. */
export class Life {
  isOver = false
}

interface Event {
  atMs: number
  order: number
  fire: (() => void) | undefined
  life: Life | undefined
}

/** A turn of the real loop: rejections that nobody handles are told, messages come in. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Lets every promise reaction run that can run without an event: a tick comes when none is left.
 */
const drain = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))
const EVENTS_PER_TURN = 64

export class Scheduler {
  nowMs = START_MS
  eventsRun = 0
  readonly #real = new Set<Promise<unknown>>()
  #heap: Event[] = []
  #order = 0

  /** `fire` runs once, `delayMs` from now, unless cancelled or its life is over by then. */
  after(delayMs: number, fire: () => void, life?: Life): Timer {
    const atMs = this.nowMs + Math.max(0, delayMs)
    const event: Event = { atMs, order: this.#order++, fire, life }
    this.#push(event)
    return { cancel: () => void (event.fire = undefined) }
  }

  /** Never resolves when the life ends before. */
  sleep(delayMs: number, life?: Life): Promise<void> {
    return new Promise((resolve) => void this.after(delayMs, resolve, life))
  }

  /** Something of the real world (LMDB on a real disk): virtual time waits for it. */
  real<T>(promise: Promise<T>): Promise<T> {
    this.#real.add(promise)
    const ended = (): void => void this.#real.delete(promise)
    promise.then(ended, ended)
    return promise
  }

  /** Events that can still run. */
  get pending(): number {
    return this.#heap.filter((event) => isLive(event)).length
  }

  /** Time of the next event; Infinity when there is none. */
  get nextMs(): number {
    while (this.#heap[0] !== undefined && !isLive(this.#heap[0])) this.#pop()
    return this.#heap[0]?.atMs ?? Infinity
  }

  /** Runs one event; false when there is none up to `untilMs`. */
  async step(untilMs = Infinity): Promise<boolean> {
    if (this.nextMs > untilMs) return false
    const event = this.#pop() as Event
    this.nowMs = Math.max(this.nowMs, event.atMs)
    const fire = event.fire
    event.fire = undefined
    this.eventsRun++
    fire?.()
    await this.#calm()
    return true
  }

  /** Runs everything that is due up to then. */
  async runUntil(untilMs: number): Promise<void> {
    while (await this.step(untilMs));
    this.nowMs = Math.max(this.nowMs, untilMs)
  }

  /** Runs events until the promise settles. Throws when it never can. */
  async drive<T>(promise: Promise<T>, what: string, eventsMax = 200_000): Promise<T> {
    let isSettled = false
    const mark = (): void => void (isSettled = true)
    promise.then(mark, mark)
    await this.#calm()
    for (let left = eventsMax; !isSettled; left--) {
      if (left === 0 || !(await this.step())) throw new Error(`stuck: ${what}`)
    }
    return promise
  }

  /** Whatever can go on without an event has done so. */
  async #calm(): Promise<void> {
    await (this.eventsRun % EVENTS_PER_TURN === 0 ? turn() : drain())
    while (this.#real.size > 0) {
      await Promise.allSettled(this.#real)
      await drain()
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up] as Event
      if (!isBefore(event, parent)) break
      heap[at] = parent
      at = up
    }
    heap[at] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || last === first) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && isBefore(right, heap[child] as Event)) child++
      if (!isBefore(heap[child] as Event, last)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
    return first
  }
}

function isLive(event: Event): boolean {
  return event.fire !== undefined && event.life?.isOver !== true
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order
}

/** The clock of one device: off by `offsetMs`, which may jump. Timers keep true time. */
export class DeviceClock implements Clock {
  offsetMs: number
  life: Life
  readonly #scheduler: Scheduler
  #nsec = 0

  constructor(scheduler: Scheduler, life: Life, offsetMs: number) {
    this.#scheduler = scheduler
    this.life = life
    this.offsetMs = offsetMs
  }

  nowMs(): number {
    return Math.floor(this.#scheduler.nowMs + this.offsetMs)
  }

  now(): { sec: number; nsec: number } {
    const nowMs = this.nowMs()
    this.#nsec = (this.#nsec + 1) % 1_000_000
    return { sec: Math.floor(nowMs / 1000), nsec: (nowMs % 1000) * 1_000_000 + this.#nsec }
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    return this.#scheduler.after(delayMs, fire, this.life)
  }
}
