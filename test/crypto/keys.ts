// The key file, the key ring and recovery phrases: what goes in comes out, every wrong input has a
// reason of its own, every byte of a key file counts, and writing it is atomic and private.

import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { blake2b } from '../../src/crypto/hash.ts'
import { readKeyFile, writeKeyFile } from '../../src/crypto/key-file-store.ts'
import { KeyRing, needsPassphrase, openWithPhrase } from '../../src/crypto/key-ring.ts'
import { entropyOf, phraseOf, recoveryKeys } from '../../src/crypto/phrase.ts'
import { PHRASE_WORDS } from '../../src/crypto/phrase-words.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { wipe } from '../../src/crypto/secret.ts'
import {
  currentEpoch,
  decodeVaultKeys,
  encodeVaultKeys,
  findEpoch,
  newEpochKeys,
  newVaultKeys,
  wipeVaultKeys,
} from '../../src/crypto/vault-keys.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { isZero, toHex } from '../../src/util/bytes.ts'
import { testRandom } from '../support/random.helper.ts'

const random = testRandom()
t.comment(`SEED=${random.seed}`)

const PARAMETERS = { passes: 1, memoryKib: 64 }
const PASSPHRASE = Buffer.from('correct horse')
const protectedBy = (passphrase: Uint8Array) =>
  ({ kind: 'passphrase', passphrase, parameters: PARAMETERS }) as const

function vaultWithEpochs(name: string, epochs: number): VaultKeys {
  const keys = newVaultKeys(name)
  for (let i = 0; i < epochs; i++) keys.epochs.push(newEpochKeys(randomBytes(8)))
  return keys
}

/** Every secret of a vault as text, to compare. */
function describe(keys: VaultKeys): unknown {
  return JSON.parse(JSON.stringify(keys, (_, value: unknown) => {
    if (value instanceof Uint8Array) return toHex(value)
    const asJson = value as { type?: string; data?: number[] } | null
    if (asJson?.type === 'Buffer') return toHex(Uint8Array.from(asJson.data ?? []))
    return value
  }))
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return isLatticeError(error) ? error.code : `${String(error)}`
  }
  return 'accepted'
}

async function openCode(file: Uint8Array, passphrase?: Uint8Array): Promise<string> {
  try {
    ;(await KeyRing.open(file, passphrase)).close()
    return 'accepted'
  } catch (error) {
    return isLatticeError(error) ? error.code : `${String(error)}`
  }
}

/** The checksum at the end made right again after a change. */
function withChecksum(file: Uint8Array): Uint8Array {
  file.set(blake2b(32, file.subarray(0, file.length - 32)), file.length - 32)
  return file
}

t.test('the word list is the published one', async (t) => {
  const text = PHRASE_WORDS.map((word) => `${word}\n`).join('')
  const published = '2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda'
  t.equal(createHash('sha256').update(text).digest('hex'), published)
  t.equal(new Set(PHRASE_WORDS).size, 2048)
})

t.test('phrases: vectors, round trips, typing', async (t) => {
  const url = new URL('../vectors/crypto/phrase.json', import.meta.url)
  const cases = JSON.parse(readFileSync(url, 'utf8')) as Record<string, string>[]
  for (const c of cases) {
    const phrase = c['phrase'] ?? ''
    if (c['result'] !== 'ok') {
      t.equal(codeOf(() => entropyOf(phrase)), c['result'], c['name'] ?? '')
      continue
    }
    t.equal(phraseOf(Buffer.from(c['entropy'] ?? '', 'hex')), phrase, c['name'] ?? '')
    t.equal(toHex(entropyOf(phrase)), c['entropy'])
  }
  for (let i = 0; i < 50; i++) {
    const entropy = random.bytes(32)
    const phrase = phraseOf(entropy)
    t.equal(toHex(entropyOf(`  ${phrase.toUpperCase().replaceAll(' ', '\n ')}\t`)), toHex(entropy))
    const words = phrase.split(' ')
    const at = random.below(24)
    words[at] = random.pick(PHRASE_WORDS)
    const code = codeOf(() => entropyOf(words.join(' ')))
    t.ok(code === 'phrase-checksum' || code === 'accepted', 'another word: 1 in 256 passes')
  }
  t.match(entropyWordPosition(), { position: 3 })
  const keys = recoveryKeys(new Uint8Array(32))
  t.not(toHex(keys.box.publicKey), toHex(keys.sign.publicKey))
})

