// What the engine's thread and the sync worker of a vault ask and tell each other
// (worker-calls.ts); the logs have a channel of their own (logs/log-messages.ts). Plain data. Bulk
// bytes never cross.

import type { BundleEntry } from '../chunks/bundle-layout.ts'
import type { AwayBundle, BundlePlace } from '../chunks/chunk-index-port.ts'
import type { FoundBundle, PackStretch } from '../chunks/pack-scout.ts'
import type { AppliedLog } from '../net/messages.ts'
import type { PeerStatus } from '../net/network.ts'
import type { DoorSecrets } from '../net/pairing/ports.ts'
import type { FetchPriority, HostPort, NetworkKeys } from '../net/ports.ts'
import type { AuthorId, BundleId } from '../ops/types.ts'

/** Where and how the network is used. From the configuration. */
export interface NetworkChoices {
  /** Listens there; any free port when 0. Undefined host: all interfaces. */
  host: string | undefined
  port: number
  /** Look for devices in the local network, and let them find this one. */
  lan: boolean
  /** Use the DHT; its first nodes (host:port), the public ones when empty. */
  dht: boolean
  bootstrap: readonly HostPort[]
  /** Public key of a relay, hex. */
  relay: string | undefined
  /** Dialled whoever they are. */
  peers: readonly HostPort[]
  /** Bytes per second; 0 = no limit. */
  uploadLimit: number
  downloadLimit: number
}

/** Keys that open bundles, beside those of the network. */
export interface ContentKeys {
  epochs: { epochId: Uint8Array; bundleKey: Uint8Array }[]
}

export interface SyncWorkerInit {
  vaultId: Uint8Array
  /** logs/ and packs/ of the state directory. */
  logs: string
  packs: string
  keys: NetworkKeys
  content: ContentKeys
  /** K_id; undefined on a blind device. */
  idKey: Uint8Array | undefined
  received: { nextNumber: number; previousNumber: number; previousBytes: number }
  choices: NetworkChoices
  /** As the worker is told while it runs. */
  givingUp: readonly BundleId[]
  /** Where it listened before: other devices know it by that. 0: anywhere. */
  lastPort: number
  /** Addresses that devices told before. */
  addresses: readonly { device: AuthorId; addresses: readonly HostPort[] }[]
}

export interface NetworkStatus {
  /** Where this device listens. */
  addresses: HostPort[]
  isPaused: boolean
  /** Whether devices may appear within seconds. */
  isExpecting: boolean
  peers: PeerStatus[]
  /** How many batches of this device each of them has applied and made durable. */
  acknowledged: { device: AuthorId; length: number }[]
}

export interface FetchQuestion {
  bundles: readonly AwayBundle[]
  priority: FetchPriority
  timeoutMs: number
}

/** A bundle of others that lies in a pack now. */
export interface ReceivedMessage {
  id: BundleId
  place: BundlePlace
  entries: readonly BundleEntry[]
}

/** A bundle on this device, as whoever serves it reads it. */
export interface ServedPlace extends BundlePlace {
  path: string
}

/** About doors and the streams that came through them. */
export type DoorMessage =
  | { is: 'open'; door: number; secrets: DoorSecrets }
  | { is: 'close'; door: number }
  | { is: 'write'; stream: number; frame: Uint8Array }
  | { is: 'end' | 'destroy'; stream: number }

export type StreamMessage =
  | { is: 'opened'; stream: number; door: number; handshakeHash: Uint8Array | null }
  | { is: 'data'; stream: number; frame: Uint8Array }
  | { is: 'closed'; stream: number }

/** What the worker does. */
export type WorkerTable = {
  scout: { ask: PackStretch; answer: FoundBundle[] }
  fetch: { ask: FetchQuestion; answer: void }
  syncReceived: { ask: undefined; answer: void }
  /** What the journal has of the logs is in them: nobody is talked to before. */
  restored: { ask: undefined; answer: void }
  setKeys: { ask: { keys: NetworkKeys; content: ContentKeys }; answer: void }
  status: { ask: undefined; answer: NetworkStatus }
  door: { ask: DoorMessage; answer: void }
  pause: { ask: boolean; answer: void }
  limits: { ask: { uploadLimit: number; downloadLimit: number }; answer: void }
  /** Whether the device proves that it holds each of the bundles (Network.prove). */
  prove: {
    ask: { device: AuthorId; bundles: readonly BundleId[]; takesWord: boolean }
    answer: boolean[]
  }
  /** Bundles that others must not rely on this device for, from the answer on; instead of those
   *  told before. */
  givingUp: { ask: readonly BundleId[]; answer: void }
  /** Bundles that are here no more; nobody reads them when it is answered. */
  forget: { ask: readonly BundleId[]; answer: void }
  /** Which of the connected devices say that they hold each bundle. */
  holders: { ask: readonly BundleId[]; answer: AuthorId[][] }
  /** What of others' logs is applied and durable here. */
  applied: { ask: readonly AppliedLog[]; answer: void }
  close: { ask: undefined; answer: void }
}

/** What the engine's thread does. */
export type EngineTable = {
  places: { ask: readonly BundleId[]; answer: (ServedPlace | undefined)[] }
  received: { ask: ReceivedMessage; answer: void }
  stream: { ask: StreamMessage; answer: void }
  peersChanged: { ask: undefined; answer: void }
  addressesTold: { ask: { device: AuthorId; addresses: readonly HostPort[] }; answer: void }
  log: {
    ask: { level: 'debug' | 'info' | 'warn'; message: string; fields: Record<string, unknown> }
    answer: void
  }
}
