/**
 * The control ops, decoded: who is a member, in which role, under which keys. Plain data; the bytes
 * are in control-codec.ts and control-genesis.ts, what they mean in state/members-fold.ts.
 */

import type { AuthorId, OpRef } from './types.ts'

/** Numbers on the wire, as control ops (op-codec.ts adds 64). Append-only. */
export const CONTROL_NUMBERS = {
  genesis: 0, add: 1, role: 2, remove: 3, epoch: 4, invite: 5, deviceInfo: 6, policy: 7,
  readmit: 8, void: 9, fork: 10,
} as const
export type ControlKind = keyof typeof CONTROL_NUMBERS

/** Ascending in what they may: each includes the ones before it. */
export const ROLES = ['blind', 'reader', 'writer', 'admin', 'owner'] as const
export type Role = (typeof ROLES)[number]

export const LABEL_MAX_BYTES = 64
export const LOGS_MAX = 16
export const EPOCH_BOXES_MAX = 1024
export const EPOCH_PARENTS_MAX = 64
export const SERIAL_MAX = 0xffff_ffff
export const FULL_BOX_BYTES = 176
export const BLIND_BOX_BYTES = 112
/** One parent in the chain under H_e: nonce 24, K and H of the parent, tag 16. */
export const CHAIN_ENTRY_BYTES = 24 + 64 + 16

/** How much of one log counts, and what its tree hash is there (zeros at length 0). */
export interface LogMark {
  log: AuthorId // 32 bytes: the log's key; the ops log's is the device's
  length: number
  treeHash: Uint8Array
}

/** An epoch's keys for one device, sealed to its box key (crypto/epoch-keys.ts). */
export interface KeyBox {
  epochId: Uint8Array
  /** FULL_BOX_BYTES, or BLIND_BOX_BYTES for a blind device. */
  box: Uint8Array
}

/** Signed by the phrase's key; `serial` counts the phrase's certificates, the latest the
 * greatest. */
export interface Certificate {
  phrase: Uint8Array // Ed25519 key of the phrase that signs
  serial: number
  signature: Uint8Array
}

export interface Genesis {
  kind: 'genesis'
  rulesVersion: number
  vaultId: Uint8Array
  deviceSignKey: Uint8Array
  deviceBoxKey: Uint8Array
  /** Commitments to the keys of the first epoch (crypto/epoch-keys.ts). */
  epochCommitment: Uint8Array
  controlCommitment: Uint8Array
  recoveryBoxKey: Uint8Array
  recoverySignKey: Uint8Array
  chunker: number
  chunkMinBytes: number
  chunkAvgBytes: number
  chunkMaxBytes: number
  label: string
}

export interface AddOp {
  kind: 'add'
  device: AuthorId
  boxKey: Uint8Array
  role: Role
  label: string
  /** Public key of the invite's code that was redeemed. */
  code?: Uint8Array
  /** An owner device by the recovery phrase's word; excludes `code`. */
  certificate?: Certificate
  keyBox?: KeyBox
}

export interface RoleOp {
  kind: 'role'
  device: AuthorId
  role: Role
  /** raise: the role is granted from the logs' lengths on; lower: what is above it ends there. */
  change: 'raise' | 'lower'
  /** Ascending by log; the ops log is among them. */
  logs: LogMark[]
  /** For who could not open the epoch before. */
  keyBox?: KeyBox
}

export interface RemoveOp { kind: 'remove'; device: AuthorId; logs: LogMark[] }

export interface EpochBox {
  boxKey: Uint8Array // whom it is for: the X25519 key of a device or of the phrase
  box: Uint8Array
}

/** A parent epoch's keys under the new ones: what opens history. */
export interface EpochParent {
  epochId: Uint8Array
  /** K_e and H_e of the parent under the new H_e; K_ctl and K_topic of it under the new K_ctl. */
  chain: Uint8Array
  controlChain: Uint8Array
}

export interface EpochOp {
  kind: 'epoch'
  epochCommitment: Uint8Array
  controlCommitment: Uint8Array
  parents: EpochParent[] // ascending by id, at least one
  boxes: EpochBox[] // ascending by box key
}

export interface InviteOp { kind: 'invite'; code: Uint8Array; role: Role; expiryMs: number }

/** About the author's own device. */
export type DeviceInfoOp =
  | { kind: 'deviceInfo'; info: 'label'; label: string }
  /** The keys boxed to this device do not match the epoch's commitment. */
  | { kind: 'deviceInfo'; info: 'bad-epoch'; epochId: Uint8Array }
  | { kind: 'deviceInfo'; info: 'content-log'; log: AuthorId }

export type PolicyOp =
  | { kind: 'policy'; policy: 'rules'; version: number }
  /** With a certificate of the old phrase, or by an owner without one. */
  | {
      kind: 'policy'
      policy: 'phrase'
      signKey: Uint8Array
      boxKey: Uint8Array
      certificate?: Certificate
    }

/** What a control op elsewhere is named by. */
export interface ControlName { author: AuthorId; seq: number; index: number }

/** Raises the lengths of the remove or role op `target`. */
export interface ReadmitOp { kind: 'readmit'; target: ControlName; logs: LogMark[] }

/** Batches [begin, end) of a device do not exist. `treeHash` of its ops log at length `end`. */
export interface VoidOp {
  kind: 'void'
  device: AuthorId
  begin: number
  end: number
  treeHash: Uint8Array
}

/** Picks the branch of a forked log. */
export interface ForkOp { kind: 'fork'; mark: LogMark; device: AuthorId }

export type ControlOp =
  | Genesis | AddOp | RoleOp | RemoveOp | EpochOp | InviteOp | DeviceInfoOp | PolicyOp | ReadmitOp
  | VoidOp | ForkOp

/** One control op of the set: where it stands and what its batch had seen. */
export interface ControlRecord {
  ref: OpRef // effective time, author, sequence, index
  /** vv of the batch (author → number of batches seen), own earlier ones included. */
  deps: ReadonlyMap<AuthorId, number>
  op: ControlOp
  /** The op's body as it stands in the batch: its hash names an epoch. */
  body: Uint8Array
}

export function rankOf(role: Role): number {
  return ROLES.indexOf(role)
}
