// Cutting and sealing, on whatever thread it runs: frozen plaintext in, chunk ids and places in
// packs out. One core owns one PackWriter and the open bundles: one for ordinary chunks, up to 1
// MiB, and one for chunks that will be read at random, up to 256 KiB.
//
// Plaintext lies in two fixed buffers and in the open bundles' builders, all reused and wiped by
// close(). Nothing is written that is not sealed.

import { blake3Keyed } from '../crypto/hash.ts'
import { assert } from '../util/assert.ts'
import { concatBytes } from '../util/bytes.ts'
import { Mutex } from '../util/mutex.ts'
import { BUNDLE_RANDOM_BYTES } from './bundle-layout.ts'
import { BundleBuilder } from './bundle.ts'
import type { BundlePadding, BundleSealer } from './bundle.ts'
import { CHUNK_ID_BYTES, readChunkId, writeChunkId } from './chunk-id.ts'
import type { ChunkId } from './chunk-id.ts'
import { CHUNKER_FIXED_16K, CHUNK_MAX_BYTES, chunkerMaxBytes, cutChunks } from './chunker.ts'
import type { ChunkerId } from './chunker.ts'
import { compressChunk } from './compress.ts'
import { gearTable } from './gear.ts'
import type { PackDisk } from './pack-disk.ts'
import { PackWriter } from './pack-writer.ts'
import type { ReadFrozen } from './seal-frozen.ts'
import { CUT_WINDOW_BYTES, HEAD_MAX_BYTES, SEALED_ROW } from './seal-protocol.ts'
import type {
  CutRequest,
  CutResult,
  Moved,
  SealKeys,
  SealRequest,
  SealResult,
} from './seal-protocol.ts'

export type SealCoreOptions = {
  keys: SealKeys
  readFrozen: ReadFrozen
  disk: PackDisk
  directory: string
  writer: number
  nextNumber: number
  previousNumber: number
  previousBytes: number
  allocate: (sizeBytes: number) => Uint8Array
  moved: (moved: Moved) => void
  /** Nonce prefixes; the system's randomness unless a simulator brings its own. */
  random?: (sizeBytes: number) => Uint8Array
  packBytes?: number
  unitBytes?: number
}

type Pending = {
  rows: SealResult
  left: number
  resolve: (rows: SealResult) => void
  reject: (error: Error) => void
}

/** A chunk in an open bundle or a sealed one: whose it is, and what is known of its place. */
type Member = {
  pending: Pending
  index: number
  id: ChunkId
  plainBytes: number
  plainOffset: number
  storedBytes: number
  codec: number
}

type Sealed = { members: Member[]; located: boolean }

const FIXED_BYTES = 16 * 1024
const ZEROS = new Uint8Array(CHUNK_MAX_BYTES)
const ZERO_ID = new Uint8Array(CHUNK_ID_BYTES)

export class SealCore {
  readonly #options: SealCoreOptions
  #who: BundleSealer
  readonly #gear: Uint8Array
  readonly #writer: PackWriter<Sealed>
  /** What was cut last, and what of which job it is: sealing it needs no second reading. */
  readonly #window = new Uint8Array(CUT_WINDOW_BYTES + HEAD_MAX_BYTES)
  #windowJob = -1
  #windowRanges: Float64Array = new Float64Array(0)
  /** Where each range begins in the window. */
  #windowPlaces: Float64Array = new Float64Array(0)
  readonly #chunk = new Uint8Array(CHUNK_MAX_BYTES)
  readonly #bulk: OpenBundle
  readonly #random: OpenBundle
  readonly #lock = new Mutex()

