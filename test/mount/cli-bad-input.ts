// What goes wrong for users: each a sentence, a hint, a documented exit code and a reason in
// --json, and nothing lost. Everything here runs the real command line against real damage.
// timeoutSeconds: 900

import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync, closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, readSync,
  readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { exitCodeOf } from '../../src/config/exit-codes.ts'
import { Instance, latticeCommand, noMount } from './harness.helper.ts'
import { untilGone } from './system.helper.ts'

const LARGE = randomBytes(3_000_000)
const READ_BYTES = 128 * 1024
const TERMINAL_MS = 120_000
const isRoot = process.geteuid?.() === 0
const skip = noMount() ?? false
const rootOnly = skip === false && !isRoot ? 'needs root' : skip

interface Shown {
  reason: string
  message: string
  hint?: string
  exitCode: number
}

/** Runs it both ways, checks form and agreement, and returns what was shown. */
async function refused(t: Test, lattice: Instance, words: string[], reason: string) {
  const plain = await lattice.run(...words)
  const { code, stdout, stderr } = await lattice.run(...words, '--json')
  const what = words.join(' ')
  const line = stderr.trim().split('\n').at(-1) ?? ''
  let shown: Shown
  try {
    shown = (JSON.parse(line) as { error: Shown }).error
  } catch {
    t.fail(`${what}: no JSON error (code ${code})`, { stdout, stderr })
    return { reason: '', message: '', exitCode: -1 }
  }
  t.equal(shown.reason, reason, `${what}: ${shown.message}`)
  t.equal(code, exitCodeOf(reason), `${what}: the exit code of ${reason}`)
  t.equal(plain.code, code, `${what}: the same code without --json`)
  t.equal(stdout, '')
  t.match(plain.stderr, /lattice: error: \S/)
  t.match(plain.stderr, /lattice: hint: \S/, `${what}: a hint`)
  return shown
}

/** Runs a shell's command at a terminal, and types when it is asked. Returns all that was shown. */
async function typedAtTerminal(
  lattice: Instance, command: string, answers: readonly { at: RegExp; type: string }[],
): Promise<string> {
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: lattice.env, cwd: '/', stdio: ['pipe', 'pipe', 'inherit'],
  })
  let shown = ''
  let seen = 0
  const left = [...answers]
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
    const [next] = left
    if (next === undefined || !next.at.test(shown.slice(seen))) return
    seen = shown.length
    left.shift()
    child.stdin.write(next.type)
  })
  const end = setTimeout(() => child.kill('SIGKILL'), TERMINAL_MS)
  await once(child, 'close')
  clearTimeout(end)
  return shown
}

/** A vault with a file in it, not mounted. */
async function withVault(t: Test): Promise<{ lattice: Instance; mount: string; state: string }> {
  const lattice = await Instance.create(t)
  const mount = await lattice.mount()
  writeFileSync(join(mount, 'small'), 'a small file')
  writeFileSync(join(mount, 'large'), LARGE)
  await lattice.umount()
  await gone(lattice)
  const [id = ''] = readdirSync(join(lattice.home, 'state/vaults'))
  return { lattice, mount, state: join(lattice.home, 'state/vaults', id) }
}

async function gone(lattice: Instance): Promise<void> {
  const pid = lattice.daemonPid()
  if (pid !== undefined) await untilGone(pid)
}

async function intact(t: Test, lattice: Instance, mount: string): Promise<void> {
  await lattice.mount(mount)
  t.equal(readFileSync(join(mount, 'small'), 'utf8'), 'a small file')
  t.ok(readFileSync(join(mount, 'large')).equals(LARGE), 'nothing is lost')
  await lattice.umount(mount)
  await gone(lattice)
}

function flip(path: string, offset: number, count = 1): void {
  const fd = openSync(path, 'r+')
  const bytes = Buffer.alloc(count)
  readSync(fd, bytes, 0, count, offset)
  for (let i = 0; i < count; i++) bytes[i] = (bytes[i] ?? 0) ^ 0x41
  writeSync(fd, bytes, 0, count, offset)
  closeSync(fd)
}

