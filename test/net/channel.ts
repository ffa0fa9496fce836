// The channel against peers that break its rules, and the comparison of logs. A hostile peer is a
// proven member with a channel of its own that sends what the test says.

import Protomux from 'protomux'
import t from 'tap'
import type { BundleId } from '../../src/chunks/bundle-id.ts'
import {
  MESSAGES, STAGE_LATER, decodeHave, decodeHaving, decodeHeads, decodeHello, decodeProofs,
  decodeProve, encodeEnd, encodeHave, encodeHaving, encodeHeads, encodeHello, encodeNumber,
  encodeProofs, encodeProve, encodeWant,
} from '../../src/net/messages.ts'
import type { MessageName } from '../../src/net/messages.ts'
import { EpochNetwork } from '../../src/net/network-keys.ts'
import type { NoiseStream } from '../../src/net/noise-stream.ts'
import type { LogKind, NetworkKeys } from '../../src/net/ports.ts'
import { dial } from '../../src/net/tcp.ts'
import { VaultDoor } from '../../src/net/vault-door.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { MemoryLogs, addressOfNode, keysAt, newNode, newVault, until } from './net.helper.ts'
import type { Node } from './net.helper.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

const HELLO = encodeHello({ version: 0, abilities: 0, creditBytes: 1 << 20, addresses: [] })

const encoding = {
  preencode: (state: { end: number }, bytes: Uint8Array) => void (state.end += bytes.length),
  encode: (state: { buffer: Uint8Array; start: number }, bytes: Uint8Array) => {
    state.buffer.set(bytes, state.start)
    state.start += bytes.length
  },
  decode: (state: { buffer: Uint8Array; start: number; end: number }) => (
    state.buffer.subarray(state.start, state.end)
  ),
}

interface Hostile {
  stream: NoiseStream
  seen: { name: MessageName; bytes: Uint8Array }[]
  send(name: MessageName, bytes: Uint8Array): void
}

async function newHostile(node: Node, keys: NetworkKeys): Promise<Hostile> {
  const epoch = new EpochNetwork(keys.epochs[0]!)
  const door = new VaultDoor(keys, { log: () => undefined, onPeer: () => undefined })
  const stream = await dial(addressOfNode(node), epoch.dialDoor(node.keys.self))
  await door.enter(stream, { transport: 'tcp', isDialler: true, address: '' }, epoch)
  const seen: Hostile['seen'] = []
  const channel = Protomux.from(stream).createChannel({
    protocol: 'lattice/0', id: Buffer.from(keys.vaultId),
  })!
  const messages = MESSAGES.map((name) => channel.addMessage({
    encoding, onmessage: (bytes: Uint8Array) => void seen.push({ name, bytes: Buffer.from(bytes) }),
  }))
  channel.open()
  return {
    stream,
    seen,
    send: (name, bytes) => void messages[MESSAGES.indexOf(name)]!.send(bytes),
  }
}

const zeros = (size: number): Uint8Array => new Uint8Array(size)
const nobody = '\u0001'.repeat(32) as AuthorId
const someId = '\u0002'.repeat(32) as BundleId

t.test('every broken rule ends the connection with its name', async (t) => {
  const head = { author: nobody, kind: 'ops' as LogKind, length: 1, treeHash: zeros(32) }
  const cases: [string, MessageName, Uint8Array, ('late')?][] = [
    ['hello-first', 'ping', zeros(5)],
    ['hello-version', 'hello', Uint8Array.of(9, ...HELLO.subarray(1))],
    ['hello-truncated', 'hello', zeros(3)],
    ['hello-trailing-bytes', 'hello', Uint8Array.of(...HELLO, 0)],
    ['hello-twice', 'hello', HELLO, 'late'],
    ['heads-stage', 'heads', encodeHeads(STAGE_LATER, [head]), 'late'],
    ['heads-length', 'heads', encodeHeads(0, [{ ...head, length: 0 }]), 'late'],
    ['heads-count', 'heads', Uint8Array.of(0, 255, 255), 'late'],
    ['have-count', 'have', zeros(6), 'late'],
    ['having-unknown', 'having', encodeHaving(77, [true]), 'late'],
    ['want-rank', 'want', encodeWant({ request: 1, rank: 6, id: someId }), 'late'],
    ['part-unknown', 'part', zeros(9), 'late'],
    ['part-size', 'part', zeros(8), 'late'],
    ['part-size', 'part', zeros(8 + 128 * 1024 + 1), 'late'],
    ['part-offset', 'part', Uint8Array.of(0, 0, 0, 1, 255, 0, 0, 0, 1), 'late'],
    ['end-unknown', 'end', encodeEnd(5, 0), 'late'],
    ['end-status', 'end', Uint8Array.of(0, 0, 0, 0, 9), 'late'],
    ['credit-size', 'credit', encodeNumber(0xffffffff), 'late'],
    ['prove-count', 'prove', zeros(37), 'late'],
    ['proof-unknown', 'proof', encodeProofs(1, [undefined]), 'late'],
    ['ping-presence', 'ping', Uint8Array.of(0, 0, 0, 0, 2), 'late'],
    ['log-kind', 'ack', Uint8Array.of(0, 1, ...zeros(32), 7, ...zeros(8)), 'late'],
    ['ack-count', 'ack', Uint8Array.of(255, 255), 'late'],
  ]
  const vault = newVault(cases.length + 1)
  const node = await newNode(keysAt(vault, 0))
  t.teardown(() => node.network.close())
  for (const [i, [rule, name, bytes, late]] of cases.entries()) {
    const keys = keysAt(vault, i + 1)
    const hostile = await newHostile(node, keys)
    if (late !== undefined) hostile.send('hello', HELLO)
    hostile.send(name, bytes)
    await until(() => hostile.stream.destroyed, `${rule} (${node.events.at(-1)})`)
    await until(() => node.events.at(-1) === rule, `${rule}, not ${node.events.at(-1)}`)
    t.equal(node.events.at(-1), rule)
    if (i > 0) continue
    // and it is not let in again for a while
    const again = await newHostile(node, keys).catch(() => undefined)
    await until(() => again === undefined || again.stream.destroyed)
  }
})

