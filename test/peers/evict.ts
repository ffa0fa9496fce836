// timeoutSeconds: 200
// A device frees its disk of what another one holds, by the command line: what is open stays, what
// went comes again when it is read, also after a kill, and the check finds nothing.

import t from 'tap'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { noMount } from '../mount/harness.helper.ts'
import { makeSmallFiles } from '../mount/trees.helper.ts'
import { Device, equal, meet, noise } from './peers.helper.ts'

type Evicted = { bundles: number; freedBytes: number; stays: Record<string, number> }
type Where = { bundles: number; here: number; devices: { label: string; bundles: number }[] }

/** The last line: those before it tell how far it is. */
async function said<T>({ instance }: Device, ...words: string[]): Promise<T> {
  const out = await instance.ok(...words, '--json')
  return JSON.parse(out.trim().split('\n').at(-1) ?? '') as T
}

const evict = (device: Device): Promise<Evicted> => said(device, 'evict', device.root)
const where = (device: Device): Promise<Where> => said(device, 'where', device.root)

t.test('copies are given up and come again', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  desk.write('film', noise(12 << 20))
  desk.write('other film', noise(9 << 20))
  makeSmallFiles(desk.at('tree'), 300)
  const laptop = await desk.letIn(t, 'laptop')
  await equal(desk, laptop) // reads all of it there

  const held = await where(desk)
  t.equal(held.here, held.bundles)
  t.equal(held.devices[0]?.bundles, held.bundles, 'the laptop has everything')
  const open = openSync(desk.at('other film'), 'r')
  const first = await evict(desk)
  t.ok(first.freedBytes > 11 << 20, `${first.freedBytes} bytes freed`)
  t.ok((first.stays['in-use'] ?? 0) > 8 << 20, 'not what is open')
  const byte = Buffer.alloc(1)
  readSync(open, byte, 0, 1, 8 << 20)
  closeSync(open)
  const after = await where(desk)
  t.equal(after.here, after.bundles - first.bundles)
  await desk.kill()
  await desk.mount()
  await meet(desk, laptop)
  t.equal((await where(desk)).here, after.here, 'a kill changes nothing')
  t.match(await desk.instance.ok('check', '--read-data', desk.root), /no errors found/)
  await equal(desk, laptop)
  t.ok(readFileSync(desk.at('film')).equals(readFileSync(laptop.at('film'))))
  const again = await where(desk)
  t.equal(again.here, again.bundles, 'all of it is here again')
  await laptop.unmount()
  const refused = await desk.instance.run('evict', '--json', desk.at('film'))
  t.equal(refused.code, 9, 'nobody is there to prove anything')
  t.match(refused.stderr, /not-available/)
})
