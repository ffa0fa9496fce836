/**
 * The queue of user operations that are in the live view but not in the journal yet: strictly first
 * in, first out, so that what a crash leaves is always a prefix. An operation whose content is
 * still being sealed is not ready, and everything behind it waits. Tickets count operations from 1.
 */

import type { Op, OpRef } from '../ops/types.ts'
import type { Facts } from '../state/facts.ts'
import { assert } from '../util/assert.ts'
import type { Ticket } from './tree.ts'

/** One user-level operation: its ops go into one batch, in order, or none of them. */
export interface UserOperation {
  /** Read when the operation is placed; may be filled in until it is ready. */
  readonly ops: readonly Op[]
  /** refs[i] names ops[i]; provisional until placed, then filled in: the objects stay the same. */
  readonly refs: readonly OpRef[]
  readonly facts: Facts
  ready: boolean
}

const COMPACT_COUNT = 1024

export class Pending {
  #operations: UserOperation[] = []
  #begin = 0
  /** Operations from the first on that are known to be ready. */
  #readyCount = 0
  #last: Ticket = 0

  /** Ticket of the operation pushed last; 0 before the first. */
  get last(): Ticket {
    return this.#last
  }

  get count(): number {
    return this.#operations.length - this.#begin
  }

  /** Ticket of the first operation in the queue. */
  get first(): Ticket {
    return this.#last - this.count + 1
  }

  push(operation: UserOperation): Ticket {
    assert(operation.ops.length === operation.refs.length, 'pending: a ref for each op')
    this.#operations.push(operation)
    return ++this.#last
  }

  /** How many operations from the first on may be placed. */
  get readyCount(): number {
    while (this.#readyCount < this.count && this.at(this.#readyCount).ready) this.#readyCount++
    return this.#readyCount
  }

  at(index: number): UserOperation {
    const operation = this.#operations[this.#begin + index]
    assert(operation !== undefined, 'pending: no such operation')
    return operation
  }

  * [Symbol.iterator](): Iterator<UserOperation> {
    for (let i = 0; i < this.count; i++) yield this.at(i)
  }

  /** Takes the first `count` away: they are in the journal. */
  shift(count: number): void {
    assert(count <= this.readyCount, 'pending: only what is ready is placed')
    this.#begin += count
    this.#readyCount -= count
    if (this.#begin < COMPACT_COUNT && this.count > 0) return
    this.#operations = this.#operations.slice(this.#begin)
    this.#begin = 0
  }
}
