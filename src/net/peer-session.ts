// A connection with a member, from the proof to its end: one channel, and on it the comparison of
// logs, bundles in both directions, proofs of holding, round trips and what both tell about
// themselves. Whatever the peer breaks ends the connection with the name of the rule.

import { randomBytes } from '../crypto/random.ts'
import { blake3Keyed } from '../crypto/hash.ts'
import type { BundleId } from '../chunks/bundle-id.ts'
import type { AuthorId } from '../ops/types.ts'
import type { BufferPool } from '../util/buffer-pool.ts'
import { readU32 } from '../util/bytes.ts'
import { BundleRequests } from './bundle-requests.ts'
import { BundleServer } from './bundle-server.ts'
import { PeerChannel } from './channel.ts'
import { WINDOW_MIN_BYTES } from './credit-window.ts'
import { Holdings } from './holdings.ts'
import { LogComparison } from './log-comparison.ts'
import type { LogClaims } from './log-claims.ts'
import {
  ACKS_MAX,
  PROTOCOL_VERSION,
  PROVE_MAX,
  decodeAcks,
  decodeHave,
  decodeHaving,
  decodeHello,
  decodeNumber,
  decodePing,
  decodeProofs,
  decodeProve,
  encodeAcks,
  encodeHave,
  encodeHaving,
  encodeHello,
  encodeNumber,
  encodePing,
  encodeProofs,
  encodeProve,
  protocolError,
} from './messages.ts'
import type { AppliedLog, HoldingProof } from './messages.ts'
import type { StreamOrigin } from './noise-stream.ts'
import type { HostPort, LogHead, LogKind, LogsForPeers, NetLog } from './ports.ts'
import type { ReadGate } from './read-gate.ts'
import type { TokenBucket } from './token-bucket.ts'
import type { ProvenPeer } from './vault-door.ts'

const HELLO_TIMEOUT_MS = 10_000
const PING_EVERY_MS = 10_000
const STALL_MS = 20_000
const QUERIES_MAX = 8
const PROVES_MAX = 2
const PROVE_RANK = 3

export interface SessionShared {
  vaultId: Uint8Array
  logs: LogsForPeers
  claims: LogClaims
  gate: ReadGate
  upload: TokenBucket
  download: TokenBucket
  buffers: BufferPool
  log: NetLog
  nowMs: () => number
  addresses: () => HostPort[]
  presence: () => number
  stallMs?: number | undefined
}

export interface SessionEvents {
  /** The peer said hello: bundles can be asked for. */
  onReady: (session: PeerSession) => void
  onHead: (session: PeerSession, head: LogHead) => void
  onAcks: (session: PeerSession, acks: AppliedLog[]) => void
  onAddresses: (session: PeerSession, addresses: HostPort[]) => void
  onPresence: (session: PeerSession, presence: number) => void
  /** Answers to have-queries came, or there is room again. */
  onMove: (session: PeerSession) => void
  /** Once. */
  onEnd: (session: PeerSession, reason: string) => void
}

interface Query<T> {
  ids: readonly BundleId[]
  settle: (answer: T | undefined) => void
}

export class PeerSession {
  readonly device: AuthorId
  readonly origin: StreamOrigin
  readonly since: number
  readonly requests: BundleRequests
  readonly holdings: Holdings
  readonly #shared: SessionShared
  readonly #events: SessionEvents
  readonly #channel: PeerChannel
  readonly #server: BundleServer
  readonly #comparison: LogComparison
  readonly #haves = new Map<number, Query<boolean[]>>()
  readonly #asked = new Set<BundleId>()
  readonly #proves = new Map<number, Query<HoldingProof[]>>()
  readonly #pings = new Map<number, number>()
  #nextQuery = 0
  #proving = 0
  #presence = 0
  #isReady = false
  #isOver = false
  #hello: NodeJS.Timeout
  #ticker: NodeJS.Timeout

