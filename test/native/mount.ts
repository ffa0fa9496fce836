// A real mount of the toy filesystem: the kernel, the native session and ordinary programs. Root
// only (mount(2) directly). The server is a child process: nobody who serves a mount may touch it.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, open, readFile, rm, rmdir, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { sessionAddon } from '../../src/fuse/addon.ts'

const exec = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SOURCES = join(ROOT, 'src')
const SERVER = fileURLToPath(new URL('support/mount-server.ts', import.meta.url))
const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync('/dev/fuse')
      ? 'needs /dev/fuse'
      : (false as const)

interface Mounted {
  dir: string
  server: ChildProcess
  /** Unmounts; what the server said at its end: session stats and table totals. */
  end: () => Promise<{ stats: number[]; totals: number[] }>
}

async function mounted(
  test: Test,
  dirtyBytesMax = 256 << 20,
  how: 'direct' | 'helper' = 'direct',
  mood: '' | 'stuck' = '',
): Promise<Mounted> {
  const dir = await mkdtemp(join(tmpdir(), 'lattice-native-'))
  const args = ['--import', 'tsx', SERVER, dir, `${dirtyBytesMax}`, how, mood]
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    server.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes('ready\n')) resolve()
    })
    server.once('close', () => reject(new Error('the server ended')))
  })
  test.teardown(async () => {
    await exec('umount', ['-f', '-l', dir]).catch(() => undefined)
    server.kill('SIGKILL')
    await closed
    await rmdir(dir)
  })
  await ready
  const end = async (): Promise<{ stats: number[]; totals: number[] }> => {
    await exec('umount', [dir])
    await closed
    const [stats, totals] = output.trim().split('\n').at(-1)!.split(' ')
    return { stats: JSON.parse(stats!) as number[], totals: JSON.parse(totals!) as number[] }
  }
  return { dir, server, end }
}

void t.test('programs work in it', { skip, timeout: 60_000 }, async (test) => {
  const { dir, end } = await mounted(test)
  const scratch = await mkdtemp(join(tmpdir(), 'lattice-scratch-'))
  test.teardown(async () => rm(scratch, { recursive: true }))
  const source = join(scratch, 'source')
  await writeFile(source, randomBytes(40 << 20))

  await exec('dd', [`if=${source}`, `of=${dir}/big`, 'bs=1M', 'conv=fsync'])
  await exec('cmp', [source, `${dir}/big`])
  await exec('dd', [`if=${dir}/big`, `of=${scratch}/direct`, 'bs=1M', 'iflag=direct'])
  await exec('cmp', [source, `${scratch}/direct`])
  await exec('dd', [`if=${source}`, `of=${dir}/direct`, 'bs=64k', 'oflag=direct'])
  await exec('cmp', [source, `${dir}/direct`])

  await truncate(join(dir, 'big'), 1000)
  test.equal((await stat(join(dir, 'big'))).size, 1000)
  test.same(await readFile(join(dir, 'big')), (await readFile(source)).subarray(0, 1000))
  await exec('sh', ['-c', `printf hello > ${dir}/a; printf ' world' >> ${dir}/a`])
  test.equal(await readFile(join(dir, 'a'), 'utf8'), 'hello world')
  await exec('sh', ['-c', `printf J | dd of=${dir}/a conv=notrunc bs=1 seek=0`])
  test.equal(await readFile(join(dir, 'a'), 'utf8'), 'Jello world')
  await exec('touch', ['-d', '2001-02-03 04:05:06 UTC', join(dir, 'a')])
  test.equal((await stat(join(dir, 'a'))).mtimeMs, Date.UTC(2001, 1, 3, 4, 5, 6))

  const kept = await open(join(dir, 'gone'), 'w+')
  await kept.write('still here')
  await rm(join(dir, 'gone'))
  test.notOk(existsSync(join(dir, 'gone')))
  test.equal((await kept.read(Buffer.alloc(20), 0, 20, 0)).bytesRead, 10)
  await kept.close()

  await exec('cp', ['-a', SOURCES, join(dir, 'tree')])
  await exec('diff', ['-r', SOURCES, join(dir, 'tree')])
  await exec('tar', ['-cf', join(dir, 'tree.tar'), '-C', dir, 'tree'])
  await rm(join(dir, 'tree'), { recursive: true })
  await exec('tar', ['-xf', join(dir, 'tree.tar'), '-C', dir])
  await exec('diff', ['-r', SOURCES, join(dir, 'tree')])
  test.equal(await sessionAddon().probeMount(dir), 0, 'alive')
  const { stats, totals } = await end()
  test.ok(stats[5]! > 20, `${stats[5]} writes landed`)
  test.equal(stats[7], 0, 'nothing was malformed')
  test.equal(totals[0], 0, 'nothing is left dirty')
})

