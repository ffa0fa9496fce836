// Writes what Hypercore's storage has lost back into it, from blocks that lie elsewhere: a whole
// log up to a head that its author has signed, or one block. What comes out is what replication
// would have brought; other devices get it from here and check the author's signature themselves.
//
// Hypercore takes whatever tree nodes lie in its storage for checked ones. So blocks come first,
// piece by piece, and mean nothing; the tree follows only when all of them are known to be what was
// signed; and last, in one transaction, the head and the bits that say which blocks are there. All
// of it happens under the core's lock: what peers bring meanwhile is refused by Hypercore, for the
// tree has changed, and asked for again.
//
// The source may be a peer as well: a log of a hundred thousand small blocks comes so at a small
// part of what Hypercore's replication takes, which asks, proves and writes every block by itself.

import type Hypercore from 'hypercore'
import type { StorageSession, TreeNode } from 'hypercore-storage'
import { BATCH_MAX_BYTES } from '../ops/bounds.ts'
import { must } from '../util/assert.ts'
import { equalBytes } from '../util/bytes.ts'
import type { SignedHead } from '../vault/ports.ts'
import { LOG_LENGTH_MAX } from './log.ts'
import { storedSignature } from './log-keys.ts'
import { TreeHasher, leafOf, rootIndexes } from './tree-hasher.ts'
import type { LogBudget, LogName, LogSource } from './types.ts'

const PIECE_BYTES = 1 << 20
const PIECE_NODES = 8192
const PAGE_BYTES = 4096
const PAGE_BITS = PAGE_BYTES * 8

export type Restored =
  | 'restored'
  | 'here' // nothing was missing
  | 'incomplete' // the source has not got all blocks
  | 'different' // the blocks do not make the tree that was signed
  | 'unsigned' // the signature is not the author's
  | 'too-large' // for the budget

/** Makes the log at least as long as the head says. */
export async function restoreLog(
  session: Hypercore, name: LogName, head: SignedHead, source: LogSource, budget?: LogBudget,
): Promise<Restored> {
  if (head.length > LOG_LENGTH_MAX) return 'too-large'
  const { state } = session.core
  await state.mutex.lock()
  try {
    if (session.contiguousLength >= head.length) return 'here'
    if (session.length > head.length) return 'incomplete' // peers have told of more already
    return await restoreLocked(session, name, head, source, budget)
  } finally {
    state._unlock()
  }
}

async function restoreLocked(
  session: Hypercore, name: LogName, head: SignedHead, source: LogSource,
  budget: LogBudget | undefined,
): Promise<Restored> {
  const { state } = session.core
  const batch = state.createTreeBatch()
  Object.assign(batch, { length: head.length, hashCached: Buffer.from(head.treeHash) })
  const signature = storedSignature(head.signature)
  const verifier = must(session.core.verifier, 'a log without a manifest')
  if (!verifier.verify(batch, signature)) return 'unsigned'
  const from = session.contiguousLength
  const begin = await hasherAt(state.storage, from)
  if (begin === undefined) return 'incomplete'
  const hasher = new TreeHasher(from, begin.roots)
  const leaves = new Leaves()
  let isSame = true
  while (hasher.length < head.length) {
    const seq = hasher.length
    const blocks = await source.blocks(name, seq, PIECE_BYTES)
    if (blocks.length === 0) return 'incomplete'
    const writer = state.storage.write()
    for (const [i, block] of blocks.slice(0, head.length - seq).entries()) {
      const leaf = leafOf(seq + i, block)
      hasher.push(leaf)
      leaves.push(leaf)
      writer.putBlock(seq + i, block)
      if (hasher.length === session.length) isSame = equalBytes(hasher.hash(), state.hash())
    }
    if (!isSame) return 'different'
    if (budget?.(name, hasher.length, sizeOf(hasher.roots)) === false) return 'too-large'
    await writer.flush()
  }
  if (!equalBytes(hasher.hash(), head.treeHash)) return 'different'
  batch.roots = [...hasher.roots]
  batch.byteLength = sizeOf(hasher.roots)
  batch.signature = signature
  await writeTree(state.storage, begin, leaves)
  await commit(session, batch, from)
  return 'restored'
}

function sizeOf(roots: readonly TreeNode[]): number {
  return roots.reduce((sum, { size }) => sum + size, 0)
}

/** Leaves of many blocks, 40 bytes each. */
class Leaves {
  readonly #pieces: { hashes: Buffer; sizes: Float64Array }[] = []
  length = 0

