// The journal as the source that logs are made from again: batches of any author as they were
// sealed or received.

import type { LogName, LogSource } from '../logs/types.ts'
import type { Store } from '../state/store.ts'
import { blockOf } from '../vault/journal-batch.ts'
import type { JournalPort, JournalPosition } from '../vault/ports.ts'

const BLOCKS_AT_ONCE = 256

export class JournalBlocks implements LogSource {
  readonly #store: Pick<Store, 'batch'>
  readonly #journal: Pick<JournalPort, 'read'>

  constructor(store: Pick<Store, 'batch'>, journal: Pick<JournalPort, 'read'>) {
    this.#store = store
    this.#journal = journal
  }

  blocks({ author, kind }: LogName, from: number, maxBytes: number): Promise<Uint8Array[]> {
    const blocks: Uint8Array[] = []
    let sizeBytes = 0
    for (let seq = from; kind === 'ops' && blocks.length < BLOCKS_AT_ONCE; seq++) {
      const info = this.#store.batch(author, seq)
      if (info === undefined) break
      const block = blockOf(this.#journal.read(info.position as JournalPosition))
      if (block.length === 0) break // too large for a batch: it was not kept
      sizeBytes += block.length
      if (blocks.length > 0 && sizeBytes > maxBytes) break
      blocks.push(block)
    }
    return Promise.resolve(blocks)
  }
}
