// Keys of the index. One LMDB database; the first byte of a key names the table, numbers are 8-byte
// big-endian, so that entries of a directory lie together in the order of their cookies. The whole
// key is the associated data of the sealed value: no value can be moved to another place.
//
//   meta    0 ‖ label                       format (clear), state (sealed)
//   inode   1 ‖ ino 8                       sealed: pointer to the entry, or the record
//   entry   2 ‖ directory ino 8 ‖ cookie 8  sealed: name, ino, kind [, the record]
//   name    3 ‖ directory ino 8 ‖ hash 16   clear: cookie 8
//   node    4 ‖ hash 16                     clear: ino 8
//   link    5 ‖ hash 16                     clear: node id 16
//   hidden  6 ‖ hash 16                     sealed: the record
//   chunk   7 ‖ hash 16                     sealed: location
//   group   8 ‖ directory ino 8 ‖ hash 16   sealed: name, claims, what is shown, names passed over
//   skip    9 ‖ directory ino 8 ‖ hash 16   sealed: names of the groups that passed this one over
//   move    10 ‖ ms 8 ‖ counter 2 ‖ author 4 ‖ sequence 8 ‖ index 2      sealed: the move
//   batch   11 ‖ author 4 ‖ sequence 8      sealed: journal position, effective time
//   control 12 ‖ author 4 ‖ sequence 8      sealed: the batch
//   bundle  13 ‖ hash 16                    sealed: where it lies here
//   content 14 ‖ hash 16                    sealed: a descriptor of a content log
//
// An author is its number in this device's table (state/author-table.ts). Hashes are BLAKE2b-128
// keyed for this index only: of directory ino 8 ‖ name, of a node or link id, of a chunk or bundle
// id, of author ‖ place in the content log, in digits.

import { blake2bKeyedInto } from '../crypto/hash.ts'
import type { OpRef } from '../ops/types.ts'
import { writeU64 } from '../util/bytes.ts'

export const TABLE_META = 0
export const TABLE_INODE = 1
export const TABLE_ENTRY = 2
export const TABLE_NAME = 3
export const TABLE_NODE = 4
export const TABLE_LINK = 5
export const TABLE_HIDDEN = 6
export const TABLE_CHUNK = 7
export const TABLE_GROUP = 8
export const TABLE_SKIP = 9
export const TABLE_MOVE = 10
export const TABLE_BATCH = 11
export const TABLE_CONTROL = 12
export const TABLE_BUNDLE = 13
export const TABLE_CONTENT = 14

const MOVE_KEY_BYTES = 25

const HASH_BYTES = 16
const INPUT_MAX_BYTES = 8 + 256

/** Makes keys; each is a new buffer, the caller's own. */
export class IndexKeys {
  readonly #hashKey: Uint8Array
  readonly #input = Buffer.alloc(INPUT_MAX_BYTES)
  readonly #hash = Buffer.alloc(HASH_BYTES)

  /** `hashKey`: 32 bytes, kept by reference. */
  constructor(hashKey: Uint8Array) {
    this.#hashKey = hashKey
  }

  meta(label: string): Buffer {
    return Buffer.from(`\0${label}`, 'latin1')
  }

  inode(ino: number): Buffer {
    const key = Buffer.allocUnsafe(9)
    key[0] = TABLE_INODE
    writeU64(key, 1, ino)
    return key
  }

  entry(parent: number, cookie: number): Buffer {
    const key = Buffer.allocUnsafe(17)
    key[0] = TABLE_ENTRY
    writeU64(key, 1, parent)
    writeU64(key, 9, cookie)
    return key
  }

  /** `name` is latin1. */
  name(parent: number, name: string, table = TABLE_NAME): Buffer {
    writeU64(this.#input, 0, parent)
    const end = 8 + this.#input.write(name, 8, 'latin1')
    const key = Buffer.allocUnsafe(9 + HASH_BYTES)
    key[0] = table
    writeU64(key, 1, parent)
    blake2bKeyedInto(this.#hash, this.#hashKey, this.#input.subarray(0, end))
    this.#hash.copy(key, 9)
    return key
  }

  /** Of a node or link id, 16 bytes as latin1: hashed, since its first byte tells its kind, and
   *  strangers may make ids that differ in nothing else. */
  id(table: number, id: string): Buffer {
    const key = Buffer.allocUnsafe(17)
    key[0] = table
    this.#input.write(id, 0, 'latin1')
    blake2bKeyedInto(this.#hash, this.#hashKey, this.#input.subarray(0, id.length))
    this.#hash.copy(key, 1)
    return key
  }

  /** Below every key of the table; the end of the one before it. */
  begin(table: number): Buffer {
    return Buffer.of(table)
  }

  /** Keys ascend with effective time; among equal times they say nothing about the order. */
  move(ref: OpRef, author: number): Buffer {
    const key = this.moveTime(ref.ms, ref.counter)
    key.writeUInt32BE(author, 11)
    writeU64(key, 15, ref.seq)
    key.writeUInt16BE(ref.index, 23)
    return key
  }

  /** Not greater than any key of a move at this time. */
  moveTime(ms: number, counter: number): Buffer {
    const key = Buffer.alloc(MOVE_KEY_BYTES)
    key[0] = TABLE_MOVE
    writeU64(key, 1, ms)
    key.writeUInt16BE(counter, 9)
    return key
  }

  batch(table: number, author: number, seq: number): Buffer {
    const key = Buffer.allocUnsafe(13)
    key[0] = table
    key.writeUInt32BE(author, 1)
    writeU64(key, 5, seq)
    return key
  }

  /** Of a chunk or bundle id. */
  hashed(table: number, id: string): Buffer {
    const end = this.#input.write(id, 0, 'latin1')
    const key = Buffer.allocUnsafe(1 + HASH_BYTES)
    key[0] = table
    blake2bKeyedInto(this.#hash, this.#hashKey, this.#input.subarray(0, end))
    this.#hash.copy(key, 1)
    return key
  }
}

export const NAME_HASH_OFFSET = 9
