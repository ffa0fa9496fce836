// Ops: round trips, one form per value, every rule refused by name, seals, clocks, orders. Vectors
// in test/vectors/ops fix the bytes; UPDATE_VECTORS=1 writes them anew. SEED=n replays.
import { readFileSync, writeFileSync } from 'node:fs'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { blake2b } from '@noble/hashes/blake2.js'
import fc from 'fast-check'
import t from 'tap'
import {
  BATCH_OPS_MAX, CONTENT_REFS_MAX, COUNTER_MAX, TIME_MAX_MS,
} from '../../src/ops/bounds.ts'
import { BatchEncoder, decodeBatch, encodeBatch } from '../../src/ops/codec.ts'
import { controlOp, decodeControl } from '../../src/ops/control-codec.ts'
import { epochIdOf } from '../../src/ops/control-genesis.ts'
import {
  ENVELOPE_HEADER_BYTES, envelopeEpoch, envelopeKeyName, openBatch, sealBatch,
} from '../../src/ops/envelope.ts'
import { Hlc, compareTimes, effectiveTime, isVoid, nextTime } from '../../src/ops/hlc.ts'
import { Ids, kindOfId } from '../../src/ops/ids.ts'
import { compareRefs, sameRef } from '../../src/ops/order.ts'
import type {
  AttrChange, AuthorId, Batch, BundleId, ChunkId, ChunkRef, Content, LinkId, Name, NodeKind, Op,
  OpRef,
} from '../../src/ops/types.ts'
import { VersionVector } from '../../src/ops/version-vector.ts'
import { isName } from '../../src/ops/wire.ts'
import { certificateBytes } from '../../src/state/members-phrases.ts'
import type { CertificateUse } from '../../src/state/members-phrases.ts'
import { LatticeError } from '../../src/util/errors.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)
const runs = (numRuns: number) => ({ numRuns, seed })

const ids = new Ids(Buffer.alloc(32, 9))
const vaultId = Buffer.alloc(16, 1)
const own = '\x01'.repeat(32) as AuthorId
const others = ['\x02', '\x03', '\xff'].map((char) => char.repeat(32) as AuthorId)
const seq = 1000
const batchMs = 1_800_000_000_000

// ---- arbitrary ops ----

const latin1 = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max })
  .map((bytes) => Buffer.from(bytes).toString('latin1'))
const bytes = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max })
const uint = fc.oneof(fc.nat(300), fc.maxSafeNat())
const mint = uint.map((one) => Math.max(1, one))
const kind = fc.constantFrom<NodeKind>(1, 2, 3, 4, 5, 6, 7)
const idOf = fc.tuple(fc.constantFrom(own, ...others), uint, kind)
const node = idOf.map(([author, mint, kind]) => ids.node(author, mint, kind))
const link = idOf.map(([author, mint, kind]) => (
  ids.link(author, mint, ids.node(author, mint, kind))
))
const name = latin1(1, 255).filter(isName)
const chunk = latin1(32, 32) as fc.Arbitrary<ChunkId>
const time = { sec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), nsec: fc.nat(999_999_999) }

const chunkRef: fc.Arbitrary<ChunkRef> = fc.record({
  chunk, begin: fc.nat(1000), length: fc.integer({ min: 1, max: 5000 }), rest: fc.nat(9),
}).map(({ rest, ...ref }) => ({ ...ref, chunkBytes: ref.begin + ref.length + rest }))

const content: fc.Arbitrary<Content> = fc.oneof(
  bytes(0, 1024).map((inline) => ({ kind: 'inline' as const, bytes: inline })),
  fc.record({
    kind: fc.constant('refs' as const),
    chunker: fc.nat(255),
    refs: fc.array(fc.oneof(chunkRef, fc.record({ hole: fc.integer({ min: 1, max: 2 ** 40 }) })),
      { maxLength: CONTENT_REFS_MAX }),
  }),
  fc.record({
    kind: fc.constant('tree' as const), chunker: fc.nat(255), root: chunkRef,
    depth: fc.integer({ min: 1, max: 8 }),
  }),
)

