// timeoutSeconds: 120
// Two devices with real sync workers on loopback: what one writes the other sees, and reads, and
// the other way round; content comes when it is asked for; what is offline ends in a clear error.

import t from 'tap'
import { randomBytes } from 'node:crypto'
import { firstDevice, pathIn, until } from './sync-devices.helper.ts'

t.test('two devices', { timeout: 110_000 }, async (t) => {
  const home = t.testdir()
  const one = await firstDevice(pathIn(home, 'one'))
  t.teardown(() => one.close())
  const small = Buffer.from('hello')
  const loose = randomBytes(9000)
  const large = randomBytes(5_000_000)
  await one.save('small', small)
  await one.save('loose', loose)
  const two = await one.admit('second', pathIn(home, 'two'))
  await one.save("large", large)
  await two.open()
  t.teardown(() => two.close())
  for (const [name, bytes] of Object.entries({ small, loose, large })) {
    await until(`${name} is there`, async () => (await two.load(name))?.equals(bytes) ?? false)
  }
  t.same(two.names(), ['large', 'loose', 'small'])
  const back = randomBytes(300_000)
  await two.save('back', back)
  await until('the answer is there', async () => (await one.load('back'))?.equals(back) ?? false)
  t.same(one.names(), ['back', 'large', 'loose', 'small'])
})
