// scripts/bootstrap.sh and bin/lattice: what is missing is said with the way out and exit code 69,
// each step runs when its inputs changed and only then, stdout stays empty, and two set-ups at once
// do the work once. The project is small: real tsc, an addon of one line, an npm that only notes
// that it was called (the real one would need the registry).
import t from 'tap'
import { spawn } from 'node:child_process'
import {
  chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { checkout, Project, type Run } from './project.helper.ts'

const copies = ['scripts/bootstrap.sh', 'scripts/is-installed.mjs', 'bin/lattice']
copies.push('package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json')
const tools = ['sh', 'dirname', 'readlink', 'cmp', 'find', 'uname', 'id', 'env', 'rm', 'cp', 'mv',
  'mkdir', 'ls', 'flock', 'sleep']

const main = `// Prints how it was called.
const { argv, env } = process
console.log(JSON.stringify([argv.slice(2), process.cwd(), env['INIT_CWD'] ?? null]))
`
const fakeNpm = `#!/bin/sh
# Notes the call; slow enough for a second set-up to start meanwhile.
echo "$*" >> npm-calls
sleep 0.5
`

interface Setup {
  readonly project: Project
  readonly env: NodeJS.ProcessEnv
  readonly run: () => Run
}

function setUp(t: { teardown(f: () => void): unknown }): Setup {
  const project = new Project(copies, false)
  t.teardown(() => project.remove())
  chmodSync(project.root, 0o755)
  mkdirSync(join(project.root, 'tools'))
  mkdirSync(join(project.root, 'node_modules/@types'), { recursive: true })
  for (const name of ['typescript', '@types/node', 'undici-types']) {
    symlinkSync(join(checkout, 'node_modules', name), join(project.root, 'node_modules', name))
  }
  project.write('native/build.sh', ': > native/build/lattice.node\n')
  project.write('native/addon.cc', '// one line\n')
  project.write('src/cli/main.ts', main)
  project.write('src/util/other.ts', 'export const other: number = 1\n')
  project.write('tools/npm', fakeNpm)
  project.write('tools/fusermount3', '#!/bin/sh\n')
  project.write('tools/c++', '#!/bin/sh\n')
  for (const name of ['npm', 'fusermount3', 'c++']) {
    chmodSync(join(project.root, 'tools', name), 0o755)
  }
  symlinkSync(process.execPath, join(project.root, 'tools/node'))
  for (const name of tools) {
    const at = ['/usr/bin', '/bin'].map((dir) => join(dir, name)).find((path) => existsSync(path))
    if (at) symlinkSync(at, join(project.root, 'tools', name))
  }
  const env = { PATH: join(project.root, 'tools'), HOME: project.root, INIT_CWD: '/elsewhere' }
  return { project, env, run: () => project.run('sh', ['scripts/bootstrap.sh'], env) }
}

const hasSystemParts = existsSync('/usr/include/stdio.h') &&
  ['x86_64', 'aarch64'].some((cpu) => existsSync(`/usr/lib/${cpu}-linux-gnu/libatomic.so.1`))
const skip = hasSystemParts ? false : 'needs libc6-dev and libatomic1'

t.test('the oldest Node is the one of package.json', (t) => {
  const script = readFileSync(join(checkout, 'scripts/bootstrap.sh'), 'utf8')
  const { engines } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
    engines: { node: string }
  }
  t.equal(`>=${/^nodeMin=([\d.]+)/m.exec(script)?.[1]}`, engines.node)
  t.end()
})

t.test('an old Node, or none', (t) => {
  const { project, run } = setUp(t)
  rmSync(join(project.root, 'tools/node'))
  t.match(run(), { code: 69, stdout: '', stderr: /error: Node\.js is not installed\n.*hint: / })
  for (const version of ['18.20.4', '20.18.9', '9.99.0']) {
    project.write('tools/node', `#!/bin/sh\necho v${version}\n`)
    chmodSync(join(project.root, 'tools/node'), 0o755)
    t.match(run(), { code: 69, stdout: '', stderr: `Node.js ${version} is too old` }, version)
  }
  t.end()
})

