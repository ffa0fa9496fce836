// Bundles: what was added comes out, in whole and by the segment; sizes hide what is inside;
// every changed byte and every broken rule is refused for its own reason. Compression too.
// SEED=n replays.

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import lz4 from 'lz4-napi'
import t from 'tap'
import {
  BundleBuilder,
  openBundle,
  openBundleIndex,
  openRange,
  readBundleIndex,
  readChunk,
  readPlain,
  readerOf,
} from '../../src/chunks/bundle.ts'
import type { ReadSealed } from '../../src/chunks/bundle.ts'
import {
  BUNDLE_HEADER_BYTES,
  BUNDLE_MAX_BYTES,
  BUNDLE_RANDOM_BYTES,
  encodeHeader,
  maxPlainBytes,
  padme,
  parseHeader,
  plainBytesOf,
  sealedBytesOf,
  segmentRange,
  writeIndex,
} from '../../src/chunks/bundle-layout.ts'
import type { BundleEntry } from '../../src/chunks/bundle-layout.ts'
import { chunkIdOf } from '../../src/chunks/chunk-id.ts'
import type { ChunkId } from '../../src/chunks/chunk-id.ts'
import { CHUNK_MAX_BYTES } from '../../src/chunks/chunker.ts'
import {
  CODEC_LZ4,
  CODEC_RAW,
  compressChunk,
  decompressChunk,
} from '../../src/chunks/compress.ts'
import { sealSegments } from '../../src/crypto/aead.ts'
import { loadAddon } from '../../src/crypto/native.ts'
import { equalBytes } from '../../src/util/bytes.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { testRandom } from '../support/random.helper.ts'

const random = testRandom()
t.comment(`SEED=${random.seed}`)

const ID_KEY = random.bytes(32)
const WHO = {
  vaultId: random.bytes(16),
  epochId: random.bytes(8),
  sealer: random.bytes(32),
  key: random.bytes(32),
}

/** Text-like or random, so that both codecs occur. */
function chunkOf(length: number): Uint8Array {
  if (random.below(2) === 0) return random.bytes(length)
  const words = random.bytes(16)
  const at = (i: number): number => (i % 61 === 0 ? random.below(256) : (words[i & 15] ?? 0))
  return Uint8Array.from({ length }, (_, i) => at(i))
}

function addChunk(builder: BundleBuilder, plain: Uint8Array): ChunkId | undefined {
  const { codec, stored } = compressChunk(plain)
  const id = chunkIdOf(ID_KEY, plain)
  return builder.add(id, stored, codec, plain.length) ? id : undefined
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return isLatticeError(error) ? error.code : String(error)
  }
  return 'accepted'
}

/** Seals any plaintext as a bundle: what a hostile member could do. */
function forge(plain: Uint8Array): Uint8Array {
  const noncePrefix = random.bytes(19)
  const header = encodeHeader({ ...WHO, noncePrefix }, plain.length)
  const sealed = new Uint8Array(sealedBytesOf(plain.length))
  sealed.set(header)
  sealSegments(WHO.key, noncePrefix, header, plain, sealed.subarray(BUNDLE_HEADER_BYTES))
  return sealed
}

t.test('chunks come back, whole and one by one, and the builder starts anew', async (t) => {
  const builder = new BundleBuilder()
  for (let round = 0; round < 6; round++) {
    const chunks = new Map<ChunkId, Uint8Array>()
    for (let i = random.below(40); i >= 0; i--) {
      const plain = chunkOf(1 + random.below(random.pick([10, 5000, 60000])))
      const id = addChunk(builder, plain)
      if (id === undefined) break
      chunks.set(id, plain)
    }
    t.equal(builder.chunkCount > 0, true)
    const padding = random.pick(['full', 'padme'] as const)
    const expectedBytes = builder.sealedBytes(padding)
    const out = new Uint8Array(BUNDLE_MAX_BYTES + 100)
    const { sealed, entries } = builder.finish(WHO, padding, round % 2 === 0 ? out : undefined)
    t.equal(sealed.length, expectedBytes)
    t.equal(padding === 'full' ? sealed.length : BUNDLE_MAX_BYTES, BUNDLE_MAX_BYTES)
    const opened = openBundle(WHO.key, sealed, WHO.vaultId)
    t.same(opened.entries, entries)
    t.same(openBundleIndex(WHO.key, sealed), entries)
    t.ok(equalBytes(opened.header.sealer, WHO.sealer))
    t.ok(equalBytes(opened.header.epochId, WHO.epochId))
    let wrong = 0
    for (const entry of entries) {
      const plain = readChunk(WHO.key, opened.header, readerOf(sealed), entry)
      if (!equalBytes(plain, chunks.get(entry.chunk) ?? ID_KEY)) wrong++
    }
    t.equal(wrong, 0)
    t.equal(builder.chunkCount, 0)
    t.equal(builder.usedBytes, 0)
  }
})

