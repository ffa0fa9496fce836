// Buffers of some hundred kilobytes that are used again and again: each new one is memory outside
// of the JavaScript heap, and makes the garbage collector mark the whole heap every few megabytes.

export class BufferPool {
  readonly #free: Uint8Array[] = []
  readonly #mostBytes: number
  #freeBytes = 0

  /** Keeps at most so many bytes that nobody uses. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** The caller's until it gives it back, or drops it. What lies in it is left from before. */
  take(sizeBytes: number): Uint8Array {
    const at = this.#free.findIndex(({ byteLength }) => (
      byteLength >= sizeBytes && byteLength <= 2 * sizeBytes
    ))
    const [found] = at === -1 ? [] : this.#free.splice(at, 1)
    if (found === undefined) return new Uint8Array(sizeBytes)
    this.#freeBytes -= found.byteLength
    return found.subarray(0, sizeBytes)
  }

  /** Of a buffer that take() returned; nobody may hold a view of it any more. */
  give(buffer: Uint8Array): void {
    const whole = new Uint8Array(buffer.buffer)
    if (this.#freeBytes + whole.byteLength > this.#mostBytes) return
    this.#freeBytes += whole.byteLength
    this.#free.push(whole)
  }
}
