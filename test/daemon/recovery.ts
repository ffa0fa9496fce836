// timeoutSeconds: 600
// A new owner from the 24 words and any holder; and what actions about members leave in the key
// file: the keys of an epoch before anything is published that needs them.
import t from 'tap'
import { join } from 'node:path'
import { entropyOf, phraseOf, recoveryKeys } from '../../src/crypto/phrase.ts'
import { currentEpoch } from '../../src/crypto/vault-keys.ts'
import { readKeyFile } from '../../src/crypto/key-file-store.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { runRecovering } from '../../src/net/pairing/recovery.ts'
import { recoveryDoor } from '../../src/net/pairing/secrets.ts'
import { dialAny } from '../../src/net/pairing/tcp-network.ts'
import { randomSecret } from '../../src/crypto/random.ts'
import { authorOf } from '../../src/vault/create.ts'
import { toHex } from '../../src/util/bytes.ts'
import { Home, OpenHome, TIMEOUTS, until } from './pairing.helper.ts'

const caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const ended = (): boolean => false

async function keysOnDisk(home: Home, id: string) {
  const ring = await KeyRing.open((await readKeyFile(home.paths.keyFile))!)
  return ring.get(Buffer.from(id, 'hex'))
}

function request(home: Home, desk: OpenHome, phrase: string) {
  return {
    phrase, directory: join(home.root, 'mnt'), allowUnprotected: true,
    peers: [`127.0.0.1:${desk.listener.port}`], label: 'phoenix',
  }
}

t.test('the words and one holder make an owner', async (t) => {
  const desk = await OpenHome.create()
  t.teardown(() => desk.close())
  const { fileSystem } = desk.engine
  fileSystem.mkdir(caller, fileSystem.root, 'kept', 0o755)
  await desk.membership.rotate()
  await desk.engine.sync()
  const phrase = phraseOf(desk.membership.keys.recoveryEntropy!)
  const home = new Home()
  const done = await until(
    home.joins, (await home.joins.recover(request(home, desk, phrase))).id, ended,
  )
  t.match(done, { state: 'joined', role: 'owner', vaultId: desk.id })
  const phoenix = await OpenHome.open(home, desk.id)
  t.teardown(() => phoenix.close())
  await phoenix.pull(desk)
  t.match(phoenix.membership.own, { role: 'owner', label: 'phoenix' })
  const names = phoenix.engine.fileSystem.readdir(phoenix.engine.fileSystem.root, 0, 100)
  t.ok(names.some(({ name }) => String(name) === 'kept'), 'history of an earlier epoch opens')
  t.equal(phraseOf(phoenix.membership.keys.recoveryEntropy!), phrase)
  await phoenix.membership.remove(desk.engine.keys.author)
  t.equal(phoenix.membership.members.get(desk.engine.keys.author)?.role, undefined,
    'the phrase is senior to the device that made the vault')
})

t.test('other words, and words that were replaced, open nothing', async (t) => {
  const desk = await OpenHome.create()
  t.teardown(() => desk.close())
  const old = phraseOf(desk.membership.keys.recoveryEntropy!)
  const home = new Home()
  await t.rejects(home.joins.recover(request(home, desk, 'abandon '.repeat(24))),
    { code: 'phrase-checksum' })
  const other = phraseOf(randomSecret())
  const none = await until(
    home.joins, (await home.joins.recover(request(home, desk, other))).id, ended,
  )
  t.equal(none.problem?.reason, 'invite-unknown')
  // who knows the public key only (a former member) comes through the door and no further
  const keys = recoveryKeys(entropyOf(old))
  const to = [{ host: '127.0.0.1', port: desk.listener.port }]
  const stream = await dialAny(
    to, recoveryDoor(keys.sign.publicKey), AbortSignal.timeout(5000),
  )
  const { secretKey } = recoveryKeys(randomSecret()).sign
  const forged = { ...keys, sign: { ...keys.sign, secretKey } }
  await t.rejects(runRecovering(stream, {
    phrase: forged, timeouts: TIMEOUTS, store: async () => void t.fail('nothing comes'),
    device: { signKey: keys.sign.publicKey, boxKey: keys.box.publicKey, label: '' },
  }), { code: 'wrong-phrase' })
  t.equal(desk.membership.members.list().length, 1)
  const words = await desk.membership.replacePhrase()
  desk.host.openRecovery()
  t.not(words, old)
  t.equal(phraseOf((await keysOnDisk(desk.home, desk.id)).recoveryEntropy!), words)
  const late = await until(
    home.joins, (await home.joins.recover(request(home, desk, old))).id, ended,
  )
  t.equal(late.problem?.reason, 'invite-unknown')
  const good = await until(
    home.joins, (await home.joins.recover(request(home, desk, words))).id, ended,
  )
  t.equal(good.state, 'joined', good.problem?.message ?? 'joined')
})

t.test('the keys of an epoch are on the disk before its batch is published', async (t) => {
  const desk = await OpenHome.create()
  t.teardown(() => desk.close())
  const { code } = await desk.host.invite({ role: 'writer', isUnattended: true, lifetimeMs: 1e6 })
  const home = new Home()
  await until(home.joins, (await home.join(code)).id, ended)
  const guest = authorOf(home.store.keysOf(desk.id))
  const control = desk.engine.core.control.bind(desk.engine.core)
  let onDisk: string[] = []
  desk.engine.core.control = async (ops) => {
    onDisk = (await keysOnDisk(desk.home, desk.id)).epochs.map(({ epochId }) => toHex(epochId))
    await control(ops)
  }
  const before = toHex(currentEpoch(desk.membership.keys).epochId)
  await desk.membership.remove(guest)
  const now = desk.membership.members.currentEpoch()
  t.not(now, before)
  t.ok(onDisk.includes(now), 'written before the batch')
  t.equal(toHex(desk.engine.keys.sealKeys().epochId), now, 'content is sealed under it')
  t.equal(toHex(desk.engine.keys.currentEpoch().epochId), now)

  desk.home.save = async () => {
    throw new Error('a full disk')
  }
  const length = desk.logs.length(desk.engine.keys.author)
  await t.rejects(desk.membership.rotate(), { message: 'a full disk' })
  t.equal(desk.membership.members.currentEpoch(), now, 'not published')
  t.equal(desk.logs.length(desk.engine.keys.author), length)
  const member = desk.membership.find('laptop')
  t.equal(member.device, guest)
  t.throws(() => desk.membership.find('lap'), { code: 'not-found' })
  t.equal(desk.membership.find(toHex(Buffer.from(guest, 'latin1')).slice(0, 8)).device, guest)
  await t.rejects(desk.membership.setRole(guest, 'admin'), { code: 'not-found' })
})