t.test('a bundle opens with noble alone: the layout is what the header says', async (t) => {
  const builder = new BundleBuilder()
  const plain = random.bytes(20000)
  const id = addChunk(builder, plain) ?? ('' as ChunkId)
  const { sealed } = builder.finish(WHO, 'padme')
  const header = Uint8Array.from(sealed.subarray(0, 81))
  const total = Buffer.from(header).readUInt32BE(58)
  const parts: Uint8Array[] = []
  for (let i = 0, at = 81; i < total; i++, at += 16400) {
    const tail = Buffer.alloc(5)
    tail.writeUInt32BE(i)
    tail[4] = i + 1 === total ? 1 : 0
    const nonce = Uint8Array.from([...header.subarray(62), ...tail])
    const segment = Uint8Array.from(sealed.subarray(at, at + 16400))
    parts.push(xchacha20poly1305(WHO.key, nonce, header).decrypt(segment))
  }
  const opened = Buffer.concat(parts)
  t.equal(opened.readUInt32BE(opened.length - 4), 1, 'count')
  const entry = opened.subarray(opened.length - 49)
  t.equal(entry.toString('latin1', 0, 32), id)
  t.same([entry.readUInt32BE(32), entry.readUInt32BE(36), entry.readUInt32BE(40), entry[44]],
    [0, 20000, 20000, CODEC_RAW])
  t.ok(equalBytes(opened.subarray(0, 20000), plain))
})

t.test('sizes: 1 MiB exactly, 256 KiB exactly, or Padmé', async (t) => {
  for (const maxSealedBytes of [BUNDLE_MAX_BYTES, BUNDLE_RANDOM_BYTES]) {
    const builder = new BundleBuilder({ maxSealedBytes })
    const filler = random.bytes(1000)
    while (builder.add(chunkIdOf(ID_KEY, random.bytes(9)), filler, CODEC_RAW, 1000));
    t.notOk(builder.fits(1000))
    t.equal(builder.finish(WHO, 'full').sealed.length, maxSealedBytes)
    builder.add(chunkIdOf(ID_KEY, filler), filler, CODEC_RAW, 1000)
    t.equal(builder.finish(WHO, 'full').sealed.length, maxSealedBytes, 'nearly empty')
  }
  t.equal(maxPlainBytes(BUNDLE_MAX_BYTES), 1047471)
  t.equal(sealedBytesOf(1047471), BUNDLE_MAX_BYTES)
  const sizes = new Set<number>()
  for (let size = 1; size < 1_000_000; size += 1 + random.below(40)) {
    const padded = padme(size)
    if (padded < size || padded > size * 1.12 + 1) t.fail(`padme(${size}) = ${padded}`)
    sizes.add(padded)
  }
  t.ok(sizes.size < 500, `${sizes.size} sizes below a megabyte`)
  t.same([1, 9, 100, 1000, 65537].map(padme), [1, 10, 104, 1024, 67584])
  for (let size = 0; size < 20000; size++) {
    const plainBytes = plainBytesOf(size)
    if (plainBytes !== undefined && sealedBytesOf(plainBytes) !== size) t.fail(`size ${size}`)
  }
})

