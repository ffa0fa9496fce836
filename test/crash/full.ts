// timeoutSeconds: 180
// runAlone: true
// A full disk under LATTICE_HOME: writers get ENOSPC, nothing that was stored suffers, removing,
// renaming, reading, unmounting and mounting again work, and the daemon lives.

import t from 'tap'
import {
  closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync,
  statSync, writeFileSync, writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount } from '../mount/harness.helper.ts'
import { temporaryDirectory } from '../mount/system.helper.ts'
import { LoopDisk } from './loop-disk.helper.ts'

const skip = noMount() ?? LoopDisk.missing() ?? false
const FILES_MAX = 400

t.test('a full disk', { skip }, async (t) => {
  const random = testRandom()
  t.comment(`SEED=${random.seed}`)
  const base = temporaryDirectory(t)
  const disk = await LoopDisk.open(t, base, 256)
  const home = join(disk.directory, 'home')
  mkdirSync(home, { mode: 0o700 })
  const place = await Place.open(t, { base, home })
  const at = (name: string): string => join(place.directory, name)

  const stored = new Map<string, Buffer>()
  /** Written and flushed; the error's code if that fails. */
  const store = (name: string, content: Buffer): string => {
    let fd = -1
    try {
      fd = openSync(at(name), 'w')
      for (let done = 0; done < content.length; ) done += writeSync(fd, content, done)
      fsyncSync(fd)
      stored.set(name, content)
      return ''
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    } finally {
      closeQuietly(fd)
    }
  }
  const intact = (): string[] =>
    [...stored]
      .filter(([name, content]) => !readFileSync(at(name)).equals(content))
      .map(([name]) => name)

  mkdirSync(at('directory'))
  for (let i = 0; i < 20; i++) {
    t.equal(store(`before-${i}`, Buffer.from(random.bytes(i * 5000))), '', 'there is room')
  }
  const codes: string[] = []
  const block = Buffer.from(random.bytes(1 << 20))
  for (let i = 0; i < FILES_MAX && codes.length < 3; i++) {
    block.writeUInt32LE(i, 0)
    for (let at = 4; at < block.length; at += 4096) block.writeUInt32LE(i * 7919 + at, at)
    const code = store(`fill-${i}`, Buffer.from(block))
    if (code !== '') codes.push(code)
  }
  t.same(codes, ['ENOSPC', 'ENOSPC', 'ENOSPC'], 'the disk is full')
  t.ok(stored.size > 60, `${stored.size} files were stored before`)
  t.ok(place.isAlive(), 'the daemon lives')
  t.same(intact(), [], 'what was stored is intact')
  t.ok(statSync(at('directory')).isDirectory())

  renameSync(at('before-1'), at('directory/renamed'))
  stored.set('directory/renamed', stored.get('before-1') as Buffer)
  stored.delete('before-1')
  const victims = [...stored.keys()].filter((name) => name.startsWith('fill-')).slice(0, 40)
  for (const name of victims) {
    rmSync(at(name))
    stored.delete(name)
  }
  t.same(intact(), [], 'after removing and renaming too')
  await place.unmount()
  await place.mount()
  t.same(intact(), [], 'after mounting again too')
  const back = readdirSync(at('')).filter((name) => victims.includes(name))
  t.same(back, [], 'removed files stay away')
  // Space comes back with collection; until then a small write may be refused, never half done.
  const code = store('small', Buffer.from('a few bytes'))
  t.ok(code === '' || code === 'ENOSPC', `a small write: ${code === '' ? 'works' : code}`)
  for (const name of readdirSync(at(''))) rmSync(at(name), { recursive: true })
  t.same(readdirSync(at('')), [], 'everything can be removed')
  writeOrFull(t, at('last'))
  await place.unmount()
})

function writeOrFull(t: { ok(value: boolean, name: string): unknown }, path: string): void {
  try {
    writeFileSync(path, 'x')
    t.ok(readFileSync(path, 'utf8') === 'x', 'a last write works')
  } catch (error) {
    t.ok((error as NodeJS.ErrnoException).code === 'ENOSPC', 'a last write says ENOSPC')
  }
}

function closeQuietly(fd: number): void {
  try {
    if (fd >= 0) closeSync(fd)
  } catch {
    return // an error of the data's, which fsync told already
  }
}
