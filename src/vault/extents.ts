// Extents: an interval map over one file, in plain sight. Ascending, disjoint pieces, each with a
// state and either bytes (of exactly its length, never written to again) or none for a hole.
// What no piece covers is absent. Belongs to BuffersTwin; linear on purpose.

import { assert } from '../util/assert.ts'

export type ExtentState = 'dirty' | 'frozen' | 'clean'

export interface Extent {
  begin: number
  end: number
  state: ExtentState
  bytes: Uint8Array | undefined
}

export class Extents {
  #list: Extent[] = []

  get all(): readonly Extent[] {
    return this.#list
  }

  /** Pieces cut to [begin, end), ascending. */
  within(begin: number, end: number): Extent[] {
    const out: Extent[] = []
    for (const extent of this.#list) {
      const from = Math.max(begin, extent.begin)
      const to = Math.min(end, extent.end)
      if (from < to) out.push(cut(extent, from, to))
    }
    return out
  }

  /** What no piece covers in [begin, end). */
  absent(begin: number, end: number): { begin: number; end: number }[] {
    const out: { begin: number; end: number }[] = []
    let at = begin
    for (const extent of this.within(begin, end)) {
      if (extent.begin > at) out.push({ begin: at, end: extent.begin })
      at = extent.end
    }
    if (at < end) out.push({ begin: at, end })
    return out
  }

  remove(begin: number, end: number): void {
    if (begin >= end) return
    const out: Extent[] = []
    for (const extent of this.#list) {
      if (extent.end <= begin || extent.begin >= end) {
        out.push(extent)
        continue
      }
      if (extent.begin < begin) out.push(cut(extent, extent.begin, begin))
      if (extent.end > end) out.push(cut(extent, end, extent.end))
    }
    this.#list = out
  }

  /** Puts a piece in place of whatever was there. */
  put(extent: Extent): void {
    if (extent.begin >= extent.end) return
    const length = extent.end - extent.begin
    assert(extent.bytes === undefined || extent.bytes.length === length, 'extent: length')
    this.remove(extent.begin, extent.end)
    const at = this.#list.findIndex((other) => other.begin >= extent.end)
    this.#list.splice(at < 0 ? this.#list.length : at, 0, extent)
  }

  /** Changes the state of every piece of one state; from `splitAt` on it becomes `after`. */
  move(from: ExtentState, before: ExtentState, splitAt: number, after: ExtentState): void {
    const out: Extent[] = []
    for (const extent of this.#list) {
      if (extent.state !== from) {
        out.push(extent)
        continue
      }
      const middle = Math.min(Math.max(splitAt, extent.begin), extent.end)
      if (extent.begin < middle) {
        out.push({ ...cut(extent, extent.begin, middle), state: before })
      }
      if (middle < extent.end) out.push({ ...cut(extent, middle, extent.end), state: after })
    }
    this.#list = out
  }

  some(state: ExtentState): boolean {
    return this.#list.some((extent) => extent.state === state)
  }

  /** Bytes held in RAM by pieces of a state; holes cost none. */
  dataBytes(state: ExtentState): number {
    let sum = 0
    for (const extent of this.#list) {
      if (extent.state === state && extent.bytes !== undefined) sum += extent.end - extent.begin
    }
    return sum
  }
}

function cut(extent: Extent, begin: number, end: number): Extent {
  const { state, bytes } = extent
  const part = bytes?.subarray(begin - extent.begin, end - extent.begin)
  return { begin, end, state, bytes: part }
}

/** Joins neighbours of one kind (data or hole, and one state when `states` matter). */
export function joinAlike<T extends { offset: number; length: number; hole: boolean }>(
  pieces: T[],
  alike: (a: T, b: T) => boolean = () => true,
): T[] {
  const out: T[] = []
  for (const piece of pieces) {
    const last = out.at(-1)
    const touches = last !== undefined && last.offset + last.length === piece.offset
    if (last !== undefined && touches && last.hole === piece.hole && alike(last, piece)) {
      last.length += piece.length
    } else {
      out.push({ ...piece })
    }
  }
  return out
}
