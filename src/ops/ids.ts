/**
 * Derived ids. All devices of a vault compute the same id from the same op, so ids are not on the
 * wire where they can be derived, and nobody can choose one that collides.
 *
 *   node id   kind u8 ‖ first 15 bytes of BLAKE2b-256(key, author 32 ‖ mint u64 BE ‖ 'node')
 *   link id   kind u8 ‖ first 15 bytes of BLAKE2b-256(key, author 32 ‖ mint u64 BE ‖ 'link')
 *   derived   2       ‖ first 15 bytes of BLAKE2b-256(key, author 32 ‖ sequence u64 BE ‖ index u64
 *             BE ‖ 'conflict') of the put op whose content becomes a file of its own
 *   root id   1       ‖ first 15 bytes of BLAKE2b-256(key, vault id ‖ 'root')
 *
 * kind = that of the node; a node's first link has the node's id. The key comes from K_id, so that
 * ids tell outsiders nothing.
 */

import { blake2bKeyedInto } from '../crypto/hash.ts'
import { assert } from '../util/assert.ts'
import { concatBytes, utf8, writeU64 } from '../util/bytes.ts'
import { AUTHOR_BYTES, ID_BYTES } from './bounds.ts'
import { KIND_BLOCK_DEVICE, KIND_DIRECTORY, KIND_FILE } from './types.ts'
import type { AuthorId, LinkId, NodeId, NodeKind, OpRef } from './types.ts'

const LABEL_BYTES = 4
const DERIVED_LABEL = 'conflict'

export class Ids {
  readonly #key: Uint8Array
  readonly #input = Buffer.alloc(AUTHOR_BYTES + 8 + LABEL_BYTES)
  readonly #derivedInput = Buffer.alloc(AUTHOR_BYTES + 16 + DERIVED_LABEL.length)
  readonly #hash = Buffer.alloc(32)

  /** `key`: 32 bytes, kept by reference ('lattice/0/node-id' of K_id, crypto/kdf.ts). */
  constructor(key: Uint8Array) {
    assert(key.length === 32, 'ids: the key has 32 bytes')
    this.#key = key
  }

  node(author: AuthorId, mint: number, kind: NodeKind): NodeId {
    return this.#derive(author, mint, 'node', kind) as NodeId
  }

  /** Of a further link to `node`. */
  link(author: AuthorId, mint: number, node: NodeId): LinkId {
    return this.#derive(author, mint, 'link', kindOfId(node)) as LinkId
  }

  /** Of the file that a conflict copy becomes: `source` is the put, which must be placed. */
  derived(source: OpRef): NodeId {
    assert(source.author.length === AUTHOR_BYTES, 'ids: an author has 32 bytes')
    assert(source.seq >= 0, 'ids: a derived id needs a placed op')
    this.#derivedInput.write(source.author, 0, 'latin1')
    writeU64(this.#derivedInput, AUTHOR_BYTES, source.seq)
    writeU64(this.#derivedInput, AUTHOR_BYTES + 8, source.index)
    this.#derivedInput.write(DERIVED_LABEL, AUTHOR_BYTES + 16, 'latin1')
    blake2bKeyedInto(this.#hash, this.#key, this.#derivedInput)
    return this.#withKind(KIND_FILE) as NodeId
  }

  root(vaultId: Uint8Array): NodeId {
    blake2bKeyedInto(this.#hash, this.#key, concatBytes(vaultId, utf8('root')))
    return this.#withKind(KIND_DIRECTORY) as NodeId
  }

  #derive(author: AuthorId, mint: number, label: string, kind: NodeKind): string {
    assert(author.length === AUTHOR_BYTES, 'ids: an author has 32 bytes')
    this.#input.write(author, 0, 'latin1')
    writeU64(this.#input, AUTHOR_BYTES, mint)
    this.#input.write(label, AUTHOR_BYTES + 8, 'latin1')
    blake2bKeyedInto(this.#hash, this.#key, this.#input)
    return this.#withKind(kind)
  }

  #withKind(kind: NodeKind): string {
    this.#hash.copyWithin(1, 0, ID_BYTES - 1)
    this.#hash[0] = kind
    return this.#hash.toString('latin1', 0, ID_BYTES)
  }
}

/** The kind that an id of a node or link carries; the id must be one. */
export function kindOfId(id: NodeId | LinkId): NodeKind {
  const kind = id.charCodeAt(0)
  assert(isKind(kind), 'an id without a kind')
  return kind
}

export function isKind(kind: number): kind is NodeKind {
  return kind >= KIND_DIRECTORY && kind <= KIND_BLOCK_DEVICE
}
