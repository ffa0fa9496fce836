// Connections over plain TCP, for the local network and for addresses that somebody wrote down: a
// third of the CPU time that the DHT's transport takes, and clear errors. One port serves all doors
// (doors.ts): 24 bytes in clear choose the door, the Noise handshake (IK) follows.
//
// A connection whose first bytes open no door is not closed at once: it ends when its time as a
// stranger is over, like one that says nothing.

import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import NoiseSecretStream from '@hyperswarm/secret-stream'
import { randomBytes } from '../crypto/random.ts'
import { signKeyPair } from '../crypto/sign.ts'
import { concatBytes } from '../util/bytes.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import { DOOR_BYTES, DOOR_NONCE_BYTES } from './doors.ts'
import type { DialDoor, Door } from './doors.ts'
import type { NoiseKeyPair, NoiseStream } from './noise-stream.ts'
import type { HostPort, NetLog } from './ports.ts'
import { Strangers } from './strangers.ts'

/** An idle connection sends something this often, and is given up when nothing came for so long. */
export const KEEP_ALIVE_MS = 5000
export const SILENCE_MAX_MS = 15_000

export const DIAL_TIMEOUT_MS = 5000
/** Whoever listens behind this door answers within a round trip; others stay silent. */
const HANDSHAKE_TIMEOUT_MS = 2500

export interface ListenOptions {
  /** All interfaces by default. */
  host?: string | undefined
  /** Any free one by default. */
  port?: number | undefined
  strangers?: Strangers | undefined
  log?: NetLog | undefined
}

export class TcpListener {
  readonly #server: Server
  readonly #strangers: Strangers
  readonly #log: NetLog
  readonly #doors = new Set<Door>()
  readonly #sockets = new Set<Socket>()

  /** Rejects 'busy' when the port is taken, 'denied', or 'io'. */
  static async open(options: ListenOptions = {}): Promise<TcpListener> {
    const listener = new TcpListener(options)
    await listener.#listen(options)
    return listener
  }

  private constructor(options: ListenOptions) {
    this.#strangers = options.strangers ?? new Strangers()
    this.#log = options.log ?? (() => undefined)
    this.#server = createServer({ noDelay: true }, (socket) => this.#greet(socket))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** How many connections have proven nothing. */
  get strangers(): number {
    return this.#strangers.count
  }

  /** Returns what takes the door away; its connections stay. */
  register(door: Door): () => void {
    this.#doors.add(door)
    return () => void this.#doors.delete(door)
  }

  /** Ends all connections, proven ones too. */
  async close(): Promise<void> {
    this.#doors.clear()
    this.#strangers.close()
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #listen(options: ListenOptions): Promise<void> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        const isTaken = errnoName(error) === 'EADDRINUSE'
        const cause = { cause: error }
        reject(isTaken
          ? new LatticeError('busy', `port ${options.port ?? 0} is in use`, cause)
          : fromSystemError(error, 'listen'))
      })
      server.listen({ host: options.host, port: options.port ?? 0 }, () => resolve())
    })
    server.removeAllListeners('error')
    server.on('error', (error) => this.#log('warn', 'listener', { reason: error.message }))
  }

  #greet(socket: Socket): void {
    const host = socket.remoteAddress ?? ''
    const address = hostPortText({ host, port: socket.remotePort ?? 0 })
    this.#sockets.add(socket)
    const stranger = this.#strangers.admit(host, (reason) => {
      this.#log('debug', 'stranger-ended', { address, reason })
      socket.destroy()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#sockets.delete(socket)
      stranger.gone()
    })
    // by reading, not by events: what follows the first bytes stays in the socket for the handshake
    const onReadable = (): void => {
      const head: Uint8Array | null = socket.read(DOOR_BYTES)
      if (head === null) return
      socket.removeListener('readable', onReadable)
      const match = head.length === DOOR_BYTES ? this.#find(head) : undefined
      if (match === undefined) {
        // to its end as a stranger nothing is read from it any more
        socket.pause()
        this.#log('debug', 'no-door', { address })
        return
      }
      const { door, keyPair } = match
      const stream = wrap(socket, false, { keyPair })
      stream.on('connect', () => {
        door.accept(stream, { transport: 'tcp', isDialler: false, address }, stranger.proven)
      })
    }
    socket.on('readable', onReadable)
  }

  #find(head: Uint8Array): { door: Door; keyPair: NoiseKeyPair } | undefined {
    const nonce = head.subarray(0, DOOR_NONCE_BYTES)
    const tag = head.subarray(DOOR_NONCE_BYTES, DOOR_BYTES)
    for (const door of this.#doors) {
      const keyPair = door.match(nonce, tag)
      if (keyPair !== undefined) return { door, keyPair }
    }
    return undefined
  }
}

