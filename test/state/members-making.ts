// Membership with real keys: what a device makes counts for all others, the right ones get the keys
// of each epoch, and nobody else does. @noble opens and makes boxes beside the code under test.
import t from 'tap'
import { xsalsa20poly1305, hsalsa } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { blake2b } from '@noble/hashes/blake2.js'
import { boxSealWith } from '../../src/crypto/box.ts'
import { boxEpochKeys, commitmentsOf, openEpochKeys } from '../../src/crypto/epoch-keys.ts'
import { recoveryKeys } from '../../src/crypto/phrase.ts'
import { secretFrom } from '../../src/crypto/secret.ts'
import { boxKeyPair, boxOpen } from '../../src/crypto/sign.ts'
import {
  findEpoch, isBlind, makeCurrent, newEpochKeys, newVaultKeys, putEpoch,
} from '../../src/crypto/vault-keys.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { decodeControl } from '../../src/ops/control-codec.ts'
import type { ControlRecord, LogMark, Role } from '../../src/ops/control-types.ts'
import type { AuthorId, Op } from '../../src/ops/types.ts'
import { Members } from '../../src/state/members.ts'
import { fromHex, toHex } from '../../src/util/bytes.ts'
import { LatticeError } from '../../src/util/errors.ts'
import { authorOf, createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import { learnEpochs } from '../../src/vault/membership-epochs.ts'
import { Membership } from '../../src/vault/membership.ts'
import type { MembershipOps } from '../../src/vault/membership.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const seed = testSeed()
const random = new SeededRandom(seed)

class Device {
  readonly keys: VaultKeys
  readonly author: AuthorId
  readonly records = new Map<string, ControlRecord>()
  readonly vv = new Map<AuthorId, number>()
  readonly bad: string[] = []
  length = 0

  constructor(keys: VaultKeys) {
    this.keys = keys
    this.author = authorOf(keys)
  }

  get boxKey(): Uint8Array {
    return new Uint8Array(boxKeyPair(this.keys.boxSeed).publicKey)
  }

  get members(): Members {
    return Members.fold([...this.records.values()], { vaultId: this.keys.vaultId })
  }

  get membership(): Membership {
    return new Membership(this.members, this.keys, random)
  }

  mark(length = this.length): LogMark {
    const treeHash = Buffer.alloc(32, length === 0 ? 0 : length)
    return { log: this.author, length, treeHash }
  }

  publish(made: MembershipOps | Op[]): void {
    const ops = Array.isArray(made) ? made : made.ops
    if (!Array.isArray(made) && made.epoch !== undefined) putEpoch(this.keys, made.epoch)
    const seq = this.length++
    const deps = new Map([...this.vv, [this.author, seq]])
    for (const [index, op] of ops.entries()) {
      if (op.kind !== 'control') throw new Error('a control op')
      const decoded = decodeControl(op)
      const ref = {
        ms: 1000 + this.records.size, counter: 0, author: this.author, seq, index, order: 0,
      }
      this.records.set(`${this.author}${seq}.${index}`, { ref, deps, op: decoded!, body: op.body })
    }
    this.learn()
  }

  sync(...others: Device[]): void {
    for (const other of others) {
      for (const [key, record] of other.records) this.records.set(key, record)
      for (const [author, length] of [...other.vv, [other.author, other.length] as const]) {
        if (author !== this.author) this.vv.set(author, Math.max(length, this.vv.get(author) ?? 0))
      }
    }
    this.learn()
  }

  learn(): void {
    const { epochs, bad } = learnEpochs(this.members, this.keys)
    for (const epoch of epochs) putEpoch(this.keys, epoch)
    this.bad.push(...bad.filter((id) => !this.bad.includes(id)))
    const current = fromHex(this.members.currentEpoch())!
    if (findEpoch(this.keys, current) !== undefined) makeCurrent(this.keys, current)
  }

  opens(id: string): 'full' | 'blind' | 'no' {
    const epoch = findEpoch(this.keys, fromHex(id)!)
    return epoch === undefined ? 'no' : isBlind(epoch) ? 'blind' : 'full'
  }
}

function create(label = 'laptop'): Device {
  const keys = createVaultKeys('v', label)
  const device = new Device(keys)
  device.publish([genesisOp(genesisOf(keys, label))])
  return device
}

/** A device that knows the vault by its id alone. */
function newDevice(vault: Device): Device {
  const keys = newVaultKeys('v')
  keys.vaultId = vault.keys.vaultId
  keys.recoveryEntropy = undefined
  return new Device(keys)
}

function join(by: Device, role: Role, label: string = role): Device {
  const device = newDevice(by)
  const { author, boxKey } = device
  by.publish(by.membership.add({ device: author, boxKey, role, label }))
  device.sync(by)
  return device
}

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof LatticeError) return error.code
    throw error
  }
  return 'nothing'
}

