/**
 * The members of a vault: devices, roles, cutoffs, epochs, phrases, as the set of control ops says.
 * Immutable; made anew when a control op is applied. FORMATS.md, "Members", has the rules;
 * members-fold.ts applies them.
 */

import type { ControlRecord, EpochOp, Genesis, Role } from '../ops/control-types.ts'
import { ROLES } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import { must } from '../util/assert.ts'
import { MembersEpochs, phrasesInForce } from './members-epochs.ts'
import { MembersFold } from './members-fold.ts'
import { controlRecords } from './members-records.ts'
import { MEMBER_RULES } from './members-rules.ts'
import type { Act, MemberRules, Office } from './members-rules.ts'
import type {
  Branch, Cutoff, EpochInfo, MemberInfo, PendingInvite, PhraseInfo, Rotation, Standing,
  VoidControlOp,
} from './members-types.ts'
import type { ControlBatch } from './records.ts'

export interface MembersOptions {
  /** A genesis counts only when it is this vault's. */
  vaultId: Uint8Array
  /** For tests that break rules. */
  rules?: Partial<MemberRules>
}

export class Members {
  readonly #fold: MembersFold
  readonly #rules: MemberRules
  #judged: MembersEpochs | undefined

  private constructor(fold: MembersFold) {
    this.#fold = fold
    this.#rules = fold.ledger.rules
  }

  /** Of the control batches that the state keeps. */
  static ofBatches(batches: Iterable<ControlBatch>, options: MembersOptions): Members {
    return Members.fold(controlRecords(batches), options)
  }

  /** Pure: depends on the set of the records only. Keeps the records. */
  static fold(records: readonly ControlRecord[], options: MembersOptions): Members {
    const rules = options.rules === undefined ? MEMBER_RULES : { ...MEMBER_RULES, ...options.rules }
    return new Members(new MembersFold(records, options.vaultId, rules))
  }

  // ---- batches ----

