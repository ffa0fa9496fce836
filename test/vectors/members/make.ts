// Writes the files beside it: `node --import tsx test/vectors/members/make.ts`. Keys and boxes come
// from @noble, what histories amount to from the naive oracle (test/state/members-oracle.helper.ts);
// the bytes of bodies are those of the encoder: read them against FORMATS.md when they change. What
// is committed is the reference.
import { writeFileSync } from 'node:fs'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { hsalsa, xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { x25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { controlOp } from '../../../src/ops/control-codec.ts'
import type { ControlOp } from '../../../src/ops/control-types.ts'
import { MEMBER_CASES } from '../../state/members-cases.helper.ts'
import { foldMembersNaively } from '../../state/members-oracle.helper.ts'
import { Scene } from '../../state/members-scene.helper.ts'
import { SeededRandom } from '../../support/random.ts'

const random = new SeededRandom(20261120)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))
const text = (value: string) => new Uint8Array(Buffer.from(value))

function save(file: string, value: unknown): void {
  writeFileSync(new URL(file, import.meta.url), `${JSON.stringify(value, undefined, 1)}\n`)
}

// ---- bodies ----

/** Bytes as hex, ids and logs (latin1) as { latin1 as hex }. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value)
  if (typeof value === 'string' && value.length === 32) return hex(Buffer.from(value, 'latin1'))
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

const scene = new Scene(random)
const box = { epochId: random.bytes(8), box: random.bytes(176) }
const { certificate } = scene.certified('b', 7)
const OPS: ControlOp[] = [
  scene.genesis.op,
  scene.add('b', 'writer'),
  scene.add('b', 'blind', { label: 'Büro', code: random.bytes(32), keyBox: { ...box, box: random.bytes(112) } }),
  scene.certified('b', 2 ** 32 - 1),
  { ...scene.role('b', 'admin', 'raise', 3), keyBox: box },
  scene.role('b', 'reader', 'lower', 70_000),
  {
    ...scene.remove('b', 0),
    logs: [scene.mark('b', 0), scene.mark('c', 300)].toSorted((x, y) => (x.log < y.log ? -1 : 1)),
  },
  scene.epoch(['00112233445566ff', '00112233445566aa'], ['a', 'b'], ['c']),
  { kind: 'invite', code: random.bytes(32), role: 'writer', expiryMs: 1_800_000_000_000 },
  { kind: 'deviceInfo', info: 'label', label: '' },
  { kind: 'deviceInfo', info: 'bad-epoch', epochId: random.bytes(8) },
  { kind: 'deviceInfo', info: 'content-log', log: scene.author('c') },
  { kind: 'policy', policy: 'rules', version: 3 },
  { kind: 'policy', policy: 'phrase', signKey: random.bytes(32), boxKey: random.bytes(32) },
  scene.replacePhrase(scene.newPhrase(), 9),
  { kind: 'readmit', target: { author: scene.author('a'), seq: 300, index: 2 }, logs: [scene.mark('b', 5)] },
  { kind: 'void', device: scene.author('b'), begin: 3, end: 9, treeHash: random.bytes(32) },
  { kind: 'fork', device: scene.author('b'), mark: scene.mark('b', 12) },
]

const KEY = '11'.repeat(32)
const NO_HASH = '00'.repeat(32)
const cert = (serial: string) => `02${KEY}${serial}${'22'.repeat(64)}`
const mark = (log: string, length: string, hash: string) => `${log.repeat(32)}${length}${hash}`
const INVALID: { control: number; critical?: boolean; body: string; rule: string }[] = [
  { control: 1, body: `${KEY}${KEY}0500${'00'}00`, rule: 'control-role' },
  { control: 1, body: `${KEY}${KEY}02000300`, rule: 'control-form' },
  { control: 1, body: `${KEY}${KEY}02000002`, rule: 'control-form' },
  { control: 1, body: `${KEY}${KEY}0241${'61'.repeat(65)}0000`, rule: 'length' },
  { control: 1, body: `${KEY}${KEY}0202c3280000`, rule: 'utf8' },
  { control: 1, body: `${KEY}${KEY}02000001${'00'.repeat(8)}02${'00'.repeat(176)}`, rule: 'box-size' },
  { control: 1, body: `${KEY}${KEY}0400${cert('00')}00`, rule: 'serial' },
  { control: 1, body: `${KEY}${KEY}0400${cert('ff0000000001000000')}00`, rule: 'serial' },
  { control: 1, body: `${KEY}${KEY}0200000000`, rule: 'trailing' },
  { control: 1, body: `${KEY}${KEY}02`, rule: 'truncated' },
  { control: 1, body: `${KEY}${KEY}02fd00000000`, rule: 'not-canonical' },
  { control: 1, critical: false, body: `${KEY}${KEY}02000000`, rule: 'op-flags' },
  { control: 2, body: `${KEY}0202${'01'}${mark('11', '00', NO_HASH)}00`, rule: 'control-form' },
  { control: 3, body: `${KEY}00`, rule: 'log-count' },
  { control: 3, body: `${KEY}11${'00'.repeat(17 * 65)}`, rule: 'log-count' },
  { control: 3, body: `${KEY}01${mark('11', '00', KEY)}`, rule: 'log-hash' },
  { control: 3, body: `${KEY}02${mark('22', '01', KEY)}${mark('11', '01', KEY)}`, rule: 'log-order' },
  { control: 3, body: `${KEY}02${mark('11', '01', KEY)}${mark('11', '01', KEY)}`, rule: 'log-order' },
  { control: 4, body: `${KEY}${KEY}0000`, rule: 'epoch-parents' },
  { control: 4, body: `${KEY}${KEY}41`, rule: 'epoch-parents' },
  { control: 4, body: `${KEY}${KEY}02${`${'33'.repeat(8)}${'44'.repeat(208)}`.repeat(2)}00`, rule: 'epoch-parents' },
  {
    control: 4, rule: 'box-order',
    body: `${KEY}${KEY}01${'33'.repeat(216)}02${`${KEY}01${'44'.repeat(112)}`.repeat(2)}`,
  },
  { control: 4, body: `${KEY}${KEY}01${'33'.repeat(216)}fd0104`, rule: 'length' },
  { control: 5, critical: true, body: `${KEY}0200`, rule: 'op-flags' },
  { control: 6, critical: false, body: '03', rule: 'control-form' },
  { control: 7, body: '02', rule: 'control-form' },
  { control: 7, body: `01${KEY}${KEY}02`, rule: 'control-form' },
  { control: 7, body: '00fe00000100', rule: 'number-range' },
  { control: 8, body: `${KEY}00fd0010`, rule: 'ref-index' },
  { control: 9, body: `${KEY}0303${KEY}`, rule: 'batch-range' },
  { control: 10, body: `${KEY}${mark('11', '00', NO_HASH)}`, rule: 'batch-range' },
]

save('bodies.json', {
  note: 'Bodies of control ops: what they say (bytes, ids and logs in hex), number, flag, bytes; '
    + 'then bodies that are refused, by which rule.',
  valid: OPS.map((op) => {
    const { control, critical, body } = controlOp(op)
    return { control, critical, body: hex(body), op: plain(op) }
  }),
  invalid: INVALID.map(({ critical = true, ...rest }) => ({ ...rest, critical })),
})
if (certificate === undefined) throw new Error('a certificate')

// ---- keys, boxes, chains ----

function kdf(key: Uint8Array, label: string, context: Uint8Array = new Uint8Array(0)): Uint8Array {
  return blake3(join(Uint8Array.of(label.length), text(label), context), { key })
}

function keysOf(n: number) {
  const [epochKey, historyKey, controlKey, topicKey] = [1, 2, 3, 4].map((i) => (
    new Uint8Array(32).fill(16 * n + i)
  )) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  return {
    epochKey, historyKey, controlKey, topicKey,
    epochCommitment: kdf(epochKey, 'lattice/0/epoch-commit', historyKey),
    controlCommitment: kdf(controlKey, 'lattice/0/control-commit', topicKey),
  }
}

/** libsodium's crypto_box_seed_keypair and crypto_box_seal. */
function seal(message: Uint8Array, recipient: Uint8Array, seed: Uint8Array): Uint8Array {
  const secret = sha512(seed).subarray(0, 32)
  const ephemeral = x25519.getPublicKey(secret)
  const words = (bytes: Uint8Array) => new Uint32Array(new Uint8Array(bytes).buffer)
  const key = new Uint32Array(8)
  hsalsa(
    words(text('expand 32-byte k')), words(x25519.getSharedSecret(secret, recipient)),
    words(new Uint8Array(16)), key,
  )
  const nonce = blake2b(join(ephemeral, recipient), { dkLen: 24 })
  return join(ephemeral, xsalsa20poly1305(new Uint8Array(key.buffer), nonce).encrypt(message))
}

