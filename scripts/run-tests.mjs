// Runs the test suite: type check, lint, tidy, then every test file under test/ as a program of its
// own that prints TAP (half the CPU time of tap's own command). `run-tests.mjs [NAME…]` takes only
// checks and files whose name contains one of the words; JOBS=n sets how many run at once.
// A file fails when an assertion does, when it exits non-zero, prints no plan or bails out, runs
// longer than it may, or leaves a mount or a process behind. Skipped tests are listed with reasons.
// A test file may open with `// timeoutSeconds: 600` (default 300) and `// runAlone: true`.
// The last line is `N passed, N failed`: assertions, and 1 for a check or a fault of a whole file.
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, relative, resolve, sep } from 'node:path'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { killMarked, markedProcesses, mountsBelow, unmount } from './leaks.mjs'
import { TapReader } from './tap-reader.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const defaultTimeoutSeconds = 300
const killGraceMs = 3000
const leakGraceMs = 2000
const stderrKeptBytes = 16 * 1024
// CI is to take less than 20 minutes on a quiet machine. On any machine it ends: what is not done
// by then fails by name, and the last line is printed.
const suiteEndsMs = performance.now() + (process.env.CI ? 55 * 60_000 : Infinity)
const jobs = Number(process.env.JOBS ?? Math.max(2, Math.min(4, availableParallelism())))

// ---- what there is to run ----

const tool = (path) => join(root, 'node_modules', path)
const checks = [
  { name: 'types', argv: [tool('typescript/bin/tsc'), '-p', 'tsconfig.json', '--noEmit'] },
  { name: 'lint', argv: [tool('oxlint/bin/oxlint'), '--type-aware', 'src', 'test', 'bench'] },
  { name: 'tidy', argv: ['scripts/tidy.mjs'] },
]

function findTests(folder) {
  const found = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (!['vectors', 'fixtures', 'support'].includes(entry.name)) found.push(...findTests(path))
    } else if (entry.name.endsWith('.ts') && !/\.(helper|d)\.ts$/.test(entry.name)) {
      found.push(path)
    }
  }
  return found.sort()
}

function describeTest(path) {
  const head = readFileSync(path, 'utf8').slice(0, 4096)
  const name = relative(root, path)
  const timeout = /^\/\/ timeoutSeconds: (\d+)$/m.exec(head)
  const alone = ['mount', 'peers'].includes(name.split(sep)[1] ?? '')
  return {
    name,
    timeoutSeconds: Number(timeout?.[1] ?? defaultTimeoutSeconds),
    runAlone: alone || /^\/\/ runAlone: true$/m.test(head),
  }
}

// ---- one test file ----

const running = new Set() // marks of the files that run now, for an interrupt

async function runFile(test) {
  const leftSeconds = Math.floor((suiteEndsMs - performance.now()) / 1000)
  test.timeoutSeconds = Math.min(test.timeoutSeconds, leftSeconds)
  if (leftSeconds <= 0) {
    console.log(`FAIL ${test.name}: not run, the time of the whole suite is over`)
    return { passed: 0, failed: [], problems: ['not run'], skipped: [] }
  }
  const temp = mkdtempSync(join(tmpdir(), 'lt-')) // short: unix sockets have 108 bytes for a path
  chmodSync(temp, 0o1777) // as /tmp is: some tests try things as another user
  const mark = `LATTICE_TEST_MARK=${temp}`
  const reader = new TapReader()
  running.add(mark)
  const startMs = performance.now()
  const { code, signal, timedOut, stderr } = await runProgram(test, temp, mark, reader)
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  const result = reader.end()
  if (timedOut) result.problems.push(`ran longer than ${test.timeoutSeconds} s and was ended`)
  else if (signal) result.problems.push(`ended by ${signal}`)
  else if (code !== 0 && result.failed.length + result.problems.length === 0) {
    result.problems.push(`exit code ${code}`)
  }
  if (code === 0 && result.failed.length > 0) result.problems.push('exit code 0 despite failures')
  await findLeaks(temp, mark, timedOut, result.problems)
  running.delete(mark)
  rmSync(temp, { recursive: true, force: true, maxRetries: 3 })
  reportFile(test, seconds, result, stderr)
  return result
}

function runProgram(test, temp, mark, reader) {
  return new Promise((done) => {
    const [key, value] = mark.split('=')
    const env = { ...process.env, [key]: value, TMPDIR: temp }
    env.TAP_TIMEOUT = String(test.timeoutSeconds) // of each test inside; tap's own default is 30 s
    delete env.INIT_CWD
    const child = spawn(process.execPath, ['--import', 'tsx', test.name], {
      cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stderr = ''
    let timedOut = false
    let killTimer
    child.stdout.setEncoding('utf8').on('data', (text) => reader.write(text))
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr = (stderr + text).slice(-stderrKeptBytes)
    })
    const timer = setTimeout(() => {
      timedOut = true
      signalGroup(child.pid, 'SIGTERM') // tap says what it waits for; teardowns may run
      killTimer = setTimeout(() => {
        signalGroup(child.pid, 'SIGKILL')
        killMarked(mark) // whoever left the group, yet holds the pipe
      }, killGraceMs)
    }, test.timeoutSeconds * 1000)
    // a process left behind may hold the pipes open: do not wait for it longer than for a leak
    child.on('exit', () => setTimeout(() => {
      child.stdout.destroy()
      child.stderr.destroy()
    }, leakGraceMs).unref())
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      clearTimeout(killTimer)
      done({ code, signal, timedOut, stderr })
    })
  })
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

