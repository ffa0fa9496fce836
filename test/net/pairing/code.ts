// Invite codes: what is written is read again, whatever a person does to it on the way; each way of
// being wrong has its name. Vectors in test/vectors/pairing/.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { blake2b } from '../../../src/crypto/hash.ts'
import { signKeyPair } from '../../../src/crypto/sign.ts'
import { decodeCode, encodeCode, inviterHash } from '../../../src/net/pairing/code.ts'
import type { InviteCode, InviteRole } from '../../../src/net/pairing/code.ts'
import { fromBase32, toBase32 } from '../../../src/net/pairing/base32.ts'
import type { Address } from '../../../src/net/pairing/ports.ts'
import { inviteSecrets, recoveryDoor } from '../../../src/net/pairing/secrets.ts'
import { digitsOf, commitmentOf } from '../../../src/net/pairing/transcript.ts'
import { toHex, utf8 } from '../../../src/util/bytes.ts'
import { isLatticeError } from '../../../src/util/errors.ts'
import { SeededRandom } from '../../support/random.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
t.comment(`SEED=${seed}`)
const random = new SeededRandom(seed)

const HOSTS = [
  '192.0.2.1', '10.0.0.255', '2001:db8::1', '::1', 'fe80::', '2001:db8:1:2:3:4:5:6',
  'relay.example.org', 'nas',
]

function randomCode(): InviteCode {
  const roles: InviteRole[] = ['blind', 'reader', 'writer', 'admin']
  const address = (): Address => (
    { host: HOSTS[random.int(0, HOSTS.length)]!, port: random.int(1, 65536) }
  )
  return {
    seed: random.bytes(16), inviterHash: random.bytes(16), role: roles[random.int(0, 4)]!,
    expiryMs: random.int(0, 2 ** 31) * 1000,
    addresses: Array.from({ length: random.int(0, 9) }, address),
  }
}

const rule = (text: string): string => {
  try {
    decodeCode(text)
    return ''
  } catch (error) {
    if (!isLatticeError(error)) throw error
    return error.code === 'code-damaged' ? String(error.details['rule']) : error.code
  }
}

t.test('codes survive what people do to them', async (t) => {
  for (let i = 0; i < 500; i++) {
    const code = randomCode()
    const text = encodeCode(code)
    t.match(text, /^LATTICE(-[0-9A-Z]{1,5})+$/)
    for (const as of [
      text, text.toLowerCase(), ` ${text}\n`,
      text.replaceAll('-', '').replace('LATTICE', 'lattice-'),
      `LATTICE-${text.slice(8).replaceAll('0', 'O').replaceAll('1', 'l').replaceAll('-', ' ')}`,
    ]) {
      const read = decodeCode(as)
      t.strictSame(
        { ...read, seed: toHex(read.seed), inviterHash: toHex(read.inviterHash) },
        { ...code, seed: toHex(code.seed), inviterHash: toHex(code.inviterHash) },
      )
    }
  }
})

t.test('a changed, swapped, cut or lengthened code is refused', async (t) => {
  for (let i = 0; i < 500; i++) {
    const text = encodeCode(randomCode())
    const letters = text.split('')
    const at = random.int(8, letters.length)
    if (letters[at] === '-') continue
    const other = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[random.int(0, 32)]!
    if (other === letters[at]) continue
    letters[at] = other
    t.match(rule(letters.join('')), /^(checksum|padding|length)$/, letters.join(''))
    t.match(rule(text.slice(0, at)), /^(checksum|padding|length)$/)
    t.match(rule(`${text}${other}`), /^(checksum|padding|length)$/)
  }
})