function sizeOf(content: Content): number {
  if (content.kind === 'tree') return 123_456_789_012
  if (content.kind === 'inline') return content.bytes.length
  return content.refs.reduce((sum, ref) => sum + ('hole' in ref ? ref.hole : ref.length), 0)
}

const attr: fc.Arbitrary<AttrChange> = fc.oneof(
  fc.record({ key: fc.constant(1 as const), mode: fc.nat(0o7777) }),
  fc.record({
    key: fc.constant(2 as const),
    uid: fc.integer({ min: -1, max: 0xfffffffe }), gid: fc.integer({ min: -1, max: 0xfffffffe }),
  }),
  fc.record({ key: fc.constant(3 as const), ...time }),
  fc.record({
    key: fc.constant(4 as const),
    name: latin1(1, 255).filter((one) => !one.includes('\0')),
    value: fc.option(bytes(0, 300), { nil: undefined }),
  }),
  fc.record({
    key: fc.constant(5 as const), target: latin1(1, 400).filter((one) => !one.includes('\0')),
  }),
  fc.record({ key: fc.constant(6 as const), rdev: fc.nat() }),
)
const attrKey = (change: AttrChange) => `${change.key} ${change.key === 4 ? change.name : ''}`
const attrs = fc.uniqueArray(attr, { maxLength: 8, selector: attrKey }).map((list) => (
  list.toSorted((a, b) => a.key - b.key || (attrKey(a) < attrKey(b) ? -1 : 1))
))

/** Refs to ops before this batch, sorted as decoding returns them. */
const ref: fc.Arbitrary<OpRef> = fc.record({
  ms: fc.integer({ min: 0, max: TIME_MAX_MS }), counter: fc.nat(COUNTER_MAX),
  author: fc.constantFrom(own, ...others), seq: fc.nat(seq - 1), index: fc.nat(BATCH_OPS_MAX - 1),
  order: fc.constant(0),
})
const refName = (one: OpRef) => (
  `${one.author}${String(one.seq).padStart(9, '0')}${String(one.index).padStart(9, '0')}`
)
const refs = fc.uniqueArray(ref, { maxLength: 4, selector: refName })
  .map((list) => list.toSorted((a, b) => (refName(a) < refName(b) ? -1 : 1)))

const kinds: Record<string, fc.Arbitrary<Op>> = {
  mk: fc.record({ mint, nodeKind: kind, parent: node, name, attrs }).map((fields) => (
    { kind: 'mk', ...fields, node: ids.node(own, fields.mint, fields.nodeKind) }
  )),
  'mk derived': fc.record({ source: ref, parent: node, name, attrs }).map((fields) => (
    { kind: 'mk', mint: 0, nodeKind: 2, ...fields, node: ids.derived(fields.source) }
  )),
  link: fc.record({ mint, node, parent: node, name }).map((fields) => (
    { kind: 'link', ...fields, link: ids.link(own, fields.mint, fields.node) }
  )),
  mv: fc.record({ kind: fc.constant('mv' as const), link, parent: node, name, prev: refs }),
  put: fc.record({ node, base: refs, content, sec: time.sec, nsec: time.nsec }).map((fields) => ({
    kind: 'put', node: fields.node, base: fields.base, content: fields.content,
    sizeBytes: sizeOf(fields.content), mtimeSec: fields.sec, mtimeNsec: fields.nsec,
  })),
  rm: fc.record({ kind: fc.constant('rm' as const), link, prev: refs, contentHeads: refs }),
  attr: fc.record({ kind: fc.constant('attr' as const), node, change: attr, prev: refs }),
  tag: fc.record({
    kind: fc.constant('tag' as const), node, removeAdds: refs,
    add: fc.uniqueArray(fc.string({ maxLength: 30 }), { maxLength: 5 }).map((l) => l.toSorted()),
  }),
  bundle: fc.record({
    kind: fc.constant('bundle' as const), number: uint,
    id: chunk.map((id) => id as string as BundleId), sealedBytes: fc.nat(1 << 20),
    chunks: fc.array(chunk, { maxLength: 5 }),
  }),
  note: fc.record({ kind: fc.constant('note' as const), node, text: fc.string({ maxLength: 99 }) }),
  ack: fc.record({
    kind: fc.constant('ack' as const),
    heads: fc.array(fc.record({
      author: fc.constantFrom(own, ...others), length: uint, treeHash: bytes(32, 32),
    }), { maxLength: 3 }),
  }),
  unknown: fc.record({
    kind: fc.constant('unknown' as const), critical: fc.boolean(), body: bytes(0, 400),
    opKind: fc.oneof(fc.integer({ min: 11, max: 63 }), fc.integer({ min: 96, max: 2 ** 52 })),
  }),
}
const control: fc.Arbitrary<Op> = fc.record({
  kind: fc.constant('control' as const), control: fc.nat(31), critical: fc.boolean(),
  body: bytes(0, 400),
})

