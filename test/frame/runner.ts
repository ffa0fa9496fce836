// scripts/run-tests.mjs: what fails is counted as failed, whatever way it fails, the rest goes on,
// and the last line tells. Each case is a real test file in a small project of its own.
import t from 'tap'
import { existsSync, readFileSync } from 'node:fs'
import { Project } from './project.helper.ts'

const copies = ['run-tests', 'tap-reader', 'leaks'].map((name) => `scripts/${name}.mjs`)
copies.push('package.json', 'tsconfig.json')

interface Outcome {
  readonly code: number | null
  readonly passed: number
  readonly failed: number
  readonly output: string
}

function runTests(project: Project, ...words: string[]): Outcome {
  const { code, stdout, stderr } = project.run(
    process.execPath, ['scripts/run-tests.mjs', ...words],
  )
  const last = /\n(\d+) passed, (\d+) failed\n$/.exec(stdout)
  if (!last) throw new Error(`no last line: ${stdout}${stderr}`)
  return { code, passed: Number(last[1]), failed: Number(last[2]), output: stdout }
}

type HasTeardown = { teardown(f: () => void): unknown }

function projectWith(t: HasTeardown, files: Record<string, string>): Project {
  const project = new Project(copies)
  t.teardown(() => project.remove())
  for (const [path, text] of Object.entries(files)) {
    project.write(path, `import t from 'tap'\n${text}\n`)
  }
  return project
}

t.test('counts leaves, lists skips with their reasons, and leaves helpers alone', (t) => {
  const project = projectWith(t, {
    'test/a/one.ts': `
      t.test('outer', async (t) => {
        t.pass('a')
        await t.test('in', (t) => { t.pass('b'); t.end() })
      })
      t.test('later', { skip: 'no such device' }, () => {})
      t.pass('c')`,
    'test/a/two.ts': "t.plan(0, 'not on this system')",
    'test/support/helper.ts': 't.fail()',
    'test/a/x.helper.ts': 't.fail()',
    'test/vectors/x.ts': 't.fail()',
    'test/fixtures/0/x.ts': 't.fail()',
  })
  const { code, passed, failed, output } = runTests(project, 'test/')
  t.same({ code, passed, failed }, { code: 0, passed: 3, failed: 0 })
  t.match(output, /skipped: later \(no such device\)/)
  t.match(output, /skipped: the whole file \(not on this system\)/)
  t.match(output, /2 skipped/)
  t.end()
})

t.test('each way to fail counts, and says which file and why', (t) => {
  const project = projectWith(t, {
    'test/assertion.ts': "t.equal(1, 2, 'one is two'); t.pass('but this')",
    'test/nested.ts': "t.test('outer', (t) => { t.ok(false, 'deep'); t.end() })",
    'test/plan.ts': "t.test('short', (t) => { t.plan(2); t.pass('one'); t.end() })",
    'test/throws.ts': "throw new Error('at the top')",
    'test/bail.ts': "t.bailout('enough')",
    'test/exit.ts': "t.pass('fine'); t.end(); process.on('exit', () => { process.exitCode = 7 })",
    'test/killed.ts': "t.pass('fine'); process.kill(process.pid, 'SIGKILL')",
    'test/silent.ts': 'export {}',
    'test/nothing.ts': "t.test('empty', (t) => t.end())",
    'test/syntax.ts': 'const = 1',
  })
  const { code, passed, failed, output } = runTests(project, 'test/')
  t.same({ code, passed, failed }, { code: 1, passed: 4, failed: 11 }, 'nothing counts twice')
  for (const name of ['assertion', 'nested', 'plan', 'throws', 'bail', 'exit', 'killed',
    'silent', 'nothing', 'syntax']) {
    t.match(output, new RegExp(`FAIL test/${name}\\.ts`), name)
  }
  t.match(output, /failed: one is two/)
  t.match(output, /failed: outer > deep/)
  t.match(output, /failed: bailed out: enough/)
  t.match(output, /ended by SIGKILL/)
  t.match(output, /no assertion ran/)
  t.match(output, /exit code 7/)
  t.end()
})

t.test('a run of nothing fails', (t) => {
  const project = projectWith(t, { 'test/one.ts': 't.pass()' })
  const { code, passed, failed, output } = runTests(project, 'no-such-test')
  t.same({ code, passed, failed }, { code: 1, passed: 0, failed: 0 })
  t.match(output, /nothing to run: no-such-test/)
  t.end()
})

t.test('a file that hangs is ended, with the processes that it started', (t) => {
  const project = projectWith(t, {
    'test/hang.ts': `
      import { spawn } from 'node:child_process'
      import { writeFileSync } from 'node:fs'
      const child = spawn('sleep', ['300'], { detached: true, stdio: 'inherit' })
      writeFileSync('pid', String(child.pid))
      process.on('SIGTERM', () => {})
      setInterval(() => {}, 1000)
      t.test('never ends', () => new Promise(() => {}))`,
    'test/zz-after.ts': "t.pass('still runs')",
  })
  const path = 'test/hang.ts'
  const text = readFileSync(`${project.root}/${path}`, 'utf8')
  project.write(path, `// timeoutSeconds: 6\n${text}`)
  const { code, passed, output } = runTests(project, 'test/')
  t.equal(code, 1)
  t.equal(passed, 1)
  t.match(output, /FAIL test\/hang\.ts/)
  t.match(output, /ran longer than 6 s/)
  t.notOk(isAlive(Number(readFileSync(`${project.root}/pid`, 'utf8'))), 'its child is gone')
  t.end()
})

t.test('a daemon left behind is found, named and ended', (t) => {
  const project = projectWith(t, {
    'test/leak.ts': `
      import { spawn } from 'node:child_process'
      const daemon = 'setsid -f sh -c "echo \\$\\$ > pid; exec sleep 301"'
      spawn('sh', ['-c', daemon], { detached: true, stdio: 'ignore' }).unref()
      t.pass('fine')`,
  })
  const { code, passed, failed, output } = runTests(project, 'test/')
  t.same({ code, passed, failed }, { code: 1, passed: 1, failed: 1 })
  t.match(output, /left processes behind: .*sleep 301/)
  t.notOk(isAlive(Number(readFileSync(`${project.root}/pid`, 'utf8'))))
  t.end()
})

const canMount = process.getuid?.() === 0 && process.platform === 'linux'
t.test('a mount left behind is found and detached', {
  skip: canMount ? false : 'needs root to mount',
}, (t) => {
  const project = projectWith(t, {
    'test/mount.ts': `
      import { execFileSync } from 'node:child_process'
      import { mkdtempSync, writeFileSync } from 'node:fs'
      import { tmpdir } from 'node:os'
      const dir = mkdtempSync(tmpdir() + '/m-')
      execFileSync('mount', ['-t', 'tmpfs', 'none', dir])
      writeFileSync('dir', dir)
      t.pass('fine')`,
  })
  const { code, passed, failed, output } = runTests(project, 'test/')
  const dir = readFileSync(`${project.root}/dir`, 'utf8')
  t.same({ code, passed, failed }, { code: 1, passed: 1, failed: 1 })
  t.match(output, `left a mount behind: ${dir}`)
  t.notMatch(readFileSync('/proc/self/mounts', 'utf8'), dir)
  t.notOk(existsSync(dir), 'its temporary folder is removed')
  t.end()
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
