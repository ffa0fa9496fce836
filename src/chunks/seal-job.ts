// Sealing one frozen job: which bytes become which chunks, which of them are new, and the splice
// into the working content once all lie safely in packs or journal. Dedup is decided here, on the
// engine's thread, which alone knows the index with everything pending.
//
// A job's data extents that touch are one *run*; each run is cut on its own, from its first byte,
// so that a file written in any rhythm has the cuts of one written at once:
//   - unless the job is final, the last run's uncertain tail stays dirty, and the next job's run
//     begins exactly at a cut;
//   - a run that appends behind a tail cut by the end of an earlier job begins at that tail, which
//     is read back as the run's *head* (but not when somebody waits and the run is small).
// Runs are cut in windows; a window is sealed while the next one is being cut.

import { EMPTY_BYTES } from '../util/bytes.ts'
import { LatticeError, errnoName, isLatticeError } from '../util/errors.ts'
import { CHUNK_ID_BYTES, chunkIdOf, readChunkId, writeChunkId } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import type { ChunkReader } from './chunk-cache.ts'
import { CHUNKER_FASTCDC, CHUNKER_FIXED_16K, FASTCDC_SIZES, isChunkerId } from './chunker.ts'
import type { ChunkerId } from './chunker.ts'
import { LOOSE_MAX_BYTES } from './chunk-index-port.ts'
import type { LooseChunks } from './chunk-index-port.ts'
import { compressChunk } from './compress.ts'
import type { FrozenJob, Sealed, SealOptions } from './content-store-ports.ts'
import { wholeChunk } from './manifest.ts'
import type { Extent, Placed } from './manifest.ts'
import type { ReadFrozen } from './seal-frozen.ts'
import { CUT_WINDOW_BYTES, HEAD_MAX_BYTES, SEALED_ROW } from './seal-protocol.ts'
import type { Moved, SealBackend, SealResult } from './seal-protocol.ts'
import {
  MAGIC_BYTES,
  apply,
  endOf,
  groupOf,
  headEnd,
  headFrom,
  isLastData,
  isRandomAccess,
  placedChunks,
  rangesOf,
  runsOf,
  tailOf,
} from './seal-runs.ts'
import type { Run } from './seal-runs.ts'
import { INLINE_MAX_BYTES } from './working-content.ts'
import type { Working } from './working-content.ts'

/** Windows of one job that may be sealed at the same time. */
const WINDOWS_MAX = 6
/** A waiting caller's small append is not cut with the tail, until so many have gathered. */
const URGENT_TAIL_MAX = 64

export type SealerOptions = {
  reader: ChunkReader
  loose: LooseChunks
  backend: SealBackend
  idKey: Uint8Array
  readFrozen: ReadFrozen
  /** Extents of a range, nodes loaded as needed. */
  extentsOf: (working: Working, from: number, to: number) => Promise<Placed[]>
  readBack: (placed: readonly Placed[]) => Promise<Uint8Array>
}

/** What the windows of one job have in common. */
type Stream = { job: number; chunker: ChunkerId; spliced: Placed[]; waits: Set<Promise<void>> }

type How = { random: boolean; urgent: boolean; lane: number | undefined }

/** The job of bytes that travel with the request. */
const NO_JOB = -2

export class Sealer {
  readonly #options: SealerOptions
  /** Chunks that are being sealed now; whoever meets one waits for it. */
  readonly #pending = new Map<ChunkId, Promise<void>>()
  /** For plaintext that is used up before the next wait; zero in between. */
  readonly #scratch = new Uint8Array(LOOSE_MAX_BYTES)