  constructor(peer: ProvenPeer, shared: SessionShared, events: SessionEvents) {
    this.device = peer.device
    this.origin = peer.origin
    this.since = shared.nowMs()
    this.#shared = shared
    this.#events = events
    this.#channel = new PeerChannel(peer.stream, shared.vaultId, {
      handlers: this.#handlers(),
      onOpen: () => undefined,
      onDrain: () => this.#server.onDrain(),
      onEnd: (reason, error) => this.#ended(reason, error),
    })
    this.#server = new BundleServer(this.#channel, shared.gate, shared.upload)
    this.requests = new BundleRequests(
      this.#channel, shared.download, shared.buffers, shared.nowMs,
    )
    this.holdings = new Holdings(shared.nowMs)
    this.#comparison = new LogComparison({
      stream: peer.stream,
      channel: this.#channel,
      logs: shared.logs,
      claims: shared.claims,
      log: shared.log,
      onHead: (head) => events.onHead(this, head),
      onTrouble: (reason, error) => this.#channel.end(reason, error),
    })
    this.#hello = setTimeout(() => this.#channel.end('hello-timeout'), HELLO_TIMEOUT_MS)
    this.#ticker = setInterval(() => this.#tick(), PING_EVERY_MS / 4)
    this.#greet()
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isOver
  }

  get bytesIn(): number {
    return this.#channel.bytesIn
  }

  get bytesOut(): number {
    return this.#channel.bytesOut
  }

  get attachedLogs(): number {
    return this.#comparison.attached
  }

  /** 1 when somebody works there. */
  get presence(): number {
    return this.#presence
  }

  /** The peer is sent no more bundles. Idempotent. */
  retire(): void {
    this.#server.retire()
  }

  /** How many bundles it is being sent. */
  get serving(): number {
    return this.#server.count
  }

  /** Asks which of the ids the peer has, unless that is being asked already; at most HAVE_MAX. */
  askHave(ids: readonly BundleId[]): void {
    const unasked = ids.filter((id) => !this.#asked.has(id))
    if (unasked.length === 0 || !this.canAsk) return
    for (const id of unasked) this.#asked.add(id)
    const query = this.#query()
    const settle = (has: boolean[] | undefined): void => {
      unasked.forEach((id, i) => {
        this.#asked.delete(id)
        if (has !== undefined) this.holdings.learn(id, has[i] === true)
      })
    }
    this.#haves.set(query, { ids: unasked, settle })
    this.#channel.send('have', encodeHave(query, unasked))
  }

  get canAsk(): boolean {
    return this.isReady && this.#haves.size < QUERIES_MAX
  }

  isAsking(id: BundleId): boolean {
    return this.#asked.has(id)
  }

  /**
   * For each id (at most PROVE_MAX) what BLAKE3 under the nonce the peer says the bundle has, or
   * undefined; undefined as a whole when it did not answer. At most PROVES_MAX at a time.
   */
  prove(ids: readonly BundleId[], nonce: Uint8Array): Promise<HoldingProof[] | undefined> {
    if (!this.isReady || ids.length > PROVE_MAX || this.#proves.size >= PROVES_MAX) {
      return Promise.resolve(undefined)
    }
    const query = this.#query()
    return new Promise((settle) => {
      this.#proves.set(query, { ids, settle })
      this.#channel.send('prove', encodeProve({ query, nonce, ids: [...ids] }))
    })
  }

  tellAcks(acks: readonly AppliedLog[]): void {
    for (let at = 0; at < acks.length; at += ACKS_MAX) {
      this.#channel.send('ack', encodeAcks(acks.slice(at, at + ACKS_MAX)))
    }
  }

  tellPresence(): void {
    this.#ping()
  }

  onGrowth(author: AuthorId, kind: LogKind): void {
    this.#comparison.onGrowth(author, kind)
  }

  /** Ends the connection. Idempotent. */
  end(reason: string): void {
    this.#channel.end(reason)
  }

  #greet(): void {
    this.#channel.send('hello', encodeHello({
      version: PROTOCOL_VERSION,
      abilities: 0,
      creditBytes: WINDOW_MIN_BYTES,
      addresses: this.#shared.addresses(),
    }))
    this.#comparison.begin()
    this.#ping()
  }

  #handlers(): ConstructorParameters<typeof PeerChannel>[2]['handlers'] {
    const afterHello = (handle: (bytes: Uint8Array) => void) => (bytes: Uint8Array): void => {
      if (!this.#isReady) throw protocolError('hello-first')
      handle(bytes)
    }
    return {
      hello: (bytes) => this.#onHello(bytes),
      heads: afterHello((bytes) => this.#comparison.onHeads(bytes)),
      hashes: afterHello((bytes) => this.#comparison.onHashes(bytes)),
      have: afterHello((bytes) => this.#onHave(bytes)),
      having: afterHello((bytes) => this.#onHaving(bytes)),
      want: afterHello((bytes) => this.#server.onWant(bytes)),
      part: afterHello((bytes) => this.requests.onPart(bytes)),
      end: afterHello((bytes) => {
        this.requests.onEnd(bytes)
        this.#events.onMove(this)
      }),
      cancel: afterHello((bytes) => this.#server.onCancel(bytes)),
      credit: afterHello((bytes) => this.#server.onCredit(bytes)),
      prove: afterHello((bytes) => this.#onProve(bytes)),
      proof: afterHello((bytes) => this.#onProof(bytes)),
      ping: afterHello((bytes) => this.#onPing(bytes)),
      pong: afterHello((bytes) => this.#onPong(bytes)),
      ack: afterHello((bytes) => this.#events.onAcks(this, decodeAcks(bytes))),
    }
  }

  #onHello(bytes: Uint8Array): void {
    if (this.#isReady) throw protocolError('hello-twice')
    const hello = decodeHello(bytes)
    clearTimeout(this.#hello)
    this.#isReady = true
    this.#server.grant(hello.creditBytes)
    this.#events.onAddresses(this, hello.addresses)
    this.#events.onReady(this)
  }

  #onHave(bytes: Uint8Array): void {
    const { query, ids } = decodeHave(bytes)
    this.#shared.gate.has(ids).then(
      (has) => {
        if (!this.#isOver) this.#channel.send('having', encodeHaving(query, has))
      },
      (error: unknown) => this.#channel.end('internal', error),
    )
  }

  #onHaving(bytes: Uint8Array): void {
    const { query, has } = decodeHaving(bytes)
    const asked = this.#haves.get(query)
    if (asked === undefined) throw protocolError('having-unknown')
    if (asked.ids.length !== has.length) throw protocolError('having-count')
    this.#haves.delete(query)
    asked.settle(has)
    this.#events.onMove(this)
  }

  /** Over the real bytes: that this side had them once, or knows the id, proves nothing. */
  #onProve(bytes: Uint8Array): void {
    const { query, nonce, ids } = decodeProve(bytes)
    if (this.#proving >= PROVES_MAX) throw protocolError('prove-flood')
    this.#proving++
    const prove = async (): Promise<void> => {
      const { gate } = this.#shared
      const reliable = await gate.reliable(ids).catch(() => [])
      const proofs: HoldingProof[] = []
      for (const [i, id] of ids.entries()) {
        const isReliable = reliable[i] === true
        const sealed = isReliable
          ? await gate.read(id, PROVE_RANK).catch(() => undefined)
          : undefined
        proofs.push(sealed === undefined ? undefined : blake3Keyed(nonce, sealed))
        if (this.#isOver) return
      }
      this.#proving--
      this.#channel.send('proof', encodeProofs(query, proofs))
    }
    prove().catch((error: unknown) => this.#channel.end('internal', error))
  }

  #onProof(bytes: Uint8Array): void {
    const { query, proofs } = decodeProofs(bytes)
    const asked = this.#proves.get(query)
    if (asked === undefined) throw protocolError('proof-unknown')
    if (asked.ids.length !== proofs.length) throw protocolError('proof-count')
    this.#proves.delete(query)
    asked.settle(proofs)
  }

  #onPing(bytes: Uint8Array): void {
    const { token, presence } = decodePing(bytes)
    this.#channel.send('pong', encodeNumber(token))
    if (presence === this.#presence) return
    this.#presence = presence
    this.#events.onPresence(this, presence)
  }

  #onPong(bytes: Uint8Array): void {
    const token = decodeNumber(bytes)
    const sentMs = this.#pings.get(token)
    // one that was given up as too old
    if (sentMs === undefined) return
    this.#pings.delete(token)
    this.requests.window.measured(performance.now() - sentMs)
  }

  #ping(): void {
    const token = readU32(randomBytes(4), 0)
    this.#pings.set(token, performance.now())
    // the one before was long ago; whoever never answers has other troubles, and those are noticed
    for (const old of this.#pings.keys()) {
      if (this.#pings.size <= 8) break
      this.#pings.delete(old)
    }
    this.#channel.send('ping', encodePing({ token, presence: this.#shared.presence() }))
  }

  #ticks = 0

  #tick(): void {
    if (this.requests.silenceMs() > (this.#shared.stallMs ?? STALL_MS)) {
      this.#channel.end('stalled')
      return
    }
    if (++this.#ticks % 4 === 0) this.#ping()
  }

  #query(): number {
    this.#nextQuery = (this.#nextQuery + 1) % 0x1_0000_0000
    return this.#nextQuery
  }

  #ended(reason: string, error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#hello)
    clearInterval(this.#ticker)
    if (error !== undefined) {
      const why = error instanceof Error ? error.message : typeof error
      this.#shared.log('warn', 'peer-trouble', { reason, why })
    }
    this.#server.close()
    this.requests.close()
    this.#comparison.close()
    for (const { settle } of this.#haves.values()) settle(undefined)
    for (const { settle } of this.#proves.values()) settle(undefined)
    this.#events.onEnd(this, reason)
  }
}