/** Reads in large steps; how many bytes are refused. The others must be right. */
function unreadable(t: Test, path: string): number {
  const fd = openSync(path, 'r')
  const into = Buffer.alloc(READ_BYTES)
  let lost = 0
  for (let at = 0; at < LARGE.length; at += READ_BYTES) {
    try {
      const count = readSync(fd, into, 0, READ_BYTES, at)
      const same = into.subarray(0, count).equals(LARGE.subarray(at, at + READ_BYTES))
      if (!same) t.fail(`wrong bytes at ${at}`)
    } catch (error) {
      t.equal((error as NodeJS.ErrnoException).code, 'EIO')
      lost += READ_BYTES
    }
  }
  closeSync(fd)
  return lost
}

function filesBelow(path: string, suffix: string): string[] {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith(suffix)).sort().map((name) => join(path, name))
}


t.test('mount points: a file, not empty, busy, without a parent', { skip }, async (t) => {
  const { lattice, mount } = await withVault(t)
  writeFileSync(lattice.path('file'), '')
  await refused(t, lattice, ['mount', lattice.path('file')], 'mountpoint-not-directory')
  await refused(t, lattice, ['mount', lattice.path('file/x')], 'mountpoint-not-directory')
  mkdirSync(lattice.path('full/x'), { recursive: true })
  await refused(t, lattice, ['mount', lattice.path('full')], 'mountpoint-not-empty')
  await refused(t, lattice, ['mount', lattice.path('no/parent')], 'mountpoint-missing')
  t.notOk(existsSync(lattice.path('no')))
  await refused(t, lattice, ['umount', lattice.path('full')], 'not-mounted')
  await refused(t, lattice, ['check', lattice.path('full')], 'vault-not-found')
  await refused(t, lattice, ['sync', mount], 'not-mounted')
  await lattice.mount(mount)
  await refused(t, lattice, ['mount', mount], 'mountpoint-busy')
  await refused(t, lattice, ['mount', join(mount, 'inside')], 'invalid')
  await refused(t, lattice, ['umount', join(mount, 'inside')], 'not-mounted')
  await refused(t, lattice, ['mount', '--frobnicate', mount], 'usage')
  await refused(t, lattice, ['mount'], 'usage')
  await refused(t, lattice, ['key', 'restore'], 'usage')
  await lattice.umount(mount)
  await gone(lattice)
  await intact(t, lattice, mount)
  const { vaults } = await lattice.json<{ vaults: unknown[] }>('status')
  t.equal(vaults.length, 1, 'what was refused has left no vault behind')
})

t.test('a mount point that another file system is mounted on', { skip: rootOnly }, async (t) => {
  const lattice = await Instance.create(t)
  const busy = lattice.path('busy')
  mkdirSync(busy)
  t.equal(spawnSync('mount', ['-t', 'tmpfs', 'none', busy]).status, 0)
  t.teardown(() => spawnSync('umount', [busy]))
  await refused(t, lattice, ['mount', busy], 'mountpoint-busy')
  await refused(t, lattice, ['umount', busy], 'not-mounted')
  spawnSync('umount', [busy])
})

t.test('passphrases: missing, wrong, empty, in a file that is not there', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  writeFileSync(lattice.path('right'), 'right')
  writeFileSync(lattice.path('wrong'), 'wrong')
  writeFileSync(lattice.path('empty'), '\n')
  const mount = await lattice.mount(undefined, '--passphrase-file', lattice.path('right'))
  writeFileSync(join(mount, 'f'), 'kept')
  await lattice.umount()
  await gone(lattice)
  const given = (name: string) => ['mount', mount, '--passphrase-file', lattice.path(name)]
  await refused(t, lattice, ['mount', mount], 'passphrase-needed')
  await refused(t, lattice, given('wrong'), 'wrong-passphrase')
  await refused(t, lattice, given('empty'), 'empty-passphrase')
  await refused(t, lattice, given('nowhere'), 'not-found')
  await refused(t, lattice, ['key', 'recovery'], 'passphrase-needed')
  await lattice.ok(...given('right'))
  t.equal(readFileSync(join(mount, 'f'), 'utf8'), 'kept')
})