const noPython = !existsSync('/usr/bin/python3') && 'needs python3 for the mapping'
const mapping = { skip: skip || noPython, timeout: 30_000 }
void t.test('a shared mapping, written after close', mapping, async (test) => {
  const { dir, end } = await mounted(test)
  const file = join(dir, 'mapped')
  await writeFile(file, Buffer.alloc(100_000, 1))
  const program =
    'import mmap,sys\nf=open(sys.argv[1],"r+b")\nm=mmap.mmap(f.fileno(),0)\nf.close()\n' +
    'm[50000:50005]=b"mmap!"\nm.flush()\nm[0:1]=b"Z"\nm.close()\n'
  await exec('python3', ['-c', program, file])
  const bytes = await readFile(file)
  test.equal(bytes.toString('latin1', 50_000, 50_005), 'mmap!')
  test.equal(bytes[0], 'Z'.charCodeAt(0))
  await end()
})

void t.test('a small dirty limit loses nothing', { skip, timeout: 60_000 }, async (test) => {
  const { dir, end } = await mounted(test, 2 << 20)
  const scratch = await mkdtemp(join(tmpdir(), 'lattice-scratch-'))
  test.teardown(async () => rm(scratch, { recursive: true }))
  const source = join(scratch, 'source')
  await writeFile(source, randomBytes(24 << 20))
  await Promise.all(['a', 'b', 'c'].map((name) => exec('cp', [source, join(dir, name)])))
  for (const name of ['a', 'b', 'c']) await exec('cmp', [source, join(dir, name)])
  await end()
})

// Python's own calls go on after EINTR by themselves: the C library's say what the kernel said.
const WRITER = `
import ctypes, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
fd = libc.open(sys.argv[1].encode(), 0o1101, 0o644)
for i in range(24):
    if libc.write(fd, bytes(1 << 20), 1 << 20) != 1 << 20:
        sys.exit(f'errno {ctypes.get_errno()}')
signal.setitimer(signal.ITIMER_REAL, 0)
`
const signals = { skip: skip || noPython, timeout: 60_000 }
void t.test('a signal with a handler interrupts no waiting write', signals, async (test) => {
  const { dir, end } = await mounted(test, 2 << 20)
  await exec('python3', ['-c', WRITER, join(dir, 'a')])
  test.equal((await stat(join(dir, 'a'))).size, 24 << 20)
  await end()
})

void t.test('a fatal one ends a writer that waits', signals, async (test) => {
  const { dir } = await mounted(test, 2 << 20, 'direct', 'stuck')
  const fatal = ['SIGKILL', 'SIGTERM', 'SIGQUIT'] as const
  const writers = fatal.map((_, i) => {
    const args = ['-c', WRITER, join(dir, `${i}`)]
    return spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  })
  test.teardown(() => writers.forEach((writer) => writer.kill('SIGKILL')))
  await new Promise((resolve) => setTimeout(resolve, 1500))
  test.same(writers.map((writer) => writer.exitCode), [null, null, null], 'they wait')
  for (const [i, signal] of fatal.entries()) {
    const begun = Date.now()
    const ended = new Promise((resolve) => writers[i]!.once('exit', (_, by) => resolve(by)))
    writers[i]!.kill(signal)
    test.equal(await ended, signal)
    test.ok(Date.now() - begun < 2000, `${signal}: after ${Date.now() - begun} ms`)
  }
})

