// The directory lock between processes: exclusive, naming its holder, gone with a killed process.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { DirectoryLock } from '../../src/vault/lock.ts'

const HOLDER = `
import { DirectoryLock } from ${JSON.stringify(new URL('../../src/vault/lock.ts', import.meta.url))}
await DirectoryLock.take(process.argv[1], 'the vault')
process.stdout.write('held')
setInterval(() => undefined, 1000)
`

t.test('one holder at a time, also across processes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lock-'))
  const loader = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', HOLDER]
  const holder = spawn(process.execPath, [...loader, directory], { stdio: ['ignore', 'pipe', 2] })
  t.teardown(() => {
    holder.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  await new Promise((resolve) => holder.stdout?.once('data', resolve))
  await t.rejects(DirectoryLock.take(directory, 'the vault'), {
    code: 'locked',
    message: `the vault is used by process ${holder.pid}`,
    details: { holder: `process ${holder.pid}` },
  })

  const gone = new Promise((resolve) => holder.once('exit', resolve))
  holder.kill('SIGKILL')
  await gone
  const lock = await DirectoryLock.take(directory, 'the vault')
  await t.rejects(DirectoryLock.take(directory, 'the vault'), { code: 'locked' })
  await lock.release()
  await lock.release()
  await (await DirectoryLock.take(directory, 'the vault')).release()
})

t.test('a directory that is not there is an error of its own', async (t) => {
  await t.rejects(DirectoryLock.take('/nonexistent/x', 'the vault'), { code: 'not-found' })
})