  /** Whether a critical op that is not known here counts when it stands in this batch. */
  mayRequire(author: AuthorId, seq: number): boolean {
    const office = this.#officeAt(author, seq)
    if (this.#fold.ledger.isVoid(author, seq, office)) return false
    return (office?.rank ?? -1) >= this.#rules.requireRank
  }

  /** What the data ops of a batch count for. */
  standing(author: AuthorId, seq: number): Standing {
    const office = this.#officeAt(author, seq)
    if (this.#fold.ledger.isVoid(author, seq, office)) return 'void'
    return (office?.rank ?? -1) >= this.#rules.dataRank ? 'valid' : 'cut'
  }

  roleAt(author: AuthorId, seq: number): Role | undefined {
    const office = this.#officeAt(author, seq)
    return office === undefined ? undefined : ROLES[office.rank]
  }

  /** Sequences, ascending, at which the standing or role of an author's batches may change. */
  breaks(author: AuthorId): readonly number[] {
    const { grants, acts, voids } = this.#fold.ledger
    const breaks = new Set<number>()
    for (const { from } of grants.get(author) ?? []) breaks.add(from)
    for (const act of acts.get(author) ?? []) breaks.add(this.#fold.ledger.lengthOf(act))
    for (const { begin, end } of voids.get(author) ?? []) breaks.add(begin).add(end)
    return [...breaks].toSorted((a, b) => a - b)
  }

  // ---- devices ----

  /** All devices that ever were members, the most senior first. */
  list(): MemberInfo[] {
    const infos = [...this.#fold.ledger.grants.keys()].map((device) => this.#info(device))
    const rank = ({ role }: MemberInfo): number => (role === undefined ? -1 : ROLES.indexOf(role))
    return infos.toSorted((a, b) => (
      this.#rules.compareOffices(
        { rank: rank(a), path: a.path }, { rank: rank(b), path: b.path },
      ) || (a.device < b.device ? -1 : 1)
    ))
  }

  get(device: AuthorId): MemberInfo | undefined {
    return this.#fold.ledger.grants.has(device) ? this.#info(device) : undefined
  }

  /** The device's name, or '' when it gave none or is unknown. */
  label(device: AuthorId): string {
    for (const { op } of (this.#fold.infos.get(device) ?? []).toReversed()) {
      if (op.info === 'label') return op.label
    }
    if (device === this.#fold.genesis?.ref.author) return (this.#fold.genesis.op as Genesis).label
    const add = this.#addOf(device)
    return add?.label ?? ''
  }

  contentLog(device: AuthorId): AuthorId | undefined {
    for (const { op } of (this.#fold.infos.get(device) ?? []).toReversed()) {
      if (op.info === 'content-log') return op.log
    }
    return undefined
  }

  /** Whether `actor` as it is now could remove or demote `device` as it is now. */
  isJunior(device: AuthorId, actor: AuthorId): boolean {
    const [target, office] = [device, actor].map((one) => this.#officeAt(one, Infinity))
    if (office === undefined) return false
    return target === undefined || this.#rules.isJunior(target, office)
  }

  cutoffs(): Cutoff[] {
    const { ledger } = this.#fold
    return [...ledger.acts.values()].flat().map((act) => {
      const { ref } = act.record
      const marks = ledger.marksOf(act)
      return { device: act.device, by: ref.author, ref, rank: act.rank, marks }
    })
  }

  /**
   * Branches of forked logs that were picked, by fork ops, then by what removals and role ops name.
   * The first one for a log and length decides.
   */
  get branches(): readonly Branch[] {
    const named = this.cutoffs().flatMap(({ device, by, marks }) => (
      marks.filter(({ length }) => length > 0).map((mark) => ({ device, mark, by }))
    ))
    return [...this.#fold.branches, ...named]
  }

  // ---- epochs ----

  /** Standings do not need them: judged when first asked for. */
  get #epochs(): MembersEpochs {
    this.#judged ??= new MembersEpochs(this.#fold)
    return this.#judged
  }

  /** Hex id of the epoch that seals, as far as members can tell. Throws before a genesis. */
  currentEpoch(): string {
    return must(this.#epochs.heads()[0], 'a vault has an epoch').epochId
  }

  epochs(): EpochInfo[] {
    return this.#epochs.list()
  }

  epoch(id: string): EpochInfo | undefined {
    return this.#epochs.get(id)
  }

  /** The op that made the epoch, with its boxes and chain; undefined for the first one. */
  epochOp(id: string): EpochOp | undefined {
    return this.#epochs.op(id)
  }

  /** Epochs whose keys were boxed to this key, oldest first. */
  boxesFor(boxKey: Uint8Array): { epochId: string; box: Uint8Array }[] {
    return this.#epochs.boxesFor(boxKey)
  }

  /** Valid epochs that no other valid one has seen; the first one seals. */
  epochHeads(): readonly EpochInfo[] {
    return this.#epochs.heads()
  }

  /** Epochs that count no more, and that a new one must be built on, or some members wait for ever
   *  for what was sealed under them. */
  strandedEpochs(): EpochInfo[] {
    return this.#epochs.stranded()
  }

  /** Ids, 8 bytes or hex. A batch sealed under `a` that depends on one under `b` is empty. */
  precedes(a: Uint8Array | string, b: Uint8Array | string): boolean {
    return this.#epochs.precedes(hexOf(a), hexOf(b))
  }

  /** Hex id of the epoch to seal a batch under that depends on batches sealed under `floor`. */
  toSealUnder(hasKeys: (id: string) => boolean, floor: Iterable<string> = []): string | undefined {
    return this.#epochs.toSealUnder(hasKeys, floor)
  }

  /** Hex id of the epoch to seal a batch under that brings a new one. */
  toAnnounceUnder(hasKeys: (id: string) => boolean): string | undefined {
    return this.#epochs.toAnnounceUnder(hasKeys)
  }

  /**
   * Whether an epoch is due, and whose it is to mint. `under`: what toSealUnder() gave; `hasKeys`:
   * of which epochs keys are here, so that they can be chained.
   */
  rotation(under?: string, hasKeys?: (id: string) => boolean): Rotation {
    return this.#epochs.rotation(under, hasKeys)
  }

  // ---- the rest ----

  get hasGenesis(): boolean {
    return this.#fold.genesis !== undefined
  }

  get genesis(): Genesis | undefined {
    return this.#fold.genesis?.op as Genesis | undefined
  }

  get rulesVersion(): number {
    return this.#fold.rulesVersion
  }

  /** The phrases that count and have not been replaced; ordinarily one. */
  phrases(): PhraseInfo[] {
    return phrasesInForce(this.#fold.phrases, () => true)
      .map(({ signKey, boxKey, serialMax }) => ({ signKey, boxKey, serialMax }))
  }

  /** The phrase with this key, replaced or not. */
  phrase(signKey: Uint8Array): PhraseInfo | undefined {
    return this.#fold.phrases.find((phrase) => equalBytes(phrase.signKey, signKey))
  }

  /** Not redeemed, by issuers that could still redeem them. Expiry is the issuer's to look at. */
  pendingInvites(): PendingInvite[] {
    const used = new Set(this.#fold.invites.filter(({ uses }) => uses > 0).map(codeKey))
    return this.#fold.invites
      .filter((invite) => !used.has(codeKey(invite)) && this.#canRedeem(invite))
      .map(({ by, code, role, expiryMs }) => ({ by, code, role, expiryMs }))
  }

  /** Control ops that count for nothing, and why. */
  voidOps(): VoidControlOp[] {
    const ops: VoidControlOp[] = []
    this.#epochs.list() // judges them
    for (const record of this.#fold.records) {
      const fate = must(this.#fold.fates.get(record), 'every op has a fate')
      if (fate !== 'valid') ops.push({ ref: record.ref, kind: record.op.kind, reason: fate })
    }
    return ops
  }

  #info(device: AuthorId): MemberInfo {
    const { ledger } = this.#fold
    const office = this.#officeAt(device, Infinity)
    const shown = office ?? must(ledger.offices(device)[0], 'a member has an office')
    return {
      device,
      boxKey: this.#boxKeyOf(device, shown),
      label: this.label(device),
      role: office === undefined ? undefined : must(ROLES[office.rank], 'a rank is a role'),
      path: shown.path,
      by: shown.grant.record?.ref.author,
      cutoff: office === undefined ? this.#cutoffOf(device) : undefined,
    }
  }

  #cutoffOf(device: AuthorId): MemberInfo['cutoff'] {
    const { ledger } = this.#fold
    let least: Act | undefined
    for (const act of ledger.acts.get(device) ?? []) {
      const isRemoval = act.rank < 0
      if (!isRemoval || !ledger.offices(device).some((one) => ledger.ends(act, one))) continue
      if (least === undefined || ledger.lengthOf(act) < ledger.lengthOf(least)) least = act
    }
    if (least === undefined) return undefined
    const mark = must(ledger.marksOf(least).find(({ log }) => log === device), 'a mark')
    return { length: mark.length, treeHash: mark.treeHash, by: least.record.ref.author }
  }

  #boxKeyOf(device: AuthorId, { grant }: Office): Uint8Array {
    if (grant.record?.op.kind === 'add') return grant.record.op.boxKey
    if (device === this.#fold.genesis?.ref.author) {
      return (this.#fold.genesis.op as Genesis).deviceBoxKey
    }
    return must(this.#addOf(device), 'a member was added').boxKey
  }

  /** The add that counts, else the one first in order. */
  #addOf(device: AuthorId): { label: string; boxKey: Uint8Array } | undefined {
    const grants = this.#fold.ledger.grants.get(device) ?? []
    const added = grants.find(({ record }) => record?.op.kind === 'add')?.record?.op
    if (added?.kind === 'add') return added
    for (const { op } of this.#fold.records) {
      if (op.kind === 'add' && op.device === device && grants.length > 0) return op
    }
    return undefined
  }

  #canRedeem({ by, role }: PendingInvite): boolean {
    const office = this.#officeAt(by, Infinity)
    if (office === undefined || office.rank < this.#rules.rankNeeded('add')) return false
    return this.#rules.mayGrant(ROLES.indexOf(role), office)
  }

  #officeAt(device: AuthorId, seq: number): Office | undefined {
    const { ledger } = this.#fold
    return ledger.officeAt(device, seq)
  }
}

function hexOf(id: Uint8Array | string): string {
  return typeof id === 'string' ? id : toHex(id)
}

function codeKey({ code }: PendingInvite): string {
  return toHex(code)
}