t.test('a server keeps its bounds, a fetcher what it granted', async (t) => {
  const vault = newVault(4)
  const node = await newNode(keysAt(vault, 0))
  t.teardown(() => node.network.close())
  const ids = Array.from({ length: 400 }, () => node.bundles.add(40_000))

  // 400 wants, no credit beyond the first 64 KiB: 256 are taken, three bundles lie in memory
  const greedy = await newHostile(node, keysAt(vault, 1))
  const little = { version: 0, abilities: 0, creditBytes: 65_536, addresses: [] }
  greedy.send('hello', encodeHello(little))
  for (const [request, id] of ids.entries()) {
    greedy.send('want', encodeWant({ request, rank: 5, id }))
  }
  const ends = (): number => greedy.seen.filter(({ name }) => name === 'end').length
  await until(() => ends() >= 144)
  await new Promise((resolve) => void setTimeout(resolve, 100))
  const got = greedy.seen.filter(({ name }) => name === 'part')
    .reduce((sum, { bytes }) => sum + bytes.length - 8, 0)
  t.ok(got <= 65_536, 'no more than was granted')
  t.ok(node.bundles.reads.length <= 6)
  greedy.send('cancel', encodeNumber(200))
  greedy.send('credit', encodeNumber(1 << 24))
  await until(() => ends() === 400)
  greedy.send('want', encodeWant({ request: 9999, rank: 0, id: someId }))
  await until(() => ends() === 401)
  const partsOf = (request: number): number => greedy.seen.filter(({ name, bytes }) => (
    name === 'part' && Buffer.from(bytes).readUInt32BE(0) === request
  )).length
  greedy.send('want', encodeWant({ request: 9999, rank: 1, id: ids[0]! }))
  greedy.send('want', encodeWant({ request: 10_000, rank: 1, id: ids[1]! }))
  await until(() => ends() === 402)
  t.ok(partsOf(10_000) > 0)
  t.equal(partsOf(9999), 0, 'another rank for what is over already is no new want')
  greedy.send('have', encodeHave(3, [ids[0]!, someId]))
  await until(() => greedy.seen.some(({ name }) => name === 'having'))
  const answer = greedy.seen.find(({ name }) => name === 'having')!
  t.same(decodeHaving(answer.bytes), { query: 3, has: [true, false] })

  greedy.stream.destroy()
  await until(() => node.network.peers().length === 0)

  // answers a want with parts out of order, and with more than was granted
  node.network.setLimits({ downloadLimit: 1000 })
  for (const [i, rule] of ['part-order', 'part-credit'].entries()) {
    const liar = await newHostile(node, keysAt(vault, 2 + i))
    liar.send('hello', HELLO)
    const { self } = keysAt(vault, 2 + i)
    await until(() => node.network.peers().some(({ device }) => device === self))
    const fetches = Array.from({ length: 8 }, (_, n) => (
      node.network.fetcher.fetch(
        String.fromCharCode(n, i).repeat(16) as BundleId, 1 << 20, 'read', { timeoutMs: 3000 },
      ).catch(() => undefined)
    ))
    const wants = (): number[] => liar.seen.filter(({ name }) => name === 'want')
      .map(({ bytes }) => Buffer.from(bytes).readUInt32BE(0))
    await until(() => wants().length > 0)
    const part = (request: number, offset: number, size: number): Uint8Array => {
      const bytes = Buffer.alloc(8 + size)
      bytes.writeUInt32BE(request, 0)
      bytes.writeUInt32BE(offset, 4)
      return bytes
    }
    const [request = 0] = wants()
    if (rule === 'part-order') liar.send('part', part(request, 5, 10))
    // half a MiB was granted, and the limit lets little follow
    else for (let k = 0; k < 8; k++) liar.send('part', part(request, k * 131_072, 131_072))
    await until(() => node.events.includes(rule), rule)
    await Promise.all(fetches)
  }
  t.same(node.network.fetching.inFlightBytes, 0)
})

