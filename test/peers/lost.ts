// timeoutSeconds: 280
// The index of a device is lost, or its logs: mounted again, both devices come to the same tree,
// and nothing is missing.

import t from 'tap'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { noMount } from '../mount/harness.helper.ts'
import { makeSmallFiles } from '../mount/trees.helper.ts'
import { Device, equal, meet, noise } from './peers.helper.ts'

t.test('what can be made anew is lost', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  makeSmallFiles(desk.at('tree'), 60)
  desk.write('large', noise(3 << 20))
  const laptop = await desk.letIn(t, 'laptop')
  await equal(desk, laptop)
  const rounds = [
    { device: laptop, other: desk, lost: ['index'] },
    { device: laptop, other: desk, lost: ['logs'] },
    { device: desk, other: laptop, lost: ['logs'] },
    { device: desk, other: laptop, lost: ['index', 'logs'] },
  ]
  for (const [i, { device, other, lost }] of rounds.entries()) {
    const what = `${lost.join(' and ')} of the ${device.label}`
    laptop.write(`by the laptop ${i}`, noise(200_000))
    desk.write(`by the desk ${i}`, noise(200_000))
    await device.unmount()
    other.write(`meanwhile ${i}`, noise(100_000))
    for (const folder of lost) {
      const path = join(device.state(), folder)
      t.ok(existsSync(path), `${folder} was there`)
      rmSync(path, { recursive: true })
    }
    await device.mount()
    await meet(device, other)
    await equal(desk, laptop)
    device.write(`after it ${i}`, noise(100_000))
    await equal(desk, laptop)
    t.equal(desk.list().length, 2 + 4 * (i + 1), `${what} lost, and nothing else`)
  }
})
