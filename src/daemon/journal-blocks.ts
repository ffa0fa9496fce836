// What logs are made from again: batches of any author as the journal has them, as they were sealed
// or received, and descriptors of bundles as the index has noted them from these.

import type { BundleIndex } from '../chunks/chunk-index-port.ts'
import { encodeDescriptor } from '../logs/descriptor.ts'
import type { LogName, LogSource } from '../logs/types.ts'
import type { AuthorId } from '../ops/types.ts'
import type { Store } from '../state/store.ts'
import { blockOf } from '../vault/journal-batch.ts'
import type { JournalPort, JournalPosition } from '../vault/ports.ts'

const BLOCKS_AT_ONCE = 256

export class JournalBlocks implements LogSource {
  readonly #store: Pick<Store, 'batch'>
  readonly #journal: Pick<JournalPort, 'read'>
  readonly #bundles: Pick<BundleIndex, 'described'>

  constructor(
    store: Pick<Store, 'batch'>,
    journal: Pick<JournalPort, 'read'>,
    bundles: Pick<BundleIndex, 'described'>,
  ) {
    this.#store = store
    this.#journal = journal
    this.#bundles = bundles
  }

  /** Descriptors of the author's bundles from that place on. */
  *descriptors(author: AuthorId, from: number): Generator<Uint8Array> {
    for (let number = from; ; number++) {
      const block = this.#descriptor(author, number)
      if (block === undefined) return
      yield block
    }
  }

  /** `length`, if the index knows that many descriptors of the author; else 0. */
  contentLength(author: AuthorId, length: number): number {
    return this.#bundles.described(author, length - 1) === undefined ? 0 : length
  }

  blocks({ author, kind }: LogName, from: number, maxBytes: number): Promise<Uint8Array[]> {
    const blocks: Uint8Array[] = []
    let sizeBytes = 0
    for (let seq = from; blocks.length < BLOCKS_AT_ONCE; seq++) {
      const block = kind === 'ops' ? this.#batch(author, seq) : this.#descriptor(author, seq)
      if (block === undefined) break
      sizeBytes += block.length
      if (blocks.length > 0 && sizeBytes > maxBytes) break
      blocks.push(block)
    }
    return Promise.resolve(blocks)
  }

  /** Undefined also when it is too large for a batch: it was not kept. */
  #batch(author: AuthorId, seq: number): Uint8Array | undefined {
    const info = this.#store.batch(author, seq)
    if (info === undefined) return undefined
    const block = blockOf(this.#journal.read(info.position as JournalPosition))
    return block.length === 0 ? undefined : block
  }

  #descriptor(author: AuthorId, number: number): Uint8Array | undefined {
    const bundle = this.#bundles.described(author, number)
    if (bundle === undefined) return undefined
    const { id, sealedBytes } = bundle
    return encodeDescriptor({ bundleId: Buffer.from(id, 'latin1'), sealedBytes })
  }
}