const [parent, child] = [keysOf(1), keysOf(2)]
const vaultId = new Uint8Array(16).fill(0x77)
const parentId = new Uint8Array(8).fill(0x66)
const boxSeed = new Uint8Array(32).fill(0x55)
const recipient = x25519.getPublicKey(sha512(boxSeed).subarray(0, 32))
const sealSeed = new Uint8Array(32).fill(0x44)
const nonces = [0x33, 0x34].map((byte) => new Uint8Array(24).fill(byte)) as [Uint8Array, Uint8Array]
const ad = join(vaultId, parentId, child.epochCommitment, child.controlCommitment)
const entry = (key: Uint8Array, nonce: Uint8Array, ...keys: Uint8Array[]) => (
  join(nonce, xchacha20poly1305(key, nonce, ad).encrypt(join(...keys)))
)

save('boxes.json', {
  note: 'Keys of two epochs, their commitments, boxes of the child to one recipient, its chain.',
  parent: plain(parent), child: plain(child), vaultId: hex(vaultId), parentId: hex(parentId),
  recipientSeed: hex(boxSeed), recipientKey: hex(recipient), sealSeed: hex(sealSeed),
  fullBox: hex(seal(
    join(child.epochKey, child.historyKey, child.controlKey, child.topicKey), recipient, sealSeed,
  )),
  blindBox: hex(seal(join(child.controlKey, child.topicKey), recipient, sealSeed)),
  nonces: nonces.map(hex),
  chain: hex(entry(
    kdf(child.historyKey, 'lattice/0/chain'), nonces[0], parent.epochKey, parent.historyKey,
  )),
  controlChain: hex(entry(
    kdf(child.controlKey, 'lattice/0/control-chain'), nonces[1], parent.controlKey, parent.topicKey,
  )),
})

