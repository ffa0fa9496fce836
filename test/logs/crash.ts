// kill -9 of a process that publishes, while its directory is kept or deleted in between: what it
// said that it had appended is there, reads right, and goes on with the same signatures as in a
// process that was never killed.
// timeoutSeconds: 600
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { SeededRandom, testSeed } from '../support/random.ts'
import { blockAt } from './crash-blocks.helper.ts'
import { connect, cutConnections, grown, newDirectory, openStore } from './logs.helper.ts'

t.teardown(cutConnections)

const WRITER = fileURLToPath(new URL('./writer.helper.ts', import.meta.url))

async function writeAndKill(directory: string, random: SeededRandom): Promise<[number, number]> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, 'A', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', (data: Buffer) => { said += data.toString() })
  while (said.split('\n').length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
  await new Promise((resolve) => setTimeout(resolve, random.int(0, 300)))
  child.kill('SIGKILL')
  await once(child, 'close')
  const lines = said.split('\n')
  return (lines[lines.length - 2] as string).split(' ').map(Number) as [number, number]
}

t.test('a publisher that is killed again and again', async (t) => {
  const seed = testSeed()
  t.comment(`SEED=${seed}`)
  const random = new SeededRandom(seed)
  const directory = newDirectory()
  const b = await openStore('B')
  for (let round = 0; round < 6; round++) {
    const [ops, content] = await writeAndKill(directory, random)
    const a = await openStore('A', directory)
    const length = a.store.length(a.author, 'ops')
    t.ok(length >= ops, `${ops} of ops said, ${length} there`)
    t.ok(a.store.length(a.author, 'content') >= content)
    const { blocks } = await a.store.readRange(
      a.author, 'ops', 0, { maxBlocks: 1e6, maxBytes: 1e9 },
    )
    t.equal(blocks.length, length)
    t.ok(blocks.every((block, seq) => Buffer.compare(block, blockAt(seq)) === 0))
    // a log that nobody has ever killed comes out the same
    const whole = await openStore('A')
    await whole.store.append(blocks)
    t.same(a.store.head(a.author, 'ops'), whole.store.head(a.author, 'ops'))
    const link = await connect(a.store, b.store)
    if (length < 5000) await grown(b.store, { author: a.author, kind: 'ops' }, length)
    await link.close()
    await whole.store.close()
    await a.store.close()
    t.same([...a.troubles, ...b.troubles, ...b.store.forks()], [])
    if (round % 3 === 2) rmSync(join(directory, 'logs'), { recursive: true })
  }
  await b.store.close()
})
