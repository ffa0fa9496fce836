// One connection's asking side: bundles that were asked for and arrive in parts. The peer may send
// as many bytes as it was granted, over all requests; parts come in order, without gaps, and every
// request gets a last word, also one that was cancelled. What breaks that throws, and the channel
// ends the connection. Whether the bytes fit the id is for the caller to check.

import type { BundleId } from '../chunks/bundle-id.ts'
import { LatticeError } from '../util/errors.ts'
import type { BufferPool } from '../util/buffer-pool.ts'
import type { PeerChannel } from './channel.ts'
import { CreditWindow, WINDOW_MIN_BYTES } from './credit-window.ts'
import {
  END_ABSENT,
  END_BUSY,
  END_CANCELLED,
  END_COMPLETE,
  PART_LEAST_BYTES,
  decodeEnd,
  decodePart,
  encodeNumber,
  encodeWant,
  protocolError,
} from './messages.ts'
import type { TokenBucket } from './token-bucket.ts'

/** The peer stops reading ahead at 256; a few stay for what is urgent. */
const REQUESTS_MAX = 224
const REQUESTED_MIN_BYTES = 4 * 1024 * 1024
const URGENT_BYTES = 8 * 1024 * 1024

interface Request {
  id: BundleId
  sizeBytes: number
  into: Uint8Array | undefined
  arrivedBytes: number
  isCancelled: boolean
  onProgress: () => void
  resolve: (bytes: Uint8Array) => void
  reject: (error: Error) => void
}

export interface Transfer {
  done: Promise<Uint8Array>
  reprioritise(rank: number): void
  cancel(): void
}

export class BundleRequests {
  readonly window = new CreditWindow()
  readonly #channel: PeerChannel
  readonly #download: TokenBucket
  readonly #buffers: BufferPool
  readonly #requests = new Map<number, Request>()
  readonly #nowMs: () => number
  #next = 0
  #requestedBytes = 0
  #lastArrivalMs = 0
  #timer: NodeJS.Timeout | undefined

  /** What arrives lies in `buffers`' and is the caller's, who may give it back there. */
  constructor(
    channel: PeerChannel, download: TokenBucket, buffers: BufferPool, nowMs: () => number,
  ) {
    this.#channel = channel
    this.#download = download
    this.#buffers = buffers
    this.#nowMs = nowMs
    // hello grants the first window
    this.window.granted(WINDOW_MIN_BYTES)
  }

  get count(): number {
    return this.#requests.size
  }

  get requestedBytes(): number {
    return this.#requestedBytes
  }

  get lastArrivalMs(): number {
    return this.#lastArrivalMs
  }

  /** Since when the peer owes bytes and sends none, in ms; 0 when it owes nothing. */
  silenceMs(): number {
    const isOwed = this.#requests.size > 0 && this.window.underWayBytes >= PART_LEAST_BYTES
    if (!isOwed) return 0
    return this.#nowMs() - this.#lastArrivalMs
  }

  hasRoom(sizeBytes: number, isUrgent: boolean): boolean {
    if (this.#requests.size >= REQUESTS_MAX) return false
    if (this.#requests.size === 0) return true
    const most = Math.max(2 * this.window.windowBytes, REQUESTED_MIN_BYTES)
    return this.#requestedBytes + sizeBytes <= most + (isUrgent ? URGENT_BYTES : 0)
  }

  /**
   * `done` rejects 'not-available' (not there), 'corrupt' (another size), 'busy', 'io' (the peer
   * cannot read it), 'cancelled', 'closed'.
   */
  want(id: BundleId, sizeBytes: number, rank: number, onProgress: () => void): Transfer {
    this.#next = (this.#next + 1) % 0x1_0000_0000
    const request = this.#next
    if (this.#requests.size === 0) this.#lastArrivalMs = this.#nowMs()
    const done = new Promise<Uint8Array>((resolve, reject) => {
      const rest = { into: undefined, arrivedBytes: 0, isCancelled: false, onProgress }
      this.#requests.set(request, { id, sizeBytes, ...rest, resolve, reject })
    })
    this.#requestedBytes += sizeBytes
    this.#channel.send('want', encodeWant({ request, rank, id }))
    return {
      done,
      reprioritise: (to) => {
        if (!this.#requests.has(request)) return
        this.#channel.send('want', encodeWant({ request, rank: to, id }))
      },
      cancel: () => {
        this.#cancel(request, new LatticeError('cancelled', 'nobody waits any more'))
      },
    }
  }

  onPart(bytes: Uint8Array): void {
    const part = decodePart(bytes)
    const entry = this.#requests.get(part.request)
    if (entry === undefined) throw protocolError('part-unknown')
    const size = part.bytes.length
    const nowMs = this.#nowMs()
    if (part.offset !== entry.arrivedBytes) throw protocolError('part-order')
    if (!this.window.arrived(size, nowMs)) throw protocolError('part-credit')
    this.#lastArrivalMs = nowMs
    entry.arrivedBytes += size
    // the size is what an op said: that it is another need not be the fault of who sends it
    if (entry.arrivedBytes > entry.sizeBytes) this.#cancel(part.request, wrongSize())
    if (!entry.isCancelled) {
      entry.into ??= this.#buffers.take(entry.sizeBytes)
      entry.into.set(part.bytes, part.offset)
      entry.onProgress()
    }
    this.#grant()
  }

  onEnd(bytes: Uint8Array): void {
    const { request, status } = decodeEnd(bytes)
    const entry = this.#requests.get(request)
    if (entry === undefined) throw protocolError('end-unknown')
    this.#lastArrivalMs = this.#nowMs()
    this.#requests.delete(request)
    this.#requestedBytes -= entry.sizeBytes
    if (entry.isCancelled) return
    if (status !== END_COMPLETE) entry.reject(endError(status))
    else if (entry.into === undefined || entry.arrivedBytes !== entry.sizeBytes) {
      entry.reject(wrongSize())
    } else entry.resolve(entry.into)
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const entry of this.#requests.values()) {
      if (!entry.isCancelled) entry.reject(new LatticeError('closed', 'the connection ended'))
    }
    this.#requests.clear()
    this.#requestedBytes = 0
  }

  #cancel(request: number, reason: LatticeError): void {
    const entry = this.#requests.get(request)
    if (entry === undefined || entry.isCancelled) return
    entry.isCancelled = true
    if (entry.into !== undefined) this.#buffers.give(entry.into)
    entry.into = undefined
    entry.reject(reason)
    this.#channel.send('cancel', encodeNumber(request))
  }

  /** The limit on downloads is kept by granting late. */
  #grant(): void {
    const bytes = this.window.toGrant()
    if (bytes === 0 || this.#timer !== undefined) return
    const waitMs = this.#download.take(bytes)
    if (waitMs === 0) {
      this.window.granted(bytes)
      this.#channel.send('credit', encodeNumber(bytes))
      return
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#grant()
    }, waitMs)
  }
}

function wrongSize(): LatticeError {
  return new LatticeError('corrupt', 'a bundle has another size', { details: { rule: 'size' } })
}

function endError(status: number): LatticeError {
  if (status === END_ABSENT) return new LatticeError('not-available', 'the peer has it not')
  if (status === END_BUSY) return new LatticeError('busy', 'the peer has too much to do')
  if (status === END_CANCELLED) return new LatticeError('cancelled', 'cancelled')
  return new LatticeError('io', 'the peer cannot read it')
}
