/**
 * The append-only truth of this device: records in order, in RAM until a flush makes them durable
 * as one group (format.ts has the bytes). Invariants:
 *   - a record's position never changes, also when its flush fails;
 *   - groups are written one after another, each only after the one before is durable;
 *   - after a failed write or flush its file is never written again (the kernel may have dropped
 *     the pages and report the next flush as good): what was in it goes to a new part from RAM;
 *   - a durable block is never rewritten.
 * One per vault; another process is kept out elsewhere (the vault's lock).
 */

import { assert } from '../util/assert.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import {
  JOURNAL_MARKER, JOURNAL_RECORD_HEADER_BYTES, JOURNAL_RECORD_MAX_BYTES, JOURNAL_START,
  journalOffset, journalPosition, journalSegment,
} from '../vault/ports.ts'
import type {
  Disk, DiskFile, JournalCursor, JournalGate, JournalPort, JournalPosition, JournalRecord,
  JournalRecordType,
} from '../vault/ports.ts'
import {
  BLOCK_BYTES, FIRST_OFFSET, GROUP_MAX_BYTES, MARKER_BYTES, SEGMENT_MAX_BYTES, alignUp,
  closingBlock, damaged, encodeHeader,
  fileOffset, isIntact, readRecordHeader,
} from './format.ts'
import type { SegmentHeader } from './format.ts'
import { Group } from './group.ts'
import type { Chain } from './group.ts'
import { recover } from './recover.ts'
import type { Tail } from './recover.ts'
import { Segments } from './segments.ts'
import { Spare } from './spare.ts'

/** From this size on what is in RAM is flushed although nobody asked. */
const EAGER_FLUSH_BYTES = 1 << 20
const FIRST_FILE_BYTES = 4 << 20

export interface JournalOptions {
  directory: string
  disk: Disk
  /** 16 bytes. */
  vaultId: Uint8Array
  /** A position known to have been durable (from a checkpoint): what lies before is never torn. */
  durable?: JournalPosition | undefined
  /** Positions per segment, at most 64 MiB (the default); multiples of 4 KiB. */
  segmentBytes?: number
  /** Space prepared for the first file (4 MiB) and ahead for the next one (64 MiB); 0 = none. */
  firstFileBytes?: number
  spareBytes?: number
  /** No file is made, cut, renamed or removed. What nothing proves durable is read all the same. */
  readOnly?: boolean
}

type FullOptions = Required<Omit<JournalOptions, 'durable'>>

interface Current {
  file: DiskFile
  header: SegmentHeader
  /** Space prepared when it was opened: beyond it a flush would change metadata. */
  preparedBytes: number
}

export class Journal implements JournalPort {
  readonly #options: FullOptions
  readonly #segments: Segments
  readonly #spare: Spare
  readonly #chain: Chain
  /** Where the next group begins. */
  #segment: number
  #offset: number
  /** The last file that exists, whatever is in it: names are not used twice. */
  #lastFile: { segment: number; part: number }
  /** What is written to; undefined at first and after a failure. */
  #current: Current | undefined
  /** Not durable yet, oldest first. The last one may still be open. */
  readonly #groups: Group[] = []
  #open: Group | undefined
  /** Of a group that was written: for the next one. */
  #buffer: Buffer | undefined
  #end: JournalPosition
  #round: Promise<void> | undefined
  #nextRound: Promise<void> | undefined
  #hasNews = false
  #trouble: Error | undefined
  #gate: JournalGate | undefined
  #isClosed = false

