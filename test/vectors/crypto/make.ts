// Writes the vector files beside it: `node --import tsx test/vectors/crypto/make.ts`. Expected
// outputs come from the @noble libraries and node:crypto only, never from the code under test;
// cases with a `source` are published ones, and their output is asserted here. Run it only when a
// vector is added: what is committed is the reference, a changed old line is a changed format.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { argon2id } from '@noble/hashes/argon2.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'

type Case = Record<string, string | number>

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const bytes = (length: number, start = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (start + i * 7) & 255)
const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))

function save(name: string, cases: Case[]): void {
  const url = new URL(`${name}.json`, import.meta.url)
  writeFileSync(url, `${JSON.stringify(cases, null, 1)}\n`)
}

function u32(value: number): Uint8Array {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return new Uint8Array(out)
}

// ---- XChaCha20-Poly1305: single messages ----

function message(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, plain: Uint8Array): Case {
  const sealed = xchacha20poly1305(key, nonce, ad).encrypt(plain)
  const base = { key: hex(key), nonce: hex(nonce), ad: hex(ad), plain: hex(plain) }
  return { ...base, sealed: hex(sealed), result: 'ok' }
}

function flipped(valid: Case, field: string, at: number): Case {
  const changed = unhex(String(valid[field]))
  changed[at] = (changed[at] as number) ^ 1
  return { ...valid, name: `${field} byte ${at} flipped`, [field]: hex(changed), result: 'reject' }
}

const draft = message(
  Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i),
  Uint8Array.from({ length: 24 }, (_, i) => 0x40 + i),
  unhex('50515253c0c1c2c3c4c5c6c7'),
  utf8(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
      'sunscreen would be it.',
  ),
)
assert(String(draft['sealed']).endsWith('c0875924c1c7987947deafd8780acf49'))
const messages: Case[] = [{ name: 'A.3.1', source: 'draft-irtf-cfrg-xchacha-03', ...draft }]
for (const length of [0, 1, 15, 16, 63, 64, 65, 255, 2047, 2048, 2049]) {
  const made = message(bytes(32, length), bytes(24, 3), bytes(length % 40, 9), bytes(length, 5))
  messages.push({ name: `${length} bytes`, ...made })
}
const flips = [
  ['sealed', 0],
  ['sealed', 129],
  ['ad', 3],
  ['nonce', 2],
  ['nonce', 23],
  ['key', 31],
] as const
for (const [field, at] of flips) {
  messages.push(flipped(draft, field, at))
}
const cut = String(draft['sealed']).slice(0, -2)
messages.push({ ...draft, name: 'one byte short', sealed: cut, result: 'reject' })
save('xchacha20poly1305', messages)

save('hchacha20', [
  {
    name: '2.2.1',
    source: 'draft-irtf-cfrg-xchacha-03',
    key: hex(Uint8Array.from({ length: 32 }, (_, i) => i)),
    input: '000000090000004a0000000031415927',
    output: '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc',
  },
])

// ---- segments: outputs are hashed, they are long ----

save('segments', [0, 1, 16383, 16384, 16385, 40000].map((length) => {
  const key = bytes(32, 11)
  const prefix = bytes(19, 200)
  const ad = bytes(81, 1)
  const plain = bytes(length, 77)
  const total = Math.max(1, Math.ceil(length / 16384))
  const parts: Uint8Array[] = []
  for (let i = 0; i < total; i++) {
    const nonce = join(prefix, u32(i), Uint8Array.of(i + 1 === total ? 1 : 0))
    const part = plain.subarray(i * 16384, (i + 1) * 16384)
    parts.push(xchacha20poly1305(key, nonce, ad).encrypt(part))
  }
  const sealed = hex(blake2b(join(...parts), { dkLen: 32 }))
  const base = { key: hex(key), prefix: hex(prefix), ad: hex(ad), plainStart: 77 }
  return { name: `${length} bytes`, ...base, plainBytes: length, sealedBlake2b256: sealed }
}))

// ---- hashes and derivation ----

const friend = utf8('whats the Elvish word for friend')
assert.equal(
  hex(blake3(new Uint8Array(0), { key: friend })),
  '92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26',
)
save('blake3-keyed', [0, 1, 63, 64, 65, 1023, 1024, 1025, 8193].map((length) => {
  const input = Uint8Array.from({ length }, (_, i) => i % 251)
  const output = hex(blake3(input, { key: friend }))
  return { name: `${length} bytes`, key: hex(friend), input: hex(input), output }
}))

