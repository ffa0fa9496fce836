// The publisher: what is durable in the journal, and nothing else, comes into the own log, once, in
// order, the same after every loss of the log; a copy of this device is noticed.
import t from 'tap'
import { Device, heal } from './cores.helper.ts'

const blocksOf = (device: Device): string[] => (
  (device.logs.logs.get(device.author)?.blocks ?? [])
    .map((block) => Buffer.from(block).toString('hex'))
)

async function commits(device: Device, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    device.save(`/f${device.core.committer.nextSeq}`, 'x')
    await device.core.sync()
  }
}

t.test('only what is durable is published, and all of it', async (t) => {
  const a = await Device.start('A', 1)
  a.save('/f', 'not durable')
  a.core.committer.placeAll()
  await a.core.pump()
  t.equal(a.logs.length(a.author), 0)
  await commits(a, 200)
  await a.core.pump()
  t.equal(a.logs.length(a.author), 201)
  t.ok(a.logs.appends < 20, 'several blocks at once')
})

t.test('the log made anew from the journal is the same, whatever was lost of it', async (t) => {
  const a = await Device.start('A', 2)
  await commits(a, 20)
  await a.core.pump()
  const whole = blocksOf(a)
  for (const kept of [0, 7, 19, 20]) {
    const log = a.logs.logs.get(a.author)!
    log.blocks.length = log.hashes.length = kept
    await a.crash()
    t.same(blocksOf(a), whole, `${kept} blocks were left`)
  }
})

t.test('by itself: whatever becomes durable is published, what comes is applied', async (t) => {
  const [a, b] = [new Device('A', 3), new Device('B', 4)]
  a.isManual = b.isManual = false
  await a.start()
  await b.start()
  await commits(a, 3)
  await a.core.publisher!.publish()
  t.equal(a.logs.length(a.author), 3)
  b.logs.pull(a.logs)
  while (b.core.applier.length(a.author) < 3) await new Promise((resolve) => setImmediate(resolve))
  t.equal(b.list().length, 3)
  for (const device of [a, b]) await device.stop()
  t.same([...a.troubles, ...b.troubles], [])
})

t.test('a journal older than the log gets its batches back from the log', async (t) => {
  const [a, b] = [await Device.start('A', 5), await Device.start('B', 6)]
  b.save('/of b', '1')
  await heal([a, b])
  await commits(a, 3)
  await heal([a, b])
  const published = blocksOf(a)
  const list = a.list()
  // the same keys on an empty disk, and what others have of its log
  const again = new Device('A', 55)
  again.logs.pull(b.logs)
  await again.start()
  t.equal(again.core.committer.nextSeq, published.length)
  await again.core.pump()
  t.same(again.list(), list)
  again.save('/after', 'goes on')
  await again.sync()
  b.logs.pull(again.logs)
  await b.core.pump()
  t.equal(b.core.applier.length(a.author), published.length + 1)
  t.same(b.list(), again.list())
  t.same((await again.rebuilt()).list(true), again.list(true))
})

t.test('two copies of one device: the second to publish notices, and writes no more', async (t) => {
  const a = await Device.start('A', 7)
  const copy = await Device.start('A', 8)
  const b = await Device.start('B', 9)
  a.save('/f', 'a')
  copy.save('/f', 'copy')
  await a.sync()
  await copy.core.sync()
  copy.logs.pull(a.logs)
  copy.save('/g', 'copy')
  await copy.core.sync()
  await copy.core.pump()
  t.ok(copy.core.replica!.isOwnForked)
  t.equal(copy.core.mayWrite, false)
  t.match(copy.core.waiting(), [{ author: a.author, for: 'fork' }])
  t.equal(copy.logs.length(a.author), 1, 'nothing was appended to it')
  b.save('/of b', '1')
  await b.sync()
  copy.logs.pull(b.logs)
  await copy.core.pump()
  t.ok(copy.list().some((line) => line.startsWith('/of b')), 'others are still heard')
})

t.test('a restored backup that went on: told so by a peer, it writes no more', async (t) => {
  const a = await Device.start('A', 10)
  await commits(a, 2)
  await a.core.pump()
  t.equal(a.core.mayWrite, true)
  a.logs.forkOwn() // its own log and journal agree: only others know better
  t.ok(a.core.replica!.isOwnForked)
  t.equal(a.core.mayWrite, false)
  t.match(a.core.waiting(), [{ author: a.author, for: 'fork' }])
  await a.crash()
  t.equal(a.core.mayWrite, false, 'also at the next start')
  await a.stop()
})
