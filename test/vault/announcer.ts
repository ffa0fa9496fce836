// Whatever is written while content is announced: in the end all of it is announced, and published.
import t from 'tap'
import { Announcer } from '../../src/vault/announcer.ts'
import type { OwnBundle } from '../../src/vault/announcer.ts'
import { StateMeta } from '../../src/state/meta.ts'
import type { BundleId, ChunkId, Op } from '../../src/ops/types.ts'
import { packFileOf } from '../../src/chunks/chunk-index-port.ts'
import { JOURNAL_START } from '../../src/vault/ports.ts'

const BUNDLE_BYTES = 100
const FILE = packFileOf(0, 0)

class Device {
  readonly meta = new StateMeta()
  readonly bundles: OwnBundle[] = []
  readonly announced = new Set<ChunkId>()
  readonly announcer: Announcer
  seq = 0
  /** Files still to be written while something is announced. */
  toWrite = 0
  runs = 0

  constructor(published = 0) {
    this.announcer = new Announcer({
      meta: () => this.meta,
      bundles: { put: () => undefined },
      journal: { scan: function* scan() { /* no loose chunks */ }, end: JOURNAL_START },
      content: { sync: () => Promise.resolve(), packLoose: () => Promise.resolve() },
      looseIn: () => undefined,
      scout: ({ begin, end }) => {
        const found = this.bundles.filter(({ place }) => (
          place.bundleOffset >= begin && place.bundleOffset < end
        ))
        if (this.toWrite > 0) {
          this.toWrite--
          this.write()
        }
        return Promise.resolve(found)
      },
      packs: () => [{ file: FILE, bytes: this.bundles.length * BUNDLE_BYTES }],
      durableSeq: () => this.seq,
      commit: async (ops) => this.#commit(ops),
      pause: () => Promise.resolve(),
    }, published)
  }

  /** A file with a bundle of its own, stored. */
  write(): void {
    const name = String(this.bundles.length)
    const place = {
      file: FILE, bundleOffset: this.bundles.length * BUNDLE_BYTES, bundleBytes: BUNDLE_BYTES,
    }
    this.bundles.push({ id: name as BundleId, place, chunks: [name as ChunkId] })
    const content = { kind: 'refs' } as unknown as (Op & { kind: 'put' })['content']
    this.announcer.placed(this.seq++, [{ kind: 'put', content } as Op])
  }

  /** As each flush of the journal has it done. */
  async publish(): Promise<void> {
    for (let seen = -1; seen !== this.seq && this.runs < 100; this.runs++) {
      seen = this.seq
      await this.announcer.run()
    }
  }

  async #commit(ops: readonly Op[]): Promise<void> {
    await Promise.resolve()
    for (const op of ops) {
      if (op.kind !== 'bundle') continue
      this.meta.bundles = op.number + 1
      this.meta.announced.set(0, { file: FILE, bytes: (op.number + 1) * BUNDLE_BYTES })
      for (const chunk of op.chunks) this.announced.add(chunk)
    }
    this.announcer.placed(this.seq++, ops)
  }
}

t.test('however much is written meanwhile', async (t) => {
  for (let more = 0; more < 12; more++) {
    const device = new Device()
    device.write()
    device.toWrite = more
    await device.publish()
    t.equal(device.announced.size, more + 1, `${more} files came meanwhile`)
    t.equal(device.announcer.limit, device.seq, 'all is published')
    const { runs } = device
    await device.publish()
    t.equal(device.runs, runs + 1, 'and it is quiet then')
  }
})

t.test('what was published before a crash, and not announced', async (t) => {
  const device = new Device(1)
  device.write()
  await device.publish()
  t.equal(device.announced.size, 1)
})