  private constructor(options: FullOptions, segments: Segments, tail: Tail) {
    this.#options = options
    this.#segments = segments
    this.#spare = new Spare(options.disk, options.directory, options.spareBytes)
    this.#chain = { sequence: tail.sequence, previousCrc: tail.previousCrc }
    this.#segment = tail.segment
    this.#offset = tail.offset
    this.#end = tail.end
    if (tail.unproven !== undefined) {
      this.#groups.push(tail.unproven)
      this.#hasNews = !options.readOnly
    }
    if (options.readOnly) {
      this.#lastFile = { segment: tail.segment, part: -1 } // never used: nothing is written
    } else if (tail.newPart === undefined) {
      this.#current = this.#reopen()
      this.#lastFile = this.#current.header
    } else {
      this.#lastFile = { segment: tail.segment, part: tail.newPart - 1 }
    }
  }

  /**
   * Opens the journal in a directory, which is made if missing. Throws LatticeError
   * 'damaged-journal' (details: segment, offset), 'unknown-format', and what the disk throws.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const { durable = JOURNAL_START.position, ...rest } = options
    const full = {
      segmentBytes: SEGMENT_MAX_BYTES,
      firstFileBytes: FIRST_FILE_BYTES,
      spareBytes: SEGMENT_MAX_BYTES,
      readOnly: false,
      ...rest,
    }
    if (full.readOnly) full.spareBytes = 0
    assert(full.segmentBytes <= SEGMENT_MAX_BYTES, 'journal: segments have at most 64 MiB')
    full.disk.makeDirectory(full.directory)
    const segments = new Segments(full.disk, full.directory)
    try {
      const { disk, directory, vaultId, readOnly } = full
      const tail = recover({ disk, directory, segments, vaultId, durable, readOnly })
      const journal = new Journal(full, segments, tail)
      if (tail.unproven !== undefined && !readOnly) await journal.#startRound()
      journal.#spare.prepare()
      return journal
    } catch (error) {
      segments.close()
      throw error
    }
  }

  get end(): JournalCursor {
    return { position: this.#end, sequence: this.#chain.sequence }
  }

  /** What lies before is durable. */
  get durableEnd(): JournalPosition {
    const group = this.#groups[0]
    return group === undefined ? this.#end : journalPosition(group.segment, group.offset)
  }

  get trouble(): Error | undefined {
    return this.#trouble
  }

  get isSpaceLow(): boolean {
    return this.#spare.isLow
  }

