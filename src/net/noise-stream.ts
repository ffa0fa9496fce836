// An encrypted, authenticated connection, as lattice sees it: @hyperswarm/secret-stream's stream,
// over TCP or over the DHT's own transport. Whole messages arrive as they were written.

import type SecretStream from '@hyperswarm/secret-stream'

export type NoiseStream = SecretStream

export interface NoiseKeyPair {
  publicKey: Uint8Array
  /** 64 bytes, Ed25519 as in crypto/sign.ts. */
  secretKey: Uint8Array
}

/** How a connection came about. */
export type Transport = 'tcp' | 'dht'

export interface StreamOrigin {
  transport: Transport
  /** True for the side that dialled. */
  isDialler: boolean
  /** "host:port" of the other side, for people to read. */
  address: string
}