function entropyWordPosition(): unknown {
  try {
    entropyOf(`abandon abandon nonsense ${'abandon '.repeat(21)}`)
  } catch (error) {
    if (isLatticeError(error, 'phrase-word')) return error.details
  }
  return undefined
}

t.test('vault keys: every field survives; damaged bytes are refused', async (t) => {
  for (const epochs of [0, 1, 3]) {
    const keys = vaultWithEpochs(`näme ${epochs}`, epochs)
    const whole = encodeVaultKeys(keys, { withEntropy: true })
    t.same(describe(decodeVaultKeys(whole)), describe(keys))
    const without = decodeVaultKeys(encodeVaultKeys(keys, { withEntropy: false }))
    t.equal(without.recoveryEntropy, undefined)
    for (let length = 0; length < whole.length; length++) {
      t.match(codeOf(() => decodeVaultKeys(whole.subarray(0, length))), /truncated|out-of-bounds/)
    }
    t.equal(codeOf(() => decodeVaultKeys(Buffer.concat([whole, Buffer.of(0)]))), 'out-of-bounds')
    whole[16] = 2
    t.equal(codeOf(() => decodeVaultKeys(whole)), 'invalid')
  }
  t.equal(codeOf(() => newVaultKeys('')), 'invalid')
  t.equal(codeOf(() => newVaultKeys('é'.repeat(128))), 'invalid')
  const keys = vaultWithEpochs('a', 2)
  t.equal(currentEpoch(keys), keys.epochs[1])
  t.equal(findEpoch(keys, keys.epochs[0]?.epochId ?? randomBytes(8)), keys.epochs[0])
  t.equal(findEpoch(keys, randomBytes(8)), undefined)
  t.equal(codeOf(() => currentEpoch(newVaultKeys('b'))), 'missing-key')
  wipeVaultKeys(keys)
  t.ok(isZero(keys.signSeed) && isZero(keys.epochs[0]?.epochKey ?? randomBytes(32)))
})

t.test('a ring comes back as it was, with and without a passphrase', async (t) => {
  for (const protection of [{ kind: 'none' } as const, protectedBy(PASSPHRASE)]) {
    const ring = await KeyRing.create(protection)
    t.same((await KeyRing.open(ring.encode(), PASSPHRASE)).vaults, [], 'empty')
    const vaults = [vaultWithEpochs('one', 1), vaultWithEpochs('two', 2), newVaultKeys('three')]
    for (const keys of vaults) ring.put(keys)
    const file = ring.encode()
    t.equal(needsPassphrase(file), protection.kind === 'passphrase')
    const opened = await KeyRing.open(file, PASSPHRASE)
    t.equal(opened.protection, protection.kind)
    t.equal(opened.vaults.length, 3)
    for (const keys of vaults) t.same(describe(opened.get(keys.vaultId)), describe(keys))
    t.equal(codeOf(() => opened.get(randomBytes(16))), 'vault-not-found')
    t.not(toHex(ring.encode()), toHex(file), 'sealed anew each time')

    opened.get(vaults[0]?.vaultId ?? file).epochs.push(newEpochKeys(randomBytes(8)))
    t.ok(opened.remove(vaults[1]?.vaultId ?? file))
    t.notOk(opened.remove(randomBytes(16)))
    const again = await KeyRing.open(opened.encode(), PASSPHRASE)
    const names = new Set(again.vaults.map((keys) => `${keys.name} ${keys.epochs.length}`))
    t.same(names, new Set(['one 2', 'three 0']))
    ring.close()
    ring.close()
    t.ok(vaults.every((keys) => isZero(keys.databaseKey)), 'closing zeroes')
  }
})

t.test('passphrases: wrong, missing, empty, changed', async (t) => {
  const ring = await KeyRing.create(protectedBy(PASSPHRASE))
  ring.put(vaultWithEpochs('v', 1))
  const file = ring.encode()
  t.equal(await openCode(file, Buffer.from('correct horsf')), 'wrong-passphrase')
  t.equal(await openCode(file), 'passphrase-needed')
  t.equal(await openCode(file, Buffer.alloc(0)), 'empty-passphrase')
  t.equal(await openCode(file, PASSPHRASE), 'accepted')
  await t.rejects(KeyRing.create(protectedBy(Buffer.alloc(0))), { code: 'empty-passphrase' })
  await ring.protect(protectedBy(Buffer.from('battery staple')))
  t.equal(await openCode(ring.encode(), PASSPHRASE), 'wrong-passphrase')
  t.equal(await openCode(ring.encode(), Buffer.from('battery staple')), 'accepted')
  await ring.protect({ kind: 'none' })
  t.equal(await openCode(ring.encode()), 'accepted')
})

