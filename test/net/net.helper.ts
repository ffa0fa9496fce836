// A vault's members, logs and bundles in memory, and networks of theirs on loopback.

import { createHash, randomFillSync } from 'node:crypto'
import { bundleIdOf } from '../../src/chunks/bundle-id.ts'
import type { BundleId } from '../../src/chunks/bundle-id.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { signKeyPair } from '../../src/crypto/sign.ts'
import { Network } from '../../src/net/network.ts'
import type { NetworkOptions } from '../../src/net/network.ts'
import { deviceHex, deviceId } from '../../src/net/network-keys.ts'
import type { NoiseStream } from '../../src/net/noise-stream.ts'
import type {
  BundleSink,
  BundleSource,
  LogHead,
  LogKind,
  LogName,
  LogsForPeers,
  NetLog,
  NetworkEpoch,
  NetworkKeys,
} from '../../src/net/ports.ts'
import type { AuthorId } from '../../src/ops/types.ts'

export const HOST = '127.0.0.1'

export function newEpoch(): NetworkEpoch {
  return {
    epochId: randomBytes(8), controlKey: randomBytes(32), topicKey: randomBytes(32),
  }
}

/** Keys of `count` members of one vault, in ascending order of their ids. */
export function newVault(count: number, epochs = [newEpoch()]): NetworkKeys[] {
  const vaultId = randomBytes(16)
  const pairs = Array.from({ length: count }, () => signKeyPair(randomBytes(32)))
    .toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey))
  const members = pairs.map(({ publicKey }, i) => (
    { device: deviceId(publicKey), role: 'owner' as const, label: `device ${i}` }
  ))
  return pairs.map((signKeyPair_) => ({
    vaultId, self: deviceId(signKeyPair_.publicKey), signKeyPair: signKeyPair_, epochs, members,
  }))
}

export function keysAt(all: readonly NetworkKeys[], i: number): NetworkKeys {
  const keys = all[i]
  if (keys === undefined) throw new Error('no such member')
  return keys
}

/** Logs whose block n is any string; nothing replicates. */
export class MemoryLogs implements LogsForPeers {
  readonly held = new Map<string, string[]>()
  readonly attached = new Map<NoiseStream, string[]>()
  readonly forks: { author: AuthorId; kind: LogKind; length: number }[] = []
  detached = 0
  readonly #grown: ((author: AuthorId, kind: LogKind, length: number) => void)[] = []

  set(author: AuthorId, kind: LogKind, blocks: string[]): void {
    this.held.set(kind + author, blocks)
    for (const grown of this.#grown) grown(author, kind, blocks.length)
  }

  heads(): Promise<LogHead[]> {
    return Promise.resolve([...this.held].map(([key, blocks]) => ({
      author: key.slice(-32) as AuthorId,
      kind: key.slice(0, -32) as LogKind,
      length: blocks.length,
      treeHash: hashOf(blocks),
    })))
  }

  treeHash(author: AuthorId, kind: LogKind, length: number): Promise<Uint8Array | undefined> {
    const blocks = this.held.get(kind + author) ?? []
    return Promise.resolve(blocks.length < length ? undefined : hashOf(blocks.slice(0, length)))
  }

  attach(stream: NoiseStream, logs: readonly LogName[]): void {
    const names = this.attached.get(stream) ?? []
    names.push(...logs.map(({ author, kind }) => `${kind} ${deviceHex(author)}`))
    this.attached.set(stream, names)
  }

  detach(stream: NoiseStream): void {
    this.attached.delete(stream)
    this.detached++
  }

  forked(author: AuthorId, kind: LogKind, theirs: { length: number }): void {
    this.forks.push({ author, kind, length: theirs.length })
  }

  onGrowth(grown: (author: AuthorId, kind: LogKind, length: number) => void): void {
    this.#grown.push(grown)
  }

  /** Of all connections. */
  get names(): string[] {
    return [...this.attached.values()].flat().toSorted()
  }
}

function hashOf(blocks: readonly string[]): Uint8Array {
  return createHash('sha256').update(JSON.stringify(blocks)).digest()
}

export class MemoryBundles implements BundleSource, BundleSink {
  readonly bundles = new Map<BundleId, Uint8Array>()
  readonly stored: BundleId[] = []
  reads: BundleId[] = []
  /** Awaited by each read. */
  gate: Promise<void> = Promise.resolve()
  storing: (id: BundleId) => Promise<void> = () => Promise.resolve()

  has(ids: readonly BundleId[]): Promise<boolean[]> {
    return Promise.resolve(ids.map((id) => this.bundles.has(id)))
  }

  /** About to be given up. */
  readonly unreliable = new Set<BundleId>()

  reliable(ids: readonly BundleId[]): Promise<boolean[]> {
    return Promise.resolve(ids.map((id) => !this.unreliable.has(id)))
  }

  async read(id: BundleId): Promise<Uint8Array | undefined> {
    this.reads.push(id)
    await this.gate
    return this.bundles.get(id)
  }

  async store(id: BundleId, sealed: Uint8Array): Promise<void> {
    await this.storing(id)
    this.bundles.set(id, Uint8Array.from(sealed))
    this.stored.push(id)
  }

  add(sizeBytes: number): BundleId {
    const bytes = randomFillSync(new Uint8Array(sizeBytes))
    const id = bundleIdOf(bytes)
    this.bundles.set(id, bytes)
    return id
  }

  /** Bytes of its own under the id of others. */
  forge(sizeBytes: number, id: BundleId): void {
    this.bundles.set(id, randomFillSync(new Uint8Array(sizeBytes)))
  }
}

export interface Node {
  keys: NetworkKeys
  logs: MemoryLogs
  bundles: MemoryBundles
  network: Network
  events: string[]
  log: string[]
}

export async function newNode(
  keys: NetworkKeys, options: NetworkOptions = {}, logs = new MemoryLogs(),
): Promise<Node> {
  const bundles = new MemoryBundles()
  const events: string[] = []
  const lines: string[] = []
  const log: NetLog = (_, event, details) => {
    lines.push(`${event} ${Object.values(details ?? {}).join(' ')}`)
    if (process.env['NET_LOG'] === undefined) return
    console.error(deviceHex(keys.self).slice(0, 4), lines.at(-1))
  }
  const network = await Network.open({
    keys,
    logs,
    source: bundles,
    sink: bundles,
    log,
    options: {
      listen: { host: HOST },
      ...options,
      events: {
        onConnected: () => void events.push('connected'),
        onDisconnected: (_, reason) => void events.push(reason),
        ...options.events,
      },
    },
  })
  return { keys, logs, bundles, network, events, log: lines }
}

export function addressOfNode(node: Node): { host: string; port: number } {
  return { host: HOST, port: node.network.listener.port }
}

/** Waits until it holds; a test that waits in vain fails after a minute. */
export async function until(holds: () => boolean, what = ''): Promise<void> {
  const beginMs = Date.now()
  while (!holds()) {
    await new Promise((resolve) => void setTimeout(resolve, 5))
    const isLate = Date.now() - beginMs > 60_000
    if (isLate) throw new Error(`waited in vain: ${what || holds.toString()}`)
  }
}

/** Two members that are connected; the second dialled the first. */
export async function newPair(
  first: NetworkOptions = {}, second: NetworkOptions = {},
): Promise<[Node, Node]> {
  const vault = newVault(2)
  const a = await newNode(keysAt(vault, 0), first)
  const b = await newNode(keysAt(vault, 1), { staticPeers: [addressOfNode(a)], ...second })
  await until(() => a.events.includes('connected') && b.events.includes('connected'))
  return [a, b]
}
