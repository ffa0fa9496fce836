// Keys of the network against vectors, doors, and the proof: what is refused, by which rule.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { signKeyPair } from '../../src/crypto/sign.ts'
import { ANY_DEVICE, EpochNetwork, deviceId } from '../../src/net/network-keys.ts'
import { checkProof, makeProof } from '../../src/net/proof.ts'
import { Strangers } from '../../src/net/strangers.ts'
import { TcpListener, dial } from '../../src/net/tcp.ts'
import { VaultDoor, frame } from '../../src/net/vault-door.ts'
import { toHex } from '../../src/util/bytes.ts'
import { HOST, keysAt, newEpoch, newVault, until } from './net.helper.ts'

const fill = (value: number, size = 32): Uint8Array => new Uint8Array(size).fill(value)

t.test('vectors', (t) => {
  const epoch = new EpochNetwork({
    epochId: fill(1, 8), controlKey: fill(2), topicKey: fill(3),
  })
  const keys = signKeyPair(fill(4))
  const device = deviceId(keys.publicKey)
  const door = epoch.dialDoor(device)
  const context = { vaultId: fill(5, 16), handshakeHash: fill(6, 64) }
  const made = {
    device: toHex(keys.publicKey),
    noisePublicKey: toHex(epoch.noisePublicKey(device)),
    anyPublicKey: toHex(epoch.noisePublicKey(ANY_DEVICE)),
    doorTag: toHex(door.tag(fill(7, 8))),
    anyDoorTag: toHex(epoch.dialDoor(ANY_DEVICE).tag(fill(7, 8))),
    topic: toHex(epoch.topic),
    lanTag: toHex(epoch.lanTag(device, 20_000)),
    proofKey: toHex(epoch.proofKey),
    diallerProof: toHex(makeProof(context, true, device, keys, epoch)),
    listenerProof: toHex(makeProof(context, false, device, keys, epoch)),
  }
  const path = fileURLToPath(new URL('../vectors/net/keys.json', import.meta.url))
  if (process.env['WRITE_VECTORS'] !== undefined) {
    writeFileSync(path, `${JSON.stringify(made, null, 2)}\n`)
  }
  t.same(made, JSON.parse(readFileSync(path, 'utf8')))
  t.ok(epoch.opens(device, fill(7, 8), door.tag(fill(7, 8))))
  t.notOk(epoch.opens(device, fill(8, 8), door.tag(fill(7, 8))), 'another nonce')
  t.notOk(epoch.opens(ANY_DEVICE, fill(7, 8), door.tag(fill(7, 8))), 'another device')
  t.end()
})

t.test('every part of a proof counts', (t) => {
  const vault = newVault(2)
  const [a, b] = [keysAt(vault, 0), keysAt(vault, 1)]
  const epoch = new EpochNetwork(a.epochs[0]!)
  const context = { vaultId: a.vaultId, handshakeHash: fill(6, 64) }
  const verifier = { self: b.self, epochs: [epoch], isMember: (one: string) => one === a.self }
  const proof = makeProof(context, true, a.self, a.signKeyPair, epoch)
  t.same(checkProof(context, true, proof, verifier).device, a.self)
  const refused = (
    rule: string, bytes = proof, of = context, isDialler = true, by = verifier,
  ): void => {
    const error = { code: 'refused', details: { rule } }
    t.throws(() => checkProof(of, isDialler, bytes, by), error, rule)
  }
  for (let at = 0; at < proof.length; at++) {
    const bent = new Uint8Array(proof)
    bent[at] = (bent[at] ?? 0) ^ 1
    const rule = at === 0 ? 'proof-version' : at < 33 ? 'proof-signature' : at < 41 ? 'proof-epoch'
      : at < 73 ? 'proof-mac' : 'proof-signature'
    refused(rule, bent)
  }
  refused('proof-length', proof.subarray(1))
  refused('proof-mac', proof, { ...context, handshakeHash: fill(7, 64) })
  refused('proof-mac', proof, { ...context, vaultId: fill(7, 16) })
  refused('proof-mac', proof, context, false)
  refused('proof-member', proof, context, true, { ...verifier, isMember: () => false })
  refused('proof-self', proof, context, true, { ...verifier, self: a.self })
  // the keys of the vault alone do not make a device
  refused('proof-signature', makeProof(context, true, a.self, b.signKeyPair, epoch))
  const other = new EpochNetwork({ ...newEpoch(), epochId: epoch.epochId })
  refused('proof-mac', makeProof(context, true, a.self, a.signKeyPair, other))
  const unknown = new EpochNetwork(newEpoch())
  refused('proof-epoch', makeProof(context, true, a.self, a.signKeyPair, unknown))
  t.end()
})

