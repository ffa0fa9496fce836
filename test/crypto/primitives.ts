// crypto/: every primitive against vectors in files, against the @noble libraries, and both paths
// of the AEAD against each other. SEED=n replays the random part.

import { readFileSync } from 'node:fs'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { blake2b as nobleBlake2b } from '@noble/hashes/blake2.js'
import { blake3 as nobleBlake3 } from '@noble/hashes/blake3.js'
import t from 'tap'
import { gearTable } from '../../src/chunks/gear.ts'
import { openSegmentsWithSodium, sealSegmentsWithSodium } from '../../src/crypto/aead-sodium.ts'
import {
  RECORD_OVERHEAD_BYTES,
  aeadProvider,
  openMessage,
  openRecord,
  openSegments,
  sealMessage,
  sealRecord,
  sealSegments,
  sealedSegmentsBytes,
} from '../../src/crypto/aead.ts'
import { isArgonParameters, passphraseKey } from '../../src/crypto/argon.ts'
import {
  blake2b,
  blake2bKeyed,
  blake2bKeyedInto,
  blake3,
  blake3Keyed,
} from '../../src/crypto/hash.ts'
import { deriveKey, epochCommitment, opKey } from '../../src/crypto/kdf.ts'
import type { KdfLabel } from '../../src/crypto/kdf.ts'
import { loadAddon } from '../../src/crypto/native.ts'
import { randomBytes, randomFill } from '../../src/crypto/random.ts'
import { equalSecrets, newSecret, takeSecret, wipe } from '../../src/crypto/secret.ts'
import { runSelfTests } from '../../src/crypto/self-test.ts'
import { boxKeyPair, boxOpen, boxSeal, sign, signKeyPair, verify } from '../../src/crypto/sign.ts'
import { isZero, toHex } from '../../src/util/bytes.ts'
import { testRandom } from '../support/random.helper.ts'

type Case = { name: string; result?: string } & Record<string, string | number>

const random = testRandom()
t.comment(`SEED=${random.seed}`)