t.test('missing Debian packages, and nobody to install them', { skip }, (t) => {
  const { project, run, env } = setUp(t)
  rmSync(join(project.root, 'tools/fusermount3'))
  rmSync(join(project.root, 'tools/c++'))
  t.match(run(), { code: 69, stdout: '', stderr: 'these are missing: fuse3 g++' }, 'no apt-get')
  const canTry = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
  t.test('an ordinary user is told the one command', {
    skip: canTry ? false : 'needs root and apt-get',
  }, (t) => {
    symlinkSync('/usr/bin/apt-get', join(project.root, 'tools/apt-get'))
    const script = 'cd "$1" && exec sh scripts/bootstrap.sh'
    const told = project.run('/usr/bin/setpriv', [
      '--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c', script, 'sh', project.root,
    ], env)
    t.match(told, { code: 69, stdout: '' })
    t.match(told.stderr, 'run: su -c \'apt-get update && apt-get install -y ' +
      '--no-install-recommends fuse3 g++\'\n')
    t.end()
  })
  t.end()
})

t.test('each step runs when its inputs changed, and only then', { skip }, (t) => {
  const { project, run } = setUp(t)
  const at = (path: string) => join(project.root, path)
  const steps = ({ code, stdout, stderr }: Run) => {
    t.same({ code, stdout }, { code: 0, stdout: '' })
    const said = stderr.split('\n')
    return ['npm', 'addon', 'TypeScript'].filter((word) => said.some((line) => line.includes(word)))
  }
  const calls = () => readFileSync(at('npm-calls'), 'utf8').trim().split('\n').length

  t.same(steps(run()), ['npm', 'addon', 'TypeScript'], 'the first time')
  t.match(readFileSync(at('npm-calls'), 'utf8'), /^ci .*--ignore-scripts/)
  const silent = run()
  t.same(silent, { code: 0, stdout: '', stderr: '' }, 'the second time')

  project.write('src/util/other.ts', 'export const other: number = 2\n')
  t.same(steps(run()), ['TypeScript'], 'a source changed')
  t.match(readFileSync(at('dist/util/other.js'), 'utf8'), 'other = 2')
  rmSync(at('src/util/other.ts'))
  t.same(steps(run()), ['TypeScript'], 'a source is gone')
  t.notOk(existsSync(at('dist/util/other.js')), 'and so is what was built from it')
  project.write('native/addon.cc', '// another line\n')
  t.same(steps(run()), ['addon'], 'a native source changed')
  rmSync(at('native/build'), { recursive: true })
  t.same(steps(run()), ['addon'], 'the addon is gone')
  project.write('package-lock.json', '{}\n')
  t.same(steps(run()), ['npm'], 'the lock changed')
  t.equal(calls(), 2)
  const lock = (version: string) => JSON.stringify({ packages: { 'node_modules/x': { version } } })
  project.write('node_modules/.package-lock.json', lock('1.0.0'))
  project.write('package-lock.json', lock('1.0.0'))
  t.same(run(), { code: 0, stdout: '', stderr: '' }, 'npm has been called by hand')
  t.equal(calls(), 2)
  project.write('package-lock.json', lock('1.0.1'))
  t.same(steps(run()), ['npm'], 'another version is wanted')
  utimesSync(at('package-lock.json'), new Date(), new Date())
  t.same(run(), { code: 0, stdout: '', stderr: '' }, 'a touched lock has not changed')

  project.write('src/cli/main.ts', 'const = broken\n')
  const before = statSync(at('dist/cli/main.js')).ino
  t.match(run(), { code: 1, stdout: '', stderr: 'TypeScript could not be compiled' })
  t.equal(statSync(at('dist/cli/main.js')).ino, before, 'what was built before is still there')
  t.match(run(), { code: 1 }, 'and it is tried again')
  t.end()
})

t.test('two set-ups at once do the work once', { skip }, async (t) => {
  const { project, env } = setUp(t)
  const start = () => new Promise<number | null>((done) => {
    const argv = ['scripts/bootstrap.sh']
    spawn('/bin/sh', argv, { cwd: project.root, env, stdio: 'ignore' }).on('close', done)
  })
  t.same(await Promise.all([start(), start(), start()]), [0, 0, 0])
  t.equal(readFileSync(join(project.root, 'npm-calls'), 'utf8').trim().split('\n').length, 1)
  t.ok(existsSync(join(project.root, 'dist/cli/main.js')))
})

t.test('the launcher: by symlink, from anywhere, nothing else on stdout', { skip }, (t) => {
  const { project, env } = setUp(t)
  symlinkSync('../bin/lattice', join(project.root, 'tools/link'))
  symlinkSync('link', join(project.root, 'tools/lattice'))
  for (const attempt of ['with the set-up', 'without']) {
    const { code, stdout, stderr } = project.run('/bin/sh', [
      '-c', 'cd /usr && exec lattice status "a b" --json',
    ], env)
    t.equal(code, 0, stderr)
    t.same(JSON.parse(stdout), [['status', 'a b', '--json'], '/usr', null], attempt)
  }
  t.end()
})