t.test('a proof of one connection is nothing on another; garbage and silence end', async (t) => {
  const vault = newVault(2)
  const [a, b] = [keysAt(vault, 0), keysAt(vault, 1)]
  const lines: string[] = []
  const log = (_: string, event: string, details?: object): void => {
    lines.push(`${event} ${Object.values(details ?? {})[0]}`)
  }
  const peers: string[] = []
  const door = new VaultDoor(a, {
    log, proofTimeoutMs: 300, onPeer: ({ device }) => void peers.push(device),
  })
  const strangers = new Strangers({ timeoutMs: 400 })
  const listener = await TcpListener.open({ host: HOST, strangers, log })
  t.teardown(() => listener.close())
  listener.register(door)
  const at = { host: HOST, port: listener.port }
  const epoch = new EpochNetwork(b.epochs[0]!)
  const prove = (hash: Uint8Array): Uint8Array => (
    makeProof({ vaultId: b.vaultId, handshakeHash: hash }, true, b.self, b.signKeyPair, epoch)
  )

  const first = await dial(at, epoch.dialDoor(a.self))
  const proof = prove(first.handshakeHash!)
  first.write(proof)
  const answer = await frame(first, 1000)
  const context = { vaultId: b.vaultId, handshakeHash: first.handshakeHash! }
  const isMember = (): boolean => true
  const verifier = { self: b.self, epochs: [epoch], isMember }
  t.equal(checkProof(context, false, answer, verifier).device, a.self)
  t.same(peers, [b.self])

  for (const [bytes, rule] of [
    [proof, 'proof-mac'],
    [fill(0, 10), 'proof-length'],
    [fill(0, 100_000), 'proof-length'],
    [undefined, 'timeout'],
  ] as const) {
    const stream = await dial(at, epoch.dialDoor(a.self))
    if (bytes !== undefined) stream.write(bytes)
    await new Promise((resolve) => stream.once('close', resolve))
    await until(() => lines.at(-1) === `refused ${rule}`, rule)
  }
  // reflected: what the listener said, said to it
  const mirror = await dial(at, epoch.dialDoor(a.self))
  mirror.write(answer)
  await new Promise((resolve) => mirror.once('close', resolve))
  t.same(peers, [b.self])
  const wrongKey = { ...epoch.dialDoor(a.self), remotePublicKey: signKeyPair(fill(9)).publicKey }
  await t.rejects(dial(at, wrongKey), { code: 'refused' })
  await t.rejects(dial({ ...at, port: 1 }, wrongKey), { code: 'unreachable' })
  await until(() => listener.strangers === 0)
  first.destroy()
})

t.test('too many strangers: the greedy address goes first', (t) => {
  const ended: string[] = []
  const strangers = new Strangers({ max: 4, timeoutMs: 60_000 })
  const admit = (host: string, name: string) => strangers.admit(host, () => void ended.push(name))
  const quiet = admit('a', 'a1')
  for (const name of ['b1', 'b2', 'b3', 'b4', 'b5']) admit('b', name)
  t.same(ended, ['b1', 'b2'])
  quiet.proven()
  quiet.gone()
  t.equal(strangers.count, 3)
  strangers.close()
  t.notOk(ended.includes('a1'))
  t.end()
})
