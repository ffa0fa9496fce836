// timeoutSeconds: 120
// What is pinned is kept: all of it comes, what others put there later comes by itself, it goes on
// after a restart, and a list of pins survives. What cannot be had is told, and comes with a peer.

import t from 'tap'
import { tmpdir } from 'node:os'
import { mkdtempSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Copies } from '../../src/daemon/copies.ts'
import { PinKeeper } from '../../src/daemon/pin-keeper.ts'
import { PinList } from '../../src/daemon/pin-list.ts'
import type { Name } from '../../src/ops/types.ts'
import { firstDevice, pathIn, until } from './sync-devices.helper.ts'
import type { Device } from './sync-devices.helper.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { openLog } from '../../src/daemon/log.ts'

const log = openLog('error')

async function keeperOf(device: Device): Promise<PinKeeper> {
  const list = await PinList.open(device.directory, device.keys)
  return new PinKeeper({ engine: device.engine, peers: device.sync, list, log })
}

/** As user.lattice.state tells it. */
function stateOf(device: Device, name: string): string {
  const { tree, fileSystem } = device.engine
  const { ino } = tree.lookup(tree.root, name as Name)!
  t.same(fileSystem.listxattr(ino), [])
  return Buffer.from(fileSystem.getxattr(ino, 'user.lattice.state')).toString()
}

/** Bytes of the file that are not here. */
async function missing(device: Device, name: string): Promise<number> {
  const { tree, content } = device.engine
  const node = tree.lookupNode(tree.root, name as Name)
  if (node?.content === undefined) return -1
  let bytes = 0
  try {
    for await (const absent of content.absent(node.content, node.attr.sizeBytes)) {
      for (const one of absent) bytes += one.bytes
    }
  } catch (error) {
    if (!isLatticeError(error, 'not-available')) throw error
    return Infinity
  }
  return bytes
}

t.test('what is pinned comes, and stays', { timeout: 110_000 }, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'pins-'))
  const one = await firstDevice(pathIn(home, 'one'))
  let oneIsOpen = true
  t.teardown(() => oneIsOpen ? one.close() : undefined)
  await one.save('before', randomBytes(9_000_000))
  await one.save('small', Buffer.from('tiny'))
  const two = await one.admit('second', pathIn(home, 'two'))
  await two.open()
  let twoIsOpen = true
  t.teardown(() => twoIsOpen ? two.close() : undefined)
  await until('the name is there', () => two.names().length === 2)
  t.match(stateOf(two, 'before'), /^(remote|partial)( \d+\/9000000)?$/)
  t.equal(stateOf(two, 'small'), 'local', 'it came with its name')
  t.ok(await missing(two, 'before') > 1_000_000)

  const published = new Copies(one.engine, one.sync, 0)
  t.ok(published.isDone(await published.look()))
  const copies = new Copies(one.engine, one.sync, 1)
  t.notOk(copies.isDone(await copies.look()), 'nobody else has the content')

  let keeper = await keeperOf(two)
  t.same(keeper.states(), [])
  const { root } = two.engine.tree
  t.type(await keeper.pin(root, ''), 'string')
  t.match(keeper.states(), [{ state: 'looking', said: '' }])
  await until('all is here', () => keeper.states()[0]?.state === 'whole')
  t.match(keeper.states(), [{ files: 2, bytes: 9_000_004, missingFiles: 0, missingBytes: 0 }])
  t.equal(await missing(two, 'before'), 0)
  t.equal(stateOf(two, 'before'), 'local')
  await until('the first one is told', async () => copies.isDone(await copies.look()))
  t.ok(keeper.covers(root))
  t.ok(keeper.covers(two.engine.tree.lookup(root, 'before' as Name)!.ino))

  const later = randomBytes(3_000_000)
  await one.save('later', later)
  await until('what came later is here, too', async () => await missing(two, 'later') === 0)
  await one.save('later', randomBytes(3_500_000))
  await until('and when it is changed', async () => (
    two.engine.tree.lookupNode(root, 'later' as Name)?.attr.sizeBytes === 3_500_000
      && await missing(two, 'later') === 0
  ))

  await keeper.close()
  await two.close()
  twoIsOpen = false
  await one.save('while away', randomBytes(2_000_000))
  await one.close()
  oneIsOpen = false
  await two.open()
  twoIsOpen = true
  keeper = await keeperOf(two)
  await until('it is whole by itself', () => keeper.states()[0]?.state === 'whole')
  t.equal(keeper.states()[0]?.files, 3, 'what is not known of is not missed')
  await keeper.close()
})

t.test('what cannot be had is told', { timeout: 60_000 }, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'pins-'))
  const one = await firstDevice(pathIn(home, 'one'))
  await one.save('far', randomBytes(2_000_000))
  const two = await one.admit('second', pathIn(home, 'two'))
  await two.open()
  t.teardown(() => two.close())
  await until('the name is there', () => two.names().length === 1)
  await one.close()
  const keeper = await keeperOf(two)
  two.sync.onChange(() => keeper.peersChanged())
  const { tree } = two.engine
  const far = tree.lookup(tree.root, 'far' as Name)!.ino
  const node = await keeper.pin(far, 'far')
  t.notOk(keeper.covers(tree.root))
  t.match(stateOf(two, 'far'), /^remote( 0\/2000000)?$/)
  await until('it waits', () => keeper.states()[0]?.state === 'waiting')
  t.match(keeper.states(), [{ reason: 'not-available', missingFiles: 1, missingBytes: 2_000_000 }])
  await keeper.unpin(node!)
  t.same(keeper.states(), [])
  await keeper.close()
})

t.test('the list', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'pins-'))
  const one = await firstDevice(pathIn(home, 'one'))
  t.teardown(() => one.close())
  await one.save('a', Buffer.from('a'))
  const keeper = await keeperOf(one)
  await keeper.pin(one.engine.tree.lookup(one.engine.tree.root, 'a' as Name)!.ino, 'a-said')
  await keeper.close()
  const file = join(one.directory, 'pins')
  t.ok(existsSync(file))
  t.notOk(readFileSync(file).includes('a-said'), 'sealed')
  const again = await PinList.open(one.directory, one.keys)
  t.match(again.all(), [{ path: 'a-said' }])
  const bytes = readFileSync(file)
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(file, bytes)
  await t.rejects(PinList.open(one.directory, one.keys), { code: 'damaged-keys' })
})
