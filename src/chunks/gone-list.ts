// Which bundles of a pack this device has given up, in a file beside it: a pack's durable blocks
// are never written again, so it cannot say that itself. A bundle is noted here, durably, before
// its space is given back; a mark follows once it was. A crash in between may leave it whole: then
// it is kept after all, since only who has just proven to hold it can be relied on.
//
//   NNNNNNNN.gone   header 32 ‖ records of 12
//   header    0  8  "lattgone"
//             8  1  version (0)
//             9 16  vault id
//            25  7  zeroes
//   record    0  4  offset of the bundle in the pack, u32 BE; 0 = all noted before is given back
//             4  4  its length, u32 BE; 0 = it is kept after all
//             8  4  CRC-32 of the header ‖ the 8 bytes before
//
// A torn tail is written over: of what it named nothing was given back. A list of another version
// is an error, else what it names would count as damage.

import { crc32 } from 'node:zlib'
import { assert } from '../util/assert.ts'
import { equalBytes, isZero, readU32, writeU32 } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { PackDisk } from './pack-disk.ts'
import { PACK_MAX_BYTES } from './pack-layout.ts'

const HEADER_BYTES = 32
const RECORD_BYTES = 12
const MAGIC = Uint8Array.from('lattgone', (character) => character.charCodeAt(0))
/** More than a pack can hold. */
const LIST_MAX_BYTES = 16 * 1024 * 1024

/** A bundle in a pack, without the pack. */
export type Stretch = { bundleOffset: number; bundleBytes: number }

export class GoneList {
  readonly #disk: PackDisk
  readonly #path: string
  readonly #header: Uint8Array
  readonly #bytes = new Map<number, number>()
  #unsettled: Stretch[] = []
  /** In the file, but not given up: something failed in between. */
  readonly #notedOnly = new Map<number, Stretch>()
  /** Of the file, 0 = there is none. */
  #sizeBytes = 0
  #sumBytes = 0

  private constructor(disk: PackDisk, path: string, vaultId: Uint8Array) {
    this.#disk = disk
    this.#path = path
    this.#header = new Uint8Array(HEADER_BYTES)
    this.#header.set(MAGIC)
    this.#header.set(vaultId, 9)
  }

  static empty(disk: PackDisk, packPath: string, vaultId: Uint8Array): GoneList {
    return new GoneList(disk, pathBeside(packPath), vaultId)
  }

  /** Empty when there is no file. Throws 'unknown-format', 'io'. */
  static read(disk: PackDisk, packPath: string, vaultId: Uint8Array): GoneList {
    const list = GoneList.empty(disk, packPath, vaultId)
    try {
      list.#read()
    } catch (error) {
      if (!isLatticeError(error, 'not-found')) throw error
    }
    return list
  }

  /** Bytes of the bundle at that offset, if it was given up. */
  at(bundleOffset: number): number | undefined {
    return this.#bytes.get(bundleOffset)
  }

  get count(): number {
    return this.#bytes.size
  }

  /** Of all bundles given up. */
  get sumBytes(): number {
    return this.#sumBytes
  }

  /** Noted, but perhaps not given back. */
  get unsettled(): readonly Stretch[] {
    return this.#unsettled
  }

  /** They are here after all. Durable when it resolves. */
  async revoke(stretches: readonly Stretch[]): Promise<void> {
    if (stretches.length === 0) return
    const records = stretches.map(({ bundleOffset }) => ({ bundleOffset, bundleBytes: 0 }))
    await this.#append(records)
    for (const { bundleOffset } of records) this.#remove(bundleOffset)
  }

  /** Durable when it resolves; counts only once add() was called. */
  async note(stretches: readonly Stretch[]): Promise<void> {
    await this.#append(stretches)
    for (const one of stretches) this.#notedOnly.set(one.bundleOffset, one)
  }

