// Dials: every known address of members that are not connected, with growing pauses, until each
// is. An address comes from the address book, a person, the local network or the hash table, and
// is kept while it is good for something. One that does not know the newest epoch yet opens to an
// older one, so the last few are tried in turn.
//
// Pauses: 1 s, doubled up to 60 s, each between one half and the whole of it, so that two that
// dial each other do not stay in step. They begin anew when the network changed (retryNow). A
// device that broke the protocol is left alone for a minute, then twice as long each time, up to
// 10 minutes.

import type { AuthorId } from '../ops/types.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { ANY_DEVICE, LOOKUP_EPOCHS } from './network-keys.ts'
import type { NoiseStream, Transport } from './noise-stream.ts'
import type { HostPort, NetLog } from './ports.ts'
import type { FoundPeer, Rendezvous } from './rendezvous.ts'
import { dial, hostPortText } from './tcp.ts'
import type { VaultDoor } from './vault-door.ts'

const PARALLEL_MAX = 8
const TARGETS_MAX = 512
const PAUSE_FIRST_MS = 1000
const PAUSE_MAX_MS = 60_000
const SHUN_FIRST_MS = 60_000
const SHUN_MAX_MS = 10 * 60_000
/** A connection that ended sooner was none. */
const LASTING_MS = 5000
/** Found ones are given up after so many failures; those of the book and of people never are. */
const FAILURES_MAX = 12

export type TargetSource = 'book' | 'person' | 'lan' | 'dht'

interface Target {
  key: string
  source: TargetSource
  transport: Transport
  /** ANY_DEVICE: whoever listens there. */
  device: AuthorId
  /** Who was there the last time. */
  seen: AuthorId | undefined
  at: HostPort | undefined
  found: FoundPeer | undefined
  /** Which epoch to try, 0 = the newest. */
  epoch: number
  failures: number
  dueMs: number
  isDialling: boolean
}

export interface ConnectorOptions {
  door: VaultDoor
  self: AuthorId
  rendezvous: Rendezvous | undefined
  /** By which transport a device is connected. */
  connected: (device: AuthorId) => Transport | undefined
  log: NetLog
  random?: (() => number) | undefined
}

export class Connector {
  readonly #options: ConnectorOptions
  readonly #targets = new Map<string, Target>()
  readonly #shunned = new Map<AuthorId, { untilMs: number; times: number }>()
  readonly #random: () => number
  #ending = new AbortController()
  #dialling = 0
  #timer: NodeJS.Timeout | undefined
  #isPaused = false
  #isClosed = false

  constructor(options: ConnectorOptions) {
    this.#options = options
    this.#random = options.random ?? Math.random
  }

  /** How many connections are being made. */
  get dialling(): number {
    return this.#dialling
  }

  get targets(): number {
    return this.#targets.size
  }

  /** An address to dial, from now on. `device` ANY_DEVICE when it is not known who listens. */
  addAddress(device: AuthorId, at: HostPort, source: TargetSource): void {
    const key = `tcp ${hostPortText(at)} ${device === ANY_DEVICE ? '' : device}`
    this.#add({ key, source, transport: 'tcp', device, at, found: undefined, epoch: 0 })
  }

  /** A key that was found under the topic of an epoch; `device` is whose it is by that epoch. */
  addFound(device: AuthorId, found: FoundPeer, epoch: number): void {
    const key = `dht ${found.publicKey.toString('latin1')}`
    this.#add({ key, source: 'dht', transport: 'dht', device, at: undefined, found, epoch })
  }

  /** Nobody dials the device any more. */
  forget(device: AuthorId): void {
    for (const [key, target] of this.#targets) {
      if (target.device === device) this.#targets.delete(key)
    }
  }