  constructor(options: SealerOptions) {
    this.#options = options
    options.backend.onMoved((moved) => this.#moved(moved))
  }

  async seal(working: Working, job: FrozenJob, options: SealOptions): Promise<Sealed> {
    const sizeBytes = job.attr.sizeBytes
    const inline = this.#inlineBytes(working, job)
    if (inline !== undefined) {
      working.setInline(inline)
      return { sealedEnd: endOf(job) }
    }
    working.chunker ??= this.#chunkerFor(working, job)
    const chunker = working.chunker
    if (!isChunkerId(chunker)) throw new LatticeError('unsupported', `unknown chunker ${chunker}`)
    const runs = runsOf(job)
    this.#takeInline(working, job, runs)
    const recut = await this.#takeTail(working, job, runs, options)
    if (recut !== undefined) runs[0] = recut
    const spliced: Placed[] = []
    let sealedEnd = endOf(job)
    const bytes = runs.reduce((sum, run) => sum + run.end - run.begin, 0)
    if (bytes <= LOOSE_MAX_BYTES) this.#sealSmall(job, runs, chunker, spliced)
    else {
      const carries = !options.final && isLastData(job)
      sealedEnd = await this.#sealRuns(job, runs, chunker, options.urgent, carries, spliced)
      if (sealedEnd === Infinity) sealedEnd = endOf(job)
    }
    apply(working, job, spliced, sealedEnd, sizeBytes)
    working.cutEnd = sealedEnd < endOf(job) ? sealedEnd : 0
    return { sealedEnd }
  }

  /** Stores bytes as chunks of their own: small ones loose, many in packs. For manifest nodes. */
  async store(chunks: { id: ChunkId; bytes: Uint8Array }[]): Promise<void> {
    const fresh = chunks.filter(({ id }) => this.#options.reader.known(id) === undefined)
    let sum = 0
    let isSmall = true
    for (const { bytes } of fresh) {
      sum += bytes.length
      isSmall &&= bytes.length <= LOOSE_MAX_BYTES
    }
    if (isSmall && sum <= 4 * LOOSE_MAX_BYTES) {
      for (const { id, bytes } of fresh) this.#storeLoose(id, bytes)
      return
    }
    const waits = new Set<Promise<void>>()
    const { run, placed } = joined(fresh)
    this.#startSealing(NO_JOB, run, placed, { random: false, urgent: true, lane: undefined }, waits)
    await Promise.all(waits)
  }

  /** Seals chunks into packs, also those that are known. */
  async pack(chunks: readonly { id: ChunkId; bytes: Uint8Array }[]): Promise<void> {
    const { run, placed } = joined(chunks)
    await this.#sealFresh(NO_JOB, run, placed, { random: false, urgent: true, lane: undefined })
  }

  /** The chunk of at most LOOSE_MAX_BYTES, sealed into the journal unless it is known. */
  storeSmall(plain: Uint8Array): Extent {
    const id = chunkIdOf(this.#options.idKey, plain)
    if (this.#options.reader.known(id) === undefined) this.#storeLoose(id, plain)
    return wholeChunk(id, plain.length)
  }

  #storeLoose(id: ChunkId, plain: Uint8Array): void {
    const { codec, stored } = compressChunk(plain)
    this.#options.reader.put(id, this.#options.loose.append(id, codec, plain.length, stored))
  }

  /** The whole content when it is small and nothing of it is in chunks that stay. */
  #inlineBytes(working: Working, job: FrozenJob): Uint8Array | undefined {
    const sizeBytes = job.attr.sizeBytes
    if (sizeBytes > INLINE_MAX_BYTES) return undefined
    let covered = 0
    for (const { offset, length } of job.extents) {
      covered += Math.max(0, Math.min(offset + length, sizeBytes) - offset)
    }
    if (covered < sizeBytes && !working.isInlineOnly) return undefined
    return this.#compose(working.inline, job, sizeBytes)
  }

  /** [0, sizeBytes) of inline bytes with the job's extents over them. */
  #compose(inline: Uint8Array | undefined, job: FrozenJob, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes)
    if (inline !== undefined) bytes.set(inline.subarray(0, sizeBytes))
    for (const { offset, length, hole } of job.extents) {
      const end = Math.min(offset + length, sizeBytes)
      if (offset >= end) continue
      const into = bytes.subarray(offset, end)
      if (hole) into.fill(0)
      else this.#options.readFrozen(job.job, offset, into)
    }
    return bytes
  }

  /** Inline bytes become the head of the first run. The working content is not changed yet. */
  #takeInline(working: Working, job: FrozenJob, runs: Run[]): void {
    const inlineBytes = Math.min(working.inline?.length ?? 0, job.attr.sizeBytes)
    if (inlineBytes === 0) return
    const head = this.#compose(working.inline, job, inlineBytes)
    const rest: Run[] = []
    for (const run of runs) {
      if (run.end > inlineBytes) rest.push({ ...run, begin: Math.max(run.begin, inlineBytes) })
    }
    const first = rest[0]
    if (first?.begin === inlineBytes) rest[0] = { begin: 0, end: first.end, head }
    else rest.unshift({ begin: 0, end: inlineBytes, head })
    runs.splice(0, runs.length, ...rest)
  }

