/**
 * Who is a member, from the set of all control ops. Pure: the order of delivery does not matter, no
 * clock is asked. The idea: an op's fate depends only on its author's seniors, on what its author
 * did before, and on what is written in it; so offices are visited from the most senior down, each
 * with the ops made under it, and whatever an op grants is junior to its author's office, hence
 * still to come. No office is visited twice, no decision is revised.
 *
 * Certificates of phrases come in where their phrase does; epochs affect nobody's standing and are
 * judged last (members-epochs.ts).
 */

import { isGenuine } from '../ops/control-genesis.ts'
import type {
  AddOp, ControlOp, ControlRecord, DeviceInfoOp, ForkOp, Genesis, InviteOp, LogMark, PolicyOp,
  ReadmitOp, RemoveOp, RoleOp, VoidOp,
} from '../ops/control-types.ts'
import { rankOf } from '../ops/control-types.ts'
import { compareRefs } from '../ops/order.ts'
import type { AuthorId } from '../ops/types.ts'
import { equalBytes } from '../util/bytes.ts'
import { MembersLedger, nameKey, push, refKey } from './members-ledger.ts'
import { readCertificates } from './members-phrases.ts'
import type { Phrase, PhraseEntry } from './members-phrases.ts'
import { MEMBER_RULES } from './members-rules.ts'
import type { Grant, MemberRules, Office, Seniority } from './members-rules.ts'
import type { Branch, PendingInvite, VoidReason } from './members-types.ts'

const OWNER = rankOf('owner')

export interface FoldedInvite extends PendingInvite { office: Office; uses: number }

export class MembersFold {
  readonly ledger: MembersLedger
  readonly records: readonly ControlRecord[]
  readonly genesis: ControlRecord | undefined
  /** What became of each op; those that no office was held for are missing until finish(). */
  readonly fates = new Map<ControlRecord, 'valid' | VoidReason>()
  /** Under which office an op was judged. */
  readonly offices = new Map<ControlRecord, Office>()
  readonly phrases: PhraseEntry[] = []
  readonly invites: FoldedInvite[] = []
  readonly infos = new Map<AuthorId, { record: ControlRecord; op: DeviceInfoOp }[]>()
  readonly branches: Branch[] = []
  rulesVersion = 0
  readonly #byAuthor = new Map<AuthorId, ControlRecord[]>()
  readonly #byName = new Map<string, ControlRecord>()
  readonly #queue: Office[] = []
  readonly #vaultId: Uint8Array
  #genesisRules = 0

