/**
 * Two processes on loopback: bundles of 1 MiB from one's memory to the other's, over lattice's own
 * channel. Prints MB/s, CPU-ms/MB of each side, and the round trip of a small message, idle and
 * during the transfer.
 *
 *   npm run bench -- net [--mib 1000]
 */
import { fork } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { bundleIdOf } from '../src/chunks/bundle-id.ts'
import type { BundleId } from '../src/chunks/bundle-id.ts'
import { Network } from '../src/net/network.ts'
import type { LogsForPeers, NetworkKeys } from '../src/net/ports.ts'
import { signKeyPair } from '../src/crypto/sign.ts'
import { deviceId } from '../src/net/network-keys.ts'

const MIB = 1024 * 1024
const HOST = '127.0.0.1'
const DISTINCT = 64

const logs: LogsForPeers = {
  heads: () => Promise.resolve([]),
  treeHash: () => Promise.resolve(undefined),
  attach: () => undefined,
  detach: () => undefined,
  forked: () => undefined,
  onGrowth: () => undefined,
}

function keysOf(self: number): NetworkKeys {
  const fill = (value: number, size = 32): Uint8Array => new Uint8Array(size).fill(value)
  const pairs = [0, 1].map((n) => signKeyPair(fill(n + 1)))
  const devices = pairs.map(({ publicKey }) => deviceId(publicKey))
  return {
    vaultId: fill(9, 16),
    self: devices[self]!,
    signKeyPair: pairs[self]!,
    epochs: [{ epochId: fill(3, 8), controlKey: fill(4), topicKey: fill(5) }],
    members: devices.map((device) => ({ device, role: 'owner', label: '' })),
  }
}

/** Bundles that differ only in their first bytes: the reader makes them as it is asked. */
function makeSource(count: number): Map<BundleId, Uint8Array> {
  const bodies = Array.from({ length: DISTINCT }, () => randomFillSync(new Uint8Array(MIB)))
  const bundles = new Map<BundleId, Uint8Array>()
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(bodies[i % DISTINCT]!)
    new DataView(bytes.buffer).setUint32(0, i)
    bundles.set(bundleIdOf(bytes), bytes)
  }
  return bundles
}

async function open(self: number, bundles: Map<BundleId, Uint8Array>, port?: number) {
  return await Network.open({
    keys: keysOf(self),
    logs,
    source: {
      has: (ids) => Promise.resolve(ids.map((id) => bundles.has(id))),
      read: (id) => Promise.resolve(bundles.get(id)),
      reliable: (ids) => Promise.resolve(ids.map(() => true)),
    },
    sink: { store: () => Promise.resolve() },
    options: {
      listen: { host: HOST },
      ...(port === undefined ? {} : { staticPeers: [{ host: HOST, port }] }),
    },
    log: () => undefined,
  })
}

function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1000
}

async function serve(count: number): Promise<void> {
  const bundles = makeSource(count)
  const network = await open(0, bundles)
  let began = process.cpuUsage()
  process.on('message', (message) => {
    if (message === 'begin') began = process.cpuUsage()
    if (message === 'end') process.send?.({ cpuMs: cpuMs(began), peers: network.peers().length })
  })
  process.send?.({ port: network.listener.port, ids: [...bundles.keys()] })
}

async function roundTrips(network: Network, peer: NetworkKeys['self'], isOver: () => boolean) {
  const times: number[] = []
  while (!isOver() && times.length < 2000) {
    const beganMs = performance.now()
    await network.prove(peer, [keysOf(1).self as string as BundleId])
    times.push(performance.now() - beganMs)
    await new Promise((resolve) => void setTimeout(resolve, 5))
  }
  times.sort((a, b) => a - b)
  const at = (part: number): string => (times[Math.floor(times.length * part)] ?? 0).toFixed(2)
  return `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms (${times.length})`
}

async function main(count: number): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['serve', String(count)], {
    execArgv: ['--import', 'tsx'],
  })
  const next = (): Promise<{ port: number; ids: BundleId[]; cpuMs: number }> => (
    new Promise((resolve) => child.once('message', (m) => resolve(m as never)))
  )
  const { port, ids } = await next()
  const network = await open(1, new Map(), port)
  while (network.peers().length === 0) await new Promise((r) => void setTimeout(r, 10))
  const peer = network.peers()[0]!.device
  let left = 100
  console.log(`small message, idle:   ${await roundTrips(network, peer, () => left-- <= 0)}`)
  child.send('begin')
  const began = process.cpuUsage()
  const beganMs = performance.now()
  let isOver = false
  const small = roundTrips(network, peer, () => isOver)
  await Promise.all(ids.map((id) => (
    network.fetcher.fetch(id, MIB, 'replica', { timeoutMs: 60_000 })
  )))
  const ms = performance.now() - beganMs
  const receiveMs = cpuMs(began)
  isOver = true
  console.log(`small message, during: ${await small}`)
  child.send('end')
  const { cpuMs: sendMs } = await next()
  const mb = (count * MIB) / 1e6
  console.log(`${count} MiB: ${(mb / ms * 1000).toFixed(0)} MB/s, CPU-ms/MB: ` +
    `receive ${(receiveMs / mb).toFixed(2)}, send ${(sendMs / mb).toFixed(2)}`)
  console.log(JSON.stringify({
    bench: 'net', mbPerSecond: mb / ms * 1000, receive: receiveMs / mb, send: sendMs / mb,
  }))
  await network.close()
  child.kill()
}

const at = process.argv.indexOf('--mib')
if (process.argv[2] === 'serve') await serve(Number(process.argv[3]))
else await main(at < 0 ? 1000 : Number(process.argv[at + 1]))