  /** Whether the device is left alone for what it did. */
  isShunned(device: AuthorId): boolean {
    return (this.#shunned.get(device)?.untilMs ?? 0) > performance.now()
  }

  shun(device: AuthorId): void {
    const times = (this.#shunned.get(device)?.times ?? 0) + 1
    const ms = Math.min(SHUN_MAX_MS, SHUN_FIRST_MS * 2 ** (times - 1))
    this.#shunned.set(device, { untilMs: performance.now() + ms, times })
  }

  /** The connection with the device ended after so many milliseconds. */
  ended(device: AuthorId, lastedMs: number): void {
    for (const target of this.#targets.values()) {
      if (target.device !== device && target.seen !== device) continue
      if (lastedMs >= LASTING_MS) target.failures = 0
      else target.failures++
      target.dueMs = performance.now() + this.#pause(target.failures)
    }
    this.#wake()
  }

  /** Everything is due now: the network is another one. */
  retryNow(): void {
    for (const target of this.#targets.values()) {
      target.failures = 0
      target.dueMs = 0
      if (target.seen === this.#options.self) target.seen = undefined
      target.epoch = target.transport === 'tcp' ? 0 : target.epoch
    }
    this.#wake()
  }

  pause(): void {
    this.#isPaused = true
    clearTimeout(this.#timer)
    this.#ending.abort()
    this.#ending = new AbortController()
  }

  resume(): void {
    this.#isPaused = false
    this.retryNow()
  }

  close(): void {
    this.#isClosed = true
    this.pause()
    this.#targets.clear()
  }

  #add(
    target: Omit<Target, 'failures' | 'dueMs' | 'isDialling' | 'seen'>,
  ): void {
    if (target.device === this.#options.self || this.#isClosed) return
    const known = this.#targets.get(target.key)
    if (known !== undefined) {
      if (target.found !== undefined) known.found = target.found
      // it is there at this moment, whatever failed before
      if (target.source === 'lan' || target.source === 'dht') {
        known.dueMs = Math.min(known.dueMs, performance.now() + PAUSE_FIRST_MS)
        this.#wake()
      }
      return
    }
    if (this.#targets.size >= TARGETS_MAX) this.#dropWorst()
    const state = { failures: 0, dueMs: 0, isDialling: false, seen: undefined }
    this.#targets.set(target.key, { ...target, ...state })
    this.#wake()
  }

  #dropWorst(): void {
    let worst: Target | undefined
    for (const target of this.#targets.values()) {
      if (target.source === 'person' || target.isDialling) continue
      if (worst === undefined || target.failures > worst.failures) worst = target
    }
    if (worst !== undefined) this.#targets.delete(worst.key)
  }

  #wake(): void {
    clearTimeout(this.#timer)
    if (this.#isPaused || this.#isClosed) return
    const nowMs = performance.now()
    let nextMs = Infinity
    for (const target of this.#targets.values()) {
      if (target.isDialling || !this.#isWanted(target) || this.#isBusy(target)) continue
      if (target.dueMs > nowMs) nextMs = Math.min(nextMs, target.dueMs)
      else if (this.#dialling < PARALLEL_MAX) this.#begin(target)
    }
    if (nextMs === Infinity) return
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, nextMs - nowMs))
    this.#timer.unref()
  }

  #isWanted(target: Target): boolean {
    const device = target.device === ANY_DEVICE ? target.seen : target.device
    if (device === undefined) return true
    if (device === this.#options.self) return false
    if (!this.#options.door.isMember(device) || this.isShunned(device)) return false
    const connected = this.#options.connected(device)
    // a connection over the hash table is worth replacing by a direct one
    return connected === undefined || (connected === 'dht' && target.transport === 'tcp')
  }

  /** The same address, or the same device, is being dialled: what comes of that decides. */
  #isBusy({ at, device }: Target): boolean {
    for (const other of this.#targets.values()) {
      if (!other.isDialling) continue
      if (device !== ANY_DEVICE && other.device === device) return true
      if (at !== undefined && other.at?.host === at.host && other.at.port === at.port) return true
    }
    return false
  }

  #begin(target: Target): void {
    target.isDialling = true
    this.#dialling++
    this.#connect(target, this.#ending.signal).then(
      () => void (target.dueMs = performance.now() + this.#pause(1)),
      (error: unknown) => this.#failed(target, error),
    ).finally(() => {
      target.isDialling = false
      this.#dialling--
      this.#wake()
    })
  }

  async #connect(target: Target, signal: AbortSignal): Promise<void> {
    const { door } = this.#options
    const epoch = door.epochs[target.epoch] ?? door.epochs[0]
    if (epoch === undefined) throw new LatticeError('missing-key', 'there is no epoch')
    const { at, device } = target
    const expected = device === ANY_DEVICE ? undefined : device
    let stream: NoiseStream
    let address = 'dht'
    if (at !== undefined) {
      address = hostPortText(at)
      stream = await dial(at, epoch.dialDoor(device), { signal })
    } else {
      const { rendezvous } = this.#options
      if (rendezvous === undefined || target.found === undefined) {
        throw new LatticeError('unreachable', 'there is no hash table')
      }
      stream = await rendezvous.connect(target.found, { signal })
    }
    if (!this.#isWanted(target)) {
      stream.destroy()
      throw new LatticeError('cancelled', 'it is connected by now')
    }
    const origin = { transport: target.transport, isDialler: true, address }
    const peer = await door.enter(stream, origin, epoch, expected)
    target.seen = peer.device
  }

  #failed(target: Target, error: unknown): void {
    if (isLatticeError(error, 'cancelled')) {
      target.dueMs = performance.now() + this.#pause(1)
      return
    }
    const code = isLatticeError(error) ? error.code : 'internal'
    if (isLatticeError(error) && error.details['rule'] === 'proof-self') {
      target.seen = this.#options.self
    }
    // it listens there, perhaps behind the door of another epoch
    const epochs = Math.min(LOOKUP_EPOCHS, this.#options.door.epochs.length)
    const isShut = code === 'refused' && target.transport === 'tcp' && target.epoch + 1 < epochs
    target.epoch = isShut ? target.epoch + 1 : target.transport === 'tcp' ? 0 : target.epoch
    if (!isShut) target.failures++
    target.dueMs = performance.now() + (isShut ? 0 : this.#pause(target.failures))
    this.#options.log('debug', 'dial-failed', {
      code, transport: target.transport, failures: target.failures,
    })
    const isFound = target.source === 'lan' || target.source === 'dht'
    const isHopeless = target.failures >= FAILURES_MAX && isFound
    if (isHopeless) this.#targets.delete(target.key)
  }

  #pause(failures: number): number {
    const whole = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.max(0, failures - 1))
    return whole * (0.5 + 0.5 * this.#random())
  }
}
