/**
 * Epochs: which exist, which are valid, which one seals, and whether a new one is due. An epoch is
 * the op that made it and named by that op's hash. Epochs affect nobody's standing, so they are
 * judged when all offices are known. Pure.
 *
 * Whether one epoch precedes another depends on the parents that their ops name and see, and on
 * nothing else: it never changes, whatever comes later or becomes of who minted them.
 */

import { EPOCH_ID_BYTES } from '../ops/bounds.ts'
import { epochIdOf } from '../ops/control-genesis.ts'
import { BLIND_BOX_BYTES, rankOf } from '../ops/control-types.ts'
import type { ControlRecord, EpochOp, Genesis, KeyBox } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import type { MembersFold } from './members-fold.ts'
import type { Phrase, PhraseEntry } from './members-phrases.ts'
import type { Act, Grant, Office, Seniority } from './members-rules.ts'
import type { EpochInfo, Rotation, VoidReason } from './members-types.ts'

const READER = rankOf('reader')
const ADMIN = rankOf('admin')

interface Epoch extends EpochInfo {
  readonly record: ControlRecord
  readonly seniority: Seniority
}

export class MembersEpochs {
  readonly #fold: MembersFold
  /** By hex id, in the order of their ops. */
  readonly #epochs = new Map<string, Epoch>()
  readonly #ancestors = new Map<string, Set<string>>()
  #heads: readonly EpochInfo[] | undefined
  /** Device by box key, in hex. */
  readonly #devices = new Map<string, AuthorId[]>()