t.comment(`seed ${seed}`)

t.test('sealed boxes are those of libsodium, opened and made by noble too', async (t) => {
  for (let round = 0; round < 3; round++) {
    const plain = random.bytes(128)
    const pair = boxKeyPair(random.bytes(32))
    const box = boxSealWith(plain, pair.publicKey, random.bytes(32))
    t.same(Buffer.from(boxOpen(box, pair)!), Buffer.from(plain))
    t.same(Buffer.from(nobleOpen(box, pair)), Buffer.from(plain))
    const other = nobleSeal(plain, pair.publicKey, x25519.utils.randomSecretKey())
    t.same(Buffer.from(boxOpen(other, pair)!), Buffer.from(plain))
    box[40] = box[40]! ^ 1
    t.equal(boxOpen(box, pair), null)
  }
})

function nonceFor(ephemeral: Uint8Array, recipient: Uint8Array): Uint8Array {
  return blake2b(new Uint8Array([...ephemeral, ...recipient]), { dkLen: 24 })
}

function boxKeyOf(secret: Uint8Array, other: Uint8Array): Uint8Array {
  const shared = x25519.getSharedSecret(new Uint8Array(secret), new Uint8Array(other))
  const words = (bytes: Uint8Array) => new Uint32Array(new Uint8Array(bytes).buffer)
  const key = new Uint32Array(8)
  const sigma = words(Buffer.from('expand 32-byte k'))
  hsalsa(sigma, words(shared), words(new Uint8Array(16)), key)
  return new Uint8Array(key.buffer)
}

function nobleOpen(box: Uint8Array, pair: { publicKey: Uint8Array; secretKey: Uint8Array }) {
  const ephemeral = new Uint8Array(box.subarray(0, 32))
  const key = boxKeyOf(pair.secretKey, ephemeral)
  const nonce = nonceFor(ephemeral, pair.publicKey)
  return xsalsa20poly1305(key, nonce).decrypt(new Uint8Array(box.subarray(32)))
}

function nobleSeal(plain: Uint8Array, publicKey: Uint8Array, secret: Uint8Array): Uint8Array {
  const ephemeral = x25519.getPublicKey(secret)
  const sealed = xsalsa20poly1305(boxKeyOf(secret, publicKey), nonceFor(ephemeral, publicKey))
    .encrypt(plain)
  return new Uint8Array([...ephemeral, ...sealed])
}

t.test('epoch keys: boxes hold what the epoch commits to, or are refused', async (t) => {
  const epoch = newEpochKeys(random.bytes(8))
  const pair = boxKeyPair(random.bytes(32))
  const is = commitmentsOf(epoch)
  const box = boxEpochKeys(epoch, pair.publicKey, 'full', random.bytes(32))
  t.equal(box.length, 176)
  const opened = openEpochKeys(epoch.epochId, box, pair, is)
  for (const field of ['epochKey', 'historyKey', 'controlKey', 'topicKey'] as const) {
    t.same(opened[field], epoch[field], field)
    const other = { ...epoch, [field]: secretFrom(random.bytes(32)) }
    const wrong = boxEpochKeys(other, pair.publicKey, 'full', random.bytes(32))
    const code = codeOf(() => openEpochKeys(epoch.epochId, wrong, pair, is))
    t.equal(code, 'invalid', `other ${field}`)
  }
  const blind = boxEpochKeys(epoch, pair.publicKey, 'blind', random.bytes(32))
  t.equal(blind.length, 112)
  t.ok(isBlind(openEpochKeys(epoch.epochId, blind, pair, is)))
  const stranger = boxKeyPair(random.bytes(32))
  t.equal(codeOf(() => openEpochKeys(epoch.epochId, box, stranger, is)), 'unauthentic')
})