const batchOf = (ops: fc.Arbitrary<Op[]>): fc.Arbitrary<Batch> => fc.record({
  ms: fc.integer({ min: 0, max: 2 ** 48 - 1 }), counter: fc.nat(COUNTER_MAX),
  deps: fc.array(fc.record({
    author: fc.constantFrom(...others), length: fc.integer({ min: 1, max: 2 ** 50 }),
    treeHash: bytes(32, 32),
  }), { maxLength: 3 }),
  ops,
})
const anyBatch = fc.oneof(
  batchOf(fc.array(fc.oneof(...Object.values(kinds)), { maxLength: 12 })),
  batchOf(fc.array(control, { maxLength: 4 })),
)

const decode = (encoded: Uint8Array) => decodeBatch(encoded, own, seq, ids)

/** The rule by which something is refused; 'accepted', or the foreign error. */
function rule(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (!(error instanceof LatticeError)) return `not a LatticeError: ${String(error)}`
    return error.code === 'invalid' ? String(error.details['rule']) : error.code
  }
  return 'accepted'
}

/** One text per value: keys in order, bytes of all sorts alike. */
function plain(value: unknown): string {
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return `[${value.map(plain).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined'
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, one]) => `${key}:${plain(one)}`).join()}}`
}

t.test('what is encoded decodes to the same, for every kind', async (t) => {
  for (const [kind, ops] of Object.entries({ ...kinds, control })) {
    fc.assert(fc.property(batchOf(fc.array(ops, { minLength: 1, maxLength: 3 })), (batch) => {
      const encoded = encodeBatch(batch, own, seq)
      const again = decode(encoded)
      return plain(again) === plain(batch) && encodeBatch(again, own, seq).equals(encoded)
    }), runs(60))
    t.pass(kind)
  }
})

t.test('an encoder that was rewound writes what it would have written', async (t) => {
  fc.assert(fc.property(anyBatch, anyBatch, (batch, extra) => {
    const isMixed = batch.ops.some((op) => op.kind === 'control')
    if (isMixed) return true
    const encoder = new BatchEncoder()
    encoder.begin(own, seq, batch, batch.deps)
    for (const op of batch.ops) {
      const mark = encoder.mark()
      for (const other of extra.ops) encoder.add(other)
      encoder.rewind(mark)
      encoder.add(op)
    }
    return encoder.finish().equals(encodeBatch(batch, own, seq))
  }), runs(100))
  t.pass()
})

t.test('damaged bytes are refused by a named rule, or are another value in its one form', (t) => {
  let accepted = 0
  const random = new SeededRandom(seed)
  fc.assert(fc.property(anyBatch, (batch) => {
    const encoded = encodeBatch(batch, own, seq)
    for (let i = 0; i < 40; i++) {
      const damaged = mutate(encoded, random)
      let decoded: Batch
      try {
        decoded = decode(damaged)
      } catch (error) {
        if (error instanceof LatticeError && error.code === 'invalid') continue
        throw error
      }
      accepted++
      const hasUnknown = decoded.ops.some((op) => op.kind === 'unknown')
      if (!hasUnknown && !encodeBatch(decoded, own, seq).equals(damaged)) return false
    }
    return true
  }), runs(300))
  t.ok(accepted > 100, `some still decode: ${accepted}`)
  t.end()
})

