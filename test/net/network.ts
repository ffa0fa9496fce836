// Whole networks on loopback: connecting, one connection for each pair, fetching, proofs of
// holding, limits, pause, removal, peers that come and go.

import t from 'tap'
import type { BundleId } from '../../src/chunks/bundle-id.ts'
import { UNPROVEN_MAX } from '../../src/net/strangers.ts'
import { connect } from 'node:net'
import { randomFillSync } from 'node:crypto'
import {
  HOST, MemoryLogs, addressOfNode, keysAt, newEpoch, newNode, newPair, newVault, until,
} from './net.helper.ts'
import type { Node } from './net.helper.ts'

const KIB = 1024
const forever = { timeoutMs: 60_000 }

const close = (...nodes: Node[]) => () => Promise.all(nodes.map((node) => node.network.close()))

const isEqual = (a: Node, b: Node, id: BundleId): boolean => (
  Buffer.compare(a.bundles.bundles.get(id)!, b.bundles.bundles.get(id)!) === 0
)

t.test('two members connect, and fetch from each other', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  const ids = [1, 100, 128 * KIB, 128 * KIB + 1, 1024 * KIB].map((size) => a.bundles.add(size))
  await Promise.all(ids.map((id) => (
    b.network.fetcher.fetch(id, a.bundles.bundles.get(id)!.length, 'pin', forever)
  )))
  for (const id of ids) t.ok(isEqual(a, b, id))
  const back = b.bundles.add(3000)
  await a.network.fetcher.fetch(back, 3000, 'read', forever)
  t.ok(isEqual(a, b, back))
  t.match(a.network.peers(), [{ device: b.keys.self, label: 'device 1', transport: 'tcp' }])
  t.ok(b.network.peers()[0]!.roundTripMs! > 0)
  t.same(b.network.holders(ids[0]!), [a.keys.self])
})

t.test('both dial at once: one connection stays, the same for both', async (t) => {
  const vault = newVault(2)
  for (let round = 0; round < 5; round++) {
    const a = await newNode(keysAt(vault, 0))
    const b = await newNode(keysAt(vault, 1), { staticPeers: [addressOfNode(a)] })
    const c = await newNode(keysAt(vault, 0), { staticPeers: [addressOfNode(b)] })
    // c is the same device as a, at another address: b has two that claim to be it
    await until(() => b.network.peers().length === 1)
    await close(a, b, c)()
  }
  const b = await newNode(keysAt(vault, 1))
  const c = await newNode(keysAt(vault, 0), { staticPeers: [addressOfNode(b)] })
  t.teardown(close(b, c))
  await until(() => c.network.peers().length === 1 && b.network.peers().length === 1)
  // b learnt where c listens and may dial it: nothing changes any more
  b.network.networkChanged()
  c.network.networkChanged()
  await new Promise((resolve) => void setTimeout(resolve, 300))
  t.equal(c.network.peers().length, 1)
  t.equal(b.network.peers().length, 1)
  const id = b.bundles.add(10)
  await c.network.fetcher.fetch(id, 10, 'read', forever)
})

t.test('what waits behind others on a slow link is not late while they arrive', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  const size = 256 * KIB
  const ids = Array.from({ length: 12 }, () => a.bundles.add(size))
  a.network.setLimits({ uploadLimit: 512 * KIB })
  const fetches = ids.map((id) => b.network.fetcher.fetch(id, size, 'ahead', { timeoutMs: 2000 }))
  const ends = await Promise.allSettled(fetches)
  t.same(ends.filter(({ status }) => status === 'rejected'), [])
})

t.test('a member that is removed is cut off, and cannot come back', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  const epochs = [...a.keys.epochs, newEpoch()]
  const members = a.keys.members.filter(({ device }) => device !== b.keys.self)
  const id = a.bundles.add(1000)
  a.network.setKeys({ ...a.keys, epochs, members })
  t.same(a.network.peers(), [], 'it counts no more')
  t.ok(b.network.peers().length === 1, 'but has a moment to hear why')
  await t.rejects(b.network.fetcher.fetch(id, 1000, 'read', { timeoutMs: 500 }), {
    code: 'not-available',
  }, 'and gets nothing')
  t.same(a.bundles.reads, [])
  await until(() => a.events.includes('removed') && b.events.includes('closed'))
  b.network.networkChanged()
  await until(() => a.log.some((line) => line.startsWith('refused proof-member')))
  t.equal(a.network.peers().length, 0)
})

