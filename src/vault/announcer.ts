// Announces own content, so that others can ask for it: small chunks that lie loose in the journal
// are sealed into bundles, bundles that own packs gained are named in `bundle` ops. What may be
// published follows: a publication ends only where all that it refers to is announced.
//
// Announced is what is durable, in the order in which it lies in the packs; how far that has come
// is noted with the ops themselves (bundle-notes.ts), so that going on after a crash is this same
// routine. Nothing here touches bulk bytes: bundles are read and named by the `scout`, elsewhere.

import { packWriterOf } from '../chunks/chunk-index-port.ts'
import type { BundleIndex, BundlePlace } from '../chunks/chunk-index-port.ts'
import type { PackMark } from '../chunks/pack-store.ts'
import { BUNDLE_CHUNKS_MAX } from '../ops/bounds.ts'
import type { BundleId, ChunkId, Op } from '../ops/types.ts'
import type { StateMeta } from '../state/meta.ts'
import type { JournalCursor, JournalPort, JournalPosition, JournalRecord } from './ports.ts'
import { JOURNAL_LOOSE, JOURNAL_START } from './ports.ts'

/** Loose chunks sealed at one go, and records of the journal read before others run. */
const LOOSE_AT_ONCE = 512
const LOOSE_BYTES_AT_ONCE = 1 << 20
const RECORDS_AT_ONCE = 256
/** Rounds in which everything that was written meanwhile is announced, too; then what is not goes
 *  out ahead of what announces it, which the next run brings. */
const ROUNDS_MAX = 4

/** Bytes [begin, end) of a pack file that bundles lie in. */
export interface PackRange {
  file: number
  begin: number
  end: number
}

/** A bundle of an own pack. */
export interface OwnBundle {
  id: BundleId
  place: BundlePlace
  chunks: ChunkId[]
}

/** Reads the range, or a part from its begin on, and names the bundles in it, in their order. */
export type Scout = (range: PackRange) => Promise<OwnBundle[]>

export interface AnnouncerOptions {
  meta: () => StateMeta
  bundles: Pick<BundleIndex, 'put'>
  journal: Pick<JournalPort, 'scan' | 'end'>
  content: {
    sync(): Promise<void>
    packLoose(ids: readonly ChunkId[]): Promise<void>
  }
  /** The loose chunk of a record, if it lies nowhere else yet. */
  looseIn: (record: JournalRecord) => ChunkId | undefined
  scout: Scout
  /** Valid lengths of the packs of this device's own writers. */
  packs: () => readonly PackMark[]
  /** Own batches that are durable. */
  durableSeq: () => number
  /** The op in a batch, durable when it resolves. */
  commit: (ops: readonly Op[]) => Promise<void>
  pause: () => Promise<void>
}

export class Announcer {
  readonly #options: AnnouncerOptions
  #running: Promise<void> | undefined
  #again = false
  #isClosed = false
  #limit: number
  /** What own batches up to here name is announced. Asked anew at each start: a crash may have come
   *  between a publication and what announces it. */
  #announced = -1
  /** The own batch placed last that names content. */
  #lastPut = -1
  #scannedLoose: JournalCursor | undefined

  /** `published`: length of the own log. */
  constructor(options: AnnouncerOptions, published: number) {
    this.#options = options
    this.#limit = published
  }

  /** Own batches up to here may be published. */
  get limit(): number {
    return this.#limit
  }

  /** An own batch has its place. */
  placed(seq: number, ops: readonly Op[]): void {
    if (ops.some((op) => op.kind === 'put' && op.content.kind !== 'inline')) this.#lastPut = seq
  }

  /** Announces all that is durable at the call. */
  run(): Promise<void> {
    this.#again = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Waits for the round under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running?.catch(() => undefined)
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#isClosed) {
      this.#again = false
      for (let round = 0; round < ROUNDS_MAX && !this.#isClosed; round++) {
        const begun = this.#options.durableSeq()
        if (begun <= this.#announced) break
        const isNew = await this.#round()
        // batches before `begun` are announced by those behind it, which may name more content
        const isExact = this.#lastPut < begun
        this.#announced = isExact ? this.#options.durableSeq() : begun
        if (!isNew) this.#limit = Math.max(this.#limit, begun)
        else if (isExact || round === ROUNDS_MAX - 1) {
          this.#limit = this.#options.durableSeq()
        }
        if (!isNew || isExact) break
      }
    }
  }

  /** True when something was announced. */
  async #round(): Promise<boolean> {
    await this.#packLoose()
    await this.#options.content.sync()
    let isNew = false
    for (const range of this.#ranges()) {
      for (let begin = range.begin; begin < range.end && !this.#isClosed;) {
        const found = await this.#options.scout({ ...range, begin })
        const last = found[found.length - 1]
        if (last === undefined) break
        isNew = await this.#announce(found) || isNew
        begin = last.place.bundleOffset + last.place.bundleBytes
      }
    }
    return isNew
  }

  /** What own packs hold behind the bundle of each that was announced last. */
  #ranges(): PackRange[] {
    const { announced } = this.#options.meta()
    const ranges: PackRange[] = []
    for (const { file, bytes } of this.#options.packs()) {
      const mark = announced.get(packWriterOf(file))
      if (mark !== undefined && file < mark.file) continue
      const begin = mark?.file === file ? mark.bytes : 0
      if (bytes > begin) ranges.push({ file, begin, end: bytes })
    }
    return ranges.sort((a, b) => a.file - b.file)
  }

  async #announce(found: readonly OwnBundle[]): Promise<boolean> {
    const { bundles, commit, meta } = this.#options
    let number = meta().bundles
    const ops: Op[] = []
    for (const { id, place, chunks } of found) {
      bundles.put(id, place)
      for (let at = 0; at < chunks.length; at += BUNDLE_CHUNKS_MAX) {
        const part = chunks.slice(at, at + BUNDLE_CHUNKS_MAX)
        const sealedBytes = place.bundleBytes
        ops.push({ kind: 'bundle', number, id, sealedBytes, chunks: part })
      }
      number++
    }
    if (ops.length > 0) await commit(ops)
    return ops.length > 0
  }

  async #packLoose(): Promise<void> {
    const { journal, looseIn, content, meta, pause } = this.#options
    const from = this.#scannedLoose ?? startOf(meta())
    const { end } = journal
    if (end.sequence <= from.sequence) return
    let ids: ChunkId[] = []
    let bytes = 0
    let count = 0
    for (const record of journal.scan(from)) {
      if (record.type === JOURNAL_LOOSE) {
        const id = looseIn(record)
        if (id !== undefined) {
          ids.push(id)
          bytes += record.payload.length
        }
      }
      if (ids.length >= LOOSE_AT_ONCE || bytes >= LOOSE_BYTES_AT_ONCE) {
        await content.packLoose(ids)
        ids = []
        bytes = 0
      }
      if (++count % RECORDS_AT_ONCE === 0) await pause()
      if (this.#isClosed) return
    }
    if (ids.length > 0) await content.packLoose(ids)
    this.#scannedLoose = end
    meta().looseFrom = end
  }
}

function startOf({ looseFrom }: StateMeta): JournalCursor {
  if (looseFrom === undefined) return JOURNAL_START
  const { position, sequence } = looseFrom
  return { position: position as JournalPosition, sequence }
}
