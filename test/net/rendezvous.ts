// Meeting by the hash table, on loopback, with a bootstrap node of the test's own: by the newest
// topic and by an older one; found keys of strangers are not dialled; the network opens and closes
// at once where no bootstrap node answers. The relay passes bytes on.

import t from 'tap'
import createTestnet from 'hyperdht/testnet.js'
import { randomBytes } from '../../src/crypto/random.ts'
import { signKeyPair } from '../../src/crypto/sign.ts'
import { runBootstrap, runRelay } from '../../src/net/relay.ts'
import { Rendezvous } from '../../src/net/rendezvous.ts'
import { fromHex } from '../../src/util/bytes.ts'
import { HOST, keysAt, newEpoch, newNode, newVault, until } from './net.helper.ts'

const forever = { timeoutMs: 60_000 }
const log = (): void => undefined

t.test('by the topic, also of an older epoch', async (t) => {
  const testnet = await createTestnet(3, { host: HOST })
  t.teardown(() => testnet.destroy())
  const rendezvous = { bootstrap: testnet.bootstrap, host: HOST, isFirewalled: false }
  const vault = newVault(3)
  const a = await newNode(keysAt(vault, 0), { rendezvous })
  const b = await newNode(keysAt(vault, 1), { rendezvous })
  // c has newer epochs, which a and b do not know
  const epochs = [...keysAt(vault, 2).epochs, newEpoch(), newEpoch()]
  const c = await newNode({ ...keysAt(vault, 2), epochs }, { rendezvous })
  t.teardown(() => Promise.all([a, b, c].map(({ network }) => network.close())))
  await until(() => [a, b, c].every(({ network }) => network.peers().length === 2))
  const id = a.bundles.add(300_000)
  await c.network.fetcher.fetch(id, 300_000, 'pin', forever)
  t.ok(c.bundles.bundles.has(id))
})

t.test('nothing waits for a bootstrap node', async (t) => {
  const rendezvous = { bootstrap: [{ host: HOST, port: 9 }], host: HOST, isFirewalled: false }
  const a = await newNode(keysAt(newVault(2), 0), { rendezvous })
  t.same(a.network.peers(), [])
  await a.network.pause()
  a.network.resume()
  await a.network.close()
  t.pass('it closes')
})

t.test('a bootstrap node and a relay of one\'s own', async (t) => {
  await t.rejects(runBootstrap({ host: '0.0.0.0', port: 1 }), { code: 'usage' })
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const node = await runBootstrap({ host: HOST, port, bind: HOST })
  t.teardown(() => node.close())
  const bootstrap = [{ host: HOST, port: node.port }]
  const seed = randomBytes(32)
  const where = { bootstrap, host: HOST, isFirewalled: false, log }
  const relay = await runRelay({ ...where, seed })
  t.teardown(() => relay.close())
  const name = fromHex(relay.publicKey!)!
  t.same(Buffer.from(name), signKeyPair(seed).publicKey)
  const server = new Rendezvous({ ...where, relay: name })
  const client = new Rendezvous({ ...where, relay: name })
  t.teardown(() => Promise.all([server.close(), client.close()]))
  const keyPair = signKeyPair(randomBytes(32))
  const topic = Buffer.from(randomBytes(32))
  server.serve({
    keyPair,
    topic,
    onStream: (stream) => stream.on('data', (data: Uint8Array) => void stream.write(data)),
  })
  const found: Buffer[] = []
  await until(() => {
    if (found.length === 0) void client.lookup(topic, ({ publicKey }) => void found.push(publicKey))
    return found.length > 0
  })
  t.same(found[0], keyPair.publicKey)
  const stream = await client.connect({ publicKey: keyPair.publicKey, relayAddresses: [] })
  const answer = new Promise((resolve) => stream.on('data', resolve))
  stream.write(Buffer.from('hello'))
  t.equal(String(await answer), 'hello')
  stream.destroy()
})
