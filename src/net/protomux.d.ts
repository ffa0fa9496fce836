// The slice of protomux that lattice uses; the package ships no types. A channel's messages are
// numbered in the order in which they were added.

declare module 'protomux' {
  import type SecretStream from '@hyperswarm/secret-stream'

  interface State {
    buffer: Uint8Array
    start: number
    end: number
  }

  interface Encoding<Out, In> {
    preencode(state: State, value: Out): void
    encode(state: State, value: Out): void
    decode(state: State): In
  }

  interface Message<T> {
    /** False: the stream is full; ondrain follows. Also false once the channel is closed. */
    send(value: T): boolean
  }

  interface Channel {
    readonly opened: boolean
    readonly closed: boolean
    readonly drained: boolean
    open(): void
    close(): void
    addMessage<Out, In>(options: {
      encoding: Encoding<Out, In>
      onmessage: (value: In) => void
      autoBatch?: boolean
    }): Message<Out>
  }

  class Protomux {
    static from(stream: SecretStream): Protomux
    readonly stream: SecretStream
    createChannel(options: {
      protocol: string
      id?: Uint8Array | null
      onopen?: () => void
      onclose?: (isRemote: boolean) => void
      ondrain?: () => void
    }): Channel | null
  }

  export default Protomux
}
