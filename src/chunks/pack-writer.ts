// Appends sealed bundles to the packs of one writer (one thread, one directory). Bundles are sealed
// straight into *slabs*, aligned memory; what was added since the last write is a *unit*, written
// by one call. A unit stays in RAM until a sync has made it durable, so that a failed write or sync
// costs a pack, never a byte: the pack is retired and its undurable units are written anew.
//
// Invariants: writes, syncs and rotations run one at a time; blocks below the durable length are
// never written again; a slab is reused only when none of its units is waiting; a bundle is
// reported (`written`) only once it lies in a file, and again when it had to move.
// 'disk-full' fails the unit in question, whose bundles are then nowhere.

import { join } from 'node:path'
import { assert } from '../util/assert.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'
import { BUNDLE_MAX_BYTES } from './bundle-layout.ts'
import { packFileOf } from './chunk-index-port.ts'
import type { PackDisk, PackFile } from './pack-disk.ts'
import {
  BLOCK_BYTES,
  PACK_MAX_BYTES,
  RECORD_HEADER_BYTES,
  alignUp,
  bundleChecksum,
  writePackHeader,
  writeRecordHeader,
} from './pack-layout.ts'

export type PackWriterOptions<Tag> = {
  disk: PackDisk
  /** packs/<writer> */
  directory: string
  vaultId: Uint8Array
  writer: number
  /** Number of the first pack to create; the writer's last pack and its valid length. */
  nextNumber: number
  previousNumber: number
  previousBytes: number
  /** Aligned memory when the disk writes directly. */
  allocate: (sizeBytes: number) => Uint8Array
  /** The bundle with this tag lies there now. Called again when it has moved. */
  written: (tag: Tag, file: number, bundleOffset: number, bundleBytes: number) => void
  /** The bundle could not be written anywhere. */
  failed: (tag: Tag, error: Error) => void
  /** A unit is written as soon as it has this size. */
  unitBytes?: number
  packBytes?: number
  slabCount?: number
}

/** Sealed bundles in a unit go up to this much beyond unitBytes. */
const RECORD_MAX_BYTES = RECORD_HEADER_BYTES + BUNDLE_MAX_BYTES
const UNIT_BYTES = 4 * 1024 * 1024
const SLAB_COUNT = 6

type Slab = { bytes: Uint8Array; usedBytes: number; units: number }
type Record<Tag> = { at: number; bundleBytes: number; checksum: number; tag: Tag }
type Unit<Tag> = {
  slab: Slab
  /** In the slab; the end is padded to a whole block by flush(). */
  begin: number
  end: number
  records: Record<Tag>[]
  /** Where it was written: pack number and offset; -1 = nowhere yet. */
  number: number
  offset: number
  isDurable: boolean
}
type Pack = { file: PackFile; number: number; endBytes: number; durableBytes: number }

export class PackWriter<Tag> {
  readonly #options: PackWriterOptions<Tag>
  readonly #unitBytes: number
  readonly #packBytes: number
  readonly #lock = new Mutex()
  readonly #slabs: Slab[] = []
  #open: Unit<Tag> | undefined
  #slab: Slab | undefined
  /** Written but not durable, all in #pack; when that is undefined they must be written anew. */
  #undurable: Unit<Tag>[] = []
  #pack: Pack | undefined
  #nextNumber: number
  #previousNumber: number
  #previousBytes: number
  #isDirectoryDirty = true
  /** Something that cannot happen did, while nobody waited. */
  #trouble: unknown

  constructor(options: PackWriterOptions<Tag>) {
    this.#options = options
    this.#unitBytes = options.unitBytes ?? UNIT_BYTES
    this.#packBytes = options.packBytes ?? PACK_MAX_BYTES
    this.#nextNumber = options.nextNumber
    this.#previousNumber = options.previousNumber
    this.#previousBytes = options.previousBytes
  }

  /** Bytes that wait for a write. */
  get openBytes(): number {
    return this.#open === undefined ? 0 : this.#open.end - this.#open.begin
  }

  get isDurable(): boolean {
    return this.#open === undefined && this.#undurable.length === 0
  }