t.test('a member that was away meets the others by an older epoch', async (t) => {
  const vault = newVault(2)
  const b = await newNode(keysAt(vault, 1))
  const epochs = [...b.keys.epochs, newEpoch(), newEpoch()]
  const a = await newNode({ ...keysAt(vault, 0), epochs }, { staticPeers: [addressOfNode(b)] })
  await until(() => a.events.includes('connected') && b.events.includes('connected'))
  await b.network.close()
  await until(() => a.network.peers().length === 0)
  const c = await newNode(keysAt(vault, 1), { staticPeers: [addressOfNode(a)] })
  t.teardown(close(a, c))
  await until(() => c.events.includes('connected'))
  t.pass('and it dials those who know newer ones')
})

t.test('another vault, a removed device, garbage and silence stay outside', async (t) => {
  const a = await newNode(keysAt(newVault(2), 0), { proofTimeoutMs: 300 })
  const stranger = await newNode(keysAt(newVault(2), 0), { staticPeers: [addressOfNode(a)] })
  t.teardown(close(a, stranger))
  await until(() => a.log.some((line) => line.startsWith('no-door')))
  await until(() => a.log.some((line) => line.startsWith('stranger-ended')))
  t.same(a.network.peers(), [])
  const { port } = a.network.listener
  const sockets = Array.from({ length: 3 * UNPROVEN_MAX }, (_, i) => {
    const socket = connect({ host: HOST, port })
    socket.on('error', () => undefined)
    if (i % 3 === 0) socket.write(randomFillSync(new Uint8Array(1 + (i % 200))))
    return socket
  })
  let most = 0
  await until(() => {
    most = Math.max(most, a.network.listener.strangers)
    return sockets.every((socket) => socket.destroyed || socket.readableEnded)
  })
  t.ok(most > 0 && most <= UNPROVEN_MAX, 'never more than allowed')
  t.equal(a.network.listener.strangers, 0)
  for (const socket of sockets) socket.destroy()
})

t.test('nobody has it: fails soon; somebody comes: goes on', async (t) => {
  const [a, b] = await newPair({}, { appearMs: 200 })
  t.teardown(close(a, b))
  const absent = newVault(1)[0]!.self as string as BundleId
  await t.rejects(b.network.fetcher.fetch(absent, 10, 'read', forever), { code: 'not-available' })
  const late = a.bundles.add(20)
  const bytes = a.bundles.bundles.get(late)!
  a.bundles.bundles.delete(late)
  a.bundles.gate = Promise.resolve()
  const fetching = b.network.fetcher.fetch(late, 20, 'pin', { timeoutMs: 300 })
  await t.rejects(fetching, { code: 'not-available' })
  a.bundles.bundles.set(late, bytes)
  t.notOk(b.bundles.bundles.has(late))
  const signal = AbortSignal.timeout(50)
  const aborted = b.network.fetcher.fetch(absent, 10, 'pin', { ...forever, signal })
  await t.rejects(aborted, { code: 'cancelled' })
  t.same(b.network.fetching, { waiting: 0, aside: 0, moving: 0, inFlightBytes: 0 })
})

