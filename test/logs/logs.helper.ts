// Log stores in temporary directories, and connections between them: TCP on loopback with Noise,
// and on each what net/ does before logs replicate: both tell their heads, and every log is
// compared at the shorter length.
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import net from 'node:net'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signKeyPair } from '../../src/crypto/sign.ts'
import type { SignKeyPair } from '../../src/crypto/sign.ts'
import { LogStore } from '../../src/logs/log-store.ts'
import type { LogStoreOptions } from '../../src/logs/log-store.ts'
import { nameKey } from '../../src/logs/types.ts'
import type { LogName, LogSource, NoiseStream } from '../../src/logs/types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import { equalBytes } from '../../src/util/bytes.ts'

export const vaultId = Buffer.alloc(16, 3)

/** Deterministic, by a letter. */
export function keyPairOf(letter: string): SignKeyPair {
  return signKeyPair(Buffer.alloc(32, letter))
}

export function authorOf(letter: string): AuthorId {
  return keyPairOf(letter).publicKey.toString('latin1') as AuthorId
}

export function newDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'logs-'))
}

export interface TestStore {
  store: LogStore
  letter: string
  author: AuthorId
  directory: string
  troubles: unknown[]
}

export async function openStore(
  letter: string, directory = newDirectory(), options: Partial<LogStoreOptions> = {},
): Promise<TestStore> {
  const troubles: unknown[] = []
  const store = await LogStore.open({
    directory: join(directory, 'logs'), vaultId, keyPair: keyPairOf(letter),
    onTrouble: (error) => troubles.push(error),
    ...options,
  })
  return { store, letter, author: store.own, directory, troubles }
}

// ---- connections ----

type TestStream = NoiseStream & {
  destroy(error?: Error): void
  on(event: 'error', listener: (error: Error) => void): void
  opened: Promise<boolean>
}

const NoiseSecretStream = createRequire(import.meta.url)('@hyperswarm/secret-stream') as new (
  isInitiator: boolean, socket: net.Socket, options?: object,
) => TestStream

export interface Connection {
  streams: [TestStream, TestStream]
  close(): Promise<void>
}

const sockets: net.Socket[] = []

/** For a file's teardown: after a test that has failed its process would not end otherwise. */
export function cutConnections(): void {
  for (const socket of sockets) socket.destroy()
}

/** Two ends of an encrypted connection over TCP on loopback. */
export async function connection(): Promise<Connection> {
  const server = net.createServer({ noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const accepted = once(server, 'connection') as Promise<[net.Socket]>
  const dialled = net.connect({ port, host: '127.0.0.1', noDelay: true })
  const [socket] = await accepted
  server.close()
  sockets.push(dialled, socket)
  const streams = [
    new NoiseSecretStream(true, dialled, { keepAlive: 5000 }),
    new NoiseSecretStream(false, socket, { keepAlive: 5000 }),
  ] as [TestStream, TestStream]
  for (const one of [...streams, dialled, socket]) one.on('error', () => undefined)
  await Promise.all(streams.map((stream) => stream.opened))
  return {
    streams,
    close: async () => {
      const closed = streams.map((stream) => (
        new Promise<void>((resolve) => { stream.once('close', resolve) })
      ))
      for (const stream of streams) stream.destroy()
      await Promise.all(closed)
    },
  }
}

/** Logs that may replicate between two stores; others are told to both as forked. */
export async function compare(a: LogStore, b: LogStore): Promise<LogName[]> {
  const names = new Map<string, LogName>()
  for (const head of [...await a.heads(), ...await b.heads()]) {
    names.set(nameKey(head), { author: head.author, kind: head.kind })
  }
  const agreed: LogName[] = []
  for (const name of names.values()) {
    const { author, kind } = name
    const length = Math.min(a.length(author, kind), b.length(author, kind))
    const ours = await a.treeHash(author, kind, length)
    const theirs = await b.treeHash(author, kind, length)
    if (ours === undefined || theirs === undefined) continue
    if (equalBytes(ours, theirs)) agreed.push(name)
    else {
      a.forked(author, kind, { length, treeHash: theirs })
      b.forked(author, kind, { length, treeHash: ours })
    }
  }
  return agreed
}

/** Connects, compares and replicates, logs of `also` too if both have nothing of them yet. */
export async function connect(
  a: LogStore, b: LogStore, also: readonly LogName[] = [],
): Promise<Connection> {
  const link = await connection()
  const names = [...await compare(a, b), ...also]
  a.attach(link.streams[0], names)
  b.attach(link.streams[1], names)
  return link
}

export const bothLogs = (author: AuthorId): LogName[] => (
  [{ author, kind: 'ops' }, { author, kind: 'content' }]
)

/** Waits until the log is at least that long there. */
export async function grown(
  store: LogStore, { author, kind }: LogName, length: number, timeoutMs = 120_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (store.length(author, kind) < length) {
    if (Date.now() > deadline) {
      throw new Error(`${store.length(author, kind)} of ${length} blocks of ${kind} came`)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export const pauseMs = (ms: number): Promise<void> => (
  new Promise((resolve) => setTimeout(resolve, ms))
)

/** Blocks that lie in arrays. */
export class ArraySource implements LogSource {
  readonly logs = new Map<string, Uint8Array[]>()
  asked = 0

  set(name: LogName, blocks: Uint8Array[]): this {
    this.logs.set(nameKey(name), blocks)
    return this
  }

  async blocks(name: LogName, from: number, maxBytes: number): Promise<readonly Uint8Array[]> {
    this.asked++
    const blocks: Uint8Array[] = []
    let sizeBytes = 0
    for (const block of this.logs.get(nameKey(name))?.slice(from) ?? []) {
      sizeBytes += block.length
      if (blocks.length > 0 && sizeBytes > maxBytes) break
      blocks.push(block)
    }
    return blocks
  }
}

/** `count` blocks that differ. */
export function someBlocks(count: number, label: string, sizeBytes = 300): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const block = Buffer.alloc(sizeBytes, `${label} ${i}. `)
    block.writeUInt32BE(i, 0)
    return block
  })
}