  constructor(options: SealCoreOptions) {
    this.#options = options
    const { vaultId, epochId, sealer, bundleKey, cutKey } = options.keys
    this.#who = { vaultId, epochId, sealer, key: bundleKey }
    this.#gear = gearTable(cutKey)
    const random = options.random === undefined ? {} : { random: options.random }
    this.#bulk = { builder: new BundleBuilder(random), members: [] }
    this.#random = {
      builder: new BundleBuilder({ maxSealedBytes: BUNDLE_RANDOM_BYTES, ...random }),
      members: [],
    }
    this.#writer = new PackWriter<Sealed>({
      ...options,
      vaultId,
      written: (sealed, file, offset, bytes) => this.#written(sealed, file, offset, bytes),
      failed: (sealed, error) => {
        for (const { pending } of sealed.members) pending.reject(error)
      },
    })
  }

  cut(request: CutRequest): CutResult {
    const { ranges } = request
    this.#windowJob = -1
    const lengths: number[] = []
    const ids: Uint8Array[] = []
    const places = new Float64Array(ranges.length / 2)
    let at = 0
    for (let i = 0; i < ranges.length; i += 2) {
      places[i / 2] = at
      const bytes = (ranges[i + 1] as number) - (ranges[i] as number)
      const plain = this.#window.subarray(at, at + bytes)
      this.#cutRange(request, i, plain, lengths, ids)
      at += bytes
    }
    this.#windowJob = request.job
    this.#windowRanges = ranges
    this.#windowPlaces = places
    return { lengths: Uint32Array.from(lengths), ids: concatBytes(...ids) }
  }

  seal(request: SealRequest): Promise<SealResult> {
    const count = request.lengths.length
    if (count === 0) return Promise.resolve(new Float64Array(0))
    return new Promise((resolve, reject) => {
      const rows = new Float64Array(count * SEALED_ROW)
      const pending = { rows, left: count, resolve, reject }
      this.#lock.run(() => this.#add(request, pending)).catch(reject)
    })
  }

  /** Closes the open bundles and writes them. */
  async flush(): Promise<void> {
    await this.#lock.run(() => this.#closeBoth())
    await this.#writer.flush()
  }

  /** What was reported as written is durable; open bundles go on. */
  async sync(): Promise<void> {
    await this.#writer.sync()
  }

  /** From now on this epoch seals; what lies in open bundles is written under the one before. */
  useEpoch(epochId: Uint8Array, bundleKey: Uint8Array): Promise<void> {
    return this.#lock.run(async () => {
      await this.#closeBoth()
      this.#who = { ...this.#who, epochId, key: bundleKey }
    })
  }

  get isDurable(): boolean {
    return this.#bulk.members.length + this.#random.members.length === 0 && this.#writer.isDurable
  }

  async close(): Promise<void> {
    try {
      await this.flush()
      await this.#writer.close()
    } finally {
      this.wipe()
    }
  }

  /** Zeroes what plaintext is left from finished work; nothing may be open. */
  wipe(): void {
    this.#windowJob = -1
    this.#window.fill(0)
    this.#chunk.fill(0)
    if (this.#bulk.members.length === 0) this.#bulk.builder.clear()
    if (this.#random.members.length === 0) this.#random.builder.clear()
  }

  /** Cuts the range that begins at ranges[at], whose bytes go to `plain`. */
  #cutRange(
    request: CutRequest,
    at: number,
    plain: Uint8Array,
    lengths: number[],
    ids: Uint8Array[],
  ): void {
    const { chunker, ranges } = request
    const begin = ranges[at] as number
    this.#read(request.job, begin, at === 0 ? request.head : undefined, plain)
    const isFinal = request.final || at + 2 < ranges.length
    let from = 0
    for (const length of this.#cutLengths(chunker, begin, plain, isFinal)) {
      const chunk = plain.subarray(from, from + length)
      lengths.push(length)
      ids.push(isZeroRun(chunker, chunk) ? ZERO_ID : blake3Keyed(this.#options.keys.idKey, chunk))
      from += length
    }
  }

  #cutLengths(
    chunker: ChunkerId,
    begin: number,
    plain: Uint8Array,
    final: boolean,
  ): Uint32Array {
    const misaligned = begin % FIXED_BYTES
    if (chunker !== CHUNKER_FIXED_16K || misaligned === 0) {
      return cutChunks(chunker, this.#gear, plain, final)
    }
    // Fixed chunks stand at multiples of their size in the file: the first one is a part.
    const first = FIXED_BYTES - misaligned
    if (plain.length < first) return final ? Uint32Array.of(plain.length) : new Uint32Array(0)
    const rest = cutChunks(chunker, this.#gear, plain.subarray(first), final)
    return Uint32Array.of(first, ...rest)
  }

  #read(job: number, begin: number, head: Uint8Array | undefined, into: Uint8Array): void {
    const headBytes = head?.length ?? 0
    assert(into.length >= headBytes, 'a head longer than its range')
    if (head !== undefined) into.set(head)
    if (into.length > headBytes) {
      this.#options.readFrozen(job, begin + headBytes, into.subarray(headBytes))
    }
  }

  async #add(request: SealRequest, pending: Pending): Promise<void> {
    const open = request.random ? this.#random : this.#bulk
    for (let index = 0; index < request.lengths.length; index++) {
      const plain = this.#plainOf(request, index)
      const id = readChunkId(request.ids, index * CHUNK_ID_BYTES)
      await this.#addChunk(open, id, plain, pending, index)
    }
    if (request.urgent) {
      await this.#closeBoth()
      this.#writer.flushSoon()
    } else if (this.#writer.isUnitFull) this.#writer.flushSoon()
  }

  /** The chunk's plaintext, valid until the next wait. */
  #plainOf({ job, head, headBegin, offsets, lengths }: SealRequest, index: number): Uint8Array {
    const begin = offsets[index] as number
    const end = begin + (lengths[index] as number)
    const at = job === this.#windowJob ? this.#placeInWindow(begin, end) : -1
    if (at >= 0) return this.#window.subarray(at, at + end - begin)
    const plain = this.#chunk.subarray(0, end - begin)
    let done = 0
    if (head !== undefined && begin >= headBegin && begin < headBegin + head.length) {
      const part = head.subarray(begin - headBegin, Math.min(end - headBegin, head.length))
      plain.set(part)
      done = part.length
    }
    if (begin + done < end) this.#options.readFrozen(job, begin + done, plain.subarray(done))
    return plain
  }

  /** -1 = the window does not have it. */
  #placeInWindow(begin: number, end: number): number {
    const ranges = this.#windowRanges
    let low = 0 // of the last range that begins at or before it
    for (let high = ranges.length / 2; high - low > 1;) {
      const middle = (low + high) >>> 1
      if ((ranges[middle * 2] as number) <= begin) low = middle
      else high = middle
    }
    const from = ranges[low * 2]
    if (from === undefined || begin < from || end > (ranges[low * 2 + 1] as number)) return -1
    return (this.#windowPlaces[low] as number) + begin - from
  }

  async #addChunk(
    open: OpenBundle,
    id: ChunkId,
    plain: Uint8Array,
    pending: Pending,
    index: number,
  ): Promise<void> {
    const plainBytes = plain.length
    const { codec, stored } = compressChunk(plain)
    let kept = stored
    if (!open.builder.fits(stored.length)) {
      if (stored.buffer === this.#window.buffer) {
        // The next window may be cut while this waits.
        kept = this.#chunk.subarray(0, stored.length)
        kept.set(stored)
      }
      await this.#close(open, 'full')
    }
    const plainOffset = open.builder.usedBytes
    assert(open.builder.add(id, kept, codec, plainBytes), 'a chunk must fit an empty bundle')
    const storedBytes = kept.length
    open.members.push({ pending, index, id, plainBytes, plainOffset, storedBytes, codec })
  }

  async #closeBoth(): Promise<void> {
    await this.#close(this.#bulk, 'padme')
    await this.#close(this.#random, 'padme')
  }

  async #close(open: OpenBundle, padding: BundlePadding): Promise<void> {
    if (open.members.length === 0) return
    const { members } = open
    open.members = []
    let memory: Uint8Array
    try {
      memory = await this.#writer.room(open.builder.sealedBytes(padding))
    } catch (error) {
      // Nothing can be made durable: whoever waits for these chunks must hear it.
      const reason = error instanceof Error ? error : new Error(String(error))
      for (const { pending } of members) pending.reject(reason)
      open.builder.clear()
      throw reason
    }
    const { sealed } = open.builder.finish(this.#who, padding, memory)
    this.#writer.add(sealed, { members, located: false })
    if (this.#writer.isUnitFull) this.#writer.flushSoon()
  }

  #written(sealed: Sealed, file: number, bundleOffset: number, bundleBytes: number): void {
    if (sealed.located) {
      this.#options.moved(movedOf(sealed.members, file, bundleOffset, bundleBytes))
      return
    }
    sealed.located = true
    for (const member of sealed.members) {
      const { pending } = member
      writeRow(pending.rows, member.index, member, file, bundleOffset, bundleBytes)
      if (--pending.left === 0) pending.resolve(pending.rows)
    }
  }
}

