// How many bytes of parts may be under way from one peer: twice what the link carries in one round
// trip, as far as it is known, and at least half a MiB. A larger window would only wait in buffers,
// and everything else on the connection behind it.
//
//   estimate = least round trip of late × most bytes per second of late
//
// While the window is what limits, the rate is window / round trip, so twice the product doubles
// the window until the link is full. Where the trip is shorter than the time that either end may be
// busy with something else, that time counts: a local network is not kept waiting, and nobody is
// told of credit for every part. Times come from the caller, in milliseconds.

export const WINDOW_MIN_BYTES = 512 * 1024
export const WINDOW_MAX_BYTES = 16 * 1024 * 1024
const SPAN_MS = 200
/** An end verifies a bundle, collects garbage, or is not scheduled. */
const BUSY_MS = 40
const KEPT = 10

export class CreditWindow {
  #windowBytes = WINDOW_MIN_BYTES
  /** Granted and not yet arrived. */
  #underWayBytes = 0
  readonly #roundTrips: number[] = []
  readonly #rates: number[] = []
  #spanBeganMs = 0
  #spanBytes = 0

  get windowBytes(): number {
    return this.#windowBytes
  }

  get underWayBytes(): number {
    return this.#underWayBytes
  }

  /** Bytes per second, the most of late; 0 when unknown. */
  get bytesPerSecond(): number {
    return Math.max(0, ...this.#rates)
  }

  /** Milliseconds, the least of late; undefined when unknown. */
  get roundTripMs(): number | undefined {
    return this.#roundTrips.length === 0 ? undefined : Math.min(...this.#roundTrips)
  }

  measured(roundTripMs: number): void {
    keep(this.#roundTrips, Math.max(0.05, roundTripMs))
  }

  granted(bytes: number): void {
    this.#underWayBytes += bytes
  }

  /** False when the peer sent more than it was granted. */
  arrived(bytes: number, nowMs: number): boolean {
    if (bytes > this.#underWayBytes) return false
    this.#underWayBytes -= bytes
    if (nowMs - this.#spanBeganMs > 2 * SPAN_MS) this.#begin(nowMs)
    this.#spanBytes += bytes
    const spanMs = nowMs - this.#spanBeganMs
    if (spanMs >= SPAN_MS) {
      keep(this.#rates, (this.#spanBytes / spanMs) * 1000)
      this.#begin(nowMs)
      this.#adapt()
    }
    return true
  }

  /** What to grant now; 0 until it is worth a message. */
  toGrant(): number {
    const bytes = this.#windowBytes - this.#underWayBytes
    return bytes >= this.#windowBytes / 4 ? bytes : 0
  }

  #adapt(): void {
    const tripMs = Math.max(BUSY_MS, this.roundTripMs ?? 0)
    const product = (tripMs * this.bytesPerSecond) / 1000
    this.#windowBytes = Math.round(
      Math.min(WINDOW_MAX_BYTES, Math.max(WINDOW_MIN_BYTES, 2 * product)),
    )
  }

  #begin(nowMs: number): void {
    this.#spanBeganMs = nowMs
    this.#spanBytes = 0
  }
}

function keep(list: number[], value: number): void {
  list.push(value)
  if (list.length > KEPT) list.shift()
}
