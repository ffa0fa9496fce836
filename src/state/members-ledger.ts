/**
 * Who holds which offices and what has been done to them: the state that the fold of the control
 * ops builds up, and the questions that both the fold and its readers ask of it. An office's end
 * depends on acts of its seniors only, so that an answer is final once all its seniors are folded.
 */

import type { ControlRecord, LogMark } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import type { Act, Grant, MemberRules, Office, Seniority } from './members-rules.ts'

export interface Readmission {
  readonly office: Seniority
  readonly record: ControlRecord
  readonly logs: readonly LogMark[]
}

export interface VoidAct {
  readonly actor: Office
  readonly begin: number
  readonly end: number
}

const NONE: readonly Office[] = []

export class MembersLedger {
  readonly rules: MemberRules
  readonly grants = new Map<AuthorId, Grant[]>()
  readonly acts = new Map<AuthorId, Act[]>()
  readonly voids = new Map<AuthorId, VoidAct[]>()
  /** By the op that they name (refKey). */
  readonly readmissions = new Map<string, Readmission[]>()
  readonly #offices = new Map<AuthorId, Office[]>()

  constructor(rules: MemberRules) {
    this.rules = rules
  }

  addGrant(grant: Grant): Office[] {
    push(this.grants, grant.device, grant)
    const offices = officesOf(grant)
    const all = [...this.offices(grant.device), ...offices]
    this.#offices.set(grant.device, all.sort((a, b) => this.rules.compareOffices(a, b)))
    return offices
  }

  /** All offices of a device, the most senior first. */
  offices(device: AuthorId): readonly Office[] {
    return this.#offices.get(device) ?? NONE
  }

  /** How many batches of the device an act leaves, after readmissions. */
  lengthOf(act: Act): number {
    let length = act.length
    if (this.readmissions.size === 0) return length
    for (const readmission of this.readmissions.get(refKey(act.record)) ?? []) {
      if (!this.raises(readmission, act)) continue
      for (const mark of readmission.logs) {
        if (mark.log === act.device) length = Math.max(length, mark.length)
      }
    }
    return length
  }

  /** How much of each log of the device an act leaves, after readmissions. */
  marksOf(act: Act): LogMark[] {
    const { op } = act.record
    const logs = op.kind === 'remove' || op.kind === 'role' ? op.logs : []
    const readmissions = this.readmissions.get(refKey(act.record)) ?? []
    const raising = readmissions.filter((one) => this.raises(one, act)).flatMap((one) => one.logs)
    return logs.map((mark) => raising.reduce((greatest, other) => (
      other.log === mark.log && other.length > greatest.length ? other : greatest
    ), mark))
  }

  raises(readmission: Readmission, act: Act): boolean {
    return this.rules.mayReadmit(readmission.office, act.actor)
  }

  /** Whether an act takes this office away, at whatever length. */
  ends(act: Act, office: Office): boolean {
    return act.rank < office.rank && this.rules.isJunior(office, act.actor) &&
      !this.rules.returns(office.grant, act)
  }

  /** First sequence at which the office is no longer held, or Infinity. */
  endOf(office: Office, known: (act: Act) => boolean = always): number {
    let end = Infinity
    for (const act of this.acts.get(office.grant.device) ?? []) {
      if (this.ends(act, office) && known(act)) end = this.rules.smallest(end, this.lengthOf(act))
    }
    return end
  }

  isHeld(office: Office, seq: number, known: (act: Act) => boolean = always): boolean {
    if (seq < office.grant.from) return false
    const end = this.endOf(office, known)
    return end === Infinity || !this.rules.isBeyond(seq, end)
  }

  /**
   * The most senior office that a device holds at a sequence (Infinity: for all that is to come).
   * `known`: the acts that are looked at.
   */
  officeAt(
    device: AuthorId, seq: number, known: (act: Act) => boolean = always,
  ): Office | undefined {
    return this.offices(device).find((office) => this.isHeld(office, seq, known))
  }

  /**
   * Whether a record by `actor` may act on a device: each office of the device that is not strictly
   * junior has been ended by an act that the record sees.
   */
  mayActOn(device: AuthorId, actor: Office, record: ControlRecord): boolean {
    const known = (act: Act): boolean => this.rules.sees(record, act.record)
    return this.offices(device).every((office) => (
      this.rules.isJunior(office, actor) || this.endOf(office, known) !== Infinity
    ))
  }

  /** Whether a senior declared the batch void; `office`: the one under which it was made. */
  isVoid(device: AuthorId, seq: number, office: Office | undefined): boolean {
    return (this.voids.get(device) ?? []).some(({ actor, begin, end }) => (
      seq >= begin && seq < end && (office === undefined || this.rules.isJunior(office, actor))
    ))
  }
}

export function officesOf(grant: Grant): Office[] {
  const offices: Office[] = []
  for (let rank = grant.rank; rank >= 0; rank--) offices.push({ rank, path: grant.path, grant })
  return offices
}

export function refKey({ ref }: Pick<ControlRecord, 'ref'>): string {
  return nameKey(ref)
}

export function nameKey(name: { author: AuthorId; seq: number; index: number }): string {
  return `${name.author}${name.seq}.${name.index}`
}

export function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

function always(): boolean {
  return true
}
