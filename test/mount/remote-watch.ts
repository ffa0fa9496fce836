// timeoutSeconds: 240
// Watchers of a real mount hear of what another device did, as of what a local program does; and a
// poke, which makes them hear, changes nothing.

import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { Pair, User } from './remote.helper.ts'
import { noMount } from './harness.helper.ts'

const skip = noMount() ?? false

/** Names and attributes, as a program sees them. */
async function picture(user: User, directory: string): Promise<unknown[]> {
  const rows: unknown[] = []
  for (const name of await user.list(directory)) {
    rows.push([name, await user.stat(`${directory}/${name}`)])
  }
  return rows
}

void t.test('what inotify says of others\' changes', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  t.equal((await pair.mounted.status()).unwatched, undefined, 'the self-test passed')
  far.mkdir('d')
  far.mkdir('e')
  await pair.takeLoudly()
  const watch = await pair.inside(t, 'watch', pair.path('d'), pair.path('e'))
  const arrives = async (): Promise<string[]> => {
    await pair.takeLoudly()
    await delay(100)
    return watch.take()
  }
  far.write('d/f', 'text')
  far.mkdir('d/sub')
  const created = await arrives()
  for (const line of ['CREATE d/f', 'CLOSE_WRITE d/f', 'CREATE,ISDIR d/sub']) {
    t.ok(created.includes(line), `${line}: ${created.join('; ')}`)
  }
  t.equal(await user.read(pair.path('d/f')), 'text')
  far.write('d/f', 'other text')
  t.same(await arrives(), ['MODIFY d/f', 'CLOSE_WRITE d/f'])
  t.equal(await user.read(pair.path('d/f')), 'other text')
  far.chmod('d/f', 0o600)
  t.same(await arrives(), ['ATTRIB d/f'])
  far.rename('d/f', 'd/g')
  t.same(await arrives(), ['MOVED_FROM d/f', 'MOVED_TO d/g'])
  far.rename('d/g', 'e/g')
  t.same(await arrives(), ['MOVED_FROM d/g', 'MOVED_TO e/g'])
  t.equal(await user.read(pair.path('e/g')), 'other text')
  far.write('d/short', 'lived')
  far.remove('d/short')
  t.same(await arrives(), [], 'what came and went at once')
  far.rename('d/sub', 'e/sub')
  t.same(await arrives(), ['MOVED_FROM,ISDIR d/sub', 'MOVED_TO,ISDIR e/sub'])
  far.remove('e/g')
  far.remove('e/sub')
  t.same(await arrives(), ['DELETE e/g', 'DELETE,ISDIR e/sub'])
  far.write('d/unseen', 'never looked up here')
  await arrives() // what is said of it, and what the watcher reads of that a moment later
  far.remove('d/unseen')
  t.same(await arrives(), ['DELETE d/unseen'])
  t.same(await picture(user, pair.path('d')), [])
  t.same(await picture(user, pair.path('e')), [])
})

void t.test('a watched file is edited, replaced, removed', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const user = await User.start(t)
  pair.far.write('f', 'text')
  await pair.takeLoudly()
  await user.read(pair.path('f'))
  const watch = await pair.inside(t, 'watch', pair.path('f'))
  pair.far.chmod('f', 0o600)
  await pair.takeLoudly()
  await watch.sees('ATTRIB f/')
  pair.far.remove('f')
  await pair.takeLoudly()
  await watch.sees('DELETE_SELF f/')
})

void t.test('pokes change nothing', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  for (let i = 0; i < 20; i++) far.write(`f${i}`, `text ${i}`)
  far.mkdir('d')
  await pair.takeLoudly()
  await pair.inside(t, 'watch', pair.mount, pair.path('d'))
  for (let i = 0; i < 20; i++) {
    far.write(`f${i}`, `other text ${i}`)
    far.chmod(`f${i}`, 0o640)
    if (i % 3 === 0) far.rename(`f${i}`, `d/f${i}`)
    if (i % 3 === 1) far.remove(`f${i}`)
    far.write(`new${i}`, 'new')
  }
  await pair.take()
  await pair.mounted.poked()
  const before = pair.near.engine.core.committer.nextSeq
  const seen = [await picture(user, pair.mount), await picture(user, pair.path('d'))]
  await pair.near.engine.sync()
  t.equal(pair.near.engine.core.committer.nextSeq, before, 'nothing was committed here')
  t.same(pair.near.names('d'), far.names('d'))
  t.same(pair.near.names(), far.names())
  for (const name of far.names('d')) t.equal(pair.near.read(`d/${name}`), far.read(`d/${name}`))
  for (const [name, stat] of seen[1] as [string, { mtimeMs: number; mode: number }][]) {
    const { attr } = pair.near.at(`d/${name}`).node!
    t.equal(stat.mode, attr.mode)
    t.equal(stat.mtimeMs, attr.mtimeSec * 1000 + attr.mtimeNsec / 1e6)
  }
})

void t.test('a storm of changes is bounded, and ends', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  const user = await User.start(t)
  far.mkdir('d')
  await pair.takeLoudly()
  const watch = await pair.inside(t, 'watch', pair.path('d'))
  const count = 6000
  for (let i = 0; i < count; i++) far.write(`d/f${i}`, 'x')
  await pair.take()
  t.equal((await user.list(pair.path('d'))).length, count)
  far.write('d/last', 'x')
  await pair.takeLoudly()
  await watch.sees('CLOSE_WRITE d/last')
  t.ok(watch.lines.length > 1000)
})

void t.test('unmounted, and killed, while pokes wait', { skip }, async (t) => {
  const pair = await Pair.open(t)
  const { far } = pair
  far.mkdir('d')
  await pair.takeLoudly()
  const user = await User.start(t)
  await user.list(pair.path('d'))
  for (let i = 0; i < 3000; i++) far.write(`d/f${i}`, 'x')
  await pair.take()
  await pair.mounted.unmount(false)
  await user.end()
  t.pass('it ended')
})
