// Arithmetic of sealing: a job's runs, the pieces that their cuts make, the tail that an append
// cuts anew, and the splice into the working content. Pure, but for apply().

import { bufferView } from '../util/bytes.ts'
import { CHUNK_ID_BYTES, readChunkId } from './chunk-id.ts'
import { FASTCDC_SIZES } from './chunker.ts'
import type { FrozenJob } from './content-store-ports.ts'
import { holeOf, wholeChunk } from './manifest.ts'
import type { Extent, Placed } from './manifest.ts'
import { CUT_WINDOW_BYTES } from './seal-protocol.ts'
import type { Working } from './working-content.ts'

/** A stretch of the job that is cut as one stream: head bytes, then frozen bytes up to `end`. */
export type Run = { begin: number; end: number; head: Uint8Array | undefined }

/** In the place of an id: the chunk would be all zeros. */
const HOLE_ID = '\0'.repeat(CHUNK_ID_BYTES)

/** Where everything that the job tells ends. */
export function endOf(job: FrozenJob): number {
  const last = job.extents[job.extents.length - 1]
  return Math.max(job.attr.sizeBytes, last === undefined ? 0 : last.offset + last.length)
}

export function isLastData(job: FrozenJob): boolean {
  return job.extents[job.extents.length - 1]?.hole === false
}

export function runsOf(job: FrozenJob): Run[] {
  const runs: Run[] = []
  for (const { offset, length, hole } of job.extents) {
    if (hole || length === 0) continue
    const last = runs[runs.length - 1]
    if (last !== undefined && last.end === offset) last.end += length
    else runs.push({ begin: offset, end: offset + length, head: undefined })
  }
  return runs
}

export function headEnd(run: Run): number {
  return run.begin + (run.head?.length ?? 0)
}

/** The part of the run's head from `offset` on. */
export function headFrom(run: Run, offset: number): Uint8Array | undefined {
  return offset < headEnd(run) ? run.head?.subarray(offset - run.begin) : undefined
}

/** Longer runs have a window of their own. */
const GROUPED_MAX_BYTES = 64 * 1024
const GROUP_RUNS_MAX = 1024

/** As many runs from `first` on as are short and fit into one window; none is `carried`. */
export function groupOf(runs: readonly Run[], first: number, carried: Run | undefined): Run[] {
  const group: Run[] = []
  let bytes = 0
  for (let i = first; i < runs.length && group.length < GROUP_RUNS_MAX; i++) {
    const run = runs[i] as Run
    const length = run.end - run.begin
    if (run === carried || run.head !== undefined || length > GROUPED_MAX_BYTES) break
    bytes += length
    if (bytes > CUT_WINDOW_BYTES) break
    group.push(run)
  }
  return group
}

export function rangesOf(runs: readonly Run[]): Float64Array {
  const ranges = new Float64Array(runs.length * 2)
  runs.forEach(({ begin, end }, i) => {
    ranges[i * 2] = begin
    ranges[i * 2 + 1] = end
  })
  return ranges
}

/** The chunks that were cut of these ranges, at their places. */
export function placedChunks(
  ranges: Float64Array,
  lengths: Uint32Array,
  ids: Uint8Array,
): Placed[] {
  const placed: Placed[] = []
  let range = 0
  let offset = ranges[0] as number
  lengths.forEach((length, index) => {
    const id = readChunkId(ids, index * CHUNK_ID_BYTES)
    placed.push({ offset, extent: id === HOLE_ID ? holeOf(length) : wholeChunk(id, length) })
    offset += length
    if (offset === ranges[range * 2 + 1]) offset = ranges[++range * 2] ?? offset
  })
  return placed
}

/**
 * The end of the content that a chunker might cut otherwise once more follows: whole chunks shorter
 * than the least length, back from the end, and the one before them. The last may be the start of
 * a chunk whose rest was cut off.
 */
export function tailOf(placed: Placed[]): Placed[] {
  let first = placed.length
  while (first > 0) {
    const { extent } = placed[first - 1] as Placed
    const isWhole = extent.length === extent.chunkBytes || first === placed.length
    if (extent.chunk === '' || extent.begin > 0 || !isWhole) break
    first--
    if (extent.length >= FASTCDC_SIZES.minBytes) break
  }
  return placed.slice(first)
}

/** All is sealed up to sealedEnd: the working content takes it over. Nothing here can fail. */
export function apply(
  working: Working,
  job: FrozenJob,
  spliced: Placed[],
  sealedEnd: number,
  sizeBytes: number,
): void {
  if (sizeBytes < working.sizeBytes) working.resize(sizeBytes)
  if (spliced.length > 0 && working.inline !== undefined) working.replaceInline(undefined)
  for (const { offset, length, hole } of job.extents) {
    const end = Math.min(offset + length, sealedEnd)
    if (hole && offset < end) working.splice(offset, [holeOf(end - offset)])
  }
  for (let i = 0; i < spliced.length; ) {
    const offset = (spliced[i] as Placed).offset
    const extents: Extent[] = []
    let end = offset
    for (; i < spliced.length && (spliced[i] as Placed).offset === end; i++) {
      const { extent } = spliced[i] as Placed
      extents.push(extent)
      end += extent.length
    }
    working.splice(offset, extents)
  }
  if (sealedEnd >= sizeBytes && working.sizeBytes < sizeBytes) working.resize(sizeBytes)
}

/** As far as isRandomAccess() looks. */
export const MAGIC_BYTES = 1082

/** SQLite databases and disk images, by their magic numbers. */
export function isRandomAccess(start: Uint8Array): boolean {
  const has = (at: number, magic: string): boolean =>
    start.length >= at + magic.length &&
    bufferView(start).toString('latin1', at, at + magic.length) === magic
  return (
    has(0, 'SQLite format 3\0') ||
    has(0, 'QFI\xfb') || // qcow2
    has(0, 'KDMV') || // VMDK
    has(0, 'vhdxfile') ||
    has(0, 'conectix') || // VHD
    has(64, '\x7f\x10\xda\xbe') || // VDI
    has(510, '\x55\xaa') || // a boot sector
    has(1080, '\x53\xef') // ext2 to ext4
  )
}