function mutate(encoded: Uint8Array, random: SeededRandom): Uint8Array {
  const copy = Buffer.from(encoded)
  const at = random.int(0, Math.max(1, copy.length))
  const odd = [0, 1, 0x7f, 0xfc, 0xfd, 0xfe, 0xff, copy[at]! ^ 4]
  if (random.chance(0.6)) copy[at] = random.pick(odd)
  if (random.chance(0.15)) return copy.subarray(0, at)
  const [before, behind] = [copy.subarray(0, at), copy.subarray(at)]
  if (random.chance(0.15)) return Buffer.concat([before, random.bytes(9), behind])
  return random.chance(0.1) ? Buffer.concat([copy, random.bytes(3)]) : copy
}

t.test('noise never decodes into anything large', (t) => {
  fc.assert(fc.property(bytes(0, 600), (noise) => {
    const found = rule(() => decode(noise))
    return !found.startsWith('not a')
  }), runs(3000))
  t.end()
})

// ---- rules ----

const invalidFile = new URL('../vectors/ops/invalid.json', import.meta.url)
const invalid = JSON.parse(readFileSync(invalidFile, 'utf8')) as
  { what: string; rule: string; plain: string }[]

t.test('each rule has its name', (t) => {
  for (const { what, rule: expected, plain } of invalid) {
    const zeros = /^zeros (\d+)$/.exec(plain)?.[1]
    const encoded = zeros === undefined ? Buffer.from(plain, 'hex') : Buffer.alloc(Number(zeros))
    t.equal(rule(() => decode(encoded)), expected, what)
  }
  t.equal(rule(() => decode(encodeBatch({ ms: 0, counter: 0, deps: [], ops: [] }, own, seq))),
    'accepted')
  t.end()
})

// ---- envelope ----

const place = { vaultId, author: own, seq }
const opKey = Buffer.alloc(32, 5)
const seal = { epochId: Buffer.from('epoch..1'), opKey, nonce: Buffer.alloc(24, 6) }

t.test('a block opens in its place only, and not with any bit changed', (t) => {
  const text = Buffer.from('not really a batch, but long enough')
  const block = sealBatch(text, place, seal)
  t.ok(openBatch(block, place, opKey).equals(text))
  t.same(Buffer.from(envelopeEpoch(block)), seal.epochId)
  for (let at = 0; at < block.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Buffer.from(block)
      changed[at] = changed[at]! ^ (1 << bit)
      const isOtherSuite = at === 1 && bit === 0 // a known one, of another key
      const head = at === 0 ? 'envelope-version' : 'envelope-suite'
      const expected = at > 1 || isOtherSuite ? 'envelope-seal' : head
      if (rule(() => openBatch(changed, place, opKey)) !== expected) t.fail(`byte ${at} bit ${bit}`)
    }
  }
  for (const elsewhere of [
    { ...place, seq: seq + 1 }, { ...place, author: others[0]! },
    { ...place, vaultId: opKey.subarray(16) },
  ]) t.equal(rule(() => openBatch(block, elsewhere, opKey)), 'envelope-seal')
  t.equal(rule(() => openBatch(block, place, Buffer.alloc(32))), 'envelope-seal')
  for (let size = 0; size < block.length; size++) {
    const expected = size < ENVELOPE_HEADER_BYTES + 16 ? 'envelope-short' : 'envelope-seal'
    if (rule(() => openBatch(block.subarray(0, size), place, opKey)) !== expected) t.fail(`${size}`)
  }
  t.equal(rule(() => openBatch(Buffer.alloc(256 * 1024 + 1), place, opKey)), 'envelope-size')
  t.end()
})

interface EnvelopeVector {
  what: string
  suite: number
  vaultId: string
  author: string
  sequence: number
  key: string
  plain: string
  block: string
}