t.test('the recovery phrase opens its vault, and only its vault', async (t) => {
  const ring = await KeyRing.create(protectedBy(PASSPHRASE))
  const [mine, other] = [vaultWithEpochs('mine', 2), vaultWithEpochs('other', 1)]
  ring.put(mine)
  ring.put(other)
  const phrase = phraseOf(mine.recoveryEntropy ?? new Uint8Array(32))
  const file = ring.encode()
  const found = openWithPhrase(file, phrase)
  t.equal(found.length, 1)
  t.same(found.map(describe), [describe(mine)], 'everything, entropy included')
  t.equal(codeOf(() => openWithPhrase(file, phraseOf(randomBytes(32)))), 'wrong-phrase')

  mine.epochs.push(newEpochKeys(randomBytes(8)))
  if (mine.recoveryEntropy !== undefined) wipe(mine.recoveryEntropy)
  mine.recoveryEntropy = undefined
  const later = openWithPhrase(ring.encode(), phrase)
  t.equal(later[0]?.epochs.length, 3, 'boxes follow changes without the phrase at hand')

  const rescued = await KeyRing.create(protectedBy(Buffer.from('new passphrase')))
  for (const keys of later) rescued.put(keys)
  const reopened = await KeyRing.open(rescued.encode(), Buffer.from('new passphrase'))
  t.equal(toHex(reopened.get(mine.vaultId).idKey), toHex(mine.idKey))
})

t.test('every flipped byte and every cut is refused, with the right reason', async (t) => {
  for (const protection of [{ kind: 'none' } as const, protectedBy(PASSPHRASE)]) {
    const ring = await KeyRing.create(protection)
    ring.put(vaultWithEpochs('v', 1))
    const file = ring.encode()
    const wrong: string[] = []
    for (let at = 0; at < file.length; at++) {
      const changed = file.slice()
      changed[at] = (changed[at] as number) ^ (1 << random.below(8))
      const code = await openCode(changed, PASSPHRASE)
      if (code !== (at === 4 ? 'unknown-format' : 'damaged-keys')) wrong.push(`${at}: ${code}`)
    }
    for (let length = 0; length < file.length; length++) {
      const code = await openCode(file.slice(0, length), PASSPHRASE)
      if (code !== 'damaged-keys') wrong.push(`cut at ${length}: ${code}`)
    }
    t.same(wrong, [], `${file.length} bytes`)
    t.equal(await openCode(Buffer.concat([file, Buffer.of(0)]), PASSPHRASE), 'damaged-keys')
  }
})

t.test('a phrase opens a file that is damaged elsewhere', async (t) => {
  const ring = await KeyRing.create(protectedBy(PASSPHRASE))
  const keys = vaultWithEpochs('v', 1)
  ring.put(keys)
  const file = ring.encode()
  const phrase = phraseOf(keys.recoveryEntropy ?? new Uint8Array(32))
  const boxBytes = encodeVaultKeys(keys, { withEntropy: false }).length + 48
  const boxBegin = file.length - 32 - boxBytes
  const codes = (begin: number, end: number): Set<string> => {
    const seen = new Set<string>()
    for (let at = begin; at < end; at++) {
      const changed = file.slice()
      changed[at] = (changed[at] as number) ^ (1 << random.below(8))
      seen.add(codeOf(() => openWithPhrase(changed, phrase)))
    }
    return seen
  }
  t.same(codes(5, 60), new Set(['accepted']), 'header')
  t.same(codes(64, boxBegin - 22), new Set(['accepted']), 'payload')
  t.same(codes(file.length - 32, file.length), new Set(['accepted']), 'checksum')
  t.same(codes(boxBegin, boxBegin + boxBytes), new Set(['wrong-phrase']), 'the box itself')
  for (const code of [...codes(0, 5), ...codes(60, 64), ...codes(boxBegin - 22, boxBegin)]) {
    t.match(code, /^(damaged-keys|unknown-format|wrong-phrase)$/)
  }
})