t.test('a small read opens one or two segments; the index comes from the last ones', async (t) => {
  const builder = new BundleBuilder()
  while (addChunk(builder, random.bytes(60000 + random.below(9000))) !== undefined);
  const { sealed, entries } = builder.finish(WHO, 'full')
  const header = parseHeader(sealed.subarray(0, 81), sealed.length)
  const whole = openBundle(WHO.key, sealed).plain
  let reads: [number, number][] = []
  const read: ReadSealed = (offset, length) => {
    reads.push([offset, length])
    return sealed.subarray(offset, offset + length)
  }
  t.same(readBundleIndex(WHO.key, header, read), entries)
  t.equal(reads.length, 1, 'one read')
  t.ok((reads[0]?.[1] ?? 0) <= 16400, 'of one segment')
  for (let i = 0; i < 200; i++) {
    reads = []
    const offset = random.below(header.plainBytes - 4096)
    const plain = readPlain(WHO.key, header, read, offset, 4096)
    if (!equalBytes(plain, whole.subarray(offset, offset + 4096))) t.fail(`at ${offset}`)
    const crosses = Math.floor(offset / 16384) !== Math.floor((offset + 4095) / 16384)
    if ((reads[0]?.[1] ?? 0) > (crosses ? 32800 : 16400)) t.fail(`${reads[0]?.[1]} bytes`)
  }
  const last = segmentRange(sealed.length, header.plainBytes - 1, 1)
  t.equal(last.sealedOffset + last.sealedBytes, sealed.length)
  const wrong = [[0, 0], [-1, 5], [0, header.plainBytes + 1], [1.5, 2], [0, NaN]] as const
  for (const [offset, length] of wrong) {
    t.throws(() => segmentRange(sealed.length, offset, length), { code: 'out-of-bounds' })
  }
  const many = new BundleBuilder()
  for (let i = 0; i < 900; i++) addChunk(many, random.bytes(200 + random.below(100)))
  const packed = many.finish(WHO, 'padme')
  t.same(openBundleIndex(WHO.key, packed.sealed), packed.entries, 'an index of three segments')
})

t.test('every flipped byte of a small bundle is refused', async (t) => {
  const builder = new BundleBuilder()
  for (let i = 0; i < 3; i++) addChunk(builder, chunkOf(6000))
  const { sealed } = builder.finish(WHO, 'padme')
  const seen = new Set<string>()
  for (let at = 0; at < sealed.length; at++) {
    const original = sealed[at] as number
    sealed[at] = original ^ (1 << random.below(8))
    const code = codeOf(() => openBundle(WHO.key, sealed, WHO.vaultId))
    if (!code.startsWith('bundle-')) t.fail(`byte ${at}: ${code}`)
    seen.add(code)
    sealed[at] = original
  }
  t.equal(codeOf(() => openBundle(WHO.key, sealed, WHO.vaultId)), 'accepted')
  const reasons = ['seal', 'segment-count', 'suite', 'vault', 'version']
  t.same(seen, new Set(reasons.map((reason) => `bundle-${reason}`)))
})

t.test('each rule of the header has its own rejection', async (t) => {
  const builder = new BundleBuilder()
  addChunk(builder, random.bytes(30000))
  const { sealed } = builder.finish(WHO, 'padme')
  const withByte = (at: number, value: number): string => {
    const changed = Uint8Array.from(sealed)
    changed[at] = value
    return codeOf(() => openBundle(WHO.key, changed, WHO.vaultId))
  }
  t.equal(withByte(0, 1), 'bundle-version')
  t.equal(withByte(1, 0), 'bundle-suite')
  t.equal(withByte(2, (sealed[2] as number) ^ 1), 'bundle-vault')
  t.equal(withByte(20, (sealed[20] as number) ^ 1), 'bundle-seal', 'epoch')
  t.equal(withByte(40, (sealed[40] as number) ^ 1), 'bundle-seal', 'sealer')
  t.equal(withByte(61, 9), 'bundle-segment-count')
  t.equal(withByte(70, (sealed[70] as number) ^ 1), 'bundle-seal', 'nonce prefix')
  t.equal(codeOf(() => openBundle(random.bytes(32), sealed)), 'bundle-seal', 'another key')
  t.equal(codeOf(() => openBundle(WHO.key, sealed.subarray(0, 100))), 'bundle-short')
  t.equal(codeOf(() => openBundle(WHO.key, new Uint8Array(2 ** 20 + 1))), 'bundle-too-large')
  for (let i = 0; i < 300; i++) {
    const cut = sealed.subarray(0, random.below(sealed.length))
    const code = codeOf(() => openBundle(WHO.key, cut))
    if (!/^bundle-(short|seal|segment-count)$/.test(code)) t.fail(`${cut.length} bytes: ${code}`)
  }
})

