// The command line without any mount: parsing, help, versions, exit codes, what is printed where.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { COMMANDS } from '../../src/cli/commands.ts'
import { bytesText, countText, printable } from '../../src/cli/output.ts'
import { EXIT_CODES } from '../../src/config/exit-codes.ts'
import { checkout, latticeCommand } from '../mount/harness.helper.ts'

const home = mkdtempSync(join(tmpdir(), 'cli-'))
t.teardown(() => rmSync(home, { recursive: true, force: true }))

function lattice(...words: string[]) {
  const [command = '', ...argv] = latticeCommand()
  const env = { ...process.env, LATTICE_HOME: home }
  const options = { env, encoding: 'utf8', cwd: home, timeout: 60_000 } as const
  const { status, stdout, stderr } = spawnSync(command, [...argv, ...words], options)
  return { code: status, stdout, stderr }
}

t.test('version, in every spelling', (t) => {
  const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
    version: string
  }
  for (const word of ['version', '--version', '-V']) {
    const { code, stdout } = lattice(word)
    t.equal(code, 0)
    t.match(stdout, new RegExp(`^lattice ${version} \\(Node\\.js `), word)
  }
  t.match(JSON.parse(lattice('version', '--json').stdout), { version })
  t.end()
})

t.test('help: every command, its options, its examples', (t) => {
  const all = lattice('help').stdout
  t.equal(lattice().stdout, all, 'no command shows the help')
  for (const spec of COMMANDS) {
    t.match(all, new RegExp(`^  ${spec.name.split(' ')[0]}\\b`, 'm'), spec.name)
  }
  const { code, stdout } = lattice('help', 'mount')
  t.equal(code, 0)
  t.equal(lattice('mount', '--help').stdout, stdout)
  t.match(stdout, /--foreground/)
  t.match(stdout, /Examples:\n {2}lattice mount ~\/Vault/)
  t.match(lattice('help', 'key', 'restore').stdout, /--phrase-file/)
  const codes = lattice('help', 'exit-codes').stdout
  for (const { code: number, name } of EXIT_CODES) {
    t.match(codes, new RegExp(`^ *${number} {2}${name}\\b`, 'm'))
  }
  t.end()
})

t.test('what is wrong with a command line', (t) => {
  const wrong: [string[], RegExp][] = [
    [['mount'], /name a directory, or --all/],
    [['mount', 'a', 'b'], /too many arguments/],
    [['mount', '--nope', 'a'], /unknown option '--nope'/],
    [['nope'], /unknown command 'nope'/],
    [['help', 'nope'], /no command nope/],
    [['key'], /which command of key/],
    [['mount', ''], /must have a name/],
  ]
  for (const [words, message] of wrong) {
    const { code, stdout, stderr } = lattice(...words)
    t.equal(code, 2, words.join(' '))
    t.equal(stdout, '')
    t.match(stderr, /^lattice: error: /)
    t.match(stderr, message)
    t.match(stderr, /^lattice: hint: /m)
  }
  const { code, stderr } = lattice('mount', '--json')
  t.equal(code, 2)
  t.match(JSON.parse(stderr), { error: { reason: 'usage', exitCode: 2, hint: String } })
  t.end()
})

t.test('status and doctor without a vault', (t) => {
  const status = lattice('status', '--json')
  t.equal(status.code, 0, status.stderr)
  t.match(JSON.parse(status.stdout), { running: false, vaults: [], keys: { state: 'absent' } })
  const doctor = lattice('doctor', '--json')
  const { checks } = JSON.parse(doctor.stdout) as { checks: { name: string; state: string }[] }
  t.match(checks.map(({ name }) => name), ['node', 'device', 'fusermount3', 'flock', 'addon'])
  t.equal(checks.find(({ name }) => name === 'addon')?.state, 'ok')
  t.equal(lattice('check').code, 10)
  t.equal(lattice('sync').code, 4)
  writeFileSync(join(home, 'config.toml'), 'version = 1\n[strange]\n')
  t.match(lattice('status').stderr, /warning: config\.toml: unknown key strange, ignored/)
  t.end()
})

t.test('no core files once a secret comes in', async (t) => {
  const fifo = join(home, 'phrase')
  t.equal(spawnSync('mkfifo', [fifo]).status, 0)
  const [command = '', ...argv] = latticeCommand()
  const options = { env: { ...process.env, LATTICE_HOME: home }, stdio: 'ignore' } as const
  const words = [...argv, 'key', 'restore', '--phrase-file', fifo]
  const child = spawn('prlimit', ['--core=4096:8192', command, ...words], options)
  const ended = once(child, 'exit')
  const read = () => readFileSync(`/proc/${child.pid}/limits`, 'latin1')
  const deadlineMs = Date.now() + 20_000
  // It waits for somebody to write the phrase.
  while (!/^Max core file size +0 +0 /m.test(read()) && Date.now() < deadlineMs) await delay(20)
  t.match(read(), /^Max core file size +0 +0 /m)
  child.kill('SIGKILL')
  t.same(await ended, [null, 'SIGKILL'])
})

t.test('a reader that has enough is no error', (t) => {
  const argv = [...latticeCommand(), 'help', 'exit-codes'].map((word) => `'${word}'`).join(' ')
  const { stderr } = spawnSync('sh', ['-c', `${argv} | head -c 1 >/dev/null`], { encoding: 'utf8' })
  t.equal(stderr, '')
  t.end()
})

t.test('text for people', (t) => {
  t.equal(printable('a\u001b[31m\u0007\n\u009bb'), 'a\\x1b[31m\\x07\n\\x9bb')
  t.equal(printable('Grüße 日本'), 'Grüße 日本')
  t.equal(bytesText(0), '0 B')
  t.equal(bytesText(1536), '1.5 KiB')
  t.equal(bytesText(300 * 2 ** 20), '300 MiB')
  t.equal(countText(1, 'file'), '1 file')
  t.equal(countText(12_345, 'file'), '12,345 files')
  t.end()
})
