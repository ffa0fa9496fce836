// The members once more, from the written rules alone and as naively as can be: guess that nothing
// counts, work out what would count if the guess were right, take that for the next guess, until it
// stays. Since an op's fate depends on its author's seniors and past only, it does. No order of
// visits, no shared code with src/state but the types and the bytes that certificates sign.
import { ed25519 } from '@noble/curves/ed25519.js'
import { epochIdOf } from '../../src/ops/control-genesis.ts'
import type { ControlOp, ControlRecord } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import { certificateBytes } from '../../src/state/members-phrases.ts'

const RANKS = { blind: 0, reader: 1, writer: 2, admin: 3, owner: 4 }
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1') as AuthorId
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

interface Seat { rank: number; path: number[] }
interface Given extends Seat {
  device: AuthorId
  from: number
  by?: Seat
  op?: ControlRecord
  /** The op that introduced the phrase which certified it. */
  via?: ControlRecord | undefined
  carrier?: ControlRecord
}
interface Word {
  boxKey: string
  record?: ControlRecord | undefined
  chain: ControlRecord[] // what one must have seen to know it
  next?: Word
  lineage: number[]
  generation: number
  key: string
  via?: ControlRecord | undefined
}
type Guess = Map<ControlRecord, Seat>

export interface OracleResult {
  counts(record: ControlRecord): boolean
  rankAt(device: AuthorId, seq: number): number
  standing(device: AuthorId, seq: number): 'valid' | 'cut' | 'void'
  owners: number
}

function before(a: Seat, b: Seat): boolean {
  if (a.rank !== b.rank) return a.rank > b.rank
  for (let i = 0; ; i++) {
    if (i >= b.path.length) return false
    if (i >= a.path.length) return true
    if (a.path[i] !== b.path[i]) return a.path[i]! < b.path[i]!
  }
}

function saw(one: ControlRecord, other: ControlRecord): boolean {
  if (one.ref.author === other.ref.author && one.ref.seq === other.ref.seq) {
    return other.ref.index < one.ref.index
  }
  return other.ref.seq < (one.deps.get(other.ref.author) ?? 0)
}

export function foldMembersNaively(
  records: readonly ControlRecord[], vaultId: Uint8Array, genesis: ControlRecord,
): OracleResult {
  const verified = new Map<string, boolean>()
  let world = new World(records, vaultId, genesis, new Map(), verified)
  for (let round = 0; round < records.length + 5; round++) {
    const guess = world.whatCounts()
    const same = guess.size === world.guess.size && [...guess].every(([record, seat]) => {
      const old = world.guess.get(record)
      return old?.rank === seat.rank && old.path.join() === seat.path.join()
    })
    if (same) return world.result()
    world = new World(records, vaultId, genesis, guess, verified)
  }
  throw new Error('the oracle finds no answer that stays')
}

class World {
  readonly guess: Guess
  readonly records: readonly ControlRecord[]
  readonly vaultId: Uint8Array
  readonly genesis: ControlRecord
  readonly words: Word[] = []
  readonly given: Given[] = []
  readonly certified = new Set<ControlRecord>()
  readonly verified: Map<string, boolean>

