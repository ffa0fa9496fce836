// What logs cost: appending, making a log anew from the journal's blocks, reading it through the
// worker's port with tree hashes, and catching up a long log from a peer over TCP, by Hypercore's
// replication and in ranges (LogStore.restore with the peer as the source).
// npm run bench -- logs [ops]
import { MessageChannel } from 'node:worker_threads'
import { LogClient } from '../src/logs/log-client.ts'
import { LogServer } from '../src/logs/log-server.ts'
import { connect, grown, openStore, someBlocks } from '../test/logs/logs.helper.ts'

const COUNT = Number(process.argv[2] ?? 100_000)
const BLOCK_BYTES = 300
const rows: { what: string; seconds: number; opsPerSecond: number; cpuUsPerOp: number }[] = []

async function measure(what: string, count: number, run: () => Promise<void>): Promise<void> {
  const cpu = process.cpuUsage()
  const begin = performance.now()
  await run()
  const seconds = (performance.now() - begin) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const row = {
    what, seconds: Number(seconds.toFixed(2)), opsPerSecond: Math.round(count / seconds),
    cpuUsPerOp: Number(((user + system) / count).toFixed(1)),
  }
  rows.push(row)
  console.log(JSON.stringify(row))
}

const blocks = someBlocks(COUNT, 'op', BLOCK_BYTES)
const a = await openStore('A')
const ops = { author: a.author, kind: 'ops' as const }
const few = await openStore('A')
await measure('append, one by one', 2000, async () => {
  for (let i = 0; i < 2000; i++) await few.store.append([blocks[i]!])
})
await few.store.close()
await measure('append, 64 at a time (publishing, and all of it anew)', COUNT, async () => {
  for (let i = 0; i < COUNT; i += 64) await a.store.append(blocks.slice(i, i + 64))
})
const head = a.store.head(a.author, 'ops')!
const source = {
  blocks: async (_: unknown, from: number, maxBytes: number) => (
    blocks.slice(from, from + Math.max(1, Math.floor(maxBytes / BLOCK_BYTES)))
  ),
}
const foreign = await openStore('B')
await measure('another author\'s log from head and blocks', COUNT, async () => {
  await foreign.store.restore(a.author, 'ops', head, source)
})
const ranges = await openStore('C')
await measure('the same, the peer\'s store as the source', COUNT, async () => {
  await ranges.store.restore(a.author, 'ops', head, {
    blocks: async ({ author, kind }, from, maxBytes) => (
      (await a.store.readRange(author, kind, from, { maxBlocks: 1e6, maxBytes })).blocks
    ),
  })
})
const { port1, port2 } = new MessageChannel()
const opening = LogClient.open({
  channel: port1 as never, own: foreign.author, source, onTrouble: console.error,
})
const server = new LogServer(foreign.store, port2 as never)
const client = await opening
await measure('read through the port, with tree hashes', COUNT, async () => {
  for (let seq = 0; seq < COUNT; seq++) {
    await client.read(a.author, seq)
    await client.treeHash(a.author, seq + 1)
  }
})
client.close()
server.close()
const replicated = await openStore('D')
const part = Math.min(COUNT, 100_000)
await measure('caught up by Hypercore over TCP, both ends here', part, async () => {
  const link = await connect(a.store, replicated.store)
  await grown(replicated.store, ops, part, 600_000)
  await link.close()
})
for (const { store } of [a, foreign, ranges, replicated]) await store.close()
console.table(rows)
