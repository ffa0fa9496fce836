// Histories: every op on a node, newest first as applied here, from journal, queue and batch in
// flight, across checkpoints, crashes and rebuilds; and the fold made anew from them agrees.
import t from 'tap'
import type { OpRef } from '../../src/ops/types.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import { rebuildNode } from '../../src/state/node-history.ts'
import { Device, heal } from './cores.helper.ts'

const recordAt = (device: Device, path: string): NodeRecord => (
  device.core.store.node(device.at(path))!
)
const told = (device: Device, path: string): string[] => (
  [...device.core.history.of(recordAt(device, path))].map(({ op, ref }) => (
    `${op.kind} ${ref.seq < 0 ? '?' : ref.author[0]}${op.kind === 'put' ? op.sizeBytes : ''}`
  ))
)

t.test('a history is complete: queued, journalled, after a restart', async (t) => {
  const a = await Device.start('A', 1)
  a.mkdir('/d')
  a.save('/d/f', 'x')
  t.same(told(a, '/d/f'), ['put ?1', 'mk ?'])
  await a.core.sync()
  a.save('/d/f', 'xx')
  a.rename('/d/f', '/g')
  const expected = ['mv ?', 'put ?2', 'put A1', 'mk A']
  t.same(told(a, '/g'), expected)
  a.tree.setXattr(a.at('/g') as never, 'user.x', Buffer.from('1'))
  await a.checkpoint()
  const whole = ['attr A', ...expected.map((one) => one.replace('?', 'A'))]
  t.same(told(a, '/g'), whole)
  await a.crash()
  t.same(told(a, '/g'), whole)
  t.same(told(await a.rebuilt(), '/g'), whole)
  a.save('/other', 'xxx')
  a.rename('/other', '/g')
  await a.core.sync()
  t.ok(told(a, '/g').slice(0, 3).includes('put A3'))
  t.equal(told(a, '/g').at(-1), 'mk A', 'a rename over a file: history stays with the name')
})

t.test('of several authors, in the order in which it was applied here', async (t) => {
  const [a, b] = [await Device.start('A', 3), await Device.start('B', 4)]
  a.save('/f', '1')
  await heal([a, b])
  a.save('/f', '22')
  b.save('/f', '333')
  await heal([a, b])
  t.same(told(a, '/f').slice(-2), ['put A1', 'mk A'])
  t.same(told(a, '/f').slice(0, 2), ['put B3', 'put A2'])
  t.same(told(b, '/f').slice(0, 2), ['put A2', 'put B3'])
  for (const device of [a, b]) {
    const record = recordAt(device, '/f')
    const part = rebuildNode(record.kind, [...device.core.history.of(record)], () => 'valid')
    t.same(part.heads.map(({ sizeBytes }) => sizeBytes), record.heads.map((head) => head.sizeBytes))
    const names = (refs: readonly OpRef[]) => (
      refs.map(({ author, seq, index }) => [author, seq, index])
    )
    t.same(names(part.links[0]!.heads), names(record.links[0]!.heads))
    t.equal(part.mode, record.mode)
  }
})

t.test('of a file that was saved thousands of times', async (t) => {
  const a = await Device.start('A', 5)
  for (let i = 0; i < 2000; i++) {
    a.save('/f', String(i))
    if (i % 10 === 0) a.core.committer.placeAll()
  }
  await a.checkpoint()
  t.equal(told(a, '/f').length, 2001)
})
