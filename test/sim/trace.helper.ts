// What happened in an episode: a rolling hash over every event (two runs of one seed must agree),
// and the last lines as text, for whoever reads about a violation.

const KEPT_LINES = 4000

export class Trace {
  readonly #now: () => number
  #low = 0x811c9dc5
  #high = 0x9e3779b9
  #lines: string[] = []
  events = 0

  constructor(now: () => number) {
    this.#now = now
  }

  note(text: string): void {
    this.events++
    let low = this.#low
    let high = this.#high
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x85ebca6b) + low
    }
    this.#low = low
    this.#high = high
    if (this.#lines.length >= 2 * KEPT_LINES) this.#lines = this.#lines.slice(KEPT_LINES)
    this.#lines.push(`${this.#now().toFixed(1)} ${text}`)
  }

  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
    return hex(this.#low) + hex(this.#high)
  }

  get lines(): readonly string[] {
    return this.#lines.slice(-KEPT_LINES)
  }
}

/** A seed for one of many streams that must not depend on each other. */
export function mixSeed(seed: number, stream: number): number {
  let z = (Math.imul(seed, 0x9e3779b1) + Math.imul(stream + 1, 0x85ebca6b)) >>> 0
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
  return (z ^ (z >>> 15)) >>> 0
}
