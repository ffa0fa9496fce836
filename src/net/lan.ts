// Devices of the same vault in the same network find each other by multicast DNS. What is said is a
// service '_lattice._tcp.local' whose instance is a tag of 8 bytes in hex: only members can tell
// whose it is (network-keys.ts), and it is another one every day. No name of a host or a vault, and
// no address: the packet's own is taken.
//
//   query   PTR _lattice._tcp.local
//   answer  PTR _lattice._tcp.local → TAG._lattice._tcp.local
//           SRV TAG._lattice._tcp.local → port, TAG.local
//
// Where nothing is multicast, this is silent; nothing else depends on it.

import multicastDns from 'multicast-dns'
import { fromHex } from '../util/bytes.ts'
import { LAN_TAG_BYTES } from './network-keys.ts'
import type { HostPort, NetLog } from './ports.ts'

const SERVICE = '_lattice._tcp.local'
const TTL_SECONDS = 120
const QUERY_FIRST_MS = [100, 1000, 4000]
const QUERY_EVERY_MS = 60_000
const ANSWER_MIN_GAP_MS = 1000
const ANSWERS_MAX = 64

export interface LanOptions {
  port: number
  /** Of this device, today; undefined: there is no epoch. Hex. */
  ownTag: () => string | undefined
  /** Somebody with this tag listens there; whether it means anything is the caller's to know. */
  onFound: (tag: string, at: HostPort) => void
  log: NetLog
  /** For tests: another group, port or interface. */
  multicast?: { port?: number; ip?: string; interface?: string } | undefined
}

interface Answer {
  name?: unknown
  type?: unknown
  data?: unknown
}

export class LanDiscovery {
  readonly #options: LanOptions
  readonly #mdns: ReturnType<typeof multicastDns> | undefined
  #timer: NodeJS.Timeout | undefined
  #rounds = 0
  #answeredMs = -Infinity
  #isClosed = false

  constructor(options: LanOptions) {
    this.#options = options
    try {
      this.#mdns = multicastDns({ ...options.multicast, loopback: true, bind: '0.0.0.0' })
    } catch (error) {
      this.#trouble(error)
      return
    }
    this.#mdns.on('error', (error: unknown) => this.#trouble(error))
    this.#mdns.on('warning', (error: unknown) => this.#trouble(error))
    this.#mdns.on('query', (packet: unknown) => this.#onQuery(packet))
    this.#mdns.on('response', (packet: unknown, from: unknown) => this.#onResponse(packet, from))
    this.#mdns.on('ready', () => this.refresh())
  }

  /** Asks, and tells, anew: at another network, another day, other keys. */
  refresh(): void {
    if (this.#isClosed) return
    this.#rounds = 0
    this.#answeredMs = -Infinity
    this.#answer()
    this.#schedule()
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#isClosed = true
    clearTimeout(this.#timer)
    const mdns = this.#mdns
    if (mdns === undefined) return Promise.resolve()
    return new Promise((resolve) => mdns.destroy(() => resolve()))
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    const ms = QUERY_FIRST_MS[this.#rounds] ?? QUERY_EVERY_MS * (0.75 + 0.5 * Math.random())
    this.#timer = setTimeout(() => {
      this.#rounds++
      const question = { name: SERVICE, type: 'PTR' }
      this.#mdns?.query({ questions: [question] }, (error) => this.#trouble(error))
      this.#schedule()
    }, ms)
    this.#timer.unref()
  }

  #onQuery(packet: unknown): void {
    const isOurs = list(packet, 'questions').some(({ name, type }) => (
      name === SERVICE && (type === 'PTR' || type === 'ANY')
    ))
    if (isOurs) this.#answer()
  }

  #answer(): void {
    const tag = this.#options.ownTag()
    const nowMs = performance.now()
    if (tag === undefined || nowMs - this.#answeredMs < ANSWER_MIN_GAP_MS) return
    this.#answeredMs = nowMs
    const name = `${tag}.${SERVICE}`
    const srv = { port: this.#options.port, target: `${tag}.local`, priority: 0, weight: 0 }
    this.#mdns?.respond({
      answers: [{ name: SERVICE, type: 'PTR', ttl: TTL_SECONDS, data: name }],
      additionals: [{ name, type: 'SRV', ttl: TTL_SECONDS, data: srv }],
    }, (error) => this.#trouble(error))
  }

  #onResponse(packet: unknown, from: unknown): void {
    const host = field(from, 'address')
    if (typeof host !== 'string') return
    const answers = [...list(packet, 'answers'), ...list(packet, 'additionals')]
    for (const { name, type, data } of answers.slice(0, ANSWERS_MAX)) {
      if (type !== 'SRV' || typeof name !== 'string' || !name.endsWith(`.${SERVICE}`)) continue
      const tag = name.slice(0, -SERVICE.length - 1)
      const port = field(data, 'port')
      if (fromHex(tag)?.length !== LAN_TAG_BYTES || typeof port !== 'number') continue
      if (port > 0 && port < 65_536) this.#options.onFound(tag.toLowerCase(), { host, port })
    }
  }

  #trouble(error: unknown): void {
    if (error === null || error === undefined || this.#isClosed) return
    const reason = error instanceof Error ? error.message : typeof error
    this.#options.log('debug', 'lan', { reason })
  }
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.entries(value).find(([key]) => key === name)?.[1]
}

function list(packet: unknown, name: string): Answer[] {
  const value = field(packet, name)
  if (!Array.isArray(value)) return []
  return value.filter((one): one is Answer => typeof one === 'object' && one !== null)
}
