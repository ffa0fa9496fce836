// A vault's network: everything in src/net put together. It listens, finds the other members,
// connects and stays connected with them, hands their logs to the logs and their bundles to the
// engine, and tells what is going on. Runs in the sync worker of the vault, or anywhere else.
//
// At most one connection with each device. Of two, both sides keep the same: TCP rather than the
// hash table's transport; then the one that the smaller device id dialled; then the later one.

import type { BundleId } from '../chunks/bundle-id.ts'
import { blake3Keyed } from '../crypto/hash.ts'
import { randomBytes } from '../crypto/random.ts'
import type { AuthorId } from '../ops/types.ts'
import { BufferPool } from '../util/buffer-pool.ts'
import { MemoryAddressBook } from './address-book.ts'
import { Connector } from './connector.ts'
import { Discovery } from './discovery.ts'
import { FetchScheduler } from './fetch-scheduler.ts'
import type { LanOptions } from './lan.ts'
import { LogClaims } from './log-claims.ts'
import { PROVE_MAX } from './messages.ts'
import type { AppliedLog } from './messages.ts'
import { ANY_DEVICE, deviceHex } from './network-keys.ts'
import type { NoiseStream, Transport } from './noise-stream.ts'
import { believedAddresses, hostOf, ownAddresses } from './own-addresses.ts'
import { PeerSession } from './peer-session.ts'
import type {
  AddressBook,
  BundleSink,
  BundleSource,
  Fetcher,
  HostPort,
  LogHead,
  LogsForPeers,
  NetLog,
  NetworkKeys,
} from './ports.ts'
import { ReadGate } from './read-gate.ts'
import { Rendezvous } from './rendezvous.ts'
import type { RendezvousOptions } from './rendezvous.ts'
import { Strangers } from './strangers.ts'
import { TcpListener } from './tcp.ts'
import { TokenBucket } from './token-bucket.ts'
import { VaultDoor } from './vault-door.ts'
import type { ProvenPeer } from './vault-door.ts'

export interface NetworkOptions {
  /** Bytes per second; 0 = no limit. */
  uploadLimit?: number
  downloadLimit?: number
  listen?: { host?: string; port?: number } | undefined
  /** Addresses that people wrote down. */
  staticPeers?: readonly HostPort[] | undefined
  /** Undefined: no hash table. */
  rendezvous?: Omit<RendezvousOptions, 'log'> | undefined
  /** Undefined: not on the local network. */
  lan?: { multicast?: LanOptions['multicast'] } | undefined
  addressBook?: AddressBook | undefined
  events?: Partial<NetworkEvents> | undefined
  /** For tests. */
  nowMs?: (() => number) | undefined
  random?: (() => number) | undefined
  proofTimeoutMs?: number | undefined
  stallMs?: number | undefined
  /** How long a bundle that nobody connected has is waited for. */
  appearMs?: number | undefined
}

export interface NetworkEvents {
  onConnected: (device: AuthorId) => void
  onDisconnected: (device: AuthorId, reason: string) => void
  /** A peer told the head of a log. */
  onRemoteHead: (device: AuthorId, head: LogHead) => void
  /** What a peer has applied and made durable. */
  onAcks: (device: AuthorId, acks: AppliedLog[]) => void
  onPresence: (device: AuthorId, isInUse: boolean) => void
}

export interface PeerStatus {
  device: AuthorId
  label: string
  address: string
  transport: Transport
  /** Wall clock. */
  sinceMs: number
  bytesIn: number
  bytesOut: number
  roundTripMs: number | undefined
  /** Of those that were asked for, how many bundles it said that it has. */
  knownBundles: number
  attachedLogs: number
  /** Under way from it, and to it. */
  fetching: number
  serving: number
  isInUse: boolean
}

export interface NetworkParts {
  keys: NetworkKeys
  logs: LogsForPeers
  source: BundleSource
  sink: BundleSink
  options: NetworkOptions
  log: NetLog
}

/** How long after the start, or a change of network, peers may still appear. */
const EXPECTING_MS = 5000
/** So long a removed device is connected yet. */
const FAREWELL_MS = 1500
/** For what arrives next; nobody uses them now. */
const KEPT_BUFFERS_BYTES = 8 * 1024 * 1024
const BAD_BYTES_MAX = 3
const ACKS_EVERY_MS = 100
/** Ends that are nobody's fault. */
const INNOCENT = new Set(['closed', 'replaced', 'removed', 'paused', 'closing', 'stalled', 'logs'])