t.test('random bytes in every message: a named end, never an exception', async (t) => {
  const random = new SeededRandom(seed)
  const rounds = 30
  const vault = newVault(rounds + 1)
  const node = await newNode(keysAt(vault, 0))
  t.teardown(() => node.network.close())
  node.bundles.add(10)
  for (let round = 0; round < rounds; round++) {
    const hostile = await newHostile(node, keysAt(vault, round + 1))
    hostile.send('hello', HELLO)
    for (let i = 0; i < 50 && !hostile.stream.destroyed; i++) {
      const bytes = random.bytes(random.int(0, random.chance(0.1) ? 5000 : 80))
      // small counts are more interesting
      if (random.chance(0.5)) bytes.fill(0, 0, random.int(0, 6))
      hostile.send(random.pick(MESSAGES), bytes)
    }
    await new Promise((resolve) => void setTimeout(resolve, 5))
    hostile.stream.destroy()
  }
  await until(() => node.network.peers().length === 0)
  t.notOk(node.events.includes('internal'))
  const decoders = [decodeHave, decodeHaving, decodeHeads, decodeHello, decodeProofs, decodeProve]
  for (let i = 0; i < 20_000; i++) {
    const bytes = random.bytes(random.int(0, 200))
    if (random.chance(0.7)) bytes.fill(0, 0, random.int(0, 8))
    for (const decode of decoders) {
      try {
        decode(bytes)
      } catch (error) {
        if (!isLatticeError(error)) throw error
      }
    }
  }
  const ids = [someId, nobody as string as BundleId]
  const nonce = zeros(32)
  t.same(decodeProve(encodeProve({ query: 1, nonce, ids })), { query: 1, nonce, ids })
  const proofs = [nonce, undefined]
  t.same(decodeProofs(encodeProofs(2, proofs)), { query: 2, proofs })
})

t.test('logs: attached where both agree, reported where they differ', async (t) => {
  const vault = newVault(2)
  const author = (n: number): AuthorId => String.fromCharCode(n).repeat(32) as AuthorId
  const name = (n: number): string => `ops ${Buffer.alloc(32, n).toString('hex')}`
  const [mine, theirs] = [new MemoryLogs(), new MemoryLogs()]
  mine.set(author(1), 'ops', ['a', 'b'])
  theirs.set(author(1), 'ops', ['a', 'b'])
  mine.set(author(2), 'ops', ['a', 'b', 'c'])
  theirs.set(author(2), 'ops', ['a'])
  mine.set(author(3), 'ops', ['a'])
  theirs.set(author(4), 'ops', ['a'])
  mine.set(author(5), 'ops', ['a', 'b'])
  theirs.set(author(5), 'ops', ['a', 'x', 'y'])
  mine.set(author(6), 'ops', ['a'])
  theirs.set(author(6), 'ops', ['z'])
  const a = await newNode(keysAt(vault, 0), {}, mine)
  const b = await newNode(keysAt(vault, 1), { staticPeers: [addressOfNode(a)] }, theirs)
  t.teardown(() => Promise.all([a, b].map(({ network }) => network.close())))
  const agreed = [1, 2, 3, 4].map(name)
  await until(() => mine.names.length === 4 && theirs.names.length === 4)
  t.same([mine.names, theirs.names], [agreed, agreed])
  await until(() => mine.forks.length === 2 && theirs.forks.length === 2)
  for (const { forks } of [mine, theirs]) {
    t.same(new Set(forks.map(({ length }) => length)), new Set([1, 2]))
  }
  // later: a new log at one side, and one at both that differs
  mine.set(author(7), 'content', ['q'])
  await until(() => mine.names.length === 5 && theirs.names.length === 5)
  mine.set(author(8), 'ops', ['1', '2'])
  theirs.set(author(8), 'ops', ['1', '3'])
  await until(() => mine.forks.length === 3 && theirs.forks.length === 3)
  t.notOk([...mine.names, ...theirs.names].includes(name(8)))
  await a.network.close()
  await until(() => theirs.detached === 1)
})

t.test('a log of which nothing is here comes by one connection at first', async (t) => {
  const vault = newVault(3)
  const log = '\u0007'.repeat(32) as AuthorId
  const holders = [new MemoryLogs(), new MemoryLogs()]
  holders[0]!.set(log, 'ops', ['a', 'b'])
  holders[1]!.set(log, 'ops', ['a', 'other', 'c'])
  const nodes = await Promise.all(holders.map((logs, i) => newNode(keysAt(vault, i), {}, logs)))
  const mine = new MemoryLogs()
  const staticPeers = nodes.map(addressOfNode)
  const c = await newNode(keysAt(vault, 2), { staticPeers }, mine)
  t.teardown(() => Promise.all([...nodes, c].map(({ network }) => network.close())))
  await until(() => mine.names.length === 1 && c.network.peers().length === 2)
  await new Promise((resolve) => void setTimeout(resolve, 100))
  t.equal(mine.names.length, 1)
  mine.set(log, 'ops', ['a'])
  await until(() => mine.names.length === 2)
  t.pass('then it is compared, and comes by both')
})
