// The native file table against its TypeScript twin: the differential fuzzer of FileBuffers drives
// both through the port. Small files first (all paths of the interval map), then large ones that
// cross arenas and slabs. SEED=n replays.

import t from 'tap'
import { NativeBuffers } from '../../src/fuse/native-buffers.ts'
import type { Ino } from '../../src/vault/buffers.ts'
import { Driver, SEED, makeSide, twinSide, type Side } from '../vault/buffers-fuzz.ts'

const GIB = 1024 ** 3

function nativeSide(): { side: Side; close: () => void } {
  const buffers = new NativeBuffers({ dirtyBytesMax: 4 * GIB, cleanBytesMax: GIB })
  return {
    side: makeSide('native', buffers, () => buffers.drain()),
    close: () => buffers.close(),
  }
}

async function fuzz(rounds: number, steps: number, sizeMax: number, strict: boolean): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const { side, close } = nativeSide()
    try {
      await new Driver(twinSide(), side, { inos: 2, steps, sizeMax, strict }, SEED + round).run()
    } finally {
      close()
    }
  }
}

void t.test(`twin against native, small files, SEED=${SEED}`, async (test) => {
  await fuzz(150, 120, 512, true)
  test.pass('they agree')
})

void t.test(`twin against native, large files, SEED=${SEED}`, async (test) => {
  await fuzz(6, 60, 12 * 1024 * 1024, false)
  test.pass('they agree')
})

void t.test('limits: the writer above the dirty limit is told to wait, pressure is raised', (test) => {
  const buffers = new NativeBuffers({ dirtyBytesMax: 100_000, cleanBytesMax: 1 })
  test.teardown(() => buffers.close())
  const seen: string[] = []
  buffers.listen({
    need: () => undefined,
    dirty: (ino) => void seen.push(`dirty ${ino}`),
    full: () => undefined,
    flush: () => undefined,
    released: () => undefined,
    pressure: () => void seen.push('pressure'),
    forgotten: (ino) => void seen.push(`forgotten ${ino}`),
  })
  const ino = 5 as Ino
  const attr = { ...EMPTY }
  buffers.attach(ino, attr)
  buffers.openData(ino)
  test.ok(buffers.write(ino, 0, new Uint8Array(100_000)))
  test.notOk(buffers.write(ino, 100_000, new Uint8Array(10)), 'full')
  const job = buffers.freeze(ino)
  test.notOk(buffers.write(ino, 100_000, new Uint8Array(10)), 'frozen bytes count as well')
  buffers.settle(job!.job, true, Infinity)
  test.ok(buffers.write(ino, 100_000, new Uint8Array(10)), 'room again')
  test.equal(buffers.totals().cleanBytes, 0, 'clean bytes beyond their limit were dropped')
  buffers.drain()
  test.same([...new Set(seen)], ['dirty 5', 'pressure'])
  test.throws(() => buffers.write(99 as Ino, 0, new Uint8Array(1)), { code: 'invalid' })
  test.throws(() => buffers.fail(ino, 0, 1, 0), { code: 'invalid' })
  test.throws(() => buffers.zero(ino, 2 ** 53, 1, true))
  test.throws(() => buffers.truncate(ino, -1))
  test.end()
})

const EMPTY = {
  mode: 0o100644,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0,
  sizeBytes: 0,
  atimeSec: 0,
  atimeNsec: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  ctimeSec: 0,
  ctimeNsec: 0,
}
