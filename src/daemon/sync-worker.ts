// The sync worker of one vault: its logs, its connections, and everything that touches whole
// bundles for others, in a thread of its own, so that none of it delays the mount. Composes logs/
// and net/; started by sync.ts only, which is told and asked through one port (sync-protocol.ts),
// while the logs have another (logs/log-messages.ts).

import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { join } from 'node:path'
import { BundleReceiver, RECEIVED_WRITER } from '../chunks/bundle-receiver.ts'
import { DirectDisk, alignedBytes } from '../chunks/pack-disk.ts'
import { nameBundles } from '../chunks/pack-scout.ts'
import { wipe } from '../crypto/secret.ts'
import { LogServer, RemoteSource } from '../logs/log-server.ts'
import { LogStore } from '../logs/log-store.ts'
import type { AppliedLog } from '../net/messages.ts'
import { MemoryAddressBook } from '../net/address-book.ts'
import { Network } from '../net/network.ts'
import type { NetworkOptions, NetworkParts } from '../net/network.ts'
import type { HostPort } from '../net/ports.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { fromHex, toHex } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type {
  ContentKeys, EngineTable, FetchQuestion, NetworkChoices, SyncWorkerInit, WorkerTable,
} from './sync-protocol.ts'
import { PackBundles, sinkOf } from './worker-bundles.ts'
import { WorkerCalls } from './worker-calls.ts'
import type { Handlers } from './worker-calls.ts'
import { WorkerDoors } from './worker-doors.ts'
import { Keeper } from './worker-keeper.ts'

interface Parts {
  store: LogStore
  server: LogServer
  receiver: BundleReceiver
  bundles: PackBundles
  network: Network
  doors: WorkerDoors
  /** Of a blind device. */
  keeper: Keeper | undefined
}

const port = parentPort
assert(port !== null, 'the sync worker is a worker thread')
const { init, logsPort } = workerData as { init: SyncWorkerInit; logsPort: MessagePort }
const disk = new DirectDisk()
const bundleKeys = new Map<string, Uint8Array>()
const bundleKey = (epochId: Uint8Array): Uint8Array | undefined => bundleKeys.get(toHex(epochId))
/** Batches of this device that connected ones have. */
const acknowledged = new Map<AuthorId, number>()
/** Logs that were lost come from the journal first, and from peers only what it has not got. */
let restored = (): void => undefined
const allRestored = new Promise<void>((resolve) => { restored = resolve })
let closing: Promise<void> | undefined

const handlers: Handlers<WorkerTable> = {
  scout: (stretch) => nameBundles(disk, bundleKey, init.vaultId, stretch),
  fetch: async (question) => fetchOne((await parts).network, question),
  syncReceived: async () => (await parts).receiver.sync(),
  restored: async () => restored(),
  setKeys: async ({ keys, content }) => {
    takeContentKeys(content)
    ;(await parts).network.setKeys(keys)
  },
  status: async () => {
    const { network } = await parts
    const { addresses, isPaused, isExpecting } = network
    const told = [...acknowledged].map(([device, length]) => ({ device, length }))
    return { addresses, isPaused, isExpecting, peers: network.peers(), acknowledged: told }
  },
  door: async (message) => (await parts).doors.handle(message),
  pause: async (isPaused) => {
    const { network } = await parts
    await (isPaused ? network.pause() : network.resume())
  },
  limits: async (limits) => (await parts).network.setLimits(limits),
  givingUp: async (bundles) => (await parts).bundles.givingUp(bundles),
  forget: async (bundles) => (await parts).bundles.forget(bundles),
  prove: async ({ device, bundles, takesWord }) => (
    (await parts).network.prove(device, bundles, { takesWord })
  ),
  holders: async (bundles) => {
    const { network } = await parts
    return bundles.map((id) => network.holders(id))
  },
  applied: async (logs) => (await parts).network.tellApplied(logs),
  close: () => {
    closing ??= close()
    return closing
  },
}
const engine = new WorkerCalls<EngineTable, WorkerTable>(port, handlers, trouble)
const parts = open()
parts.catch((error: unknown) => {
  setImmediate(() => { throw error }) // ends the thread: the engine is told why, and tries again
})

