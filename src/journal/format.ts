/**
 * Bytes of the journal. A file is blocks of 4 KiB: one of header, then groups. A group is what one
 * flush makes durable: it begins at a block, with a marker, and its last block is filled with
 * zeros, so that a durable block is never written again.
 *
 *   file      header (64 bytes, zeros up to 4096) | group | group | … | zeros (prepared space)
 *   group     marker | record | record | … | zeros
 *
 *   header    0  8  magic 'LATTJRNL'          record   0  1  magic 0x4a
 *             8  4  format version, 0                  1  1  type (vault/ports.ts)
 *            12  4  segment                            2  2  zero
 *            16  4  part                               4  4  length of the payload
 *            20  4  begin: offset in the segment       8  8  sequence, over the whole journal
 *            24 16  vault id                          16  4  checksum of the record before
 *            40  8  sequence of its first record      20  4  checksum: CRC-32 of bytes 0 to 20
 *            48  4  checksum of the record before                and of the payload
 *            52  4  CRC-32 of bytes 0 to 52           24     payload
 *
 * Integers are big-endian. A marker's payload is its own position, u64. Since a group is written
 * only after the one before is durable, a valid marker proves everything before it durable: damage
 * there is damage, and only what no marker follows can be a torn tail. A clean end is a block with
 * a closing record (type 254, else like a marker). It carries sequence and checksum that the next
 * record will have: it does not count as one itself, and may be missing.
 *
 * A segment is 64 MiB of positions. Usually it is one file; when a write fails, what is not durable
 * is written anew to the next *part*, a file that begins at a later offset of the same segment.
 */

