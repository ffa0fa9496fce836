// What the engine's thread asks of whoever cuts and seals: a core on the same thread, or workers.
// Plain data, so that it can be posted between threads. Plaintext stays where it is: requests name
// ranges of a frozen job, and only short pieces travel with them.

import type { ChunkerId } from './chunker.ts'

/**
 * Ranges of a file that are cut each by itself, ascending: at most CUT_WINDOW_BYTES beyond the
 * head. Random writes leave thousands of short ones, which must not cost a message each.
 */
export type CutRequest = {
  job: number
  /** Begin, end, begin, end … Frozen bytes of the job, at the same offsets. */
  ranges: Float64Array
  /** Stands at the first range's begin, instead of frozen bytes. */
  head: Uint8Array | undefined
  chunker: ChunkerId
  /** Whether the last range is cut up to its end; all others are. */
  final: boolean
}

/** Lengths of the chunks, range by range, and their ids, 32 bytes each. An id of zeros stands for a
 *  chunk of zeros: it is to be a hole. */
export type CutResult = {
  lengths: Uint32Array
  ids: Uint8Array
  /** Which worker still has the plaintext at hand. */
  lane?: number
}

/** Chunks of a stream that are new to this device: the n-th is lengths[n] bytes at offsets[n]. */
export type SealRequest = {
  job: number
  /** Bytes that stand at [headBegin, headBegin + head.length) of the stream. */
  head: Uint8Array | undefined
  headBegin: number
  offsets: Float64Array
  lengths: Uint32Array
  ids: Uint8Array
  /** Read at random later: small bundles. */
  random: boolean
  /** Somebody waits: the bundle is closed and written at once. */
  urgent: boolean
  /** CutResult.lane of the same window. */
  lane?: number | undefined
}

/** Rows of a SealResult, one per chunk of the request, in its order. */
export const SEALED_ROW = 6 // file, bundleOffset, bundleBytes, plainOffset, storedBytes, codec
export type SealResult = Float64Array

/** Bundles that had to be written anew elsewhere: ids of chunks, and their rows. */
export type Moved = { ids: Uint8Array; plainBytes: Uint32Array; rows: SealResult }

export const CUT_WINDOW_BYTES = 4 * 1024 * 1024
/** The longest head: what a re-cut of a file's tail may read back. */
export const HEAD_MAX_BYTES = 2 * 1024 * 1024
/** An open bundle is closed this long after its first chunk. */
export const BUNDLE_OPEN_MS = 100

export interface SealBackend {
  cut(request: CutRequest): Promise<CutResult>
  /** Resolves when all chunks of the request lie in packs (not durable). */
  seal(request: SealRequest): Promise<SealResult>
  /** Closes and writes what is open. */
  flush(): Promise<void>
  /** What seal() has resolved for before is durable when it resolves. */
  sync(): Promise<void>
  /** Told about bundles that moved. Set once, before anything is sealed. */
  onMoved(listener: (moved: Moved) => void): void
  close(): Promise<void>
}

/** Keys and names that a sealer needs; copied between threads, wiped there on close. */
export type SealKeys = {
  vaultId: Uint8Array
  epochId: Uint8Array
  sealer: Uint8Array
  bundleKey: Uint8Array
  idKey: Uint8Array
  cutKey: Uint8Array
}
