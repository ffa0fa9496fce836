/**
 * Opening: finds the files, checks that none is missing, and finds the end of the last one. What
 * lies beyond the last durable flush may be torn by a crash: it is left where it is, and the journal
 * goes on in a new part behind the last whole record. Damage before it is an error.
 */

import { join } from 'node:path'
import type { Disk, DiskFile, JournalPosition } from '../vault/ports.ts'
import { JOURNAL_START, journalPosition, journalSegment } from '../vault/ports.ts'
import {
  BLOCK_BYTES, FIRST_OFFSET, GROUP_MAX_BYTES, alignUp, damaged, decodeHeader, fileOffset,
  markerPosition, parseFileName,
} from './format.ts'
import type { SegmentHeader } from './format.ts'
import { Window, scanFile } from './scan-file.ts'
import type { ScanEnd } from './scan-file.ts'
import type { Segments } from './segments.ts'

/** Where the journal goes on. */
export interface Tail {
  segment: number
  /** Offset of the next group. */
  offset: number
  /** Part to create for it; undefined = go on in the last file. */
  newPart: number | undefined
  sequence: number
  previousCrc: number
  /** Behind the last record. */
  end: JournalPosition
  /** Something torn was left behind. */
  isTorn: boolean
}

interface Found {
  segment: number
  part: number
  header: SegmentHeader | undefined
}

export const EMPTY_TAIL: Tail = {
  segment: 0,
  offset: FIRST_OFFSET,
  newPart: 0,
  sequence: 0,
  previousCrc: 0,
  end: JOURNAL_START.position,
  isTorn: false,
}

/**
 * Fills `segments`, returns the tail. `durable`: a position known (from a checkpoint) to have been
 * durable; damage before it is never taken for a torn tail.
 */
export async function recover(
  disk: Disk,
  directory: string,
  segments: Segments,
  vaultId: Uint8Array,
  durable: JournalPosition,
): Promise<Tail> {
  const found = findFiles(disk, directory, vaultId)
  checkNoGaps(found)
  for (const { header } of found) if (header !== undefined) segments.add(header)
  const tail = findTail(disk, segments, found)
  if (tail.end < durable) {
    throw damaged(tail.segment, tail.offset, 'durable records are missing')
  }
  // What a crash left in the page cache counts from now on: it must be durable before it does.
  const last = segments.last
  if (last !== undefined) {
    await segments.file(last).sync()
    await disk.syncDirectory(directory)
  }
  return tail
}

function findFiles(disk: Disk, directory: string, vaultId: Uint8Array): Found[] {
  const found: Found[] = []
  for (const name of disk.list(directory)) {
    const id = parseFileName(name)
    if (id === undefined) continue
    const path = join(directory, name)
    const file = disk.open(path, 'read')
    try {
      const block = Buffer.alloc(BLOCK_BYTES)
      const header = decodeHeader(block.subarray(0, file.readSync(0, block)), vaultId)
      if (header !== undefined && (header.segment !== id.segment || header.part !== id.part)) {
        throw damaged(id.segment, 0, 'the file has been renamed')
      }
      if (header === undefined && new Window(file).isZero(0, file.sizeBytes())) {
        disk.remove(path) // prepared, never written to
        continue
      }
      found.push({ ...id, header })
    } finally {
      file.close()
    }
  }
  return found.toSorted((a, b) => a.segment - b.segment || a.part - b.part)
}

/** A file without a header may only be what a crash left of the beginning of a file. */
function checkNoGaps(found: Found[]): void {
  let before: Found | undefined
  for (const file of found) {
    const expected = before === undefined ? 0 : before.segment + 1
    if (file.segment > expected) throw damaged(expected, 0, 'the file is missing')
    if (file.header !== undefined) checkFollows(before, file.header)
    else if (found.some((other) => other.segment > file.segment) && !hasPart(found, file)) {
      throw damaged(file.segment, 0, 'the header is damaged')
    }
    before = file
  }
}

/** Whether a later part of the same segment carries on in place of the file. */
function hasPart(found: Found[], file: Found): boolean {
  return found.some((other) => (
    other.segment === file.segment && other.part > file.part && other.header !== undefined
  ))
}

