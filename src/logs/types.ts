// What passes between the parts of logs/, and to whoever composes them (daemon, net).

import type Hypercore from 'hypercore'
import type { AuthorId } from '../ops/types.ts'
import type { LogKind } from '../vault/ports.ts'

/** Which log. */
export interface LogName {
  author: AuthorId
  kind: LogKind
}

/** How much of a log is here, and what it is. */
export interface LogHead extends LogName {
  length: number
  treeHash: Uint8Array
}

/** Consecutive blocks of a log, and what the log is after each of them. */
export interface LogRange {
  from: number
  /** Tree hash of the first `from` blocks; undefined when they are not there. */
  before: Uint8Array | undefined
  blocks: Uint8Array[]
  /** Tree hash of the first from + i + 1 blocks. As many as blocks. */
  treeHashes: Uint8Array[]
}

export interface RangeLimits {
  maxBlocks: number
  /** The first block is read whatever its size. */
  maxBytes: number
}

/**
 * Blocks that lie elsewhere on this device: in the journal, or as what the journal says of bundles.
 * Asked for what Hypercore's storage has lost.
 */
export interface LogSource {
  /**
   * Consecutive blocks from `from` on: at least one unless that one is not there, and beyond the
   * first no more than `maxBytes`.
   */
  blocks(name: LogName, from: number, maxBytes: number): Promise<readonly Uint8Array[]>
}

/** Whether a log may become `length` blocks of `sizeBytes` in all; asked before blocks come. */
export type LogBudget = (name: LogName, length: number, sizeBytes: number) => boolean

export type LogKeyPair = Hypercore.KeyPair
export type NoiseStream = Hypercore.NoiseStream

export type GrowthListener = (author: AuthorId, kind: LogKind, length: number) => void

/** Ids of logs in maps. */
export function nameKey({ author, kind }: LogName): string {
  return `${kind}:${author}`
}
