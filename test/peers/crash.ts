// timeoutSeconds: 280
// A daemon is killed while content moves or changes: mounted again, both devices come to the same
// tree, and nothing that was durable is missing.

import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import { noMount } from '../mount/harness.helper.ts'
import { Device, equal, eventually, noise, readApart } from './peers.helper.ts'

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
