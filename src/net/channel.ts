// The one Protomux channel 'lattice/0' of a connection: puts messages on it and hands over those
// that come, whole and validated by messages.ts. What a handler or a decoder throws ends the
// connection, with the broken rule as the reason. Beside it on the same stream run Hypercore's
// channels; a part of a bundle is at most 128 KiB, so that nothing there waits long.

import Protomux from 'protomux'
import { must } from '../util/assert.ts'
import { writeU32 } from '../util/bytes.ts'
import { isLatticeError } from '../util/errors.ts'
import { MESSAGES, PART_HEADER_BYTES } from './messages.ts'
import type { MessageName, Part } from './messages.ts'
import type { NoiseStream } from './noise-stream.ts'

type SendBytes = { send(bytes: Uint8Array): boolean }
type State = { buffer: Uint8Array; start: number; end: number }

const UNREAD_MAX_BYTES = 8 * 1024 * 1024

export type Handlers = Record<MessageName, (bytes: Uint8Array) => void>

export interface ChannelEvents {
  handlers: Handlers
  onOpen: () => void
  onDrain: () => void
  /** Once. A rule of the protocol, 'closed', or 'internal' with the error. */
  onEnd: (reason: string, error?: unknown) => void
}

const BYTES = {
  preencode: (state: State, bytes: Uint8Array) => void (state.end += bytes.length),
  encode: (state: State, bytes: Uint8Array) => {
    state.buffer.set(bytes, state.start)
    state.start += bytes.length
  },
  decode: (state: State) => state.buffer.subarray(state.start, state.end),
}

/** Written straight into the buffer that is encrypted in place: one copy. */
const PART = {
  preencode: (state: State, part: Part) => {
    state.end += PART_HEADER_BYTES + part.bytes.length
  },
  encode: (state: State, part: Part) => {
    writeU32(state.buffer, state.start, part.request)
    writeU32(state.buffer, state.start + 4, part.offset)
    state.buffer.set(part.bytes, state.start + PART_HEADER_BYTES)
    state.start += PART_HEADER_BYTES + part.bytes.length
  },
  decode: BYTES.decode,
}

export class PeerChannel {
  readonly #stream: NoiseStream
  readonly #senders = new Map<MessageName, SendBytes>()
  readonly #parts: { send(part: Part): boolean }
  readonly #events: ChannelEvents
  #isOver = false
  #unreadBytes = 0

  constructor(stream: NoiseStream, vaultId: Uint8Array, events: ChannelEvents) {
    this.#stream = stream
    this.#events = events
    const channel = Protomux.from(stream).createChannel({
      protocol: 'lattice/0',
      id: Buffer.from(vaultId),
      onopen: events.onOpen,
      ondrain: () => {
        this.#unreadBytes = 0
        events.onDrain()
      },
      onclose: () => this.end('closed'),
    })
    if (channel === null) throw new Error('a second channel on one connection')
    let parts: { send(part: Part): boolean } | undefined
    for (const name of MESSAGES) {
      const onmessage = (bytes: Uint8Array): void => this.#receive(name, bytes)
      const rest = { onmessage, autoBatch: false }
      if (name === 'part') parts = channel.addMessage({ encoding: PART, ...rest })
      else this.#senders.set(name, channel.addMessage({ encoding: BYTES, ...rest }))
    }
    this.#parts = must(parts, 'parts have a message')
    channel.open()
  }

  /** Bytes on the wire so far. */
  get bytesIn(): number {
    return this.#stream.rawBytesRead
  }

  get bytesOut(): number {
    return this.#stream.rawBytesWritten
  }

  send(name: MessageName, bytes: Uint8Array): void {
    if (this.#isOver || this.#senders.get(name)?.send(bytes) === true) return
    // whoever asks without reading the answers does not fill this side's memory
    this.#unreadBytes += bytes.length
    if (this.#unreadBytes > UNREAD_MAX_BYTES) this.end('not-reading')
  }

  /** False while the stream wants to be left alone; onDrain follows. */
  sendPart(part: Part): boolean {
    return !this.#isOver && this.#parts.send(part)
  }

  /** Ends the whole connection. Idempotent. */
  end(reason: string, error?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stream.destroy()
    this.#events.onEnd(reason, error)
  }

  #receive(name: MessageName, bytes: Uint8Array): void {
    if (this.#isOver) return
    try {
      this.#events.handlers[name](bytes)
    } catch (error) {
      if (!isLatticeError(error)) this.end('internal', error)
      else this.end(String(error.details['rule'] ?? `${name}-${error.code}`), error)
    }
  }
}
