// timeoutSeconds: 240
// Two devices with real sync workers on loopback: what one writes the other sees, and reads, and
// the other way round; content comes when it is asked for; what is offline ends in a clear error.

import t from 'tap'
import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BundleId } from '../../src/ops/types.ts'
import { signKeyPair } from '../../src/crypto/sign.ts'
import { LogStore } from '../../src/logs/log-store.ts'
import { LOOPBACK, firstDevice, pathIn, until } from './sync-devices.helper.ts'

t.test('two devices', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'sync-'))
  const one = await firstDevice(pathIn(home, 'one'))
  t.teardown(() => one.close())
  const small = Buffer.from('hello')
  const loose = randomBytes(9000)
  const large = randomBytes(5_000_000)
  await one.save('small', small)
  await one.save('loose', loose)
  const two = await one.admit('second', pathIn(home, 'two'))
  await one.save("large", large)
  await two.open()
  t.teardown(() => two.close())
  for (const [name, bytes] of Object.entries({ small, loose, large })) {
    await until(`${name} is there`, async () => (await two.load(name))?.equals(bytes) ?? false)
  }
  t.same(two.names(), ['large', 'loose', 'small'])
  const back = randomBytes(300_000)
  await two.save('back', back)
  await until('the answer is there', async () => (await one.load('back'))?.equals(back) ?? false)
  t.same(one.names(), ['back', 'large', 'loose', 'small'])
})

t.test('a blind device keeps everything, and gives it when the author is gone', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'sync-'))
  const one = await firstDevice(pathIn(home, 'one'))
  const large = randomBytes(3_000_000)
  await one.save('large', large)
  const blind = await one.admit('blind', pathIn(home, 'blind'), 'blind')
  await blind.open()
  t.teardown(() => blind.close())
  const three = await one.admit('third', pathIn(home, 'three'))
  await one.save('small', randomBytes(9000))
  const ids: BundleId[] = []
  await until('all is announced', () => {
    const { bundles } = one.engine.index
    for (let n = ids.length; ; n++) {
      const found = bundles.described(one.author, n)
      if (found === undefined) break
      ids.push(found.id)
    }
    return ids.length >= 4
  })
  await until('the blind device has all', () => (
    ids.every((id) => blind.engine.index.bundles.get(id) !== undefined)
  ))
  t.equal(blind.names().length, 0, 'and shows nothing of it')
  const port = await blind.port()
  three.choices = { ...three.choices, peers: [...three.choices.peers, { host: '127.0.0.1', port }] }
  await three.open()
  t.teardown(() => three.close())
  await until('the names are there', () => three.names().length === 2)
  await until('both are connected', async () => (await three.sync.status())!.peers.length === 2)
  await one.close()
  await until('it is read', async () => (await three.load('large'))?.equals(large) ?? false)
  t.pass('from the blind device')
})

t.test('the log of an author who is gone is made anew for others', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'sync-'))
  const one = await firstDevice(pathIn(home, 'one'))
  const bytes = randomBytes(200_000)
  await one.save('file', bytes)
  const two = await one.admit('second', pathIn(home, 'two'))
  const three = await one.admit('third', pathIn(home, 'three'))
  await two.open()
  await until('it is there', async () => (await two.load('file'))?.equals(bytes) ?? false)
  await until('all is there', () => (
    two.engine.core.applier.length(one.author) === one.engine.committer.nextSeq
  ))
  await two.close()
  await one.close()
  rmSync(join(two.directory, 'logs'), { recursive: true })
  await two.open()
  t.teardown(() => two.close())
  const port = await two.port()
  three.choices = { ...LOOPBACK, peers: [{ host: '127.0.0.1', port }] }
  three.known.splice(0, 1, two)
  await three.open()
  t.teardown(() => three.close())
  await until('it is read', async () => (await three.load('file'))?.equals(bytes) ?? false)
  t.pass('from a device that never was its author')
})

t.test('a restored backup catches up with what it had published, or stops', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'sync-'))
  const one = await firstDevice(pathIn(home, 'one'))
  const two = await one.admit('second', pathIn(home, 'two'))
  await two.open()
  t.teardown(() => two.close())
  await one.save('first', randomBytes(100))
  await until('it is there', () => two.names().includes('first'))
  await one.close()
  cpSync(one.directory, pathIn(home, 'backup'), { recursive: true })
  await one.open()
  await one.save('second', randomBytes(100))
  await until('it is there', () => two.names().includes('second'))
  await one.close()
  rmSync(one.directory, { recursive: true })
  cpSync(pathIn(home, 'backup'), one.directory, { recursive: true })
  await one.open()
  t.teardown(() => one.close())
  await until('it has what it lost, or says that it may not write', () => (
    one.names().includes('second') || !one.engine.core.mayWrite
  ))
  await two.save('third', randomBytes(100))
  if (one.engine.core.mayWrite) await until('it goes on', () => one.names().includes('third'))
  t.ok(two.names().includes('second'), 'and the other one has lost nothing')
})

t.test('a worker that dies, or cannot start, is started again, and never twice', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'sync-'))
  const one = await firstDevice(pathIn(home, 'one'))
  const two = await one.admit('second', pathIn(home, 'two'))
  t.teardown(() => one.close())
  const { publicKey, secretKey } = signKeyPair(two.keys.signSeed)
  const holder = await LogStore.open({
    directory: join(two.directory, 'logs'),
    vaultId: two.keys.vaultId,
    keyPair: { publicKey: Buffer.from(publicKey), secretKey: Buffer.from(secretKey) },
    onTrouble: (error) => { throw error },
  })
  await two.open()
  t.teardown(() => two.close())
  await one.save('first', randomBytes(100))
  await new Promise((resolve) => setTimeout(resolve, 1500))
  t.strictSame(two.names(), [], 'its logs are held by somebody else')
  await holder.close()
  await until('it is there', () => two.names().includes('first'))
  await two.sync.testEndWorker()
  await one.save('second', randomBytes(100))
  await until('it is there', () => two.names().includes('second'))
  await two.save('third', randomBytes(100))
  await until('it is there', () => one.names().includes('third'))
  t.equal((await one.sync.status())!.peers.length, 1)
})
