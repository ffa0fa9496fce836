// The bytes of a pack file, version 0, and how to walk them. Pure but for a reader that is given.
//
//   pack     header block 4096 ‖ units, each starting at a multiple of 4096
//   header      0  8  "lattpack"
//               8  1  version (0)
//               9 16  vault id
//              25  4  writer, u32 BE
//              29  4  number, u32 BE
//              33  4  number of the writer's pack before this one, u32 BE (2^32 - 1: there is none)
//              37  8  its valid length, u64 BE
//              45     zeroes
//            4092  4  CRC-32 of the block before it
//   unit     records ‖ zeroes up to a multiple of 4096        what one write brought
//   record      0  4  length of the bundle, u32 BE; 0 = skip to the next multiple of 4096
//               4  4  durable length of this file, in blocks of 4096, when the record was written
//               8  4  CRC-32 of the bundle ‖ the 8 bytes before
//              12     bundle (bundle-layout.ts)
//
// Files are at most 64 MiB. Blocks that are durable are never written again, and a pack is never
// appended to by a later session. What was written behind the durable length may be lost or torn by
// a power cut; a record that is broken although a later one counts its place as durable is damage.

import { crc32 } from 'node:zlib'
import { assert } from '../util/assert.ts'
import { equalBytes, isZero, readU32, readU64, writeU32, writeU64 } from '../util/bytes.ts'
import { BUNDLE_MAX_BYTES, BUNDLE_MIN_BYTES } from './bundle-layout.ts'

export const PACK_MAX_BYTES = 64 * 1024 * 1024
export const BLOCK_BYTES = 4096
export const RECORD_HEADER_BYTES = 12
const MAGIC = Uint8Array.from('lattpack', (character) => character.charCodeAt(0))
const CHECKED_BYTES = BLOCK_BYTES - 4

export type PackHeader = {
  vaultId: Uint8Array
  writer: number
  number: number
  previousNumber: number
  previousBytes: number
}

export const NO_PACK = 2 ** 32 - 1

/** A record that is whole. Offsets and sizes of its bundle. */
export type PackRecord = { bundleOffset: number; bundleBytes: number; durableBytes: number }

export function alignUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
}

export function writePackHeader(block: Uint8Array, header: PackHeader): void {
  assert(block.length === BLOCK_BYTES && header.vaultId.length === 16, 'pack header lengths')
  block.fill(0)
  block.set(MAGIC)
  block.set(header.vaultId, 9)
  writeU32(block, 25, header.writer)
  writeU32(block, 29, header.number)
  writeU32(block, 33, header.previousNumber)
  writeU64(block, 37, header.previousBytes)
  writeU32(block, CHECKED_BYTES, crc32(block.subarray(0, CHECKED_BYTES)))
}

/** The header, or which rule the block breaks. */
export function parsePackHeader(block: Uint8Array): PackHeader | 'magic' | 'version' | 'checksum' {
  if (block.length < BLOCK_BYTES || !equalBytes(block.subarray(0, 8), MAGIC)) return 'magic'
  if (block[8] !== 0) return 'version'
  if (readU32(block, CHECKED_BYTES) !== crc32(block.subarray(0, CHECKED_BYTES))) return 'checksum'
  const previousBytes = readU64(block, 37)
  if (previousBytes === undefined || !isZero(block.subarray(45, CHECKED_BYTES))) return 'checksum'
  return {
    vaultId: block.slice(9, 25),
    writer: readU32(block, 25),
    number: readU32(block, 29),
    previousNumber: readU32(block, 33),
    previousBytes,
  }
}

export function bundleChecksum(bundle: Uint8Array): number {
  return crc32(bundle)
}

/** Writes a record's header; `checksum` is bundleChecksum() of its bundle. */
export function writeRecordHeader(
  header: Uint8Array,
  bundleBytes: number,
  durableBytes: number,
  checksum: number,
): void {
  writeU32(header, 0, bundleBytes)
  writeU32(header, 4, Math.floor(durableBytes / BLOCK_BYTES))
  writeU32(header, 8, crc32(header.subarray(0, 8), checksum))
}

/** Reads up to into.length bytes at the offset; fewer only at the end of the file. */
export type ReadAt = (offset: number, into: Uint8Array) => number

export type PackScan = {
  records: PackRecord[]
  /** Where the first record that is not whole should be; undefined when all are. */
  brokenAt: number | undefined
  /** True when brokenAt was durable: not a torn tail. */
  damaged: boolean
}

/** Bytes of the bundle at that offset, if it was given up (gone-list.ts). */
export type GoneAt = (bundleOffset: number) => number | undefined

export type ScanOptions = {
  /** What is known from elsewhere to be durable. */
  durableBytes?: number
  /** What was given up is passed over. */
  goneAt?: GoneAt | undefined
}

