// One connection's serving side: what the peer wants, in order of rank, in parts. Bounds: 256
// wants, three bundles in memory, as many bytes under way as the peer granted (credit), and no
// part while the stream is full, so that small messages pass. Of eight parts at least one goes to
// the lowest rank that waits: bulk goes on, slowly, while somebody reads.

import type { BundleId } from '../chunks/bundle-id.ts'
import type { PeerChannel } from './channel.ts'
import {
  END_ABSENT,
  END_BUSY,
  END_CANCELLED,
  END_COMPLETE,
  END_FAILED,
  PART_LEAST_BYTES,
  PART_MAX_BYTES,
  PRIORITY_RANKS,
  decodeNumber,
  decodeWant,
  encodeEnd,
  protocolError,
} from './messages.ts'
import type { ReadGate } from './read-gate.ts'
import type { TokenBucket } from './token-bucket.ts'

export const WANTS_MAX = 256
const LOADED_MAX = 3
const CREDIT_MAX = 1 << 28
const FAIR_EVERY = 8

interface Item {
  request: number
  rank: number
  id: BundleId
  state: 'waiting' | 'loading' | 'loaded'
  bytes: Uint8Array | undefined
  sentBytes: number
}

export class BundleServer {
  readonly #channel: PeerChannel
  readonly #gate: ReadGate
  readonly #upload: TokenBucket
  readonly #items = new Map<number, Item>()
  readonly #ranks: Map<number, Item>[] = Array.from({ length: PRIORITY_RANKS }, () => new Map())
  /** The latest request of all; none before the first. */
  #newest: number | undefined
  #credit = 0
  #loaded = 0
  #parts = 0
  #isFull = false
  #isClosed = false
  #isRetired = false
  #timer: NodeJS.Timeout | undefined

  constructor(channel: PeerChannel, gate: ReadGate, upload: TokenBucket) {
    this.#channel = channel
    this.#gate = gate
    this.#upload = upload
  }

  get count(): number {
    return this.#items.size
  }

  onWant(bytes: Uint8Array): void {
    const { request, rank, id } = decodeWant(bytes)
    const known = this.#items.get(request)
    if (known !== undefined) {
      if (known.id !== id) throw protocolError('want-twice')
      this.#ranks[known.rank]?.delete(request)
      known.rank = rank
      this.#ranks[rank]?.set(request, known)
      return this.#pump()
    }
    // another rank for what has got its last word already: the two have crossed
    if (!isNewer(request, this.#newest)) return
    this.#newest = request
    if (this.#isRetired) this.#end(request, END_ABSENT)
    else if (this.#items.size >= WANTS_MAX) this.#end(request, END_BUSY)
    else {
      const item: Item = { request, rank, id, state: 'waiting', bytes: undefined, sentBytes: 0 }
      this.#items.set(request, item)
      this.#ranks[rank]?.set(request, item)
    }
    this.#pump()
  }

  onCancel(bytes: Uint8Array): void {
    const item = this.#items.get(decodeNumber(bytes))
    // the last word on it may have crossed this on the way
    if (item === undefined) return
    this.#finish(item, END_CANCELLED)
    this.#pump()
  }

  onCredit(bytes: Uint8Array): void {
    this.grant(decodeNumber(bytes))
  }

  grant(bytes: number): void {
    this.#credit += bytes
    if (this.#credit > CREDIT_MAX) throw protocolError('credit-size')
    this.#pump()
  }

  onDrain(): void {
    this.#isFull = false
    this.#pump()
  }

  /** From now on the peer gets nothing that it has not got. Idempotent. */
  retire(): void {
    this.#isRetired = true
    for (const item of this.#items.values()) this.#finish(item, END_ABSENT)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#items.clear()
    for (const rank of this.#ranks) rank.clear()
  }

  #pump(): void {
    if (this.#isClosed) return
    this.#load()
    while (!this.#isFull && !this.#isClosed) {
      const item = this.#next()
      if (item === undefined || !this.#sendPart(item)) return
    }
  }

  /** True when a part went out. */
  #sendPart(item: Item): boolean {
    const bytes = item.bytes ?? new Uint8Array(0)
    const leftBytes = bytes.length - item.sentBytes
    const least = Math.min(leftBytes, PART_LEAST_BYTES)
    if (this.#credit < least) return false
    const most = Math.min(leftBytes, this.#credit)
    const size = Math.min(most, this.#upload.pieceBytes(PART_MAX_BYTES))
    const waitMs = this.#upload.take(size)
    if (waitMs > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#pump()
      }, waitMs)
      return false
    }
    const offset = item.sentBytes
    item.sentBytes += size
    this.#credit -= size
    this.#parts++
    const part = { request: item.request, offset, bytes: bytes.subarray(offset, offset + size) }
    this.#isFull = !this.#channel.sendPart(part)
    if (item.sentBytes === bytes.length) {
      this.#finish(item, END_COMPLETE)
      this.#load()
    }
    return true
  }

  #next(): Item | undefined {
    const isFair = this.#parts % FAIR_EVERY === FAIR_EVERY - 1
    const ranks = isFair ? this.#ranks.toReversed() : this.#ranks
    for (const rank of ranks) {
      for (const item of rank.values()) if (item.state === 'loaded') return item
    }
    return undefined
  }

  /** Reads ahead; what somebody waits for may exceed the bound by one. */
  #load(): void {
    for (const [rank, items] of this.#ranks.entries()) {
      for (const item of items.values()) {
        if (this.#loaded >= LOADED_MAX + (rank === 0 ? 1 : 0)) return
        if (item.state === 'waiting') this.#loadOne(item)
      }
    }
  }

  #loadOne(item: Item): void {
    item.state = 'loading'
    this.#loaded++
    this.#gate.read(item.id, item.rank).then(
      (bytes) => {
        item.state = 'loaded'
        if (!this.#isHere(item)) this.#loaded--
        else if (bytes === undefined || bytes.length === 0) this.#finish(item, END_ABSENT)
        else item.bytes = bytes
      },
      () => {
        item.state = 'loaded'
        if (!this.#isHere(item)) this.#loaded--
        else this.#finish(item, END_FAILED)
      },
    ).then(() => this.#pump()).catch((error: unknown) => this.#channel.end('internal', error))
  }

  #isHere(item: Item): boolean {
    return this.#items.get(item.request) === item
  }

  #finish(item: Item, status: number): void {
    // one that is being read counts until it was: else want and cancel in turns read without bound
    if (item.state === 'loaded') this.#loaded--
    item.bytes = undefined
    this.#items.delete(item.request)
    this.#ranks[item.rank]?.delete(item.request)
    this.#end(item.request, status)
  }

  #end(request: number, status: number): void {
    this.#channel.send('end', encodeEnd(request, status))
  }
}

/** Of numbers that count up and begin again after 2³² (as RFC 1982 compares them). */
function isNewer(request: number, newest: number | undefined): boolean {
  return newest === undefined || (request !== newest && ((request - newest) >>> 0) < 0x8000_0000)
}
