/**
 * What the fold of the control ops tells: devices, roles, keys, cutoffs, and why an op counts for
 * nothing. Plain data.
 */

import type { LogMark, Role } from '../ops/control-types.ts'
import type { AuthorId, OpRef } from '../ops/types.ts'

export type Standing = 'valid' | 'cut' | 'void'

/** Why a control op counts for nothing: one name per rule of FORMATS.md, "Members". */
export type VoidReason =
  | 'genesis' // not the vault's genesis, or not where a genesis stands
  | 'cut' // its author has no role at this sequence
  | 'role' // its author's role does not allow it
  | 'voided' // a senior declared its batch void
  | 'above-own-role' // grants more than its author has
  | 'not-junior' // acts on a device that is not strictly junior
  | 'not-a-member' // names a device that no add it sees names
  | 'device-known' // adds a device that has been added
  | 'invite-missing' // its author made no such invite, or one for another role
  | 'invite-used' // a more senior or earlier add redeemed the code
  | 'invite-known' // the code was invited before
  | 'certificate' // not signed by a phrase of the vault
  | 'phrase-replaced' // certified by a phrase beyond its replacement
  | 'phrase-known' // the new phrase has been one before
  | 'readmit-target' // names no act, one that it does not see, or another device's
  | 'readmit-senior' // of an act by somebody more senior
  | 'range' // an empty range, or marks without the ops log
  | 'fork-decided' // another branch of this length was picked
  | 'epoch-parents' // names an epoch that it does not see
  | 'epoch-recipient' // boxed to a device whose removal it sees
  | 'epoch-omits-senior' // without a box for a more senior device, or the phrase
  | 'epoch-reported' // somebody more senior could not open it
  | 'rules-version' // not above that of the genesis

export interface MemberInfo {
  device: AuthorId
  boxKey: Uint8Array
  label: string
  /** Undefined: removed. */
  role: Role | undefined
  /** Seniority among equals: compared lexicographically. */
  path: readonly number[]
  /** The op that gave the present (or last) role; undefined for the genesis device. */
  by: AuthorId | undefined
  /** Where its ops stop counting (a removal's), the smallest. */
  cutoff: { length: number; treeHash: Uint8Array; by: AuthorId } | undefined
}

/** Batches of one author from `begin` up to the next break (or for ever). */
export interface StandingRange { begin: number; role: Role | undefined; standing: Standing }

/** `length` batches count; named by a removal or role op, after all readmissions. */
export interface Cutoff {
  device: AuthorId
  by: AuthorId
  ref: OpRef
  rank: number // of what remains: -1 after a removal
  marks: readonly LogMark[]
}

export interface EpochInfo {
  epochId: string // 16 hex digits
  /** Undefined for the first one, which the genesis made. */
  ref: OpRef | undefined
  minter: AuthorId
  parents: readonly string[]
  epochCommitment: Uint8Array
  controlCommitment: Uint8Array
  /** Invalid ones still open what they sealed; nothing new is sealed under them. */
  isValid: boolean
}

export interface PhraseInfo { signKey: Uint8Array; boxKey: Uint8Array; serialMax: number }

export interface PendingInvite { by: AuthorId; code: Uint8Array; role: Role; expiryMs: number }

export interface Branch { device: AuthorId; mark: LogMark; by: AuthorId }

export interface VoidControlOp { ref: OpRef; kind: string; reason: VoidReason }

/** Whether somebody should mint an epoch, why, and the most senior one who may. */
export interface Rotation {
  reasons: ('heads' | 'invalid' | 'stranded' | 'recipient' | 'missing' | 'reported')[]
  minter: AuthorId | undefined
}
