// The command line end to end, with real daemons and mounts: life of a vault, of the daemon, of a
// mount.
// timeoutSeconds: 600

import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Instance, noMount } from './harness.helper.ts'
import { mountsBelow, untilGone } from './system.helper.ts'

const skip = noMount() ?? false

interface Vault {
  id: string
  name: string
  directory: string
  mounted: boolean
}
interface MountDocument {
  vault: Vault
  created: boolean
  pid: number
}
interface StatusDocument {
  running: boolean
  vaults: Vault[]
  keys: { state: string; protection: string }
}

t.test('the first mount creates a vault and says so; the next find it', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const directory = lattice.path('Vault')
  const first = await lattice.run('mount', directory)
  t.equal(first.code, 0, first.stderr)
  t.equal(first.stdout, `mounted ${directory}\n`)
  t.match(first.stderr, /created the vault Vault for /)
  t.match(first.stderr, /disk theft: unprotected/)
  t.match(first.stderr, /recovery phrase \(24 words\) is shown by: lattice key recovery/)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  writeFileSync(join(directory, 'note'), 'kept')
  await lattice.umount(directory)
  t.same(readdirSync(directory), [], 'nothing lies under the mount')

  const again = await lattice.json<MountDocument>('mount', directory)
  t.equal(again.created, false)
  t.equal(again.vault.mounted, true)
  t.equal(readFileSync(join(directory, 'note'), 'utf8'), 'kept')

  const second = await lattice.json<MountDocument>('mount', lattice.path('Other'))
  t.equal(second.created, true)
  t.equal(second.pid, again.pid, 'one daemon serves both')
  const status = await lattice.json<StatusDocument>('status')
  t.same(status.vaults.map(({ mounted }) => mounted), [true, true])
  t.equal(status.keys.protection, 'none')

  await lattice.umount(directory)
  const pid = lattice.daemonPid() ?? 0
  t.ok(pid > 0, 'the daemon goes on while it serves a vault')
  await lattice.ok('unmount', lattice.path('Other'))
  await untilGone(pid)
  t.notOk(existsSync(join(lattice.home, 'lattice.sock')), 'it took its socket with it')
  t.equal((await lattice.json<StatusDocument>('status')).running, false)
})

t.test('a passphrase from a file opens the vault, and no other does', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const right = lattice.path('right')
  const wrong = lattice.path('wrong')
  writeFileSync(right, 'correct horse\n')
  writeFileSync(wrong, 'battery staple\n')
  const mount = await lattice.mount(undefined, '--passphrase-file', right)
  writeFileSync(join(mount, 'file'), 'sealed')
  await lattice.umount()
  await untilGone(lattice.daemonPid() ?? 0)

  const none = await lattice.run('mount', mount)
  t.equal(none.code, 12)
  t.match(none.stderr, /error: .*passphrase\nlattice: hint: /)
  const bad = await lattice.run('mount', mount, '--passphrase-file', wrong, '--json')
  t.equal(bad.code, 12)
  const { error } = JSON.parse(bad.stderr) as { error: { reason: string; exitCode: number } }
  t.match(error, { reason: 'wrong-passphrase', exitCode: 12 })
  await lattice.mount(undefined, '--passphrase-file', right)
  t.equal(readFileSync(join(mount, 'file'), 'utf8'), 'sealed')
})

t.test('relative paths, symbolic links, odd names', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  mkdirSync(lattice.path('real'))
  symlinkSync(lattice.path('real'), lattice.path('link'))
  const real = lattice.path('real/wïth blank')
  t.equal(await lattice.ok('mount', 'link/wïth blank'), `mounted ${real}\n`)
  t.match((await lattice.run('mount', real)).stderr, /mounted already/)
  await lattice.ok('umount', 'link/wïth blank')
})

t.test('umount with a user inside is refused, lazily it is not', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  const file = await open(join(mount, 'open'), 'w')
  await file.write('half a sent')
  const busy = await lattice.run('umount', mount, '--json')
  t.equal(busy.code, 7)
  t.match(JSON.parse(busy.stderr), { error: { reason: 'busy' } })
  await lattice.ok('umount', '--lazy', mount)
  t.same(mountsBelow(mount), [])
  await file.write('ence')
  await file.close()
  await untilGone(lattice.daemonPid() ?? 0)
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'open'), 'utf8'), 'half a sentence')
})

t.test('umount(8) stores everything as well', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  writeFileSync(join(mount, 'a'), 'x'.repeat(100_000))
  const pid = lattice.daemonPid() ?? 0
  await lattice.sh(`umount '${mount}'`, '/')
  await untilGone(pid)
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'a'), 'utf8').length, 100_000)
})

