// Meeting over the internet: a node in a distributed hash table (hyperdht) that announces under a
// topic, looks others up, and makes connections through routers that let nobody in, with a relay if
// there is one. Nothing here is waited for by whoever opens a vault: without a network it tries on
// in silence.
//
// Hyperswarm, which stands on the same table, is not used: it dials with the key that it announces,
// and dials whoever it finds. Here whoever dials uses a throwaway key, and devices that are
// connected already are left alone.

import HyperDHT from 'hyperdht'
import { LatticeError } from '../util/errors.ts'
import type { NoiseKeyPair, NoiseStream } from './noise-stream.ts'
import type { HostPort, NetLog } from './ports.ts'
import { SILENCE_MAX_MS, hostPortText, throwawayKeyPair } from './tcp.ts'

const CONNECT_TIMEOUT_MS = 20_000
const REFRESH_MS = 10 * 60_000
const LEAVE_MS = 1000
const FOUND_MAX = 64

export interface RendezvousOptions {
  /** Undefined: the public ones of hyperdht. */
  bootstrap?: readonly HostPort[] | undefined
  /** Where the node binds; all interfaces by default. */
  host?: string | undefined
  port?: number | undefined
  /** False only where it is known that everybody can be reached (tests, servers). */
  isFirewalled?: boolean | undefined
  /** Public key of a relay (relay.ts) for when no direct path is found. */
  relay?: Uint8Array | undefined
  log: NetLog
}

export interface FoundPeer {
  publicKey: Buffer
  relayAddresses: HostPort[]
}

export interface ServeOptions {
  keyPair: NoiseKeyPair
  /** Found by those who look it up; undefined: only by those who know the public key. */
  topic: Buffer | undefined
  /** An error handler is attached, and nothing is proven. */
  onStream: (stream: NoiseStream, address: string) => void
}

export interface Served {
  /** Announces again at once. */
  refresh(): void
  /** Waits a second at most for the announcement to be withdrawn. */
  close(): Promise<void>
}

export class Rendezvous {
  readonly #dht: HyperDHT
  readonly #relay: Buffer | undefined
  readonly #log: NetLog
  readonly #served = new Set<Served>()
  #steps: Promise<void> = Promise.resolve()
  #isClosed = false

