// Local facts: what the fold allocates or samples on this device, in the order in which it asks.
// Live they are drawn and recorded; a rebuild replays them, so that it comes to equal inos, cookies
// and times. They travel beside the ops in the journal, never to peers.
//
//   operation = u8 kind ‖ ops varint ‖ sec signed ‖ nsec varint ‖ count varint ‖ values signed …
//   list      = u8 version ‖ count varint ‖ operations

import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { StateMeta } from './meta.ts'
import type { NodeRecord } from './records.ts'
import { RecordReader, RecordWriter } from './wire.ts'

const FACTS_VERSION = 0

/** An ordinary operation. */
export const FACTS_PLAIN = 0
/** Rename over: the first op's node takes the ino of the last op's node. */
export const FACTS_FOLLOW = 1
/** Values: ino [, atime seconds, nanoseconds]. Sets ctime, and atime if given; needs no op. */
export const FACTS_TIMES = 2
/** A node that lived without a name gets one. Values end with its atime: seconds, nanoseconds. */
export const FACTS_NAMED = 3
export type FactsKind = 0 | 1 | 2 | 3

export class Facts {
  kind: FactsKind = FACTS_PLAIN
  /** Ops of the operation that these facts belong to. */
  opCount = 0
  /** The operation's time: ctime of what it touches. */
  sec: number
  nsec: number
  values: number[] = []
  /** Where replay stands; -1 = recording. */
  #replayAt = -1
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

  ino(meta: StateMeta): number {
    if (this.#replayAt >= 0) {
      const ino = this.#next()
      if (ino >= meta.nextIno) meta.nextIno = ino + 1
      return ino
    }
    const ino = this.presetIno === 0 ? meta.nextIno++ : this.presetIno
    this.presetIno = 0
    this.values.push(ino)
    return ino
  }

  /** Moves the directory's next cookie; the record must be one that may be changed. */
  cookie(directory: NodeRecord): number {
    let cookie = directory.nextCookie
    if (this.#replayAt >= 0) cookie = this.#next()
    else this.values.push(cookie)
    assert(cookie >= directory.nextCookie, 'a cookie was given out twice')
    directory.nextCookie = cookie + 1
    return cookie
  }

  /** atime of a node that gets its first name: the last two values. */
  atime(): { sec: number; nsec: number } {
    if (this.#replayAt < 0) {
      const preset = this.presetAtime ?? { sec: this.sec, nsec: this.nsec }
      this.values.push(preset.sec, preset.nsec)
      return preset
    }
    const [sec, nsec] = this.values.slice(this.#replayAt)
    if (sec === undefined || nsec === undefined) {
      throw new LatticeError('damaged-journal', 'local facts do not fit their operations')
    }
    return { sec, nsec }
  }

  #next(): number {
    const value = this.values[this.#replayAt++]
    if (value === undefined || value <= 0) {
      throw new LatticeError('damaged-journal', 'local facts do not fit their operations')
    }
    return value
  }
}

export function encodeFacts(list: readonly Facts[]): Uint8Array {
  const writer = new RecordWriter()
  writer.u8(FACTS_VERSION)
  writer.varint(list.length)
  for (const facts of list) {
    writer.u8(facts.kind)
    writer.varint(facts.opCount)
    writer.signed(facts.sec)
    writer.varint(facts.nsec)
    writer.varint(facts.values.length)
    for (const value of facts.values) writer.signed(value)
  }
  return writer.view()
}

/** Throws 'damaged-journal' for an unknown version, 'damaged-index' for a bad form. */
export function decodeFacts(bytes: Uint8Array): Facts[] {
  const reader = new RecordReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  if (reader.u8() !== FACTS_VERSION) {
    throw new LatticeError('damaged-journal', 'local facts have an unknown version')
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
    list.push(facts)
  }
  reader.end()
  return list
}
