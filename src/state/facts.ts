// Local facts: what the fold allocates or samples on this device, in the order in which it asks.
// Live they are drawn and recorded; a rebuild replays them, so that it comes to equal inos, cookies
// and times. A replay never fails for a value: what cannot be used any more (other rules, another
// order, or so many that not all were kept) is drawn anew. They travel beside the ops in the
// journal, never to peers.
//
//   list      = u8 version ‖ count varint ‖ (author 32) … ‖ count varint ‖ operations
//   operation = u8 kind ‖ ops varint ‖ sec signed ‖ nsec varint ‖ count varint ‖ values signed …
//               ‖ for each op its chain
//   chain     = the op that this device applied to the same node before: 0 = none, else
//               varint 1 = the batch's author ‖ batch's sequence - its sequence, varint ‖ index
//               varint n + 2 = author n of the list ‖ sequence varint ‖ index varint

import type { AuthorId, OpRef } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { StateMeta } from './meta.ts'
import type { NodeRecord } from './records.ts'
import { RecordReader, RecordWriter } from './wire.ts'

const FACTS_VERSION = 1
const AUTHOR_BYTES = 32
/** Of a list's values, so many bytes are kept: with its batch it must fit into a journal record. */
const VALUES_MAX_BYTES = 512 << 10

/** An ordinary operation. */
export const FACTS_PLAIN = 0
/** Rename over: the first op's node takes the ino of the last op's node. */
export const FACTS_FOLLOW = 1
/** Values: ino [, atime seconds, nanoseconds]. Sets ctime, and atime if given; needs no op. */
export const FACTS_TIMES = 2
/** A node that lived without a name gets one. Values end with its atime: seconds, nanoseconds. */
export const FACTS_NAMED = 3
/** Control ops took effect: what recomputing nodes drew. Needs no op. */
export const FACTS_MEMBERS = 4
/** A put of an inode that lost its name to others' changes: for whoever has open what the name
 *  shows now, it is as one of theirs. */
export const FACTS_DETACHED = 5
export type FactsKind = 0 | 1 | 2 | 3 | 4 | 5

export class Facts {
  kind: FactsKind = FACTS_PLAIN
  /** Ops of the operation that these facts belong to. */
  opCount = 0
  /** The operation's time: ctime of what it touches. */
  sec: number
  nsec: number
  values: number[] = []
  /** Of each op of the operation: the op that was applied to its node before. */
  chain: (OpRef | undefined)[] = []
  /** Where replay stands; -1 = recording. */
  #replayAt = -1
  /** On replay: an ino could not be had again; those drawn since are greater than all recorded. */
  #isBeyond = false
  /** The next ino() gives this one: it was given to a node without a name before. */
  presetIno = 0
  /** atime of that node, while recording. */
  presetAtime: { sec: number; nsec: number } | undefined = undefined

  constructor(sec: number, nsec: number) {
    this.sec = sec
    this.nsec = nsec
  }

  /** Facts read from the journal, to be consumed in order. */
  static replaying(kind: FactsKind, sec: number, nsec: number, values: number[]): Facts {
    const facts = new Facts(sec, nsec)
    facts.kind = kind
    facts.values = values
    facts.#replayAt = 0
    return facts
  }

  /** Puts the op, the `index`-th of its operation, at the head of the record's history. */
  link(index: number, record: NodeRecord, ref: OpRef): void {
    this.chain[index] = record.last
    record.last = ref
  }