export class Network {
  readonly listener: TcpListener
  readonly rendezvous: Rendezvous | undefined
  readonly #parts: NetworkParts
  readonly #door: VaultDoor
  readonly #connector: Connector
  readonly #discovery: Discovery
  readonly #scheduler: FetchScheduler
  readonly #strangers: Strangers
  readonly #sessions = new Map<AuthorId, PeerSession>()
  readonly #gate: ReadGate
  readonly #claims = new LogClaims()
  readonly #upload: TokenBucket
  readonly #download: TokenBucket
  readonly #buffers = new BufferPool(KEPT_BUFFERS_BYTES)
  readonly #book: AddressBook
  readonly #nowMs: () => number
  readonly #badBytes = new Map<AuthorId, number>()
  readonly #acks = new Map<string, AppliedLog>()
  readonly #freshAcks = new Map<string, AppliedLog>()
  #ackTimer: NodeJS.Timeout | undefined
  #keys: NetworkKeys
  #expectingUntilMs: number
  #presence = 0
  #isPaused = false
  #isClosed = false

  /** Listens; connections are made in the background. Rejects 'busy', 'denied' or 'io'. */
  static async open(parts: NetworkParts): Promise<Network> {
    const strangers = new Strangers({ timeoutMs: parts.options.proofTimeoutMs ?? 5000 })
    const { log } = parts
    const listener = await TcpListener.open({ ...parts.options.listen, strangers, log })
    return new Network(parts, listener, strangers)
  }

