// The slice of @hyperswarm/secret-stream that lattice uses; the package ships no types.

declare module '@hyperswarm/secret-stream' {
  import type { EventEmitter } from 'node:events'

  interface KeyPair {
    publicKey: Uint8Array
    secretKey: Uint8Array
  }

  interface Options {
    pattern?: 'IK' | 'XX'
    keyPair?: KeyPair
    remotePublicKey?: Uint8Array
    keepAlive?: number
    /** Bytes of the raw stream that were read already. */
    data?: Uint8Array
  }

  class NoiseSecretStream extends EventEmitter {
    constructor(isInitiator: boolean, rawStream: unknown, options?: Options)
    readonly isInitiator: boolean
    readonly publicKey: Buffer | null
    readonly remotePublicKey: Buffer | null
    /** 64 bytes once connected; bound to both sides' keys and everything they said. */
    readonly handshakeHash: Buffer | null
    readonly connected: boolean
    readonly destroyed: boolean
    readonly destroying: boolean
    readonly rawBytesWritten: number
    readonly rawBytesRead: number
    readonly rawStream: unknown
    readonly opened: Promise<boolean>
    userData: unknown
    setTimeout(ms: number): void
    setKeepAlive(ms: number): void
    sendKeepAlive(): void
    /** False: wait for 'drain'. */
    write(bytes: Uint8Array): boolean
    end(): void
    destroy(error?: Error): void
    pause(): void
    resume(): void
    flush(): Promise<boolean>
  }

  export default NoiseSecretStream
}