t.test('the sealed blocks of the vectors open, and are what sealing writes', (t) => {
  const file = new URL('../vectors/envelope/blocks.json', import.meta.url)
  for (const vector of JSON.parse(readFileSync(file, 'utf8')) as EnvelopeVector[]) {
    const bytesOf = (field: 'vaultId' | 'author' | 'key' | 'plain' | 'block') => (
      Buffer.from(vector[field], 'hex')
    )
    const author = bytesOf('author').toString('latin1') as AuthorId
    const at = { vaultId: bytesOf('vaultId'), author, seq: vector.sequence }
    const block = bytesOf('block')
    const isControl = vector.suite === 1
    t.same(envelopeKeyName(block), { epochId: block.subarray(2, 10), isControl }, vector.what)
    t.ok(openBatch(block, at, bytesOf('key')).equals(bytesOf('plain')))
    const { epochId } = envelopeKeyName(block)
    const again = sealBatch(bytesOf('plain'), at, {
      epochId, opKey: bytesOf('key'), nonce: block.subarray(10, 34), isControl,
    })
    t.ok(again.equals(block))
  }
  t.end()
})

// ---- time, order, ids, version vector ----

t.test('the hybrid clock only goes forward', (t) => {
  const wall = fc.oneof(fc.nat(1000), fc.integer({ min: -5, max: 2 ** 49 }))
  const step = fc.oneof(
    wall.map((nowMs) => ({ nowMs })),
    fc.record({ ms: fc.integer({ min: 0, max: 2 ** 47 }), counter: fc.nat(COUNTER_MAX) }),
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
    const clock = new Hlc()
    let greatest = { ms: 0, counter: 0 }
    for (const one of steps) {
      if ('ms' in one) clock.receive(one)
      const time = 'ms' in one ? one : clock.tick(one.nowMs)
      if (!('ms' in one) && compareTimes(time, greatest) <= 0) return false
      if (compareTimes(time, greatest) > 0) greatest = time
    }
    return compareTimes(clock.last, greatest) === 0
  }), runs(500))
  t.same(nextTime({ ms: 7, counter: COUNTER_MAX }), { ms: 8, counter: 0 })
  t.same(effectiveTime({ ms: 5, counter: 1 }, [{ ms: 4, counter: 9 }]), { ms: 5, counter: 1 })
  t.same(effectiveTime({ ms: 5, counter: 1 }, [{ ms: 5, counter: 1 }, { ms: 2, counter: 0 }]),
    { ms: 5, counter: 2 })
  t.same(effectiveTime({ ms: 5, counter: 1 }, [{ ms: 9, counter: COUNTER_MAX }]),
    { ms: 10, counter: 0 })
  t.ok(isVoid({ ms: TIME_MAX_MS + 1, counter: 0 }) && !isVoid({ ms: TIME_MAX_MS, counter: 0 }))
  t.same(effectiveTime({ ms: TIME_MAX_MS + 1, counter: 3 }, [{ ms: 2, counter: 0 }]),
    { ms: 2, counter: 1 })
  t.end()
})

t.test('refs are in one total order, provisional ones last', (t) => {
  const provisional = fc.nat(50).map((order) => (
    { ms: 0, counter: 0, author: own, seq: -1, index: 0, order }
  ))
  const some = fc.oneof(ref, provisional)
  fc.assert(fc.property(some, some, some, (a, b, c) => {
    const sorted = [a, b, c].toSorted(compareRefs)
    const isTotal = Math.sign(compareRefs(a, b)) === -Math.sign(compareRefs(b, a))
    const isTransitive = compareRefs(sorted[0]!, sorted[2]!) <= 0
    const isLast = a.seq >= 0 || b.seq < 0 || compareRefs(a, b) > 0
    return isTotal && isTransitive && isLast
  }), runs(500))
  const named = { author: own, seq, index: 2 }
  const [early, late] = [{ ms: 1, counter: 0, order: 0 }, { ms: 9, counter: 1, order: 4 }]
  t.ok(sameRef({ ...named, ...early }, { ...named, ...late }))
  t.end()
})