t.test('wrong bytes are not stored, and another peer is asked', async (t) => {
  const vault = newVault(3)
  const a = await newNode(keysAt(vault, 0))
  const liar = await newNode(keysAt(vault, 1))
  const staticPeers = [addressOfNode(a), addressOfNode(liar)]
  const b = await newNode(keysAt(vault, 2), { staticPeers })
  t.teardown(close(a, liar, b))
  await until(() => b.network.peers().length === 2)
  const ids = Array.from({ length: 20 }, () => a.bundles.add(50 * KIB))
  for (const id of ids) liar.bundles.forge(50 * KIB, id)
  await Promise.all(ids.map((id) => b.network.fetcher.fetch(id, 50 * KIB, 'pin', forever)))
  for (const id of ids) t.ok(isEqual(a, b, id))
  await a.network.close()
  await until(() => b.network.peers().length < 2)
  const more = Array.from({ length: 3 }, () => keysAt(newVault(1), 0).self as string as BundleId)
  for (const id of more) {
    liar.bundles.forge(10, id)
    const fetching = b.network.fetcher.fetch(id, 10, 'pin', { timeoutMs: 300 })
    await t.rejects(fetching, { code: 'not-available' })
  }
  t.ok(b.events.includes('bad-bytes'), 'who does it again and again is disconnected')
  await t.rejects(b.network.fetcher.fetch(ids[0]!, 2 ** 30, 'pin', forever), { code: 'corrupt' })
})

t.test('a size that is not true blames nobody', async (t) => {
  const [a, b] = await newPair({}, { appearMs: 100 })
  t.teardown(close(a, b))
  for (const size of [100 * KIB, 500 * KIB]) {
    const id = a.bundles.add(400 * KIB)
    await t.rejects(b.network.fetcher.fetch(id, size, 'read', forever), { code: 'corrupt' })
  }
  t.same(b.events, ['connected'])
  const other = a.bundles.add(10)
  await b.network.fetcher.fetch(other, 10, 'read', forever)
})

t.test('the sink refuses: callers hear it, bad content is never fetched again', async (t) => {
  const { LatticeError } = await import('../../src/util/errors.ts')
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  const id = a.bundles.add(1000)
  b.bundles.storing = () => Promise.reject(new LatticeError('disk-full', 'full'))
  await t.rejects(b.network.fetcher.fetch(id, 1000, 'read', forever), { code: 'disk-full' })
  b.bundles.storing = () => Promise.reject(new LatticeError('corrupt', 'bad'))
  await t.rejects(b.network.fetcher.fetch(id, 1000, 'read', forever), { code: 'corrupt' })
  b.bundles.storing = () => Promise.resolve()
  const reads = a.bundles.reads.length
  await t.rejects(b.network.fetcher.fetch(id, 1000, 'read', forever), { code: 'corrupt' })
  t.equal(a.bundles.reads.length, reads)
})

t.test('what somebody waits for overtakes what has time, and bulk goes on', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  a.network.setLimits({ uploadLimit: 8 * 1024 * KIB })
  const bulk = Array.from({ length: 40 }, () => a.bundles.add(256 * KIB))
  const done: string[] = []
  const all = bulk.map((id) => (
    b.network.fetcher.fetch(id, 256 * KIB, 'backfill', forever).then(() => done.push('bulk'))
  ))
  await until(() => done.length >= 2)
  const urgent = Array.from({ length: 3 }, () => a.bundles.add(64 * KIB))
  await Promise.all(urgent.map((id) => b.network.fetcher.fetch(id, 64 * KIB, 'read', forever)))
  t.ok(done.length < 20, `${done.length} of 40 came before`)
  // an id that waits for its turn is raised, and shares the transfer
  const last = bulk.at(-1)!
  await b.network.fetcher.fetch(last, 256 * KIB, 'read', forever)
  t.ok(done.length < 35)
  a.network.setLimits({ uploadLimit: 0 })
  await Promise.all(all)
  t.equal(b.bundles.stored.filter((id) => id === last).length, 1)
})

t.test('limits hold on both sides', async (t) => {
  for (const side of ['upload', 'download'] as const) {
    const [a, b] = await newPair()
    const rate = 2 * 1024 * KIB
    if (side === 'upload') a.network.setLimits({ uploadLimit: rate })
    else b.network.setLimits({ downloadLimit: rate })
    const ids = Array.from({ length: 4 }, () => a.bundles.add(1024 * KIB))
    const beganMs = performance.now()
    await Promise.all(ids.map((id) => b.network.fetcher.fetch(id, 1024 * KIB, 'pin', forever)))
    // no faster than that, but for the first burst: slowness would prove nothing
    const leastMs = ((4 - 1.5) / 2) * 1000
    t.ok(performance.now() - beganMs > leastMs, side)
    await close(a, b)()
  }
})

