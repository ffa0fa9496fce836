// One pairing connection as frames that are asked for: bounded in size and number, each wait
// bounded in time. What the other side does wrong ends the connection with a named reason.

import { LatticeError } from '../../util/errors.ts'
import type { PairingStream } from './ports.ts'

export const FRAME_MAX_BYTES = 1 << 20
const QUEUE_MAX = 4

export class Frames {
  readonly handshakeHash: Uint8Array
  readonly #stream: PairingStream
  readonly #queue: Uint8Array[] = []
  #waiting: (() => void) | undefined
  #failure: LatticeError | undefined

  /** Takes the stream over. Throws 'pairing-protocol' when its handshake is not done. */
  constructor(stream: PairingStream) {
    this.#stream = stream
    stream.on('error', (cause) => this.#fail(gone(cause)))
    stream.on('close', () => this.#fail(gone()))
    stream.on('data', (frame) => this.#take(frame))
    if (stream.handshakeHash === null || stream.handshakeHash.length < 32) {
      stream.destroy()
      throw new LatticeError('pairing-protocol', 'the connection is not encrypted')
    }
    this.handshakeHash = new Uint8Array(stream.handshakeHash)
  }

  send(frame: Uint8Array): void {
    if (this.#failure === undefined) this.#stream.write(frame)
  }

  /** The next; one at a time. Rejects 'closed', 'timeout', 'pairing-protocol', 'cancelled'. */
  async next(timeoutMs: number, signal?: AbortSignal): Promise<Uint8Array> {
    const late = new LatticeError('timeout', 'the other device does not answer', {
      hint: 'try again with both devices at hand',
    })
    const abort = (): void => this.#fail(new LatticeError('cancelled', 'cancelled'))
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    const timer = setTimeout(() => this.#fail(late), timeoutMs)
    try {
      for (;;) {
        const frame = this.#queue.shift()
        if (frame !== undefined) return frame
        if (this.#failure !== undefined) throw this.#failure
        await new Promise<void>((resolve) => {
          this.#waiting = resolve
        })
      }
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Sends what was written and closes; nothing more is received. Idempotent. */
  close(): void {
    this.#fail(gone())
    this.#stream.end()
    setTimeout(() => this.#stream.destroy(), 2000).unref()
  }

  #take(frame: Uint8Array): void {
    if (this.#failure !== undefined || frame.length === 0) return
    if (frame.length > FRAME_MAX_BYTES || this.#queue.length >= QUEUE_MAX) {
      this.#stream.destroy()
      this.#fail(protocolError('frames', 'the other device sends too much'))
      return
    }
    this.#queue.push(frame)
    this.#wake()
  }

  /** What has come before is still given out. */
  #fail(failure: LatticeError): void {
    this.#failure ??= failure
    this.#wake()
  }

  #wake(): void {
    this.#waiting?.()
    this.#waiting = undefined
  }
}

export function protocolError(rule: string, what: string): LatticeError {
  return new LatticeError('pairing-protocol', what, {
    hint: 'the two devices may run different versions of lattice',
    details: { rule },
  })
}

function gone(cause?: Error): LatticeError {
  return new LatticeError('closed', 'the other device went away while pairing', {
    hint: 'try again: nothing is joined by halves',
    ...(cause === undefined ? {} : { cause }),
  })
}
