// Log stores that replicate over TCP on loopback: only what is named, whole and live; forks above
// and below; heads that lie; what an author signs twice.
// timeoutSeconds: 600
import t from 'tap'
import Hypercore from 'hypercore'
import { logManifest } from '../../src/logs/log-keys.ts'
import { LOG_LENGTH_MAX } from '../../src/logs/log.ts'
import type { LogName } from '../../src/logs/types.ts'
import {
  authorOf, bothLogs, compare, connect, connection, cutConnections, grown, keyPairOf,
  newDirectory, openStore, pauseMs, someBlocks, vaultId,
} from './logs.helper.ts'

t.teardown(cutConnections)

const ALL = { maxBlocks: 1e6, maxBytes: 1e9 }
const ops = (letter: string): LogName => ({ author: authorOf(letter), kind: 'ops' })

t.test('logs come whole, both ways, and live; a third gets them from either', async (t) => {
  const a = await openStore('A')
  const b = await openStore('B')
  const c = await openStore('C')
  await a.store.append(someBlocks(300, 'a'))
  await a.store.appendContent(someBlocks(20, 'ac', 37))
  await b.store.append(someBlocks(40, 'b'))
  const link = await connect(a.store, b.store, bothLogs(b.author))
  await grown(b.store, ops('A'), 300)
  await grown(a.store, ops('B'), 40)
  await grown(b.store, { author: a.author, kind: 'content' }, 20)
  t.same(b.store.authors(), [a.author, b.author].toSorted())
  const [ours, theirs] = await Promise.all([a, b].map(({ store }) => (
    store.readRange(a.author, 'ops', 0, ALL)
  )))
  t.same(theirs, ours)
  const told: string[] = []
  b.store.onGrowth((author, kind, length) => told.push(`${kind} ${author === a.author} ${length}`))
  await a.store.append(someBlocks(1, 'live'))
  await grown(b.store, ops('A'), 301)
  await b.store.appendContent(someBlocks(1, 'bc', 37))
  await grown(a.store, { author: b.author, kind: 'content' }, 1)
  await link.close()
  t.match(told.join(), /ops true 301/)
  t.match(told.join(), /content false 1/)
  // the author is gone
  const other = await connect(b.store, c.store)
  await grown(c.store, ops('A'), 301)
  t.same(c.store.head(a.author, 'ops'), a.store.head(a.author, 'ops'))
  await other.close()
  for (const { store, troubles } of [a, b, c]) {
    await store.close()
    t.same(troubles, [])
  }
})

t.test('a stream carries the logs that were named on it, and no others', async (t) => {
  const a = await openStore('A')
  const b = await openStore('B')
  await a.store.append(someBlocks(5, 'a'))
  await a.store.appendContent(someBlocks(5, 'ac', 37))
  const link = await connection()
  a.store.attach(link.streams[0], [ops('A')])
  b.store.attach(link.streams[1], bothLogs(a.author)) // it asks for more than it is given
  await grown(b.store, ops('A'), 5)
  await pauseMs(200)
  t.equal(b.store.length(a.author, 'content'), 0)
  a.store.attach(link.streams[0], bothLogs(a.author)) // now it may
  await grown(b.store, { author: a.author, kind: 'content' }, 5)
  a.store.detach(link.streams[0])
  await a.store.append(someBlocks(1, 'late'))
  await pauseMs(200)
  t.equal(b.store.length(a.author, 'ops'), 5)
  await link.close()
  const again = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 6)
  await again.close()
  await a.store.close()
  await b.store.close()
})

t.test('the own log behind what a peer holds comes back before anything is appended', async (t) => {
  const a = await openStore('A')
  const b = await openStore('B')
  const blocks = someBlocks(100, 'a')
  await a.store.append(blocks)
  const link = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 100)
  await link.close()
  await a.store.close()
  const again = await openStore('A') // its disk is new
  await again.store.append(blocks.slice(0, 30)) // as far as a restored journal goes
  const back = await connect(again.store, b.store)
  await grown(again.store, ops('A'), 100)
  t.equal(await again.store.append(someBlocks(1, 'x'), 30), false)
  t.equal(await again.store.append(someBlocks(1, 'new')), true)
  await grown(b.store, ops('A'), 101)
  await back.close()
  t.same([...again.store.forks(), ...b.store.forks()], [])
  await again.store.close()
  await b.store.close()
})