// ---- histories ----

save('histories.json', {
  note: 'Control ops as [device, sequence, index, effective ms, {device: batches seen}, number, '
    + 'body]; what counts (by position), each device role and standing by sequence, from 0 to three '
    + 'beyond its log. Devices by position.',
  histories: MEMBER_CASES.map((one, n) => {
    const history = new Scene(new SeededRandom(1000 + n))
    one.play(history)
    const devices = [...history.actors.values()]
    const at = (author: string) => devices.findIndex((device) => device.author === author)
    const oracle = foldMembersNaively(history.records, history.vaultId, history.genesis)
    return {
      what: one.what,
      vaultId: hex(history.vaultId),
      devices: devices.map(({ name, signKey }) => ({ name, key: hex(signKey) })),
      ops: history.records.map(({ ref, deps, op }) => [
        at(ref.author), ref.seq, ref.index, ref.ms,
        Object.fromEntries([...deps].map(([author, count]) => [at(author), count])),
        controlOp(op).control, hex(controlOp(op).body),
      ]),
      counts: history.records.flatMap((record, i) => (oracle.counts(record) ? [i] : [])),
      ranks: devices.map(({ author, length }) => (
        Array.from({ length: length + 3 }, (_, seq) => oracle.rankAt(author, seq))
      )),
      standings: devices.map(({ author, length }) => (
        Array.from({ length: length + 3 }, (_, seq) => oracle.standing(author, seq)[0]).join('')
      )),
    }
  }),
})
