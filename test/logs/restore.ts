// What comes back after Hypercore's storage was lost, rolled back or damaged: own logs from the
// journal's blocks, others' from blocks and signed heads, single blocks from either or from peers.
// timeoutSeconds: 600
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ContentPublisher } from '../../src/logs/content-publisher.ts'
import { encodeDescriptor } from '../../src/logs/descriptor.ts'
import { logPort } from '../../src/logs/log-port.ts'
import type { LogStore } from '../../src/logs/log-store.ts'
import type { LogName } from '../../src/logs/types.ts'
import type { SignedHead } from '../../src/vault/ports.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import {
  ArraySource, authorOf, connect, cutConnections, grown, newDirectory, openStore, pauseMs,
  someBlocks,
} from './logs.helper.ts'
import type { TestStore } from './logs.helper.ts'

t.teardown(cutConnections)

const ops = (letter: string): LogName => ({ author: authorOf(letter), kind: 'ops' })
const head = (store: LogStore, letter: string): SignedHead | undefined => (
  store.head(authorOf(letter), 'ops')
)

/** Appends whatever the blocks have beyond the log, in pieces. */
async function publish({ store, author }: TestStore, blocks: Uint8Array[], piece = 64) {
  for (;;) {
    const from = store.length(author, 'ops')
    if (from >= blocks.length) return
    if (!await store.append(blocks.slice(from, from + piece), from)) return
  }
}

t.test('the own log: deleted or rolled back, with peers ahead, the same signature', async (t) => {
  const seed = testSeed()
  t.comment(`SEED=${seed}`)
  const random = new SeededRandom(seed)
  let a = await openStore('A')
  const b = await openStore('B')
  const blocks: Uint8Array[] = []
  for (let round = 0; round < 5; round++) {
    const backup = newDirectory()
    blocks.push(...someBlocks(random.int(1, 90), `round ${round}`))
    await publish(a, blocks, random.int(1, 70))
    await a.store.close()
    cpSync(join(a.directory, 'logs', 'db'), join(backup, 'db'), { recursive: true })
    a = await openStore('A', a.directory)
    blocks.push(...someBlocks(random.int(1, 90), `then ${round}`))
    await publish(a, blocks, random.int(1, 70))
    let link = await connect(a.store, b.store)
    await grown(b.store, ops('A'), blocks.length)
    await link.close()
    const before = head(a.store, 'A')
    await a.store.close()
    rmSync(join(a.directory, 'logs', 'db'), { recursive: true })
    if (round % 3 === 0) rmSync(join(a.directory, 'logs'), { recursive: true })
    else cpSync(join(backup, 'db'), join(a.directory, 'logs', 'db'), { recursive: true })
    a = await openStore('A', a.directory)
    if (a.store.length(a.author, 'ops') >= blocks.length) t.fail('it was not rolled back')
    await publish(a, blocks, random.int(1, 200))
    t.same(head(a.store, 'A'), before)
    t.same(head(b.store, 'A'), before)
    link = await connect(a.store, b.store)
    await publish(a, [...blocks, ...blocks.splice(0, 0)])
    await link.close()
  }
  t.same([...a.store.forks(), ...b.store.forks()], [])
  const c = await openStore('C')
  const link = await connect(a.store, c.store)
  await grown(c.store, ops('A'), blocks.length)
  await link.close()
  for (const { store, troubles } of [a, b, c]) {
    await store.close()
    t.same(troubles, [])
  }
})

t.test('the own content log comes from its descriptors', async (t) => {
  const made: Uint8Array[] = []
  const make = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const bundleId = Buffer.alloc(32, `bundle ${made.length}`)
      made.push(encodeDescriptor({ bundleId, sealedBytes: 1000 + made.length }))
    }
  }
  let forkedAt = -1
  const publisherOf = ({ store }: TestStore): ContentPublisher => new ContentPublisher({
    log: logPort(store),
    descriptors: function* (from) {
      yield* made.slice(from)
    },
    onFork: (length) => { forkedAt = length },
  })
  let a = await openStore('A')
  for (const count of [0, 1, 1, 3000]) {
    make(count)
    const publisher = publisherOf(a)
    await Promise.all([publisher.publish(), publisher.publish()])
    t.equal(a.store.length(a.author, 'content'), made.length)
    await publisher.close()
  }
  const before = a.store.head(a.author, 'content')
  await a.store.close()
  a = await openStore('A')
  await publisherOf(a).publish()
  t.same(a.store.head(a.author, 'content'), before)
  make(1)
  made[3000] = made[0]!
  made[made.length - 2] = made[0]!
  await publisherOf(a).publish()
  t.equal(forkedAt, 3002, 'a log of another device with the same key is left alone')
  t.equal(a.store.length(a.author, 'content'), 3002)
  await a.store.close()
})

