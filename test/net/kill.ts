// kill -9 of the serving process in mid-transfer, three times, and a new one on the same port: the
// receiver ends with everything, and asks for nothing again that it had stored.

import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { testSeed } from '../support/random.ts'
import { BUNDLE_BYTES, BUNDLES, seededBundles, seededVault } from './kill-server.helper.ts'
import { HOST, newNode, until } from './net.helper.ts'

const seed = testSeed()
const helper = fileURLToPath(new URL('kill-server.helper.ts', import.meta.url))

async function serve(port: number): Promise<{ child: ChildProcess; port: number }> {
  const args = ['serve', String(seed), String(port)]
  const child = fork(helper, args, { execArgv: ['--import', 'tsx'] })
  const [{ port: at }] = await once(child, 'message') as [{ port: number }]
  return { child, port: at }
}

t.test('a server that is killed again and again', async (t) => {
  t.comment(`SEED=${seed}`)
  const first = await serve(0)
  const { port } = first
  let { child } = first
  t.teardown(() => child.kill('SIGKILL'))
  const staticPeers = [{ host: HOST, port }]
  const node = await newNode(seededVault(seed)[1]!, { staticPeers, random: () => 0 })
  t.teardown(() => node.network.close())
  const options = { timeoutMs: 120_000 }
  // the server may be away for longer than a reader would wait
  const fetchAll = async (): Promise<void> => {
    for (;;) {
      const left = [...seededBundles(seed).keys()].filter((id) => !node.bundles.bundles.has(id))
      if (left.length === 0) return
      const { fetcher } = node.network
      await Promise.all(left.map((id) => (
        fetcher.fetch(id, BUNDLE_BYTES, 'pin', options).catch(() => undefined)
      )))
      await new Promise((resolve) => void setTimeout(resolve, 50))
    }
  }
  const all = fetchAll()
  let before: Set<string> = new Set()
  for (let round = 1; round <= 3; round++) {
    await until(() => node.bundles.stored.length >= round * 25)
    child.kill('SIGKILL')
    await until(() => node.network.peers().length === 0)
    before = new Set(node.bundles.stored.map((id) => Buffer.from(id, 'latin1').toString('hex')))
    ;({ child } = await serve(port))
  }
  await all
  t.equal(node.bundles.stored.length, BUNDLES, 'each once')
  child.send('reads')
  const [{ reads }] = await once(child, 'message') as [{ reads: string[] }]
  t.ok(reads.length > 0)
  t.notOk(reads.some((id) => before.has(id)), 'nothing that was here already')
})
