// Work that takes long, as a client without a stream follows it: the first question begins it, the
// same question again tells how far it is. It goes on when nobody asks; what it came to is told
// once, and forgotten when nobody asks for it soon.

import { setTimeout as delay } from 'node:timers/promises'

/** An answer comes by then. */
const STEP_MS = 500
const FORGOTTEN_MS = 10_000

/** Begun: what can be told of it at any time, and its end, which may reject. */
export interface Work<State> {
  state: () => State
  ended: Promise<void>
}

interface Running<State> extends Work<State> {
  /** Resolves, true, whatever it came to. */
  settled: Promise<true>
  failure: unknown
  endedMs: number | undefined
}

export class Steps<State> {
  readonly #running = new Map<string, Running<State>>()

  /** Rejects with what the work rejected with. */
  async step(key: string, begin: () => Work<State>): Promise<{ state: State; isDone: boolean }> {
    let running = this.#running.get(key)
    const isOld = (running?.endedMs ?? Infinity) < performance.now() - FORGOTTEN_MS
    if (running === undefined || isOld) {
      running = watched(begin())
      this.#running.set(key, running)
    }
    const isDone = await Promise.race([running.settled, delay(STEP_MS, false)])
    if (!isDone) return { state: running.state(), isDone }
    if (this.#running.get(key) === running) this.#running.delete(key)
    if (running.failure !== undefined) throw running.failure
    return { state: running.state(), isDone }
  }
}

function watched<State>(work: Work<State>): Running<State> {
  const running: Running<State> = {
    ...work, settled: Promise.resolve(true), failure: undefined, endedMs: undefined,
  }
  const end = (failure: unknown): true => {
    running.failure = failure
    running.endedMs = performance.now()
    return true
  }
  running.settled = work.ended.then(() => end(undefined), (error: unknown) => end(error))
  return running
}