  /** Memory for one sealed bundle; waits for a sync when all slabs hold undurable units. */
  async room(bundleBytes: number): Promise<Uint8Array> {
    assert(bundleBytes <= BUNDLE_MAX_BYTES, 'bundle too large for a pack')
    const need = RECORD_HEADER_BYTES + bundleBytes
    let slab = this.#slab
    if (slab === undefined || alignUp(slab.usedBytes + need) > slab.bytes.length) {
      this.flushSoon()
      slab = this.#slab = await this.#freeSlab()
    }
    const { bytes, usedBytes } = slab
    const at = usedBytes + RECORD_HEADER_BYTES
    return bytes.subarray(at, at + bundleBytes)
  }

  /** Takes the bundle that was sealed into the memory that room() gave last. */
  add(bundle: Uint8Array, tag: Tag): void {
    const slab = this.#slab
    assert(slab !== undefined, 'add without room')
    const at = slab.usedBytes + RECORD_HEADER_BYTES
    assert(bundle.byteOffset === slab.bytes.byteOffset + at, 'add: not the memory of room()')
    if (this.#open === undefined) {
      this.#open = newUnit(slab)
      slab.units++
    }
    const checksum = bundleChecksum(bundle)
    this.#open.records.push({ at, bundleBytes: bundle.length, checksum, tag })
    this.#open.end = slab.usedBytes = at + bundle.length
  }

  get isUnitFull(): boolean {
    return this.openBytes >= this.#unitBytes
  }

  /** Writes the open unit. Its outcome is told per bundle; this rejects only for what is wrong. */
  async flush(): Promise<void> {
    const unit = this.#open
    if (unit !== undefined) {
      this.#open = undefined
      const paddedEnd = alignUp(unit.end)
      unit.slab.bytes.fill(0, unit.end, paddedEnd)
      unit.end = unit.slab.usedBytes = paddedEnd
    }
    await this.#lock.run(() => (unit === undefined ? undefined : this.#writeNew(unit)))
  }

  /** Starts a flush and does not wait for it: the next unit fills meanwhile. */
  flushSoon(): void {
    this.flush().catch((error: unknown) => {
      this.#trouble ??= error
    })
  }

  /** Everything reported as written is durable when it resolves. Rejects when it is not. */
  async sync(): Promise<void> {
    await this.flush()
    if (this.#trouble !== undefined) throw this.#trouble
    await this.#lock.run(() => this.#makeDurable())
  }

  async close(): Promise<void> {
    try {
      await this.sync()
    } finally {
      this.#pack?.file.close()
      this.#pack = undefined
    }
  }

  async #writeNew(unit: Unit<Tag>): Promise<void> {
    try {
      await this.#rehome()
      await this.#write(unit)
      this.#report(unit)
    } catch (error) {
      if (isLatticeError(error, 'disk-full')) {
        this.#drop(unit, error)
        return
      }
      this.#undurable.push(unit)
      try {
        this.#retire()
        await this.#rehome()
      } catch (again) {
        this.#undurable = this.#undurable.filter((one) => one !== unit)
        this.#drop(unit, again instanceof Error ? again : new Error(String(again)))
      }
    }
  }

