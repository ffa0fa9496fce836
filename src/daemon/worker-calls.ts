// Questions and answers between two threads over one port: each side asks by name and answers what
// it is asked; what needs no answer is told. Errors keep their code and hint. Nothing is retried;
// when the port closes, every question that is open is rejected with 'closed'.

import { LatticeError } from '../util/errors.ts'
import type { ErrorCode, ErrorDetails } from '../util/errors.ts'

/** What a port of worker_threads is, as far as it is used. */
export interface CallPort {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'close', listener: () => void): unknown
}

/** Name → question and answer. */
export type CallTable = Record<string, { ask: unknown; answer: unknown }>

export type Handlers<Table extends CallTable> = {
  [Name in keyof Table]: (
    ask: Table[Name]['ask'],
  ) => Table[Name]['answer'] | Promise<Table[Name]['answer']>
}

type Message =
  | { is: 'ask'; id: number; name: string; value: unknown }
  | { is: 'answer'; id: number; value: unknown }
  | { is: 'failed'; id: number; error: PlainError }
  | { is: 'told'; name: string; value: unknown }

interface PlainError {
  code: ErrorCode
  message: string
  hint: string | undefined
  details: ErrorDetails
}

interface Waiter {
  resolve: (value: unknown) => void
  reject: (error: Error) => void
}

/** `Theirs`: what the other side answers; `Ours`: what this side does. */
export class WorkerCalls<Theirs extends CallTable, Ours extends CallTable> {
  readonly #port: CallPort
  readonly #handlers: Handlers<Ours>
  readonly #waiting = new Map<number, Waiter>()
  readonly #onTrouble: (error: unknown) => void
  #nextId = 0
  #isClosed = false

  /** `onTrouble`: told when something that was told could not be handled. */
  constructor(port: CallPort, handlers: Handlers<Ours>, onTrouble: (error: unknown) => void) {
    this.#port = port
    this.#handlers = handlers
    this.#onTrouble = onTrouble
    port.on('message', (message) => this.#receive(message as Message))
    port.on('close', () => this.close())
  }

  /** Rejects with the other side's error, or 'closed'. */
  ask<Name extends keyof Theirs & string>(
    name: Name, value: Theirs[Name]['ask'], transfer?: readonly ArrayBuffer[],
  ): Promise<Theirs[Name]['answer']> {
    if (this.#isClosed) return Promise.reject(closed())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.#port.postMessage({ is: 'ask', id, name, value } satisfies Message, transfer)
    })
  }

  /** Without an answer; in order with everything else that is sent. */
  tell<Name extends keyof Theirs & string>(name: Name, value: Theirs[Name]['ask']): void {
    if (!this.#isClosed) this.#port.postMessage({ is: 'told', name, value } satisfies Message)
  }

  /** Idempotent; the port stays the caller's. */
  close(): void {
    this.#isClosed = true
    for (const { reject } of this.#waiting.values()) reject(closed())
    this.#waiting.clear()
  }

  #receive(message: Message): void {
    if (this.#isClosed) return
    switch (message.is) {
      case 'ask':
        this.#handle(message.name, message.value).then(
          (value) => this.#post({ is: 'answer', id: message.id, value }),
          (error: unknown) => this.#post({ is: 'failed', id: message.id, error: plain(error) }),
        )
        return
      case 'told':
        this.#handle(message.name, message.value).catch(this.#onTrouble)
        return
      case 'answer':
      case 'failed': {
        const waiter = this.#waiting.get(message.id)
        this.#waiting.delete(message.id)
        if (message.is === 'answer') waiter?.resolve(message.value)
        else waiter?.reject(revived(message.error))
        return
      }
    }
  }

  async #handle(name: string, value: unknown): Promise<unknown> {
    const handlers = this.#handlers as Record<string, ((ask: unknown) => unknown) | undefined>
    return handlers[name]?.(value)
  }

  #post(message: Message): void {
    if (!this.#isClosed) this.#port.postMessage(message)
  }
}

function plain(error: unknown): PlainError {
  if (error instanceof LatticeError) {
    const { code, message, hint, details } = error
    return { code, message, hint, details }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'internal', message, hint: undefined, details: {} }
}

function revived({ code, message, hint, details }: PlainError): LatticeError {
  return new LatticeError(code, message, { hint, details })
}

function closed(): LatticeError {
  return new LatticeError('closed', 'the other thread has ended')
}
