// LooseChunks over the journal: one record a chunk, sealed with a key of this device.
//
//   payload   nonce 24 ‖ sealed: version (0) ‖ codec ‖ plain length u32 BE ‖ id 32 ‖ stored bytes
//             with the associated data "lattice/0/loose" ‖ vault id
//
// A location's file is the segment of the journal, its bundleOffset the place of the record in it.

import { openRecord, sealRecord } from '../crypto/aead.ts'
import { assert } from '../util/assert.ts'
import { concatBytes, readU32, utf8, writeU32 } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { CHUNK_ID_BYTES, readChunkId, writeChunkId } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import type { ChunkLocation, LooseChunks } from './chunk-index-port.ts'
import { checkSizes, isCodec } from './compress.ts'
import type { JournalPort } from './content-store-ports.ts'

type JournalPosition = ReturnType<JournalPort['append']>
/** JOURNAL_LOOSE of vault/ports.ts, which is above this folder. */
const RECORD_TYPE = 2
const SEGMENT_UNIT = 2 ** 26
const HEADER_BYTES = 6 + CHUNK_ID_BYTES

export class JournalLoose implements LooseChunks {
  readonly #journal: JournalPort
  readonly #key: Uint8Array
  readonly #ad: Uint8Array

  /** `key` is the device's own for its journal, 32 bytes. */
  constructor(journal: JournalPort, key: Uint8Array, vaultId: Uint8Array) {
    this.#journal = journal
    this.#key = key
    this.#ad = concatBytes(utf8('lattice/0/loose'), vaultId)
  }

  append(id: ChunkId, codec: number, plainBytes: number, stored: Uint8Array): ChunkLocation {
    const plain = Buffer.allocUnsafe(HEADER_BYTES + stored.length)
    plain[0] = 0
    plain[1] = codec
    writeU32(plain, 2, plainBytes)
    writeChunkId(plain, 6, id)
    plain.set(stored, HEADER_BYTES)
    const payload = sealRecord(this.#key, this.#ad, plain)
    plain.fill(0)
    const position = this.#journal.append(RECORD_TYPE, payload)
    return locationOf(position, payload.length, codec, plainBytes, stored.length)
  }

  read(id: ChunkId, location: ChunkLocation): Uint8Array {
    assert(location.where === 'journal', 'not a loose chunk')
    const position = location.file * SEGMENT_UNIT + location.bundleOffset
    const record = this.#journal.read(position as JournalPosition)
    if (record.type !== RECORD_TYPE) throw damaged(position)
    const opened = this.open(position, record.payload)
    const isAsked = opened.id === id && opened.location.codec === location.codec
    if (!isAsked || opened.location.plainBytes !== location.plainBytes) throw damaged(position)
    return opened.stored
  }

  /** What a record of a scan holds, for the index. Throws 'damaged-journal'. */
  open(
    position: number,
    payload: Uint8Array,
  ): { id: ChunkId; location: ChunkLocation; stored: Uint8Array } {
    let plain: Buffer
    try {
      plain = openRecord(this.#key, this.#ad, payload)
    } catch (cause) {
      if (isLatticeError(cause)) throw damaged(position, cause)
      throw cause
    }
    const codec = plain[1]
    if (plain.length < HEADER_BYTES || plain[0] !== 0) throw damaged(position)
    if (codec === undefined || !isCodec(codec)) throw damaged(position)
    const plainBytes = readU32(plain, 2)
    const stored = plain.subarray(HEADER_BYTES)
    checkSizes(codec, stored.length, plainBytes)
    const location = locationOf(position, payload.length, codec, plainBytes, stored.length)
    return { id: readChunkId(plain, 6), location, stored }
  }
}

function locationOf(
  position: number,
  recordBytes: number,
  codec: number,
  plainBytes: number,
  storedBytes: number,
): ChunkLocation {
  return {
    where: 'journal',
    file: Math.floor(position / SEGMENT_UNIT),
    bundleOffset: position % SEGMENT_UNIT,
    bundleBytes: recordBytes,
    plainOffset: 0,
    storedBytes,
    plainBytes,
    codec,
  }
}

function damaged(position: number, cause?: unknown): LatticeError {
  return new LatticeError('damaged-journal', 'a loose chunk in the journal is damaged', {
    details: { position },
    cause,
  })
}