export interface DialOptions {
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * A connection on which the handshake is done; the key is a throwaway one, so that the other side
 * knows nothing about this one yet. An error handler is attached: listen to 'close'. Rejects
 * 'unreachable' (nobody listens there), 'refused' (it listens, but not behind this door), 'timeout'
 * or 'cancelled'.
 */
export async function dial(
  to: HostPort, door: DialDoor, options: DialOptions = {},
): Promise<NoiseStream> {
  if (options.signal?.aborted === true) throw new LatticeError('cancelled', 'dialling was ended')
  const socket = connect({ host: to.host, port: to.port, noDelay: true })
  const nonce = randomBytes(DOOR_NONCE_BYTES)
  socket.write(concatBytes(nonce, door.tag(nonce)))
  const keyPair = throwawayKeyPair()
  const { remotePublicKey } = door
  const stream = wrap(socket, true, { keyPair, remotePublicKey })
  const text = hostPortText(to)
  return await new Promise<NoiseStream>((resolve, reject) => {
    let failure: Error | undefined
    let isConnected = false
    const fail = (error: Error): void => {
      failure ??= error
      stream.destroy()
    }
    const shut = new LatticeError('refused', `${text} does not open`)
    let timer = setTimeout(() => {
      fail(new LatticeError('timeout', `${text} does not answer`))
    }, options.timeoutMs ?? DIAL_TIMEOUT_MS)
    socket.once('connect', () => {
      isConnected = true
      clearTimeout(timer)
      timer = setTimeout(() => fail(shut), HANDSHAKE_TIMEOUT_MS)
    })
    const onAbort = (): void => fail(new LatticeError('cancelled', 'dialling was ended'))
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const settle = (): void => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', onAbort)
      stream.removeListener('close', onClose)
    }
    const onClose = (): void => {
      settle()
      reject(failure ?? (isConnected
        ? shut
        : new LatticeError('unreachable', `${text} cannot be reached`)))
    }
    stream.once('close', onClose)
    stream.once('connect', () => {
      settle()
      resolve(stream)
    })
  })
}

/** A key pair of nobody's. */
export function throwawayKeyPair(): NoiseKeyPair {
  return signKeyPair(randomBytes(32))
}

export function hostPortText(at: HostPort): string {
  return at.host.includes(':') ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`
}

function wrap(
  socket: Socket,
  isDialler: boolean,
  options: { keyPair: NoiseKeyPair; remotePublicKey?: Uint8Array },
): NoiseStream {
  const keyPair = {
    publicKey: Buffer.from(options.keyPair.publicKey),
    secretKey: Buffer.from(
      options.keyPair.secretKey.buffer,
      options.keyPair.secretKey.byteOffset,
      options.keyPair.secretKey.length,
    ),
  }
  const remote = options.remotePublicKey
  const stream = new NoiseSecretStream(isDialler, socket, {
    pattern: 'IK',
    keyPair,
    keepAlive: KEEP_ALIVE_MS,
    ...(remote === undefined ? {} : { remotePublicKey: Buffer.from(remote) }),
  })
  stream.setTimeout(SILENCE_MAX_MS)
  // whoever uses the stream hears of its end by 'close'; an error without a handler ends a process
  stream.on('error', () => undefined)
  socket.on('error', () => undefined)
  return stream
}
