// What sparse files occupy, as stat tells it: while they are open, after they were closed and after
// mounting again; files of few extents and files whose manifest is a tree. Never less than their
// data: programs take a file without blocks for one without data.

import t from 'tap'
import {
  closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync, writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Place, noMount } from './harness.helper.ts'
import { temporaryDirectory } from './system.helper.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const BLOCK_BYTES = 512
const STEP_MS = 100
const SEALED_WITHIN_MS = 20_000

function noise(sizeBytes: number, seed: number): Buffer {
  const words = new Uint32Array(sizeBytes / 4)
  let state = seed
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    words[i] = state ^= state << 5
  }
  return Buffer.from(words.buffer)
}

function occupied(path: string): number {
  return statSync(path).blocks * BLOCK_BYTES
}

/** Seals happen in the background: waits until the file occupies what it should. */
async function occupies(path: string, atLeast: number, atMost: number): Promise<number> {
  for (let waitedMs = 0; ; waitedMs += STEP_MS) {
    const bytes = occupied(path)
    if (bytes < atLeast || bytes <= atMost || waitedMs >= SEALED_WITHIN_MS) return bytes
    await delay(STEP_MS)
  }
}

t.test('blocks of sparse files', { skip: noMount() ?? false }, async (t) => {
  const place = await Place.open(t, { base: temporaryDirectory(t) })
  const paths = { few: join(place.directory, 'few'), many: join(place.directory, 'many') }

  const few = openSync(paths.few, 'w+')
  ftruncateSync(few, 100 * GIB)
  writeSync(few, noise(MIB, 1), 0, MIB, 50 * GIB)
  t.equal(occupied(paths.few), MIB, '100 GiB with 1 MiB, while it is open')
  fsyncSync(few)
  t.equal(occupied(paths.few), MIB, 'sealed and open')
  writeSync(few, noise(MIB, 2), 0, MIB, 70 * GIB)
  t.equal(occupied(paths.few), 2 * MIB, 'written into a sealed hole')
  writeSync(few, noise(MIB, 3), 0, MIB, 70 * GIB)
  t.equal(occupied(paths.few), 2 * MIB, 'the same again')
  ftruncateSync(few, 60 * GIB)
  ftruncateSync(few, 90 * GIB)
  const cut = occupied(paths.few)
  t.ok(cut >= MIB && cut <= 2 * MIB, `cut and grown: ${cut}`)
  closeSync(few)
  t.equal(await occupies(paths.few, MIB, MIB), MIB, 'closed')

  const many = openSync(paths.many, 'w+')
  for (let i = 0; i < 600; i++) writeSync(many, noise(4096, i + 9), 0, 4096, i * 64 * MIB)
  t.equal(occupied(paths.many), 600 * 4096, '600 pieces, open')
  closeSync(many)
  t.equal(await occupies(paths.many, 600 * 4096, 600 * 4096), 600 * 4096, '600 pieces, closed')

  const zeros = join(place.directory, 'zeros')
  writeFileSync(zeros, Buffer.concat([noise(MIB, 5), Buffer.alloc(8 * MIB), noise(MIB, 6)]))
  const written = await occupies(zeros, 2 * MIB, 4 * MIB)
  t.ok(written >= 2 * MIB && written <= 4 * MIB, `written zeros: ${written}`)

  await place.remount()
  const back = readFileSync(zeros)
  t.ok(back.length === 10 * MIB && back.subarray(MIB, 9 * MIB).every((byte) => byte === 0))
  t.equal(occupied(paths.few), MIB, 'mounted again')
  t.equal(occupied(paths.many), 600 * 4096, '600 pieces, mounted again')
  const again = openSync(paths.many, 'r+')
  t.equal(occupied(paths.many), 600 * 4096, 'opened')
  writeSync(again, noise(MIB, 4), 0, MIB, 2 * GIB + 8 * MIB)
  const open = occupied(paths.many)
  t.ok(open >= 600 * 4096 + MIB && open <= 600 * 4096 + 2 * MIB, `written into: ${open}`)
  closeSync(again)
  const sum = 600 * 4096 + MIB
  t.equal(await occupies(paths.many, sum, sum), sum, 'closed after a change')
})
