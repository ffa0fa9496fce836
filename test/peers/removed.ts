// timeoutSeconds: 200
// A device is removed: it is connected to nobody any more, what it changes later arrives nowhere,
// and it gets nothing that came after; the others go on with each other.

import t from 'tap'
import { existsSync } from 'node:fs'
import { noMount } from '../mount/harness.helper.ts'
import { Device, equal, eventually, meet, noise } from './peers.helper.ts'

t.test('a removed device', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  const lost = await desk.letIn(t, 'lost', [laptop])
  desk.write('before', noise(200_000))
  await equal(desk, laptop, lost)
  lost.write('by the lost one, before', 'x')
  await equal(desk, laptop, lost)
  await meet(laptop, lost)

  await desk.instance.ok('remove', 'lost', '--yes')
  for (const device of [desk, laptop]) {
    await eventually(`${device.label} is not connected to it`, async () => (
      !(await device.connected()).includes('lost')
    ))
  }
  await eventually('it is connected to nobody', async () => (await lost.connected()).length === 0)
  lost.write('by the lost one, after', 'y')
  desk.write('after', noise(200_000))
  laptop.write('before', 'changed after')
  await equal(desk, laptop)
  t.equal(desk.text('before'), 'changed after', 'the others go on')

  // all of them, anew: by what they know of each other now
  for (const device of [lost, laptop, desk]) await device.unmount()
  for (const device of [lost, laptop, desk]) await device.mount()
  await meet(desk, laptop)
  lost.write('by the lost one, at last', 'z')
  desk.write('at last', 'z')
  await equal(desk, laptop)
  for (const device of [desk, laptop]) {
    t.strictSame(device.list(), ['after', 'at last', 'before', 'by the lost one, before'])
    t.notOk((await device.connected()).includes('lost'))
  }
  t.strictSame(await lost.connected(), [])
  t.notOk(existsSync(lost.at('after')))
  t.notOk(existsSync(lost.at('at last')))
  t.not(lost.text('before'), 'changed after')
})