t.test('ids depend on author, mint, kind and label, and carry their kind', (t) => {
  const seen = new Set<string>()
  for (const author of [own, ...others]) {
    for (const mint of [0, 1, 2 ** 40]) {
      const file = ids.node(author, mint, 2)
      t.equal(kindOfId(file), 2)
      t.equal(file.length, 16)
      seen.add(file).add(ids.node(author, mint, 1)).add(ids.link(author, mint, file))
    }
  }
  for (const seq of [0, 1, 2 ** 40]) {
    for (const index of [0, 1]) {
      const put = { ms: seq, counter: index, author: own, seq, index, order: 0 }
      const derived = ids.derived(put)
      t.equal(kindOfId(derived), 2)
      t.equal(ids.derived({ ...put, ms: 5, counter: 9 }), derived, 'a claimed time names nothing')
      seen.add(derived)
    }
  }
  seen.add(ids.root(vaultId)).add(new Ids(Buffer.alloc(32)).root(vaultId))
  t.equal(seen.size, 4 * 3 * 3 + 6 + 2)
  t.equal(kindOfId(ids.root(vaultId)), 1)
  t.end()
})

t.test('version vectors', (t) => {
  const vector = new VersionVector()
  vector.set(others[0]!, 3, Buffer.alloc(32, 1))
  vector.set(own, 5, Buffer.alloc(32, 2))
  const before = vector.clone()
  vector.set(others[0]!, 4, Buffer.alloc(32, 3))
  t.ok(vector.covers(before) && !before.covers(vector) && !vector.equals(before))
  t.same(vector.depsSince(before, own).map((dep) => [dep.author, dep.length]), [[others[0], 4]])
  t.ok(before.coversDeps([{ author: own, length: 5, treeHash: Buffer.alloc(32) }]))
  t.notOk(before.coversDeps(vector.depsSince(before, own)))
  const encoded = vector.encode()
  t.ok(VersionVector.decode(encoded).equals(vector))
  t.equal(rule(() => VersionVector.decode(encoded.subarray(0, -1))), 'truncated')
  t.equal(rule(() => VersionVector.decode(Buffer.concat([encoded, Buffer.alloc(1)]))), 'trailing')
  const [first, second] = [encoded.subarray(1, 66), encoded.subarray(66)]
  const swapped = Buffer.concat([encoded.subarray(0, 1), second, first])
  t.equal(rule(() => VersionVector.decode(swapped)), 'not-canonical')
  t.end()
})

// ---- vectors ----

const vectorFile = new URL('../vectors/ops/batches.json', import.meta.url)