const noHelper = !existsSync('/usr/bin/fusermount3') && 'needs fusermount3'
void t.test('through fusermount3', { skip: skip || noHelper, timeout: 30_000 }, async (test) => {
  const { dir, end } = await mounted(test, 256 << 20, 'helper')
  await writeFile(join(dir, 'a'), 'hello')
  test.equal(await readFile(join(dir, 'a'), 'utf8'), 'hello')
  await end()
})

// The device is for root alone on some systems: an ordinary user gets a copy that everybody may
// open, bound over it in a mount namespace of its own.
void t.test('as an ordinary user', { skip: skip || noHelper, timeout: 30_000 }, async (test) => {
  const scratch = await mkdtemp(join(tmpdir(), 'lattice-user-'))
  test.teardown(async () => rm(scratch, { recursive: true, force: true }))
  const serve = `node --import tsx ${SERVER} "$S/m" 268435456 helper > "$S/out" 2>&1`
  const until = 'for i in $(seq 100); do grep -q ready "$S/out" && break; sleep 0.1; done'
  const use = 'echo hello > "$S/m/a"; cat "$S/m/a"; fusermount3 -u "$S/m"; wait; tail "$S/out"'
  const asUser = `(${serve}) & ${until}; ${use}`
  const asRoot = `mknod "$S/fuse" c 10 229; chmod 666 "$S/fuse"; mount --bind "$S/fuse" /dev/fuse;
    mkdir "$S/m"; chmod 777 "$S"; chown 65534 "$S/m";
    exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '${asUser}'`
  const env = { ...process.env, S: scratch, HOME: scratch, TSX_DISABLE_CACHE: '1' }
  const { stdout } = await exec('unshare', ['-m', 'sh', '-c', asRoot], { env, cwd: ROOT })
  test.match(stdout, /^hello\n/)
  test.match(stdout, /ready/)
})

void t.test('a closed session lets the mount go', { skip, timeout: 30_000 }, async (test) => {
  const { dir, server } = await mounted(test)
  await writeFile(join(dir, 'a'), 'x')
  server.kill('SIGTERM')
  await new Promise((resolve) => server.once('close', resolve))
  test.equal(server.signalCode, null, 'it ended by itself')
  test.equal(await sessionAddon().probeMount(dir), 107, 'ENOTCONN')
})

void t.test('a killed server leaves a dead mount', { skip, timeout: 30_000 }, async (test) => {
  const { dir, server } = await mounted(test)
  await writeFile(join(dir, 'a'), 'x')
  server.kill('SIGKILL')
  await new Promise((resolve) => server.once('close', resolve))
  test.equal(await sessionAddon().probeMount(dir), 107, 'ENOTCONN')
  sessionAddon().unmountDirect(dir, 2)
  test.equal(await sessionAddon().probeMount(dir), 0, 'the directory beneath')
  test.throws(() => sessionAddon().unmountDirect(dir, 0), { code: 'system' })
})

void t.test('errors of mounting are told', async (test) => {
  const addon = sessionAddon()
  const nowhere = '/nonexistent/lattice'
  test.throws(() => addon.mountDirect('x', nowhere, 'lattice', 0, ''), { code: 'system' })
  await test.rejects(addon.mountWithHelper('/nonexistent/lattice', 'nosuid'), {
    code: /no-helper|helper-failed/,
  })
  test.equal(addon.sdNotify('/nonexistent/socket', 'READY=1'), 2)
  test.equal(addon.sdNotify('relative', 'READY=1'), 22)
})
