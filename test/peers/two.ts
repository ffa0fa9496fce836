// timeoutSeconds: 240
// Two devices share a vault: what is there arrives, content is read on demand, changes go both
// ways, and both changing one file apart from each other loses nothing.

import t from 'tap'
import { lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { noMount } from '../mount/harness.helper.ts'
import { makeSmallFiles } from '../mount/trees.helper.ts'
import { Device, equal, eventually, meet, noise } from './peers.helper.ts'

t.test('two devices', { skip: noMount() ?? false }, async (t) => {
  const desk = await Device.first(t, 'desk')
  makeSmallFiles(desk.at('tree'), 200)
  await desk.sh(`
    mkdir -p deep/er/still; echo bottom > deep/er/still/file; ln -s deep/er link
    chmod 750 deep; touch -d '2001-02-03 04:05:06.789' deep/er; ln deep/er/still/file hard`)
  desk.write('large', noise(8 << 20))
  const laptop = await desk.letIn(t, 'laptop')
  await equal(desk, laptop)
  t.pass('the whole tree came, and every byte was there when it was read')
  const given = lstatSync(desk.at('deep/er')).mtimeMs
  t.equal(given, Date.parse('2001-02-03T04:05:06.789'))
  t.equal(lstatSync(laptop.at('deep/er')).mtimeMs, given, 'and times that were given')
  await desk.sh(`touch -d '2002-03-04 05:06:07.5' tree; touch -hd '2003-04-05 06:07:08.5' link`)
  for (const name of ['tree', 'link']) {
    const { mtimeMs } = lstatSync(desk.at(name))
    await eventually(`the time of ${name}`, () => lstatSync(laptop.at(name)).mtimeMs === mtimeMs)
  }

  laptop.write('from the laptop', 'one\n')
  desk.write('from the desk', noise(300_000))
  await equal(desk, laptop)
  t.equal(desk.text('from the laptop'), 'one\n', 'changes go both ways')
  await laptop.sh(`printf two >> 'from the laptop'; dd if=/dev/urandom of=large bs=4096 seek=700 \
    count=30 conv=notrunc status=none; truncate -s 7000000 large; chmod 600 deep/er/still/file`)
  await equal(desk, laptop)
  t.equal(desk.text('from the laptop'), 'one\ntwo', 'so do changes of parts')

  renameSync(desk.at('tree'), desk.at('deep/moved'))
  await eventually('renamed', () => laptop.list('deep').includes('moved'))
  t.notOk(laptop.list().includes('tree'), 'a directory was renamed')
  laptop.write('deep/moved/later', 'x')
  rmSync(laptop.at('deep/er'), { recursive: true })
  rmSync(desk.at('from the desk'))
  mkdirSync(desk.at('empty'))
  await equal(desk, laptop)
  t.strictSame(desk.list('deep'), ['moved'])
  t.equal(desk.text('deep/moved/later'), 'x')
  t.equal(laptop.text('from the desk'), undefined, 'what was deleted is gone')

  await t.test('one file is edited on both sides, apart', async (t) => {
    desk.write('notes.txt', 'base\n')
    await equal(desk, laptop)
    await laptop.unmount()
    desk.write('notes.txt', 'the desk says this\n')
    desk.write('only desk', 'd')
    await desk.unmount()
    await laptop.mount()
    laptop.write('notes.txt', 'and the laptop says that\n')
    laptop.write('only laptop', 'l')
    await desk.mount()
    await meet(desk, laptop)
    await eventually('a copy', () => desk.list().filter(isNote).length === 2)
    await equal(desk, laptop)
    const notes = desk.list().filter(isNote)
    t.equal(notes.length, 2, notes.join(', '))
    const said = new Set(notes.map((name) => desk.text(name)))
    const both = new Set(['and the laptop says that\n', 'the desk says this\n'])
    t.strictSame(said, both, 'nothing is lost')
    t.equal(laptop.text('only desk'), 'd')
    t.equal(desk.text('only laptop'), 'l')
    for (const device of [desk, laptop]) {
      const { vaults } = await device.instance.json<{ vaults: { conflicts: unknown[] }[] }>(
        'conflicts',
      )
      t.equal(vaults[0]?.conflicts.length, 1, `the ${device.label} tells of it`)
    }
  })
})

const isNote = (name: string): boolean => name.startsWith('notes')