t.test('another author\'s log, the author gone: head and blocks make it again', async (t) => {
  for (const count of [1, 2, 63, 64, 1000, 33_000]) {
    const blocks = someBlocks(count, 'a', count > 10_000 ? 60 : 300)
    const a = await openStore('A')
    await publish(a, blocks, 5000)
    const signed = head(a.store, 'A')!
    await a.store.close()
    const source = new ArraySource().set(ops('A'), blocks)
    const b = await openStore('B', newDirectory(), { source })
    t.equal(await b.store.restore(a.author, 'ops', signed), 'restored', `${count} blocks`)
    t.equal(await b.store.restore(a.author, 'ops', signed), 'here')
    t.equal(b.store.length(a.author, 'ops'), count)
    const c = await openStore('C')
    if (count <= 1000) {
      const link = await connect(b.store, c.store)
      await grown(c.store, ops('A'), count)
      await link.close()
    } else {
      await c.store.restore(a.author, 'ops', signed, {
        blocks: async ({ author, kind }, from, maxBytes) => (
          (await b.store.readRange(author, kind, from, { maxBlocks: 1e6, maxBytes })).blocks
        ),
      })
    }
    t.same(head(c.store, 'A'), signed, 'a third has it with the author\'s signature')
    await b.store.close()
    const again = await openStore('B', b.directory)
    t.equal(again.store.length(a.author, 'ops'), count)
    t.same(await again.store.read(a.author, 'ops', count - 1), blocks[count - 1])
    t.same(head(again.store, 'A'), signed)
    await again.store.close()
    await c.store.close()
    t.same([...b.troubles, ...c.troubles, ...again.troubles], [])
  }
})

t.test('a part of a log is there: the rest is added, and goes on live', async (t) => {
  const blocks = someBlocks(200, 'a')
  const a = await openStore('A')
  const source = new ArraySource().set(ops('A'), blocks)
  const b = await openStore('B', newDirectory(), { source })
  await publish(a, blocks.slice(0, 77))
  let link = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 77)
  await link.close()
  await publish(a, blocks)
  const signed = head(a.store, 'A')!
  link = await connect(a.store, b.store)
  t.ok(['restored', 'here', 'incomplete'].includes(
    await b.store.restore(a.author, 'ops', signed),
  ), 'whatever peers bring at the same time')
  await grown(b.store, ops('A'), 200)
  await a.store.append(someBlocks(5, 'more'))
  await grown(b.store, ops('A'), 205)
  await link.close()
  t.same(head(b.store, 'A'), head(a.store, 'A'))
  await a.store.close()
  await b.store.close()
})

t.test('restored while a peer brings it: what comes later arrives, too', async (t) => {
  const random = new SeededRandom(testSeed())
  const blocks = someBlocks(14, 'a')
  const a = await openStore('A')
  await publish(a, blocks.slice(0, 12))
  const signed = head(a.store, 'A')!
  await publish(a, blocks)
  for (let round = 0; round < 40; round++) {
    const source = {
      blocks: async (_: LogName, from: number) => {
        await pauseMs(random.int(0, 3))
        return blocks.slice(from)
      },
    }
    const b = await openStore('B', newDirectory(), { source })
    const link = await connect(a.store, b.store)
    await pauseMs(random.int(0, 5))
    await b.store.restore(a.author, 'ops', signed)
    await grown(b.store, ops('A'), a.store.length(a.author, 'ops'), 20_000)
    await a.store.append(someBlocks(1, `later ${round}`))
    await grown(b.store, ops('A'), a.store.length(a.author, 'ops'), 20_000)
    await link.close()
    t.same(head(b.store, 'A'), head(a.store, 'A'))
    await b.store.close()
  }
  await a.store.close()
})

