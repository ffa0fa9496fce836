// timeoutSeconds: 150
// The POSIX table (test/mount/posix/*.cc, about 150 cases) in a mount: real system calls, each with
// the errno or the effect that a local file system has. After that the whole tree is unmounted,
// mounted again and compared. `PLACE=plain` checks the table itself; WORD=rename runs some of it.

import t from 'tap'
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Place, noMount, placeKind } from './harness.helper.ts'
import { isRoot, temporaryDirectory, type Teardown } from './system.helper.ts'
import { differences, takeTree } from './tree.helper.ts'

const sources = fileURLToPath(new URL('posix/', import.meta.url))
const kind = placeKind()

function compile(into: string): string {
  const program = join(into, 'posix')
  const files = readdirSync(sources).filter((name) => name.endsWith('.cc'))
  const words = ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-O1', '-o', program]
  execFileSync('c++', [...words, ...files.map((name) => join(sources, name))])
  return program
}

async function run(
  t: Teardown,
  program: string,
  directory: string,
  report: (line: string) => void,
): Promise<number | string | null> {
  const words = [directory, ...(kind === 'lattice' ? ['--lattice'] : [])]
  if (process.env['WORD'] !== undefined) words.push(process.env['WORD'])
  const child = spawn(program, words, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => void child.kill('SIGKILL'))
  for await (const line of createInterface({ input: child.stdout })) report(line)
  if (child.exitCode === null && child.signalCode === null) {
    await new Promise((done) => child.once('exit', done))
  }
  return child.signalCode ?? child.exitCode
}

t.test('system calls', { skip: noMount() ?? false }, async (t) => {
  const base = temporaryDirectory(t)
  const program = compile(base)
  // Root's mount lets others in, so that the cases of another user can be tried.
  const words = isRoot() ? ['--allow-other'] : []
  const place = await Place.open(t, { base, words })
  const directory = join(place.directory, 'table')
  mkdirSync(directory, { mode: 0o755 })
  let count = 0
  const result = await run(t, program, directory, (line) => {
    const [, verdict, name = '', reason] = /^(ok|not ok|skip) (.*?)(?:: (\S*\.cc:.*|not root.*))?$/
      .exec(line) ?? []
    if (verdict === 'ok') t.pass(name)
    else if (verdict === 'skip') t.pass(name, { skip: reason ?? 'skipped' })
    else t.fail(verdict === undefined ? line : `${name}: ${reason}`)
    count++
  })
  t.ok(result === 0 || result === 1, 'the table ran to its end')
  if (process.env['WORD'] === undefined) t.ok(count >= 145, `${count} cases`)
  t.ok(kind === 'plain' || place.isAlive(), 'the daemon lives')
  const before = takeTree(directory)
  await place.remount()
  t.same(differences(before, takeTree(directory)), [], 'everything is there after mounting again')
})