function vectors(file: string): Case[] {
  const url = new URL(`../vectors/crypto/${file}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')) as Case[]
}

const hex = (value: string | number | undefined): Uint8Array => Buffer.from(String(value), 'hex')
const pattern = (length: number, start: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (start + i * 7) & 255)

t.test('self-tests pass, and name what is broken', async (t) => {
  runSelfTests()
  const addon = loadAddon<Record<string, unknown>>()
  const broken: [string, (...args: never[]) => unknown, string][] = [
    ['cut', () => Uint32Array.of(65536), 'fastcdc'],
    ['hchacha20', () => new Uint8Array(32), 'hchacha20'],
    ['seal', () => undefined, 'aead-openssl'],
    ['open', () => true, 'aead-openssl'],
    ['openSegments', () => true, 'segments'],
  ]
  for (const [name, fake, test] of broken) {
    const real = addon[name]
    Object.assign(addon, { [name]: fake })
    t.throws(() => runSelfTests(), { code: 'self-test-failed', details: { test } }, name)
    Object.assign(addon, { [name]: real })
  }
  runSelfTests()
})

t.test('XChaCha20-Poly1305 vectors, both paths', async (t) => {
  const addon = loadAddon()
  for (const c of vectors('xchacha20poly1305')) {
    const [key, nonce, ad] = [hex(c['key']), hex(c['nonce']), hex(c['ad'])]
    const [plain, sealed] = [hex(c['plain']), hex(c['sealed'])]
    const out = new Uint8Array(Math.max(0, sealed.length - 16))
    t.equal(openMessage(key, nonce, ad, sealed, out), c.result === 'ok', c.name)
    t.equal(addon.open(key, nonce, ad, sealed, out), c.result === 'ok', `${c.name}, openssl`)
    if (c.result !== 'ok') {
      t.ok(isZero(out), 'nothing unauthentic is left')
      continue
    }
    t.same(out, plain)
    const again = new Uint8Array(plain.length + 16)
    sealMessage(key, nonce, ad, plain, again)
    t.same(again, sealed)
    addon.seal(key, nonce, ad, plain, again.fill(0))
    t.same(again, sealed)
  }
})

t.test('segments: vectors, and each path opens what the other sealed', async (t) => {
  t.equal(aeadProvider(), 'openssl', 'this runtime carries OpenSSL')
  for (const c of vectors('segments')) {
    const [key, prefix, ad] = [hex(c['key']), hex(c['prefix']), hex(c['ad'])]
    const plain = pattern(Number(c['plainBytes']), Number(c['plainStart']))
    const sealed = new Uint8Array(sealedSegmentsBytes(plain.length))
    sealSegments(key, prefix, ad, plain, sealed)
    t.equal(toHex(nobleBlake2b(sealed, { dkLen: 32 })), c['sealedBlake2b256'], c.name)
    const other = new Uint8Array(sealed.length)
    sealSegmentsWithSodium(key, prefix, ad, plain, other)
    t.ok(Buffer.compare(sealed, other) === 0, 'equal bytes')
    const total = Math.max(1, Math.ceil(plain.length / 16384))
    const out = new Uint8Array(plain.length)
    t.ok(openSegmentsWithSodium(key, prefix, ad, sealed, 0, total, out))
    t.ok(Buffer.compare(out, plain) === 0)
    const opened = openSegments(key, prefix, ad, sealed, 0, total)
    t.ok(opened !== null && Buffer.compare(opened, plain) === 0)
  }
})

t.test('segments: any run opens alone; none opens elsewhere, shorter or changed', async (t) => {
  const key = randomBytes(32)
  const prefix = randomBytes(19)
  const ad = random.bytes(81)
  const plain = random.bytes(5 * 16384 + 100)
  const total = 6
  const sealed = new Uint8Array(sealedSegmentsBytes(plain.length))
  sealSegments(key, prefix, ad, plain, sealed)
  const slice = (first: number, end: number): Uint8Array => sealed.slice(first * 16400, end * 16400)
  for (let first = 0; first < total; first++) {
    for (let end = first + 1; end <= total; end++) {
      const opened = openSegments(key, prefix, ad, slice(first, end), first, total)
      const expected = plain.subarray(first * 16384, end * 16384)
      t.ok(opened !== null && Buffer.compare(opened, expected) === 0, `${first} to ${end}`)
      t.equal(openSegments(key, prefix, ad, slice(first, end), first + 1, total), null)
      const longer = openSegments(key, prefix, ad, slice(first, end), first, total + 1)
      t.equal(longer === null, end === total)
    }
  }
  for (const native of [true, false]) {
    const open = native ? loadAddon().openSegments : openSegmentsWithSodium
    const out = new Uint8Array(16384 * 2)
    const part = slice(1, 3)
    t.ok(open(key, prefix, ad, part, 1, total, out))
    for (let i = 0; i < 64; i++) {
      const at = random.below(part.length)
      part[at] = (part[at] as number) ^ (1 << random.below(8))
      out.fill(1)
      t.notOk(open(key, prefix, ad, part, 1, total, out), `byte ${at} changed`)
      t.ok(isZero(out), 'zeroed')
      part.set(slice(1, 3))
    }
    t.notOk(open(key, prefix, ad.slice(1), part, 1, total, out))
    t.notOk(open(key, randomBytes(19), ad, part, 1, total, out))
    t.notOk(open(randomBytes(32), prefix, ad, part, 1, total, out))
  }
  const swapped = new Uint8Array([...slice(1, 2), ...slice(0, 1)])
  t.equal(openSegments(key, prefix, ad, swapped, 0, total), null, 'swapped')
  for (const length of [0, 1, 15, 16, 16399, 16401, 16415, 16416]) {
    const part = sealed.slice(0, length)
    t.equal(openSegments(key, prefix, ad, part, 0, total), null, `${length} bytes`)
  }
})

t.test('records: sizes, associated data, every byte', async (t) => {
  const key = randomBytes(32)
  for (const length of [0, 1, 100, 2047, 2048, 4000, 100000]) {
    const plain = random.bytes(length)
    const ad = random.bytes(random.below(40))
    const sealed = sealRecord(key, ad, plain)
    t.equal(sealed.length, length + RECORD_OVERHEAD_BYTES)
    t.equal(toHex(openRecord(key, ad, sealed)), toHex(plain))
    const noble = xchacha20poly1305(key, Uint8Array.from(sealed.subarray(0, 24)), ad)
    t.ok(Buffer.compare(noble.decrypt(Uint8Array.from(sealed.subarray(24))), plain) === 0, 'noble')
    const into = Buffer.alloc(length)
    t.equal(openRecord(key, ad, sealed, into), into)
    t.throws(() => openRecord(key, Uint8Array.of(1, ...ad), sealed), { code: 'unauthentic' })
    t.throws(() => openRecord(randomBytes(32), ad, sealed), { code: 'unauthentic' })
    const cut = sealed.subarray(0, -1)
    t.throws(() => openRecord(key, ad, cut), { code: /unauthentic|record-short/ })
  }
  const sealed = sealRecord(key, Uint8Array.of(9), random.bytes(20))
  for (let at = 0; at < sealed.length; at++) {
    sealed[at] = (sealed[at] as number) ^ 128
    t.throws(() => openRecord(key, Uint8Array.of(9), sealed), { code: 'unauthentic' })
    sealed[at] = (sealed[at] as number) ^ 128
  }
  t.throws(() => openRecord(key, ad0, new Uint8Array(39)), { code: 'record-short' })
  t.not(toHex(sealRecord(key, ad0, ad0)), toHex(sealRecord(key, ad0, ad0)), 'nonces differ')
})

const ad0 = new Uint8Array(0)

t.test('the addon refuses wrong arguments instead of reading beyond them', async (t) => {
  const addon = loadAddon()
  const [k, n, p] = [new Uint8Array(32), new Uint8Array(24), new Uint8Array(19)]
  const b = (length: number): Uint8Array => new Uint8Array(length)
  const bad = { code: 'invalid' }
  t.throws(() => addon.seal(b(31), n, ad0, b(5), b(21)), bad)
  t.throws(() => addon.seal(k, b(23), ad0, b(5), b(21)), bad)
  t.throws(() => addon.seal(k, n, ad0, b(5), b(20)), bad)
  t.throws(() => addon.seal(k, n, ad0, 'text' as never, b(20)), bad)
  t.throws(() => addon.seal(k, n, ad0, new Uint16Array(3) as never, b(22)), bad)
  t.throws(() => addon.open(k, n, ad0, b(20), b(5)), bad)
  t.notOk(addon.open(k, n, ad0, b(15), b(0)))
  t.throws(() => addon.sealSegments(k, p, ad0, b(16385), b(16385 + 16)), bad)
  t.throws(() => addon.openSegments(k, p, ad0, b(100), -1, 1, b(84)), bad)
  t.throws(() => addon.openSegments(k, p, ad0, b(100), 0.5, 1, b(84)), bad)
  t.throws(() => addon.openSegments(k, p, ad0, b(100), 0, 2 ** 33, b(84)), bad)
  t.throws(() => addon.openSegments(k, p, ad0, b(100), 0, 1, b(85)), bad)
  t.notOk(addon.openSegments(k, p, ad0, b(100), 0, 2, b(84)), 'a short segment in the middle')
  t.notOk(addon.openSegments(k, p, ad0, b(0), 0, 1, b(0)))
  const shared = b(100)
  t.throws(() => addon.seal(k, n, ad0, shared.subarray(0, 40), shared.subarray(30, 86)), bad)
  t.throws(() => addon.hchacha20(k, b(15)), bad)
  t.throws(() => addon.cut(b(10), b(2047), 64, 256, 512, true), bad)
  t.throws(() => addon.cut(b(10), b(2048), 63, 256, 512, true), bad)
  t.throws(() => addon.cut(b(10), b(2048), 64, 300, 512, true), bad)
  t.throws(() => addon.cut(b(10), b(2048), 64, 1024, 512, true), bad)
  t.throws(() => addon.cut(b(10), b(2048), NaN, 1024, 2048, true), bad)
  t.throws(() => addon.cut(b(10), b(2048), 64, 256, 512, 1 as never), bad)
  t.throws(() => (addon.cut as (...args: unknown[]) => unknown)(b(10)), bad)
})

t.test('hashes', async (t) => {
  for (const c of vectors('blake3-keyed')) {
    t.equal(toHex(blake3Keyed(hex(c['key']), hex(c['input']))), c['output'], c.name)
  }
  for (const c of vectors('blake2b')) {
    const output = c['key'] === '' ? blake2b(64, hex(c['input']))
      : blake2bKeyed(hex(c['key']), String(c['output']).length / 2, hex(c['input']))
    t.equal(toHex(output), c['output'], c.name)
  }
  for (const c of vectors('hchacha20')) {
    t.equal(toHex(loadAddon().hchacha20(hex(c['key']), hex(c['input']))), c['output'], c.name)
  }
  for (let i = 0; i < 30; i++) {
    const key = random.bytes(32)
    const parts = [300, 3000, 2].map((below) => random.bytes(random.below(below)))
    const joined = new Uint8Array(Buffer.concat(parts))
    t.equal(toHex(blake3Keyed(key, ...parts)), toHex(nobleBlake3(joined, { key })))
    t.equal(toHex(blake3(...parts)), toHex(nobleBlake3(joined)))
    const size = 16 + random.below(49)
    const expected = toHex(nobleBlake2b(joined, { key, dkLen: size }))
    t.equal(toHex(blake2bKeyed(key, size, ...parts)), expected)
    t.equal(toHex(blake2bKeyedInto(Buffer.alloc(size), key, joined)), expected)
  }
})

t.test('derivation', async (t) => {
  for (const c of vectors('kdf')) {
    const derived = deriveKey(hex(c['parent']), c.name as KdfLabel, hex(c['context']))
    t.equal(toHex(derived), c['output'], c.name)
  }
  const epochKey = randomBytes(32)
  t.same(opKey(epochKey), deriveKey(epochKey, 'lattice/0/op'))
  t.equal(epochCommitment(epochKey).length, 32)
  for (const c of vectors('gear')) {
    const table = gearTable(hex(c['key']))
    t.equal(toHex(table.subarray(0, 16)), c['first'])
    t.equal(toHex(nobleBlake2b(table, { dkLen: 32 })), c['blake2b256'], c.name)
  }
})

t.test('Argon2id: vectors, bounds, empty passphrase', async (t) => {
  for (const c of vectors('argon2id')) {
    const parameters = { passes: Number(c['passes']), memoryKib: Number(c['memoryKib']) }
    const passphrase = Buffer.from(String(c['passphrase']))
    t.equal(toHex(await passphraseKey(passphrase, hex(c['salt']), parameters)), c['output'], c.name)
  }
  const salt = new Uint8Array(16)
  const small = { passes: 1, memoryKib: 8 }
  await t.rejects(passphraseKey(ad0, salt, small), { code: 'empty-passphrase' })
  for (const wrong of [[0, 64], [17, 64], [1, 7], [1, 2 ** 22], [1.5, 64], [1, NaN]] as const) {
    t.notOk(isArgonParameters({ passes: wrong[0], memoryKib: wrong[1] }))
  }
})

t.test('signatures and boxes', async (t) => {
  for (const c of vectors('ed25519')) {
    const pair = signKeyPair(hex(c['seed']))
    t.equal(toHex(pair.publicKey), c['publicKey'], c.name)
    const signature = sign(hex(c['message']), pair.secretKey)
    t.equal(toHex(signature), c['signature'])
    t.ok(verify(hex(c['message']), signature, pair.publicKey))
    signature[10] = (signature[10] as number) ^ 1
    t.notOk(verify(hex(c['message']), signature, pair.publicKey))
    t.notOk(verify(hex(c['message']), signature.subarray(1), pair.publicKey), 'too short')
    t.notOk(verify(hex(c['message']), signature, pair.publicKey.subarray(1)), 'key too short')
  }
  const seed = randomBytes(32)
  const pair = signKeyPair(seed)
  t.same(pair.publicKey, Buffer.from(ed25519.getPublicKey(seed)))
  const box = boxKeyPair(seed)
  t.same(box.publicKey, Buffer.from(x25519.getPublicKey(Uint8Array.from(box.secretKey))))
  for (const length of [0, 1, 500]) {
    const plain = random.bytes(length)
    const sealed = boxSeal(plain, box.publicKey)
    t.equal(toHex(boxOpen(sealed, box) ?? ad0), toHex(plain))
    t.equal(boxOpen(sealed, boxKeyPair(randomBytes(32))), null)
    t.equal(boxOpen(sealed.subarray(1), box), null)
    const at = random.below(sealed.length)
    sealed[at] = (sealed[at] as number) ^ 1
    t.equal(boxOpen(sealed, box), null, `byte ${at} changed`)
  }
})

t.test('secrets and random bytes', async (t) => {
  const source = Buffer.from('attack at dawn')
  const secret = takeSecret(source)
  t.equal(secret.toString(), 'attack at dawn')
  t.ok(isZero(source), 'the source is gone')
  t.ok(equalSecrets(secret, Buffer.from('attack at dawn')))
  t.notOk(equalSecrets(secret, Buffer.from('attack at dusk')))
  t.notOk(equalSecrets(secret, Buffer.from('attack')))
  wipe(secret)
  t.ok(isZero(secret))
  t.equal(newSecret(5).length, 5)
  const seen = new Set<string>()
  for (let i = 0; i < 2000; i++) seen.add(toHex(randomBytes(24)))
  t.equal(seen.size, 2000, 'no draw repeats')
  const large = randomFill(new Uint8Array(1000))
  t.notOk(isZero(large.subarray(900)))
})
