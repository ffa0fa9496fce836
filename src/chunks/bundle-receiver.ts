// Takes in bundles of others: everything in them is verified once, before anything refers to it;
// afterwards the seals of the segments are enough. A chunk that is not what its id says would
// poison every later deduplication. Then they go to packs of their own writer, each bundle at a
// multiple of 4 KiB, so that its space can be given back alone.
//
// On a blind device nothing can be opened: a bundle is what its id says, no more.
// Belongs to the thread that talks to peers.

import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'
import type { BundleId } from './bundle-id.ts'
import { openBundle } from './bundle.ts'
import type { BundleEntry } from './bundle-layout.ts'
import { BUNDLE_MAX_BYTES, parseHeader } from './bundle-layout.ts'
import { checkChunkId } from './chunk-id.ts'
import type { BundlePlace } from './chunk-index-port.ts'
import { decompressChunk } from './compress.ts'
import type { PackDisk } from './pack-disk.ts'
import { PackWriter } from './pack-writer.ts'

/** The pack directory of received bundles. */
export const RECEIVED_WRITER = 2

export interface ReceiverOptions {
  disk: PackDisk
  /** packs/<RECEIVED_WRITER> */
  directory: string
  vaultId: Uint8Array
  /** K_bundle of an epoch. */
  bundleKey: (epochId: Uint8Array) => Uint8Array | undefined
  /** K_id; undefined on a blind device. */
  idKey: Uint8Array | undefined
  /** Where the writer goes on (PackStore.nextOf). */
  nextNumber: number
  previousNumber: number
  previousBytes: number
  allocate: (sizeBytes: number) => Uint8Array
  /** Told when a bundle lies somewhere, and again if it had to move. */
  received: (bundle: StoredBundle) => void
}

export interface StoredBundle {
  id: BundleId
  place: BundlePlace
  entries: readonly BundleEntry[]
}

interface Waiting {
  id: BundleId
  entries: readonly BundleEntry[]
  resolve: () => void
  reject: (error: Error) => void
}

export class BundleReceiver {
  readonly #options: ReceiverOptions
  readonly #writer: PackWriter<Waiting>
  /** room() and add() of one bundle belong together. */
  readonly #adding = new Mutex()
  /** What is verified, for a moment. */
  readonly #plain = Buffer.allocUnsafeSlow(BUNDLE_MAX_BYTES)

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#writer = new PackWriter({
      ...options,
      writer: RECEIVED_WRITER,
      written: ({ id, entries, resolve }, file, bundleOffset, bundleBytes) => {
        options.received({ id, place: { file, bundleOffset, bundleBytes }, entries })
        resolve()
      },
      failed: ({ reject }, error) => reject(error),
    })
  }

  /**
   * Verifies and stores; not durable when it resolves. The caller has checked the id. `sealed` is
   * not kept. Rejects 'corrupt' when the content is not what it claims, 'missing-key' when it
   * cannot be opened yet, 'disk-full', 'io'.
   */
  async store(id: BundleId, sealed: Uint8Array): Promise<void> {
    const entries = this.#verify(sealed)
    await new Promise<void>((resolve, reject) => {
      const adding = this.#adding.run(async () => {
        const memory = await this.#writer.room(sealed.length)
        memory.set(sealed)
        this.#writer.add(memory, { id, entries, resolve, reject })
        await this.#writer.flush()
      })
      adding.catch(reject)
    })
  }

  /** Everything stored so far is durable when it resolves. */
  sync(): Promise<void> {
    return this.#writer.sync()
  }

  close(): Promise<void> {
    return this.#writer.close()
  }

  #verify(sealed: Uint8Array): readonly BundleEntry[] {
    const { bundleKey, idKey, vaultId } = this.#options
    try {
      const header = parseHeader(sealed, sealed.length, vaultId)
      if (idKey === undefined) return []
      const key = bundleKey(header.epochId)
      if (key === undefined) {
        throw new LatticeError('missing-key', 'no key here for the epoch of a bundle')
      }
      const { entries, plain } = openBundle(key, sealed, vaultId, this.#plain)
      for (const { chunk, offset, storedBytes, plainBytes, codec } of entries) {
        const stored = plain.subarray(offset, offset + storedBytes)
        checkChunkId(idKey, chunk, decompressChunk(codec, stored, plainBytes))
      }
      plain.fill(0)
      return entries
    } catch (cause) {
      if (!isLatticeError(cause) || cause.code === 'missing-key') throw cause
      throw new LatticeError('corrupt', 'a bundle is not what it claims to be', {
        cause, details: { reason: cause.code },
      })
    }
  }
}