t.test('the other side ends in mid-transfer: the rest comes later, nothing twice', async (t) => {
  const vault = newVault(2)
  let a = await newNode(keysAt(vault, 0))
  const { port } = a.network.listener
  const b = await newNode(keysAt(vault, 1), { staticPeers: [addressOfNode(a)], random: () => 0 })
  t.teardown(() => close(a, b)())
  await until(() => b.events.includes('connected'))
  a.network.setLimits({ uploadLimit: 4 * 1024 * KIB })
  const { bundles } = a.bundles
  const ids = Array.from({ length: 12 }, () => a.bundles.add(256 * KIB))
  const all = ids.map((id) => b.network.fetcher.fetch(id, 256 * KIB, 'pin', forever))
  await until(() => b.bundles.stored.length >= 3)
  await a.network.close()
  const before = [...b.bundles.stored]
  a = await newNode(keysAt(vault, 0), { listen: { host: HOST, port } })
  for (const [id, bytes] of bundles) a.bundles.bundles.set(id, bytes)
  await Promise.all(all)
  t.equal(b.bundles.stored.length, 12)
  t.notOk(a.bundles.reads.some((id) => before.includes(id)), 'nothing that was stored')
})

t.test('proofs of holding are over the real bytes', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  const ids = Array.from({ length: 70 }, () => a.bundles.add(5000))
  for (const [i, id] of ids.entries()) {
    if (i % 3 === 0) b.bundles.bundles.set(id, a.bundles.bundles.get(id)!)
    if (i % 3 === 1) b.bundles.forge(5000, id)
  }
  const proven = await a.network.prove(b.keys.self, ids)
  t.same(proven, ids.map((_, i) => i % 3 === 0))
  t.same(await b.network.prove(keysAt(newVault(1), 0).self, ids.slice(0, 1)), [false])
  b.bundles.unreliable.add(ids[0]!)
  const [first, , , fourth] = await a.network.prove(b.keys.self, ids.slice(0, 4))
  t.same([first, fourth], [false, true], 'not what is about to be given up there')
  const told = a.bundles.bundles.get(ids[3]!)
  a.bundles.bundles.delete(ids[3]!)
  const asked = [ids[3]!, ids[2]!]
  t.same(await a.network.prove(b.keys.self, asked), [false, false], 'nothing to compare with')
  const word = await a.network.prove(b.keys.self, asked, { takesWord: true })
  t.same(word, [true, false])
  a.bundles.bundles.set(ids[3]!, told!)
})

t.test('pause ends connections, resume makes them again', async (t) => {
  const [a, b] = await newPair()
  t.teardown(close(a, b))
  await b.network.pause()
  await until(() => a.network.peers().length === 0)
  a.network.networkChanged()
  await new Promise((resolve) => void setTimeout(resolve, 200))
  t.same(b.network.peers(), [])
  b.network.resume()
  await until(() => a.network.peers().length === 1 && b.network.peers().length === 1)
})

t.test('acks, presence and heads arrive', async (t) => {
  const logs = new MemoryLogs()
  const vault = newVault(2)
  const self = keysAt(vault, 0).self
  logs.set(self, 'ops', ['x'])
  const a = await newNode(keysAt(vault, 0), {}, logs)
  a.network.tellApplied([{ author: self, kind: 'ops', length: 7 }])
  const seen: unknown[] = []
  const b = await newNode(keysAt(vault, 1), {
    staticPeers: [addressOfNode(a)],
    events: {
      onAcks: (_, acks) => void seen.push(...acks),
      onPresence: (_, isInUse) => void seen.push(isInUse),
      onRemoteHead: (_, head) => void seen.push(head.length),
    },
  })
  t.teardown(close(a, b))
  await until(() => seen.length >= 2)
  a.network.tellApplied([{ author: self, kind: 'ops', length: 8 }])
  a.network.setInUse(true)
  await until(() => seen.length >= 4)
  t.strictSame(new Set(seen), new Set([
    { author: self, kind: 'ops', length: 7 }, 1, { author: self, kind: 'ops', length: 8 }, true,
  ]))
})
