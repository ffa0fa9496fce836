// Something that a command waits for in steps: it has a revision, which changes with every change,
// and whoever knows an older one is woken. Commands ask over HTTP, so each wait is bounded.

export class Watched {
  #revision = 1
  readonly #waiting = new Set<() => void>()

  get revision(): number {
    return this.#revision
  }

  changed(): void {
    this.#revision += 1
    for (const wake of Array.from(this.#waiting)) wake()
  }

  /** Resolves when the revision is another than `seen`, or after `timeoutMs`. */
  async wait(seen: number, timeoutMs: number): Promise<void> {
    if (this.#revision !== seen) return
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, timeoutMs)
      this.#waiting.add(wake)
    })
  }
}

/** A question to the person at this device: asked once, answered by a command or given up. */
export class Question {
  #answer: ((decision: Decision) => void) | undefined

  get isOpen(): boolean {
    return this.#answer !== undefined
  }

  /** Gives "gone" when the signal says that nobody waits any more. */
  ask(signal: AbortSignal): Promise<Decision> {
    return new Promise((resolve) => {
      const settle = (decision: Decision): void => {
        this.#answer = undefined
        signal.removeEventListener('abort', abort)
        resolve(decision)
      }
      const abort = (): void => settle('gone')
      if (signal.aborted) return resolve('gone')
      signal.addEventListener('abort', abort, { once: true })
      this.#answer = settle
    })
  }

  /** False when nothing is asked. */
  answer(decision: Decision): boolean {
    const answer = this.#answer
    answer?.(decision)
    return answer !== undefined
  }
}

/** 'gone': the other side ended it first. */
export type Decision = 'same' | 'differ' | 'refuse' | 'gone'
