/**
 * Opening: finds the files, checks that none is missing, and finds the end of the last one. What
 * lies beyond the last durable flush may be torn by a crash: it is left where it is, and the
 * journal goes on in a new part, behind the last whole record. Damage before it is an error.
 * Without a clean end the last group may not be durable: it is written anew, to the new part.
 */

import { join } from 'node:path'
import type { Disk, DiskFile, JournalPosition } from '../vault/ports.ts'
import { JOURNAL_START, journalPosition, journalSegment } from '../vault/ports.ts'
import {
  BLOCK_BYTES, FIRST_OFFSET, GROUP_MAX_BYTES, alignUp, damaged, decodeHeader, fileOffset,
  markerPosition, parseFileName,
} from './format.ts'
import type { SegmentHeader } from './format.ts'
import { Group } from './group.ts'
import { Window, scanFile } from './scan-file.ts'
import type { ScanEnd } from './scan-file.ts'
import type { Segments } from './segments.ts'

const TRIM_STEP_BYTES = 1 << 20

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
  /** The last group, if nothing proves it durable: the first to be written to the new part. */
  unproven: Group | undefined
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
  unproven: undefined,
}

export interface RecoverOptions {
  disk: Disk
  directory: string
  segments: Segments
  vaultId: Uint8Array
  /** Known (from a checkpoint) to have been durable; damage before it is never a torn tail. */
  durable: JournalPosition
  /** No file is changed. */
  readOnly: boolean
}

/** Fills `segments`, returns the tail. */
export function recover(options: RecoverOptions): Tail {
  const { disk, segments, durable, readOnly } = options
  const found = findFiles(options)
  setAsideTorn(disk, segments, found, readOnly)
  checkNoGaps(found)
  for (const { header } of found) if (header !== undefined) segments.add(header)
  const tail = findTail(disk, segments, readOnly)
  if (tail.end < durable) {
    throw damaged(tail.segment, tail.offset, 'durable records are missing')
  }
  return tail
}

/**
 * A last file in which nothing is durable is what a crash left of its beginning: without a header,
 * or with less of its first group than the file before has (where it could not be flushed, so that
 * it was written anew). It is renamed: nothing is deleted that might be of use.
 */
function setAsideTorn(
  disk: Disk,
  segments: Segments,
  found: Found[],
  readOnly: boolean,
): void {
  const last = found.at(-1)
  if (last === undefined) return
  const path = segments.path(last.segment, last.part)
  const file = disk.open(path, 'read')
  try {
    if (last.header === undefined) {
      if (hasMarker(file, last.segment)) throw damaged(last.segment, 0, 'the header is damaged')
    } else if (!isOutdone(disk, segments, file, last.header, found.at(-2)?.header)) {
      return
    }
  } finally {
    file.close()
  }
  if (!readOnly) disk.rename(path, `${path}.torn`)
  found.pop()
  setAsideTorn(disk, segments, found, readOnly)
}

function isOutdone(
  disk: Disk,
  segments: Segments,
  file: DiskFile,
  header: SegmentHeader,
  before: SegmentHeader | undefined,
): boolean {
  const end = endOfFile(file, header)
  const isFirstGroup = end.group === undefined || end.group.sequence === header.firstSequence
  if (!isFirstGroup || isProvenDurable(file, header, end.badOffset)) return false
  if (end.group === undefined || before === undefined) return end.group === undefined
  const other = disk.open(segments.path(before.segment, before.part), 'read')
  try {
    return endOfFile(other, before).sequence > end.sequence
  } finally {
    other.close()
  }
}

function findFiles({ disk, directory, vaultId, readOnly }: RecoverOptions): Found[] {
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
        if (!readOnly) disk.remove(path) // prepared, never written to
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

function findTail(disk: Disk, segments: Segments, readOnly: boolean): Tail {
  const last = segments.last
  if (last === undefined) return EMPTY_TAIL
  const file = segments.file(last)
  const end = endOfFile(file, last)
  const isWhole = end.stop !== 'invalid' && isSpaceBehind(file, last, end.badOffset)
  if (!isWhole && isProvenDurable(file, last, end.badOffset)) {
    throw damaged(last.segment, end.badOffset, 'records are damaged, whole ones follow')
  }
  const tail = {
    segment: last.segment,
    offset: alignUp(end.offset),
    newPart: undefined,
    sequence: end.sequence,
    previousCrc: end.previousCrc ?? 0,
    end: journalPosition(last.segment, end.offset),
    unproven: undefined,
  }
  if (isWhole && end.isClosed) return { ...tail, offset: tail.offset + BLOCK_BYTES }
  if (!readOnly) trimSpace(disk, segments, last, fileOffset(tail.offset, last.begin))
  return { ...tail, newPart: last.part + 1, unproven: readGroup(file, last, end) }
}

/**
 * The last group, to be written anew: nothing proves it durable. It may be in the page cache only,
 * given up by the kernel after a failed write, and then no flush would bring it to the disk.
 */
function readGroup(file: DiskFile, header: SegmentHeader, end: ScanEnd): Group | undefined {
  const { group } = end
  if (group === undefined) return undefined
  const bytes = Buffer.alloc(end.offset - group.offset)
  file.readSync(fileOffset(group.offset, header.begin), bytes)
  const first = { sequence: group.sequence, previousCrc: group.previousCrc ?? 0 }
  return Group.restore(header.segment, group.offset, first, bytes)
}

/** Gives back the space prepared in a file that is not written to any more. */
function trimSpace(
  disk: Disk,
  segments: Segments,
  header: SegmentHeader,
  usedBytes: number,
): void {
  const file = disk.open(segments.path(header.segment, header.part), 'write')
  try {
    let end = file.sizeBytes()
    const window = new Window(file)
    for (; end > usedBytes; end -= TRIM_STEP_BYTES) {
      const begin = Math.max(usedBytes, end - TRIM_STEP_BYTES)
      if (!window.isZero(begin, end - begin)) break
    }
    file.truncate(Math.max(end, usedBytes))
  } finally {
    file.close()
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
function hasMarker(file: DiskFile, segment: number): boolean {
  const window = new Window(file)
  for (let at = 2 * BLOCK_BYTES; ; at += BLOCK_BYTES) {
    const index = window.load(at, BLOCK_BYTES)
    if (index >= window.buffer.length) return false
    const position = markerPosition(window.buffer, index)
    if (position !== undefined && journalSegment(position) === segment) return true
  }
}