/** One batch per op kind, and their sealed form: what the bytes are, for ever. */
function vectors() {
  const n = ids.node(own, 1, 2)
  const l = n as string as LinkId
  const root = ids.root(vaultId)
  const at = (author: AuthorId, s: number, index: number): OpRef => (
    { ms: batchMs - 5, counter: 2, author, seq: s, index, order: 0 }
  )
  const prev = [at(own, 998, 3)]
  const chunkId = 'chunk'.padEnd(32, '.') as ChunkId
  const stretch = { chunk: chunkId, chunkBytes: 70_000, begin: 16, length: 65_536 }
  const put = (content: Content, sizeBytes: number): Op => (
    { kind: 'put', node: n, base: prev, sizeBytes, mtimeSec: -1, mtimeNsec: 999, content }
  )
  const example = (ops: Op[]): Batch => ({ ms: batchMs, counter: 7, deps: [], ops })
  const file = 'caf\xc3\xa9.txt' as Name
  const list: Record<string, Batch> = {
    empty: { ms: 0, counter: 0, deps: [], ops: [] },
    deps: {
      ms: batchMs, counter: 0xffff, ops: [],
      deps: [{ author: others[0]!, length: 300, treeHash: Buffer.alloc(32, 0xaa) }],
    },
    mk: example([{
      kind: 'mk', mint: 1, node: n, nodeKind: 2, parent: root, name: file,
      attrs: [
        { key: 1, mode: 0o644 }, { key: 2, uid: -1, gid: 100 }, { key: 3, sec: 1, nsec: 2 },
        { key: 4, name: 'user.a', value: Buffer.from('v') }, { key: 5, target: '../x' },
        { key: 6, rdev: 0x103 },
      ],
    }]),
    'mk derived': example([{
      kind: 'mk', mint: 0, source: at(others[0]!, 12, 3), node: ids.derived(at(others[0]!, 12, 3)),
      nodeKind: 2, parent: root, name: file, attrs: [],
    }]),
    link: example([{
      kind: 'link', mint: 2, link: ids.link(own, 2, n), node: n, parent: root, name: 'b' as Name,
    }]),
    mv: example([{
      kind: 'mv', link: l, parent: root, name: 'c' as Name, prev: [...prev, at(others[0]!, 4, 5)],
    }]),
    'put inline': example([put({ kind: 'inline', bytes: Buffer.from('hello') }, 5)]),
    'put refs': example([
      put({ kind: 'refs', chunker: 1, refs: [stretch, { hole: 4096 }] }, 69_632),
    ]),
    'put tree': example([put({ kind: 'tree', chunker: 1, root: stretch, depth: 2 }, 10 ** 11)]),
    rm: example([{ kind: 'rm', link: l, prev, contentHeads: [at(own, 999, 0)] }]),
    attr: example([{
      kind: 'attr', node: n, change: { key: 4, name: 'user.a', value: undefined }, prev,
    }]),
    tag: example([{ kind: 'tag', node: n, add: ['a', 'z\u00e9'], removeAdds: prev }]),
    bundle: example([{
      kind: 'bundle', number: 9, id: chunkId as string as BundleId, sealedBytes: 70_000,
      chunks: [chunkId],
    }]),
    note: example([{ kind: 'note', node: n, text: 'why' }]),
    ack: example([{
      kind: 'ack', heads: [{ author: others[1]!, length: 12, treeHash: Buffer.alloc(32, 0xbb) }],
    }]),
    control: example([{ kind: 'control', control: 3, critical: true, body: Buffer.from('c') }]),
    unknown: example([{ kind: 'unknown', opKind: 300, critical: false, body: Buffer.from('?') }]),
    'ref within the batch': example([
      {
        kind: 'mk', mint: 3, node: ids.node(own, 3, 1), nodeKind: 1, parent: root,
        name: 'd' as Name, attrs: [],
      },
      { kind: 'mv', link: ids.node(own, 3, 1) as string as LinkId, parent: root, name: 'e' as Name,
        prev: [{ ms: batchMs, counter: 7, author: own, seq, index: 0, order: 0 }] },
    ]),
  }
  return Object.entries(list).map(([what, batch]) => {
    const encoded = encodeBatch(batch, own, seq)
    const sealed = sealBatch(encoded, place, seal)
    return { what, plain: encoded.toString('hex'), sealed: sealed.toString('hex'), batch }
  })
}

t.test('another implementation computes the same ids and opens the same blocks', (t) => {
  const at = Buffer.alloc(8)
  at.writeUIntBE(77, 2, 6)
  const input = Buffer.concat([Buffer.from(own, 'latin1'), at, Buffer.from('node')])
  const hash = blake2b(input, { key: Buffer.alloc(32, 9), dkLen: 32 })
  const expected = Buffer.concat([Buffer.from([2]), hash.subarray(0, 15)])
  t.ok(Buffer.from(ids.node(own, 77, 2), 'latin1').equals(expected))
  const numbers = Buffer.alloc(16)
  numbers.writeUIntBE(12, 2, 6)
  numbers.writeUIntBE(3, 10, 6)
  const source = { ms: 0, counter: 0, author: own, seq: 12, index: 3, order: 0 }
  const parts = [Buffer.from(own, 'latin1'), numbers, Buffer.from('conflict')]
  const whole = blake2b(Buffer.concat(parts), { key: Buffer.alloc(32, 9), dkLen: 32 })
  const derived = Buffer.concat([Buffer.from([2]), whole.subarray(0, 15)])
  t.ok(Buffer.from(ids.derived(source), 'latin1').equals(derived))
  at.writeUIntBE(seq, 2, 6)
  const text = Buffer.from('a batch')
  const block = sealBatch(text, place, seal)
  const ad = Buffer.concat([block.subarray(0, 34), vaultId, Buffer.from(own, 'latin1'), at])
  const cipher = xchacha20poly1305(opKey, block.subarray(10, 34), ad)
  t.ok(text.equals(cipher.decrypt(block.subarray(34))))
  t.end()
})