  /** `isFree`: whether no node has the ino; asked on replay only. */
  ino(meta: StateMeta, isFree?: (ino: number) => boolean): number {
    let ino = this.presetIno
    this.presetIno = 0
    if (this.#replayAt >= 0) {
      ino = this.#next()
      if (ino > 0 && (isFree === undefined || isFree(ino))) {
        if (ino >= meta.nextIno) meta.nextIno = ino + 1
        return ino
      }
      this.#goBeyond(meta)
      ino = 0
    }
    if (ino === 0) ino = meta.nextIno++
    if (this.#replayAt < 0) this.values.push(ino)
    return ino
  }

  #goBeyond(meta: StateMeta): void {
    if (this.#isBeyond) return
    this.#isBeyond = true
    for (const value of this.values) if (value >= meta.nextIno) meta.nextIno = value + 1
  }

  /** Moves the directory's next cookie; the record must be one that may be changed. */
  cookie(directory: NodeRecord): number {
    let cookie = directory.nextCookie
    if (this.#replayAt >= 0) cookie = Math.max(cookie, this.#next())
    else this.values.push(cookie)
    directory.nextCookie = cookie + 1
    return cookie
  }

  /** Whether an inode lives on without its name, since it is open here: asked live, then known. */
  detach(ask: () => boolean): boolean {
    if (this.#replayAt >= 0) return this.#next() === 1
    const isOpen = ask()
    this.values.push(isOpen ? 1 : 0)
    return isOpen
  }

  /** atime of a node that gets its first name: the last two values. */
  atime(): { sec: number; nsec: number } {
    if (this.#replayAt < 0) {
      const preset = this.presetAtime ?? { sec: this.sec, nsec: this.nsec }
      this.values.push(preset.sec, preset.nsec)
      return preset
    }
    const [sec = this.sec, nsec = this.nsec] = this.values.slice(this.#replayAt)
    return { sec, nsec: nsec >= 0 && nsec < 1e9 ? nsec : 0 }
  }

  /** The next recorded value; 0 when there is none. */
  #next(): number {
    return this.values[this.#replayAt++] ?? 0
  }
}

/** The batch that facts stand beside: their chains are told relative to it. */
export interface FactsPlace {
  author: AuthorId
  seq: number
}

/** `place` undefined: of operations without ops. Refs of the chains must be placed. A view. */
export function encodeFacts(list: readonly Facts[], place?: FactsPlace): Uint8Array {
  const writer = new RecordWriter()
  writer.u8(FACTS_VERSION)
  const authors = othersOf(list, place)
  writer.varint(authors.length)
  for (const author of authors) writer.raw(author)
  writer.varint(list.length)
  const room = { bytes: VALUES_MAX_BYTES }
  for (const facts of list) {
    writer.u8(facts.kind)
    writer.varint(facts.opCount)
    writer.signed(facts.sec)
    writer.varint(facts.nsec)
    const kept = countFitting(facts.values, room)
    writer.varint(kept)
    for (let i = 0; i < kept; i++) writer.signed(facts.values[i] as number)
    for (let i = 0; i < facts.opCount; i++) {
      const before = place === undefined ? undefined : facts.chain[i]
      writeChain(writer, before, authors, place)
    }
  }
  return writer.view()
}

/** How many of the values fit, from the first on; their bytes are taken from the room. */
function countFitting(values: readonly number[], room: { bytes: number }): number {
  for (let i = 0; i < values.length; i++) {
    let bytes = 1
    for (let rest = Math.abs(values[i] as number) * 2; rest >= 128; rest /= 128) bytes++
    if (bytes > room.bytes) {
      room.bytes = 0 // nothing after it either: replay asks in order
      return i
    }
    room.bytes -= bytes
  }
  return values.length
}

function othersOf(list: readonly Facts[], place: FactsPlace | undefined): AuthorId[] {
  const authors: AuthorId[] = []
  if (place === undefined) return authors
  for (const { chain } of list) {
    for (const ref of chain) {
      if (ref === undefined || ref.author === place.author) continue
      if (!authors.includes(ref.author)) authors.push(ref.author)
    }
  }
  return authors
}

function writeChain(
  writer: RecordWriter, ref: OpRef | undefined, authors: AuthorId[], place: FactsPlace | undefined,
): void {
  if (ref === undefined || place === undefined) return writer.varint(0)
  assert(ref.seq >= 0, 'a chain names placed ops')
  if (ref.author === place.author) {
    writer.varint(1)
    writer.varint(place.seq - ref.seq)
  } else {
    writer.varint(2 + authors.indexOf(ref.author))
    writer.varint(ref.seq)
  }
  writer.varint(ref.index)
}

/**
 * `place` as when they were encoded. Refs of the chains carry no time. Throws 'damaged-journal' for
 * an unknown version, 'damaged-index' for a bad form.
 */
export function decodeFacts(bytes: Uint8Array, place?: FactsPlace): Facts[] {
  const reader = new RecordReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  if (reader.u8() !== FACTS_VERSION) {
    throw new LatticeError('damaged-journal', 'local facts have an unknown version')
  }
  const authors: AuthorId[] = []
  for (let left = reader.varint(); left > 0; left--) {
    authors.push(reader.raw(AUTHOR_BYTES) as AuthorId)
  }
  const list: Facts[] = []
  for (let left = reader.varint(); left > 0; left--) {
    const kind = reader.u8() as FactsKind
    const opCount = reader.varint()
    const sec = reader.signed()
    const nsec = reader.varint()
    const values: number[] = []
    for (let more = reader.varint(); more > 0; more--) values.push(reader.signed())
    const facts = Facts.replaying(kind, sec, nsec, values)
    facts.opCount = opCount
    for (let i = 0; i < opCount; i++) facts.chain.push(readChain(reader, authors, place))
    list.push(facts)
  }
  reader.end()
  return list
}

function readChain(
  reader: RecordReader, authors: AuthorId[], place: FactsPlace | undefined,
): OpRef | undefined {
  const who = reader.varint()
  if (who === 0) return undefined
  const author = who === 1 ? place?.author : authors[who - 2]
  const number = reader.varint()
  const index = reader.varint()
  const seq = who === 1 ? (place?.seq ?? 0) - number : number
  if (author === undefined || seq < 0) {
    throw new LatticeError('damaged-journal', 'local facts name no such op')
  }
  return { ms: 0, counter: 0, author, seq, index, order: 0 }
}