  /** Appends the unit to the current pack; a new pack when it is full. */
  async #write(unit: Unit<Tag>): Promise<void> {
    const sizeBytes = unit.end - unit.begin
    if (this.#pack !== undefined && this.#pack.endBytes + sizeBytes > this.#packBytes) {
      await this.#makeDurable()
      this.#retire()
    }
    this.#pack ??= await this.#create()
    const pack = this.#pack
    for (const { at, bundleBytes, checksum } of unit.records) {
      const header = unit.slab.bytes.subarray(at - RECORD_HEADER_BYTES, at)
      writeRecordHeader(header, bundleBytes, pack.durableBytes, checksum)
    }
    await pack.file.write(pack.endBytes, unit.slab.bytes.subarray(unit.begin, unit.end))
    unit.number = pack.number
    unit.offset = pack.endBytes
    pack.endBytes += sizeBytes
    this.#undurable.push(unit)
  }

  async #create(): Promise<Pack> {
    const { disk, directory, vaultId, writer } = this.#options
    disk.makeDirectory(join(directory, '..'))
    disk.makeDirectory(directory)
    for (;;) {
      const number = this.#nextNumber++
      let file: PackFile
      try {
        file = disk.create(join(directory, packName(number)))
      } catch (error) {
        if (isLatticeError(error, 'exists')) continue
        throw error
      }
      const block = new Uint8Array(BLOCK_BYTES)
      const previousNumber = this.#previousNumber
      const previousBytes = this.#previousBytes
      writePackHeader(block, { vaultId, writer, number, previousNumber, previousBytes })
      this.#isDirectoryDirty = true
      try {
        await file.write(0, block)
      } catch (error) {
        file.close()
        throw error
      }
      return { file, number, endBytes: BLOCK_BYTES, durableBytes: 0 }
    }
  }

  async #makeDurable(): Promise<void> {
    await this.#rehome()
    if (this.#undurable.length === 0) return
    try {
      await this.#syncPack()
    } catch {
      // Once more, in another pack; after that it is the next caller's turn.
      await this.#rehome()
      await this.#syncPack()
    }
  }

  async #syncPack(): Promise<void> {
    const pack = this.#pack
    assert(pack !== undefined, 'sync without a pack')
    const { disk, directory } = this.#options
    const { endBytes } = pack
    try {
      await pack.file.sync()
      if (this.#isDirectoryDirty) {
        await disk.syncDirectory(directory)
        await disk.syncDirectory(join(directory, '..'))
        this.#isDirectoryDirty = false
      }
    } catch (error) {
      // Nobody knows what of the pack arrived, and a second sync would not tell.
      this.#retire()
      throw error
    }
    pack.durableBytes = endBytes
    for (const unit of this.#undurable) {
      unit.isDurable = true
      unit.slab.units--
    }
    this.#undurable = []
  }

  /** No more is written to the current pack. */
  #retire(): void {
    if (this.#pack === undefined) return
    this.#pack.file.close()
    if (this.#pack.durableBytes === 0) {
      this.#pack = undefined // nothing of it counts: the next pack follows the one before
      return
    }
    this.#previousNumber = this.#pack.number
    this.#previousBytes = this.#pack.durableBytes
    this.#pack = undefined
  }

  /** Writes the units of a retired pack anew. */
  async #rehome(): Promise<void> {
    if (this.#pack !== undefined || this.#undurable.length === 0) return
    const units = this.#undurable
    this.#undurable = []
    try {
      for (const unit of units) await this.#write(unit)
    } catch (error) {
      this.#retire()
      // A rotation on the way may have made some of them durable.
      this.#undurable = units.filter((unit) => !unit.isDurable)
      throw error
    }
    for (const unit of units) this.#report(unit)
  }

  #report(unit: Unit<Tag>): void {
    const { writer, written } = this.#options
    const file = packFileOf(writer, unit.number)
    for (const { at, bundleBytes, tag } of unit.records) {
      written(tag, file, unit.offset + at - unit.begin, bundleBytes)
    }
  }

  #drop(unit: Unit<Tag>, error: Error): void {
    unit.slab.units--
    for (const { tag } of unit.records) this.#options.failed(tag, error)
  }

  async #freeSlab(): Promise<Slab> {
    let slab = this.#slabs.find((one) => one.units === 0)
    if (slab === undefined && this.#slabs.length < (this.#options.slabCount ?? SLAB_COUNT)) {
      const sizeBytes = alignUp(this.#unitBytes + RECORD_MAX_BYTES)
      slab = { bytes: this.#options.allocate(sizeBytes), usedBytes: 0, units: 0 }
      this.#slabs.push(slab)
    }
    if (slab === undefined) {
      await this.#lock.run(() => this.#makeDurable())
      slab = this.#slabs.find((one) => one.units === 0)
      if (slab === undefined) throw new LatticeError('io', 'packs cannot be made durable')
    }
    slab.usedBytes = 0
    return slab
  }
}

function newUnit<Tag>(slab: Slab): Unit<Tag> {
  const begin = slab.usedBytes
  return { slab, begin, end: begin, records: [], number: -1, offset: -1, isDurable: false }
}

export function packName(number: number): string {
  return `${String(number).padStart(8, '0')}.pack`
}
