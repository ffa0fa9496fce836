// A limit in bytes per second that several transfers share: whoever wants to send asks, and hears
// when it may. Debts are allowed (the bucket goes below zero by one piece), so that a piece larger
// than a second's worth goes through at all.

export class TokenBucket {
  #bytesPerSecond: number
  #tokens: number
  #filledMs: number
  readonly #nowMs: () => number

  /** 0 = no limit. */
  constructor(bytesPerSecond = 0, nowMs: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond
    this.#nowMs = nowMs
    this.#filledMs = nowMs()
    this.#tokens = this.#capacity
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond
  }

  setLimit(bytesPerSecond: number): void {
    this.#fill()
    this.#bytesPerSecond = bytesPerSecond
    this.#tokens = Math.min(this.#tokens, this.#capacity)
    if (bytesPerSecond === 0) this.#tokens = 0
  }

  /** 0 when the bytes were taken; otherwise after how many ms it is worth asking again. */
  take(bytes: number): number {
    if (this.#bytesPerSecond === 0) return 0
    this.#fill()
    if (this.#tokens > 0) {
      this.#tokens -= bytes
      return 0
    }
    return Math.max(1, Math.ceil((-this.#tokens / this.#bytesPerSecond) * 1000))
  }

  /** The largest piece that keeps the flow even. */
  pieceBytes(max: number): number {
    if (this.#bytesPerSecond === 0) return max
    return Math.max(4096, Math.min(max, Math.floor(this.#bytesPerSecond / 8)))
  }

  get #capacity(): number {
    return this.#bytesPerSecond / 8
  }

  #fill(): void {
    const nowMs = this.#nowMs()
    const gained = ((nowMs - this.#filledMs) / 1000) * this.#bytesPerSecond
    this.#tokens = Math.min(this.#capacity, this.#tokens + gained)
    this.#filledMs = nowMs
  }
}