t.test('each rule has its name', async (t) => {
  const withSum = (...body: number[]): string => {
    const bytes = Uint8Array.from(body)
    const sum = blake2b(32, utf8('lattice/0/invite-code'), bytes).subarray(0, 4)
    return `LATTICE-${toBase32(Uint8Array.from([...bytes, ...sum]))}`
  }
  const middle = [...Buffer.alloc(36, 1)]
  t.equal(rule(''), 'prefix')
  t.equal(rule('https://example.org'), 'prefix')
  t.equal(rule('LATTICE-'), 'length')
  t.equal(rule('LATTICE-00000'), 'length')
  t.equal(rule('LATTICE-0000U'), 'character')
  t.equal(rule(`LATTICE-${'0'.repeat(5000)}`), 'length')
  t.equal(rule(withSum(1, 2, 3)), 'code-too-new')
  t.equal(rule(withSum(0, 4, ...middle, 0)), 'role', 'an owner is not made by a code')
  t.equal(rule(withSum(0, 9, ...middle, 0)), 'role')
  t.equal(rule(withSum(0, 2, ...middle)), 'length')
  t.equal(rule(withSum(0, 2, ...middle, 9)), 'address')
  t.equal(rule(withSum(0, 2, ...middle, 1, 5, 0, 0)), 'address', 'an unknown kind')
  t.equal(rule(withSum(0, 2, ...middle, 1, 4, 1, 2, 3, 4, 0, 0)), 'address', 'no port')
  t.equal(rule(withSum(0, 2, ...middle, 1, 0, 2, 0x2e, 0x2f, 0, 1)), 'address', 'no host name')
  t.equal(rule(withSum(0, 2, ...middle, 1, 4, 1, 2, 3, 4, 0, 1)), '')
  t.equal(rule(withSum(0, 2, ...middle, 0, 7)), 'length', 'trailing bytes')
  const host = { host: 'no host', port: 1 }
  t.throws(() => encodeCode({ ...randomCode(), addresses: [host] }), { code: 'invalid' })
})

t.test('base 32 has one spelling', async (t) => {
  for (let i = 0; i < 300; i++) {
    const bytes = random.bytes(random.int(0, 60))
    t.strictSame(fromBase32(toBase32(bytes)), bytes)
  }
  t.throws(() => fromBase32('01'), { code: 'code-damaged' }, 'bits behind the last byte')
  t.throws(() => fromBase32('000'), { code: 'code-damaged' }, 'a letter too many')
})

t.test('vectors', async (t) => {
  const path = fileURLToPath(new URL('../../vectors/pairing/code.json', import.meta.url))
  const inviter = signKeyPair(Buffer.alloc(32, 9)).publicKey
  const code: InviteCode = {
    seed: Uint8Array.from({ length: 16 }, (_, i) => i), inviterHash: inviterHash(inviter),
    role: 'writer', expiryMs: 1_800_000_000_000,
    addresses: [{ host: '192.0.2.1', port: 4000 }, { host: '2001:db8::1', port: 4001 },
      { host: 'nas.example', port: 4002 }],
  }
  const { door, code: codeKey, joinKey } = inviteSecrets(code.seed)
  const phraseDoor = recoveryDoor(inviter)
  const made = {
    inviter: toHex(inviter), seed: toHex(code.seed), role: code.role, expiryMs: code.expiryMs,
    addresses: code.addresses, text: encodeCode(code),
    tagKey: toHex(door.tagKey), noiseKey: toHex(door.noise.publicKey), topic: toHex(door.topic),
    codeKey: toHex(codeKey.publicKey), joinKey: toHex(joinKey),
    phraseTagKey: toHex(phraseDoor.tagKey), phraseNoiseKey: toHex(phraseDoor.noise.publicKey),
    phraseTopic: toHex(phraseDoor.topic),
    commitment: toHex(commitmentOf(Buffer.alloc(32, 1), Buffer.alloc(64, 2))),
    digits: digitsOf(Buffer.alloc(32, 3)),
  }
  t.strictSame(made, JSON.parse(readFileSync(path, 'utf8')))
  t.equal(decodeCode(made.text).addresses.length, 3)
})
