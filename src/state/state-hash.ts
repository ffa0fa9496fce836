// The state hash: an incremental set hash of canonical node records. A record's hash is BLAKE2b-128
// of what is replicated about its node; the hashes are summed mod 2^128 in 256 buckets, chosen by a
// byte of the node id, so that differing buckets name the nodes to look at. Equal version vectors
// must give equal sums. A detector of bugs, not a proof against an adversary (sums can be forged).

import { blake2b } from '../crypto/hash.ts'
import { compareRefNames, sameRef } from '../ops/order.ts'
import type { OpRef } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { encodeContent } from './content-record.ts'
import type { LinkRecord, NodeRecord } from './records.ts'
import { NO_REFS } from './records.ts'
import { STATE_HASH_BYTES, writeNode } from './record-codec.ts'
import { hasReplicatedMtime } from './registers.ts'
import { RecordWriter } from './wire.ts'

const BUCKETS = 256
const WORDS = STATE_HASH_BYTES / 4
const AUTHOR_PREFIX = 8

export class StateHash {
  readonly #sums: Uint32Array
  readonly #writer = new RecordWriter()

  /** `bytes`: what bytes() returned earlier. */
  constructor(bytes?: Uint8Array) {
    assert(bytes === undefined || bytes.length === BUCKETS * STATE_HASH_BYTES, 'state hash: size')
    this.#sums = new Uint32Array(BUCKETS * WORDS)
    if (bytes !== undefined) new Uint8Array(this.#sums.buffer).set(bytes)
  }

  /** Takes the record's earlier contribution out and its present one in, and notes it there. What
   *  the view alone has made contributes nothing. */
  update(record: NodeRecord): void {
    const hash = record.virtualOf === '' ? this.hashOf(record) : ''
    if (hash === record.stateHash) return
    if (record.stateHash !== '') this.#add(record.node, record.stateHash, -1)
    if (hash !== '') this.#add(record.node, hash, 1)
    record.stateHash = hash
  }

  /** latin1 */
  hashOf(record: NodeRecord): string {
    writeCanonical(this.#writer.reset(), record)
    return blake2b(STATE_HASH_BYTES, this.#writer.view()).toString('latin1')
  }

  /** The sums, a copy. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#sums.buffer).slice()
  }

  /** One value to compare, hex. */
  digest(): string {
    return blake2b(32, new Uint8Array(this.#sums.buffer)).toString('hex')
  }

  #add(node: string, hash: string, sign: 1 | -1): void {
    const at = node.charCodeAt(1) * WORDS
    let carry = 0
    for (let w = 0; w < WORDS; w++) {
      let word = 0
      for (let b = 3; b >= 0; b--) word = word * 256 + hash.charCodeAt(w * 4 + b)
      const sum = (this.#sums[at + w] as number) + sign * word + carry
      this.#sums[at + w] = sum >>> 0
      carry = Math.floor(sum / 2 ** 32)
    }
  }
}

function writeCanonical(writer: RecordWriter, record: NodeRecord): void {
  writer.raw(record.node)
  writer.varint(record.mode)
  writeRef(writer, record.modeRef)
  writer.signed(record.uid)
  writer.signed(record.gid)
  writeRef(writer, record.ownerRef)
  if (hasReplicatedMtime(record)) {
    writer.signed(record.mtimeSec)
    writer.varint(record.mtimeNsec)
  }
  writeRef(writer, record.mtimeRef)
  writer.varint(record.rdev)
  writer.text(record.target)
  writer.varint(record.links.length)
  for (const link of sortedLinks(record.links)) {
    writer.raw(link.link)
    writeNode(writer, link.parent)
    writer.text(link.name)
    writeRef(writer, link.pos)
    const births = isPosition(link.births, link.pos) ? NO_REFS : link.births
    writeRefs(writer, births)
    writer.u8(link.skipped ? 1 : 0)
    writeRefs(writer, link.heads)
    writeRef(writer, link.rm)
  }
  writer.varint(record.heads.length)
  for (const head of record.heads) {
    writeRef(writer, head.ref)
    writer.u8(head.covered ? 1 : 0)
    writer.varint(head.sizeBytes)
    encodeContent(writer, head.content)
  }
  writeRefs(writer, record.touches)
  for (const { name, value, ref } of record.xattrs) {
    writer.text(name)
    writeRef(writer, ref)
    if (value !== undefined) writer.bytes(value)
  }
  for (const { tag, add } of record.tags) {
    writer.text(tag)
    writeRef(writer, add)
  }
}

function isPosition(births: readonly OpRef[], pos: OpRef): boolean {
  return births.length === 1 && sameRef(births[0] as OpRef, pos)
}

function sortedLinks(links: readonly LinkRecord[]): readonly LinkRecord[] {
  return links.length < 2 ? links : links.toSorted((a, b) => (a.link < b.link ? -1 : 1))
}

function writeRefs(writer: RecordWriter, refs: readonly OpRef[]): void {
  writer.varint(refs.length)
  const sorted = refs.length < 2 ? refs : refs.toSorted(compareRefNames)
  for (const ref of sorted) writeRef(writer, ref)
}

function writeRef(writer: RecordWriter, ref: OpRef | undefined): void {
  if (ref === undefined) {
    writer.u8(0)
    return
  }
  writer.u8(1)
  writer.raw(ref.author.slice(0, AUTHOR_PREFIX))
  writer.varint(ref.seq)
  writer.varint(ref.index)
}