t.test('SIGTERM in the middle of work ends cleanly, also with open files', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  writeFileSync(join(mount, 'done'), 'y'.repeat(3_000_000))
  const file = await open(join(mount, 'open'), 'w')
  await file.write('z'.repeat(50_000))
  await lattice.signal('SIGTERM')
  await file.close().catch(() => undefined) // its daemon is gone
  t.same(mountsBelow(mount), [])
  t.match(lattice.daemonLog(), /"msg":"ended"/)
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'done'), 'utf8').length, 3_000_000)
  t.equal(statSync(join(mount, 'open')).size, 50_000)
})

t.test('a killed daemon: the dead mount recovers by mounting again', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  await lattice.sh('echo durable > file; sync file')
  await lattice.kill9()
  t.throws(() => readdirSync(mount), { code: /ENOTCONN|ECONNABORTED/ })
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'file'), 'utf8'), 'durable\n')
  await lattice.kill9()
  t.match(await lattice.ok('umount', mount), /cleared the dead mount/)
  t.same(readdirSync(mount), [])
})

t.test('--foreground serves until a signal; -o words', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mountForeground(undefined, '-o', 'nofail,nosuid,frobnicate')
  t.match(lattice.daemonLog(), /mount option frobnicate is not known/)
  t.notMatch(lattice.daemonLog(), /nofail/)
  t.match(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(`${mount} [^\\n]*nosuid`))
  writeFileSync(join(mount, 'f'), 'here')
  const twice = await lattice.run('mount', '--foreground', lattice.path('second'))
  t.equal(twice.code, 11)
  t.match(twice.stderr, /a daemon is running already/)
  await lattice.signal('SIGINT')
  t.same(mountsBelow(mount), [])
  await lattice.mount(undefined, '--read-only')
  t.throws(() => writeFileSync(join(mount, 'g'), ''), { code: 'EROFS' })
  t.equal(readFileSync(join(mount, 'f'), 'utf8'), 'here')
})

t.test('sync, status and check tell what is there', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  writeFileSync(join(mount, 'a'), 'secret-content '.repeat(10_000))
  mkdirSync(join(mount, 'secret-name'))
  t.equal(await lattice.ok('sync', mount), `stored ${mount}\n`)
  const status = await lattice.json<{ vaults: Record<string, unknown>[] }>('status')
  t.match(status.vaults[0], { files: 1, directories: 2, contentBytes: 150_000, dirtyBytes: 0 })
  const text = await lattice.ok('status')
  t.match(text, /daemon +running, process \d+/)
  const mounted = await lattice.json<{ vaults: { findingCount: number }[] }>('check', '--read-data')
  t.equal(mounted.vaults[0]?.findingCount, 0)
  await lattice.umount()
  t.match(await lattice.ok('check', mount), /no errors found/)
  const found = await lattice.program(['grep', '-rlaE', 'secret-(name|content)', '.'], lattice.home)
  t.equal(found.stdout, '', 'neither name nor content stands in any file of the home')
})

t.test('the recovery phrase opens the keys without the passphrase', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  writeFileSync(lattice.path('first'), 'first passphrase')
  writeFileSync(lattice.path('second'), 'second passphrase')
  const mount = await lattice.mount(undefined, '--passphrase-file', lattice.path('first'))
  writeFileSync(join(mount, 'f'), 'content')
  await lattice.umount()
  await untilGone(lattice.daemonPid() ?? 0)
  const words = ['key', 'recovery', '--passphrase-file', lattice.path('first')]
  const { phrases } = await lattice.json<{ phrases: { phrase: string }[] }>(...words)
  t.equal(phrases[0]?.phrase.split(' ').length, 24)
  writeFileSync(lattice.path('words'), `${phrases[0]?.phrase}\n`)

  const restore = ['key', 'restore', '--phrase-file', lattice.path('words')]
  await lattice.ok(...restore, '--passphrase-file', lattice.path('second'))
  const old = await lattice.run('mount', mount, '--passphrase-file', lattice.path('first'))
  t.equal(old.code, 12)
  await lattice.mount(undefined, '--passphrase-file', lattice.path('second'))
  t.equal(readFileSync(join(mount, 'f'), 'utf8'), 'content')
  await lattice.umount()
  await untilGone(lattice.daemonPid() ?? 0)

  const wrong = phrases[0]?.phrase.split(' ').toReversed().join(' ') ?? ''
  writeFileSync(lattice.path('words'), wrong)
  const refused = await lattice.run(...restore, '--json')
  t.equal(refused.code, 12)
  t.match(JSON.parse(refused.stderr), { error: { reason: /phrase-checksum|wrong-phrase/ } })
})
