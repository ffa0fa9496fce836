// Doors: how one listening port serves several keys without telling strangers any of them.
//
//   first bytes of a TCP connection, in clear:   nonce 8 ‖ tag 16
//
// The tag depends on a key that only members (or the holder of an invite) have, and on the device
// that is dialled; see network-keys.ts. Whoever listens asks each of its doors whether the tag is
// its own. Behind the matching one stands a Noise key pair, with which the handshake goes on (IK:
// who dials must know its public half). No door: the connection is closed after a fixed time, and
// a stranger learns that something listens, nothing else. A recorded tag opens a door again, but
// not the handshake behind it.
//
// A vault has a door (vault-door.ts), and each pending invite has one. tcp-listener.ts lists them.

import type { NoiseKeyPair, NoiseStream, StreamOrigin } from './noise-stream.ts'

export const DOOR_NONCE_BYTES = 8
export const DOOR_TAG_BYTES = 16
export const DOOR_BYTES = DOOR_NONCE_BYTES + DOOR_TAG_BYTES

/** The side that listens. */
export interface Door {
  /** For logs. */
  readonly name: string
  /** The key pair behind the door when the tag is its own. Must not throw. */
  match(nonce: Uint8Array, tag: Uint8Array): NoiseKeyPair | undefined
  /**
   * The Noise handshake is done, and nothing is proven. The door owns the stream: it must end it
   * within a few seconds unless the other side proves itself, and call `proven` then, which takes
   * the stream out of the listener's count of strangers. Error handlers are attached already.
   */
  accept(stream: NoiseStream, origin: StreamOrigin, proven: () => void): void
}

/** The side that dials. */
export interface DialDoor {
  /** The Noise key of whom is dialled. */
  readonly remotePublicKey: Uint8Array
  /** 16 bytes for this nonce (8 random ones). */
  tag(nonce: Uint8Array): Uint8Array
}
