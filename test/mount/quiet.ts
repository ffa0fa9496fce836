// timeoutSeconds: 60
// What a mount does when nobody asks it anything: attributes that the native session set by itself
// reach the journal without another request. And what it tells of the disk below.

import t from 'tap'
import { chmodSync, statSync, statfsSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Instance, noMount } from './harness.helper.ts'

const skip = noMount() ?? false
const COMMITTED_MS = 4000

void t.test('attributes set last survive a crash', { skip }, async (test) => {
  const lattice = await Instance.create(test)
  const file = join(await lattice.mount(), 'file')
  writeFileSync(file, 'content')
  await delay(COMMITTED_MS)
  chmodSync(file, 0o640)
  utimesSync(file, 1000, 2000)
  await delay(COMMITTED_MS)
  await lattice.kill9()
  const mount = await lattice.mount()
  const stats = statSync(join(mount, 'file'))
  test.equal(stats.mode & 0o777, 0o640)
  test.equal(stats.mtimeMs, 2_000_000)
  const [inside, below] = [statfsSync(mount), statfsSync(lattice.home)]
  test.equal(inside.blocks * inside.bsize, below.blocks * below.bsize, 'the disk is as large')
  test.ok(inside.bavail * inside.bsize <= below.bavail * below.bsize + 2 ** 30, 'room is real')
})