t.test('a removed device gets no later keys, a new one gets all earlier ones', async (t) => {
  const a = create()
  const [w, x] = [join(a, 'writer', 'phone'), join(a, 'blind', 'storage')]
  const first = a.members.currentEpoch()
  t.equal(w.opens(first), 'full')
  t.equal(x.opens(first), 'blind')
  a.publish(a.membership.remove(w.author, [w.mark(3)]))
  const second = a.members.currentEpoch()
  w.sync(a)
  x.sync(a)
  t.not(first, second)
  t.ok(a.members.precedes(first, second))
  t.notOk(a.members.precedes(second, first))
  t.equal(w.opens(second), 'no')
  t.equal(x.opens(second), 'blind')
  t.equal(a.members.standing(w.author, 2), 'valid')
  t.equal(a.members.standing(w.author, 3), 'cut')
  const late = join(a, 'reader', 'tablet')
  t.equal(late.opens(second), 'full')
  t.equal(late.opens(first), 'full', 'through the chain')
  t.equal(newDeviceOpens(a, 'blind', first), 'blind', 'blind: through the control chain')
  t.same(a.members.voidOps(), [])
  t.same(a.members.rotation().reasons, [])
  t.equal(a.members.label(late.author), 'tablet')
})

function newDeviceOpens(by: Device, role: Role, id: string): string {
  return join(by, role).opens(id)
}

t.test('concurrent removals: both epochs leave somebody in, the joint one nobody', async (t) => {
  const a = create()
  const b = join(a, 'admin')
  const [w, x] = [join(a, 'writer'), join(a, 'writer')]
  b.sync(a)
  a.publish(a.membership.remove(w.author, [w.mark(0)]))
  b.publish(b.membership.remove(x.author, [x.mark(0)]))
  a.sync(b)
  b.sync(a)
  t.same(a.members.epochHeads().length, 2)
  t.same(a.members.rotation(), { reasons: ['heads', 'recipient'], minter: a.author })
  t.equal(a.members.epoch(a.members.currentEpoch())?.minter, a.author, 'the most senior one seals')
  a.publish(a.membership.rotate())
  const joint = a.members.currentEpoch()
  for (const device of [b, w, x]) device.sync(a)
  t.same(a.members.rotation().reasons, [])
  t.equal(a.members.epoch(joint)?.parents.length, 2)
  t.equal(b.opens(joint), 'full')
  t.same([w.opens(joint), x.opens(joint)], ['no', 'no'])
  t.same(join(b, 'writer').keys.epochs.length, 4, 'the chain opens both branches')
})

t.test('which epoch to seal under', async (t) => {
  const a = create()
  const first = a.members.currentEpoch()
  a.publish(a.membership.rotate())
  const second = a.members.currentEpoch()
  const { members } = a
  t.equal(members.toSealUnder(() => true), second)
  t.equal(members.toSealUnder((id) => id === first), first, 'whose keys are here')
  t.equal(members.toSealUnder((id) => id === first, [second]), undefined, 'never an earlier one')
  t.equal(members.toSealUnder(() => true, [first, second]), second)
})