  constructor(fold: MembersFold) {
    this.#fold = fold
    for (const [device, grants] of fold.ledger.grants) {
      for (const boxKey of boxKeysOf(fold, grants)) {
        const key = toHex(boxKey)
        this.#devices.set(key, [...(this.#devices.get(key) ?? []), device])
      }
    }
    for (const record of fold.records) this.#read(record)
    for (const [id, epoch] of this.#epochs) this.#judge(id, epoch)
  }

  list(): EpochInfo[] {
    return [...this.#epochs.values()]
  }

  get(id: string): EpochInfo | undefined {
    return this.#epochs.get(id)
  }

  /** The op that made the epoch; undefined for the first one, and for unknown ids. */
  op(id: string): EpochOp | undefined {
    const op = this.#epochs.get(id)?.record.op
    return op?.kind === 'epoch' ? op : undefined
  }

  /** Whatever any op, valid or not, boxed to this key: each epoch's keys still open what they
   * sealed. */
  boxesFor(boxKey: Uint8Array): { epochId: string; box: Uint8Array }[] {
    const found: { epochId: string; box: Uint8Array }[] = []
    const device = this.#devices.get(toHex(boxKey))
    for (const { op, body } of this.#fold.records) {
      if (op.kind === 'epoch') {
        const box = op.boxes.find((one) => equalBytes(one.boxKey, boxKey))?.box
        if (box !== undefined) found.push({ epochId: toHex(epochIdOf(body)), box })
      } else if ((op.kind === 'add' || op.kind === 'role') && op.keyBox !== undefined) {
        const isMine = op.kind === 'add'
          ? equalBytes(op.boxKey, boxKey)
          : device?.includes(op.device)
        const { epochId, box } = op.keyBox
        if (isMine === true) found.push({ epochId: toHex(epochId), box })
      }
    }
    return found
  }

  /** Whether `a` is an ancestor of `b`, going by the parents that their ops name and see. */
  precedes(a: string, b: string): boolean {
    return this.#fold.ledger.rules.precedes(a, this.#ancestorsOf(b))
  }

  /**
   * The valid epochs that no valid one has seen: first those that only members can open, then the
   * most senior minter's. So of an epoch that came with a removal and one that did not know of it,
   * the one without the removed device seals, whoever minted it.
   */
  heads(): readonly EpochInfo[] {
    this.#heads ??= this.#findHeads()
    return this.#heads
  }

  #findHeads(): readonly EpochInfo[] {
    const { rules } = this.#fold.ledger
    const all = [...this.#epochs.values()].filter((epoch) => epoch.isValid)
    const isHead = (epoch: Epoch): boolean => (
      !all.some((other) => other !== epoch && rules.sees(other.record, epoch.record))
    )
    const heads = all.filter(isHead)
    const open = new Set(heads.filter(({ epochId }) => this.#hasStranger(this.#holders(epochId))))
    const isOpen = (epoch: Epoch): number => (rules.sealsOpenLast && open.has(epoch) ? 1 : 0)
    return heads.toSorted((a, b) => (
      isOpen(a) - isOpen(b) || rules.compareOffices(a.seniority, b.seniority)
    ))
  }

  /**
   * Under which epoch to seal: the first of the heads, then of the other valid ones, then of all
   * (the latest first), whose keys are there and which precedes none of `floor`, the epochs of what
   * the batch depends on.
   */
  toSealUnder(hasKeys: (id: string) => boolean, floor: Iterable<string>): string | undefined {
    const latest = [...this.#epochs.values()].toReversed()
    const valid = latest.filter((epoch) => epoch.isValid)
    const below = [...floor]
    for (const { epochId } of [...this.heads(), ...valid, ...latest]) {
      if (!hasKeys(epochId)) continue
      if (!below.some((other) => this.precedes(epochId, other))) return epochId
    }
    return undefined
  }

  /**
   * Under which epoch to seal a batch that brings a new one, so that every member can open it and
   * find its box: the latest whose keys are here and that each member was boxed, itself or one
   * built on it. Who was added while an epoch was minted elsewhere has no keys of that one.
   */
  toAnnounceUnder(hasKeys: (id: string) => boolean): string | undefined {
    const all = [...this.#epochs.values()]
    const latest = all.toReversed()
    const isOpenToAll = (id: string): boolean => {
      const holders = new Set(all.flatMap(({ epochId }) => (
        epochId === id || this.precedes(id, epochId) ? [...this.#holders(epochId).keys()] : []
      )))
      const { ledger } = this.#fold
      return [...ledger.grants].every(([device, grants]) => (
        ledger.officeAt(device, Infinity) === undefined
          || boxKeysOf(this.#fold, grants).some((key) => holders.has(toHex(key)))
      ))
    }
    const valid = latest.filter(({ isValid }) => isValid)
    for (const { epochId } of [...this.heads(), ...valid, ...latest]) {
      if (hasKeys(epochId) && isOpenToAll(epochId)) return epochId
    }
    return undefined
  }

  /**
   * Whether somebody should mint an epoch, and who: the most senior device that may. `under`: what
   * toSealUnder() gave, if it was asked; `hasKeys`: whose keys are here, for the minter itself.
   */
  rotation(under?: string, hasKeys: (id: string) => boolean = () => false): Rotation {
    const reasons: Rotation['reasons'] = []
    const heads = this.heads()
    const current = heads[0]
    if (heads.length > 1) reasons.push('heads')
    if (under !== undefined && this.#epochs.get(under)?.isValid === false) reasons.push('invalid')
    if (this.stranded().some(({ epochId }) => hasKeys(epochId))) reasons.push('stranded')
    if (current !== undefined) {
      const holders = this.#holders(current.epochId)
      if (this.#hasStranger(holders)) reasons.push('recipient')
      if (this.#lacksMember(holders)) reasons.push('missing')
      if (this.#reports(current.epochId).length > 0) reasons.push('reported')
    }
    return { reasons, minter: this.#minter() }
  }

  // ---- reading and judging ----

  #read(record: ControlRecord): void {
    const { op } = record
    if (op.kind !== 'epoch' && record !== this.#fold.genesis) return
    const info = op as EpochOp | Genesis
    const office = this.#fold.offices.get(record)
    const id = toHex(epochIdOf(record.body))
    if (this.#epochs.has(id)) return
    this.#epochs.set(id, {
      epochId: id,
      ref: info.kind === 'genesis' ? undefined : record.ref,
      minter: record.ref.author,
      parents: info.kind === 'genesis' ? [] : info.parents.map(({ epochId }) => toHex(epochId)),
      epochCommitment: info.epochCommitment,
      controlCommitment: info.controlCommitment,
      isValid: this.#fold.fates.get(record) === 'valid',
      record,
      seniority: office ?? { rank: ADMIN + 1, path: [1] },
    })
  }

  #judge(id: string, epoch: Epoch): void {
    const office = this.#fold.offices.get(epoch.record)
    if (!epoch.isValid || epoch.record.op.kind !== 'epoch' || office === undefined) return
    const reason = this.#reasonAgainst(id, epoch.record, epoch.record.op, office)
    if (reason === undefined || !this.#fold.ledger.rules.voidsEpoch(reason)) return
    this.#epochs.set(id, { ...epoch, isValid: false })
    this.#fold.fates.set(epoch.record, reason)
  }

  #reasonAgainst(
    id: string, record: ControlRecord, op: EpochOp, office: Office,
  ): VoidReason | undefined {
    const { ledger } = this.#fold
    const isSeen = (parent: string): boolean => {
      const known = this.#epochs.get(parent)
      return known !== undefined && ledger.rules.sees(record, known.record)
    }
    if (!op.parents.every(({ epochId }) => isSeen(toHex(epochId)))) return 'epoch-parents'
    const known = (act: Act): boolean => ledger.rules.sees(record, act.record)
    for (const { boxKey, box } of op.boxes) {
      for (const device of this.#devices.get(toHex(boxKey)) ?? []) {
        const rank = ledger.officeAt(device, Infinity, known)?.rank ?? -1
        if (!mayHold(rank, box)) return 'epoch-recipient'
      }
    }
    if (this.#omitsSenior(record, op, office, known)) return 'epoch-omits-senior'
    const isReported = this.#reports(id).some((by) => ledger.rules.isJunior(office, by))
    return isReported ? 'epoch-reported' : undefined
  }

  #omitsSenior(
    record: ControlRecord, op: EpochOp, office: Office, known: (act: Act) => boolean,
  ): boolean {
    const { ledger, phrases } = this.#fold
    const boxes = new Map(op.boxes.map(({ boxKey, box }) => [toHex(boxKey), box]))
    const isIn = (keys: Uint8Array[], rank: number): boolean => (
      keys.some((key) => mayOpen(boxes.get(toHex(key)), rank))
    )
    for (const [device, grants] of ledger.grants) {
      const most = ledger.offices(device)[0]
      if (most === undefined || !ledger.rules.isJunior(office, most)) continue
      const seen = grants.filter((grant) => this.#isSeen(grant, record))
      const top = ledger.offices(device).find((one) => (
        seen.includes(one.grant) && ledger.isHeld(one, Infinity, known)
      ))
      if (top === undefined || !ledger.rules.isJunior(office, top)) continue
      if (!isIn(boxKeysOf(this.#fold, seen), top.rank)) return true
    }
    const inForce = phrasesInForce(phrases, (other) => ledger.rules.sees(record, other))
    return inForce.some(({ prefix, boxKey }) => (
      ledger.rules.isJunior(office, { rank: ADMIN + 1, path: prefix }) && !isIn([boxKey], READER)
    ))
  }

  #isSeen(grant: Grant, record: ControlRecord): boolean {
    return grant.record === undefined || this.#fold.ledger.rules.sees(record, grant.record)
  }

  /** The offices of those who reported that what they were boxed is not what was committed to. */
  #reports(id: string): Office[] {
    const offices: Office[] = []
    for (const infos of this.#fold.infos.values()) {
      for (const { record, op } of infos) {
        if (op.info !== 'bad-epoch' || toHex(op.epochId) !== id) continue
        const office = this.#fold.offices.get(record)
        assert(office !== undefined, 'a report was made under an office')
        offices.push(office)
      }
    }
    return offices
  }

  /**
   * Epochs that count no more, that not every member can open, and that no valid one was built on.
   * Something may have been sealed under them while they counted; who lacks their keys waits for
   * ever, unless somebody who has them mints an epoch on top.
   */
  stranded(): EpochInfo[] {
    const all = [...this.#epochs.values()]
    return all.filter(({ epochId, isValid }) => (
      !isValid && !all.some((other) => this.precedes(epochId, other.epochId) && other.isValid)
        && this.#lacksMember(this.#holders(epochId))
    ))
  }

  // ---- who can open it ----

  /** Box keys (hex) that an epoch's keys were boxed to, with the largest box each. */
  #holders(id: string): Map<string, Uint8Array> {
    const holders = new Map<string, Uint8Array>()
    const add = (boxKey: Uint8Array, box: Uint8Array): void => {
      const before = holders.get(toHex(boxKey))
      if (before === undefined || before.length < box.length) holders.set(toHex(boxKey), box)
    }
    const { records, genesis, fates } = this.#fold
    for (const record of records) {
      const { op } = record
      if (op.kind === 'epoch' && toHex(epochIdOf(record.body)) === id) {
        for (const { boxKey, box } of op.boxes) add(boxKey, box)
      }
      const keyBox: KeyBox | undefined = (
        op.kind === 'add' || op.kind === 'role' ? op.keyBox : undefined
      )
      if (keyBox === undefined || toHex(keyBox.epochId) !== id) continue
      assert(keyBox.epochId.length === EPOCH_ID_BYTES, 'an epoch id has 8 bytes')
      if (op.kind === 'add') add(op.boxKey, keyBox.box)
      if (op.kind !== 'role' || fates.get(record) !== 'valid') continue
      const grants = this.#fold.ledger.grants.get(op.device) ?? []
      for (const boxKey of boxKeysOf(this.#fold, grants)) add(boxKey, keyBox.box)
    }
    if (genesis !== undefined && toHex(epochIdOf(genesis.body)) === id) {
      const { deviceBoxKey, recoveryBoxKey } = genesis.op as Genesis
      const full = new Uint8Array(BLIND_BOX_BYTES + 1)
      add(deviceBoxKey, full)
      add(recoveryBoxKey, full)
    }
    return holders
  }

  #hasStranger(holders: Map<string, Uint8Array>): boolean {
    const { ledger, phrases } = this.#fold
    const current = phrasesInForce(phrases, () => true).map(({ boxKey }) => toHex(boxKey))
    return [...holders].some(([boxKey, box]) => {
      if (current.includes(boxKey)) return false
      const devices = this.#devices.get(boxKey) ?? []
      return !devices.some((device) => mayHold(ledger.officeAt(device, Infinity)?.rank ?? -1, box))
    })
  }

  #lacksMember(holders: Map<string, Uint8Array>): boolean {
    const { ledger } = this.#fold
    for (const [device, grants] of ledger.grants) {
      const office = ledger.officeAt(device, Infinity)
      if (office === undefined) continue
      const keys = boxKeysOf(this.#fold, grants)
      if (!keys.some((key) => mayOpen(holders.get(toHex(key)), office.rank))) return true
    }
    return false
  }

  #minter(): AuthorId | undefined {
    const { ledger } = this.#fold
    const held = [...ledger.grants.keys()].map((device) => ledger.officeAt(device, Infinity))
    const minters = held.filter((office) => office !== undefined && office.rank >= ADMIN)
    const first = (minters as Office[]).toSorted((a, b) => ledger.rules.compareOffices(a, b))[0]
    return first?.grant.device
  }

  #ancestorsOf(id: string): Set<string> {
    const known = this.#ancestors.get(id)
    if (known !== undefined) return known
    const ancestors = new Set<string>()
    const pending = this.#seenParents(id)
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (ancestors.has(next)) continue
      ancestors.add(next)
      pending.push(...this.#seenParents(next))
    }
    this.#ancestors.set(id, ancestors)
    return ancestors
  }

  /** Parents whose ops this one's sees: others may come later, and change nothing any more. */
  #seenParents(id: string): string[] {
    const epoch = this.#epochs.get(id)
    if (epoch === undefined) return []
    const { rules } = this.#fold.ledger
    return epoch.parents.filter((parent) => {
      const known = this.#epochs.get(parent)
      return known !== undefined && rules.sees(epoch.record, known.record)
    })
  }
}

/** Those that no other has replaced, as far as the replacing ops are `known`. */
export function phrasesInForce(
  phrases: readonly PhraseEntry[], known: (record: ControlRecord) => boolean,
): PhraseEntry[] {
  const isIntroduced = ({ records }: Phrase): boolean => records.every(known)
  const introduced = phrases.filter(isIntroduced)
  return introduced.filter((phrase) => {
    if (phrase.successor !== undefined && isIntroduced(phrase.successor)) return false
    return !introduced.some((other) => other.replaces(phrase))
  })
}

function boxKeysOf(fold: MembersFold, grants: readonly Grant[]): Uint8Array[] {
  const keys: Uint8Array[] = []
  for (const { record, device } of grants) {
    if (record?.op.kind === 'add') keys.push(record.op.boxKey)
    else keys.push(...addedKeys(fold, device))
  }
  return keys
}

/** A role op names no box key: those of the adds that it may have had in mind. */
function addedKeys(fold: MembersFold, device: AuthorId): Uint8Array[] {
  if (device === fold.genesis?.ref.author) return [(fold.genesis.op as Genesis).deviceBoxKey]
  return fold.records.flatMap(({ op }) => (
    op.kind === 'add' && op.device === device ? [op.boxKey] : []
  ))
}

function mayHold(rank: number, box: Uint8Array): boolean {
  return box.length === BLIND_BOX_BYTES ? rank >= 0 : rank >= READER
}

function mayOpen(box: Uint8Array | undefined, rank: number): boolean {
  if (box === undefined) return false
  return rank < READER || box.length !== BLIND_BOX_BYTES
}
