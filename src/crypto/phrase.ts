// The recovery phrase of a vault: 256 random bits as 24 English words with a checksum of 8 bits
// (BIP-39), and the keys that it yields. The phrase owns no log; its box key opens the vault's keys
// in the key file without the passphrase, its sign key will certify new owner devices.

import { createHash } from 'node:crypto'
import { assert } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import { deriveKey } from './kdf.ts'
import { PHRASE_WORDS } from './phrase-words.ts'
import { newSecret, wipe } from './secret.ts'
import type { Secret } from './secret.ts'
import { boxKeyPair, signKeyPair } from './sign.ts'
import type { BoxKeyPair, SignKeyPair } from './sign.ts'

export const PHRASE_ENTROPY_BYTES = 32
export const PHRASE_WORD_COUNT = 24
const WORD_BITS = 11

const WORD_INDEX = new Map(PHRASE_WORDS.map((word, index) => [word, index]))

export type RecoveryKeys = { box: BoxKeyPair; sign: SignKeyPair }

/** 24 words, separated by single spaces. Strings cannot be wiped: show and forget. */
export function phraseOf(entropy: Uint8Array): string {
  assert(entropy.length === PHRASE_ENTROPY_BYTES, 'phrase entropy length')
  const bits = new Uint8Array(PHRASE_ENTROPY_BYTES + 1)
  bits.set(entropy)
  bits[PHRASE_ENTROPY_BYTES] = checksum(entropy)
  const words: string[] = []
  for (let i = 0; i < PHRASE_WORD_COUNT; i++) {
    let index = 0
    for (let b = i * WORD_BITS; b < (i + 1) * WORD_BITS; b++) {
      index = index * 2 + (((bits[b >>> 3] as number) >>> (7 - (b & 7))) & 1)
    }
    words.push(PHRASE_WORDS[index] as string)
  }
  wipe(bits)
  return words.join(' ')
}

/**
 * The entropy of a phrase as typed (any case and white space). Throws 'phrase-length',
 * 'phrase-word' (details.position from 1) or 'phrase-checksum'.
 */
export function entropyOf(phrase: string): Secret {
  const words = phrase.normalize('NFKD').trim().toLowerCase().split(/\s+/)
  if (words.length !== PHRASE_WORD_COUNT) {
    throw new LatticeError('phrase-length', `a recovery phrase has 24 words, not ${words.length}`)
  }
  const bits = newSecret(PHRASE_ENTROPY_BYTES + 1)
  words.forEach((word, i) => {
    const index = WORD_INDEX.get(word)
    if (index === undefined) {
      throw new LatticeError('phrase-word', `word ${i + 1} of the recovery phrase is unknown`, {
        hint: 'check its spelling: all words come from the English list of BIP-39',
        details: { position: i + 1 },
      })
    }
    for (let b = 0; b < WORD_BITS; b++) {
      const at = i * WORD_BITS + b
      const bit = (index >>> (WORD_BITS - 1 - b)) & 1
      bits[at >>> 3] = (bits[at >>> 3] as number) | (bit << (7 - (at & 7)))
    }
  })
  const entropy = newSecret(PHRASE_ENTROPY_BYTES)
  entropy.set(bits.subarray(0, PHRASE_ENTROPY_BYTES))
  const matches = bits[PHRASE_ENTROPY_BYTES] === checksum(entropy)
  wipe(bits)
  if (!matches) {
    throw new LatticeError('phrase-checksum', 'the recovery phrase does not add up', {
      hint: 'a word is wrong or two are swapped',
    })
  }
  return entropy
}

/** The key pairs of a phrase; the caller wipes their secret halves. */
export function recoveryKeys(entropy: Uint8Array): RecoveryKeys {
  const boxSeed = deriveKey(entropy, 'lattice/0/recovery-box')
  const signSeed = deriveKey(entropy, 'lattice/0/recovery-sign')
  const keys = { box: boxKeyPair(boxSeed), sign: signKeyPair(signSeed) }
  wipe(boxSeed)
  wipe(signSeed)
  return keys
}

function checksum(entropy: Uint8Array): number {
  return createHash('sha256').update(entropy).digest()[0] as number
}