  add(stretches: readonly Stretch[]): void {
    for (const { bundleOffset, bundleBytes } of stretches) {
      this.#notedOnly.delete(bundleOffset)
      if (this.#bytes.has(bundleOffset)) continue
      this.#bytes.set(bundleOffset, bundleBytes)
      this.#sumBytes += bundleBytes
      this.#unsettled.push({ bundleOffset, bundleBytes })
    }
  }

  /** All that was added is given back; what was noted only is kept. */
  async settle(): Promise<void> {
    if (this.#unsettled.length === 0) return
    const kept = [...this.#notedOnly.values()].map(({ bundleOffset }) => (
      { bundleOffset, bundleBytes: 0 }
    ))
    await this.#append([...kept, { bundleOffset: 0, bundleBytes: 0 }])
    this.#notedOnly.clear()
    this.#unsettled = []
  }

  async #append(stretches: readonly Stretch[]): Promise<void> {
    const isNew = this.#sizeBytes === 0
    const headerBytes = isNew ? HEADER_BYTES : 0
    const bytes = new Uint8Array(headerBytes + stretches.length * RECORD_BYTES)
    if (isNew) bytes.set(this.#header)
    for (const [i, { bundleOffset, bundleBytes }] of stretches.entries()) {
      assert(bundleOffset + bundleBytes <= PACK_MAX_BYTES, 'a bundle beyond a pack')
      const record = bytes.subarray(headerBytes + i * RECORD_BYTES)
      writeU32(record, 0, bundleOffset)
      writeU32(record, 4, bundleBytes)
      writeU32(record, 8, this.#checksum(record))
    }
    const file = isNew ? this.#create() : this.#disk.open(this.#path, 'write')
    try {
      await file.write(this.#sizeBytes, bytes)
      await file.sync()
    } finally {
      file.close()
    }
    if (isNew) await this.#disk.syncDirectory(directoryOf(this.#path))
    this.#sizeBytes += bytes.length
  }

  /** A file that an earlier try left without a valid header is taken over. */
  #create(): ReturnType<PackDisk['create']> {
    try {
      return this.#disk.create(this.#path)
    } catch (error) {
      if (!isLatticeError(error, 'exists')) throw error
      return this.#disk.open(this.#path, 'write')
    }
  }

  #checksum(record: Uint8Array): number {
    return crc32(record.subarray(0, 8), crc32(this.#header))
  }

  #read(): void {
    const file = this.#disk.open(this.#path, 'read')
    try {
      const bytes = new Uint8Array(Math.min(file.sizeBytes(), LIST_MAX_BYTES))
      file.readSync(0, bytes)
      if (!this.#takeHeader(bytes.subarray(0, HEADER_BYTES))) return
      this.#sizeBytes = HEADER_BYTES
      for (let at = HEADER_BYTES; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
        const record = bytes.subarray(at, at + RECORD_BYTES)
        if (readU32(record, 8) !== this.#checksum(record)) return
        this.#takeRecord({ bundleOffset: readU32(record, 0), bundleBytes: readU32(record, 4) })
        this.#sizeBytes = at + RECORD_BYTES
      }
    } finally {
      file.close()
    }
  }

  #takeRecord(stretch: Stretch): void {
    if (stretch.bundleOffset === 0) this.#unsettled = []
    else if (stretch.bundleBytes === 0) this.#remove(stretch.bundleOffset)
    else this.add([stretch])
  }

  #remove(bundleOffset: number): void {
    this.#sumBytes -= this.#bytes.get(bundleOffset) ?? 0
    this.#bytes.delete(bundleOffset)
    this.#unsettled = this.#unsettled.filter((one) => one.bundleOffset !== bundleOffset)
  }

  /** False when the header was torn: nothing was noted behind it. */
  #takeHeader(header: Uint8Array): boolean {
    if (equalBytes(header, this.#header)) return true
    const isOurs = equalBytes(header.subarray(0, 8), MAGIC) && header.length === HEADER_BYTES
    if (!isOurs || isZero(header.subarray(9, 25))) return false
    throw new LatticeError('unknown-format', `${this.#path} is not a list of this vault`, {
      hint: 'use the lattice that wrote it; without the list its bundles would count as damaged',
      details: { version: header[8] ?? 0 },
    })
  }
}

function pathBeside(packPath: string): string {
  return packPath.replace(/\.pack$/, '.gone')
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}
