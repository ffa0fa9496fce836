// timeoutSeconds: 280
// The other device is gone: names and attributes are all here, content that never came fails in
// bounded time by an errno that says so, and comes when somebody is back who has it.

import t from 'tap'
import {
  closeSync, cpSync, lstatSync, openSync, readFileSync, readSync, readdirSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Status } from '../../src/api/client-types.ts'
import { noMount } from '../mount/harness.helper.ts'
import { Device, equal, eventually, meet, noise, readApart } from './peers.helper.ts'

const skip = noMount() ?? false
const LARGE_BYTES = 6 << 20
const PAGE_BYTES = 4096

t.test('content that never came', { skip }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  await desk.sh(`mkdir -p a/b; echo small > a/b/small; chmod 640 a/b/small; ln -s small a/b/link`)
  desk.write('a/large', noise(LARGE_BYTES))
  desk.write('a/read', noise(100_000))
  await eventually('it is told', () => lstatSync(laptop.at('a/read')).size === 100_000)
  t.equal(await readApart(laptop.at('a/read')), '')
  desk.write('a/medium', noise(100_000)) // no bundle has both
  await desk.instance.ok('sync')
  desk.write('a/last', 'x')
  await eventually('all names', () => laptop.text('a/last') === 'x')
  await desk.unmount()

  t.strictSame(readdirSync(laptop.at('a')), ['b', 'large', 'last', 'medium', 'read'])
  t.equal(lstatSync(laptop.at('a/large')).size, LARGE_BYTES)
  t.equal(lstatSync(laptop.at('a/b/small')).mode & 0o7777, 0o640)
  for (const name of ['a/large', 'a/medium']) {
    t.match(await readApart(laptop.at(name)), 'Host is down', `${name}: EHOSTDOWN`)
  }
  t.equal(await readApart(laptop.at('a/read')), '', 'what came before is here')
  await laptop.sh(`mv a/large a/b/moved; chmod 600 a/medium; echo new > a/new; rm a/last`)
  t.match(await readApart(laptop.at('a/b/moved')), 'Host is down', 'still')

  await laptop.unmount()
  await laptop.mount()
  t.match(await readApart(laptop.at('a/medium')), 'Host is down', 'nor after mounting again')
  t.equal(lstatSync(laptop.at('a/b/moved')).size, LARGE_BYTES)

  await desk.mount()
  await meet(laptop, desk)
  t.equal(await readApart(laptop.at('a/b/moved')), '', 'it is back, and so is the content')
  await equal(desk, laptop)
  t.strictSame(desk.list('a'), ['b', 'medium', 'new', 'read'], 'what was done offline arrived')
})

t.test('a part of such content is overwritten', { skip }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  const was = noise(LARGE_BYTES)
  for (const name of ['large', 'cut', 'gone', 'rivals']) desk.write(name, was)
  await eventually('they are told', () => lstatSync(laptop.at('rivals')).size === LARGE_BYTES)
  await desk.unmount()

  // the manifest cannot be rewritten without its nodes, which are elsewhere
  const page = noise(PAGE_BYTES)
  laptop.write('page', page)
  const over = (name: string, at: number): Promise<string> => (
    laptop.sh(`dd if=page of=${name} bs=4096 seek=${at} conv=notrunc status=none`)
  )
  await over('large', 3)
  await laptop.sh('sync large')
  await over('large', 1000)
  await laptop.sh('sync large')
  await laptop.kill()
  await laptop.mount()
  await over('cut', 700)
  await laptop.sh('truncate -s 4000000 cut; echo end >> cut; sync cut')
  await over('rivals', 5) // closed, not synced
  await over('gone', 6)
  await laptop.sh('sync gone; rm gone')
  const held = async (): Promise<number | undefined> => {
    const { vaults } = await laptop.instance.json<Status>('status')
    return vaults[0]?.heldFiles
  }
  await eventually('it is kept', async () => (await held()) === 3)
  await laptop.terminate()
  await laptop.mount()
  t.equal(await held(), 3, 'told by status')
  t.strictSame(readFile(laptop.at('large'), 3 * PAGE_BYTES), page, 'and is read without the rest')
  t.equal(lstatSync(laptop.at('cut')).size, 4_000_004)
  t.equal(await laptop.instance.run('umount', laptop.root).then(({ code }) => code), 0)

  const records = join(laptop.state(), 'held')
  const aside = laptop.instance.path('aside')
  cpSync(records, aside, { recursive: true })

  await desk.mount()
  await desk.sh('printf mine | dd of=rivals bs=1 seek=9000 conv=notrunc status=none; sync rivals')
  await laptop.mount()
  await meet(laptop, desk)
  await eventually('none is left', async () => (await held()) === 0)
  await equal(desk, laptop)
  const changed = (...places: number[]): Buffer => {
    const bytes = Buffer.from(was)
    for (const at of places) page.copy(bytes, at * PAGE_BYTES)
    return bytes
  }
  t.ok(readFileSync(desk.at('large')).equals(changed(3, 1000)), 'all of it is there, and no more')
  const cut = Buffer.concat([changed(700).subarray(0, 4_000_000), Buffer.from('end\n')])
  t.ok(readFileSync(desk.at('cut')).equals(cut), 'with its size')
  const rivals = desk.list().filter((name) => name.startsWith('rivals'))
  t.equal(rivals.length, 2, 'what both changed is a conflict')
  const versions = rivals.map((name) => readFileSync(desk.at(name)))
  t.ok(versions.some((bytes) => bytes.equals(changed(5))), 'with the version that was kept')
  t.strictSame(readdirSync(records), [], 'nothing stays behind')

  // as if the end had come between a put and the end of its record
  await laptop.unmount()
  cpSync(aside, records, { recursive: true })
  await laptop.mount()
  await eventually('all are taken up', () => readdirSync(records).length === 0)
  await equal(desk, laptop)
  t.strictSame(laptop.list().filter((name) => name.startsWith('rivals')), rivals)
  t.equal(laptop.list().length, 5, 'nothing was done twice')
  await laptop.unmount()
})

t.test('such a file replaces another', { skip }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  const was = noise(LARGE_BYTES)
  desk.write('large', was)
  desk.write('target', 'old')
  await eventually('they are told', () => laptop.text('target') === 'old')
  await eventually('whole', () => lstatSync(laptop.at('large')).size === LARGE_BYTES)
  await desk.unmount()

  // the rename waits for the content, and what comes behind it does, too: nothing pretends
  await laptop.sh('printf over | dd of=large bs=1 seek=5 conv=notrunc status=none; mv large target')
  await laptop.sh('echo x > behind')
  const stored = await laptop.instance.program(['sync', 'behind'], laptop.root)
  t.match(stored.stderr, 'Host is down', 'fsync tells')
  t.equal((await laptop.instance.run('umount', laptop.root)).code, 9, 'and it is not unmounted')

  await desk.mount()
  await meet(laptop, desk)
  await equal(desk, laptop)
  Buffer.from('over').copy(was, 5)
  t.ok(readFileSync(desk.at('target')).equals(was))
  t.strictSame(desk.list(), ['behind', 'target'])
  await laptop.unmount()
})

/** The page at this place, read alone. */
function readFile(path: string, at: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const page = Buffer.alloc(PAGE_BYTES)
    readSync(file, page, 0, PAGE_BYTES, at)
    return page
  } finally {
    closeSync(file)
  }
}
