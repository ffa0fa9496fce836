// timeoutSeconds: 900
// The fake-kernel tests again, with the addon built under AddressSanitizer (with UndefinedBehavior)
// and under ThreadSanitizer. Node itself is not instrumented: of the reports only those count in
// which the addon makes one of the accesses. Skipped, with the reason, where the runtime is
// missing.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The path of a sanitizer's library, or ''. */
function runtime(name: string): string {
  try {
    const path = execFileSync('c++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
    return path.startsWith('/') && existsSync(path) ? path : ''
  } catch {
    return ''
  }
}

interface Run {
  code: number | null
  output: string
}

async function run(command: string, args: string[], env: Record<string, string>): Promise<Run> {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env } })
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, output })
    })
  })
}

/** ThreadSanitizer's reports in which the addon itself makes an access or takes a lock. */
function ownReports(output: string): string[] {
  return output.split(/^={18}$/m).filter((report) => {
    if (!report.includes('WARNING: ThreadSanitizer')) return false
    const stacks = report.split(/\n\s*\n/)
    return stacks.some((stack) => {
      const frames = stack.split('\n').filter((line) => /^\s*#\d+ /.test(line))
      const first = frames.find((line) => !line.includes('libtsan.so'))
      const ours = first?.includes('lattice-tsan.node') ?? false
      return ours && !/Location|Thread T/.test(stack)
    })
  })
}

const NAMES = ['session', 'notify', 'told', 'places']
const TESTS = NAMES.map((name) => ['--import', 'tsx', `test/native/${name}.ts`])

// Two builds of the addon come before the tests.
t.setTimeout(400_000)
const asan = runtime('libasan.so')
const tsan = runtime('libtsan.so')

const noAsan = asan === '' && 'no libasan'
void t.test('AddressSanitizer', { timeout: 400_000, skip: noAsan }, async (test) => {
  const built = await run('sh', ['native/build.sh'], { LATTICE_SANITIZE: 'address' })
  if (built.code !== 0) test.comment(built.output)
  test.equal(built.code, 0, 'it builds')
  for (const args of TESTS) {
    const { code, output } = await run(process.execPath, args, {
      LD_PRELOAD: asan,
      LATTICE_ADDON: `${ROOT}native/build/lattice-asan.node`,
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    })
    if (code !== 0) test.comment(output.slice(-4000))
    test.equal(code, 0)
    test.notMatch(output, /AddressSanitizer|runtime error/)
  }
})

const noTsan = tsan === '' && 'no libtsan'
void t.test('ThreadSanitizer', { timeout: 400_000, skip: noTsan }, async (test) => {
  const built = await run('sh', ['native/build.sh'], { LATTICE_SANITIZE: 'thread' })
  if (built.code !== 0) test.comment(built.output)
  test.equal(built.code, 0, 'it builds')
  for (const args of TESTS) {
    const { code, output } = await run(process.execPath, args, {
      LD_PRELOAD: tsan,
      LATTICE_ADDON: `${ROOT}native/build/lattice-tsan.node`,
      TSAN_OPTIONS: 'report_signal_unsafe=0:exitcode=0',
    })
    if (code !== 0) test.comment(output.slice(-4000))
    test.equal(code, 0)
    test.same(ownReports(output), [])
  }
})
