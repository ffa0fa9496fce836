// The engine's side of the doors that the sync worker listens at (worker-doors.ts): what pairing
// needs of the network. Doors outlive a worker: another one is told of them.

import type {
  Address, DoorSecrets, PairingDoor, PairingNetwork, PairingStream,
} from '../net/pairing/ports.ts'
import { dialAny } from '../net/pairing/tcp-network.ts'
import type { DoorMessage, StreamMessage } from './sync-protocol.ts'

export class RemoteDoors implements PairingNetwork {
  readonly #doors = new Map<number, PairingDoor>()
  readonly #streams = new Map<number, RemoteStream>()
  #nextDoor = 0
  #tell: ((message: DoorMessage) => void) | undefined
  #addresses: readonly Address[] = []

  /** A worker runs, and can be reached there. */
  connect(tell: (message: DoorMessage) => void, addresses: readonly Address[]): void {
    this.#tell = tell
    this.#addresses = addresses
    for (const [id, door] of this.#doors) tell(openMessage(id, door))
  }

  disconnect(): void {
    this.#tell = undefined
    this.#addresses = []
    for (const stream of this.#streams.values()) stream.closed()
    this.#streams.clear()
  }

  open(door: PairingDoor): () => void {
    const id = this.#nextDoor++
    this.#doors.set(id, door)
    this.#tell?.(openMessage(id, door))
    return () => {
      if (this.#doors.delete(id)) this.#tell?.({ is: 'close', door: id })
    }
  }

  dial(
    addresses: readonly Address[], door: DoorSecrets, signal: AbortSignal,
  ): Promise<PairingStream> {
    return dialAny(addresses, door, signal)
  }

  addresses(): Address[] {
    return [...this.#addresses]
  }

  /** From the worker. */
  receive(message: StreamMessage): void {
    if (message.is === 'opened') {
      const door = this.#doors.get(message.door)
      const stream = new RemoteStream(message.stream, message.handshakeHash, (out) => {
        this.#tell?.(out)
      })
      if (door === undefined) {
        stream.destroy()
        return
      }
      this.#streams.set(message.stream, stream)
      door.accept(stream)
      return
    }
    const stream = this.#streams.get(message.stream)
    if (message.is === 'data') {
      stream?.received(message.frame)
      return
    }
    this.#streams.delete(message.stream)
    stream?.closed()
  }
}

class RemoteStream implements PairingStream {
  readonly handshakeHash: Uint8Array | null
  readonly #id: number
  readonly #tell: (message: DoorMessage) => void
  readonly #data: ((frame: Uint8Array) => void)[] = []
  readonly #close: (() => void)[] = []
  #isClosed = false

  constructor(
    id: number, handshakeHash: Uint8Array | null, tell: (message: DoorMessage) => void,
  ) {
    this.#id = id
    this.handshakeHash = handshakeHash
    this.#tell = tell
  }

  write(frame: Uint8Array): boolean {
    this.#tell({ is: 'write', stream: this.#id, frame })
    return true
  }

  end(): void {
    this.#tell({ is: 'end', stream: this.#id })
  }

  destroy(): void {
    this.#tell({ is: 'destroy', stream: this.#id })
    this.closed()
  }

  on(event: 'data', heard: (frame: Uint8Array) => void): unknown
  on(event: 'close', heard: () => void): unknown
  on(event: 'error', heard: (error: Error) => void): unknown
  on(event: string, heard: unknown): unknown {
    if (event === 'data') this.#data.push(heard as (frame: Uint8Array) => void)
    if (event === 'close') this.#close.push(heard as () => void)
    return this
  }

  received(frame: Uint8Array): void {
    for (const heard of this.#data) heard(frame)
  }

  /** Tells it once. */
  closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    queueMicrotask(() => {
      for (const heard of this.#close) heard()
    })
  }
}

function openMessage(id: number, { tagKey, noise, topic }: PairingDoor): DoorMessage {
  const secrets = {
    tagKey: new Uint8Array(tagKey),
    noise: {
      publicKey: Buffer.from(noise.publicKey), secretKey: Buffer.from(noise.secretKey),
    },
    topic: new Uint8Array(topic),
  }
  return { is: 'open', door: id, secrets }
}
