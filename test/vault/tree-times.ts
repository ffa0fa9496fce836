// Times as other devices see them: what a user set, and when a file, a symlink or a FIFO was made,
// is the same everywhere; a directory's own changes are each device's.
import t from 'tap'
import { KIND_FIFO, KIND_FILE, KIND_SYMLINK } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import { ATTR_MTIME } from '../../src/vault/buffers.ts'
import { World } from './tree-devices.helper.ts'
import type { Device } from './tree-devices.helper.ts'

const OLD = { mtimeSec: 981_173_106, mtimeNsec: 789_000_001 }

function pair(): { world: World; anna: Device; bert: Device } {
  const world = new World('anna', 'bert')
  const [anna, bert] = world.devices as [Device, Device]
  return { world, anna, bert }
}

function mtimeOf(device: Device, path: string): { mtimeSec: number; mtimeNsec: number } {
  const { mtimeSec, mtimeNsec } = device.tree.node(device.at(path).ino)!.attr
  return { mtimeSec, mtimeNsec }
}

function setMtime(device: Device, path: string): void {
  const { ino } = device.at(path)
  device.tree.setAttrs(ino, ATTR_MTIME, { ...device.tree.node(ino)!.attr, ...OLD })
}

for (const smallBatches of [false, true]) {
  t.test(`a time that a directory was given, ${smallBatches ? 'alone' : 'with others'}`, (t) => {
    const { world, anna, bert } = pair()
    anna.smallBatches = smallBatches
    anna.mkdir('filled')
    anna.write('filled/x', 'x')
    anna.write('filled/y', 'y')
    const { parent } = anna.at('filled/y')
    anna.tree.unlink(parent, 'y' as Name)
    setMtime(anna, 'filled')
    anna.write('filled/x', 'a content is no entry')
    for (const last of ['made', 'removed', 'moved away', 'moved here']) {
      anna.mkdir(last)
      anna.write(`${last}/y`, 'y')
      anna.write(`in for ${last}`, 'z')
      setMtime(anna, last)
      const directory = anna.at(`${last}/y`).parent
      if (last === 'made') anna.write('made/x', 'x')
      else if (last === 'removed') anna.tree.unlink(directory, 'y' as Name)
      else if (last === 'moved away') {
        anna.tree.rename(directory, 'y' as Name, anna.root, 'away' as Name)
      } else anna.tree.rename(anna.root, `in for ${last}` as Name, directory, 'z' as Name)
    }
    world.sync()
    t.strictSame(mtimeOf(anna, 'filled'), OLD)
    t.strictSame(mtimeOf(bert, 'filled'), OLD, 'is what others see')
    for (const last of ['made', 'removed', 'moved away', 'moved here']) {
      t.notSame(mtimeOf(anna, last), OLD)
      t.notSame(mtimeOf(bert, last), OLD, `${last}: a change of its names came after it`)
    }
    bert.write('filled/z', 'z')
    world.sync()
    t.notSame(mtimeOf(anna, 'filled'), OLD, 'nor does it stay for ever')
    t.end()
  })
}

t.test('when something was made', (t) => {
  const { world, anna, bert } = pair()
  const kinds = { link: KIND_SYMLINK, fifo: KIND_FIFO, empty: KIND_FILE } as const
  for (const [name, kind] of Object.entries(kinds)) {
    anna.tree.make(anna.root, name as Name, {
      kind, mode: 0o644, uid: 1000, gid: 1000, rdev: 0, target: kind === KIND_SYMLINK ? 'x' : '',
    })
  }
  world.sync()
  for (const name of Object.keys(kinds)) {
    t.strictSame(mtimeOf(bert, name), mtimeOf(anna, name), name)
  }
  t.end()
})