  constructor(
    records: readonly ControlRecord[], vaultId: Uint8Array, genesis: ControlRecord, guess: Guess,
    verified: Map<string, boolean>,
  ) {
    this.records = records
    this.vaultId = vaultId
    this.genesis = genesis
    this.guess = guess
    this.verified = verified
    if (genesis.op.kind !== 'genesis') throw new Error('a genesis')
    this.given.push({ device: genesis.ref.author, rank: 4, path: [1], from: 0 })
    const { recoverySignKey, recoveryBoxKey } = genesis.op
    this.#word({
      lineage: [0], generation: 0, key: hex(recoverySignKey), boxKey: hex(recoveryBoxKey),
      chain: [],
    })
    const introductions = records.filter(({ op }) => (
      op.kind === 'policy' && op.policy === 'phrase' && op.certificate === undefined
    )).filter((record) => guess.has(record))
    introductions.sort((a, b) => (before(guess.get(a)!, guess.get(b)!) ? -1
      : before(guess.get(b)!, guess.get(a)!) ? 1
        : a.ref.seq - b.ref.seq || a.ref.index - b.ref.index))
    for (const record of introductions) {
      const { op, ref } = record
      const { path } = guess.get(record)!
      if (op.kind !== 'policy' || op.policy !== 'phrase') continue
      const lineage = [...path, ref.seq, ref.index]
      const [key, boxKey] = [hex(op.signKey), hex(op.boxKey)]
      this.#word({ lineage, generation: 0, key, boxKey, via: record, record, chain: [record] })
    }
    for (const [op, { path }] of guess) {
      const grant = grantIn(op.op)
      if (grant === undefined) continue
      const by = guess.get(op)!
      this.given.push({ ...grant, path: [...path, op.ref.seq, op.ref.index], by, op })
    }
  }

  /** A phrase, unless it has been one: its owners, its successor. */
  #word(word: Word): void {
    if (this.words.some(({ key }) => key === word.key)) return
    this.words.push(word)
    const papers = this.records.flatMap((record) => this.#paper(record, word.key))
    const isWord = (signKey: string) => this.words.some(({ key }) => key === signKey)
    const nexts = papers.filter(({ use, signKey }) => use === 'phrase-next' && !isWord(signKey))
    nexts.sort((a, b) => a.serial - b.serial || (a.order < b.order ? -1 : 1))
    const next = nexts[0]
    const given = new Set<string>()
    const owners = papers.filter(({ use }) => use === 'phrase-owner')
    owners.sort((a, b) => a.serial - b.serial || (a.order < b.order ? -1 : 1))
    for (const paper of owners) {
      if (next !== undefined && paper.serial >= next.serial) continue
      this.certified.add(paper.record)
      const key = Buffer.from(paper.signKey, 'hex')
      const words = Array.from({ length: 8 }, (_, i) => key.readUInt32BE(4 * i))
      const path = [...word.lineage, 2 ** 32 - word.generation, 2 ** 32 - paper.serial, ...words]
      if (given.has(path.join())) continue
      given.add(path.join())
      this.given.push({
        device: latin1(key), rank: 4, path, from: 0, via: word.via, carrier: paper.record,
      })
    }
    if (next === undefined) return
    for (const { record, serial, order } of nexts) {
      const isSame = serial === next.serial && order.slice(0, 128) === next.order.slice(0, 128)
      if (isSame) this.certified.add(record)
    }
    const { lineage, generation, via } = word
    const { signKey: key, boxKey, record } = next
    const chain = [...word.chain, record]
    word.next = { lineage, generation: generation + 1, key, boxKey, via, record, chain }
    this.#word(word.next)
  }

  #paper(record: ControlRecord, phrase: string) {
    const { op } = record
    const isOwner = op.kind === 'add' && op.role === 'owner'
    if (!isOwner && (op.kind !== 'policy' || op.policy !== 'phrase')) return []
    if (op.certificate === undefined || hex(op.certificate.phrase) !== phrase) return []
    const use = op.kind === 'add' ? 'phrase-owner' as const : 'phrase-next' as const
    const key = op.kind === 'add' ? Buffer.from(op.device, 'latin1') : op.signKey
    const bytes = certificateBytes(use, this.vaultId, op.certificate, key, op.boxKey)
    const { signature, serial } = op.certificate
    const id = `${hex(bytes)}${hex(signature)}`
    let isSigned = this.verified.get(id)
    if (isSigned === undefined) {
      isSigned = ed25519.verify(signature, bytes, op.certificate.phrase)
      this.verified.set(id, isSigned)
    }
    const { ms, seq, index } = record.ref
    const place = [ms, latin1(Buffer.from(record.ref.author, 'latin1')), seq, index].join()
    const [signKey, boxKey] = [hex(key), hex(op.boxKey)]
    const order = `${signKey}${boxKey}${place}`
    return isSigned ? [{ record, use, serial, signKey, boxKey, order }] : []
  }

  // ---- who holds what, if the guess is right ----

  #seats(device: AuthorId): (Given & { rank: number })[] {
    return this.given.filter((given) => given.device === device)
      .flatMap((given) => Array.from({ length: given.rank + 1 }, (_, rank) => ({ ...given, rank })))
  }

  #acts(device: AuthorId) {
    return [...this.guess].flatMap(([record, seat]) => {
      const { op } = record
      const isAct = op.kind === 'remove' || (op.kind === 'role' && op.change === 'lower')
      if (!isAct || op.device !== device) return []
      const rank = op.kind === 'role' ? RANKS[op.role] : -1
      let length = op.logs.find(({ log }) => log === device)!.length
      for (const [other, by] of this.guess) {
        if (other.op.kind !== 'readmit' || before(seat, by)) continue
        const { author, seq, index } = other.op.target
        if (author !== record.ref.author || seq !== record.ref.seq) continue
        if (index !== record.ref.index) continue
        for (const mark of other.op.logs) {
          if (mark.log === device) length = Math.max(length, mark.length)
        }
      }
      return [{ record, seat, rank, length }]
    })
  }

  #ending(seat: Given) {
    return this.#acts(seat.device).filter((act) => {
      if (act.rank >= seat.rank || !before(act.seat, seat)) return false
      const knew = seat.op?.op.kind === 'role' && saw(seat.op, act.record) &&
        !before(act.seat, seat.by!)
      return !knew
    })
  }

  #seatAt(device: AuthorId, seq: number): Given | undefined {
    return this.#seats(device)
      .filter((seat) => seq >= seat.from && this.#ending(seat).every(({ length }) => seq < length))
      .toSorted((a, b) => (before(a, b) ? -1 : 1))[0]
  }

  #isVoid(device: AuthorId, seq: number, seat: Seat | undefined): boolean {
    return [...this.guess].some(([{ op }, by]) => (
      op.kind === 'void' && op.device === device && seq >= op.begin && seq < op.end &&
      (seat === undefined || before(by, seat))
    ))
  }

  // ---- what counts then ----

  whatCounts(): Guess {
    const guess: Guess = new Map()
    for (const record of this.records) {
      const { op, ref } = record
      if (op.kind === 'add' && op.certificate !== undefined) continue
      if (op.kind === 'policy' && op.policy === 'phrase' && op.certificate !== undefined) continue
      const seat = this.#seatAt(ref.author, ref.seq)
      if (seat === undefined || this.#isVoid(ref.author, ref.seq, seat)) continue
      if (this.#isAllowed(record, seat)) guess.set(record, { rank: seat.rank, path: seat.path })
    }
    return guess
  }

  /** Others that count and stand before: by a more senior seat, or earlier under the same. */
  #earlier(record: ControlRecord, seat: Seat): ControlRecord[] {
    return [...this.guess].filter(([other, by]) => {
      if (before(by, seat)) return true
      if (before(seat, by)) return false
      const [a, b] = [other.ref, record.ref]
      return a.seq < b.seq || (a.seq === b.seq && a.index < b.index)
    }).map(([other]) => other)
  }

  #isAllowed(record: ControlRecord, seat: Seat): boolean {
    const { op } = record
    if (op.kind === 'deviceInfo') return true
    if (op.kind === 'genesis' || seat.rank < (op.kind === 'policy' ? 4 : 3)) return false
    switch (op.kind) {
      case 'epoch': return true
      case 'invite': return RANKS[op.role] <= seat.rank
      case 'add': return RANKS[op.role] <= seat.rank && this.#mayAdd(record, seat)
      case 'role':
        if (op.change === 'raise' && RANKS[op.role] > seat.rank) return false
        return this.#mayActOn(record, seat, op.device) && hasLog(op.logs, op.device)
      case 'remove': return this.#mayActOn(record, seat, op.device) && hasLog(op.logs, op.device)
      case 'void': return this.#mayActOn(record, seat, op.device)
      case 'fork': return this.#mayActOn(record, seat, op.device) && !this.#isPicked(record, seat)
      case 'readmit': return this.#mayReadmit(record, seat)
      case 'policy':
        if (op.policy === 'rules') return op.version > 0
        // what a junior introduced is in nobody's way, even if an earlier guess had it first
        return !this.words.some(({ key, lineage, via }) => (
          key === hex(op.signKey) &&
          lineage.join() !== [...seat.path, record.ref.seq, record.ref.index].join() &&
          (via === undefined || this.#earlier(record, seat).includes(via))
        ))
    }
  }

  #mayAdd(record: ControlRecord, seat: Seat): boolean {
    const { op } = record
    if (op.kind !== 'add') return false
    const earlier = this.#earlier(record, seat)
    const isIn = this.given.some((given) => {
      if (given.device !== op.device || given.op?.op.kind === 'role') return false
      const made = given.op ?? given.via
      return made === undefined || earlier.includes(made)
    })
    if (isIn) return false
    if (op.code === undefined) return true
    const code = hex(op.code)
    const isInvited = earlier.some((other) => (
      other.op.kind === 'invite' && other.ref.author === record.ref.author &&
      hex(other.op.code) === code && other.op.role === op.role
    ))
    const isUsed = earlier.some(({ op: other }) => (
      other.kind === 'add' && other.code !== undefined && hex(other.code) === code
    ))
    return isInvited && !isUsed
  }

  #mayActOn(record: ControlRecord, seat: Seat, device: AuthorId): boolean {
    const isNamed = device === this.genesis.ref.author || this.records.some((other) => (
      other.op.kind === 'add' && other.op.device === device && saw(record, other)
    ))
    return isNamed && this.#seats(device).every((other) => (
      before(seat, other) || this.#ending(other).some((act) => saw(record, act.record))
    ))
  }

  #isPicked(record: ControlRecord, seat: Seat): boolean {
    const { op } = record
    return op.kind === 'fork' && this.#earlier(record, seat).some(({ op: other }) => (
      other.kind === 'fork' && other.mark.log === op.mark.log &&
      other.mark.length === op.mark.length && hex(other.mark.treeHash) !== hex(op.mark.treeHash)
    ))
  }

  #mayReadmit(record: ControlRecord, seat: Seat): boolean {
    const { op } = record
    if (op.kind !== 'readmit') return false
    const { author, seq, index } = op.target
    const target = this.records.find(({ ref }) => (
      ref.author === author && ref.seq === seq && ref.index === index
    ))
    if (target === undefined || !saw(record, target)) return false
    const act = target.op
    const isAct = act.kind === 'remove' || (act.kind === 'role' && act.change === 'lower')
    if (!isAct || !hasLog(op.logs, act.device)) return false
    const by = this.guess.get(target)
    return by !== undefined && !before(by, seat)
  }

  // ---- epochs ----

  /** What a device is for ever, by the acts that the record sees. */
  #seatSeen(record: ControlRecord, device: AuthorId, grants: 'all' | 'seen'): Given | undefined {
    return this.#seats(device).filter((seat) => (
      !this.#ending(seat).some((act) => saw(record, act.record)) &&
      (grants === 'all' || this.#isSeen(record, seat))
    )).toSorted((a, b) => (before(a, b) ? -1 : 1))[0]
  }

  /** For a certificate: its carrier, as far as it counts. */
  #isSeen(record: ControlRecord, seat: Given): boolean {
    if (seat.op !== undefined) return saw(record, seat.op)
    return seat.carrier === undefined || saw(record, seat.carrier)
  }

  #keysOf(device: AuthorId): string[] {
    if (this.genesis.op.kind !== 'genesis') return []
    const first = device === this.genesis.ref.author ? [hex(this.genesis.op.deviceBoxKey)] : []
    const added = this.records.flatMap(({ op }) => (
      op.kind === 'add' && op.device === device ? [hex(op.boxKey)] : []
    ))
    return [...first, ...added]
  }

  epochCounts(record: ControlRecord): boolean {
    const { op } = record
    const seat = this.guess.get(record)
    if (op.kind !== 'epoch' || seat === undefined) return false
    const isSeen = (id: string): boolean => this.records.some((other) => (
      (other.op.kind === 'epoch' || other === this.genesis) && saw(record, other) &&
      hex(epochIdOf(other.body)) === id
    ))
    if (!op.parents.every(({ epochId }) => isSeen(hex(epochId)))) return false
    const boxes = new Map(op.boxes.map(({ boxKey, box }) => [hex(boxKey), box.length]))
    const devices = [...new Set(this.given.map(({ device }) => device))]
    for (const device of devices) {
      const keys = this.#keysOf(device).filter((key) => boxes.has(key))
      const rank = this.#seatSeen(record, device, 'all')?.rank ?? -1
      if (keys.some((key) => rank < (boxes.get(key) === 112 ? 0 : 1))) return false
      const senior = this.#seatSeen(record, device, 'seen')
      if (senior === undefined || !before(senior, seat)) continue
      if (!keys.some((key) => senior.rank < 1 || boxes.get(key) === 176)) return false
    }
    const words = this.words.filter(({ chain }) => chain.every((one) => saw(record, one)))
    const current = words.filter((word) => !words.some((other) => (
      other === word.next || (
        other !== word && other.generation === 0 && other.record !== undefined &&
        word.chain.every((one) => saw(other.record!, one))
      )
    )))
    if (current.some((word) => (
      before({ rank: 4, path: word.lineage }, seat) && boxes.get(word.boxKey) !== 176
    ))) return false
    return ![...this.guess].some(([other, by]) => (
      other.op.kind === 'deviceInfo' && other.op.info === 'bad-epoch' &&
      hex(other.op.epochId) === hex(epochIdOf(record.body)) && before(by, seat)
    ))
  }

  result(): OracleResult {
    const rankAt = (device: AuthorId, seq: number): number => this.#seatAt(device, seq)?.rank ?? -1
    return {
      counts: (record) => (
        record.op.kind === 'epoch' ? this.epochCounts(record)
          : this.guess.has(record) || this.certified.has(record) || record === this.genesis
      ),
      rankAt,
      standing: (device, seq) => {
        if (this.#isVoid(device, seq, this.#seatAt(device, seq))) return 'void'
        return rankAt(device, seq) >= 2 ? 'valid' : 'cut'
      },
      owners: this.given.filter(({ device }) => rankAt(device, 1e9) === 4).length,
    }
  }
}

function grantIn(op: ControlOp): { device: AuthorId; rank: number; from: number } | undefined {
  if (op.kind === 'add') return { device: op.device, rank: RANKS[op.role], from: 0 }
  if (op.kind !== 'role' || op.change !== 'raise') return undefined
  const from = op.logs.find(({ log }) => log === op.device)!.length
  return { device: op.device, rank: RANKS[op.role], from }
}

function hasLog(logs: readonly { log: AuthorId }[], log: AuthorId): boolean {
  return logs.some((mark) => mark.log === log)
}
