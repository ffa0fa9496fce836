// timeoutSeconds: 280
// A cable is pulled: in the middle of a transfer, for a moment, which goes on as if nothing had
// been and sends next to nothing twice; and for long, while both sides change the same files. Over
// a slow one a large file takes longer than any reader would wait for silence, and is read.
// Devices in network namespaces: unlike on loopback nobody is told that the other one is gone.

import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { noMount } from '../mount/harness.helper.ts'
import { Link, noNamespaces } from './link.helper.ts'
import { Device, equal, eventually, meet, noise, readApart } from './peers.helper.ts'

const MIB = 1 << 20
const LARGE_BYTES = 24 * MIB
const SLOW_BYTES = 12 * MIB

t.test('a cable is pulled', { skip: noMount() ?? noNamespaces() ?? false }, async (t) => {
  const link = Link.create(t)
  const desk = await Device.first(t, 'desk', link.left)
  desk.write('before', 'there before')
  const laptop = await desk.letIn(t, 'laptop', [], link.right)
  await equal(desk, laptop)

  link.limit(80)
  desk.write('large', noise(LARGE_BYTES))
  await eventually('it is named', () => laptop.size('large') === LARGE_BYTES)
  const sentBefore = link.sentBytes()
  const reading = readApart(laptop.at('large'))
  await delay(1000)
  link.cut()
  const atCut = link.sentBytes() - sentBefore
  t.ok(atCut > MIB && atCut < LARGE_BYTES, `${atCut} bytes had come`)
  await delay(3000)
  link.mend()
  t.equal(await reading, '', 'it is read to its end')
  await equal(desk, laptop)
  const sent = link.sentBytes() - sentBefore
  t.ok(sent < 1.25 * LARGE_BYTES, `${sent} bytes were sent for ${LARGE_BYTES}`)

  link.cut()
  for (const device of [desk, laptop]) {
    await eventually(`the ${device.label} notices`, async () => (
      (await device.connected()).length === 0
    ))
  }
  for (const device of [desk, laptop]) {
    device.write('before', `changed by the ${device.label}`)
    device.write(`by the ${device.label}`, noise(100_000))
  }
  link.mend()
  await meet(desk, laptop)
  await equal(desk, laptop)
  const names = desk.list()
  t.equal(names.length, 5, `both versions are shown: ${names.join(', ')}`)
})

t.test('a slow cable', { skip: noMount() ?? noNamespaces() ?? false }, async (t) => {
  const link = Link.create(t)
  const desk = await Device.first(t, 'desk', link.left)
  const laptop = await desk.letIn(t, 'laptop', [], link.right)
  desk.write('large', noise(SLOW_BYTES))
  await eventually('it is named', () => laptop.size('large') === SLOW_BYTES)
  link.limit(3)
  t.equal(await readApart(laptop.at('large'), 120_000), '', 'it is read to its end')
  link.limit(1000)
  await equal(desk, laptop)
})