t.test('heads and blocks that do not fit change nothing', async (t) => {
  const blocks = someBlocks(100, 'a')
  const a = await openStore('A')
  await publish(a, blocks)
  const signed = head(a.store, 'A')!
  const source = new ArraySource()
  const b = await openStore('B', newDirectory(), {
    source, budget: (_, __, sizeBytes) => sizeBytes < 40_000,
  })
  const restore = (
    held: Uint8Array[], change: Partial<SignedHead> = {}, author = a.author,
  ): Promise<string> => {
    source.set({ author, kind: 'ops' }, held)
    return b.store.restore(author, 'ops', { ...signed, ...change })
  }
  const other = [...blocks]
  other[50] = Buffer.from('another')
  t.equal(await restore([]), 'incomplete')
  t.equal(await restore(blocks.slice(0, 99)), 'incomplete')
  t.equal(await restore(other), 'different')
  t.equal(await restore(blocks, { length: 99 }), 'unsigned')
  t.equal(await restore(blocks, { treeHash: Buffer.alloc(32, 1) }), 'unsigned')
  t.equal(await restore(blocks, { length: 2 ** 40 }), 'too-large')
  t.equal(await restore(blocks, { signature: Buffer.alloc(64, 1) }), 'unsigned')
  t.equal(await restore(blocks, {}, authorOf('C')), 'unsigned', 'somebody else\'s')
  t.equal(await restore([...blocks.slice(0, 99), Buffer.alloc(50_000)]), 'too-large')
  t.equal(b.store.length(a.author, 'ops'), 0)
  t.equal(b.store.signedLength(a.author, 'ops'), 0)
  // and then the right one comes from a peer as if nothing had been tried
  const link = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 100)
  await link.close()
  await a.store.close()
  await b.store.close()
})

/** Takes blocks of A's log out of the storage, or puts others in their place. */
async function damage({ store }: TestStore, seqs: number[], instead?: Uint8Array) {
  const log = (store as unknown as { testLog(name: LogName): never }).testLog(ops('A')) as {
    session: import('hypercore').default
  }
  const writer = log.session.core.state.storage.write()
  for (const seq of seqs) {
    if (instead === undefined) writer.deleteBlock(seq)
    else writer.putBlock(seq, instead)
  }
  await writer.flush()
}

t.test('lost and damaged blocks read as absent, and come back', async (t) => {
  const blocks = someBlocks(50, 'a')
  const a = await openStore('A')
  await publish(a, blocks)
  const range = { maxBlocks: 100, maxBytes: 1e9 }
  for (const instead of [undefined, Buffer.from('bits that have rotted')]) {
    // from the journal
    const source = new ArraySource()
    const b = await openStore('B', newDirectory(), { source })
    let link = await connect(a.store, b.store)
    await grown(b.store, ops('A'), 50)
    await link.close()
    await damage(b, [10, 11, 40], instead)
    t.equal((await b.store.readRange(a.author, 'ops', 0, range)).blocks.length, 10)
    t.equal(await b.store.read(a.author, 'ops', 40), undefined)
    source.set(ops('A'), blocks)
    await b.store.read(a.author, 'ops', 40)
    await pauseMs(100)
    let told = 0
    b.store.onGrowth(() => { told++ })
    for (const seq of [10, 11]) {
      t.equal(await b.store.read(a.author, 'ops', seq), undefined)
      while (await b.store.read(a.author, 'ops', seq) === undefined) await pauseMs(5)
    }
    source.set(ops('A'), [])
    // from a peer, while nobody here has it; who reads is told when it is there
    await damage(b, [20], instead)
    t.equal(await b.store.read(a.author, 'ops', 20), undefined)
    await pauseMs(50)
    told = 0
    link = await connect(a.store, b.store)
    while (told === 0) await pauseMs(5)
    t.same(await b.store.read(a.author, 'ops', 20), blocks[20])
    await link.close()
    t.same(b.troubles, [])
    await b.store.close()
  }
  await a.store.close()
})
