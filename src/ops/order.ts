/**
 * The total order of ops: effective time, author, sequence, index. It only breaks ties between
 * concurrent ops. Provisional refs (not placed in a batch yet) come after all placed ones, in the
 * order in which they were made.
 */

import type { OpRef } from './types.ts'

/** Negative, zero or positive, as sort() wants it. */
export function compareRefs(a: OpRef, b: OpRef): number {
  if (a.seq < 0 || b.seq < 0) {
    if (a.seq >= 0) return -1
    if (b.seq >= 0) return 1
    return a.order - b.order
  }
  if (a.ms !== b.ms) return a.ms - b.ms
  if (a.counter !== b.counter) return a.counter - b.counter
  if (a.author !== b.author) return a.author < b.author ? -1 : 1
  if (a.seq !== b.seq) return a.seq - b.seq
  return a.index - b.index
}

/** True when both name the same op, whatever they say about its time. */
export function sameRef(a: OpRef, b: OpRef): boolean {
  if (a === b) return true
  if (a.seq < 0 || b.seq < 0) return a.seq < 0 && b.seq < 0 && a.order === b.order
  return a.author === b.author && a.seq === b.seq && a.index === b.index
}

/** The order that the codec lists refs in: by what names them, not by time. */
export function compareRefNames(a: OpRef, b: OpRef): number {
  if (a.author !== b.author) return a.author < b.author ? -1 : 1
  return a.seq !== b.seq ? a.seq - b.seq : a.index - b.index
}
