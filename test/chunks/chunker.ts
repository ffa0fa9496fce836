// The chunkers: FastCDC in the addon cuts like its plain twin on random and on hostile data, cuts
// do not depend on how the stream was split into buffers, and lengths keep their bounds.
// SEED=n replays.

import t from 'tap'
import {
  CHUNKER_FASTCDC,
  CHUNKER_FIXED_16K,
  FASTCDC_SIZES,
  chunkerMaxBytes,
  cutChunks,
  cutNative,
  cutTwin,
  isChunkerId,
} from '../../src/chunks/chunker.ts'
import type { CutSizes } from '../../src/chunks/chunker.ts'
import { checkChunkId, chunkIdOf, readChunkId, writeChunkId } from '../../src/chunks/chunk-id.ts'
import { gearTable } from '../../src/chunks/gear.ts'
import { toHex } from '../../src/util/bytes.ts'
import { testRandom } from '../support/random.helper.ts'

const random = testRandom()
t.comment(`SEED=${random.seed}`)

const gear = gearTable(random.bytes(32))
const SMALL: CutSizes = { minBytes: 64, avgBytes: 256, maxBytes: 1024 }
const SIZES: CutSizes[] = [
  SMALL,
  { minBytes: 65, avgBytes: 256, maxBytes: 999 },
  { minBytes: 512, avgBytes: 512, maxBytes: 512 },
  { minBytes: 100, avgBytes: 4096, maxBytes: 5001 },
  { minBytes: 1024, avgBytes: 1024, maxBytes: 65536 },
]

/** Data that a chunker could trip over: runs, periods, the gear's own bytes, almost-repeats. */
function hostile(length: number): Uint8Array {
  const out = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const run = 1 + random.below(3000)
    const end = Math.min(length, at + run)
    const period = random.bytes(1 + random.below(random.pick([1, 2, 3, 64, 65, 300])))
    const kind = random.below(4)
    for (let i = at; i < end; i++) {
      if (kind === 0) out[i] = period[0] as number
      else if (kind === 1) out[i] = period[(i - at) % period.length] as number
      else if (kind === 2) out[i] = gear[(i - at) % gear.length] as number
      else out[i] = random.below(256)
    }
    at = end
  }
  return out
}

function checkBounds(lengths: Uint32Array, total: number, sizes: CutSizes): string | undefined {
  const sum = lengths.reduce((a, b) => a + b, 0)
  if (sum !== total) return `sum ${sum}, not ${total}`
  const short = lengths.subarray(0, -1).find((length) => length < sizes.minBytes)
  const long = lengths.find((length) => length > sizes.maxBytes || length === 0)
  return short ?? long ? `a chunk of ${short ?? long}` : undefined
}

t.test('native cuts like the twin, within bounds', async (t) => {
  for (const sizes of SIZES) {
    const wrong: string[] = []
    for (let round = 0; round < 60; round++) {
      const length = random.below(random.pick([2, 100, 2000, 40000]))
      const data = round % 2 === 0 ? random.bytes(length) : hostile(length)
      for (const final of [true, false]) {
        const native = cutNative(gear, data, final, sizes)
        const twin = cutTwin(gear, data, final, sizes)
        if (native.join() !== twin.join()) wrong.push(`${native.join()} / ${twin.join()}`)
        const bounds = final ? checkBounds(native, length, sizes) : undefined
        if (bounds !== undefined) wrong.push(bounds)
      }
    }
    t.same(wrong, [], JSON.stringify(sizes))
  }
})

t.test('the real sizes: native = twin; zeroes are cut at the maximum', async (t) => {
  const data = random.bytes(3_000_001)
  data.fill(0, 1_000_000, 2_200_000)
  const native = cutChunks(CHUNKER_FASTCDC, gear, data, true)
  t.same(native, cutTwin(gear, data, true, FASTCDC_SIZES))
  t.equal(checkBounds(native, data.length, FASTCDC_SIZES), undefined)
  const zeroes = cutChunks(CHUNKER_FASTCDC, gear, new Uint8Array(2_000_000), true)
  t.equal(checkBounds(zeroes, 2_000_000, FASTCDC_SIZES), undefined)
  t.equal(new Set(zeroes.subarray(0, -1)).size, 1, 'equal content, equal lengths')
  t.same(cutChunks(CHUNKER_FASTCDC, gear, new Uint8Array(0), true), new Uint32Array(0))
})

