// Streams for pairing without a network: two ends in memory with one handshake hash, and one in
// between that both sides take for the other.
import { EventEmitter } from 'node:events'
import { randomBytes } from '../../../src/crypto/random.ts'
import type { PairingStream } from '../../../src/net/pairing/ports.ts'

export class MemoryStream extends EventEmitter implements PairingStream {
  readonly handshakeHash: Uint8Array
  peer: MemoryStream | undefined
  /** Looks at, changes or drops what this end sends. */
  send: (frame: Uint8Array) => Uint8Array | undefined = (frame) => frame
  readonly sent: Uint8Array[] = []
  isClosed = false

  constructor(handshakeHash: Uint8Array) {
    super()
    this.handshakeHash = handshakeHash
  }

  write(frame: Uint8Array): boolean {
    if (this.isClosed) return false
    const copy = this.send(Uint8Array.from(frame))
    if (copy === undefined) return true
    this.sent.push(copy)
    setImmediate(() => {
      if (this.peer?.isClosed === false) this.peer.emit('data', copy)
    })
    return true
  }

  end(): void {
    setImmediate(() => this.destroy())
  }

  destroy(error?: Error): void {
    if (this.isClosed) return
    this.isClosed = true
    if (error !== undefined) this.emit('error', error)
    this.emit('close')
    setImmediate(() => this.peer?.destroy())
  }
}

export function memoryPair(): [MemoryStream, MemoryStream] {
  const hash = randomBytes(64)
  const [one, two] = [new MemoryStream(hash), new MemoryStream(hash)]
  one.peer = two
  two.peer = one
  return [one, two]
}
