// All packs of this device, for reading: what exists and how much of it is valid, open descriptors,
// scans. Writers (pack-writer.ts) live elsewhere, perhaps in other threads, and report what they
// wrote with grew().
//
// On open, the newest pack of each writer (and any that a failing disk made it abandon) is looked
// through from where it was last known durable: a torn tail behind that is cut (its records do not
// count, and nobody appends to the file again), a broken record before it is reported as damage.
// The valid length of other packs stands in the header of the pack that followed.

import fs from 'node:fs'
import { join } from 'node:path'
import { assert } from '../util/assert.ts'
import { LatticeError, fromSystemError, isLatticeError } from '../util/errors.ts'
import { BundleUse } from './bundle-use.ts'
import { BUNDLE_HEADER_BYTES, parseHeader } from './bundle-layout.ts'
import type { BundleEntry, BundleHeader } from './bundle-layout.ts'
import { readBundleIndex } from './bundle.ts'
import { packFileOf, packNumberOf, packWriterOf } from './chunk-index-port.ts'
import type { BundlePlace, ChunkLocation } from './chunk-index-port.ts'
import { GoneList } from './gone-list.ts'
import type { Stretch } from './gone-list.ts'
import type { Hole, PackDisk, PackFile } from './pack-disk.ts'
import {
  BLOCK_BYTES, NO_PACK, RECORD_HEADER_BYTES, alignUp, listPack, parsePackHeader, scanPack,
} from './pack-layout.ts'
import type { GoneAt, PackHeader, PackRecord } from './pack-layout.ts'
import { packName } from './pack-writer.ts'

/** A broken place in a pack; `offset` counts from the start of the file. */
export type PackDamage = { file: number; offset: number; reason: string }

/** How much of a pack file is known to be durable (or indexed), in bytes. */
export type PackMark = { file: number; bytes: number }

export type PackStoreOptions = {
  disk: PackDisk
  /** packs/ */
  directory: string
  vaultId: Uint8Array
  /** K_bundle of the epoch; throws 'missing-key' or returns undefined when there is none. */
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined
  /** Files kept open. */
  openMax?: number
}

type Pack = { validBytes: number; damaged: boolean; gone: GoneList }
type Open = { file: PackFile; pins: number; headers: Map<number, BundleHeader> }

/** Writers are numbered from 0; there is one for each thread that writes packs. */
const WRITERS_MAX = 16
const OPEN_MAX = 64
const HEADERS_PER_FILE = 256

export class PackStore {
  readonly #options: PackStoreOptions
  readonly #packs = new Map<number, Pack>()
  /** Least recently used first. */
  readonly #open = new Map<number, Open>()
  readonly damage: PackDamage[] = []
  /** Bundles that a crash kept from being given up: they are here, and the index may not know. */
  readonly kept: BundlePlace[] = []
  /** When bundles were used last. */
  readonly use = new BundleUse()

  private constructor(options: PackStoreOptions) {
    this.#options = options
  }

  /** `durable` tells what is known of the newest packs, from the index or elsewhere. */
  static async open(
    options: PackStoreOptions,
    durable: readonly PackMark[] = [],
  ): Promise<PackStore> {
    const store = new PackStore(options)
    const marks = new Map(durable.map(({ file, bytes }) => [file, bytes]))
    for (let writer = 0; writer < WRITERS_MAX; writer++) await store.#openWriter(writer, marks)
    return store
  }

