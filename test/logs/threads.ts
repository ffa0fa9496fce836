// Logs in two threads: what a LogStore does, it does through server and client as well, with few
// messages; and the same engine runs on either. Devices exchange their logs over TCP.
// timeoutSeconds: 600
import { MessageChannel } from 'node:worker_threads'
import t from 'tap'
import type { ContentLog } from '../../src/logs/content-publisher.ts'
import { LogClient } from '../../src/logs/log-client.ts'
import { packRange, unpackRange } from '../../src/logs/log-messages.ts'
import { logPort } from '../../src/logs/log-port.ts'
import { LogServer, RemoteSource } from '../../src/logs/log-server.ts'
import { BATCH_MAX_BYTES } from '../../src/ops/bounds.ts'
import type { LogPort } from '../../src/vault/ports.ts'
import { Device } from '../vault/cores.helper.ts'
import {
  ArraySource, authorOf, bothLogs, connect, cutConnections, newDirectory, openStore, pauseMs,
  someBlocks,
} from './logs.helper.ts'
import type { TestStore } from './logs.helper.ts'

t.teardown(cutConnections)

interface Subject extends TestStore {
  port: LogPort & ContentLog
  source: ArraySource
  messages: () => number
  close(): Promise<void>
}

async function direct(letter: string, directory = newDirectory()): Promise<Subject> {
  const source = new ArraySource()
  const opened = await openStore(letter, directory, { source })
  const port = logPort(opened.store)
  return { ...opened, port, source, messages: () => 0, close: () => opened.store.close() }
}

async function throughPort(letter: string, directory = newDirectory()): Promise<Subject> {
  const { port1, port2 } = new MessageChannel()
  const troubles: unknown[] = []
  const source = new ArraySource()
  let messages = 0
  port1.on('message', () => { messages++ })
  const opening = LogClient.open({
    channel: port1 as never, own: authorOf(letter), source,
    onTrouble: (error) => troubles.push(error),
  })
  const remote = new RemoteSource(port2 as never)
  const opened = await openStore(letter, directory, { source: remote })
  const server = new LogServer(opened.store, port2 as never)
  const client = await opening
  return {
    ...opened, port: client, source, troubles, messages: () => messages,
    close: async () => {
      client.close()
      server.close()
      await opened.store.close()
    },
  }
}

for (const [how, open] of [['direct', direct], ['two threads', throughPort]] as const) {
  t.test(`${how}: the port of the engine`, async (t) => {
    const a = await open('A')
    const { port } = a
    const blocks = someBlocks(100, 'a')
    const told: unknown[] = []
    port.onGrowth((author) => told.push(author === a.author))
    t.same(port.authors(), [])
    t.equal(port.length(a.author), 0)
    t.equal(await port.read(a.author, 0), undefined)
    await port.append(blocks.slice(0, 60))
    t.equal(port.length(a.author), 60, 'known when the append is done')
    await port.append(blocks.slice(60))
    t.same(port.authors(), [a.author])
    for (const seq of [0, 1, 99, 50, 98]) t.same(await port.read(a.author, seq), blocks[seq])
    t.equal(await port.read(a.author, 100), undefined)
    for (const length of [1, 50, 100]) {
      t.same(await port.treeHash(a.author, length), await a.store.treeHash(a.author, 'ops', length))
    }
    t.equal(await port.treeHash(a.author, 101), undefined)
    t.equal(await port.treeHash(authorOf('B'), 1), undefined)
    await pauseMs(20)
    t.ok(told.length > 0 && told.every(Boolean))
    t.equal(await port.appendContent([Buffer.from('one')], 0), true)
    t.equal(await port.appendContent([Buffer.from('two')], 0), false)
    t.equal(port.contentLength(), 1)
    t.same(await port.readContent(0), Buffer.from('one'))
    await a.close()
    await a.close()
    t.same(a.troubles, [])
  })

  t.test(`${how}: an append that comes too late adds nothing`, async (t) => {
    const a = await open('A')
    const both = [a.port.append(someBlocks(3, 'x')), a.port.append(someBlocks(3, 'y'))]
    await Promise.all(both)
    t.equal(a.port.length(a.author), 3)
    await a.close()
  })

  t.test(`${how}: a long log of somebody else, read as the replica does`, async (t) => {
    const a = await open('A')
    const b = await open('B')
    const blocks = someBlocks(5000, 'a', 100)
    blocks[2000] = Buffer.alloc(BATCH_MAX_BYTES + 5)
    await a.store.append(blocks)
    const source = { blocks: async () => [] as Uint8Array[] }
    const held = a.store.head(a.author, 'ops')!
    source.blocks = async () => blocks
    await b.store.restore(a.author, 'ops', held, source)
    while (b.port.length(a.author) < 5000) await pauseMs(5)
    const before = b.messages()
    for (let seq = 0; seq < 5000; seq++) {
      const block = await b.port.read(a.author, seq)
      if (seq !== 2000 && Buffer.compare(blocks[seq]!, block!) !== 0) t.fail(`block ${seq}`)
      if (seq === 2000) t.equal(block?.length, BATCH_MAX_BYTES + 1)
      const hash = await b.port.treeHash(a.author, seq + 1)
      if (seq % 500 !== 0) continue
      t.same(hash, await a.store.treeHash(a.author, 'ops', seq + 1))
    }
    t.ok(b.messages() - before < 20, `${b.messages() - before} messages`)
    await a.close()
    await b.close()
  })

  t.test(`${how}: engines on these logs converge over TCP, and after their loss`, async (t) => {
    const devices = ['A', 'B', 'C'].map((letter, i) => new LogDevice(letter, 10 + i, open))
    for (const device of devices) await device.start()
    const [a, b, c] = devices as [LogDevice, LogDevice, LogDevice]
    const links = [await connectBoth(a, b), await connectBoth(b, c)]
    a.mkdir('/dir')
    for (let i = 0; i < 30; i++) {
      for (const device of devices) device.save(`/${device.name}${i}`, `${i}`)
      if (i % 3 === 0) a.save('/shared', `a ${i}`)
      if (i % 5 === 0) for (const device of devices) await device.core.sync()
    }
    for (const device of devices) await device.core.sync()
    await converged(t, devices)
    // B's logs are deleted, A is gone: B has C's from C, its own and A's from its journal
    for (const link of links) await link.close()
    const before = b.list()
    const heads = new Map(devices.map(({ author }) => [author, b.held.store.head(author, 'ops')!]))
    const kept = new ArraySource()
    for (const { author } of devices) {
      const name = { author, kind: 'ops' as const }
      const all = { maxBlocks: 1e6, maxBytes: 1e9 }
      kept.set(name, (await b.held.store.readRange(author, 'ops', 0, all)).blocks)
    }
    const length = b.held.store.length(b.author, 'ops')
    await b.stop()
    b.directory = newDirectory()
    await b.start()
    t.equal(b.held.store.length(b.author, 'ops'), length, 'published again at opening')
    t.same(b.held.store.head(b.author, 'ops'), heads.get(b.author))
    Object.assign(b.held.source, { logs: kept.logs })
    await b.held.store.restore(a.author, 'ops', heads.get(a.author)!)
    t.same(b.held.store.head(a.author, 'ops'), heads.get(a.author))
    c.save('/later', 'c')
    b.save('/later still', 'b')
    await b.core.sync()
    await c.core.sync()
    const link = await connectBoth(b, c)
    await converged(t, [b, c])
    t.ok(b.list().length > before.length)
    await link.close()
    for (const device of devices) {
      t.same([...device.troubles, ...device.held.troubles], [])
      await device.stop()
    }
  })
}

