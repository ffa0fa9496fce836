// StateIndex over the memory twin of the base: what a checkpoint wrote survives crash(), the rest
// does not. Writing may be made to fail, and takes a turn of `pause` as a disk would.
import type { AuthorId, NodeId } from '../../src/ops/types.ts'
import { makeRoot } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta, noteOwnBatches } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import type { Generation } from '../../src/state/overlay.ts'
import type { Cut, StateIndex } from '../../src/vault/checkpoint.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'

interface Written {
  base: MemoryBase
  meta: StateMeta
  cursor: JournalPosition
  resume: Uint8Array | undefined
}

export interface MemoryIndexOptions {
  rootNode: NodeId
  pause?: () => Promise<void>
}

export class MemoryIndex implements StateIndex {
  readonly store: Overlay
  /** Called before anything is written: what it throws is the checkpoint's failure. */
  fault: () => void = () => undefined
  writes = 0
  readonly #options: MemoryIndexOptions
  #written: Written
  #frozen: Generation | undefined
  #isDead = false

  constructor(options: MemoryIndexOptions, written?: Written) {
    this.#options = options
    const fresh = { base: new MemoryBase(), meta: new StateMeta(), cursor: 0 as JournalPosition }
    this.#written = written ?? { ...fresh, resume: undefined }
    const { base, meta } = this.#written
    this.store = new Overlay(base, meta.copy(), base.epoch + 1)
    if (written === undefined) makeRoot(this.store, options.rootNode)
  }

  /** What the next start finds; undefined resume = nothing, so that all is replayed. */
  crash(): MemoryIndex {
    this.#isDead = true
    return this.#written.resume === undefined
      ? new MemoryIndex(this.#options)
      : new MemoryIndex(this.#options, this.#written)
  }

  get cursor(): JournalPosition {
    return this.#written.cursor
  }

  get resume(): Uint8Array | undefined {
    return this.#written.resume
  }

  get changes(): number {
    return this.store.changes
  }

  freeze(): void {
    this.#frozen = this.store.freeze()
  }

  thaw(): void {
    this.#frozen = undefined
    this.store.thaw()
  }

  async write(position: JournalPosition, author: AuthorId, cut: Cut): Promise<void> {
    const generation = this.#frozen
    if (generation?.meta === undefined) throw new Error('write: nothing is frozen')
    await this.#options.pause?.()
    this.fault()
    if (this.#isDead) throw new Error('the process has ended')
    this.store.takeEarlierBatches(position)
    noteOwnBatches(generation.meta, this.store.meta, author, cut)
    this.#written.base.absorb(generation)
    this.store.release()
    this.#frozen = undefined
    const { base } = this.#written
    this.#written = { base, meta: generation.meta.copy(), cursor: position, resume: cut.resume }
    this.writes++
  }

  stateHash(): string {
    return this.#written.base.stateHash.digest()
  }

  async close(): Promise<void> {}
}