  /** Every pack and its valid length: what a checkpoint records once it is durable. */
  marks(): PackMark[] {
    return [...this.#packs].map(([file, { validBytes }]) => ({ file, bytes: validBytes }))
  }

  /** Where a writer goes on: the number of its next pack, its last one and its valid length. */
  nextOf(writer: number): { nextNumber: number; previousNumber: number; previousBytes: number } {
    let last = -1
    let previousBytes = 0
    for (const [file, { validBytes }] of this.#packs) {
      if (packWriterOf(file) !== writer || packNumberOf(file) < last) continue
      last = packNumberOf(file)
      previousBytes = validBytes
    }
    return { nextNumber: last + 1, previousNumber: last < 0 ? NO_PACK : last, previousBytes }
  }

  /** Makes the last pack of a writer durable whose thread has died: nobody else would. */
  async syncLast(writer: number): Promise<void> {
    const { previousNumber } = this.nextOf(writer)
    if (previousNumber === NO_PACK) return
    const { disk, directory } = this.#options
    const pack = disk.open(this.pathOf(packFileOf(writer, previousNumber)), 'write')
    try {
      await pack.sync()
    } finally {
      pack.close()
    }
    await disk.syncDirectory(join(directory, String(writer)))
    await disk.syncDirectory(directory)
  }

  grew(file: number, validBytes: number): void {
    const pack = this.#packs.get(file)
    if (pack === undefined) {
      const gone = GoneList.empty(this.#options.disk, this.pathOf(file), this.#options.vaultId)
      this.#packs.set(file, { validBytes, damaged: false, gone })
    } else pack.validBytes = Math.max(pack.validBytes, validBytes)
  }

  /** True when the bytes that the location names are in a valid part of a pack. */
  covers({ file, bundleOffset, bundleBytes }: ChunkLocation): boolean {
    const pack = this.#packs.get(file)
    if (pack === undefined || bundleOffset + bundleBytes > pack.validBytes) return false
    return pack.gone.count === 0 || pack.gone.at(bundleOffset) === undefined
  }

  // ---- giving bundles up: noteGone(), then at one go setGone() and what knows the places, and
  // giveBack() once the index is durable without them

  /** Bytes of packs that are in use, all told. */
  storedBytes(): number {
    let sum = 0
    for (const { validBytes, gone } of this.#packs.values()) sum += validBytes - gone.sumBytes
    return sum
  }

  /** All bundles of a pack but those given up, by the headers of their records alone. */
  *bundles(file: number): Generator<BundlePlace> {
    const pack = this.#packs.get(file)
    if (pack === undefined) return
    const { file: disk } = this.#opened(file)
    const read = (offset: number, into: Uint8Array): number => disk.readSync(offset, into)
    const goneAt = (offset: number): number | undefined => pack.gone.at(offset)
    for (const { bundleOffset, bundleBytes } of listPack(read, pack.validBytes, goneAt)) {
      yield { file, bundleOffset, bundleBytes }
    }
  }

  /** Durable when it resolves. */
  async noteGone(places: readonly BundlePlace[]): Promise<void> {
    for (const [file, some] of byFile(places)) await this.#packs.get(file)?.gone.note(some)
  }

  /** From now on they are not here. */
  setGone(places: readonly BundlePlace[]): void {
    for (const [file, some] of byFile(places)) {
      this.#packs.get(file)?.gone.add(some)
      for (const { bundleOffset } of some) {
        this.#open.get(file)?.headers.delete(bundleOffset)
        this.use.forget(file, bundleOffset)
      }
    }
  }

  /** Whether something waits for giveBack(). */
  get hasUnsettled(): boolean {
    return [...this.#packs.values()].some(({ gone }) => gone.unsettled.length > 0)
  }

  /**
   * The space of what was given up goes back to the file system; packs that somebody reads are left
   * for the next call. The index must be durable without it. Rejects 'unsupported', 'io'.
   */
  async giveBack(): Promise<void> {
    for (const [file, { gone }] of this.#packs) {
      if (gone.unsettled.length === 0 || (this.#open.get(file)?.pins ?? 0) > 0) continue
      const disk = this.#options.disk.open(this.pathOf(file), 'write')
      try {
        if (disk.punch === undefined) throw new LatticeError('unsupported', 'a disk without holes')
        const holes = gone.unsettled.map((stretch) => holeIn(stretch))
        await disk.punch(holes.filter(({ sizeBytes }) => sizeBytes > 0))
      } finally {
        disk.close()
      }
      await gone.settle()
    }
  }

  /** The open file, kept open until unpin(). Throws 'damaged-pack' when it is gone. */
  pin(file: number): PackFile {
    const open = this.#opened(file)
    open.pins++
    return open.file
  }

  unpin(file: number): void {
    const open = this.#open.get(file)
    assert(open !== undefined && open.pins > 0, 'unpin of a pack that is not pinned')
    open.pins--
    this.#closeIdle()
  }

  /** The bundle's header, checked against its place and vault. */
  header(file: number, bundleOffset: number, bundleBytes: number): BundleHeader {
    const open = this.#opened(file)
    this.use.touch(file, bundleOffset)
    const known = open.headers.get(bundleOffset)
    if (known !== undefined && known.sealedBytes === bundleBytes) return known
    const bytes = new Uint8Array(BUNDLE_HEADER_BYTES)
    if (open.file.readSync(bundleOffset, bytes) < bytes.length) {
      throw damagedPack(file, bundleOffset)
    }
    let header: BundleHeader
    try {
      header = parseHeader(bytes, bundleBytes, this.#options.vaultId)
    } catch (cause) {
      throw damagedPack(file, bundleOffset, cause)
    }
    if (open.headers.size >= HEADERS_PER_FILE) open.headers.clear()
    open.headers.set(bundleOffset, header)
    return header
  }

  /** The header of a whole bundle of this vault. Throws which rule it breaks. */
  parse(sealed: Uint8Array): BundleHeader {
    return parseHeader(sealed, sealed.length, this.#options.vaultId)
  }

  keyOf(header: BundleHeader): Uint8Array {
    const key = this.#options.bundleKey(header.epochId)
    if (key === undefined) throw new LatticeError('missing-key', 'no key for the epoch of a bundle')
    return key
  }

  /** Exactly `length` bytes; throws 'damaged-pack' when the file ends before. */
  readNow(file: number, offset: number, length: number): Uint8Array {
    const bytes = Buffer.allocUnsafe(length)
    if (this.#opened(file).file.readSync(offset, bytes) < length) throw damagedPack(file, offset)
    return bytes
  }

  /** As readNow(), off the loop where the disk has descriptors. */
  async read(file: number, offset: number, length: number): Promise<Uint8Array> {
    const { fd } = this.pin(file)
    try {
      if (fd === undefined) return this.readNow(file, offset, length)
      const bytes = Buffer.allocUnsafe(length)
      const count = await new Promise<number>((resolve, reject) => {
        fs.read(fd, bytes, 0, length, offset, (error, got) => {
          if (error === null) resolve(got)
          else reject(fromSystemError(error, 'read a pack'))
        })
      })
      if (count < length) throw damagedPack(file, offset)
      return bytes
    } finally {
      this.unpin(file)
    }
  }

  /**
   * The entries of all bundles behind the marks, pack by pack, for the index. Damage is added to
   * `damage` and skipped.
   */
  *scan(since: readonly PackMark[] = []): Generator<{
    file: number
    record: PackRecord
    entries: BundleEntry[]
  }> {
    const marks = new Map(since.map(({ file, bytes }) => [file, bytes]))
    for (const [file, { validBytes }] of [...this.#packs].toSorted(([a], [b]) => a - b)) {
      const from = Math.max(BLOCK_BYTES, marks.get(file) ?? 0)
      if (from >= validBytes) continue
      for (const record of this.#records(file, from, validBytes)) {
        const entries = this.#entriesOf(file, record)
        if (entries !== undefined) yield { file, record, entries }
      }
    }
  }

  /** Checks the sum of every record of a pack; the broken places are also added to `damage`. */
  *#records(file: number, from: number, validBytes: number): Generator<PackRecord> {
    const { file: disk } = this.#opened(file)
    const read = (offset: number, into: Uint8Array): number => disk.readSync(offset, into)
    const { records, brokenAt } = scanPack(
      read, from, validBytes, { durableBytes: validBytes, goneAt: this.#goneAt(file) },
    )
    if (brokenAt !== undefined) this.#report(file, brokenAt, 'checksum')
    yield* records
  }

  *records(file: number): Generator<PackRecord> {
    yield* this.#records(file, BLOCK_BYTES, this.#packs.get(file)?.validBytes ?? 0)
  }

  files(): number[] {
    return [...this.#packs.keys()].toSorted((a, b) => a - b)
  }

  close(): void {
    for (const { file } of this.#open.values()) file.close()
    this.#open.clear()
  }

  #entriesOf(file: number, record: PackRecord): BundleEntry[] | undefined {
    const { bundleOffset, bundleBytes } = record
    try {
      const header = this.header(file, bundleOffset, bundleBytes)
      const read = (offset: number, length: number): Uint8Array =>
        this.readNow(file, bundleOffset + offset, length)
      return readBundleIndex(this.keyOf(header), header, read)
    } catch (error) {
      if (!isLatticeError(error)) throw error
      this.#report(file, bundleOffset, error.code)
      return undefined
    }
  }

  async #openWriter(writer: number, marks: Map<number, number>): Promise<void> {
    const { disk, directory } = this.#options
    const numbers = disk
      .list(join(directory, String(writer)))
      .filter((name) => /^\d{8}\.pack$/.test(name))
      .map((name) => Number(name.slice(0, 8)))
      .toSorted((a, b) => a - b)
    const open = new Set<number>() // nobody has told their valid length
    for (const number of numbers) {
      const file = packFileOf(writer, number)
      const pack = disk.open(this.pathOf(file), 'read')
      try {
        const sizeBytes = pack.sizeBytes()
        const gone = GoneList.read(disk, this.pathOf(file), this.#options.vaultId)
        const known = { validBytes: sizeBytes, damaged: false, gone }
        this.#packs.set(file, known)
        const header = this.#checkHeader(pack, file, sizeBytes, marks.get(file) ?? 0)
        known.damaged = header === 'damaged'
        if (header === 'torn') {
          this.#packs.delete(file)
          continue
        }
        open.add(file)
        if (typeof header === 'string' || header.previousNumber === NO_PACK) continue
        const before = packFileOf(writer, header.previousNumber)
        this.#closePack(before, header.previousBytes)
        open.delete(before)
      } finally {
        pack.close()
      }
    }
    for (const file of open) await this.#recover(file, marks.get(file) ?? 0)
    for (const number of numbers) await this.#keepWhole(packFileOf(writer, number))
  }

  /** What a crash kept from being given back is here: nobody has proven lately to hold it. */
  async #keepWhole(file: number): Promise<void> {
    const pack = this.#packs.get(file)
    if (pack === undefined || pack.gone.unsettled.length === 0) return
    const { file: disk } = this.#opened(file)
    const read = (offset: number, into: Uint8Array): number => disk.readSync(offset, into)
    const whole = pack.gone.unsettled.filter(({ bundleOffset, bundleBytes }) => {
      const begin = bundleOffset - RECORD_HEADER_BYTES
      const [found] = scanPack(read, begin, bundleOffset + bundleBytes).records
      return found?.bundleOffset === bundleOffset && found.bundleBytes === bundleBytes
    })
    await pack.gone.revoke(whole)
    for (const { bundleOffset, bundleBytes } of whole) {
      this.kept.push({ file, bundleOffset, bundleBytes })
    }
  }

  /** An older pack: its valid length is what its successor says. */
  #closePack(file: number, validBytes: number): void {
    const pack = this.#packs.get(file)
    if (pack === undefined) {
      if (validBytes > 0) this.#report(file, 0, 'missing')
      return
    }
    if (pack.validBytes < validBytes) this.#report(file, pack.validBytes, 'too short')
    pack.validBytes = Math.min(pack.validBytes, validBytes)
  }

  /** A pack that no other followed: finds and cuts a torn tail, and makes the rest durable. */
  async #recover(file: number, durableBytes: number): Promise<void> {
    const pack = this.#packs.get(file)
    assert(pack !== undefined, 'unknown pack')
    const disk = this.#options.disk.open(this.pathOf(file), 'write')
    try {
      const read = (offset: number, into: Uint8Array): number => disk.readSync(offset, into)
      const from = Math.max(BLOCK_BYTES, Math.min(durableBytes, pack.validBytes))
      const goneAt = this.#goneAt(file)
      const scan = scanPack(read, from, pack.validBytes, { durableBytes, goneAt })
      if (pack.validBytes < durableBytes) this.#report(file, pack.validBytes, 'too short')
      if (scan.brokenAt !== undefined) {
        if (scan.damaged) this.#report(file, scan.brokenAt, 'checksum')
        else pack.validBytes = scan.brokenAt
      }
      // A killed process may have left whole records that no flush has brought to the disk yet.
      await disk.sync()
    } finally {
      disk.close()
    }
  }

  #goneAt(file: number): GoneAt | undefined {
    const gone = this.#packs.get(file)?.gone
    return gone === undefined || gone.count === 0 ? undefined : (offset) => gone.at(offset)
  }

  /** The header; 'torn' when nothing of the pack was ever durable, else 'damaged' (reported). */
  #checkHeader(
    pack: PackFile,
    file: number,
    sizeBytes: number,
    durableBytes: number,
  ): PackHeader | 'torn' | 'damaged' {
    const block = new Uint8Array(BLOCK_BYTES)
    const count = pack.readSync(0, block)
    const header = parsePackHeader(block.subarray(0, count))
    if (typeof header === 'string') {
      const read = (offset: number, into: Uint8Array): number => pack.readSync(offset, into)
      const goneAt = this.#goneAt(file)
      const { records } = scanPack(
        read, BLOCK_BYTES, sizeBytes, { durableBytes: sizeBytes, goneAt },
      )
      const isTorn = durableBytes === 0 && records.every((record) => record.durableBytes === 0)
      if (isTorn && header !== 'version') return 'torn'
      this.#report(file, 0, header)
      return 'damaged'
    }
    const isOurs = Buffer.compare(header.vaultId, this.#options.vaultId) === 0
    if (isOurs && packFileOf(header.writer, header.number) === file) return header
    this.#report(file, 0, 'of another vault or place')
    return 'damaged'
  }

  #report(file: number, offset: number, reason: string): void {
    if (this.damage.some((one) => one.file === file && one.offset === offset)) return
    this.damage.push({ file, offset, reason })
    const pack = this.#packs.get(file)
    if (pack !== undefined) pack.damaged = true
  }

  #opened(file: number): Open {
    let open = this.#open.get(file)
    if (open !== undefined) {
      this.#open.delete(file)
    } else {
      let disk: PackFile
      try {
        disk = this.#options.disk.open(this.pathOf(file), 'read')
      } catch (cause) {
        if (isLatticeError(cause, 'not-found')) throw damagedPack(file, 0, cause)
        throw cause
      }
      open = { file: disk, pins: 0, headers: new Map() }
    }
    this.#open.set(file, open)
    if (this.#open.size > (this.#options.openMax ?? OPEN_MAX)) this.#closeIdle(file)
    return open
  }

  #closeIdle(keep = -1): void {
    const max = this.#options.openMax ?? OPEN_MAX
    for (const [file, open] of this.#open) {
      if (this.#open.size <= max) return
      if (open.pins > 0 || file === keep) continue
      open.file.close()
      this.#open.delete(file)
    }
  }

  pathOf(file: number): string {
    const { directory } = this.#options
    return join(directory, String(packWriterOf(file)), packName(packNumberOf(file)))
  }
}

function byFile(places: readonly BundlePlace[]): Map<number, BundlePlace[]> {
  const files = new Map<number, BundlePlace[]>()
  for (const place of places) {
    const some = files.get(place.file)
    if (some === undefined) files.set(place.file, [place])
    else some.push(place)
  }
  return files
}

/** The whole blocks that nothing else lies in; none: not above 0. */
function holeIn({ bundleOffset, bundleBytes }: Stretch): Hole {
  // the header of its record goes, too, where it begins a block
  const offset = alignUp(bundleOffset - RECORD_HEADER_BYTES)
  const endBytes = bundleOffset + bundleBytes
  return { offset, sizeBytes: endBytes - (endBytes % BLOCK_BYTES) - offset }
}

export function damagedPack(file: number, offset: number, cause?: unknown): LatticeError {
  return new LatticeError('damaged-pack', 'a pack is damaged', {
    details: { writer: packWriterOf(file), pack: packNumberOf(file), offset },
    cause,
  })
}
