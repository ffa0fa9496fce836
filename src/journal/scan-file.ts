/**
 * Walks the records of one journal file in order, checking each against the chain of checksums and
 * sequences. It tells how the walk ended; what that means (end, torn tail, damage) is decided by
 * whoever knows what comes behind the file (recover.ts, journal.ts).
 */

import {
  JOURNAL_CLOSING, JOURNAL_MARKER, JOURNAL_RECORD_HEADER_BYTES, journalPosition,
} from '../vault/ports.ts'
import type { DiskFile } from '../vault/ports.ts'
import {
  BLOCK_BYTES, alignUp, fileOffset, isIntact, markerPosition, readRecordHeader,
} from './format.ts'
import type { SegmentHeader } from './format.ts'

const WINDOW_BYTES = 1 << 20

export interface FileRecord {
  type: number
  offset: number
  sequence: number
  /** A view that nobody writes to. */
  payload: Uint8Array
}

export interface ScanPoint {
  /** Offset in the segment: where a record is expected; of the end, behind the last one. */
  offset: number
  /** What the next record must carry. previousCrc is unknown when a scan begins in the middle. */
  sequence: number
  previousCrc: number | undefined
}

export interface ScanEnd extends ScanPoint {
  /** 'reached' the sequence asked for, prepared 'space', or something 'invalid' at `badOffset`. */
  stop: 'reached' | 'space' | 'invalid'
  badOffset: number
  /** Where the last group began; undefined when no marker was passed. */
  group: ScanPoint | undefined
  /** A closing record stands behind the last group. */
  isClosed: boolean
}

/** Markers are walked over, not yielded. Ends before the record with sequence `untilSequence`. */
export function* scanFile(
  file: DiskFile,
  header: SegmentHeader,
  from: ScanPoint,
  untilSequence: number,
): Generator<FileRecord, ScanEnd> {
  const window = new Window(file)
  const point = { ...from }
  let group: ScanPoint | undefined
  let isClosed = false
  const end = (stop: ScanEnd['stop'], badOffset: number): ScanEnd => (
    { ...point, stop, badOffset, group, isClosed }
  )
  let offset = from.offset
  while (point.sequence < untilSequence) {
    const next = skipPadding(window, header, offset)
    if (next.stop !== undefined) return end(next.stop, next.offset)
    offset = next.offset
    const at = fileOffset(offset, header.begin)
    const head = window.load(at, JOURNAL_RECORD_HEADER_BYTES)
    const record = readRecordHeader(window.buffer, head)
    if (record === undefined || record.sequence !== point.sequence) return end('invalid', offset)
    if (point.previousCrc !== undefined && record.previousCrc !== point.previousCrc) {
      return end('invalid', offset)
    }
    const sizeBytes = JOURNAL_RECORD_HEADER_BYTES + record.payloadBytes
    const begin = window.load(at, sizeBytes)
    if (!isIntact(window.buffer, begin, record)) return end('invalid', offset)
    const recordOffset = offset
    offset += sizeBytes
    isClosed = record.type === JOURNAL_CLOSING
    if (isClosed) continue
    if (record.type === JOURNAL_MARKER) group = { ...point, offset: recordOffset }
    point.offset = offset
    point.sequence++
    point.previousCrc = record.crc
    if (record.type === JOURNAL_MARKER) continue
    const payload = window.buffer.subarray(begin + JOURNAL_RECORD_HEADER_BYTES, begin + sizeBytes)
    yield { type: record.type, offset: recordOffset, sequence: record.sequence, payload }
  }
  return end('reached', offset)
}

/** From zeros to the marker that follows; `stop` when there is none. */
function skipPadding(
  window: Window,
  header: SegmentHeader,
  offset: number,
): { offset: number; stop?: 'space' | 'invalid' } {
  const at = fileOffset(offset, header.begin)
  const first = window.load(at, 1)
  if (window.buffer[first] !== 0 && first < window.buffer.length) return { offset }
  const boundary = alignUp(offset)
  if (!window.isZero(at, boundary - offset)) return { offset, stop: 'invalid' }
  if (isMarkerAt(window, header, boundary)) return { offset: boundary }
  if (!window.isZero(fileOffset(boundary, header.begin), BLOCK_BYTES)) {
    return { offset: boundary, stop: 'invalid' }
  }
  // one empty block is a closing record that did not last
  const behind = boundary + BLOCK_BYTES
  return isMarkerAt(window, header, behind)
    ? { offset: behind }
    : { offset: boundary, stop: 'space' }
}

function isMarkerAt(window: Window, header: SegmentHeader, offset: number): boolean {
  const index = window.load(fileOffset(offset, header.begin), BLOCK_BYTES)
  return markerPosition(window.buffer, index) === journalPosition(header.segment, offset)
}

/** A part of a file in RAM that moves on. Buffers are not reused: payloads are views of them. */
export class Window {
  readonly #file: DiskFile
  buffer: Buffer = Buffer.alloc(0)
  #begin = 0

  constructor(file: DiskFile) {
    this.#file = file
  }

  /** Index in `buffer` of the file's offset `at`, with `sizeBytes` behind it if they are there. */
  load(at: number, sizeBytes: number): number {
    const isHere = at >= this.#begin && at + sizeBytes <= this.#begin + this.buffer.length
    if (!isHere) {
      const wanted = Math.min(WINDOW_BYTES, this.#file.sizeBytes() - at)
      const fresh = Buffer.allocUnsafeSlow(Math.max(wanted, sizeBytes))
      this.buffer = fresh.subarray(0, this.#file.readSync(at, fresh))
      this.#begin = at
    }
    return at - this.#begin
  }

  /** Whether the file has only zeros, or nothing, in the range. */
  isZero(at: number, sizeBytes: number): boolean {
    for (let done = 0; done < sizeBytes;) {
      const step = Math.min(WINDOW_BYTES, sizeBytes - done)
      const begin = this.load(at + done, step)
      const part = this.buffer.subarray(begin, begin + step)
      if (part.length === 0) return true
      const isSame = Buffer.compare(part.subarray(1), part.subarray(0, -1)) === 0
      if (part[0] !== 0 || !isSame) return false
      done += part.length
    }
    return true
  }
}
