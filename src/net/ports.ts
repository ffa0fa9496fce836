// What the network needs from the rest, and what the rest needs from it. logs/ implements
// LogsForPeers without importing this (the shapes are equal), the engine's side implements bundle
// source and sink; the sync worker hands one to the other.

import type { BundleId } from '../chunks/bundle-id.ts'
import type { AuthorId } from '../ops/types.ts'
import type { NoiseStream } from './noise-stream.ts'

export type LogKind = 'ops' | 'content'

export interface LogName {
  author: AuthorId
  kind: LogKind
}

export interface LogHead extends LogName {
  length: number
  /** 32 bytes, of the first `length` blocks. */
  treeHash: Uint8Array
}

/** What a connection needs of the logs. */
export interface LogsForPeers {
  /** Of all logs held (length > 0). */
  heads(): Promise<LogHead[]>
  /** Undefined when the first `length` blocks are not all here. */
  treeHash(author: AuthorId, kind: LogKind, length: number): Promise<Uint8Array | undefined>
  /**
   * Replicates the logs on this stream: those whose comparison agreed. Called again, with the
   * further ones, when more are entitled.
   */
  attach(stream: NoiseStream, logs: readonly LogName[]): void
  detach(stream: NoiseStream): void
  /** Another author's log differs from ours below the shorter length. */
  forked(
    author: AuthorId, kind: LogKind, theirs: { length: number; treeHash: Uint8Array },
  ): void
  onGrowth(grown: (author: AuthorId, kind: LogKind, length: number) => void): void
}

/** Bundles that lie in this device's packs. */
export interface BundleSource {
  /** Sealed bytes, checked against nothing; undefined when not here. */
  read(id: BundleId): Promise<Uint8Array | undefined>
  /** Of each, whether read() would give it. */
  has(ids: readonly BundleId[]): Promise<boolean[]>
  /** Of each, whether others may rely on it being here: durable, and not about to be given up. */
  reliable(ids: readonly BundleId[]): Promise<boolean[]>
}

/** Where fetched bundles go; the caller has checked the hash against the id. */
export interface BundleSink {
  /**
   * Verifies what is in it, writes it to a pack, tells the engine. Rejects 'corrupt' when the
   * content is bad (it is never fetched again), 'disk-full', 'io'. `sealed` is used for another
   * bundle once the promise has settled.
   */
  store(id: BundleId, sealed: Uint8Array): Promise<void>
}

/** From what somebody waits for to what has time. */
export type FetchPriority = 'read' | 'manifest' | 'ahead' | 'pin' | 'replica' | 'backfill'

export const FETCH_PRIORITIES: readonly FetchPriority[] = [
  'read', 'manifest', 'ahead', 'pin', 'replica', 'backfill',
]

export interface FetchOptions {
  /** Without a byte of it arriving. */
  timeoutMs: number
  signal?: AbortSignal
}

export interface Fetcher {
  /**
   * Resolves when the bundle is stored. Rejects with a LatticeError: 'not-available' (nobody
   * reachable has it, within timeoutMs), 'cancelled' (the signal), 'busy' (too many wait),
   * 'closed', or the sink's. Callers of one id share one transfer; the highest priority counts.
   */
  fetch(
    id: BundleId, sizeBytes: number, priority: FetchPriority, options: FetchOptions,
  ): Promise<void>
}

export interface SignKeys {
  publicKey: Uint8Array
  /** 64 bytes, as crypto/sign.ts makes it. */
  secretKey: Uint8Array
}

export interface NetworkEpoch {
  epochId: Uint8Array
  /** K_ctl and K_topic. */
  controlKey: Uint8Array
  topicKey: Uint8Array
}

export interface NetworkMember {
  device: AuthorId
  role: 'owner' | 'admin' | 'writer' | 'reader' | 'blind'
  label: string
}

/** Members and keys as the engine last told: plain data, replaced as a whole. */
export interface NetworkKeys {
  vaultId: Uint8Array
  self: AuthorId
  signKeyPair: SignKeys
  /** Newest last. */
  epochs: NetworkEpoch[]
  /** Present ones only. */
  members: NetworkMember[]
}

export interface HostPort {
  host: string
  port: number
}

/** Addresses of devices as they told them themselves, from one start to the next. */
export interface AddressBook {
  /** Of a device, the most promising first. */
  addresses(device: AuthorId): readonly HostPort[]
  /** Replaces what the device told before; at most 16. */
  remember(device: AuthorId, addresses: readonly HostPort[]): void
  forget(device: AuthorId): void
}

/** Names of devices are in no event, only ids in hex, addresses and reasons. */
export type NetLog = (
  level: 'debug' | 'info' | 'warn', event: string, details?: Record<string, string | number>,
) => void
