// A differential fuzzer of FileBuffers: two implementations, one seeded sequence of calls through
// the port, every observable compared after each. The driver plays the engine: it keeps each
// file's base and serves it, settles jobs wholly, partly or not at all, and fills stale and fresh.
//
//   flat model against twin    per-byte states, small files; everything must be equal
//   twin against native        large files that cross slabs; what is clean may be dropped at any
//                              time, so only dirty and frozen ranges, and bytes once filled, must
// be equal
//
// Replay with SEED=n. Times that writes set are the implementation's own and are not compared.

import t from 'tap'
import { isDeepStrictEqual } from 'node:util'
import { BuffersTwin } from '../../src/vault/buffers-twin.ts'
import * as port from '../../src/vault/buffers.ts'
import type { Attr, FileBuffers, FrozenJob, Ino } from '../../src/vault/buffers.ts'
import { FlatBuffers } from '../support/flat-buffers.ts'
import { testSeed } from '../support/seed.ts'

interface Side {
  name: string
  buffers: FileBuffers
  /** Hands out events that are queued. */
  deliver: () => void
  events: string[]
  job: Map<Ino, FrozenJob>
}

interface Plan {
  inos: number
  steps: number
  sizeMax: number
  /** Clean ranges must be equal, too. */
  strict: boolean
}

const SEED = testSeed()

class Rng {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  bytes(n: number): Uint8Array {
    const out = new Uint8Array(n)
    const first = this.below(256)
    const step = this.below(255) + 1
    for (let i = 0; i < n; i++) out[i] = (first + i * step) ^ (i >> 8)
    return out
  }
}

function newAttr(rng: Rng, sizeBytes: number): Attr {
  return {
    mode: 0o100644,
    nlink: 1 + rng.below(3),
    uid: rng.below(5),
    gid: rng.below(5),
    rdev: 0,
    sizeBytes,
    atimeSec: 1,
    atimeNsec: 2,
    mtimeSec: 3,
    mtimeNsec: 4,
    ctimeSec: 5,
    ctimeNsec: 6,
  }
}

function makeSide(name: string, buffers: FileBuffers, deliver: () => void): Side {
  const events: string[] = []
  buffers.listen({
    need: (ino, offset, length, sequential) =>
      void events.push(`need ${ino} ${offset} ${length} ${sequential}`),
    dirty: (ino) => void events.push(`dirty ${ino}`),
    full: (ino) => void events.push(`full ${ino}`),
    flush: (ino) => void events.push(`flush ${ino}`),
    released: (ino) => void events.push(`released ${ino}`),
    pressure: () => void events.push('pressure'),
    forgotten: (ino) => void events.push(`forgotten ${ino}`),
  })
  return { name, buffers, deliver, events, job: new Map() }
}

class Driver {
  readonly rng: Rng
  readonly trace: string[] = []
  #base = new Map<Ino, Uint8Array>()
  #staleEpoch = new Map<Ino, number[]>()
  #explicitMtime = new Map<Ino, boolean>()

  readonly a: Side
  readonly b: Side
  readonly plan: Plan

  constructor(a: Side, b: Side, plan: Plan, seed: number) {
    this.a = a
    this.b = b
    this.plan = plan
    this.rng = new Rng(seed)
  }

  same<T>(what: string, of: (side: Side) => T): T {
    const left = of(this.a)
    const right = of(this.b)
    if (!isDeepStrictEqual(left, right)) {
      const show = (value: unknown): string => JSON.stringify(value)?.slice(0, 600) ?? 'undefined'
      const last = this.trace.slice(-12).join('\n  ')
      const { name } = this.a
      throw new Error(
        `${what} differs after\n  ${last}\n${name}: ${show(left)}\n${this.b.name}: ${show(right)}`,
      )
    }
    return left
  }

  async run(): Promise<void> {
    for (let i = 1; i <= this.plan.inos; i++) this.#attach(i as Ino)
    for (let step = 0; step < this.plan.steps; step++) {
      const ino = (1 + this.rng.below(this.plan.inos)) as Ino
      await this.#step(ino)
      this.#observe(ino)
    }
  }