t.test('different keys boxed to different members', async (t) => {
  const a = create()
  const b = join(a, 'admin')
  const w = join(a, 'writer')
  b.sync(a)
  w.sync(a)
  const first = b.members.currentEpoch()
  // b boxes w the keys of another epoch.
  const made = b.membership.rotate()
  const op = decodeControl(made.ops[0] as Op & { kind: 'control' })
  if (op?.kind !== 'epoch') throw new Error('an epoch')
  const wrong = newEpochKeys(random.bytes(8))
  const boxes = op.boxes.map((one) => (
    toHex(one.boxKey) === toHex(w.boxKey)
      ? { ...one, box: boxEpochKeys(wrong, w.boxKey, 'full', random.bytes(32)) } : one
  ))
  const { controlOp } = await import('../../src/ops/control-codec.ts')
  b.publish([controlOp({ ...op, boxes })])
  const bad = b.members.epochs().at(-1)!.epochId
  w.sync(b)
  t.same(w.bad, [bad], 'w finds it')
  t.equal(w.opens(bad), 'no')
  const has = (id: string) => w.opens(id) === 'full'
  t.equal(w.members.toSealUnder(has), first, 'w goes on under the one before')
  w.publish(w.membership.reportEpoch(fromHex(bad)!))
  t.ok(w.members.epoch(bad)?.isValid, 'the word of a junior does not void it')
  t.same(w.members.rotation(), { reasons: ['reported'], minter: a.author })
  a.sync(b, w)
  a.publish(a.membership.reportEpoch(fromHex(bad)!))
  t.notOk(a.members.epoch(bad)?.isValid, 'that of a senior does')
  t.match(a.members.voidOps(), [{ kind: 'epoch', reason: 'epoch-reported' }])
  a.publish(a.membership.rotate())
  w.sync(a)
  b.sync(a)
  t.same(a.members.rotation().reasons, [])
  t.same([a, b, w].map((one) => one.opens(a.members.currentEpoch())), ['full', 'full', 'full'])
})

t.test('roles with keys: blind to reader and back', async (t) => {
  const a = create()
  const z = join(a, 'blind')
  const first = a.members.currentEpoch()
  t.equal(z.opens(first), 'blind')
  a.publish(a.membership.setRole(z.author, 'reader', [z.mark(0)]))
  z.sync(a)
  t.equal(z.opens(first), 'full', 'the role op boxes the epoch')
  a.publish(a.membership.setRole(z.author, 'blind', [z.mark(2)]))
  z.sync(a)
  t.equal(z.opens(a.members.currentEpoch()), 'blind')
  a.publish(a.membership.setRole(z.author, 'writer', [z.mark(4)]))
  t.equal(a.members.get(z.author)?.role, 'writer')
  t.equal(codeOf(() => a.membership.setRole(z.author, 'writer', [z.mark(4)])), 'exists')
  t.same(a.members.voidOps(), [])
  t.same(a.members.rotation().reasons, [])
})

t.test('the phrase: an owner is recovered, the phrase replaced', async (t) => {
  const a = create()
  const entropy = secretFrom(a.keys.recoveryEntropy!)
  const phraseBox = recoveryKeys(entropy).box
  const n = newDevice(a)
  n.sync(a)
  n.publish(n.membership.recover(entropy, 'new laptop'))
  t.equal(n.members.get(n.author)?.role, 'owner')
  t.ok(n.members.isJunior(a.author, n.author), 'it is senior to the lost owner')
  // Its keys come with the phrase: the epoch is boxed to that.
  for (const epoch of a.keys.epochs) putEpoch(n.keys, { ...epoch })
  n.publish(n.membership.remove(a.author, [a.mark(1)]))
  const second = n.members.currentEpoch()
  const box = n.members.epochOp(second)!.boxes.find(({ boxKey }) => (
    toHex(boxKey) === toHex(phraseBox.publicKey)
  ))!
  openEpochKeys(fromHex(second)!, box.box, phraseBox, n.members.epoch(second)!)
  t.equal(codeOf(() => n.membership.recover(random.bytes(32), 'x')), 'wrong-phrase')
  const next = random.bytes(32)
  n.publish(n.membership.replacePhrase(next, entropy))
  t.equal(codeOf(() => n.membership.recover(entropy, 'x')), 'wrong-phrase', 'it was replaced')
  t.same(n.members.phrases().map(({ boxKey }) => toHex(boxKey)),
    [toHex(recoveryKeys(secretFrom(next)).box.publicKey)])
  const newest = n.members.epochOp(n.members.currentEpoch())!
  t.notOk(newest.boxes.some(({ boxKey }) => toHex(boxKey) === toHex(phraseBox.publicKey)))
  const m = newDevice(n)
  m.sync(n)
  m.publish(m.membership.recover(next, 'm'))
  t.ok(m.members.isJunior(n.author, m.author))
  const third = random.bytes(32)
  n.sync(m)
  n.publish(n.membership.replacePhrase(third))
  t.equal(n.members.phrases().length, 1)
  t.same(n.members.voidOps(), [])
  t.same(n.members.rotation().reasons, [])
  m.sync(n)
  t.equal(m.opens(n.members.currentEpoch()), 'full', 'm is among the members now')
  t.equal(n.members.phrase(recoveryKeys(secretFrom(next)).sign.publicKey)?.serialMax, 1)
})