  push({ hash, size }: TreeNode): void {
    const at = this.length++ % PIECE_NODES
    if (at === 0) {
      const hashes = Buffer.alloc(32 * PIECE_NODES)
      this.#pieces.push({ hashes, sizes: new Float64Array(PIECE_NODES) })
    }
    const { hashes, sizes } = must(this.#pieces.at(-1), 'no piece')
    hashes.set(hash, 32 * at)
    sizes[at] = size
  }

  at(i: number): { hash: Uint8Array; size: number } {
    const { hashes, sizes } = must(this.#pieces[Math.floor(i / PIECE_NODES)], 'no such leaf')
    const at = i % PIECE_NODES
    return { hash: hashes.subarray(32 * at, 32 * (at + 1)), size: sizes[at] as number }
  }
}

async function writeTree(
  storage: StorageSession, hasher: TreeHasher, leaves: Leaves,
): Promise<void> {
  for (let i = 0; i < leaves.length;) {
    const made: TreeNode[] = []
    while (i < leaves.length && made.length < PIECE_NODES) {
      hasher.push({ index: 2 * hasher.length, ...leaves.at(i++) }, made)
    }
    const writer = storage.write()
    for (const node of made) writer.putTreeNode(node)
    await writer.flush()
  }
}

/** As Hypercore's own append ends: head, hints and bits, then everything in memory. */
async function commit(
  session: Hypercore, batch: Hypercore.TreeBatch, from: number,
): Promise<void> {
  const { core } = session
  const { state } = core
  const { length, signature } = batch
  const head: Hypercore.Head = {
    fork: 0, length, rootHash: batch.hash(), signature: must(signature, 'an unsigned head'),
    timestamp: Date.now(),
  }
  const writer = state.storage.write()
  for (const [page, bits] of await pagesOf(state.storage, from, length)) {
    writer.putBitfieldPage(page, bits)
  }
  writer.setHead(head)
  const { remoteContiguousLength } = core.header.hints
  writer.setHints({ contiguousLength: length, remoteContiguousLength })
  const isFlushed = await writer.flush()
  state.fork = 0
  state.roots = batch.roots
  state.length = length
  state.byteLength = batch.byteLength
  state.signature = signature
  state.onappend(head, { drop: false, start: from, length: length - from }, isFlushed)
}

/** Pages of the bitfield with the bits of [begin, end) set: bit n is bit n & 7 of byte n >> 3. */
async function pagesOf(
  storage: StorageSession, begin: number, end: number,
): Promise<Map<number, Uint8Array>> {
  const pages = new Map<number, Uint8Array>()
  for (let at = begin; at < end;) {
    const page = Math.floor(at / PAGE_BITS)
    const pageEnd = Math.min(end, (page + 1) * PAGE_BITS)
    const reader = storage.read()
    const reading = reader.getBitfieldPage(page)
    reader.tryFlush()
    const bits = Buffer.alloc(PAGE_BYTES)
    bits.set(await reading ?? bits)
    for (; at < pageEnd; at++) {
      const bit = at % PAGE_BITS
      bits[bit >> 3] = (bits[bit >> 3] as number) | (1 << (bit & 7))
    }
    pages.set(page, bits)
  }
  return pages
}

/**
 * Puts one block back. What lies in its place and is not it is taken away, so that peers are told
 * that it is not here. True when it was there at the source.
 */
export async function healBlock(
  session: Hypercore, name: LogName, seq: number, source: LogSource | undefined,
): Promise<boolean> {
  const { storage } = session.core.state
  const reader = storage.read()
  const reading = Promise.all([reader.getTreeNode(2 * seq), reader.getBlock(seq)])
  reader.tryFlush()
  const [leaf, held] = await reading
  const isIt = (block: Uint8Array): boolean => (
    leaf !== null && equalBytes(leafOf(seq, block).hash, leaf.hash)
  )
  if (held !== null && isIt(held)) return true
  const block = (await source?.blocks(name, seq, BATCH_MAX_BYTES))?.[0]
  const isGood = block !== undefined && isIt(block)
  if (!isGood && held === null) return false
  const writer = storage.write()
  if (isGood) writer.putBlock(seq, block)
  else writer.deleteBlock(seq)
  await writer.flush()
  return isGood
}

async function hasherAt(storage: StorageSession, length: number): Promise<TreeHasher | undefined> {
  const reader = storage.read()
  const reading = rootIndexes(length).map((index) => reader.getTreeNode(index))
  reader.tryFlush()
  const roots = await Promise.all(reading)
  return roots.includes(null) ? undefined : new TreeHasher(length, roots as TreeNode[])
}
