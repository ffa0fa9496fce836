// kill -9 in the middle of index writes: what is found afterwards is one whole write, not older
// than the last one that was told to be done.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { IndexEnvironment } from '../../src/db/environment.ts'

const COUNT = 3000
const ROUNDS = 4
const child = fileURLToPath(new URL('crash.helper.ts', import.meta.url))

/** Runs the child until it has told `versions` writes and a while has passed; the last one told. */
function killedAfter(directory: string, versions: number, delayMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const args = ['--import', 'tsx', child, directory, String(COUNT)]
    const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => writer.kill('SIGKILL'))
    let told = ''
    writer.stdout.on('data', (data: Buffer) => {
      const before = told.split('\n').length
      told += data.toString()
      if (before <= versions && told.split('\n').length > versions) {
        setTimeout(() => writer.kill('SIGKILL'), delayMs)
      }
    })
    writer.on('error', reject)
    writer.on('close', () => resolve(Number(told.trim().split('\n').at(-1) ?? 0)))
  })
}

t.test('a write is there whole or not at all', async (t) => {
  const directory = join(t.testdir(), 'index')
  for (let round = 0; round < ROUNDS; round++) {
    const told = await killedAfter(directory, 2, round * 3)
    const environment = IndexEnvironment.open(directory, 'aa', Buffer.alloc(32, 1))
    const versions = new Set<string | undefined>()
    for (let i = 0; i < COUNT; i++) {
      versions.add(environment.getSealed(Buffer.from(`key ${i}`))?.toString())
    }
    environment.opened(directory)
    await environment.close()
    t.equal(versions.size, 1, `round ${round}: one version`)
    t.ok(Number([...versions][0]) >= told, 'the last write told is there')
  }
})