t.test('each rule of the index has its own rejection, even when the seals fit', async (t) => {
  const stored = random.bytes(100)
  const chunk = chunkIdOf(ID_KEY, stored)
  const good: BundleEntry[] = [
    { chunk, offset: 0, storedBytes: 60, plainBytes: 60, codec: CODEC_RAW },
    { chunk, offset: 60, storedBytes: 40, plainBytes: 90, codec: CODEC_LZ4 },
  ]
  const build = (entries: BundleEntry[], change?: (plain: Uint8Array) => void): string => {
    const plain = new Uint8Array(300)
    plain.set(stored)
    writeIndex(plain, entries)
    change?.(plain)
    return codeOf(() => openBundle(WHO.key, forge(plain)))
  }
  const second = (change: Partial<BundleEntry>): BundleEntry[] =>
    good.map((entry, i) => (i === 1 ? { ...entry, ...change } : entry))
  t.equal(build(good), 'accepted')
  t.equal(build([], (plain) => plain.fill(0)), 'accepted', 'an empty bundle')
  t.equal(build(second({ offset: 61 })), 'bundle-index-order')
  t.equal(build(second({ offset: 0 })), 'bundle-index-order')
  t.equal(build(second({ storedBytes: 0 })), 'bundle-index-entry')
  t.equal(build(second({ plainBytes: 0 })), 'bundle-index-entry')
  t.equal(build(second({ plainBytes: CHUNK_MAX_BYTES + 1 })), 'bundle-index-entry')
  t.equal(build(second({ plainBytes: 41 })), 'bundle-index-entry', 'no gain')
  t.equal(build(second({ codec: CODEC_RAW })), 'bundle-index-entry', 'raw of another size')
  t.equal(build(second({ codec: 7 as never })), 'bundle-index-entry')
  const long = { codec: CODEC_RAW, storedBytes: 190, plainBytes: 190 } as const
  t.equal(build(second(long)), 'bundle-index-overlap')
  t.equal(build(good, (plain) => plain.fill(255, 296)), 'bundle-index-count')
  t.equal(build(good, (plain) => { plain[299] = 7 }), 'bundle-index-count')
  t.equal(build(good, (plain) => { plain[100] = 1 }), 'bundle-padding')
  t.equal(build(good, (plain) => { plain[205] = 1 }), 'bundle-padding')
  for (let i = 0; i < 2000; i++) {
    const plain = random.below(3) === 0 ? random.bytes(4 + random.below(300)) : new Uint8Array(300)
    if (plain.length === 300) writeIndex(plain, good)
    for (let n = random.below(5); n > 0; n--) plain[random.below(plain.length)] = random.below(256)
    const code = codeOf(() => openBundle(WHO.key, forge(plain)))
    if (!/^(accepted|bundle-(index-\w+|padding))$/.test(code)) t.fail(code)
  }
})

t.test('headers of noise never crash the parser', async () => {
  for (let i = 0; i < 3000; i++) {
    const noise = random.bytes(random.below(200))
    if (noise.length > 2 && random.below(2) === 0) noise.fill(0, 0, 1).fill(1, 1, 2)
    const sizes = [noise.length, 101, 16481, BUNDLE_MAX_BYTES, random.below(2 ** 21)]
    const sealedBytes = random.pick(sizes)
    const code = codeOf(() => parseHeader(noise, sealedBytes))
    if (!/^(accepted|bundle-[a-z-]+)$/.test(code)) throw new Error(code)
  }
})

t.test('openRange wants exactly its segments', async (t) => {
  const builder = new BundleBuilder()
  addChunk(builder, random.bytes(40000))
  const { sealed } = builder.finish(WHO, 'padme')
  const header = parseHeader(sealed, sealed.length)
  const range = segmentRange(sealed.length, 16000, 1000)
  t.equal(range.firstSegment, 0)
  const part = sealed.slice(range.sealedOffset, range.sealedOffset + range.sealedBytes)
  t.equal(openRange(WHO.key, header, part, range, 16000, 1000).length, 1000)
  t.throws(() => openRange(WHO.key, header, part.subarray(1), range, 16000, 1000))
  const wrongPlace = { ...range, firstSegment: 1, plainOffset: 16384 }
  t.throws(() => openRange(WHO.key, header, part, wrongPlace, 16384, 10), { code: 'bundle-seal' })
})