async function open(): Promise<Parts> {
  takeContentKeys(init.content)
  const { keys, choices } = init
  const { signKeyPair } = keys
  const store = await LogStore.open({
    directory: init.logs,
    vaultId: init.vaultId,
    keyPair: {
      publicKey: Buffer.from(signKeyPair.publicKey), secretKey: Buffer.from(signKeyPair.secretKey),
    },
    source: new RemoteSource(logsPort),
    onTrouble: trouble,
  })
  const server = new LogServer(store, logsPort)
  const receiver = new BundleReceiver({
    disk,
    directory: join(init.packs, String(RECEIVED_WRITER)),
    vaultId: init.vaultId,
    bundleKey,
    idKey: init.idKey,
    ...init.received,
    allocate: alignedBytes,
    received: (bundle) => engine.tell('received', bundle),
  })
  const bundles = new PackBundles((ids) => engine.ask('places', ids), () => receiver.sync())
  bundles.givingUp(init.givingUp)
  await allRestored
  const network = await openNetwork({
    keys,
    logs: store,
    source: bundles,
    sink: sinkOf(receiver),
    options: networkOptions(choices),
    log: (level, message, fields) => engine.tell('log', { level, message, fields: fields ?? {} }),
  })
  const doors = new WorkerDoors(network.listener, engine)
  const keeper = init.idKey !== undefined ? undefined : new Keeper({
    logs: store, fetcher: network.fetcher, has: (ids) => bundles.has(ids), onTrouble: trouble,
  })
  return { store, server, receiver, bundles, network, doors, keeper }
}

/** Listens where it did before, unless somebody else does there now. */
async function openNetwork(parts: NetworkParts): Promise<Network> {
  const { listen } = parts.options
  const isAny = (listen?.port ?? 0) === 0
  if (isAny && init.lastPort > 0) {
    try {
      const options = { ...parts.options, listen: { ...listen, port: init.lastPort } }
      return await Network.open({ ...parts, options })
    } catch (error) {
      if (!isLatticeError(error, 'busy') && !isLatticeError(error, 'denied')) throw error
    }
  }
  return Network.open(parts)
}

/** What devices tell is kept by the engine's side. */
class ToldAddresses extends MemoryAddressBook {
  override remember(device: AuthorId, addresses: readonly HostPort[]): void {
    super.remember(device, addresses)
    engine.tell('addressesTold', { device, addresses })
  }

  override forget(device: AuthorId): void {
    super.forget(device)
    engine.tell('addressesTold', { device, addresses: [] })
  }
}

function addressBook(): MemoryAddressBook {
  const book = new ToldAddresses()
  for (const { device, addresses } of init.addresses) book.remember(device, addresses)
  return book
}

function networkOptions(choices: NetworkChoices): NetworkOptions {
  const { host, port, lan, peers, uploadLimit, downloadLimit } = choices
  const changed = (): void => engine.tell('peersChanged', undefined)
  return {
    uploadLimit,
    downloadLimit,
    listen: { port, ...(host === undefined ? {} : { host }) },
    staticPeers: peers,
    addressBook: addressBook(),
    ...(lan ? { lan: {} } : {}),
    ...rendezvousOptions(choices),
    events: {
      onConnected: changed,
      onDisconnected: (device) => {
        acknowledged.delete(device)
        changed()
      },
      onAcks: noteAcks,
    },
  }
}

function noteAcks(device: AuthorId, acks: readonly AppliedLog[]): void {
  for (const { author, kind, length } of acks) {
    if (author === init.keys.self && kind === 'ops') acknowledged.set(device, length)
  }
}

function rendezvousOptions(
  { dht, bootstrap, relay }: NetworkChoices,
): Pick<NetworkOptions, 'rendezvous'> {
  if (!dht) return {}
  const key = relay === undefined ? undefined : fromHex(relay)
  return {
    rendezvous: {
      ...(bootstrap.length === 0 ? {} : { bootstrap }),
      ...(key === undefined ? {} : { relay: key }),
    },
  }
}

/** One of the bundles, whichever peer has one. */
async function fetchOne(
  network: Network, { bundles, priority, timeoutMs }: FetchQuestion,
): Promise<void> {
  let failure: unknown
  for (const { id, sealedBytes } of bundles) {
    try {
      await network.fetcher.fetch(id, sealedBytes, priority, { timeoutMs })
      return
    } catch (error) {
      failure = error
      if (!isLatticeError(error, 'not-available') && !isLatticeError(error, 'corrupt')) throw error
    }
  }
  throw failure ?? new LatticeError('not-available', 'nobody has announced it')
}

function takeContentKeys({ epochs }: ContentKeys): void {
  for (const { epochId, bundleKey: key } of epochs) {
    const id = toHex(epochId)
    if (!bundleKeys.has(id)) bundleKeys.set(id, key)
  }
}

function trouble(error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  engine.tell('log', { level: 'warn', message: 'sync worker', fields: { error: message } })
}

/** Everything received is durable, and nobody is connected any more. */
async function close(): Promise<void> {
  restored()
  try {
    const { network, receiver, server, store, bundles, doors, keeper } = await parts
    doors.close()
    await network.close()
    await keeper?.close()
    await receiver.close()
    server.close()
    await store.close()
    bundles.close()
  } finally {
    for (const key of bundleKeys.values()) wipe(key)
    wipe(init.keys.signKeyPair.secretKey)
    for (const { controlKey, topicKey } of init.keys.epochs) {
      wipe(controlKey)
      wipe(topicKey)
    }
    if (init.idKey !== undefined) wipe(init.idKey)
  }
}