  /** The first run, begun at the odd tail of the content that it continues; or undefined. */
  async #takeTail(
    working: Working,
    job: FrozenJob,
    runs: Run[],
    options: SealOptions,
  ): Promise<Run | undefined> {
    const run = runs[0]
    if (run === undefined || run.begin === 0 || run.begin !== working.sizeBytes) return undefined
    if (run.begin === working.cutEnd || working.chunker !== CHUNKER_FASTCDC) return undefined
    const placed = await this.#tailOf(working, run.begin)
    const isSmall = run.end - run.begin < FASTCDC_SIZES.minBytes
    if (options.urgent && isSmall && placed.length < URGENT_TAIL_MAX) return undefined
    const begin = placed[0]?.offset ?? run.begin
    if (begin === run.begin || hasHole(job, begin, run.begin)) return undefined
    const head = await unlessDamaged(this.#options.readBack(placed))
    return head === undefined ? undefined : { begin, end: run.end, head }
  }

  /** The extents before `end` that an append cuts anew. */
  async #tailOf(working: Working, end: number): Promise<Placed[]> {
    const from = Math.max(0, end - HEAD_MAX_BYTES)
    return tailOf((await unlessDamaged(this.#options.extentsOf(working, from, end))) ?? [])
  }

  /** All runs together are small: each is one loose chunk (fixed chunks at their places). */
  #sealSmall(job: FrozenJob, runs: Run[], chunker: ChunkerId, spliced: Placed[]): void {
    const plain = this.#scratch
    let usedBytes = 0
    for (const run of runs) {
      for (let begin = run.begin; begin < run.end; ) {
        const unit = LOOSE_MAX_BYTES
        const end = chunker === CHUNKER_FIXED_16K
          ? Math.min(run.end, (Math.floor(begin / unit) + 1) * unit)
          : run.end
        const bytes = plain.subarray(0, end - begin)
        this.#readRun(job.job, run, begin, bytes)
        spliced.push({ offset: begin, extent: this.storeSmall(bytes) })
        usedBytes = Math.max(usedBytes, bytes.length)
        begin = end
      }
    }
    plain.fill(0, 0, usedBytes)
  }

  #readRun(job: number, run: Run, begin: number, into: Uint8Array): void {
    const headLeft = (run.head?.length ?? 0) - (begin - run.begin)
    let done = 0
    if (run.head !== undefined && headLeft > 0) {
      const from = begin - run.begin
      const part = run.head.subarray(from, from + Math.min(headLeft, into.length))
      into.set(part)
      done = part.length
    }
    if (done < into.length) this.#options.readFrozen(job, begin + done, into.subarray(done))
  }

  /** Returns where the carried tail begins, or Infinity when all is sealed. */
  async #sealRuns(
    job: FrozenJob,
    runs: Run[],
    chunker: ChunkerId,
    urgent: boolean,
    carries: boolean,
    spliced: Placed[],
  ): Promise<number> {
    const stream = { job: job.job, chunker, spliced, waits: new Set<Promise<void>>() }
    const { waits } = stream
    const carried = carries ? runs[runs.length - 1] : undefined
    let sealedEnd = Infinity
    try {
      for (let next = 0; next < runs.length;) {
        const run = runs[next] as Run
        const group = groupOf(runs, next, carried)
        next += Math.max(1, group.length)
        const isUrgent = urgent && next === runs.length
        if (group.length > 1) await this.#sealGroup(stream, group, isUrgent)
        else sealedEnd = await this.#sealRun(stream, run, run === carried, isUrgent)
        while (waits.size >= WINDOWS_MAX) await Promise.race(waits)
      }
      if (urgent) await this.#options.backend.flush()
      await Promise.all(waits)
    } catch (error) {
      await Promise.allSettled(waits)
      throw error
    }
    return sealedEnd
  }

  /** Short runs, each whole, in one window. */
  async #sealGroup(stream: Stream, runs: Run[], urgent: boolean): Promise<void> {
    const { job, chunker } = stream
    const ranges = rangesOf(runs)
    const cut = { job, ranges, head: undefined, chunker, final: true }
    const { lengths, ids, lane } = await this.#options.backend.cut(cut)
    const placed = placedChunks(ranges, lengths, ids)
    for (const one of placed) stream.spliced.push(one)
    const random = chunker === CHUNKER_FIXED_16K
    this.#startSealing(job, runs[0] as Run, placed, { random, urgent, lane }, stream.waits)
  }

  /** Window by window. Returns as #sealRuns. */
  async #sealRun(
    stream: Stream,
    run: Run,
    carriesTail: boolean,
    urgent: boolean,
  ): Promise<number> {
    const { job, chunker, spliced, waits } = stream
    const random = chunker === CHUNKER_FIXED_16K
    let begin = run.begin
    while (begin < run.end) {
      const end = Math.min(run.end, Math.max(begin, headEnd(run)) + CUT_WINDOW_BYTES)
      const isLast = end === run.end
      const ranges = Float64Array.of(begin, end)
      const head = headFrom(run, begin)
      const cut = { job, ranges, head, chunker, final: isLast && !carriesTail }
      let result = await this.#options.backend.cut(cut)
      if (isLast && result.lengths.length === 0 && spliced.length === 0) {
        // A job that is one short tail must make progress: memory may wait for it.
        result = await this.#options.backend.cut({ ...cut, final: true })
      }
      const placed = placedChunks(ranges, result.lengths, result.ids)
      for (const one of placed) spliced.push(one)
      const how = { random, urgent: urgent && isLast, lane: result.lane }
      this.#startSealing(job, run, placed, how, waits)
      for (const { extent } of placed) begin += extent.length
      if (isLast) break
      while (waits.size >= WINDOWS_MAX) await Promise.race(waits)
    }
    return begin < run.end ? begin : Infinity
  }

  /** Seals those of the chunks that are new; `waits` holds what must end well. */
  #startSealing(
    job: number,
    run: Run,
    placed: Placed[],
    how: How,
    waits: Set<Promise<void>>,
  ): void {
    const wait = (promise: Promise<void>): void => {
      const one: Promise<void> = promise.then(() => {
        waits.delete(one)
      })
      one.catch(() => {}) // whoever awaits the set hears it
      waits.add(one)
    }
    const fresh: Placed[] = []
    const claimed = new Set<ChunkId>()
    const others = new Set<Promise<void>>()
    for (const one of placed) {
      const id = one.extent.chunk
      if (id === '' || claimed.has(id) || this.#options.reader.known(id) !== undefined) continue
      const pending = this.#pending.get(id)
      if (pending !== undefined) {
        others.add(pending)
        continue
      }
      claimed.add(id)
      fresh.push(one)
    }
    for (const other of others) wait(other)
    if (fresh.length === 0) return
    const done = this.#sealFresh(job, run, fresh, how)
    for (const id of claimed) this.#pending.set(id, done)
    wait(done)
  }

  async #sealFresh(job: number, run: Run, fresh: Placed[], how: How): Promise<void> {
    const offsets = new Float64Array(fresh.length)
    const lengths = new Uint32Array(fresh.length)
    const ids = new Uint8Array(fresh.length * CHUNK_ID_BYTES)
    fresh.forEach(({ offset, extent }, index) => {
      offsets[index] = offset
      lengths[index] = extent.length
      writeChunkId(ids, index * CHUNK_ID_BYTES, extent.chunk as ChunkId)
    })
    const first = offsets[0] as number
    const head = headFrom(run, first)
    try {
      const request = { job, head, headBegin: first, offsets, lengths, ids, ...how }
      const rows = await this.#options.backend.seal(request)
      this.#locate(ids, lengths, rows)
    } finally {
      for (const { extent } of fresh) this.#pending.delete(extent.chunk as ChunkId)
    }
  }

  #moved({ ids, plainBytes, rows }: Moved): void {
    this.#locate(ids, plainBytes, rows)
  }

  #locate(ids: Uint8Array, plainBytes: Uint32Array, rows: SealResult): void {
    for (let i = 0; i < plainBytes.length; i++) {
      const at = i * SEALED_ROW
      this.#options.reader.put(readChunkId(ids, i * CHUNK_ID_BYTES), {
        where: 'pack',
        file: rows[at] as number,
        bundleOffset: rows[at + 1] as number,
        bundleBytes: rows[at + 2] as number,
        plainOffset: rows[at + 3] as number,
        storedBytes: rows[at + 4] as number,
        plainBytes: plainBytes[i] as number,
        codec: rows[at + 5] as number,
      })
    }
  }

  /** Content that is read and written at random in pages is cut in fixed pieces, for good. */
  #chunkerFor(working: Working, job: FrozenJob): ChunkerId {
    const first = job.extents[0]
    if (working.inline !== undefined || first === undefined || first.hole || first.offset !== 0) {
      return isRandomAccess(working.inline ?? EMPTY_BYTES) ? CHUNKER_FIXED_16K : CHUNKER_FASTCDC
    }
    const start = this.#scratch.subarray(0, Math.min(first.length, MAGIC_BYTES))
    this.#options.readFrozen(job.job, 0, start)
    const chunker = isRandomAccess(start) ? CHUNKER_FIXED_16K : CHUNKER_FASTCDC
    start.fill(0)
    return chunker
  }
}

/** Chunks that travel with a request, as a run of their own. */
function joined(
  chunks: readonly { id: ChunkId; bytes: Uint8Array }[],
): { run: Run; placed: Placed[] } {
  const head = Buffer.concat(chunks.map(({ bytes }) => bytes))
  const placed: Placed[] = []
  let at = 0
  for (const { id, bytes } of chunks) {
    placed.push({ offset: at, extent: wholeChunk(id, bytes.length) })
    at += bytes.length
  }
  return { run: { begin: 0, end: at, head }, placed }
}

/** Undefined when the tail cannot be read: the run is cut on its own then, and what is damaged
 *  stays named, so that an append works whatever lies before it. */
async function unlessDamaged<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (isLatticeError(error) || errnoName(error) !== undefined) return undefined
    throw error
  }
}

/** Whether the job makes a part of [begin, end) a hole: the base's bytes are not the content. */
function hasHole(job: FrozenJob, begin: number, end: number): boolean {
  return job.extents.some(({ offset, length, hole }) => {
    return hole && offset < end && offset + length > begin
  })
}
