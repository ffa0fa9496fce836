// Where a vault's members are looked for, and how they find this device: the topic of the newest
// epoch in the hash table (announced and looked up) and those of a few older ones (looked up: a
// member that was away announces there), and today's tags on the local network. What is found goes
// to the connector. Nothing here is waited for.

import type { AuthorId } from '../ops/types.ts'
import { toHex } from '../util/bytes.ts'
import type { Connector } from './connector.ts'
import { LanDiscovery } from './lan.ts'
import type { LanOptions } from './lan.ts'
import { LOOKUP_EPOCHS, utcDay } from './network-keys.ts'
import type { EpochNetwork } from './network-keys.ts'
import type { NoiseStream } from './noise-stream.ts'
import type { NetLog, NetworkMember } from './ports.ts'
import type { FoundPeer, Rendezvous, Served } from './rendezvous.ts'
import type { VaultDoor } from './vault-door.ts'

const LOOKUP_FIRST_MS = [0, 2000, 10_000]
const LOOKUP_EVERY_MS = 60_000
const LOOKUP_SLOWEST_MS = 10 * 60_000

export interface DiscoveryOptions {
  self: AuthorId
  door: VaultDoor
  connector: Connector
  rendezvous: Rendezvous | undefined
  /** Undefined: not on the local network. */
  lan: { port: number; multicast?: LanOptions['multicast'] } | undefined
  /** Whether every member is connected: then looking up is rarely worth it. */
  isComplete: () => boolean
  onStream: (stream: NoiseStream, address: string) => void
  nowMs: () => number
  log: NetLog
}

export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #lan: LanDiscovery | undefined
  #served: { epoch: EpochNetwork; served: Served } | undefined
  #members: readonly NetworkMember[] = []
  /** Hex of a tag → whose it is, for the days around `day`. */
  #tags = new Map<string, AuthorId>()
  #tagsDay = -1
  #timer: NodeJS.Timeout | undefined
  #rounds = 0
  #isPaused = false
  #isClosed = false

  constructor(options: DiscoveryOptions) {
    this.#options = options
    const { lan, log } = options
    this.#lan = lan === undefined ? undefined : new LanDiscovery({
      ...lan,
      log,
      ownTag: () => this.#ownTag(),
      onFound: (tag, at) => {
        const device = this.#deviceOf(tag)
        if (device !== undefined) options.connector.addAddress(device, at, 'lan')
      },
    })
  }

  /** Members or epochs are others. */
  setMembers(members: readonly NetworkMember[]): void {
    this.#members = members
    this.#tagsDay = -1
    const { rendezvous, door, self } = this.#options
    const newest = door.epochs[0]
    if (rendezvous !== undefined && newest !== this.#served?.epoch) {
      this.#served?.served.close().catch(() => undefined)
      this.#served = newest === undefined ? undefined : {
        epoch: newest,
        served: rendezvous.serve({
          keyPair: newest.noiseKeyPair(self),
          topic: newest.topic,
          onStream: this.#options.onStream,
        }),
      }
    }
    this.refresh()
  }

  /** Looks everywhere now. */
  refresh(): void {
    if (this.#isPaused || this.#isClosed) return
    this.#rounds = 0
    this.#served?.served.refresh()
    this.#lan?.refresh()
    this.#schedule()
  }

  async pause(): Promise<void> {
    if (this.#isPaused) return
    this.#isPaused = true
    clearTimeout(this.#timer)
    await this.#options.rendezvous?.suspend()
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#options.rendezvous?.resume()
    this.refresh()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    await Promise.all([this.#lan?.close(), this.#served?.served.close()])
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    if (this.#options.rendezvous === undefined) return
    const { isComplete } = this.#options
    const slow = Math.min(LOOKUP_SLOWEST_MS, LOOKUP_EVERY_MS * 2 ** Math.max(0, this.#rounds - 6))
    const usual = isComplete() ? LOOKUP_SLOWEST_MS : slow
    const ms = LOOKUP_FIRST_MS[this.#rounds] ?? usual * (0.75 + 0.5 * Math.random())
    this.#rounds++
    this.#timer = setTimeout(() => {
      if (!isComplete()) this.#lookup()
      this.#schedule()
    }, ms)
    this.#timer.unref()
  }

  #lookup(): void {
    const { rendezvous, door, connector, log } = this.#options
    door.epochs.slice(0, LOOKUP_EPOCHS).forEach((epoch, age) => {
      const onFound = (found: FoundPeer): void => {
        const device = this.#ownerOf(found.publicKey, epoch)
        if (device === undefined) log('debug', 'unknown-key', { age })
        else connector.addFound(device, found, age)
      }
      rendezvous?.lookup(epoch.topic, onFound).catch(() => undefined)
    })
  }

  /** Whoever knows a topic can announce anything there: only members' keys are dialled. */
  #ownerOf(publicKey: Uint8Array, epoch: EpochNetwork): AuthorId | undefined {
    const owner = this.#members.find(({ device }) => (
      Buffer.compare(epoch.noisePublicKey(device), publicKey) === 0
    ))
    return owner?.device
  }

  #ownTag(): string | undefined {
    if (this.#isPaused) return undefined
    const tag = this.#options.door.epochs[0]?.lanTag(this.#options.self, this.#today())
    return tag === undefined ? undefined : toHex(tag)
  }

  #deviceOf(tag: string): AuthorId | undefined {
    const today = this.#today()
    if (this.#tagsDay !== today) {
      this.#tagsDay = today
      this.#tags.clear()
      for (const epoch of this.#options.door.epochs.slice(0, LOOKUP_EPOCHS)) {
        for (const { device } of this.#members) {
          for (const day of [today - 1, today, today + 1]) {
            this.#tags.set(toHex(epoch.lanTag(device, day)), device)
          }
        }
      }
    }
    return this.#tags.get(tag)
  }

  #today(): number {
    return utcDay(this.#options.nowMs())
  }
}