/** Feeds `data` in random pieces, as a stream would come, and joins the lengths. */
function cutStream(chunker: 1 | 2 | CutSizes, data: Uint8Array): number[] {
  const lengths: number[] = []
  let held = 0
  for (let end = 0; end < data.length || held < data.length; ) {
    end = Math.min(data.length, end + random.below(random.pick([2, 50, 3000, 60000])))
    const final = end === data.length && random.below(2) === 0
    const buffer = data.subarray(held, end)
    const got = typeof chunker === 'number'
      ? cutChunks(chunker, gear, buffer, final)
      : cutNative(gear, buffer, final, chunker)
    for (const length of got) {
      lengths.push(length)
      held += length
    }
    if (final) break
  }
  return lengths
}

t.test('cuts do not depend on how the stream was split', async (t) => {
  for (let round = 0; round < 40; round++) {
    const data = round % 2 === 0 ? random.bytes(random.below(50000)) : hostile(random.below(50000))
    const whole = cutNative(gear, data, true, SMALL)
    t.same(cutStream(SMALL, data), [...whole])
    t.same(cutStream(2, data), [...cutChunks(CHUNKER_FIXED_16K, gear, data, true)])
  }
  const large = random.bytes(1_500_000)
  t.same(cutStream(1, large), [...cutChunks(CHUNKER_FASTCDC, gear, large, true)])
})

t.test('an insertion moves cuts only near itself', async (t) => {
  const data = random.bytes(400_000)
  const changed = Buffer.concat([data.subarray(0, 1000), Buffer.from('x'), data.subarray(1000)])
  const ids = (bytes: Uint8Array): Set<string> => {
    const found = new Set<string>()
    let at = 0
    for (const length of cutNative(gear, bytes, true, SMALL)) {
      found.add(chunkIdOf(gear.subarray(0, 32), bytes.subarray(at, at + length)))
      at += length
    }
    return found
  }
  const before = ids(data)
  const fresh = [...ids(changed)].filter((id) => !before.has(id))
  t.ok(fresh.length <= 12, `${fresh.length} new chunks of ${before.size}`)
})

t.test('another key cuts elsewhere', async (t) => {
  const data = random.bytes(100_000)
  const other = gearTable(random.bytes(32))
  t.not(cutNative(gear, data, true, SMALL).join(), cutNative(other, data, true, SMALL).join())
})

t.test('fixed 16 KiB', async (t) => {
  const sizes = (length: number, final: boolean): number[] =>
    [...cutChunks(CHUNKER_FIXED_16K, gear, new Uint8Array(length), final)]
  t.same(sizes(0, true), [])
  t.same(sizes(16384, false), [16384])
  t.same(sizes(16385, false), [16384])
  t.same(sizes(16385, true), [16384, 1])
  t.same(sizes(40000, true), [16384, 16384, 7232])
  t.equal(chunkerMaxBytes(CHUNKER_FIXED_16K), 16384)
  t.equal(chunkerMaxBytes(CHUNKER_FASTCDC), 524288)
  t.same([0, 1, 2, 3].map(isChunkerId), [false, true, true, false])
})

t.test('chunk ids: keyed, exact in memory and in bytes', async (t) => {
  const key = random.bytes(32)
  const plain = random.bytes(5000)
  const id = chunkIdOf(key, plain)
  t.equal(id.length, 32)
  t.equal(chunkIdOf(key, Buffer.from(plain)), id)
  t.not(chunkIdOf(random.bytes(32), plain), id)
  const bytes = new Uint8Array(40)
  writeChunkId(bytes, 5, id)
  t.equal(readChunkId(bytes, 5), id)
  t.equal(toHex(bytes.subarray(5, 37)), Buffer.from(id, 'latin1').toString('hex'))
  checkChunkId(key, id, plain)
  plain[9] = (plain[9] as number) ^ 1
  t.throws(() => checkChunkId(key, id, plain), { code: 'chunk-id-mismatch' })
})