t.test('a forged checksum gets no further than the seal', async (t) => {
  const ring = await KeyRing.create(protectedBy(PASSPHRASE))
  ring.put(vaultWithEpochs('v', 1))
  const file = ring.encode()
  const code = async (at: number, value: number): Promise<string> => {
    const changed = file.slice()
    changed[at] = value
    return openCode(withChecksum(changed), PASSPHRASE)
  }
  t.equal(await code(5, 2), 'unknown-format', 'suite')
  t.equal(await code(6, 9), 'damaged-keys', 'protection')
  t.equal(await code(7, 0), 'damaged-keys', 'no passes')
  t.equal(await code(7, 200), 'damaged-keys', 'too many passes')
  t.equal(await code(8, 255), 'damaged-keys', 'terabytes of memory')
  t.equal(await code(7, 2), 'wrong-passphrase', 'other parameters, other key')
  t.equal(await code(28, 1), 'damaged-keys', 'a key beside a passphrase')
  t.equal(await code(60, 255), 'damaged-keys', 'payload length')
  t.equal(await code(100, (file[100] as number) ^ 1), 'wrong-passphrase', 'payload')
  const open = await KeyRing.create({ kind: 'none' })
  const changed = open.encode()
  changed[30] = (changed[30] as number) ^ 1
  t.equal(await openCode(withChecksum(changed)), 'damaged-keys', 'another key in the file')
  for (let i = 0; i < 500; i++) {
    const noise = file.slice()
    for (let n = random.below(6); n >= 0; n--) noise[random.below(noise.length)] = random.below(256)
    const outcome = codeOf(() => openWithPhrase(withChecksum(noise), phraseOf(new Uint8Array(32))))
    if (!/^(wrong-phrase|damaged-keys|unknown-format)$/.test(outcome)) t.fail(outcome)
  }
})

t.test('the file on disk: private, atomic, refused when others may read it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-keys-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'keys')
  t.equal(await readKeyFile(path), undefined)
  const ring = await KeyRing.create({ kind: 'none' })
  await writeKeyFile(path, ring.encode(), { mustBeNew: true })
  t.equal(statSync(path).mode & 0o777, 0o600)
  await t.rejects(writeKeyFile(path, ring.encode(), { mustBeNew: true }), { code: 'exists' })
  ring.put(newVaultKeys('v'))
  await writeKeyFile(path, ring.encode())
  const read = await readKeyFile(path)
  t.equal((await KeyRing.open(read ?? new Uint8Array(0))).vaults.length, 1)
  t.same(readdirSync(folder), ['keys'], 'no temporary file is left')
  chmodSync(path, 0o640)
  await t.rejects(readKeyFile(path), { code: 'denied' })
  symlinkSync(path, join(folder, 'link'))
  await t.rejects(readKeyFile(join(folder, 'link')), { code: 'io' })
  await t.rejects(readKeyFile(folder), { code: 'damaged-keys' })
  await t.rejects(writeKeyFile(join(folder, 'no', 'keys'), ring.encode()), { code: 'not-found' })
  writeFileSync(join(folder, 'empty'), '', { mode: 0o600 })
  const empty = await readKeyFile(join(folder, 'empty'))
  t.equal(await openCode(empty ?? randomBytes(9)), 'damaged-keys')
})

interface KeyFileVector {
  what: string
  passphrase: string | null
  file: string
  vaults: { vaultId: string; [field: string]: unknown }[]
  entropies: string[]
}

t.test('the key files of the vectors open, whole and by each recovery phrase', async (t) => {
  const url = new URL('../vectors/keyring/key-files.json', import.meta.url)
  for (const vector of JSON.parse(readFileSync(url, 'utf8')) as KeyFileVector[]) {
    const file = Buffer.from(vector.file, 'hex')
    const passphrase = vector.passphrase === null ? undefined : Buffer.from(vector.passphrase)
    t.equal(needsPassphrase(file), passphrase !== undefined, vector.what)
    const ring = await KeyRing.open(file, passphrase)
    const expected = vector.vaults.map((one) => (
      one['recoveryEntropy'] === null ? without(one, 'recoveryEntropy') : one
    ))
    t.same(ring.vaults.map(describe), expected)
    vector.entropies.forEach((entropy, i) => {
      const [found] = openWithPhrase(file, phraseOf(Buffer.from(entropy, 'hex')))
      t.same(describe(found!), { ...vector.vaults[i], recoveryEntropy: entropy })
    })
  }
})

function without(fields: Record<string, unknown>, name: string): Record<string, unknown> {
  const { [name]: _, ...rest } = fields
  return rest
}