/**
 * Walks the records of [from, end), `from` being 4096 or the start of a unit, and checks their
 * sums. Behind a broken place it goes on at the next unit that makes sense; records found there
 * count only when the place is damage.
 */
export function scanPack(
  read: ReadAt, from: number, end: number, { durableBytes = 0, goneAt }: ScanOptions = {},
): PackScan {
  const window = newWindow()
  const scan: PackScan = { records: [], brokenAt: undefined, damaged: false }
  let goodCount = 0
  let at = from
  while (at + RECORD_HEADER_BYTES <= end) {
    const goneBytes = goneAt?.(at + RECORD_HEADER_BYTES)
    if (goneBytes !== undefined) {
      at += RECORD_HEADER_BYTES + goneBytes
      continue
    }
    const record = recordAt(read, at, end, window)
    if (record === 'padding') {
      at = alignUp(at + 1)
    } else if (record === 'broken') {
      scan.brokenAt ??= at
      at = alignUp(at + 1)
    } else {
      scan.records.push(record)
      at = record.bundleOffset + record.bundleBytes
      if (scan.brokenAt === undefined) goodCount++
      else if (record.durableBytes > scan.brokenAt) scan.damaged = true
    }
  }
  if (scan.brokenAt !== undefined) {
    if (durableBytes > scan.brokenAt) scan.damaged = true
    if (!scan.damaged) scan.records.length = goodCount
  }
  return scan
}

/**
 * Where the records of [4096, end) are, by their headers: bundles are not read. It ends where a
 * header makes no sense.
 */
export function* listPack(read: ReadAt, end: number, goneAt: GoneAt): Generator<PackRecord> {
  let window: Uint8Array | undefined
  for (let at = BLOCK_BYTES; at + RECORD_HEADER_BYTES <= end;) {
    const goneBytes = goneAt(at + RECORD_HEADER_BYTES)
    if (goneBytes !== undefined) {
      at += RECORD_HEADER_BYTES + goneBytes
      continue
    }
    // the last bytes of a block: rest of a unit, or the begin of a header; only its sum tells
    const isUnsure = alignUp(at) - at < RECORD_HEADER_BYTES && at % BLOCK_BYTES !== 0
    if (isUnsure) window ??= newWindow()
    const record = isUnsure && window !== undefined
      ? recordAt(read, at, end, window)
      : headerAt(read, at, end)
    if (record === 'broken') return
    if (record === 'padding') {
      at = alignUp(at + 1)
    } else {
      yield record
      at = record.bundleOffset + record.bundleBytes
    }
  }
}

function headerAt(read: ReadAt, at: number, end: number): PackRecord | 'padding' | 'broken' {
  const header = new Uint8Array(RECORD_HEADER_BYTES)
  if (read(at, header) < header.length) return 'broken'
  const bundleBytes = readU32(header, 0)
  if (bundleBytes === 0) return 'padding'
  const bundleOffset = at + RECORD_HEADER_BYTES
  const isPossible = bundleBytes >= BUNDLE_MIN_BYTES && bundleBytes <= BUNDLE_MAX_BYTES
  if (!isPossible || bundleOffset + bundleBytes > end) return 'broken'
  return { bundleOffset, bundleBytes, durableBytes: readU32(header, 4) * BLOCK_BYTES }
}

function newWindow(): Uint8Array {
  return new Uint8Array(BUNDLE_MAX_BYTES + RECORD_HEADER_BYTES)
}

function recordAt(
  read: ReadAt,
  at: number,
  end: number,
  window: Uint8Array,
): PackRecord | 'padding' | 'broken' {
  const header = window.subarray(0, RECORD_HEADER_BYTES)
  if (read(at, header) < header.length) return 'broken'
  const bundleBytes = readU32(header, 0)
  // what is left of a block may be less than a header: then the next unit begins within these bytes
  const restBytes = Math.min(alignUp(at) - at || RECORD_HEADER_BYTES, RECORD_HEADER_BYTES)
  const isRest = isZero(header.subarray(0, restBytes))
  if (bundleBytes === 0) return isRest ? 'padding' : 'broken'
  const otherwise = isRest ? 'padding' : 'broken'
  const possible = bundleBytes >= BUNDLE_MIN_BYTES && bundleBytes <= BUNDLE_MAX_BYTES
  const bundleOffset = at + RECORD_HEADER_BYTES
  if (!possible || bundleOffset + bundleBytes > end) return otherwise
  const bundle = window.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + bundleBytes)
  if (read(bundleOffset, bundle) < bundleBytes) return otherwise
  if (readU32(header, 8) !== crc32(header.subarray(0, 8), crc32(bundle))) return otherwise
  return { bundleOffset, bundleBytes, durableBytes: readU32(header, 4) * BLOCK_BYTES }
}