const abc = 'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
  '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923'
assert.equal(hex(blake2b(utf8('abc'))), abc)
save('blake2b', [
  { name: 'abc', source: 'RFC 7693, appendix A', key: '', input: '616263', output: abc },
  ...[16, 32, 64].map((size) => ({
    name: `keyed, ${size} bytes`,
    key: hex(bytes(32, size)),
    input: hex(bytes(100, size)),
    output: hex(blake2b(bytes(100, size), { key: bytes(32, size), dkLen: size })),
  })),
])

save('kdf', ['lattice/0/op', 'lattice/0/bundle', 'lattice/0/db-value'].map((label) => {
  const parent = bytes(32, label.length)
  const context = label.endsWith('op') ? new Uint8Array(0) : bytes(8, 1)
  const input = join(Uint8Array.of(label.length), utf8(label), context)
  const output = hex(blake3(input, { key: parent }))
  return { name: label, parent: hex(parent), context: hex(context), output }
}))

save('gear', [1, 2].map((start) => {
  const key = bytes(32, start)
  const table = join(...Array.from({ length: 32 }, (_, i) =>
    blake2b(join(utf8('lattice/0/gear'), u32(i)), { key, dkLen: 64 })))
  const first = hex(table.subarray(0, 16))
  const hash = hex(blake2b(table, { dkLen: 32 }))
  return { name: `K_cdc ${start}`, key: hex(key), first, blake2b256: hash }
}))

save('argon2id', [
  { passphrase: 'password', passes: 1, memoryKib: 8 },
  { passphrase: 'correct horse battery staple', passes: 2, memoryKib: 64 },
  { passphrase: 'пароль', passes: 3, memoryKib: 32 },
].map(({ passphrase, passes, memoryKib }) => {
  const salt = bytes(16, passes)
  const output = argon2id(passphrase, salt, { t: passes, m: memoryKib, p: 1, dkLen: 32 })
  return { name: passphrase, passphrase, salt: hex(salt), passes, memoryKib, output: hex(output) }
}))

// ---- signatures ----

save('ed25519', [
  ['9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', ''],
  ['4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', '72'],
  ['c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'af82'],
].map(([seed = '', message = ''], i) => ({
  name: `test ${i + 1}`,
  source: 'RFC 8032, 7.1',
  seed,
  message,
  publicKey: hex(ed25519.getPublicKey(unhex(seed))),
  signature: hex(ed25519.sign(unhex(message), unhex(seed))),
})))

// ---- recovery phrases (BIP-39, 256 bits) ----

const wordUrl = new URL('../../../src/crypto/phrase-words.ts', import.meta.url)
const { PHRASE_WORDS } = (await import(wordUrl.href)) as { PHRASE_WORDS: readonly string[] }

function phrase(entropy: Uint8Array): string {
  const check = createHash('sha256').update(entropy).digest().subarray(0, 1)
  const bits = BigInt(`0x${hex(join(entropy, check))}`)
  const indexes = Array.from({ length: 24 }, (_, i) => (bits >> BigInt(253 - i * 11)) & 2047n)
  return indexes.map((index) => PHRASE_WORDS[Number(index)]).join(' ')
}

const zeroes = phrase(new Uint8Array(32))
assert.equal(zeroes, `${'abandon '.repeat(23)}art`)
save('phrase', [
  ...[0x00, 0x7f, 0x80, 0xff].map((byte) => ({
    name: `32 × ${byte}`,
    source: 'BIP-39 test vectors',
    entropy: hex(new Uint8Array(32).fill(byte)),
    phrase: phrase(new Uint8Array(32).fill(byte)),
    result: 'ok',
  })),
  { name: 'counting', entropy: hex(bytes(32)), phrase: phrase(bytes(32)), result: 'ok' },
  { name: '23 words', phrase: 'abandon '.repeat(23).trim(), result: 'phrase-length' },
  { name: 'no word', phrase: zeroes.replace('art', 'artt'), result: 'phrase-word' },
  { name: 'checksum', phrase: zeroes.replace('art', 'zoo'), result: 'phrase-checksum' },
])