  private constructor(parts: NetworkParts, listener: TcpListener, strangers: Strangers) {
    const { keys, options, log } = parts
    this.listener = listener
    this.#parts = parts
    this.#strangers = strangers
    this.#keys = keys
    this.#nowMs = options.nowMs ?? Date.now
    this.#gate = new ReadGate(parts.source)
    this.#upload = new TokenBucket(options.uploadLimit)
    this.#download = new TokenBucket(options.downloadLimit)
    this.#book = options.addressBook ?? new MemoryAddressBook()
    this.#expectingUntilMs = performance.now() + EXPECTING_MS
    const { rendezvous } = options
    this.rendezvous = rendezvous === undefined ? undefined : new Rendezvous({ ...rendezvous, log })
    this.#door = new VaultDoor(keys, {
      log, proofTimeoutMs: options.proofTimeoutMs, onPeer: (peer) => this.#onPeer(peer),
    })
    this.#scheduler = new FetchScheduler({
      sink: parts.sink,
      log,
      nowMs: () => performance.now(),
      buffers: this.#buffers,
      isExpecting: () => this.isExpecting,
      onBadBytes: (peer) => this.#onBadBytes(peer.device),
      appearMs: options.appearMs,
    })
    this.#connector = new Connector({
      door: this.#door,
      self: keys.self,
      rendezvous: this.rendezvous,
      connected: (device) => this.#sessions.get(device)?.origin.transport,
      log,
      random: options.random,
    })
    this.#discovery = new Discovery({
      self: keys.self,
      door: this.#door,
      connector: this.#connector,
      rendezvous: this.rendezvous,
      lan: options.lan === undefined ? undefined : { ...options.lan, port: listener.port },
      isComplete: () => this.#keys.members.every(({ device }) => (
        device === keys.self || this.#sessions.has(device)
      )),
      onStream: (stream, address) => this.#onFoundStream(stream, address),
      nowMs: this.#nowMs,
      log,
    })
    this.#begin()
  }

  get fetcher(): Fetcher {
    return this.#scheduler
  }

  get fetching(): FetchScheduler['counts'] {
    return this.#scheduler.counts
  }

  /** Where this device listens, as it tells its peers. */
  get addresses(): HostPort[] {
    return ownAddresses(this.#parts.options.listen?.host, this.listener.port)
  }

  peers(): PeerStatus[] {
    return this.#present().map((session) => ({
      device: session.device,
      label: this.#keys.members.find(({ device }) => device === session.device)?.label ?? '',
      address: session.origin.address,
      transport: session.origin.transport,
      sinceMs: Math.round(this.#nowMs() - (performance.now() - session.since)),
      bytesIn: session.bytesIn,
      bytesOut: session.bytesOut,
      roundTripMs: session.requests.window.roundTripMs,
      knownBundles: session.holdings.count,
      attachedLogs: session.attachedLogs,
      fetching: session.requests.count,
      serving: session.serving,
      isInUse: session.presence === 1,
    }))
  }

  /** Without those who are about to be cut off. */
  #present(): PeerSession[] {
    return [...this.#sessions.values()].filter(({ device }) => this.#door.isMember(device))
  }

  /** Which connected devices said that they have the bundle, as far as they were asked. */
  holders(id: BundleId): AuthorId[] {
    const having = this.#present().filter(({ holdings }) => holdings.has(id) === 'yes')
    return having.map(({ device }) => device)
  }

  /** Members or epochs are others. Connections of those who are no members any more end, once they
   *  had the time to hear of it: what says so is in the logs. They get no bundle from now on. */
  setKeys(keys: NetworkKeys): void {
    if (this.#isClosed) return
    this.#keys = keys
    this.#door.setKeys(keys)
    for (const session of this.#sessions.values()) {
      if (this.#door.isMember(session.device)) continue
      this.#book.forget(session.device)
      this.#connector.forget(session.device)
      this.#dismiss(session)
    }
    this.#addKnownAddresses()
    this.#discovery.setMembers(keys.members)
  }

  #dismiss(session: PeerSession): void {
    session.retire()
    setTimeout(() => session.end('removed'), FAREWELL_MS).unref()
  }

  setLimits(limits: { uploadLimit?: number; downloadLimit?: number }): void {
    if (limits.uploadLimit !== undefined) this.#upload.setLimit(limits.uploadLimit)
    if (limits.downloadLimit !== undefined) this.#download.setLimit(limits.downloadLimit)
  }

  /** Somebody works at this device, or nobody does any more. */
  setInUse(isInUse: boolean): void {
    this.#presence = isInUse ? 1 : 0
    for (const session of this.#sessions.values()) session.tellPresence()
  }

  /** Tells the peers what is applied and durable here. */
  tellApplied(acks: readonly AppliedLog[]): void {
    for (const ack of acks) {
      const key = ack.kind + ack.author
      this.#acks.set(key, ack)
      this.#freshAcks.set(key, ack)
    }
    if (this.#freshAcks.size === 0) return
    this.#ackTimer ??= setTimeout(() => {
      this.#ackTimer = undefined
      const fresh = [...this.#freshAcks.values()]
      this.#freshAcks.clear()
      for (const session of this.#sessions.values()) if (session.isReady) session.tellAcks(fresh)
    }, ACKS_EVERY_MS)
  }

  /**
   * Whether the device holds each of the bundles right now: it answers with a hash over the whole
   * of it under a nonce of this side's, which is compared with this device's own. False when it is
   * not connected, does not answer, or the bundle is not here either; unless `takesWord` says that
   * its word is enough then.
   */
  async prove(
    device: AuthorId, ids: readonly BundleId[], { takesWord = false } = {},
  ): Promise<boolean[]> {
    const proven: boolean[] = []
    for (let at = 0; at < ids.length; at += PROVE_MAX) {
      const some = ids.slice(at, at + PROVE_MAX)
      const nonce = randomBytes(32)
      const proofs = await this.#sessions.get(device)?.prove(some, nonce)
      for (const [i, id] of some.entries()) {
        const proof = proofs?.[i]
        const own = proof === undefined ? undefined : await this.#parts.source.read(id)
        const isHeld = proof !== undefined && (own === undefined
          ? takesWord
          : Buffer.compare(blake3Keyed(nonce, own), proof) === 0)
        if (isHeld) this.#sessions.get(device)?.holdings.learn(id, true)
        proven.push(isHeld)
      }
    }
    return proven
  }

  /** The network is another one, or the machine woke up. */
  networkChanged(): void {
    if (this.#isPaused || this.#isClosed) return
    this.#expectingUntilMs = performance.now() + EXPECTING_MS
    this.#connector.retryNow()
    this.#discovery.refresh()
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** No connections until resume(). */
  async pause(): Promise<void> {
    if (this.#isPaused || this.#isClosed) return
    this.#isPaused = true
    this.#connector.pause()
    for (const session of this.#sessions.values()) session.end('paused')
    await this.#discovery.pause()
  }

  resume(): void {
    if (!this.#isPaused || this.#isClosed) return
    this.#isPaused = false
    this.#expectingUntilMs = performance.now() + EXPECTING_MS
    this.#connector.resume()
    this.#discovery.resume()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#ackTimer)
    this.#connector.close()
    this.#scheduler.close()
    for (const session of this.#sessions.values()) session.end('closing')
    this.#strangers.close()
    await this.#discovery.close()
    await Promise.all([this.listener.close(), this.rendezvous?.close()])
    this.#door.close()
  }

  #begin(): void {
    const { logs, options } = this.#parts
    this.listener.register(this.#door)
    logs.onGrowth((author, kind) => {
      for (const session of this.#sessions.values()) session.onGrowth(author, kind)
    })
    for (const at of options.staticPeers ?? []) this.#connector.addAddress(ANY_DEVICE, at, 'person')
    this.#addKnownAddresses()
    this.#discovery.setMembers(this.#keys.members)
  }

  #addKnownAddresses(): void {
    for (const { device } of this.#keys.members) {
      for (const at of this.#book.addresses(device)) {
        this.#connector.addAddress(device, at, 'book')
      }
    }
  }

  /** Whether peers may appear within seconds. */
  get isExpecting(): boolean {
    if (this.#isPaused) return false
    if (this.#connector.dialling > 0 && this.#sessions.size === 0) return true
    const isStarting = performance.now() < this.#expectingUntilMs
    return isStarting && this.#keys.members.length > this.#sessions.size + 1
  }

  /** Somebody found this device in the hash table. */
  #onFoundStream(stream: NoiseStream, address: string): void {
    const stranger = this.#strangers.admit(hostOf(address), () => stream.destroy())
    stream.on('close', stranger.gone)
    const origin = { transport: 'dht' as const, isDialler: false, address }
    this.#door.accept(stream, origin, stranger.proven)
  }

  #onPeer(peer: ProvenPeer): void {
    const { device, stream } = peer
    if (this.#isClosed || this.#isPaused || this.#connector.isShunned(device)) {
      stream.destroy()
      return
    }
    const old = this.#sessions.get(device)
    if (old !== undefined && !this.#isBetter(peer, old)) {
      stream.destroy()
      // should the old one be dead, this shows it
      old.tellPresence()
      return
    }
    old?.end('replaced')
    const session = new PeerSession(peer, this.#shared(), {
      onReady: () => this.#onReady(session),
      onHead: (_, head) => this.#parts.options.events?.onRemoteHead?.(device, head),
      onAcks: (_, acks) => this.#parts.options.events?.onAcks?.(device, acks),
      onAddresses: (_, told) => {
        const addresses = believedAddresses(told, peer.origin.address)
        this.#book.remember(device, addresses)
        for (const at of addresses) this.#connector.addAddress(device, at, 'book')
      },
      onPresence: (_, presence) => {
        this.#parts.options.events?.onPresence?.(device, presence === 1)
      },
      onMove: () => this.#scheduler.onMove(),
      onEnd: (_, reason) => this.#onEnd(session, reason),
    })
    this.#sessions.set(device, session)
  }

  #isBetter(peer: ProvenPeer, old: PeerSession): boolean {
    const { self } = this.#keys
    const isTcp = peer.origin.transport === 'tcp'
    const wasTcp = old.origin.transport === 'tcp'
    if (isTcp !== wasTcp) return isTcp
    if (peer.origin.isDialler === old.origin.isDialler) return true
    const smallerDials = self < peer.device
    return peer.origin.isDialler === smallerDials
  }

  #shared(): ConstructorParameters<typeof PeerSession>[1] {
    return {
      vaultId: this.#keys.vaultId,
      logs: this.#parts.logs,
      claims: this.#claims,
      gate: this.#gate,
      upload: this.#upload,
      download: this.#download,
      buffers: this.#buffers,
      log: this.#parts.log,
      nowMs: () => performance.now(),
      addresses: () => this.addresses,
      presence: () => this.#presence,
      stallMs: this.#parts.options.stallMs,
    }
  }

  #onReady(session: PeerSession): void {
    const { origin, device } = session
    this.#parts.log('info', 'connected', {
      device: deviceHex(device), transport: origin.transport, address: origin.address,
    })
    this.#scheduler.addPeer(session)
    session.tellAcks([...this.#acks.values()])
    this.#parts.options.events?.onConnected?.(device)
  }

  #onEnd(session: PeerSession, reason: string): void {
    const { device } = session
    this.#scheduler.removePeer(session)
    if (this.#sessions.get(device) === session) this.#sessions.delete(device)
    if (!INNOCENT.has(reason)) this.#connector.shun(device)
    const lastedMs = performance.now() - session.since
    this.#parts.log('info', 'disconnected', { device: deviceHex(device), reason })
    // the next one is there already when it was replaced
    if (reason !== 'replaced') this.#connector.ended(device, lastedMs)
    this.#parts.options.events?.onDisconnected?.(device, reason)
  }

  #onBadBytes(device: AuthorId): void {
    const count = (this.#badBytes.get(device) ?? 0) + 1
    this.#badBytes.set(device, count)
    this.#parts.log('warn', 'bad-bytes', { device: deviceHex(device), count })
    if (count < BAD_BYTES_MAX) return
    this.#badBytes.delete(device)
    this.#sessions.get(device)?.end('bad-bytes')
  }
}
