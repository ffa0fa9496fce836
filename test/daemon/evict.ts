// timeoutSeconds: 180
// Giving local copies up: only against proofs, never what is needed here, never by all who hold it;
// what is gone is fetched again; a limit is kept by itself. Real engines and sync workers.

import t from 'tap'
import { mkdtempSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Census } from '../../src/daemon/census.ts'
import { Copies } from '../../src/daemon/copies.ts'
import { openLog } from '../../src/daemon/log.ts'
import { PinList } from '../../src/daemon/pin-list.ts'
import { Placing } from '../../src/daemon/placing.ts'
import type { EvictionState } from '../../src/daemon/eviction.ts'
import type { Name } from '../../src/ops/types.ts'
import { must } from '../../src/util/assert.ts'
import { firstDevice, pathIn, until } from './sync-devices.helper.ts'
import type { Device } from './sync-devices.helper.ts'

const log = openLog('error')

function homeOf(t: Teardown): string {
  const home = mkdtempSync(join(tmpdir(), 'evict-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  return home
}

type Teardown = { teardown(task: () => unknown): void }

/** Two devices of a vault, connected. */
async function pairOf(t: Teardown): Promise<{ one: Device; two: Device }> {
  const home = homeOf(t)
  const one = await firstDevice(pathIn(home, 'one'))
  const two = await one.admit('second', pathIn(home, 'two'))
  await two.open()
  t.teardown(async () => {
    await two.close()
    await one.close()
  })
  return { one, two }
}

async function placingOf(device: Device, limitBytes?: number): Promise<Placing> {
  const list = await PinList.open(device.directory, device.keys)
  return new Placing({ engine: device.engine, peers: device.sync, list, limitBytes, log })
}

async function evict(
  device: Device, placing: Placing, name?: string, copies = 1,
): Promise<EvictionState> {
  const { tree } = device.engine
  const top = name === undefined ? tree.root : must(tree.lookup(tree.root, name as Name), name).ino
  const { state, ended } = placing.evict(top, copies)
  await ended
  return state()
}

function stateOf({ engine: { tree, content } }: Device, name: string): string {
  const node = must(tree.lookupNode(tree.root, name as Name), name)
  return content.presence(node.content, node.attr.sizeBytes).state
}

async function pinned(device: Device, placing: Placing): Promise<void> {
  await placing.pins.pin(device.engine.tree.root, '')
  await until('all is here', () => placing.pins.states()[0]?.state === 'whole')
}

t.test('only what others prove to hold goes, and comes again', { timeout: 170_000 }, async (t) => {
  const home = homeOf(t)
  const one = await firstDevice(pathIn(home, 'one'))
  const film = randomBytes(6_000_000)
  const photo = randomBytes(3_000_000)
  await one.save('film', film)
  await one.save('photo', photo)
  let onePlacing = await placingOf(one)
  const alone = await evict(one, onePlacing)
  t.equal(alone.bundles, 0, 'nobody else has it')
  t.ok(alone.freedBytes === 0 && alone.stays.size > 0)
  const two = await one.admit('second', pathIn(home, 'two'))
  await two.open()
  await until('names are there', () => two.names().length === 2)
  const still = await evict(one, onePlacing)
  t.equal(still.bundles, 0, 'it has the names only')
  t.ok(must(still.stays.get('not-proven'), 'not proven') > 8_000_000)
  const twoPlacing = await placingOf(two)
  await pinned(two, twoPlacing)

  t.same((await evict(one, onePlacing, 'film', 2)).bundles, 0, 'there is one other only')
  const before = one.engine.packs.storedBytes()
  const gone = await evict(one, onePlacing, 'film')
  t.ok(gone.freedBytes > 5_000_000, `freed ${gone.freedBytes}`)
  t.equal(one.engine.packs.storedBytes(), before - gone.freedBytes)
  t.notOk(one.engine.packs.hasUnsettled)
  t.not(stateOf(one, 'film'), 'local')
  t.equal(stateOf(one, 'photo'), 'local', 'what is not below it stays')
  const whereabouts = onePlacing.where(one.engine.tree.root)
  await whereabouts.ended
  const state = whereabouts.state()
  t.match(state, { files: 2, contentBytes: 9_000_000, unknown: 0, loose: 0, asked: state.bundles })
  t.equal(state.here, state.bundles - gone.bundles)
  t.same([...state.devices], [[two.author, state.bundles]])
  t.same([state.copies[0], state.copies[1], state.copies[2]], [undefined, gone.bundles, state.here])
  const census = new Census(one.engine)
  t.match(await census.counts(5000), { isWhole: true, files: 2, here: 1, bytes: 9_000_000 })
  const copies = new Copies(one.engine, one.sync, 1)
  await until('it counts as held', async () => copies.isDone(await copies.look()))

  await t.rejects(evict(two, twoPlacing), { code: 'denied' }, 'what is pinned stays')
  await twoPlacing.pins.unpin(twoPlacing.pins.states()[0]!.node)
  const theirs = await evict(two, twoPlacing, 'film')
  t.equal(theirs.bundles, 0, 'the last copy is kept')

  await onePlacing.close()
  await one.close()
  await one.open()
  t.same(one.engine.packs.damage, [])
  t.not(stateOf(one, 'film'), 'local', 'it is still known to be elsewhere')
  await until('they are connected', async () => await one.sync.count() === 1)
  t.ok(film.equals(must(await one.load('film'), 'film')), 'it is fetched again')
  t.equal(stateOf(one, 'film'), 'local')

  onePlacing = await placingOf(one)
  await evict(one, onePlacing, 'film')
  await onePlacing.close()
  await one.close()
  rmSync(one.engine.state.index, { recursive: true })
  await one.open()
  t.equal(one.engine.report.rebuilt, 'missing')
  t.same(one.engine.packs.damage, [])
  t.not(stateOf(one, 'film'), 'local')
  t.equal(stateOf(one, 'photo'), 'local')
  await until('they are connected', async () => await one.sync.count() === 1)
  t.ok(film.equals(must(await one.load('film'), 'film')), 'also when the index was lost')
  await one.save('later', randomBytes(2_000_000))
  await until('others hear of new content', () => two.names().includes('later'))
  await twoPlacing.close()
  await two.close()
  await one.close()
})

t.test('of two that give the same up at once, one keeps it', { timeout: 120_000 }, async (t) => {
  const { one, two } = await pairOf(t)
  const onePlacing = await placingOf(one)
  const twoPlacing = await placingOf(two)
  for (let round = 0; round < 6; round++) {
    const bytes = randomBytes(4_000_000)
    await one.save(`file ${round}`, bytes)
    const { tree } = two.engine
    await until('it is there', () => (
      tree.lookupNode(tree.root, `file ${round}` as Name)?.attr.sizeBytes === bytes.length
    ))
    t.ok(bytes.equals(must(await two.load(`file ${round}`), 'on both')))
    const both = [[one, onePlacing], [two, twoPlacing]] as const
    await Promise.all(both.map(([device, placing]) => evict(device, placing)))
    for (const [device] of both) {
      t.ok(bytes.equals(must(await device.load(`file ${round}`), 'readable')), `round ${round}`)
    }
  }
  await onePlacing.close()
  await twoPlacing.close()
})

t.test('what is used elsewhere stays', { timeout: 120_000 }, async (t) => {
  const { one, two } = await pairOf(t)
  const bytes = randomBytes(3_000_000)
  await one.save('first', bytes)
  await one.save('copy', bytes)
  const onePlacing = await placingOf(one)
  const twoPlacing = await placingOf(two)
  await until('names are there', () => two.names().length === 2)
  await pinned(two, twoPlacing)
  const shared = await evict(one, onePlacing, 'first')
  t.equal(shared.bundles, 0)
  t.same([...shared.stays.keys()], ['shared'])
  const { fileSystem, tree } = one.engine
  const { ino } = must(tree.lookup(tree.root, 'copy' as Name), 'copy')
  fileSystem.begin()
  fileSystem.lookup(tree.root, 'copy')
  fileSystem.open(ino, 2, false)
  fileSystem.write(ino, 0, Buffer.from('unsaved'))
  const open = one.engine.files.isUnsealed(ino)
  t.ok(open)
  t.same(one.engine.files.openInos(), [ino])
  fileSystem.flush(ino)
  fileSystem.release(ino)
  await one.engine.sync()
  t.ok((await evict(one, onePlacing)).bundles > 0)
  await onePlacing.close()
  await twoPlacing.close()
})

t.test('a limit is kept, least recently used first', { timeout: 120_000 }, async (t) => {
  const { one, two } = await pairOf(t)
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const name of names) await one.save(name, randomBytes(4_000_000))
  await until('names are there', () => two.names().length === names.length)
  for (const name of names) await two.load(name)
  await two.load('a') // again
  const limitBytes = 15_000_000
  t.ok(two.engine.packs.storedBytes() > 24_000_000)
  const placing = await placingOf(two, limitBytes)
  await until('it is below', () => two.engine.packs.storedBytes() <= limitBytes)
  await placing.close()
  t.equal(stateOf(two, 'a'), 'local', 'used last')
  t.equal(stateOf(two, 'f'), 'local')
  t.not(stateOf(two, 'b'), 'local')
  t.ok(must(await two.load('b'), 'b').length === 4_000_000)
  for (const name of names) t.equal(stateOf(one, name), 'local')
})
