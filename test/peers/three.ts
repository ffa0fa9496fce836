// timeoutSeconds: 200
// Three devices: what one of them holds of another's, it gives to the third, while its author is
// gone; in the end all of them show the same.

import t from 'tap'
import { noMount } from '../mount/harness.helper.ts'
import { makeSmallFiles } from '../mount/trees.helper.ts'
import { Device, equal, eventually, meet, noise, readApart } from './peers.helper.ts'

t.test('three devices', { skip: noMount() ?? false }, async (t) => {
  const author = await Device.first(t, 'author')
  makeSmallFiles(author.at('tree'), 50)
  author.write('held', noise(2 << 20))
  const second = await author.letIn(t, 'second')
  await author.instance.ok('role', 'second', 'admin')
  await equal(author, second)
  author.write('not held', noise(2 << 20))
  await eventually('its name', () => second.list().includes('not held'))
  second.write('of the second', noise(500_000))
  await author.unmount()

  const third = await second.letIn(t, 'third', [author])
  await eventually('all names', () => third.list().length === second.list().length)
  t.strictSame(third.list(), ['held', 'not held', 'of the second', 'tree'])
  for (const name of ['held', 'of the second', 'tree/d7/file 49']) {
    t.equal(await readApart(third.at(name)), '', `${name}: the second gives it`)
  }
  t.match(await readApart(third.at('not held')), 'Host is down', 'nobody here has it')
  third.write('of the third', noise(300_000))
  await eventually('it arrived', () => second.list().includes('of the third'))

  await author.mount()
  await meet(author, second)
  await meet(author, third)
  await equal(author, second, third)
  t.equal(await readApart(third.at('not held')), '', 'the author is back')
  author.write('tree/last', 'for all\n')
  await equal(author, second, third)
  t.equal(third.text('tree/last'), 'for all\n')
})