t.test('the bytes are those of the vectors', (t) => {
  const made = vectors()
  const inputs = {
    idsKey: '09'.repeat(32), author: Buffer.from(own, 'latin1').toString('hex'), sequence: seq,
    vaultId: vaultId.toString('hex'), opKey: opKey.toString('hex'),
    epochId: seal.epochId.toString('hex'), nonce: seal.nonce.toString('hex'),
    root: Buffer.from(ids.root(vaultId), 'latin1').toString('hex'),
    node: Buffer.from(ids.node(own, 1, 2), 'latin1').toString('hex'),
    link: Buffer.from(ids.link(own, 2, ids.node(own, 1, 2)), 'latin1').toString('hex'),
    derived: Buffer.from(ids.derived({
      ms: 0, counter: 0, author: others[0]!, seq: 12, index: 3, order: 0,
    }), 'latin1').toString('hex'),
  }
  const batches = made.map(({ what, plain, sealed }) => ({ what, plain, sealed }))
  const stored = { inputs, batches }
  if (process.env['UPDATE_VECTORS'] === '1') {
    writeFileSync(vectorFile, `${JSON.stringify(stored, undefined, 1)}\n`)
  }
  const expected = JSON.parse(readFileSync(vectorFile, 'utf8')) as typeof stored
  t.same(expected.inputs, inputs)
  t.equal(expected.batches.length, made.length)
  for (const [i, { what, plain: bytes, sealed, batch }] of made.entries()) {
    const vector = expected.batches[i]!
    t.same(vector, { what, plain: bytes, sealed }, what)
    const opened = openBatch(Buffer.from(vector.sealed, 'hex'), place, opKey)
    t.equal(plain(decode(opened)), plain(batch), what)
  }
  t.end()
})

interface ControlVectors {
  bodies: { what: string; control: number; critical: boolean; body: string; op: object }[]
  epochIds: { what: string; epochId: string }[]
  certificates: { use: CertificateUse; signed: string }[]
}

/** As the vectors have it: bytes, and ids of 32, as hex. */
function plainControl(op: unknown): unknown {
  return JSON.parse(JSON.stringify(op, (_, one: unknown) => {
    const json = one as { type?: string; data?: number[] } | null
    if (json?.type === 'Buffer') return Buffer.from(json.data ?? []).toString('hex')
    if (one instanceof Uint8Array) return Buffer.from(one).toString('hex')
    return typeof one === 'string' && one.length === 32
      ? Buffer.from(one, 'latin1').toString('hex') : one
  }))
}

t.test('the bodies of control ops are those of the vectors', (t) => {
  const file = new URL('../vectors/ops/control.json', import.meta.url)
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as ControlVectors
  const kinds = new Set<number>()
  for (const { what, control, critical, body, op } of vectors.bodies) {
    kinds.add(control)
    const bytes = Buffer.from(body, 'hex')
    const decoded = decodeControl({ kind: 'control', control, critical, body: bytes })
    t.same(plainControl(decoded), op, what)
    t.same(controlOp(decoded!), { kind: 'control', control, critical, body: bytes }, what)
    t.equal(rule(() => (
      decodeControl({ kind: 'control', control, critical: !critical, body: bytes })
    )), 'op-flags', what)
    for (let cut = 0; cut < bytes.length; cut += 7) {
      const short = bytes.subarray(0, cut)
      const found = rule(() => decodeControl({ kind: 'control', control, critical, body: short }))
      if (found === 'accepted' || found.startsWith('not a')) t.fail(`${what}: ${cut} bytes`)
    }
  }
  t.equal(kinds.size, 11)
  for (const { what, epochId } of vectors.epochIds) {
    const { body } = vectors.bodies.find((one) => one.what === what)!
    t.equal(Buffer.from(epochIdOf(Buffer.from(body, 'hex'))).toString('hex'), epochId)
  }
  for (const { use, signed } of vectors.certificates) {
    const certificate = { phrase: Buffer.alloc(32, 0xc1), serial: 3 }
    const vault = Buffer.from(signed, 'hex').subarray(1 + `lattice/0/${use}`.length).subarray(0, 16)
    const keys = [Buffer.alloc(32, 0xd1), Buffer.alloc(32, 0xd5)] as const
    const made = certificateBytes(use, vault, certificate, ...keys)
    t.equal(Buffer.from(made).toString('hex'), signed, use)
  }
  t.end()
})