t.test('forks, below and above: nothing is frozen, each keeps its branch', async (t) => {
  for (const [shared, mine, theirs] of [[50, 10, 20], [50, 20, 10], [0, 5, 5], [64, 1, 64]]) {
    const label = `${shared} shared, then ${mine} and ${theirs}`
    const common = someBlocks(shared!, 'common')
    const [one, two, b, c] = [
      await openStore('A'), await openStore('A'), await openStore('B'), await openStore('C'),
    ]
    await one.store.append([...common, ...someBlocks(mine!, 'one')])
    await two.store.append([...common, ...someBlocks(theirs!, 'two')])
    const links = [await connect(one.store, b.store), await connect(two.store, c.store)]
    await grown(b.store, ops('A'), shared! + mine!)
    await grown(c.store, ops('A'), shared! + theirs!)
    links.push(await connect(b.store, c.store, [ops('B'), ops('C')]))
    t.match(b.store.forks(), [{ author: one.author, kind: 'ops' }], label)
    t.match(c.store.forks(), [{ author: one.author, kind: 'ops' }], label)
    await b.store.append(someBlocks(3, 'b'))
    await grown(c.store, ops('B'), 3) // other logs go on
    // it takes nothing new, but still serves what it has
    await one.store.append(someBlocks(1, 'more'))
    await pauseMs(100)
    t.equal(b.store.length(one.author, 'ops'), shared! + mine!)
    const d = await openStore('D')
    links.push(await connect(b.store, d.store))
    await grown(d.store, ops('A'), shared! + mine!)
    for (const link of links) await link.close()
    // the other branch is chosen
    await b.store.reset(one.author, 'ops')
    t.equal(b.store.length(one.author, 'ops'), 0)
    c.store.keep(one.author, 'ops')
    const link = await connect(b.store, c.store)
    await grown(b.store, ops('A'), shared! + theirs!)
    t.same(b.store.head(one.author, 'ops'), two.store.head(one.author, 'ops'), label)
    t.same([...b.store.forks(), ...c.store.forks()], [])
    await link.close()
    for (const { store, troubles } of [one, two, b, c, d]) {
      await store.close()
      t.same(troubles, [])
    }
  }
})

t.test('an author who signs two ways behind the comparison: nothing is frozen', async (t) => {
  const [one, two, b, c] = [
    await openStore('A'), await openStore('A'), await openStore('B'), await openStore('C'),
  ]
  const common = someBlocks(20, 'common')
  await one.store.append(common)
  await two.store.append(common)
  const links = [
    await connect(one.store, b.store), await connect(two.store, c.store),
  ]
  await grown(b.store, ops('A'), 20)
  await grown(c.store, ops('A'), 20)
  links.push(await connect(b.store, c.store, [ops('B')])) // they agree so far
  await Promise.all([
    one.store.append(someBlocks(3, 'one')), two.store.append(someBlocks(7, 'two')),
  ])
  await pauseMs(300)
  await b.store.append(someBlocks(3, 'b'))
  await grown(c.store, ops('B'), 3)
  // what Hypercore would freeze both logs for, had it compared
  const [ofB, ofC] = [b, c].map((one) => one.store.testLog(ops('A'))!.session)
  type Prover = { proof(of: object): Promise<Hypercore.Proof> }
  const proof = await (ofC as unknown as Prover).proof({ upgrade: { start: 0, length: 23 } })
  const same = await (ofB as unknown as Prover).proof({ upgrade: { start: 0, length: 23 } })
  const forged = { ...proof, upgrade: { ...proof.upgrade!, signature: Buffer.alloc(68) } }
  t.equal(await ofB!.core.checkConflict(same, {}), false)
  t.equal(await ofB!.core.checkConflict(forged, {}), true)
  t.same(b.store.forks(), [])
  t.equal(await ofB!.core.checkConflict(proof, {}), true)
  t.match(b.store.forks(), [{ theirs: { length: 23 } }])
  for (const link of links) await link.close()
  const held = b.store.length(one.author, 'ops')
  t.ok(held >= 20)
  await b.store.close()
  const again = await openStore('B', b.directory)
  t.equal(again.store.length(one.author, 'ops'), held)
  await compare(again.store, c.store)
  t.match(again.store.forks(), [{ author: one.author, kind: 'ops' }], 'the next comparison tells')
  const d = await openStore('D')
  const link = await connect(again.store, d.store)
  await grown(d.store, ops('A'), held) // the log still replicates: it is not frozen
  await link.close()
  for (const { store } of [one, two, c, d, again]) await store.close()
})

