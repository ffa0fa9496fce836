// What pairing needs of the network, and of who composes it. A stream is a Noise stream whose
// handshake is done (NoiseSecretStream fits), or anything that hands whole frames over in order.

import type { SignKeyPair } from '../../crypto/sign.ts'
import type { HostPort } from '../ports.ts'

export type Address = HostPort

/** Whole frames, in order. Emits 'data' with each, 'close' once, perhaps 'error' before it. */
export interface PairingStream {
  /** Of the Noise handshake; both ends have the same and no other connection has it. */
  readonly handshakeHash: Uint8Array | null
  write(frame: Uint8Array): boolean
  /** Sends what was written, then closes. */
  end(): unknown
  destroy(error?: Error): unknown
  on(event: 'data', heard: (frame: Uint8Array) => void): unknown
  on(event: 'close', heard: () => void): unknown
  on(event: 'error', heard: (error: Error) => void): unknown
}

/** What the dialler and the listener of a door share (secrets.ts). */
export interface DoorSecrets {
  /** Tags the first bytes of a connection, so that a listener knows which door is meant. */
  tagKey: Uint8Array
  /** Static Noise key of the listener: whoever does not know it cannot begin the handshake. */
  noise: SignKeyPair
  /** For announcing and looking up, 32 bytes. */
  topic: Uint8Array
}

export interface PairingDoor extends DoorSecrets {
  /** Who came through it. The receiver closes it. */
  accept(stream: PairingStream): void
}

export interface PairingNetwork {
  /** Listens at the door (TCP, and announced on its topic) until the returned function is
   *  called. */
  open(door: PairingDoor): () => void
  /**
   * Tries the addresses, the topic and the LAN at once; the first stream wins. Rejects
   * LatticeError 'invite-unknown' (somebody is there and closed: no such door), 'inviter-offline'
   * (nobody answers), 'no-route' (nothing to try, or this machine has no network), 'cancelled'.
   */
  dial(
    addresses: readonly Address[], door: DoorSecrets, signal: AbortSignal,
  ): Promise<PairingStream>
  /** Where this device can be reached, best first; none while it does not listen. */
  addresses(): Address[]
}
