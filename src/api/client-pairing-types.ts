// What the control API says about joining: invites, joins and recoveries in progress, what a person
// decides, and what is done about members. JSON; see client-types.ts.

import type { KeyAccess, VaultStatus } from './client-types.ts'

export interface InviteRequest {
  /** writer, reader, admin, blind. */
  role: string
  lifetimeMs: number
  /** The digits need not be confirmed at this device. */
  isUnattended: boolean
}

export interface InviteMade {
  id: string
  code: string
  invite: Invite
}

export interface Invite {
  id: string
  role: string
  createdMs: number
  expiryMs: number
  /** waiting for a device; comparing digits with one; or how it ended. */
  state: 'waiting' | 'comparing' | 'joined' | 'expired' | 'revoked' | 'spent'
  /** Changes with every change: give it to wait for the next one. */
  revision: number
  attempts: number
  /** Why the last attempt failed. */
  problem?: string
  /** Key: its first 16 hex digits. */
  device?: { label: string; key: string }
  digits?: string
  /** The person at this device has to say whether the digits are the same. */
  isAsked: boolean
}

export interface InvitesResult {
  invites: Invite[]
}

export interface WaitRequest {
  revision: number
}

export interface DecideRequest {
  decision: 'same' | 'differ' | 'refuse'
}

export interface JoinRequest extends KeyAccess {
  code: string
  directory: string
  /** This device's name, for the others; the host's when not given. */
  label?: string
  isUnattended: boolean
  /** Beyond those in the code, HOST:PORT. */
  peers: string[]
}

export interface RecoverRequest extends KeyAccess {
  phrase: string
  directory: string
  label?: string
  peers: string[]
}

/** A join or a recovery, from the first dial to the stored vault. */
export interface Join {
  id: string
  state: 'connecting' | 'comparing' | 'storing' | 'joined' | 'failed'
  revision: number
  digits?: string
  isAsked: boolean
  vaultName?: string
  vaultId?: string
  role?: string
  /** The device that lets this one in. */
  inviter?: { label: string; key: string }
  /** Once joined. */
  vault?: VaultStatus
  /** The key file was made, too. */
  isNewKeyFile?: boolean
  protection?: 'none' | 'passphrase'
  /** Once failed. */
  problem?: { reason: string; message: string; hint?: string }
}

export interface MemberRequest {
  /** A device's name, or the beginning of its key in hex. */
  device: string
}

export interface RoleRequest extends MemberRequest {
  role: string
}

export interface RenameRequest {
  label: string
}

export interface MemberResult {
  device: string
  label: string
  role: string
  /** Hex of the epoch that seals now. */
  epoch: string
}

export interface ReplacePhraseResult {
  /** Only asked for where a terminal shows it. */
  phrase?: string
  epoch: string
}

/** A connection of the sync worker, as the daemon last heard. */
export interface Peer {
  label: string
  /** First 16 hex digits of the device's key. */
  device: string
  /** connected, or when it was heard of last. */
  state: 'connected' | 'connecting' | 'offline'
  address?: string
  /** lan, direct, dht, relay. */
  by?: string
  roundTripMs?: number
  lastSeenMs?: number
}

export interface PeersResult {
  /** Off: this daemon does not sync. */
  state: 'on' | 'paused' | 'off'
  peers: Peer[]
}
