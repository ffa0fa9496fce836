// Hypercore's Merkle tree, walked from left to right: of a log read in order, the tree hash after
// each block costs two or three small hashes, and the storage is not asked.
//
// Nodes are numbered as in a flat tree: the leaf of block n is 2n, a parent lies between its
// children. The roots of a log are those of its largest full subtrees.
//
// Leaves are BLAKE2b-256 over 00 ‖ length u64 LE ‖ block, parents over 01 ‖ sum of sizes u64 LE ‖
// left ‖ right, the tree hash over 02 ‖ (hash ‖ index u64 LE ‖ size u64 LE) of each root.

import crypto from 'hypercore-crypto'
import type { TreeNode } from 'hypercore-storage'
import { must } from '../util/assert.ts'

export class TreeHasher {
  #length: number
  readonly #roots: TreeNode[]

  /** `roots` of a log that is `length` long, from left to right. */
  constructor(length = 0, roots: readonly TreeNode[] = []) {
    this.#length = length
    this.#roots = [...roots]
  }

  get length(): number {
    return this.#length
  }

  get roots(): readonly TreeNode[] {
    return this.#roots
  }

  /** Adds the next leaf; nodes that this makes, the leaf included, are put into `made`. */
  push(leaf: TreeNode, made?: TreeNode[]): void {
    const roots = this.#roots
    let node = leaf
    made?.push(node)
    // a full subtree of 2^k blocks ends here for each of the length's lowest bits that are set
    for (let bits = this.#length; (bits & 1) === 1; bits = Math.floor(bits / 2)) {
      const left = must(roots.pop(), 'a tree without its left half')
      const index = (left.index + node.index) / 2
      node = { index, size: left.size + node.size, hash: crypto.parent(left, node) }
      made?.push(node)
    }
    roots.push(node)
    this.#length++
  }

  /** Of all that was pushed. A new array. */
  hash(): Buffer {
    return crypto.tree(this.#roots)
  }
}

export function leafOf(seq: number, block: Uint8Array): TreeNode {
  return { index: 2 * seq, size: block.length, hash: crypto.data(block) }
}

/** Indexes of the roots of a log of that length, from left to right. */
export function rootIndexes(length: number): number[] {
  const indexes: number[] = []
  let begin = 0 // in blocks
  for (let size = 2 ** 52; size >= 1; size /= 2) {
    if (length - begin < size) continue
    indexes.push(2 * begin + size - 1)
    begin += size
  }
  return indexes
}

export const EMPTY_TREE_HASH: Buffer = crypto.tree([])