t.test('compression: round trips, gains 5 % or stays raw, bounded before inflating', async (t) => {
  for (let i = 0; i < 200; i++) {
    const plain = chunkOf(1 + random.below(random.pick([100, 1000, 100000])))
    const { codec, stored } = compressChunk(plain)
    if (codec === CODEC_LZ4 && stored.length > plain.length * 0.95) t.fail('no gain')
    if (codec === CODEC_RAW && stored !== plain) t.fail('a copy')
    if (!equalBytes(decompressChunk(codec, stored, plain.length), plain)) t.fail('changed')
  }
  const zeroes = new Uint8Array(CHUNK_MAX_BYTES)
  const { codec, stored } = compressChunk(zeroes)
  t.equal(codec, CODEC_LZ4)
  t.ok(stored.length < 4096)
  t.ok(equalBytes(decompressChunk(codec, stored, CHUNK_MAX_BYTES), zeroes))
  const size = { code: 'codec-size' }
  t.throws(() => decompressChunk(2, stored, 5), { code: 'codec-unknown' })
  t.throws(() => decompressChunk(CODEC_LZ4, stored, CHUNK_MAX_BYTES - 1), { code: 'codec-data' })
  t.throws(() => decompressChunk(CODEC_LZ4, stored, CHUNK_MAX_BYTES + 1), size)
  t.throws(() => decompressChunk(CODEC_LZ4, new Uint8Array(0), 100), size)
  t.throws(() => decompressChunk(CODEC_LZ4, new Uint8Array(96), 100), size, 'no gain')
  t.throws(() => decompressChunk(CODEC_RAW, stored, stored.length + 1), size)
  t.throws(() => decompressChunk(CODEC_LZ4, new Uint8Array(40), 400000), size, 'a bomb')
})

/** A chunk with runs, repeats from near and far, and noise between them. */
function compressible(length: number): Uint8Array {
  const out = random.bytes(length)
  for (let at = 0; at < length; ) {
    const run = 1 + random.below(random.pick([8, 40, 600, 70000]))
    const from = random.below(at + 1)
    const kind = random.below(3)
    if (kind === 0) out.fill(random.below(256), at, at + run)
    const copied = kind === 1 ? Math.min(run, length - at) : 0
    for (let i = 0; i < copied; i++) out[at + i] = out[from + i] ?? 0
    at += run
  }
  return out
}

t.test('LZ4 blocks: lz4-napi opens ours, we open its, noise stays in bounds', async (t) => {
  const addon = loadAddon()
  let wrong = 0
  for (let i = 0; i < 300; i++) {
    const plain = compressible(random.below(random.pick([20, 300, 5000, 200000])))
    const block = Buffer.alloc(plain.length + Math.ceil(plain.length / 200) + 32)
    const blockBytes = addon.lz4Compress(plain, block)
    if (blockBytes === 0 || blockBytes > plain.length + plain.length / 255 + 16) wrong++
    const prefixed = Buffer.alloc(4 + blockBytes)
    prefixed.writeUInt32LE(plain.length)
    prefixed.set(block.subarray(0, blockBytes), 4)
    if (!equalBytes(lz4.uncompressSync(prefixed), plain)) wrong++
    const theirs = lz4.compressSync(Buffer.from(plain)).subarray(4)
    const out = new Uint8Array(plain.length)
    if (!addon.lz4Decompress(theirs, out) || !equalBytes(out, plain)) wrong++
    if (!addon.lz4Decompress(block.subarray(0, blockBytes), out.fill(0))) wrong++
    if (!equalBytes(out, plain)) wrong++
    const long = new Uint8Array(plain.length + 1)
    if (addon.lz4Decompress(block.subarray(0, blockBytes), long)) wrong++
    if (plain.length > 0) {
      const short = new Uint8Array(plain.length - 1)
      if (addon.lz4Decompress(block.subarray(0, blockBytes), short)) wrong++
      const tight = addon.lz4Compress(plain, new Uint8Array(random.below(blockBytes)))
      if (tight >= blockBytes) wrong++
    }
  }
  t.equal(wrong, 0)
  const plain = compressible(3000)
  const block = Buffer.alloc(4000)
  const blockBytes = addon.lz4Compress(plain, block)
  for (let i = 0; i < 20000; i++) {
    const valid = block.subarray(0, blockBytes)
    const noise = i % 4 === 0 ? random.bytes(random.below(60)) : Buffer.from(valid)
    for (let n = random.below(5); n > 0 && noise.length > 0; n--) {
      noise[random.below(noise.length)] = random.below(256)
    }
    const cut = noise.subarray(0, random.below(noise.length + 1))
    addon.lz4Decompress(cut, new Uint8Array(random.pick([0, 1, 15, 100, 3000])))
  }
  t.pass('no crash; AddressSanitizer watches this file too')
  t.throws(() => addon.lz4Compress(plain, plain.subarray(9)), { code: 'invalid' }, 'overlap')
})