import { crc32 } from 'node:zlib'
import { assert } from '../util/assert.ts'
import { equalBytes, readU32, readU64, writeU32, writeU64 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import {
  JOURNAL_CLOSING, JOURNAL_MARKER, JOURNAL_RECORD_HEADER_BYTES, JOURNAL_RECORD_MAX_BYTES,
  journalPosition,
} from '../vault/ports.ts'
import type { JournalPosition } from '../vault/ports.ts'

export const BLOCK_BYTES = 4096
export const SEGMENT_MAX_BYTES = 64 * 1024 * 1024
/** Where the first group of a segment begins: positions count the header's block. */
export const FIRST_OFFSET = BLOCK_BYTES
/** No group is longer: how far behind the end a torn one can reach. */
export const GROUP_MAX_BYTES = 4 * 1024 * 1024
export const FORMAT_VERSION = 0

const MAGIC = Buffer.from('LATTJRNL', 'latin1')
const HEADER_BYTES = 56
const RECORD_MAGIC = 0x4a
export const MARKER_BYTES = JOURNAL_RECORD_HEADER_BYTES + 8

export interface SegmentHeader {
  segment: number
  part: number
  /** Offset in the segment of the file's first group. */
  begin: number
  firstSequence: number
  /** Checksum of the record before the first: files cannot be swapped or left out unnoticed. */
  previousCrc: number
}

export interface RecordHeader {
  type: number
  payloadBytes: number
  sequence: number
  previousCrc: number
  crc: number
}

/** One block. */
export function encodeHeader(header: SegmentHeader, vaultId: Uint8Array): Buffer {
  assert(vaultId.length === 16, 'journal: a vault id has 16 bytes')
  const block = Buffer.alloc(BLOCK_BYTES)
  MAGIC.copy(block, 0)
  writeU32(block, 8, FORMAT_VERSION)
  writeU32(block, 12, header.segment)
  writeU32(block, 16, header.part)
  writeU32(block, 20, header.begin)
  block.set(vaultId, 24)
  writeU64(block, 40, header.firstSequence)
  writeU32(block, 48, header.previousCrc)
  writeU32(block, 52, crc32(block.subarray(0, HEADER_BYTES - 4)))
  return block
}

/**
 * Undefined when it is none (never written, or torn). Throws 'unknown-format' and, for the journal
 * of another vault, 'damaged-journal'.
 */
export function decodeHeader(block: Uint8Array, vaultId: Uint8Array): SegmentHeader | undefined {
  if (block.length < HEADER_BYTES || !equalBytes(block.subarray(0, 8), MAGIC)) return undefined
  if (readU32(block, 52) !== crc32(block.subarray(0, HEADER_BYTES - 4))) return undefined
  const version = readU32(block, 8)
  if (version !== FORMAT_VERSION) {
    throw new LatticeError('unknown-format', `journal of format version ${version}`, {
      hint: 'this vault was written by a newer lattice',
      details: { version },
    })
  }
  if (!equalBytes(block.subarray(24, 40), vaultId)) {
    throw new LatticeError('damaged-journal', 'a journal file of another vault')
  }
  const firstSequence = readU64(block, 40)
  if (firstSequence === undefined) return undefined
  return {
    segment: readU32(block, 12),
    part: readU32(block, 16),
    begin: readU32(block, 20),
    firstSequence,
    previousCrc: readU32(block, 48),
  }
}

/** Writes the header of a record whose payload already stands behind it; returns its checksum. */
export function writeRecordHeader(
  bytes: Buffer,
  at: number,
  type: number,
  payloadBytes: number,
  sequence: number,
  previousCrc: number,
): number {
  writeU32(bytes, at, ((RECORD_MAGIC << 24) | (type << 16)) >>> 0)
  writeU32(bytes, at + 4, payloadBytes)
  writeU64(bytes, at + 8, sequence)
  writeU32(bytes, at + 16, previousCrc)
  const crc = recordCrc(bytes, at, payloadBytes)
  writeU32(bytes, at + 20, crc)
  return crc
}

/** The fields, if they can be those of a record; the checksum is not checked here. */
export function readRecordHeader(bytes: Buffer, at: number): RecordHeader | undefined {
  if (at + JOURNAL_RECORD_HEADER_BYTES > bytes.length) return undefined
  const start = readU32(bytes, at)
  const payloadBytes = readU32(bytes, at + 4)
  const sequence = readU64(bytes, at + 8)
  if (start >>> 24 !== RECORD_MAGIC || (start & 0xffff) !== 0) return undefined
  if (payloadBytes > JOURNAL_RECORD_MAX_BYTES || sequence === undefined) return undefined
  const type = (start >>> 16) & 0xff
  return {
    type,
    payloadBytes,
    sequence,
    previousCrc: readU32(bytes, at + 16),
    crc: readU32(bytes, at + 20),
  }
}

/** Whether the whole record is in `bytes` and its checksum fits. */
export function isIntact(bytes: Buffer, at: number, header: RecordHeader): boolean {
  if (at + JOURNAL_RECORD_HEADER_BYTES + header.payloadBytes > bytes.length) return false
  return recordCrc(bytes, at, header.payloadBytes) === header.crc
}

/**
 * Where the valid marker or closing record at `at` of `bytes` says that it stands; undefined when
 * there is none.
 */
export function markerPosition(bytes: Buffer, at: number): JournalPosition | undefined {
  const header = readRecordHeader(bytes, at)
  if (header?.payloadBytes !== 8) return undefined
  if (header.type !== JOURNAL_MARKER && header.type !== JOURNAL_CLOSING) return undefined
  if (!isIntact(bytes, at, header)) return undefined
  return readU64(bytes, at + JOURNAL_RECORD_HEADER_BYTES) as JournalPosition | undefined
}

/** The block that ends a journal cleanly. */
export function closingBlock(
  position: JournalPosition,
  sequence: number,
  previousCrc: number,
): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  writeU64(block, JOURNAL_RECORD_HEADER_BYTES, position)
  writeRecordHeader(block, 0, JOURNAL_CLOSING, 8, sequence, previousCrc)
  return block
}

export function alignUp(offset: number): number {
  return Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES
}

/** Where a position of a segment lies in the file that begins at `begin`. */
export function fileOffset(offset: number, begin: number): number {
  return offset - begin + BLOCK_BYTES
}

const PART_NAME = /^(\d{8})(?:-(\d{1,4}))?\.journal$/
export const SPARE_NAME = 'spare.journal'

export function fileName(segment: number, part: number): string {
  const number = String(segment).padStart(8, '0')
  return part === 0 ? `${number}.journal` : `${number}-${part}.journal`
}

/** Segment and part of a file's name; undefined for other files. */
export function parseFileName(name: string): { segment: number; part: number } | undefined {
  const match = PART_NAME.exec(name)
  if (match === null) return undefined
  return { segment: Number(match[1]), part: Number(match[2] ?? 0) }
}

export function damaged(segment: number, offset: number, why: string): LatticeError {
  const where = `journal segment ${segment}, offset ${offset}`
  return new LatticeError('damaged-journal', `${where}: ${why}`, {
    hint: 'restore the file from a copy, or run `lattice check` to see what is affected',
    details: { segment, offset, position: journalPosition(segment, offset) },
  })
}

function recordCrc(bytes: Buffer, at: number, payloadBytes: number): number {
  const end = at + JOURNAL_RECORD_HEADER_BYTES
  return crc32(bytes.subarray(end, end + payloadBytes), crc32(bytes.subarray(at, at + 20)))
}
