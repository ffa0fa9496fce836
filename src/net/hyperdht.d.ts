// The slices of hyperdht, blind-relay and multicast-dns that lattice uses; they ship no types.

declare module 'hyperdht' {
  import type { EventEmitter } from 'node:events'
  import type SecretStream from '@hyperswarm/secret-stream'

  interface Address {
    host: string
    port: number
  }

  interface Pair {
    publicKey: Uint8Array
    secretKey: Uint8Array
  }

  interface Query extends AsyncIterable<{
    peers: { publicKey: Buffer; relayAddresses: Address[] }[]
  }> {
    finished(): Promise<void>
    destroy(): void
  }

  interface Server extends EventEmitter {
    readonly relayAddresses: Address[]
    listen(keyPair: Pair): Promise<void>
    close(): Promise<void>
  }

  type RelayThrough = Uint8Array | Uint8Array[] | (() => Uint8Array | null) | null

  interface Options {
    bootstrap?: (string | Address)[]
    host?: string
    port?: number
    ephemeral?: boolean
    firewalled?: boolean
    anyPort?: boolean
    keyPair?: Pair
    connectionKeepAlive?: number
  }

  class HyperDHT extends EventEmitter {
    constructor(options?: Options)
    static bootstrapper(port: number, host: string, options?: Options): HyperDHT
    static keyPair(seed?: Uint8Array): { publicKey: Buffer; secretKey: Buffer }
    readonly online: boolean
    readonly host: string
    readonly port: number
    createServer(
      options: {
        firewall?: (publicKey: Buffer, payload: unknown, address: unknown) => boolean
        relayThrough?: RelayThrough
        shareLocalAddress?: boolean
      },
      onConnection: (stream: SecretStream) => void,
    ): Server
    createRawStream(options?: object): unknown
    connect(
      publicKey: Buffer,
      options: { keyPair?: Pair; relayAddresses?: Address[]; relayThrough?: RelayThrough },
    ): SecretStream
    announce(topic: Buffer, keyPair: Pair, relayAddresses: Address[]): Query
    unannounce(topic: Buffer, keyPair: Pair): Promise<void>
    lookup(topic: Buffer): Query
    address(): Address | null
    fullyBootstrapped(): Promise<void>
    suspend(): Promise<void>
    resume(): Promise<void>
    destroy(options?: { force?: boolean }): Promise<void>
  }

  export default HyperDHT
}

declare module 'hyperdht/testnet.js' {
  import type HyperDHT from 'hyperdht'

  export default function createTestnet(
    size: number, options?: { host?: string },
  ): Promise<{
    nodes: HyperDHT[]
    bootstrap: { host: string; port: number }[]
    destroy(): Promise<void>
  }>
}

declare module 'blind-relay' {
  import type { EventEmitter } from 'node:events'
  import type SecretStream from '@hyperswarm/secret-stream'

  export class Server {
    constructor(options: { createStream: (options?: object) => unknown })
    readonly stats: { pairings: { active: number; matched: number } }
    accept(stream: SecretStream, options: { id: Uint8Array | null }): EventEmitter
    close(): Promise<void>
  }
}

declare module 'multicast-dns' {
  import type { EventEmitter } from 'node:events'

  interface Record {
    name: string
    type: string
    ttl?: number
    data?: unknown
  }

  interface Packet {
    questions?: { name: string; type: string }[]
    answers?: Record[]
    additionals?: Record[]
  }

  interface Mdns extends EventEmitter {
    query(packet: Packet, done?: (error: Error | null) => void): void
    respond(packet: Packet, done?: (error: Error | null) => void): void
    destroy(done?: () => void): void
  }

  export default function multicastDns(options?: {
    port?: number
    ip?: string
    interface?: string
    loopback?: boolean
    /** Where the socket is bound; on an interface's own address nothing multicast arrives. */
    bind?: string
  }): Mdns
}
