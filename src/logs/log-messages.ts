// What the main thread and the sync worker say to each other about logs, over one MessagePort.
//
// The client asks, the server answers with the same id; the server asks for blocks of the journal
// the same way. Lengths are told unasked. Messages keep their order, so that whoever has an answer
// also knows the lengths of that moment. Ranges travel as one buffer that changes hands.

import { LatticeError } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import type { SignedHead } from '../vault/ports.ts'
import { TOO_LARGE } from './log.ts'
import type { Restored } from './restore.ts'
import type { LogName, LogRange } from './types.ts'

/** A MessagePort of worker_threads, as far as it is used. */
export interface LogChannel {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'close', listener: () => void): unknown
  close(): void
}

export interface Grown extends LogName {
  length: number
  signedLength: number
}

export type LogRequest =
  | { call: 'range'; name: LogName; from: number; maxBlocks: number; maxBytes: number }
  | { call: 'treeHash'; name: LogName; length: number }
  | { call: 'append'; kind: LogName['kind']; from: number; blocks: readonly Uint8Array[] }
  | { call: 'head'; name: LogName }
  | { call: 'restore'; name: LogName; head: SignedHead }
  | { call: 'reset'; name: LogName }
  | { call: 'keep'; name: LogName }

export interface LogReplies {
  range: PackedRange
  treeHash: Uint8Array | undefined
  append: boolean
  head: SignedHead | undefined
  restore: Restored
  reset: undefined
  keep: undefined
}

export interface ForkNotice extends LogName {
  theirs: { length: number; treeHash: Uint8Array }
}

export type ToServer =
  | { is: 'request'; id: number; request: LogRequest }
  | { is: 'blocks'; id: number; blocks: readonly Uint8Array[] }
  | { is: 'no-blocks'; id: number; error: PlainError }

export type ToClient =
  | { is: 'ready'; isNew: boolean; logs: Grown[] }
  | { is: 'grown'; logs: Grown[] }
  | { is: 'forked'; fork: ForkNotice }
  | { is: 'trouble'; error: PlainError }
  | { is: 'reply'; id: number; value: LogReplies[keyof LogReplies] }
  | { is: 'failed'; id: number; error: PlainError }
  | { is: 'ask'; id: number; name: LogName; from: number; maxBytes: number }

export interface PlainError {
  code: ErrorCode
  message: string
  hint: string | undefined
}

export function plainError(error: unknown): PlainError {
  if (error instanceof LatticeError) {
    return { code: error.code, message: error.message, hint: error.hint }
  }
  return { code: 'internal', message: String(error), hint: undefined }
}

export function fromPlain({ code, message, hint }: PlainError): LatticeError {
  return new LatticeError(code, message, { hint })
}

// ---- ranges ----

export interface PackedRange {
  from: number
  before: Uint8Array | undefined
  /** Of each block; -1 for one that is too large for a batch. */
  sizes: Float64Array
  /** Tree hashes, 32 bytes each, then the blocks. */
  bytes: Uint8Array<ArrayBuffer>
}

const HASH_BYTES = 32

export function packRange({ from, before, blocks, treeHashes }: LogRange): PackedRange {
  const sizes = Float64Array.from(blocks, (block) => (block === TOO_LARGE ? -1 : block.length))
  let sizeBytes = HASH_BYTES * blocks.length
  for (const size of sizes) sizeBytes += Math.max(size, 0)
  const bytes = new Uint8Array(sizeBytes)
  let at = 0
  for (const hash of treeHashes) {
    bytes.set(hash, at)
    at += HASH_BYTES
  }
  for (const block of blocks) {
    if (block === TOO_LARGE) continue
    bytes.set(block, at)
    at += block.length
  }
  return { from, before, sizes, bytes }
}

/** Blocks and hashes are views of the packed bytes. */
export function unpackRange({ from, before, sizes, bytes }: PackedRange): LogRange {
  const blocks: Uint8Array[] = []
  const treeHashes: Uint8Array[] = []
  let at = HASH_BYTES * sizes.length
  for (const [i, size] of sizes.entries()) {
    treeHashes.push(bytes.subarray(HASH_BYTES * i, HASH_BYTES * (i + 1)))
    blocks.push(size < 0 ? TOO_LARGE : bytes.subarray(at, at + size))
    at += Math.max(size, 0)
  }
  return { from, before, blocks, treeHashes }
}
