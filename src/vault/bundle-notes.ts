// What `bundle` ops say, noted in the index: where own bundles were announced up to, and of chunks
// that are not here which bundles hold them. Whatever the standing of the author: a bundle that is
// announced can be asked for. Called for each applied batch, and again for some of them on replay,
// so that noting twice must change nothing.

import { packWriterOf } from '../chunks/chunk-index-port.ts'
import type { BundleIndex, BundlePlace, ChunkIndex } from '../chunks/chunk-index-port.ts'
import type { AuthorId, ChunkId, Op } from '../ops/types.ts'
import type { StateMeta } from '../state/meta.ts'
import type { Clock } from './ports.ts'

/** A chunk whose bundle nobody has named yet is waited for this long. */
export const ANNOUNCEMENT_WAIT_MS = 10_000

export interface BundleNotesOptions {
  meta: () => StateMeta
  chunks: Pick<ChunkIndex, 'announce'>
  bundles: Pick<BundleIndex, 'get' | 'describe'>
  own: AuthorId
  clock: Clock
}

export class BundleNotes {
  readonly #options: BundleNotesOptions
  readonly #waiting = new Map<ChunkId, Set<() => void>>()

  constructor(options: BundleNotesOptions) {
    this.#options = options
  }

  note(author: AuthorId, ops: readonly Op[]): void {
    for (const op of ops) if (op.kind === 'bundle') this.#note(author, op)
  }

  /** Resolves at the next note about the chunk, or when that takes too long. */
  announced(chunk: ChunkId): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(chunk) ?? new Set()
      this.#waiting.set(chunk, waiting)
      const timer = this.#options.clock.setTimer(ANNOUNCEMENT_WAIT_MS, () => done())
      const done = (): void => {
        timer.cancel()
        waiting.delete(done)
        if (waiting.size === 0) this.#waiting.delete(chunk)
        resolve()
      }
      waiting.add(done)
    })
  }

  #note(author: AuthorId, op: Op & { kind: 'bundle' }): void {
    const { chunks, bundles, own, meta } = this.#options
    const place = bundles.get(op.id)
    if (author === own) {
      const counters = meta()
      counters.bundles = Math.max(counters.bundles, op.number + 1)
      if (place !== undefined) markAnnounced(counters, place)
    }
    const bundle = { id: op.id, sealedBytes: op.sealedBytes }
    bundles.describe(author, op.number, bundle)
    for (const chunk of op.chunks) {
      if (place === undefined) chunks.announce(chunk, bundle)
      for (const done of this.#waiting.get(chunk) ?? []) done()
    }
  }
}

/** Bundles of a writer are announced in the order in which they lie in its packs. */
function markAnnounced(meta: StateMeta, { file, bundleOffset, bundleBytes }: BundlePlace): void {
  const writer = packWriterOf(file)
  const before = meta.announced.get(writer)
  const bytes = bundleOffset + bundleBytes
  const isFurther = before === undefined || file > before.file
    || (file === before.file && bytes > before.bytes)
  if (isFurther) meta.announced.set(writer, { file, bytes })
}