t.test('invites, and what is refused before it is made', async (t) => {
  const a = create()
  const b = join(a, 'admin')
  const w = join(b, 'writer')
  a.sync(b)
  const code = ed25519.getPublicKey(random.bytes(32))
  b.publish(b.membership.invite(code, 'writer', 9))
  t.equal(b.members.pendingInvites().length, 1)
  const other = newDevice(a)
  const device = { device: other.author, boxKey: other.boxKey, role: 'writer' as const, label: 'o' }
  a.sync(b)
  t.equal(codeOf(() => a.membership.add({ ...device, code })), 'denied', 'of another issuer')
  b.publish(b.membership.add({ ...device, code }))
  t.equal(codeOf(() => b.membership.add({ ...device, code })), 'exists')
  const third = newDevice(a)
  const again = { ...device, device: third.author, code }
  t.equal(codeOf(() => b.membership.add(again)), 'denied', 'used')
  const { membership } = b
  t.equal(codeOf(() => membership.add({ ...again, role: 'owner' })), 'denied')
  const long = { ...device, device: third.author, label: 'é'.repeat(40) }
  t.equal(codeOf(() => membership.add(long)), 'invalid')
  t.equal(codeOf(() => membership.remove(a.author, [a.mark(0)])), 'denied')
  t.equal(codeOf(() => membership.remove(b.author, [b.mark(0)])), 'denied')
  t.equal(codeOf(() => membership.remove(third.author, [third.mark(0)])), 'not-found')
  t.equal(codeOf(() => membership.remove(w.author, [a.mark(0)])), 'invalid')
  t.equal(codeOf(() => membership.setRole(w.author, 'owner', [w.mark(0)])), 'denied')
  t.equal(codeOf(() => membership.switchRules(1)), 'denied')
  t.equal(codeOf(() => membership.replacePhrase(random.bytes(32))), 'denied')
  w.sync(b)
  t.equal(codeOf(() => w.membership.rotate()), 'denied')
  t.equal(codeOf(() => newDevice(a).membership.rotate()), 'denied')
  b.publish(b.membership.remove(w.author, [w.mark(2)]))
  const target = { author: b.author, seq: b.length - 1, index: 0 }
  b.publish(b.membership.readmit(target, w.author, [w.mark(5)]))
  b.publish(b.membership.voidBatches(other.author, 1, 2, random.bytes(32)))
  b.publish(b.membership.pickBranch(other.author, other.mark(4)))
  b.publish(b.membership.rename('desk'))
  b.publish(b.membership.announceContentLog(other.author))
  a.publish(a.membership.switchRules(1))
  a.sync(b)
  t.same(a.members.voidOps(), [])
  t.equal(a.members.get(w.author)?.cutoff?.length, 5)
  t.equal(a.members.standing(other.author, 1), 'void')
  t.equal(a.members.label(b.author), 'desk')
  t.same(a.members.branches.map(({ mark }) => mark.length), [4, 5], 'fork ops, then removals')
  t.equal(a.members.rulesVersion, 1)
})