t.test('the key file: damaged, another version, open to others, missing', { skip }, async (t) => {
  const { lattice, mount } = await withVault(t)
  const keys = join(lattice.home, 'keys')
  const good = readFileSync(keys)
  const words = ['mount', mount]
  for (const offset of [0, 40, 70, good.length - 1]) {
    flip(keys, offset)
    await refused(t, lattice, words, 'damaged-keys')
    writeFileSync(keys, good)
  }
  writeFileSync(keys, good.subarray(0, 50))
  await refused(t, lattice, words, 'damaged-keys')
  writeFileSync(keys, good)
  flip(keys, 4)
  await refused(t, lattice, words, 'unknown-format')
  writeFileSync(keys, good)
  chmodSync(keys, 0o644)
  await refused(t, lattice, words, 'denied')
  chmodSync(keys, 0o600)
  renameSync(keys, `${keys}.away`)
  await refused(t, lattice, words, 'missing-key')
  await refused(t, lattice, ['mount', lattice.path('another')], 'missing-key')
  t.notOk(existsSync(keys), 'no new key file takes its place')
  renameSync(`${keys}.away`, keys)
  await intact(t, lattice, mount)
})

t.test('config.toml and the format of the state', { skip }, async (t) => {
  const { lattice, mount, state } = await withVault(t)
  const config = join(lattice.home, 'config.toml')
  const good = readFileSync(config, 'utf8')
  writeFileSync(config, good.replace('version = 1', 'version = 7'))
  await refused(t, lattice, ['mount', mount], 'unknown-format')
  writeFileSync(config, `${good}[broken`)
  await refused(t, lattice, ['mount', mount], 'damaged-config')
  await refused(t, lattice, ['status'], 'damaged-config')
  writeFileSync(config, good)

  const format = join(state, 'format')
  const text = readFileSync(format, 'utf8')
  writeFileSync(format, text.replace('state 0', 'state 8'))
  await refused(t, lattice, ['mount', mount], 'unknown-format')
  writeFileSync(format, 'something else')
  await refused(t, lattice, ['mount', mount], 'corrupt')
  writeFileSync(format, text)
  renameSync(state, `${state}-away`)
  await refused(t, lattice, ['mount', mount], 'vault-not-found')
  t.notOk(existsSync(state), 'nothing is made in its place')
  renameSync(`${state}-away`, state)
  await intact(t, lattice, mount)
})

t.test('the journal: damage before its end is reported, never skipped', { skip }, async (t) => {
  const { lattice, mount, state } = await withVault(t)
  const [journal = ''] = filesBelow(join(state, 'journal'), '00000000.journal').length > 0
    ? filesBelow(join(state, 'journal'), '00000000.journal')
    : filesBelow(join(state, 'journal'), '.journal')
  const good = readFileSync(journal)
  flip(journal, 4096 + 60, 64)
  rmSync(join(state, 'index'), { recursive: true })
  await refused(t, lattice, ['mount', mount], 'damaged-journal')
  const check = await lattice.run('check', mount, '--json')
  t.equal(check.code, 26, 'check says so too')
  t.match(check.stdout, /damaged-journal/)
  writeFileSync(journal, good)
  await intact(t, lattice, mount)
})

t.test('a pack: damage is an error of what it holds, and check finds it', { skip }, async (t) => {
  const { lattice, mount, state } = await withVault(t)
  const packs = filesBelow(join(state, 'packs'), '.pack')
  const largest = packs.reduce((a, b) => (statSync(a).size >= statSync(b).size ? a : b))
  const good = readFileSync(largest)
  flip(largest, 4096 + 100_000, 16)
  await lattice.mount(mount)
  t.equal(readFileSync(join(mount, 'small'), 'utf8'), 'a small file', 'the rest still reads')
  t.throws(() => readFileSync(join(mount, 'large')), { code: 'EIO' })
  const lost = unreadable(t, join(mount, 'large'))
  t.ok(lost > 0 && lost <= READ_BYTES * 3, `${lost} of ${LARGE.length} bytes cannot be read`)
  await lattice.umount(mount)
  await gone(lattice)
  const check = await lattice.run('check', '--read-data', mount, '--json')
  t.equal(check.code, 26)
  t.match(check.stdout, /damaged-pack|unauthentic|bundle-seal/)
  renameSync(largest, `${largest}.away`)
  const missing = await lattice.run('check', mount, '--json')
  t.equal(missing.code, 26, missing.stderr)
  renameSync(`${largest}.away`, largest)
  writeFileSync(largest, good)
  await intact(t, lattice, mount)
})