function checkFollows(before: Found | undefined, header: SegmentHeader): void {
  const isFirst = before === undefined || before.segment < header.segment
  const mayBegin = isFirst && header.part === 0 ? header.begin === FIRST_OFFSET : true
  const previous = before?.header
  const isAfter = previous === undefined || previous.firstSequence <= header.firstSequence
  if (!mayBegin || !isAfter || header.begin % BLOCK_BYTES !== 0) {
    throw damaged(header.segment, header.begin, 'the file does not follow the one before it')
  }
}

function findTail(disk: Disk, segments: Segments, found: Found[]): Tail {
  const lastFound = found.at(-1)
  if (lastFound === undefined) return EMPTY_TAIL
  if (lastFound.header === undefined) {
    const file = disk.open(segments.path(lastFound.segment, lastFound.part), 'read')
    try {
      if (hasAnyMarker(file, lastFound.segment)) {
        throw damaged(lastFound.segment, 0, 'the header is damaged')
      }
    } finally {
      file.close()
    }
  }
  const last = segments.last
  if (last === undefined) {
    return { ...EMPTY_TAIL, segment: lastFound.segment, newPart: lastFound.part + 1, isTorn: true }
  }
  const file = segments.file(last)
  const end = endOfFile(file, last)
  const isTorn = end.stop === 'invalid' || !isSpaceBehind(file, last, end.badOffset)
  if (isTorn && isProvenDurable(file, last, end.badOffset)) {
    throw damaged(last.segment, end.badOffset, 'records are damaged, whole ones follow')
  }
  const tail = {
    segment: last.segment,
    offset: alignUp(end.offset),
    sequence: end.sequence,
    previousCrc: end.previousCrc ?? 0,
    end: journalPosition(last.segment, end.offset),
  }
  if (lastFound.header === undefined) return { ...tail, ...behind(lastFound, last, tail.offset) }
  return { ...tail, newPart: isTorn ? last.part + 1 : undefined, isTorn }
}

/** The journal goes on behind a file whose beginning is torn. */
function behind(
  torn: Found,
  last: SegmentHeader,
  offset: number,
): Pick<Tail, 'segment' | 'offset' | 'newPart' | 'isTorn'> {
  const isSame = torn.segment === last.segment
  return {
    segment: torn.segment,
    offset: isSame ? offset : FIRST_OFFSET,
    newPart: torn.part + 1,
    isTorn: true,
  }
}

function endOfFile(file: DiskFile, header: SegmentHeader): ScanEnd {
  const from = {
    offset: header.begin, sequence: header.firstSequence, previousCrc: header.previousCrc,
  }
  const records = scanFile(file, header, from, Number.MAX_SAFE_INTEGER)
  let step = records.next()
  while (step.done !== true) step = records.next()
  return step.value
}

function isSpaceBehind(file: DiskFile, header: SegmentHeader, offset: number): boolean {
  const at = fileOffset(offset, header.begin)
  const sizeBytes = Math.min(GROUP_MAX_BYTES + BLOCK_BYTES, Math.max(0, file.sizeBytes() - at))
  return new Window(file).isZero(at, sizeBytes)
}

/** Whether a group begins behind `offset`: it was written after everything before was durable. */
function isProvenDurable(file: DiskFile, header: SegmentHeader, offset: number): boolean {
  const window = new Window(file)
  const first = alignUp(offset + 1)
  for (let next = first; ; next += BLOCK_BYTES) {
    const index = window.load(fileOffset(next, header.begin), BLOCK_BYTES)
    if (index >= window.buffer.length) return false
    const position = journalPosition(header.segment, next)
    if (markerPosition(window.buffer, index) === position) return true
  }
}

/** For a file without a header, whose begin is unknown: a second group proves the first durable. */
function hasAnyMarker(file: DiskFile, segment: number): boolean {
  const window = new Window(file)
  for (let at = 2 * BLOCK_BYTES; ; at += BLOCK_BYTES) {
    const index = window.load(at, BLOCK_BYTES)
    if (index >= window.buffer.length) return false
    const position = markerPosition(window.buffer, index)
    if (position !== undefined && journalSegment(position) === segment) return true
  }
}