  /** Returns at once; the table is joined in the background. */
  constructor(options: RendezvousOptions) {
    this.#log = options.log
    this.#relay = options.relay === undefined ? undefined : Buffer.from(options.relay)
    const { bootstrap, host, port, isFirewalled } = options
    this.#dht = new HyperDHT({
      ...(bootstrap === undefined ? {} : { bootstrap: [...bootstrap] }),
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      ...(isFirewalled === undefined ? {} : { firewalled: isFirewalled }),
    })
    this.#dht.on('error', (error: Error) => this.#trouble('node', error))
  }

  serve(options: ServeOptions): Served {
    const { topic } = options
    const keyPair = buffers(options.keyPair)
    const relayThrough = this.#relay ?? null
    const server = this.#dht.createServer({ relayThrough }, (stream) => {
      stream.on('error', () => undefined)
      stream.setTimeout(SILENCE_MAX_MS)
      options.onStream(stream, addressOf(stream))
    })
    server.on('error', (error: Error) => this.#trouble('server', error))
    let isOver = false
    let timer: NodeJS.Timeout | undefined
    const announce = async (): Promise<void> => {
      if (topic === undefined) return
      await this.#dht.announce(topic, keyPair, server.relayAddresses).finished()
    }
    const round = (): void => {
      clearTimeout(timer)
      if (isOver || topic === undefined) return
      timer = setTimeout(round, REFRESH_MS * (0.8 + 0.4 * Math.random()))
      timer.unref()
      announce().catch((error: unknown) => this.#trouble('announce', error))
    }
    const begin = async (): Promise<void> => {
      await server.listen(keyPair)
      round()
    }
    begin().catch((error: unknown) => this.#trouble('listen', error))
    const served: Served = {
      refresh: round,
      close: async () => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        this.#served.delete(served)
        const leave = async (): Promise<void> => {
          if (topic !== undefined) await this.#dht.unannounce(topic, keyPair)
          await server.close()
        }
        await within(LEAVE_MS, leave().catch((error: unknown) => this.#trouble('leave', error)))
      },
    }
    this.#served.add(served)
    return served
  }

  /** Resolves when the search is over; `onFound` at most once a key, 64 at most. Never rejects. */
  async lookup(topic: Buffer, onFound: (peer: FoundPeer) => void): Promise<void> {
    if (this.#isClosed) return
    const seen = new Set<string>()
    try {
      for await (const { peers } of this.#dht.lookup(topic)) {
        for (const { publicKey, relayAddresses } of peers) {
          const key = publicKey.toString('latin1')
          if (seen.has(key) || seen.size >= FOUND_MAX) continue
          seen.add(key)
          onFound({ publicKey, relayAddresses })
        }
      }
    } catch (error) {
      this.#trouble('lookup', error)
    }
  }

  /** Rejects 'unreachable', 'timeout', 'cancelled', 'closed'. An error handler is attached. */
  async connect(
    peer: FoundPeer, options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<NoiseStream> {
    if (this.#isClosed) throw new LatticeError('closed', 'the network is closed')
    const stream = this.#dht.connect(peer.publicKey, {
      keyPair: buffers(throwawayKeyPair()),
      relayAddresses: peer.relayAddresses,
      relayThrough: this.#relay ?? null,
    })
    let failure: LatticeError | undefined
    stream.on('error', (error: Error) => {
      failure ??= new LatticeError('unreachable', 'the device cannot be reached', { cause: error })
    })
    const end = (error: LatticeError): void => {
      failure ??= error
      stream.destroy()
    }
    const timer = setTimeout(() => {
      end(new LatticeError('timeout', 'the device does not answer'))
    }, options.timeoutMs ?? CONNECT_TIMEOUT_MS)
    const onAbort = (): void => end(new LatticeError('cancelled', 'dialling was ended'))
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const isOpen = await stream.opened
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
    if (!isOpen) throw failure ?? new LatticeError('unreachable', 'the device cannot be reached')
    stream.setTimeout(SILENCE_MAX_MS)
    return stream
  }

  /** Waits a second at most; the rest goes on by itself. */
  async suspend(): Promise<void> {
    await this.#inOrder(() => this.#dht.suspend())
  }

  /** Returns at once. */
  resume(): void {
    void this.#inOrder(async () => {
      await this.#dht.resume()
      for (const served of this.#served) served.refresh()
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    await Promise.all([...this.#served].map((served) => served.close()))
    const closed = this.#inOrder(() => this.#dht.destroy({ force: true }))
    this.#isClosed = true
    await closed
  }

  /** The table's node does not bear being resumed or ended while it is being suspended. */
  #inOrder(step: () => Promise<void>): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#steps = this.#steps.then(step).catch((error: unknown) => this.#trouble('node', error))
    return within(LEAVE_MS, this.#steps)
  }

  #trouble(what: string, error: unknown): void {
    if (this.#isClosed) return
    const reason = error instanceof Error ? error.message : String(error)
    this.#log('debug', 'rendezvous', { what, reason })
  }
}

/** "host:port" of the other side of a stream of hyperdht's, '' when it is not known. */
export function addressOf(stream: NoiseStream): string {
  const raw = stream.rawStream
  if (typeof raw !== 'object' || raw === null) return ''
  if (!('remoteHost' in raw) || !('remotePort' in raw)) return ''
  const { remoteHost, remotePort } = raw
  if (typeof remoteHost !== 'string' || typeof remotePort !== 'number') return ''
  return hostPortText({ host: remoteHost, port: remotePort })
}

function buffers(pair: NoiseKeyPair): { publicKey: Buffer; secretKey: Buffer } {
  const { publicKey, secretKey } = pair
  return {
    publicKey: Buffer.from(publicKey),
    secretKey: Buffer.from(secretKey.buffer, secretKey.byteOffset, secretKey.length),
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => void (timer = setTimeout(resolve, ms)))
  await Promise.race([work.then(() => undefined, () => undefined), late])
  clearTimeout(timer)
}
