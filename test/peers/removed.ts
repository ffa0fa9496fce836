// timeoutSeconds: 200
// Devices are removed: one is there and hears of it, one is away, never does, and goes on. Neither
// is connected to anybody any more, what they change later arrives nowhere, and they get nothing
// that came after; the others go on with each other.

import t from 'tap'
import { existsSync, writeFileSync } from 'node:fs'
import { noMount } from '../mount/harness.helper.ts'
import { Device, equal, eventually, meet, noise, refuses } from './peers.helper.ts'

t.test('removed devices', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  const lost = await desk.letIn(t, 'lost', [laptop])
  desk.write('before', noise(200_000))
  await equal(desk, laptop, lost)
  lost.write('by the lost one', 'x')
  await equal(desk, laptop, lost)
  await meet(laptop, lost)
  const stolen = await desk.letIn(t, 'stolen', [laptop])
  await equal(desk, stolen)
  await stolen.unmount()

  await desk.instance.ok('remove', 'lost', '--yes')
  await desk.instance.ok('remove', 'stolen', '--yes')
  await eventually('it is connected to nobody', async () => (await lost.connected()).length === 0)
  for (const device of [desk, laptop]) {
    t.notOk((await device.connected()).includes('lost'), `not to the ${device.label}`)
  }
  await eventually('it was told', () => {
    const write = (): void => writeFileSync(lost.at('by the lost one, after'), 'y')
    return refuses(write, 'EROFS')
  })
  await stolen.mount()
  stolen.write('by the stolen one', 'it does not know')
  stolen.write('before', 'it does not know')
  desk.write('after', noise(200_000))
  laptop.write('before', 'changed after')
  await equal(desk, laptop)
  t.equal(desk.text('before'), 'changed after', 'the others go on')

  // all of them anew, each dialling whom it knows
  for (const device of [lost, stolen, laptop, desk]) await device.unmount()
  for (const device of [lost, stolen, laptop, desk]) await device.mount()
  await meet(desk, laptop)
  stolen.write('by the stolen one, at last', 'z')
  desk.write('at last', 'z')
  await equal(desk, laptop)
  for (const device of [desk, laptop]) {
    t.strictSame(device.list(), ['after', 'at last', 'before', 'by the lost one'])
    t.equal((await device.connected()).length, 1, 'each other')
  }
  t.equal(stolen.text('before'), 'it does not know', 'its own it keeps')
  for (const device of [lost, stolen]) {
    t.strictSame(await device.connected(), [], `the ${device.label} one is alone`)
    for (const name of ['after', 'at last']) t.notOk(existsSync(device.at(name)), name)
    t.not(device.text('before'), 'changed after')
  }
})

t.test('removed by the only device that it knows', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  laptop.write('before', 'by the laptop')
  await equal(desk, laptop)
  await desk.instance.ok('remove', 'laptop', '--yes')
  await eventually('it was told', () => (
    refuses(() => writeFileSync(laptop.at('after'), 'y'), 'EROFS')
  ))
  await eventually('it is connected to nobody', async () => (
    (await laptop.connected()).length === 0
  ))
  t.strictSame(desk.list(), ['before'])
})