t.test('the index: missing or damaged, it is made anew', { skip }, async (t) => {
  const { lattice, mount, state } = await withVault(t)
  const index = join(state, 'index')
  rmSync(index, { recursive: true })
  await intact(t, lattice, mount)
  cpSync(index, `${index}-good`, { recursive: true })
  writeFileSync(join(index, 'data.mdb'), 'not a database')
  await intact(t, lattice, mount)
  t.equal((await lattice.run('check', mount)).code, 0)
})

t.test('a second daemon on the same vault', { skip }, async (t) => {
  const { lattice, mount, state } = await withVault(t)
  const holder = spawn('flock', ['-n', join(state, 'lock'), 'sleep', '600'], { stdio: 'ignore' })
  t.teardown(() => holder.kill('SIGKILL'))
  await new Promise((resolve) => setTimeout(resolve, 300))
  await refused(t, lattice, ['mount', mount], 'locked')
  spawnSync('pkill', ['-KILL', '-P', String(holder.pid)])
  holder.kill('SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, 300))

  const other = await Instance.create(t)
  for (const name of ['config.toml', 'keys']) {
    cpSync(join(lattice.home, name), join(other.home, name))
  }
  const config = readFileSync(join(lattice.home, 'config.toml'), 'utf8')
  const moved = config.replaceAll(mount, other.path('mount'))
  writeFileSync(join(other.home, 'config.toml'), moved)
  symlinkSync(join(lattice.home, 'state'), join(other.home, 'state'))
  await lattice.mount(mount)
  const shown = await refused(t, other, ['mount', other.path('mount')], 'locked')
  t.match(shown.message, new RegExp(`process ${lattice.daemonPid()}`))
  await lattice.umount(mount)
  await gone(lattice)
  await intact(t, lattice, mount)
})

/** Runs the command line in a mount namespace of its own, prepared by a script. */
function inNamespace(lattice: Instance, prepare: string, words: string[], user?: number) {
  const command = latticeCommand().map((word) => `'${word}'`).join(' ')
  const as = user === undefined ? '' : `setpriv --reuid=${user} --regid=${user} --clear-groups `
  const line = words.map((word) => `'${word}'`).join(' ')
  const script = `set -e; ${prepare}; exec ${as}${command} ${line}`
  return lattice.program(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script], '/')
}

t.test('no /dev/fuse, no fusermount3, no permission', { skip: rootOnly }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = lattice.path('mount')
  const words = ['mount', '--foreground', mount, '--json']
  const shown = async (prepare: string, user?: number): Promise<Shown> => {
    const { code, stderr } = await inNamespace(lattice, prepare, words, user)
    const line = stderr.trim().split('\n').find((text) => text.startsWith('{"error"')) ?? '{}'
    const { error } = JSON.parse(line) as { error?: Shown }
    t.equal(code, error?.exitCode, `${stderr}`)
    t.ok(error?.hint, 'a hint')
    return error ?? { reason: '', message: '', exitCode: -1 }
  }
  const dev = lattice.path('dev')
  const withoutFuse = `mkdir -p ${dev}; for n in null zero full random urandom tty;
    do touch ${dev}/$n; mount --bind /dev/$n ${dev}/$n; done; mount --rbind ${dev} /dev`
  t.match(await shown(withoutFuse), { reason: 'no-fuse', exitCode: 8 })

  const user = 54321
  spawnSync('chown', ['-R', `${user}:${user}`, lattice.root])
  spawnSync('chmod', ['711', lattice.root])
  t.match(await shown(':', user), { reason: 'no-fuse' }, 'a device that this user may not open')
  const device = lattice.path('fuse')
  spawnSync('mknod', ['-m', '666', device, 'c', '10', '229'])
  const open = `mount --bind ${device} /dev/fuse`
  const helper = spawnSync('sh', ['-c', 'command -v fusermount3']).stdout.toString().trim()
  const noHelper = `${open}; mkdir -p ${dev}2/bin; mount --bind /dev/null ${helper} `
  t.match(await shown(noHelper, user), { reason: /no-fusermount|denied/ })
  mkdirSync(lattice.path('locked/inner'), { recursive: true })
  chmodSync(lattice.path('locked'), 0o700)
  spawnSync('chown', ['-R', '0:0', lattice.path('locked')])
  words[2] = lattice.path('locked/inner')
  t.match(await shown(open, user), { reason: 'denied', exitCode: 13 })
  words[2] = lattice.path('locked')
  t.match(await shown(open, user), { reason: 'denied', exitCode: 13 })
})