/** As long as a chunk can be, so that where it ends does not depend on what follows, and zero. */
function isZeroRun(chunker: ChunkerId, chunk: Uint8Array): boolean {
  if (chunk.length !== chunkerMaxBytes(chunker) || chunk[0] !== 0) return false
  return Buffer.compare(chunk, ZEROS.subarray(0, chunk.length)) === 0
}

type OpenBundle = { readonly builder: BundleBuilder; members: Member[] }

function writeRow(
  rows: SealResult,
  index: number,
  member: Member,
  file: number,
  bundleOffset: number,
  bundleBytes: number,
): void {
  const at = index * SEALED_ROW
  rows[at] = file
  rows[at + 1] = bundleOffset
  rows[at + 2] = bundleBytes
  rows[at + 3] = member.plainOffset
  rows[at + 4] = member.storedBytes
  rows[at + 5] = member.codec
}

function movedOf(
  members: Member[],
  file: number,
  bundleOffset: number,
  bundleBytes: number,
): Moved {
  const ids = new Uint8Array(members.length * CHUNK_ID_BYTES)
  const plainBytes = new Uint32Array(members.length)
  const rows = new Float64Array(members.length * SEALED_ROW)
  members.forEach((member, index) => {
    writeChunkId(ids, index * CHUNK_ID_BYTES, member.id)
    plainBytes[index] = member.plainBytes
    writeRow(rows, index, member, file, bundleOffset, bundleBytes)
  })
  return { ids, plainBytes, rows }
}