  #attach(ino: Ino): void {
    const base = this.rng.bytes(this.rng.below(2) * this.#place())
    const attr = newAttr(this.rng, base.length)
    this.trace.push(`attach ${ino} ${base.length}`)
    this.#base.set(ino, base)
    this.#staleEpoch.set(ino, [])
    this.#explicitMtime.set(ino, true)
    this.#both((side) => {
      side.buffers.attach(ino, attr)
      side.buffers.openData(ino)
    })
  }

  #both(act: (side: Side) => void): void {
    act(this.a)
    act(this.b)
  }

  /** An offset or length: often small, sometimes large, aligned now and then. */
  #place(): number {
    const max = this.rng.below(4) === 0 ? this.plan.sizeMax : this.plan.sizeMax / 8
    const at = this.rng.below(max)
    return this.rng.below(3) === 0 ? at - (at % Math.min(4096, this.plan.sizeMax / 16)) : at
  }

  #size(ino: Ino): number {
    return this.a.buffers.attrs(ino)?.sizeBytes ?? 0
  }

  async #step(ino: Ino): Promise<void> {
    const actions: [number, (ino: Ino) => void | Promise<void>][] = [
      [12, (one) => this.#write(one)],
      [10, (one) => this.#append(one)],
      [4, (one) => this.#truncate(one)],
      [4, (one) => this.#zero(one)],
      [10, (one) => this.#read(one)],
      [8, (one) => this.#freeze(one)],
      [8, (one) => this.#readFrozen(one)],
      [8, (one) => this.#settle(one)],
      [10, (one) => this.#fill(one)],
      [2, (one) => this.#replaceBase(one)],
      [3, (one) => this.#attributes(one)],
      [1, (one) => this.#drop(one)],
    ]
    let pick = this.rng.below(actions.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, action] of actions) {
      pick -= weight
      if (pick < 0) return action.call(this, ino)
    }
  }

  #write(ino: Ino): void {
    const offset = this.#place()
    const bytes = this.rng.bytes(this.#place() >> this.rng.below(6))
    this.trace.push(`write ${ino} ${offset} ${bytes.length}`)
    if (bytes.length > 0) this.#explicitMtime.set(ino, false)
    this.same('write', (side) => side.buffers.write(ino, offset, bytes))
  }

  /** A stream: several writes, each where the file ends. */
  #append(ino: Ino): void {
    const count = 1 + this.rng.below(4)
    for (let i = 0; i < count; i++) {
      const offset = this.#size(ino)
      if (offset > this.plan.sizeMax * 2) return
      const bytes = this.rng.bytes(1 + (this.#place() >> 1))
      this.trace.push(`append ${ino} ${offset} ${bytes.length}`)
      this.#explicitMtime.set(ino, false)
      this.same('write', (side) => side.buffers.write(ino, offset, bytes))
    }
  }

  #truncate(ino: Ino): void {
    const size = this.rng.below(3) === 0 ? this.#place() : this.rng.below(this.#size(ino) + 1)
    this.trace.push(`truncate ${ino} ${size}`)
    this.#explicitMtime.set(ino, false)
    this.#both((side) => side.buffers.truncate(ino, size))
  }

  #zero(ino: Ino): void {
    const offset = this.#place()
    const length = this.#place()
    const mayGrow = this.rng.below(2) === 0
    this.trace.push(`zero ${ino} ${offset} ${length} ${mayGrow}`)
    this.#explicitMtime.set(ino, false)
    this.#both((side) => side.buffers.zero(ino, offset, length, mayGrow))
  }

  #read(ino: Ino): void {
    const offset = this.#place()
    const length = this.#place()
    this.trace.push(`read ${ino} ${offset} ${length}`)
    if (this.plan.strict) this.same('read', (side) => side.buffers.read(ino, offset, length))
    else this.#readFilled(ino, offset, length)
  }

  /** The bytes, with whatever is absent brought in from the base first. */
  #readFilled(ino: Ino, offset: number, length: number): void {
    this.same('read', (side) => {
      const now = side.buffers.read(ino, offset, length)
      if (now !== undefined) return Buffer.from(now).toString('base64')
      this.#fillAll(side, ino)
      const then = side.buffers.read(ino, offset, length)
      if (then === undefined) throw new Error(`${side.name}: absent after everything was filled`)
      return Buffer.from(then).toString('base64')
    })
  }

  #fillAll(side: Side, ino: Ino): void {
    const base = this.#base.get(ino) as Uint8Array
    side.buffers.fill(ino, side.buffers.baseEpoch(ino), 0, padded(base, this.#size(ino)))
  }

  #freeze(ino: Ino): void {
    if (this.a.job.has(ino)) return
    this.trace.push(`freeze ${ino}`)
    this.same('freeze', (side) => {
      const job = side.buffers.freeze(ino)
      if (job === undefined) return undefined
      side.job.set(ino, job)
      return { extents: job.extents, dataBytes: job.dataBytes, size: job.attr.sizeBytes }
    })
  }

  #readFrozen(ino: Ino): void {
    const job = this.a.job.get(ino)
    if (job === undefined || job.extents.length === 0) return
    const extent = job.extents[this.rng.below(job.extents.length)] as FrozenJob['extents'][number]
    const begin = extent.offset + this.rng.below(extent.length)
    const length = 1 + this.rng.below(extent.offset + extent.length - begin)
    this.trace.push(`readFrozen ${ino} ${begin} ${length}`)
    this.same('readFrozen', (side) => this.#frozenBytes(side, ino, begin, length))
  }

  #frozenBytes(side: Side, ino: Ino, offset: number, length: number): string {
    const into = new Uint8Array(length).fill(0xee)
    side.buffers.readFrozen((side.job.get(ino) as FrozenJob).job, offset, into)
    return Buffer.from(into).toString('base64')
  }

  #settle(ino: Ino): void {
    const job = this.a.job.get(ino)
    if (job === undefined) return
    const ok = this.rng.below(4) !== 0
    const whole = this.rng.below(2) === 0
    const thawBegin = whole ? Number.MAX_SAFE_INTEGER : this.rng.below(job.attr.sizeBytes + 1)
    this.trace.push(`settle ${ino} ${ok} ${thawBegin}`)
    if (ok) this.#splice(ino, job, thawBegin)
    const epochs = this.#staleEpoch.get(ino) as number[]
    epochs.push(this.a.buffers.baseEpoch(ino))
    this.#both((side) => {
      const mine = side.job.get(ino) as FrozenJob
      side.job.delete(ino)
      side.buffers.settle(mine.job, ok, thawBegin)
    })
  }

  /** What sealing does: the base takes the job's bytes below the thaw, and its size. */
  #splice(ino: Ino, job: FrozenJob, thawBegin: number): void {
    const base = padded(this.#base.get(ino) as Uint8Array, job.attr.sizeBytes)
    for (const extent of job.extents) {
      const end = Math.min(extent.offset + extent.length, thawBegin)
      if (end <= extent.offset) continue
      const into = base.subarray(extent.offset, end)
      this.a.buffers.readFrozen(job.job, extent.offset, into)
    }
    this.#base.set(ino, base)
  }

  #fill(ino: Ino): void {
    const base = this.#base.get(ino) as Uint8Array
    const begin = this.rng.below(base.length + 1)
    const bytes = base.slice(begin, begin + 1 + this.#place())
    const stale = this.#staleEpoch.get(ino) as number[]
    const useStale = stale.length > 0 && this.rng.below(3) === 0
    this.trace.push(`fill ${ino} ${begin} ${bytes.length} ${useStale ? 'stale' : 'fresh'}`)
    this.same('fill', (side) => {
      const current = side.buffers.baseEpoch(ino)
      const junk = useStale ? bytes.map((byte) => byte ^ 0x55) : bytes
      return side.buffers.fill(ino, useStale ? current - 1 : current, begin, junk)
    })
  }

  #replaceBase(ino: Ino): void {
    if (this.a.job.has(ino)) return
    const offset = this.rng.below(this.#size(ino) + 1)
    const bytes = this.rng.bytes(1 + this.#place())
    this.trace.push(`replaceBase ${ino} ${offset} ${bytes.length}`)
    const size = Math.max((this.#base.get(ino) as Uint8Array).length, offset + bytes.length)
    const base = padded(this.#base.get(ino) as Uint8Array, size)
    base.set(bytes, offset)
    this.#base.set(ino, base)
    this.#explicitMtime.set(ino, false)
    const epochs = this.#staleEpoch.get(ino) as number[]
    epochs.push(this.a.buffers.baseEpoch(ino))
    this.#both((side) => side.buffers.replaceBase(ino, offset, bytes.length))
  }

  #attributes(ino: Ino): void {
    const mask = [1, 2, 4, 16, 32, 33, 7][this.rng.below(7)] as number
    const attr = newAttr(this.rng, 0)
    attr.mode = 0o100000 | this.rng.below(0o1000)
    attr.mtimeSec = this.rng.below(1000)
    const pick = this.rng.below(4)
    this.trace.push(`attributes ${ino} ${mask} ${pick}`)
    if (pick < 3 && (mask & port.ATTR_MTIME) !== 0) this.#explicitMtime.set(ino, true)
    this.#both(({ buffers }) => {
      if (pick < 2) buffers.changeAttrs(ino, mask, attr)
      else if (pick === 2) buffers.setAttrs(ino, mask, attr)
      else buffers.attach(ino, { ...attr, sizeBytes: 12345 })
    })
    if (this.rng.below(3) > 0) return
    this.same('takeDirtyAttrs', (side) =>
      side.buffers.takeDirtyAttrs().map(({ ino: changed, mask: of, attr: now }) => {
        return [changed, of, this.#comparable(changed, now)]
      }),
    )
  }

  #drop(ino: Ino): void {
    if (this.a.job.has(ino)) return
    this.trace.push(`drop ${ino}`)
    this.#both((side) => side.buffers.drop(ino))
    this.#attach(ino)
  }

  #comparable(ino: Ino, attr: Attr | undefined): unknown {
    if (attr === undefined) return undefined
    const { ctimeSec: _sec, ctimeNsec: _nsec, mtimeSec, mtimeNsec, ...rest } = attr
    return this.#explicitMtime.get(ino) === true ? { ...rest, mtimeSec, mtimeNsec } : rest
  }

  #observe(ino: Ino): void {
    this.#both((side) => side.deliver())
    this.same('attrs', (side) => this.#comparable(ino, side.buffers.attrs(ino)))
    this.same('isDirty', (side) => side.buffers.isDirty(ino))
    this.same('dirtyBytes', (side) => side.buffers.dirtyBytes(ino))
    this.same('overlay', (side) =>
      side.buffers
        .overlay(ino, 0, Number.MAX_SAFE_INTEGER)
        .filter((extent) => this.plan.strict || extent.state !== 'clean'),
    )
    this.same('events', (side) => {
      const kinds = this.plan.strict ? ['need', 'dirty'] : ['dirty']
      const seen = side.events.filter((event) => kinds.includes(event.split(' ')[0] as string))
      side.events.length = 0
      return [...new Set(seen)].sort()
    })
    if (this.plan.strict) this.same('totals', (side) => side.buffers.totals())
    if (this.rng.below(8) > 0) return
    const offset = this.#place()
    this.#readFilled(ino, offset, this.plan.strict ? this.plan.sizeMax : this.#place())
  }
}

/** A copy of exactly that length: cut, or grown by zeros. */
function padded(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length)
  out.set(bytes.subarray(0, length))
  return out
}

/** From files that fit a heap buffer to files that cross slabs of 8 MiB. */
const NATIVE_PLANS = [
  { rounds: 60, inos: 2, steps: 150, sizeMax: 2048, strict: false },
  { rounds: 40, inos: 3, steps: 150, sizeMax: 100_000, strict: false },
  { rounds: 8, inos: 2, steps: 60, sizeMax: 12 * 1024 * 1024, strict: false },
]

type Native = import('../../src/fuse/native-buffers.ts').NativeBuffers

async function nativeBuffers(): Promise<(() => Native) | undefined> {
  try {
    const { NativeBuffers } = await import('../../src/fuse/native-buffers.ts')
    const make = (): Native =>
      new NativeBuffers({ dirtyBytesMax: 2 ** 31, cleanBytesMax: 2 ** 31 })
    make().close()
    return make
  } catch {
    return undefined
  }
}

let clockNsec = 0
const now = (): { sec: number; nsec: number } => ({ sec: 1_800_000_000, nsec: clockNsec++ })

function twinSide(): Side {
  const buffers = new BuffersTwin({ now })
  return makeSide('twin', buffers, () => buffers.deliver())
}

void t.test(`flat model against twin, SEED=${SEED}`, async (test) => {
  const rounds = 150
  for (let round = 0; round < rounds; round++) {
    const flat = makeSide('flat', new FlatBuffers(), () => undefined)
    const plan = { inos: 2, steps: 120, sizeMax: 512, strict: true }
    await new Driver(flat, twinSide(), plan, SEED + round).run()
  }
  test.pass(`${rounds} sequences agree`)
})

const native = await nativeBuffers()
const skipNative = native === undefined ? { skip: 'the addon has no file table' } : {}

void t.test(`twin against native, SEED=${SEED}`, skipNative, async (test) => {
  if (native === undefined) return
  for (const { rounds, ...plan } of NATIVE_PLANS) {
    for (let round = 0; round < rounds; round++) {
      const buffers = native()
      try {
        const side = makeSide('native', buffers, () => buffers.drain())
        await new Driver(twinSide(), side, plan, SEED + round).run()
      } finally {
        buffers.close()
      }
    }
    test.pass(`${rounds} sequences of files up to ${plan.sizeMax} bytes agree`)
  }
})

void t.test('a driver that lies is caught', async (test) => {
  const liar = new (class extends FlatBuffers {
    override settle(job: port.JobId, ok: boolean): void {
      super.settle(job, ok, Number.MAX_SAFE_INTEGER)
    }
  })()
  const side = makeSide('liar', liar, () => undefined)
  const plan = { inos: 2, steps: 3000, sizeMax: 512, strict: true }
  await test.rejects(new Driver(side, twinSide(), plan, 1).run(), /differs/)
})

export { Driver, makeSide, twinSide, SEED }
export type { Plan, Side }
