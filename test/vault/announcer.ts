// The announcer: what is announced ahead shares the batch's flush, once; nothing is published
// before it has its place; what takes long, or is much, goes the ordinary way.
import t from 'tap'
import { packFileOf } from '../../src/chunks/chunk-index-port.ts'
import type { BundleId, Op } from '../../src/ops/types.ts'
import type { StateMeta } from '../../src/state/meta.ts'
import { Announcer } from '../../src/vault/announcer.ts'
import type { OwnBundle, PackRange } from '../../src/vault/announcer.ts'
import { JOURNAL_START } from '../../src/vault/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'

const FILE = packFileOf(0, 1)
const BUNDLE_BYTES = 4096

/** One pack whose bundles are all of one size, and a queue that places ops when it is told to. */
class World {
  readonly clock = new FakeClock()
  readonly meta = { bundles: 0, announced: new Map(), looseFrom: undefined } as unknown as StateMeta
  readonly announcer: Announcer
  packBytes = 0
  durableSeq = 0
  queued: Op[] = []
  placed: Op[] = []
  committed = 0
  scouting: Promise<void> | undefined

  constructor() {
    this.announcer = new Announcer({
      meta: () => this.meta,
      bundles: { put: () => undefined },
      journal: { scan: () => [][Symbol.iterator](), end: JOURNAL_START } as never,
      content: { sync: () => Promise.resolve(), packLoose: () => Promise.resolve() },
      looseIn: () => undefined,
      scout: (range) => this.#scout(range),
      packs: () => [{ file: FILE, bytes: this.packBytes }],
      durableSeq: () => this.durableSeq,
      commit: async (ops) => {
        this.queued.push(...ops)
        this.committed++
        this.flush()
      },
      push: (ops) => void this.queued.push(...ops),
      clock: this.clock,
      pause: () => Promise.resolve(),
    }, 0)
  }

  async #scout({ begin, end }: PackRange): Promise<OwnBundle[]> {
    await this.scouting
    const found: OwnBundle[] = []
    for (let at = begin; at < end; at += BUNDLE_BYTES) {
      const place = { file: FILE, bundleOffset: at, bundleBytes: BUNDLE_BYTES }
      found.push({ id: `bundle ${at}` as BundleId, place, chunks: [] })
    }
    // an empty one has no op: each is given a chunk
    return found.map((one) => ({ ...one, chunks: ['c'.repeat(32) as never] }))
  }

  /** What is queued gets its place in a batch, as notes see it. */
  place(): void {
    const ops = this.queued.splice(0)
    for (const op of ops) {
      if (op.kind !== 'bundle') continue
      this.meta.bundles = op.number + 1
      const bytes = (op.number + 1) * BUNDLE_BYTES
      this.meta.announced.set(0, { file: FILE, bytes } as never)
    }
    this.placed.push(...ops)
    this.announcer.placed(this.durableSeq, ops)
  }

  flush(): void {
    this.place()
    this.durableSeq++
  }

  get numbers(): number[] {
    return this.placed.flatMap((op) => (op.kind === 'bundle' ? [op.number] : []))
  }
}

t.test('what is announced ahead needs no batch of its own', async (t) => {
  const world = new World()
  world.packBytes = 2 * BUNDLE_BYTES
  const release = await world.announcer.ahead()
  t.equal(world.queued.length, 2)
  world.flush()
  release()
  await world.announcer.run()
  t.same(world.numbers, [0, 1], 'each once')
  t.equal(world.committed, 0)
  t.equal(world.announcer.limit, world.durableSeq)
})

t.test('nothing is published, and nothing announced again, before it has its place', async (t) => {
  const world = new World()
  world.packBytes = BUNDLE_BYTES
  world.durableSeq = 1 // something else became durable
  const release = await world.announcer.ahead()
  release() // it could not be placed
  await world.announcer.run()
  t.equal(world.announcer.limit, 0)
  t.equal((await world.announcer.ahead(), world.queued.length), 1, 'not twice')
  world.flush()
  await world.announcer.run()
  t.same(world.numbers, [0])
  t.equal(world.announcer.limit, 2)
})

t.test('a round waits until what goes ahead is placed', async (t) => {
  const world = new World()
  world.packBytes = BUNDLE_BYTES
  world.durableSeq = 1
  const release = await world.announcer.ahead()
  const round = world.announcer.run()
  await new Promise((resolve) => void setImmediate(resolve))
  t.equal(world.announcer.limit, 0)
  world.flush()
  release()
  await round
  t.same(world.numbers, [0])
  t.equal(world.committed, 0)
  t.equal(world.announcer.limit, 2)
})

t.test('a scout that is slow delays no commit, and announces later', async (t) => {
  const world = new World()
  world.packBytes = BUNDLE_BYTES
  let answer = (): void => undefined
  world.scouting = new Promise((resolve) => (answer = resolve))
  const looking = world.announcer.ahead()
  await new Promise((resolve) => void setImmediate(resolve))
  world.clock.advance(1000)
  ;(await looking)()
  t.equal(world.queued.length, 0)
  world.flush()
  answer()
  await world.announcer.run()
  t.same(world.numbers, [0], 'by a round of its own')
  t.equal(world.committed, 1)
})

t.test('much goes the ordinary way', async (t) => {
  const world = new World()
  world.packBytes = 1024 * BUNDLE_BYTES
  ;(await world.announcer.ahead())()
  t.equal(world.queued.length, 0)
})
