// Doors of the pairing in the sync worker: it listens, the conversations are led on the engine's
// thread (remote-doors.ts), frame by frame. They are few and short; both sides bound them.

import type { Door } from '../net/doors.ts'
import type { NoiseStream } from '../net/noise-stream.ts'
import type { TcpListener } from '../net/tcp.ts'
import { listenerDoor } from '../net/pairing/tcp-network.ts'
import { concatBytes } from '../util/bytes.ts'
import type { DoorMessage, EngineTable, WorkerTable } from './sync-protocol.ts'
import type { WorkerCalls } from './worker-calls.ts'

type Engine = Pick<WorkerCalls<EngineTable, WorkerTable>, 'tell'>

export class WorkerDoors {
  readonly #listener: Pick<TcpListener, 'register'>
  readonly #engine: Engine
  readonly #doors = new Map<number, () => void>()
  readonly #streams = new Map<number, NoiseStream>()
  #nextStream = 0

  constructor(listener: Pick<TcpListener, 'register'>, engine: Engine) {
    this.#listener = listener
    this.#engine = engine
  }

  handle(message: DoorMessage): void {
    switch (message.is) {
      case 'open': {
        const { door, secrets } = message
        this.#doors.get(door)?.()
        const made: Door = listenerDoor({ ...secrets, accept: () => undefined })
        this.#doors.set(door, this.#listener.register({
          ...made,
          match: (nonce, tag) => made.match(nonce, tag),
          accept: (stream, _origin, proven) => {
            proven() // it has the code
            this.#accept(door, stream)
          },
        }))
        return
      }
      case 'close':
        this.#doors.get(message.door)?.()
        this.#doors.delete(message.door)
        return
      case 'write':
        this.#streams.get(message.stream)?.write(Buffer.from(message.frame))
        return
      case 'end':
        this.#streams.get(message.stream)?.end()
        return
      case 'destroy':
        this.#streams.get(message.stream)?.destroy()
    }
  }

  close(): void {
    for (const close of this.#doors.values()) close()
    for (const stream of this.#streams.values()) stream.destroy()
    this.#doors.clear()
  }

  #accept(door: number, stream: NoiseStream): void {
    const id = this.#nextStream++
    this.#streams.set(id, stream)
    const { handshakeHash } = stream
    const hash = handshakeHash === null ? null : concatBytes(handshakeHash)
    this.#engine.tell('stream', { is: 'opened', stream: id, door, handshakeHash: hash })
    stream.on('data', (frame: Uint8Array) => {
      this.#engine.tell('stream', { is: 'data', stream: id, frame: concatBytes(frame) })
    })
    stream.on('close', () => {
      this.#streams.delete(id)
      this.#engine.tell('stream', { is: 'closed', stream: id })
    })
  }
}
