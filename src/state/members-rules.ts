/**
 * The rules of membership, one small function each, so that every one can be read, tested and
 * broken on purpose by itself. Pure. members-fold.ts applies them in the order of seniority.
 *
 * An *office* is a role that a device holds by one grant: (device, rank, path). A grant of a role
 * is a grant of every role up to it, each an office of its own. The path is that of the granter's
 * office, then sequence and index of the granting op; the genesis has [1], phrases [0, …].
 */

import { verify } from '../crypto/sign.ts'
import type { ControlKind, ControlRecord } from '../ops/control-types.ts'
import { rankOf } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import type { VoidReason } from './members-types.ts'

/** Role and path alone, by which offices are compared. */
export interface Seniority { readonly rank: number; readonly path: readonly number[] }

export interface Grant {
  readonly device: AuthorId
  readonly rank: number // the highest of its offices
  readonly path: readonly number[]
  /** Batches from this sequence on. */
  readonly from: number
  /** The op that granted; undefined for the genesis. */
  readonly record: ControlRecord | undefined
  /** Who granted; a phrase has an office without a device. */
  readonly granter: Seniority | undefined
  readonly how: 'genesis' | 'add' | 'raise' | 'phrase'
}

export interface Office extends Seniority { readonly grant: Grant }

/** A removal, or a role op that lowers: takes the offices above `rank` away from `length` on. */
export interface Act {
  readonly actor: Office
  readonly device: AuthorId
  readonly rank: number // what remains; -1 after a removal
  readonly record: ControlRecord
  readonly length: number
}

export interface MemberRules {
  /** Negative: a is senior to b. */
  compareOffices(a: Seniority, b: Seniority): number
  /** Whether the actor may act on the office at all. */
  isJunior(target: Seniority, actor: Seniority): boolean
  /** The least rank that may do this. */
  rankNeeded(kind: ControlKind): number
  /** Whether a role may be granted by an office. */
  mayGrant(rank: number, granter: Seniority): boolean
  /** Whether a batch lies beyond a cutoff. */
  isBeyond(seq: number, length: number): boolean
  /** Which of several cutoffs counts. */
  smallest(a: number, b: number): number
  /** Whether a readmission raises an act's length: its office against the actor's. */
  mayReadmit(office: Seniority, actor: Seniority): boolean
  /** Whether a grant is made in knowledge of an act, by somebody who may overrule it. */
  returns(grant: Grant, act: Act): boolean
  /** Whether a record's batch has seen an op (or it stands before it in the same batch). */
  sees(record: ControlRecord, other: ControlRecord): boolean
  /** How often one invite's code may be redeemed. */
  usesPerCode: number
  /** Whether an add needs the invite whose code it names to be its author's, for the same role. */
  needsInvite: boolean
  /** Whether a device with these grants may be added no more. */
  isKnown(grants: readonly Grant[]): boolean
  /** Whether a branch may be picked when another one of the same length was. */
  picksAgain: boolean
  /** Whether a certificate counts: its signature. */
  verifies(message: Uint8Array, signature: Uint8Array, key: Uint8Array): boolean
  /** Whether a certificate counts: its number and that of the phrase's successor. */
  isReplaced(serial: number, successor: number): boolean
  /** Whether an epoch is void for this reason. */
  voidsEpoch(reason: VoidReason): boolean
  /** Whether an epoch that others than members can open seals only when all heads are such. */
  sealsOpenLast: boolean
  /** Whether one epoch comes before another: its ancestors, by the parents that ops name. */
  precedes(id: string, ancestors: ReadonlySet<string>): boolean
  /** From this rank on data counts. */
  dataRank: number
  /** From this rank on, critical ops that are not known stop others. */
  requireRank: number
}

export function comparePaths(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

function compareOffices(a: Seniority, b: Seniority): number {
  return b.rank - a.rank || comparePaths(a.path, b.path)
}

function sees(record: ControlRecord, { ref }: ControlRecord): boolean {
  const { author, seq, index } = record.ref
  if (ref.author === author && ref.seq === seq) return ref.index < index
  return ref.seq < (record.deps.get(ref.author) ?? 0)
}

export const MEMBER_RULES: MemberRules = Object.freeze({
  compareOffices,
  isJunior: (target: Seniority, actor: Seniority) => compareOffices(actor, target) < 0,
  rankNeeded: (kind: ControlKind) => {
    if (kind === 'deviceInfo') return rankOf('blind')
    return rankOf(kind === 'policy' ? 'owner' : 'admin')
  },
  mayGrant: (rank: number, granter: Seniority) => rank <= granter.rank,
  isBeyond: (seq: number, length: number) => seq >= length,
  smallest: (a: number, b: number) => Math.min(a, b),
  mayReadmit: (office: Seniority, actor: Seniority) => compareOffices(office, actor) <= 0,
  returns: (grant: Grant, act: Act) => (
    grant.how === 'raise' && grant.record !== undefined && sees(grant.record, act.record) &&
    grant.granter !== undefined && compareOffices(grant.granter, act.actor) <= 0
  ),
  sees,
  usesPerCode: 1,
  needsInvite: true,
  isKnown: (grants: readonly Grant[]) => grants.some(({ how }) => how !== 'raise'),
  picksAgain: false,
  verifies: verify,
  isReplaced: (serial: number, successor: number) => serial >= successor,
  voidsEpoch: () => true,
  sealsOpenLast: true,
  precedes: (id: string, ancestors: ReadonlySet<string>) => ancestors.has(id),
  dataRank: rankOf('writer'),
  requireRank: rankOf('admin'),
})
