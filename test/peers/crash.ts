// timeoutSeconds: 280
// A daemon is killed while content moves or changes, the index is lost, the logs are lost: mounted
// again, both devices come to the same tree, and nothing that was durable is missing.

import t from 'tap'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { noMount } from '../mount/harness.helper.ts'
import { makeSmallFiles } from '../mount/trees.helper.ts'
import { Device, equal, eventually, meet, noise, readApart } from './peers.helper.ts'

const LARGE_BYTES = 40 << 20
const skip = noMount() ?? false

t.test('killed in the middle', { skip }, async (t) => {
  const desk = await Device.first(t, 'desk')
  const laptop = await desk.letIn(t, 'laptop')
  for (const [i, killed] of [laptop, desk].entries()) {
    const name = `large ${i}`
    desk.write(name, noise(LARGE_BYTES))
    await desk.instance.ok('sync')
    await eventually('its name', () => laptop.list().includes(name))
    const reading = readApart(laptop.at(name))
    await delay(150) // somewhere in it, wherever that is
    await killed.kill()
    await killed.mount()
    await reading // to an error, or to its end
    await equal(desk, laptop)
    t.pass(`the ${killed.label} was killed while a large file came`)
  }
  for (const killed of [laptop, desk]) {
    const file = `kept by ${killed.label}`
    await killed.sh(`echo kept > '${file}'; sync '${file}'`)
    const editing = killed.sh(`
      for i in $(seq 300); do mkdir "e$i"; echo "$i" > "e$i/f"; printf "$i" >> 'large 0'; done`)
    await delay(400)
    await killed.kill()
    await t.rejects(editing, 'it was in the middle of it')
    await killed.mount()
    t.equal(killed.text(file), 'kept\n', 'what was synced is there')
    await equal(desk, laptop)
    t.pass(`the ${killed.label} was killed while files changed on it`)
    await killed.sh('rm -r e*')
    await equal(desk, laptop)
  }
})

t.test('what can be made anew is lost', { skip }, async (t) => {
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