  lookForSpace(): void {
    if (this.#spare.isLow) this.#spare.prepare(true)
  }

  /** Bytes in RAM that are not durable. */
  get pendingBytes(): number {
    let sum = 0
    for (const group of this.#groups) sum += group.sizeBytes
    return sum
  }

  /** Asked before each group is written, when nothing is appended to that group any more. */
  setGate(gate: JournalGate): void {
    this.#gate = gate
  }

  append(type: JournalRecordType, ...parts: Uint8Array[]): JournalPosition {
    assert(!this.#isClosed && !this.#options.readOnly, 'journal: append after close, or read-only')
    let sizeBytes = JOURNAL_RECORD_HEADER_BYTES
    for (const part of parts) sizeBytes += part.length
    assert(sizeBytes <= JOURNAL_RECORD_MAX_BYTES, 'journal: record too large')
    if (this.#open !== undefined && !this.#hasRoom(this.#open, sizeBytes)) this.#sealOpen()
    const group = this.#open ?? this.#begin(sizeBytes)
    const offset = group.append(this.#chain, type, parts)
    this.#end = journalPosition(group.segment, group.end)
    this.#hasNews = true
    if (group.sizeBytes >= EAGER_FLUSH_BYTES && this.#round === undefined) this.#flushEagerly()
    return journalPosition(group.segment, offset)
  }

  flush(): Promise<void> {
    if (this.#options.readOnly) return Promise.resolve()
    const isAllTaken = this.#open === undefined
    if (this.#round !== undefined) {
      if (isAllTaken) return this.#round
      this.#nextRound ??= this.#round.then(this.#startRound, this.#startRound)
      return this.#nextRound
    }
    return this.#groups.length === 0 ? Promise.resolve() : this.#startRound()
  }

  read(position: JournalPosition, payloadBytes = BLOCK_BYTES): JournalRecord {
    const segment = journalSegment(position)
    const offset = journalOffset(position)
    for (const group of this.#groups) {
      const record = group.segment === segment ? group.read(offset) : undefined
      if (record !== undefined) return record
    }
    const header = this.#segments.find(segment, offset)
    if (header === undefined) throw damaged(segment, offset, 'there is no such file')
    const file = this.#segments.file(header)
    const at = fileOffset(offset, header.begin)
    let bytes = readSome(file, at, JOURNAL_RECORD_HEADER_BYTES + payloadBytes)
    const record = readRecordHeader(bytes, 0)
    if (record !== undefined && record.payloadBytes > bytes.length - JOURNAL_RECORD_HEADER_BYTES) {
      bytes = readSome(file, at, JOURNAL_RECORD_HEADER_BYTES + record.payloadBytes)
    }
    if (record === undefined || record.type === JOURNAL_MARKER || !isIntact(bytes, 0, record)) {
      throw damaged(segment, offset, 'the record is damaged')
    }
    const begin = JOURNAL_RECORD_HEADER_BYTES
    return {
      type: record.type as JournalRecordType,
      position,
      sequence: record.sequence,
      payload: bytes.subarray(begin, begin + record.payloadBytes),
    }
  }

  *scan(from: JournalCursor): IterableIterator<JournalRecord> {
    const pending = this.#groups.flatMap((group) => group.records())
    const until = this.#groups[0]?.firstSequence ?? this.#chain.sequence
    const point = { offset: journalOffset(from.position), sequence: from.sequence }
    for (const found of this.#segments.scan(journalSegment(from.position), point, until)) {
      yield {
        type: found.type as JournalRecordType,
        position: journalPosition(found.segment, found.offset),
        sequence: found.sequence,
        payload: found.payload,
      }
    }
    for (const record of pending) if (record.sequence >= from.sequence) yield record
  }

  /**
   * Flushes, proves the last group durable by a marker behind it, and closes the files; a failure
   * is thrown after closing. Idempotent.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      while (this.#groups.length > 0 && !this.#options.readOnly) await this.flush()
      await this.#writeClosing()
    } finally {
      await this.#spare.close()
      this.#current?.file.close()
      this.#segments.close()
    }
  }

  /** Proves the last group durable. */
  async #writeClosing(): Promise<void> {
    const current = this.#current
    if (!this.#hasNews || current === undefined) return
    const position = journalPosition(this.#segment, this.#offset)
    const block = closingBlock(position, this.#chain.sequence, this.#chain.previousCrc)
    await current.file.writeAndSync(fileOffset(this.#offset, current.header.begin), block)
  }

  // ---- groups ----

  #hasRoom(group: Group, sizeBytes: number): boolean {
    if (group.sizeBytes + sizeBytes > GROUP_MAX_BYTES) return false
    return alignUp(group.end + sizeBytes) <= this.#options.segmentBytes
  }

  #sealOpen(): void {
    const group = this.#open
    if (group === undefined) return
    group.seal()
    this.#offset = group.nextOffset
    this.#open = undefined
  }

  #begin(sizeBytes: number): Group {
    const needed = alignUp(this.#offset + MARKER_BYTES + sizeBytes)
    const isFull = needed > this.#options.segmentBytes || this.#isPreparedUsedUp(needed)
    if (isFull && this.#offset > FIRST_OFFSET) {
      this.#segment++
      this.#offset = FIRST_OFFSET
    }
    const group = new Group(this.#segment, this.#offset, this.#chain, this.#buffer)
    this.#buffer = undefined
    this.#end = journalPosition(group.segment, group.end)
    this.#groups.push(group)
    this.#open = group
    return group
  }

  /** With a spare at hand it pays to begin a new segment rather than to grow a large file. */
  #isPreparedUsedUp(needed: number): boolean {
    const current = this.#current
    if (!this.#spare.isReady || current?.header.segment !== this.#segment) return false
    const limit = Math.max(current.preparedBytes, this.#options.firstFileBytes)
    return fileOffset(needed, current.header.begin) > limit
  }

  // ---- flushing ----

  readonly #startRound = (): Promise<void> => {
    this.#nextRound = undefined
    this.#sealOpen()
    this.#round = this.#writeGroups().finally(() => {
      this.#round = undefined
    })
    return this.#round
  }

  #flushEagerly(): void {
    // The error is not lost: the records stay, and the next flush tells whoever waits for it.
    this.#startRound().catch(() => undefined)
  }

  /** Writes all sealed groups in order. On failure the rest stays, and the file is given up. */
  async #writeGroups(): Promise<void> {
    let isWriting = false
    try {
      for (let group = this.#groups[0]; group !== undefined && group !== this.#open;) {
        isWriting = false
        if (this.#gate?.isOpen === false) await this.#gate.pass()
        isWriting = true
        await this.#writeGroup(group)
        this.#groups.shift()
        this.#buffer = group.release()
        group = this.#groups[0]
      }
      this.#trouble = undefined
    } catch (error) {
      this.#trouble = error instanceof Error ? error : new LatticeError('io', String(error))
      if (isWriting) this.#retire()
      throw this.#trouble
    } finally {
      this.#spare.prepare()
    }
  }

  async #writeGroup(group: Group): Promise<void> {
    const bytes = group.seal()
    const current = this.#current
    if (current !== undefined && current.header.segment === group.segment) {
      const at = fileOffset(group.offset, current.header.begin)
      return current.file.writeAndSync(at, bytes)
    }
    await this.#writeFirst(group, bytes)
  }

  /** Begins a file with its header and first group. */
  async #writeFirst(group: Group, bytes: Buffer): Promise<void> {
    const { disk, directory, vaultId } = this.#options
    const isSameSegment = this.#lastFile.segment === group.segment
    const header: SegmentHeader = {
      segment: group.segment,
      part: isSameSegment ? this.#lastFile.part + 1 : 0,
      begin: group.offset,
      firstSequence: group.firstSequence,
      previousCrc: group.previousCrc,
    }
    const path = this.#segments.path(header.segment, header.part)
    let file: DiskFile | undefined
    try {
      file = await this.#createFile(path)
      const preparedBytes = file.sizeBytes()
      await file.writeAndSync(0, Buffer.concat([encodeHeader(header, vaultId), bytes]))
      await disk.syncDirectory(directory)
      this.#current?.file.close()
      this.#current = { file, header, preparedBytes }
      this.#lastFile = header
      this.#segments.add(header)
    } catch (error) {
      file?.close()
      if (!tryRemove(disk, path)) this.#lastFile = header
      throw error
    }
  }

  async #createFile(path: string): Promise<DiskFile> {
    const spare = await this.#spare.take(path)
    if (spare !== undefined) return spare
    const file = this.#options.disk.create(path)
    const isFirst = this.#segments.last === undefined
    try {
      if (isFirst) await file.allocate(this.#options.firstFileBytes)
      return file
    } catch (error) {
      file.close()
      throw error
    }
  }

  #retire(): void {
    this.#current?.file.close()
    this.#current = undefined
  }

  #reopen(): Current {
    const header = this.#segments.last
    assert(header !== undefined, 'journal: nothing to go on in')
    const path = this.#segments.path(header.segment, header.part)
    const file = this.#options.disk.open(path, 'write')
    return { file, header, preparedBytes: file.sizeBytes() }
  }
}

/** Removes a file in which nothing became durable. False when it stays. */
function tryRemove(disk: Disk, path: string): boolean {
  try {
    disk.remove(path)
    return true
  } catch (error) {
    return isLatticeError(error, 'not-found')
  }
}

function readSome(file: DiskFile, at: number, sizeBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes)
  return bytes.subarray(0, file.readSync(at, bytes))
}