  constructor(
    records: readonly ControlRecord[], vaultId: Uint8Array, rules: MemberRules = MEMBER_RULES,
  ) {
    this.ledger = new MembersLedger(rules)
    this.records = records.toSorted((a, b) => compareRefs(a.ref, b.ref))
    this.#vaultId = vaultId
    for (const record of this.records) {
      this.#byName.set(refKey(record), record)
      push(this.#byAuthor, record.ref.author, record)
    }
    for (const list of this.#byAuthor.values()) {
      list.sort((a, b) => a.ref.seq - b.ref.seq || a.ref.index - b.ref.index)
    }
    this.genesis = this.records.find((record) => this.#isGenesis(record))
    if (this.genesis !== undefined) this.#begin(this.genesis)
    for (let office = this.#queue.shift(); office !== undefined; office = this.#queue.shift()) {
      this.#visit(office)
    }
    this.#finish()
  }

  #isGenesis({ op, ref }: ControlRecord): boolean {
    return op.kind === 'genesis' && ref.seq === 0 && ref.index === 0 &&
      equalBytes(op.vaultId, this.#vaultId) && isGenuine(op) &&
      Buffer.from(op.deviceSignKey).toString('latin1') === ref.author
  }

  #begin(record: ControlRecord): void {
    const genesis = record.op as Genesis
    this.#genesisRules = genesis.rulesVersion
    this.rulesVersion = genesis.rulesVersion
    this.fates.set(record, 'valid')
    this.#grant({
      device: record.ref.author, rank: OWNER, path: [1], from: 0, record: undefined,
      granter: undefined, how: 'genesis',
    })
    this.#introduce({
      signKey: genesis.recoverySignKey, boxKey: genesis.recoveryBoxKey, prefix: [0],
      generation: 0, records: [],
    })
  }

  #grant(grant: Grant): void {
    for (const office of this.ledger.addGrant(grant)) {
      const isAfter = (other: Office): boolean => (
        this.ledger.rules.compareOffices(other, office) > 0
      )
      const at = this.#queue.findIndex(isAfter)
      if (at === -1) this.#queue.push(office)
      else this.#queue.splice(at, 0, office)
    }
  }

  /** A phrase, what it certified, and its successor. False when it has been a phrase before. */
  #introduce(phrase: Phrase): boolean {
    const isPhrase = (signKey: Uint8Array): boolean => (
      this.phrases.some((other) => equalBytes(other.signKey, signKey))
    )
    if (isPhrase(phrase.signKey)) return false
    const isTaken = (key: Uint8Array): boolean => isPhrase(key) || equalBytes(key, phrase.signKey)
    const certified = readCertificates(
      phrase, this.records, this.#vaultId, isTaken, this.ledger.rules,
    )
    const { rules } = this.ledger
    const introduction = phrase.records[0]
    const replaces = (other: Phrase): boolean => (
      introduction !== undefined && phrase.generation === 0 && other.signKey !== phrase.signKey &&
      other.records.every((record) => rules.sees(introduction, record))
    )
    const { serialMax } = certified
    const entry: PhraseEntry = { ...phrase, serialMax, successor: undefined, replaces }
    const at = this.phrases.push(entry) - 1
    for (const record of certified.replaced) this.fates.set(record, 'phrase-replaced')
    for (const record of certified.known) this.fates.set(record, 'phrase-known')
    for (const record of certified.carriers) this.fates.set(record, 'valid')
    const granter: Seniority = { rank: OWNER, path: phrase.prefix }
    for (const { record, device, path } of certified.owners) {
      this.#grant({ device, rank: OWNER, path, from: 0, record, granter, how: 'phrase' })
    }
    if (certified.next === undefined) return true
    const { record, signKey, boxKey } = certified.next
    const { prefix, generation } = phrase
    const records = [...phrase.records, record]
    const successor = { signKey, boxKey, prefix, generation: generation + 1, records }
    this.phrases[at] = { ...entry, successor }
    return this.#introduce(successor)
  }

  #visit(office: Office): void {
    const { device } = office.grant
    const { rules } = this.ledger
    const end = this.ledger.endOf(office)
    for (const record of this.#byAuthor.get(device) ?? []) {
      const { seq } = record.ref
      if (this.offices.has(record) || this.fates.has(record) || isCarrier(record.op)) continue
      if (seq < office.grant.from || rules.isBeyond(seq, end)) continue
      this.offices.set(record, office)
      this.fates.set(record, this.#judge(record, office) ?? 'valid')
    }
  }

  #judge(record: ControlRecord, office: Office): VoidReason | undefined {
    const { ledger } = this
    const { op, ref } = record
    if (ledger.isVoid(ref.author, ref.seq, office)) return 'voided'
    if (op.kind === 'genesis') return 'genesis'
    if (office.rank < ledger.rules.rankNeeded(op.kind)) return 'role'
    switch (op.kind) {
      case 'add': return this.#add(record, op, office)
      case 'role': return this.#role(record, op, office)
      case 'remove': return this.#remove(record, op, office)
      case 'invite': return this.#invite(op, office)
      case 'deviceInfo':
        push(this.infos, ref.author, { record, op })
        return undefined
      case 'policy': return this.#policy(record, op, office)
      case 'readmit': return this.#readmit(record, op, office)
      case 'void': return this.#void(record, op, office)
      case 'fork': return this.#fork(record, op, office)
      case 'epoch': return undefined
    }
  }

  // ---- grants ----

  #add(record: ControlRecord, op: AddOp, office: Office): VoidReason | undefined {
    const rank = rankOf(op.role)
    if (!this.ledger.rules.mayGrant(rank, office)) return 'above-own-role'
    const grants = this.ledger.grants.get(op.device) ?? []
    if (this.ledger.rules.isKnown(grants)) return 'device-known'
    const reason = op.code === undefined ? undefined : this.#redeem(record, op, op.code)
    if (reason !== undefined) return reason
    const path = pathBelow(office, record)
    this.#grant({ device: op.device, rank, path, from: 0, record, granter: office, how: 'add' })
    return undefined
  }

  #redeem(record: ControlRecord, op: AddOp, code: Uint8Array): VoidReason | undefined {
    const same = this.invites.filter((invite) => equalBytes(invite.code, code))
    const own = same.find(({ by, role }) => by === record.ref.author && role === op.role)
    if (own === undefined) return this.ledger.rules.needsInvite ? 'invite-missing' : undefined
    const uses = same.reduce((sum, invite) => sum + invite.uses, 0)
    if (uses >= this.ledger.rules.usesPerCode) return 'invite-used'
    own.uses++
    return undefined
  }

  #invite(op: InviteOp, office: Office): VoidReason | undefined {
    if (!this.ledger.rules.mayGrant(rankOf(op.role), office)) return 'above-own-role'
    const { code, role, expiryMs } = op
    this.invites.push({ by: office.grant.device, code, role, expiryMs, office, uses: 0 })
    return undefined
  }

  #role(record: ControlRecord, op: RoleOp, office: Office): VoidReason | undefined {
    const rank = rankOf(op.role)
    if (op.change === 'raise' && !this.ledger.rules.mayGrant(rank, office)) return 'above-own-role'
    const length = lengthIn(op.logs, op.device)
    const reason = this.#actReason(record, op.device, office)
    if (reason !== undefined) return reason
    if (length === undefined) return 'range'
    if (op.change === 'lower') {
      push(this.ledger.acts, op.device, { actor: office, device: op.device, rank, record, length })
      return undefined
    }
    const path = pathBelow(office, record)
    this.#grant({
      device: op.device, rank, path, from: length, record, granter: office, how: 'raise',
    })
    return undefined
  }

  // ---- acts on juniors ----

  #remove(record: ControlRecord, op: RemoveOp, office: Office): VoidReason | undefined {
    const length = lengthIn(op.logs, op.device)
    const reason = this.#actReason(record, op.device, office)
    if (reason !== undefined) return reason
    if (length === undefined) return 'range'
    const act = { actor: office, device: op.device, rank: -1, record, length }
    push(this.ledger.acts, op.device, act)
    return undefined
  }

  #actReason(record: ControlRecord, device: AuthorId, office: Office): VoidReason | undefined {
    if (!this.#knows(record, device)) return 'not-a-member'
    return this.ledger.mayActOn(device, office, record) ? undefined : 'not-junior'
  }

  /** Whether the op sees one that names the device as a member, valid or not. */
  #knows(record: ControlRecord, device: AuthorId): boolean {
    if (device === this.genesis?.ref.author) return true
    return this.records.some((other) => (
      other.op.kind === 'add' && other.op.device === device &&
      this.ledger.rules.sees(record, other)
    ))
  }

  #void(record: ControlRecord, op: VoidOp, office: Office): VoidReason | undefined {
    const reason = this.#actReason(record, op.device, office)
    if (reason !== undefined) return reason
    push(this.ledger.voids, op.device, { actor: office, begin: op.begin, end: op.end })
    return undefined
  }

  #fork(record: ControlRecord, op: ForkOp, office: Office): VoidReason | undefined {
    const reason = this.#actReason(record, op.device, office)
    if (reason !== undefined) return reason
    const isOther = this.branches.some(({ mark }) => (
      mark.log === op.mark.log && mark.length === op.mark.length &&
      !equalBytes(mark.treeHash, op.mark.treeHash)
    ))
    if (isOther && !this.ledger.rules.picksAgain) return 'fork-decided'
    this.branches.push({ device: op.device, mark: op.mark, by: record.ref.author })
    return undefined
  }

  #readmit(record: ControlRecord, op: ReadmitOp, office: Office): VoidReason | undefined {
    const target = this.#byName.get(nameKey(op.target))
    if (target === undefined || !this.ledger.rules.sees(record, target)) return 'readmit-target'
    const act = target.op
    const isAct = act.kind === 'remove' || (act.kind === 'role' && act.change === 'lower')
    if (!isAct) return 'readmit-target'
    if (lengthIn(op.logs, act.device) === undefined) return 'range'
    push(this.ledger.readmissions, nameKey(op.target), { office, record, logs: op.logs })
    return undefined
  }

  #policy(record: ControlRecord, op: PolicyOp, office: Office): VoidReason | undefined {
    if (op.policy === 'rules') {
      if (op.version <= this.#genesisRules) return 'rules-version'
      this.rulesVersion = Math.max(this.rulesVersion, op.version)
      return undefined
    }
    const { signKey, boxKey } = op
    const prefix = pathBelow(office, record)
    const isNew = this.#introduce({ signKey, boxKey, prefix, generation: 0, records: [record] })
    return isNew ? undefined : 'phrase-known'
  }

  // ---- what is left ----

  #finish(): void {
    for (const record of this.records) {
      if (this.fates.has(record)) continue
      const { op } = record
      const reason = isCarrier(op) ? 'certificate' : op.kind === 'genesis' ? 'genesis' : 'cut'
      this.fates.set(record, reason)
    }
    const acts = new Map(
      [...this.ledger.acts.values()].flat().map((act) => [refKey(act.record), act]),
    )
    for (const [target, readmissions] of this.ledger.readmissions) {
      const act = acts.get(target)
      for (const readmission of readmissions) {
        if (act === undefined) this.fates.set(readmission.record, 'readmit-target')
        else if (!this.ledger.raises(readmission, act)) {
          this.fates.set(readmission.record, 'readmit-senior')
        }
      }
    }
  }

}

/** The path of what an op made under an office grants. */
export function pathBelow({ path }: Office, { ref }: ControlRecord): number[] {
  return [...path, ref.seq, ref.index]
}

function isCarrier(op: ControlOp): boolean {
  if (op.kind === 'add') return op.certificate !== undefined
  return op.kind === 'policy' && op.policy === 'phrase' && op.certificate !== undefined
}

function lengthIn(logs: readonly LogMark[], log: AuthorId): number | undefined {
  return logs.find((mark) => mark.log === log)?.length
}
