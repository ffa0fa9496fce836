// Encodings that no batch may have, each with the rule that refuses it: plaintexts of sequence 1000
// of the author 01…01. make.ts writes test/vectors/ops/invalid.json of it.
import { Ids } from '../../src/ops/ids.ts'
import type { AuthorId } from '../../src/ops/types.ts'

const own = '\x01'.repeat(32) as AuthorId
const ids = new Ids(Buffer.alloc(32, 9))

/** The head of a batch without authors and deps, then `count` ops. */
const head = (count: number) => Buffer.from([5, 0, 0, 0, count])
const opBytes = (kind: number, flags: number, body: Uint8Array) => (
  Buffer.concat([Buffer.from([kind, flags, body.length]), body])
)
const someNode = Buffer.from(ids.node(own, 1, 2), 'latin1')
/** A batch of one op. */
const one = (kind: number, flags: number, ...parts: (number[] | Uint8Array | string)[]) => {
  const body = Buffer.concat(parts.map((part) => (
    typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part)
  )))
  return Buffer.concat([head(1), opBytes(kind, flags, body)])
}

export const INVALID_BATCHES: [string, string, Uint8Array][] = [
  ['nothing', 'truncated', Buffer.alloc(0)],
  ['a byte too many', 'trailing', Buffer.concat([head(0), Buffer.from([0])])],
  ['a number in a longer form', 'not-canonical', Buffer.from([0xfd, 5, 0, 0, 0, 0, 0])],
  ['a counter of 17 bits', 'number-range', Buffer.from([5, 0xfe, 0, 0, 1, 0, 0, 0, 0])],
  ['an author too many', 'truncated', Buffer.from([5, 0, 9, 0, 0])],
  ['4,097 authors', 'authors-count', Buffer.from([5, 0, 0xfd, 1, 16, 0])],
  ['own author in the table', 'author-self',
    Buffer.concat([Buffer.from([5, 0, 1]), Buffer.from(own, 'latin1'), Buffer.from([0, 0])])],
  ['an author that nobody names', 'not-canonical',
    Buffer.concat([Buffer.from([5, 0, 1]), Buffer.alloc(32, 2), Buffer.from([0, 0])])],
  ['a dep of nothing', 'dep-length',
    Buffer.concat([Buffer.from([5, 0, 0, 1, 0, 0]), Buffer.alloc(33)])],
  ['4,097 ops', 'ops-count', Buffer.from([5, 0, 0, 0, 0xfd, 1, 16])],
  ['a flag that is none', 'op-flags', one(9, 2, someNode, [0])],
  ['a critical note', 'op-flags', one(9, 1, someNode, [0])],
  ['a body that goes on', 'trailing', one(9, 0, someNode, [0, 0])],
  ['a body that ends', 'truncated', one(9, 0, someNode)],
  ['text that is not UTF-8', 'utf8', one(9, 0, someNode, [1, 0xff])],
  ['a node without a kind', 'node-kind', one(9, 0, Buffer.alloc(16), [0])],
  ['a kind of node that is none', 'node-kind', one(1, 0, [1, 8], someNode, [1], 'a', [0])],
  ['a derived directory', 'node-kind', one(1, 0, [0, 0, 1, 0, 0, 0, 1], someNode, [1], 'a', [0])],
  ['an id derived from itself', 'ref-forward', one(1, 0, [0, 0, 0, 0, 0, 0, 2])],
  ['a link that is not minted', 'mint', one(2, 0, [0], someNode, someNode, [1], 'a')],
  ['the name .', 'name', one(1, 0, [1, 2], someNode, [1], '.', [0])],
  ['the name ..', 'name', one(1, 0, [1, 2], someNode, [2], '..', [0])],
  ['no name', 'name', one(1, 0, [1, 2], someNode, [0, 0])],
  ['a name with a slash', 'name', one(1, 0, [1, 2], someNode, [3], 'a/b', [0])],
  ['a name with NUL', 'name', one(1, 0, [1, 2], someNode, [3], 'a\0b', [0])],
  ['a name of 256 bytes', 'name', one(1, 0, [1, 2], someNode, [0xfd, 0, 1], [0])],
  ['a mode of 13 bits', 'number-range', one(6, 0, someNode, [1, 0xfd, 0, 16], [0])],
  ['an attribute that is none', 'attr-key', one(6, 0, someNode, [7, 0], [0])],
  ['an empty target', 'target', one(6, 0, someNode, [5, 0], [0])],
  ['an xattr without a name', 'xattr-name', one(6, 0, someNode, [4, 0, 0], [0])],
  ['the same attribute twice', 'attr-order',
    one(1, 0, [1, 2], someNode, [1], 'a', [2, 1, 5, 1, 5])],
  ['a ref to itself', 'ref-forward', one(3, 0, someNode, someNode, [1], 'a', [1, 0, 0, 0, 0, 0])],
  ['a ref beyond the own log', 'ref-seq',
    one(3, 0, someNode, someNode, [1], 'a', [1, 0, 0xfd, 0xe9, 3, 0, 0, 0])],
  ['a ref to an author not named', 'author-index',
    one(3, 0, someNode, someNode, [1], 'a', [1, 1, 1, 0, 0, 0])],
  ['a ref to op 4,096', 'ref-index',
    one(3, 0, someNode, someNode, [1], 'a', [1, 0, 1, 0xfd, 0, 16, 0, 0])],
  ['the same ref twice', 'ref-order',
    one(3, 0, someNode, someNode, [1], 'a', [2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0])],
  ['1,025 refs', 'ref-count', one(3, 0, someNode, someNode, [1], 'a', [0xfd, 1, 4])],
  ['content of no kind', 'content-kind', one(4, 0, someNode, [0, 0, 0], [3, 0, 0])],
  ['inline content of another size', 'content-size',
    one(4, 0, someNode, [2, 0, 0], [0, 1, 9, 0])],
  ['inline content of 1,025 bytes', 'length', one(4, 0, someNode, [2, 0, 0], [0, 0xfd, 1, 4])],
  ['17 refs to chunks', 'content-refs', one(4, 0, someNode, [2, 0, 0], [1, 0, 17])],
  ['a hole of nothing', 'content-range', one(4, 0, someNode, [0, 0, 0], [1, 0, 1, 0, 0, 0])],
  ['a stretch outside its chunk', 'content-range',
    one(4, 0, someNode, [2, 0, 0], [1, 0, 1, 1], Buffer.alloc(32), [4, 3, 2, 0])],
  ['a tree of depth 9', 'content-depth', one(4, 0, someNode, [2, 0, 0], [2, 0, 9])],
  ['tags out of order', 'tag-order', one(7, 0, someNode, [2, 1], 'b', [1], 'a', [0])],
  ['control beside data', 'control-mixed', Buffer.concat([
    head(2), opBytes(64, 0, Buffer.alloc(0)),
    opBytes(9, 0, Buffer.concat([someNode, Buffer.alloc(1)])),
  ])],
  ['more than a batch', 'batch-size', Buffer.alloc(256 * 1024)],
]