t.test('an ordinary user mounts through fusermount3', { skip: rootOnly }, async (t) => {
  const lattice = await Instance.create(t)
  const user = 65534 // nobody: fusermount3 asks for a name
  spawnSync('chown', ['-R', `${user}:${user}`, lattice.root])
  spawnSync('chmod', ['711', lattice.root])
  const device = lattice.path('fuse')
  spawnSync('mknod', ['-m', '666', device, 'c', '10', '229'])
  const mount = lattice.path('mount')
  const command = latticeCommand().join(' ')
  const script = `set -e; mount --bind ${device} /dev/fuse
    exec setpriv --reuid=${user} --regid=${user} --clear-groups sh -ec '
      ${command} mount ${mount}; echo mine > ${mount}/file; cat ${mount}/file; id -u
      stat -c %u ${mount}/file; ${command} umount ${mount}'`
  const unshare = ['unshare', '-m', '--propagation', 'private']
  const ran = await lattice.program([...unshare, 'sh', '-c', script], '/')
  t.equal(ran.code, 0, ran.stderr)
  t.match(ran.stdout, /mine\n65534\n65534\nunmounted/)
  await gone(lattice)
})

t.test('a full disk: refused in time, nothing lost', { skip: rootOnly }, async (t) => {
  const lattice = await Instance.create(t)
  const disk = lattice.path('disk')
  mkdirSync(disk)
  t.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'none', disk]).status, 0)
  t.teardown(async () => {
    await lattice.destroy()
    spawnSync('umount', ['-l', disk])
  })
  const home = join(disk, 'home')
  mkdirSync(home, { mode: 0o700 })
  lattice.env['LATTICE_HOME'] = home
  const mount = await lattice.mount()
  writeFileSync(join(mount, 'before'), 'there before')
  await lattice.sh('sync before')
  const dd = await lattice.program(
    ['dd', 'if=/dev/urandom', `of=${join(mount, 'big')}`, 'bs=1M', 'count=600', 'conv=fsync'], '/',
  )
  t.not(dd.code, 0)
  t.match(dd.stderr, /No space left on device/)
  t.equal(readFileSync(join(mount, 'before'), 'utf8'), 'there before')
  await lattice.sh('rm big')
  await lattice.run('umount', '--lazy', mount)
  const pid = Number(/\d+/.exec(readFileSync(join(home, 'lock'), 'utf8'))?.[0])
  await untilGone(pid)
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'before'), 'utf8'), 'there before')
  await lattice.umount()
  await untilGone(Number(/\d+/.exec(readFileSync(join(home, 'lock'), 'utf8'))?.[0]))

  spawnSync('sh', ['-c', `head -c 500M /dev/zero > ${disk}/fill`])
  const other = await lattice.run('mount', lattice.path('other'), '--json')
  t.equal(other.code, exitCodeOf('disk-full'), other.stderr)
  rmSync(join(disk, 'fill'))
  await lattice.mount()
  t.equal(readFileSync(join(mount, 'before'), 'utf8'), 'there before')
  await lattice.umount()
  await untilGone(Number(/\d+/.exec(readFileSync(join(home, 'lock'), 'utf8'))?.[0]))
})

t.test('a terminal is asked, twice at creation; the phrase is shown once', { skip }, async (t) => {
  const lattice = await Instance.create(t)
  const mount = lattice.path('mount')
  const argv = [...latticeCommand(), 'mount', mount].map((word) => `'${word}'`).join(' ')
  const said = await typedAtTerminal(lattice, `stty cols 100; ${argv}`, [
    { at: /New passphrase/, type: 'secret\r' },
    { at: /The same again/, type: 'secret\r' },
  ])
  t.match(said, /Recovery phrase of this vault/)
  t.notMatch(said, /secret/)
  await lattice.ok('umount', mount)
  await gone(lattice)
  await refused(t, lattice, ['mount', mount], 'passphrase-needed')
})