t.test('two threads: what was lost comes from the journal on the other side', async (t) => {
  const blocks = someBlocks(700, 'a', 4000)
  const a = await openStore('A')
  await a.store.append(blocks)
  const signed = a.store.head(a.author, 'ops')!
  const b = await throughPort('B')
  const client = b.port as LogClient
  t.equal(await client.restore(a.author, 'ops', signed), 'incomplete')
  b.source.set({ author: a.author, kind: 'ops' }, blocks)
  t.equal(await client.restore(a.author, 'ops', signed), 'restored')
  t.ok(b.source.asked < 10)
  t.same(await client.head(a.author, 'ops'), signed)
  t.same(await client.read(a.author, 699), blocks[699])
  const forks: unknown[] = []
  client.onFork((fork) => forks.push(fork))
  b.store.forked(a.author, 'ops', { length: 3, treeHash: Buffer.alloc(32) })
  await client.keep(a.author, 'ops')
  t.match(forks, [{ author: a.author, kind: 'ops', theirs: { length: 3 } }])
  await client.reset(a.author, 'ops')
  t.equal(client.length(a.author), 0)
  t.equal(await client.read(a.author, 0), undefined)
  client.close()
  await t.rejects(client.head(a.author, 'ops'), { code: 'closed' })
  await b.close()
  await a.store.close()
})

t.test('ranges survive being packed', (t) => {
  const range = {
    from: 7, before: Buffer.alloc(32, 1), blocks: [Buffer.from('x'), Buffer.alloc(0)],
    treeHashes: [Buffer.alloc(32, 2), Buffer.alloc(32, 3)],
  }
  t.same(unpackRange(packRange(range)), range)
  const none = { from: 0, before: undefined, blocks: [], treeHashes: [] }
  t.same(unpackRange(packRange(none)), none)
  t.end()
})

// ---- devices of test/vault on real logs ----

class LogDevice extends Device {
  readonly name: string
  readonly #open: typeof direct
  held!: Subject
  directory = newDirectory()

  constructor(letter: string, seed: number, open: typeof direct) {
    super(letter, seed, authorOf(letter))
    this.name = letter
    this.#open = open
    this.isManual = false
  }

  override async start(): Promise<void> {
    this.held = await this.#open(this.name, this.directory)
    Object.assign(this, { logs: this.held.port })
    await super.start()
  }

  override async stop(): Promise<void> {
    await super.stop()
    await this.held.close()
  }
}

function connectBoth(a: LogDevice, b: LogDevice) {
  return connect(a.held.store, b.held.store, ['A', 'B', 'C'].flatMap((letter) => (
    bothLogs(authorOf(letter))
  )))
}

async function converged(
  t: { equal(a: unknown, b: unknown): unknown }, devices: readonly LogDevice[],
): Promise<void> {
  const deadline = Date.now() + 60_000
  const applied = (): string => devices.map((device) => (
    devices.map(({ author }) => device.core.applier.length(author)).join()
  )).join(' ')
  const wanted = devices.map((device) => device.core.committer.nextSeq).join()
  while (applied() !== devices.map(() => wanted).join(' ')) {
    if (Date.now() > deadline) throw new Error(`applied ${applied()}, wanted ${wanted}`)
    await pauseMs(20)
  }
  const first = await devices[0]!.stateHash()
  for (const device of devices) t.equal(await device.stateHash(), first)
}

