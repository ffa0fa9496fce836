/**
 * Records in RAM that one flush makes durable: the marker first, then what was appended. Positions
 * are fixed from the first record on. A sealed group takes no more records and ends at a block.
 */

import { assert } from '../util/assert.ts'
import { writeU64 } from '../util/bytes.ts'
import { JOURNAL_MARKER, JOURNAL_RECORD_HEADER_BYTES, journalPosition } from '../vault/ports.ts'
import type { JournalRecord, JournalRecordType } from '../vault/ports.ts'
import { MARKER_BYTES, alignUp, readRecordHeader, writeRecordHeader } from './format.ts'

const FIRST_BYTES = 64 * 1024
const markerPayload = Buffer.alloc(8)

/** Sequence and checksum that the next record carries on from. Owned by the journal. */
export interface Chain {
  sequence: number
  previousCrc: number
}

export class Group {
  readonly segment: number
  readonly offset: number
  readonly firstSequence: number
  /** Checksum of the record before the group: a new file's header needs it. */
  readonly previousCrc: number
  #buffer: Buffer
  #sizeBytes = 0
  #isSealed = false

  /** `buffer` becomes the group's own. */
  constructor(segment: number, offset: number, chain: Chain, buffer: Buffer | undefined) {
    assert(offset === alignUp(offset), 'journal: a group begins at a block')
    this.#buffer = buffer ?? Buffer.allocUnsafeSlow(FIRST_BYTES)
    this.segment = segment
    this.offset = offset
    this.firstSequence = chain.sequence
    this.previousCrc = chain.previousCrc
    writeU64(markerPayload, 0, journalPosition(segment, offset))
    this.append(chain, JOURNAL_MARKER, [markerPayload])
  }

  /** A group as it was read back: `bytes` from its marker to its last record become its own. */
  static restore(segment: number, offset: number, first: Chain, bytes: Buffer): Group {
    const group = new Group(segment, offset, { ...first }, Buffer.from(bytes))
    group.#sizeBytes = bytes.length
    return group
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Nothing but the marker. */
  get isEmpty(): boolean {
    return this.#sizeBytes === MARKER_BYTES
  }

  /** Offset in the segment behind the last record. */
  get end(): number {
    return this.offset + this.#sizeBytes
  }

  /** Offset where the next group begins. */
  get nextOffset(): number {
    return alignUp(this.end)
  }

  /** Copies the parts; returns the record's offset in the segment. */
  append(chain: Chain, type: number, parts: readonly Uint8Array[]): number {
    assert(!this.#isSealed, 'journal: a sealed group takes no records')
    let payloadBytes = 0
    for (const part of parts) payloadBytes += part.length
    const at = this.#sizeBytes
    const end = at + JOURNAL_RECORD_HEADER_BYTES + payloadBytes
    this.#reserve(end)
    let partAt = at + JOURNAL_RECORD_HEADER_BYTES
    for (const part of parts) {
      this.#buffer.set(part, partAt)
      partAt += part.length
    }
    chain.previousCrc = writeRecordHeader(
      this.#buffer, at, type, payloadBytes, chain.sequence, chain.previousCrc,
    )
    chain.sequence++
    this.#sizeBytes = end
    return this.offset + at
  }

  /** The bytes to write, whole blocks. From now on nothing is added. */
  seal(): Buffer {
    const end = alignUp(this.#sizeBytes)
    if (!this.#isSealed) {
      this.#reserve(end)
      this.#buffer.fill(0, this.#sizeBytes, end)
      this.#isSealed = true
    }
    return this.#buffer.subarray(0, end)
  }

  /** The buffer, for another group; this one must not be used any more. */
  release(): Buffer {
    return this.#buffer
  }

  /** A copy of the record at an offset in the segment; undefined when the group ends before it. */
  read(offset: number): JournalRecord | undefined {
    const at = offset - this.offset
    if (at < 0 || at >= this.#sizeBytes) return undefined
    const header = readRecordHeader(this.#buffer, at)
    assert(header !== undefined, 'journal: no record begins at this position')
    const begin = at + JOURNAL_RECORD_HEADER_BYTES
    return {
      type: header.type as JournalRecordType,
      position: journalPosition(this.segment, offset),
      sequence: header.sequence,
      payload: new Uint8Array(this.#buffer.subarray(begin, begin + header.payloadBytes)),
    }
  }

  /** Copies of all records, markers left out. */
  records(): JournalRecord[] {
    const records: JournalRecord[] = []
    for (let offset = this.offset; offset < this.end;) {
      const record = this.read(offset)
      assert(record !== undefined, 'journal: records end with their group')
      offset += JOURNAL_RECORD_HEADER_BYTES + record.payload.length
      if ((record.type as number) !== JOURNAL_MARKER) records.push(record)
    }
    return records
  }

  #reserve(sizeBytes: number): void {
    if (sizeBytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(sizeBytes, 2 * this.#buffer.length))
    this.#buffer.copy(larger, 0, 0, this.#sizeBytes)
    this.#buffer = larger
  }
}
