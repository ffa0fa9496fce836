// Renames over a file that wait for their source's content. The rename is in the live view at once,
// with a put that holds the last sealed content; the put() that sealing ends with fills the op and
// the head in the record, and releases the operation. Keyed by the ino that the kernel knows the
// content by; a content may be renamed over several files before it is sealed.

import type { Content, Op, OpRef } from '../ops/types.ts'
import type { NodeRecord } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import { assert, must } from '../util/assert.ts'
import type { Attr, Ino } from './buffers.ts'
import type { OperationQueue } from './live-tree.ts'
import type { UserOperation } from './pending.ts'
import type { Clock } from './ports.ts'
import type { UnsealedContent } from './tree.ts'

const RETRY_MS = 1000

interface Blocked {
  operation: UserOperation
  put: Op & { kind: 'put' }
  ref: OpRef // of the put
  /** The record as the fold left it. */
  record: NodeRecord
}

export class BlockedRenames {
  readonly #store: Store
  readonly #queue: OperationQueue
  readonly #clock: Clock
  readonly #waiting = new Map<number, Blocked[]>()

  constructor(store: Store, queue: OperationQueue, clock: Clock) {
    this.#store = store
    this.#queue = queue
    this.#clock = clock
  }

  has(ino: Ino): boolean {
    return this.#waiting.has(ino)
  }

  /** The operation, just folded and pushed, brings content of `ino` that is not sealed yet. */
  add(ino: Ino, operation: UserOperation, unsealed: UnsealedContent): void {
    const put = must(operation.ops[0], 'blocked: no put')
    assert(put.kind === 'put', 'blocked: the first op is not a put')
    const record = must(this.#store.node(ino), 'blocked: no such inode')
    const ref = must(operation.refs[0], 'blocked: no ref')
    const waiting = this.#waiting.get(ino)
    if (waiting !== undefined) waiting.push({ operation, put, ref, record })
    else this.#waiting.set(ino, [{ operation, put, ref, record }])
    this.#seal(ino, unsealed)
  }

  /** The content is sealed: fills what waits for it. False when nothing did. */
  fill(ino: Ino, content: Content, attr: Attr): boolean {
    const waiting = this.#waiting.get(ino)
    if (waiting === undefined) return false
    this.#waiting.delete(ino)
    for (const blocked of waiting) {
      this.#fillOne(blocked, content, attr)
      blocked.operation.ready = true
      this.#queue.unblock(blocked.operation)
    }
    return true
  }

  #fillOne(blocked: Blocked, content: Content, attr: Attr): void {
    const { put, ref } = blocked
    const { sizeBytes, mtimeSec, mtimeNsec } = attr
    const grown = sizeBytes - put.sizeBytes
    const filling = { content, sizeBytes, mtimeSec, mtimeNsec }
    Object.assign(put, filling)
    const shownIno = this.#store.inoOf(put.node)
    const shown = shownIno === undefined ? undefined : this.#store.node(shownIno)
    // the record may have been copied since, for a newer generation: the same op is in both
    const copies = new Set([blocked.record, shown ?? this.#store.hidden(put.node)])
    for (const copy of copies) {
      if (copy === undefined) continue
      for (const head of copy.heads) if (head.ref === ref) Object.assign(head, filling)
      if (copy.mtimeRef !== ref) continue
      copy.mtimeSec = mtimeSec
      copy.mtimeNsec = mtimeNsec
    }
    if (shown?.winner?.ref === ref) this.#store.meta.contentBytes += grown
    const { record } = blocked
    const frozen = this.#store.frozenMeta(record)
    if (frozen !== undefined && record.ino !== 0 && record.winner?.ref === ref) {
      frozen.contentBytes += grown
    }
  }

  /** Asks for what was written before the rename added last; a later rename asks again. */
  #seal(ino: Ino, unsealed: UnsealedContent): void {
    const waiting = this.#waiting.get(ino)
    const count = waiting?.length
    const isLast = (): boolean => this.#waiting.get(ino) === waiting && waiting?.length === count
    unsealed.seal(ino).then(
      () => {
        if (isLast()) this.#settle(ino)
      },
      (error: unknown) => {
        // the queue must not lose the rename; who waits behind it must not wait for ever
        if (this.#waiting.get(ino) === waiting) this.#queue.stuck(error)
        this.#clock.setTimer(RETRY_MS, () => {
          if (isLast()) this.#seal(ino, unsealed)
        })
      },
    )
  }

  /** Sealing ended without a put: nothing had changed after all. */
  #settle(ino: Ino): void {
    const waiting = this.#waiting.get(ino)
    this.#waiting.delete(ino)
    for (const { operation } of waiting ?? []) {
      operation.ready = true
      this.#queue.unblock(operation)
    }
  }
}
