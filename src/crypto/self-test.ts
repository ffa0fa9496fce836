// Known-answer tests that run before any key is touched: a miscompiled addon, a wrong library or a
// broken CPU must stop lattice, not damage data. Every primitive that seals, hashes, signs or cuts
// is here, both paths of the AEAD included. Under 20 ms. Expected values are published vectors or
// come from an independent implementation (test/vectors/crypto/make.ts names them).

import sodium from 'sodium-native'
import { equalBytes, fromHex, toHex, utf8 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { openSegmentsWithSodium, sealSegmentsWithSodium } from './aead-sodium.ts'
import { openMessage, sealMessage, sealedSegmentsBytes } from './aead.ts'
import { blake2b, blake3Keyed } from './hash.ts'
import { loadAddon } from './native.ts'
import { boxKeyPair, boxOpen, boxSeal, sign, signKeyPair, verify } from './sign.ts'

const DRAFT_TEXT =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
  'sunscreen would be it.'
const DRAFT_SEALED =
  'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e' +
  '39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3' +
  'fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49'

const BLAKE3_1025 =
  '357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69'
const FASTCDC_LENGTHS =
  '4350 2770 1277 3649 4995 4260 4887 4534 5045 6626 4172 4231 5361 4236 4367 776'

type SelfTest = { name: string; run: () => boolean }

const TESTS: readonly SelfTest[] = [
  { name: 'hchacha20', run: testHchacha20 },
  { name: 'aead-sodium', run: testAeadSodium },
  { name: 'aead-openssl', run: testAeadOpenssl },
  { name: 'segments', run: testSegments },
  { name: 'blake3', run: testBlake3 },
  { name: 'blake2b', run: testBlake2b },
  { name: 'argon2id', run: testArgon2id },
  { name: 'ed25519', run: testEd25519 },
  { name: 'box', run: testBox },
  { name: 'fastcdc', run: testFastcdc },
]

/** Runs all of them. Throws 'self-test-failed' (details.test) at the first that does not hold. */
export function runSelfTests(): void {
  for (const test of TESTS) {
    let cause: unknown
    let passed = false
    try {
      passed = test.run()
    } catch (error) {
      if (error instanceof LatticeError && error.code === 'addon-missing') throw error
      cause = error
    }
    if (!passed) {
      throw new LatticeError('self-test-failed', `the self-test ${test.name} failed`, {
        hint: 'build the addon anew (sh native/build.sh); if that fails, suspect the machine',
        details: { test: test.name },
        cause,
      })
    }
  }
}

function testHchacha20(): boolean {
  const key = counting(32, 0)
  const output = loadAddon().hchacha20(key, hex('000000090000004a0000000031415927'))
  return toHex(output) === '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc'
}

const DRAFT = {
  key: counting(32, 0x80),
  nonce: counting(24, 0x40),
  ad: hex('50515253c0c1c2c3c4c5c6c7'),
  plain: utf8(DRAFT_TEXT),
  sealed: hex(DRAFT_SEALED),
}

function testAeadSodium(): boolean {
  const { key, nonce, ad, plain, sealed } = DRAFT
  const out = new Uint8Array(sealed.length)
  sealMessage(key, nonce, ad, plain, out)
  const back = new Uint8Array(plain.length)
  if (!openMessage(key, nonce, ad, sealed, back)) return false
  return equalBytes(out, sealed) && equalBytes(back, plain) && !opensFlipped(openMessage)
}

function testAeadOpenssl(): boolean {
  const addon = loadAddon()
  if (!addon.aeadAvailable()) return true // then sodium alone is used
  const { key, nonce, ad, plain, sealed } = DRAFT
  const out = new Uint8Array(sealed.length)
  addon.seal(key, nonce, ad, plain, out)
  const back = new Uint8Array(plain.length)
  if (!addon.open(key, nonce, ad, sealed, back)) return false
  return equalBytes(out, sealed) && equalBytes(back, plain) && !opensFlipped(addon.open)
}

function opensFlipped(open: typeof openMessage): boolean {
  const { key, nonce, ad, plain } = DRAFT
  const sealed = DRAFT.sealed.slice()
  sealed[7] = (sealed[7] as number) ^ 4
  return open(key, nonce, ad, sealed, new Uint8Array(plain.length))
}

/** Two segments, sealed by one path and opened by the other, both ways. */
function testSegments(): boolean {
  const addon = loadAddon()
  if (!addon.aeadAvailable()) return true
  const key = counting(32, 11)
  const prefix = counting(19, 200)
  const ad = counting(81, 1)
  const plain = pseudoRandom(16385)
  const byOpenssl = new Uint8Array(sealedSegmentsBytes(plain.length))
  const bySodium = new Uint8Array(byOpenssl.length)
  addon.sealSegments(key, prefix, ad, plain, byOpenssl)
  sealSegmentsWithSodium(key, prefix, ad, plain, bySodium)
  const back = new Uint8Array(plain.length)
  if (!equalBytes(byOpenssl, bySodium)) return false
  if (!addon.openSegments(key, prefix, ad, bySodium, 0, 2, back)) return false
  if (!equalBytes(back, plain)) return false
  const whole = new Uint8Array(16384)
  const first = byOpenssl.subarray(0, 16400)
  return (
    openSegmentsWithSodium(key, prefix, ad, byOpenssl, 0, 2, back) &&
    addon.openSegments(key, prefix, ad, first, 0, 2, whole) &&
    !addon.openSegments(key, prefix, ad, first, 1, 2, whole) &&
    !addon.openSegments(key, prefix, ad, first, 0, 1, whole)
  )
}

function testBlake3(): boolean {
  const key = utf8('whats the Elvish word for friend')
  const input = Uint8Array.from({ length: 1025 }, (_, i) => i % 251)
  return (
    toHex(blake3Keyed(key, new Uint8Array(0))) ===
      '92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26' &&
    toHex(blake3Keyed(key, input.subarray(0, 100), input.subarray(100))) === BLAKE3_1025
  )
}

function testBlake2b(): boolean {
  return (
    toHex(blake2b(64, utf8('abc'))) ===
      'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
        '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923' &&
    toHex(blake2b(64, utf8('a'), utf8('bc'))) === toHex(blake2b(64, utf8('abc')))
  )
}

function testArgon2id(): boolean {
  const key = new Uint8Array(32)
  const algorithm = sodium.crypto_pwhash_ALG_ARGON2ID13
  sodium.crypto_pwhash(key, utf8('password'), new Uint8Array(16).fill(2), 1, 8192, algorithm)
  return toHex(key) === 'e94033ddb037ce1ee598e077a1e1b34087eaa7ea35b07a4c46961cafe74c736e'
}

function testEd25519(): boolean {
  const pair = signKeyPair(hex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'))
  const message = Uint8Array.of(0x72)
  const signature = sign(message, pair.secretKey)
  return (
    toHex(pair.publicKey) === '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c' &&
    toHex(signature) ===
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
        '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00' &&
    verify(message, signature, pair.publicKey) &&
    !verify(Uint8Array.of(0x73), signature, pair.publicKey)
  )
}

function testBox(): boolean {
  const pair = boxKeyPair(counting(32, 1))
  const other = boxKeyPair(counting(32, 2))
  const box = boxSeal(utf8('box'), pair.publicKey)
  const opened = boxOpen(box, pair)
  return opened !== null && opened.toString() === 'box' && boxOpen(box, other) === null
}

function testFastcdc(): boolean {
  const gear = pseudoRandom(2048)
  const lengths = loadAddon().cut(pseudoRandom(65536), gear, 1024, 4096, 16384, true)
  return lengths.join(' ') === FASTCDC_LENGTHS
}

function hex(text: string): Uint8Array {
  return fromHex(text) ?? new Uint8Array(0)
}

function counting(length: number, start: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (start + i) & 255)
}

/** A linear congruential stream (constants of Numerical Recipes): data, never keys. */
function pseudoRandom(length: number): Uint8Array {
  let state = 1
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}
