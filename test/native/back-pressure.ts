// The native session under memory pressure: what is written while writers are parked, resumed and
// predicted to land arrives as it was sent. Driven by the fake kernel; no mount, no privilege.
// SEED=n replays it.

import t from 'tap'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FakeKernel, OP, attrAt, body } from './support/fake-kernel.ts'
import { MemoryFs } from './support/memory-fs.ts'
import { testSeed } from '../support/seed.ts'

const SEED = testSeed()
const PIECE_BYTES = 1 << 20
const PIECES = 24
const FILES = 8
const IN_FLIGHT = 12

/** The byte that fills the piece at `index` of the stream. */
const pattern = (index: number): number => ((index * 37 + SEED) % 251) + 1

void t.test(`a stream above the dirty limit keeps its bytes (SEED=${SEED})`, async (test) => {
  const [ours, theirs] = sessionAddon().socketPair()
  const fs = new MemoryFs({ fd: ours, dirtyBytesMax: 6 * PIECE_BYTES, sealAfterMs: 1 })
  const kernel = new FakeKernel(theirs)
  test.teardown(async () => {
    fs.close()
    await kernel.ended
  })
  await kernel.ok(OP.init, 0, body.init())
  const length = PIECE_BYTES - 80
  const wrong: string[] = []
  for (let file = 0; file < FILES; file++) {
    const { ino } = attrAt(await kernel.ok(OP.create, 1, body.create(`stream ${file}`)), 40)
    const waiting: Promise<unknown>[] = []
    for (let i = 0; i < PIECES; i++) {
      const bytes = Buffer.alloc(length, pattern(i))
      waiting.push(kernel.ok(OP.write, ino, body.write(i * length, bytes)))
      if (waiting.length >= IN_FLIGHT) await waiting.shift()
    }
    await Promise.all(waiting)
    await kernel.ok(OP.fsync, ino, body.fsync())
    const { base } = fs.nodes.get(ino)!
    for (let i = 0; i < PIECES; i++) {
      const piece = base.subarray(i * length, (i + 1) * length)
      if (!piece.equals(Buffer.alloc(length, pattern(i)))) wrong.push(`${file}: ${i}`)
    }
  }
  test.same(wrong, [], 'pieces with other bytes than were written')
  const stats = fs.session.stats()
  test.ok(Number(stats[5]) > 0, `${stats[5]} landed, ${stats[6]} missed`)
})
