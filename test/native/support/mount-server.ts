// Serves the toy filesystem on a real mount point until it is unmounted; a process of its own,
// since whoever serves a mount must never touch it. Arguments: directory, dirtyBytesMax, 'helper'
// to mount as ordinary users do, 'stuck' to store nothing. Says 'ready'.

import { sessionAddon } from '../../../src/fuse/addon.ts'
import { MemoryFs } from './memory-fs.ts'

const NOSUID_NODEV_NOATIME = 2 | 4 | 1024

const [directory = '', limit = '268435456', how = 'direct', mood = ''] = process.argv.slice(2)
const options = 'default_permissions,max_read=1048576'
const fd =
  how === 'helper'
    ? await sessionAddon().mountWithHelper(directory, `nosuid,nodev,fsname=lattice,${options}`)
    : sessionAddon().mountDirect('lattice', directory, 'lattice', NOSUID_NODEV_NOATIME, options)
const fs = new MemoryFs({ fd, dirtyBytesMax: Number(limit), manual: mood === 'stuck' })
process.once('SIGTERM', () => fs.close())
process.stdout.write('ready\n')
await fs.ended
const figures = [fs.session.stats(), fs.table.totals()]
process.stdout.write(`${figures.map((row) => JSON.stringify([...row])).join(' ')}\n`)
fs.close()