async function findLeaks(temp, mark, timedOut, problems) {
  // None twice in a row: a process that forks and exits during a look is seen by the next one.
  const untilMs = performance.now() + leakGraceMs
  let processes = markedProcesses(mark)
  for (let empty = 0; empty < 2 && performance.now() < untilMs;) {
    await new Promise((done) => setTimeout(done, 20))
    processes = markedProcesses(mark)
    empty = processes.length === 0 ? empty + 1 : 0
  }
  if (processes.length > 0) {
    const names = processes.map(({ pid, command }) => `${pid} (${command})`).join(', ')
    if (!timedOut) problems.push(`left processes behind: ${names}`)
    killMarked(mark)
  }
  // Only below the file's own folder: other mounts of this machine are its users'.
  for (const mount of mountsBelow(temp)) {
    problems.push(`left a mount behind: ${mount}`)
    unmount(mount)
  }
}

function reportFile(test, seconds, result, stderr) {
  const good = result.failed.length === 0 && result.problems.length === 0
  const skips = result.skipped.length > 0 ? `, ${result.skipped.length} skipped` : ''
  const verdict = good ? 'ok  ' : 'FAIL'
  console.log(`${verdict} ${test.name}: ${result.passed} passed${skips}, ${seconds} s`)
  for (const { name, detail } of result.failed) {
    console.log(`     failed: ${name}`)
    if (detail) console.log(indent(detail))
  }
  for (const problem of result.problems) console.log(`     failed: ${problem}`)
  for (const { name, reason } of result.skipped) console.log(`     skipped: ${name} (${reason})`)
  if (good) return
  if (result.other) console.log(indent(`output besides TAP:\n${result.other}`))
  if (stderr.trim()) console.log(indent(`stderr:\n${stderr.trimEnd()}`))
}

const indent = (text) => text.trimEnd().split('\n').map((line) => `       ${line}`).join('\n')

// ---- checks, and everything together ----

function runCheck(check) {
  return new Promise((done) => {
    const startMs = performance.now()
    let output = ''
    const child = spawn(process.execPath, check.argv, {
      cwd: root, stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { output += text })
    }
    child.on('close', (code) => {
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
      console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${check.name}: ${seconds} s`)
      if (code !== 0) console.log(indent(output))
      const problems = code === 0 ? [] : [`${check.name} exits with ${code}`]
      done({ passed: code === 0 ? 1 : 0, failed: [], problems, skipped: [] })
    })
  })
}

async function runAll(tasks, width) {
  const results = []
  const queue = [...tasks]
  const lane = async () => {
    for (let task = queue.shift(); task; task = queue.shift()) results.push(await task())
  }
  await Promise.all(Array.from({ length: width }, lane))
  return results
}

function select(items, words) {
  if (words.length === 0) return items
  return items.filter(({ name }) => words.some((word) => name.includes(word)))
}

async function main() {
  const words = process.argv.slice(2).map((word) => {
    const path = relative(root, resolve(process.env.INIT_CWD ?? process.cwd(), word))
    return word.startsWith('.') || word.startsWith('/') ? path : word
  })
  const chosenChecks = select(checks, words)
  const tests = select(findTests(join(root, 'test')).map(describeTest), words)
  const together = tests.filter((test) => !test.runAlone)
  const alone = tests.filter((test) => test.runAlone)

  const results = await runAll(chosenChecks.map((check) => () => runCheck(check)), jobs)
  results.push(...await runAll(together.map((test) => () => runFile(test)), jobs))
  results.push(...await runAll(alone.map((test) => () => runFile(test)), 1))

  const sum = (count) => results.reduce((total, result) => total + count(result), 0)
  const passed = sum((result) => result.passed)
  const failed = sum((r) => r.failed.length + r.problems.length)
  const skipped = sum((result) => result.skipped.length)
  if (passed + failed === 0) console.log(`nothing to run: ${words.join(' ') || 'no test files'}`)
  console.log(`\n${chosenChecks.length} checks and ${tests.length} files; the figures count ` +
    `assertions; ${skipped} skipped, see above`)
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const mark of running) {
      killMarked(mark)
      const temp = mark.split('=')[1]
      for (const mount of mountsBelow(temp)) unmount(mount)
      rmSync(temp, { recursive: true, force: true })
    }
    process.exit(130)
  })
}

await main()
