// StateIndex in memory: the twin of db/lmdb-index.ts for the simulator and for tests. What a
// checkpoint has written survives reopen(), as LMDB survives the process; the rest is gone.

import type { AuthorId, NodeId } from '../../src/ops/types.ts'
import { makeRoot } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta, noteOwnBatches } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import type { Generation } from '../../src/state/overlay.ts'
import { must } from '../../src/util/assert.ts'
import type { Cut, StateIndex } from '../../src/vault/checkpoint.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'

export class MemoryIndex implements StateIndex {
  readonly #rootNode: NodeId
  readonly #base = new MemoryBase()
  #store: Overlay
  #written: { meta: StateMeta; cursor: JournalPosition; resume: Uint8Array } | undefined
  #frozen: Generation | undefined

  constructor(rootNode: NodeId) {
    this.#rootNode = rootNode
    this.#store = this.#openStore()
  }

  /** Another object after every reopen(). */
  get store(): Overlay {
    return this.#store
  }

  /** False: the whole journal is to be folded. */
  get existed(): boolean {
    return this.#written !== undefined
  }

  get cursor(): JournalPosition {
    return this.#written?.cursor ?? 0 as JournalPosition
  }

  get resume(): Uint8Array | undefined {
    return this.#written?.resume
  }

  get changes(): number {
    return this.#store.changes
  }

  stateHash(): string {
    return this.#base.stateHash.digest()
  }

  /** As after a crash: of the last checkpoint. Whoever used the store before must not any more. */
  reopen(): void {
    this.#frozen = undefined
    this.#store = this.#openStore()
  }

  freeze(): void {
    this.#frozen = this.#store.freeze()
  }

  thaw(): void {
    this.#frozen = undefined
    this.#store.thaw()
  }

  async write(position: JournalPosition, author: AuthorId, cut: Cut): Promise<void> {
    const generation = must(this.#frozen, 'write: nothing is frozen')
    const meta = must(generation.meta, 'write: no counters')
    this.#store.takeEarlierBatches(position)
    noteOwnBatches(meta, this.#store.meta, author, cut)
    this.#base.absorb(generation)
    this.#store.release()
    this.#frozen = undefined
    this.#written = { meta: meta.copy(), cursor: position, resume: cut.resume }
  }

  async close(): Promise<void> {}

  #openStore(): Overlay {
    const meta = this.#written?.meta.copy()
    const store = new Overlay(this.#base, meta ?? new StateMeta(), this.#base.epoch + 1)
    if (meta === undefined) makeRoot(store, this.#rootNode)
    return store
  }
}
