// timeoutSeconds: 200
// The other device is gone: names and attributes are all here, content that never came fails in
// bounded time by an errno that says so, and comes when somebody is back who has it.

import t from 'tap'
import { lstatSync, readdirSync } from 'node:fs'
import { noMount } from '../mount/harness.helper.ts'
import { Device, equal, eventually, meet, noise, readApart } from './peers.helper.ts'

const skip = noMount() ?? false
const LARGE_BYTES = 6 << 20

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
  desk.write('large', noise(LARGE_BYTES))
  await eventually('it is told', () => lstatSync(laptop.at('large')).size === LARGE_BYTES)
  await desk.unmount()

  // the rest of a chunk is needed to store a part of it: the part waits, and says so
  await laptop.sh(`printf over | dd of=large bs=1 seek=5 conv=notrunc status=none; echo x > other`)
  const stored = await laptop.instance.program(['sync', 'large'], laptop.root)
  t.match(stored.stderr, 'Host is down', 'fsync tells')
  const other = await laptop.instance.program(['sync', 'other'], laptop.root)
  t.equal(other.code, 0, 'other files are not held up')
  const unmounted = await laptop.instance.run('umount', laptop.root)
  t.equal(unmounted.code, 9, 'it is not unmounted, since that would lose it')
  t.strictSame(laptop.list(), ['large', 'other'], 'and goes on')

  await desk.mount()
  await meet(laptop, desk)
  await equal(desk, laptop)
  t.equal(await desk.sh('head -c 9 large | tail -c 4'), 'over', 'stored in the end')
  await laptop.unmount()
})