t.test('a log of another fork number, too long, or over the budget is not taken', async (t) => {
  const author = authorOf('A')
  const manifest = logManifest(vaultId, author, 'ops')
  const keyPair = keyPairOf('A')
  const hostile = async (make: (core: Hypercore) => Promise<void>): Promise<Hypercore> => {
    const core = new Hypercore(newDirectory(), null, { manifest })
    await core.append(someBlocks(10, 'a'), { keyPair, maxLength: 1e9 })
    await make(core)
    return core
  }
  const cores = [
    await hostile((core) => core.core.state.truncate(4, 1, { keyPair })),
    await hostile(async (core) => {
      // a tree of 2^30 blocks that nobody has, signed as it should be
      const batch = core.core.state.createTreeBatch()
      const length = LOG_LENGTH_MAX * 16
      const root = { index: length - 1, size: length, hash: Buffer.alloc(32, 1) }
      Object.assign(batch, { roots: [root], length, byteLength: length })
      const { verifier, state } = core.core
      const signer = verifier as unknown as { sign(batch: unknown, pair: unknown): Buffer }
      const writer = state.storage.write()
      writer.putTreeNode(root)
      await writer.flush()
      Object.assign(state, {
        roots: [root], length, byteLength: length, signature: signer.sign(batch, keyPair),
      })
    }),
    await hostile(async (core) => {
      await core.append(someBlocks(200, 'a'), { keyPair, maxLength: 1e9 })
    }),
  ]
  for (const [i, core] of cores.entries()) {
    const b = await openStore('B', newDirectory(), { budget: (_, length) => length <= 100 })
    const link = await connection()
    core.core.replicator.attachTo(muxOf(link.streams[0]))
    b.store.attach(link.streams[1], [ops('A')])
    await pauseMs(500)
    t.equal(b.store.length(author, 'ops'), 0, `${i}`)
    t.equal(b.store.signedLength(author, 'ops'), 0, `${i}`)
    await link.close()
    await b.store.close()
    await core.close()
    t.same(b.troubles, [])
  }
})

function muxOf(stream: Parameters<typeof Hypercore.createProtocolStream>[0]): Hypercore.Muxer {
  Hypercore.createProtocolStream(stream)
  return stream.userData as Hypercore.Muxer
}

t.test('no more authors than agreed', async (t) => {
  const a = await openStore('A', newDirectory(), { maxAuthors: 2 })
  const link = await connection()
  a.store.attach(link.streams[0], [ops('B'), ops('C')])
  await pauseMs(100)
  t.match(a.troubles, [{ code: 'too-large' }])
  await link.close()
  await a.store.close()
})

t.test('10,000 small blocks, and a link that is cut in the middle', async (t) => {
  const a = await openStore('A')
  const b = await openStore('B')
  for (let i = 0; i < 10; i++) await a.store.append(someBlocks(1000, `a${i}`))
  const first = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 1000)
  await first.close()
  t.same((await compare(a.store, b.store)).length, 1)
  const second = await connect(a.store, b.store)
  await grown(b.store, ops('A'), 10_000, 400_000)
  t.same(
    await b.store.treeHash(a.author, 'ops', 10_000),
    await a.store.treeHash(a.author, 'ops', 10_000),
  )
  await second.close()
  await a.store.close()
  await b.store.close()
})
