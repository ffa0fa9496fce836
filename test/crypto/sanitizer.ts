// timeoutSeconds: 600
// The pure native code (cutting, sealing, LZ4) under AddressSanitizer and UBSan: builds the addon
// with them and runs the tests that fuzz it, with that addon, in processes of their own.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))
const files = ['test/crypto/primitives.ts', 'test/chunks/chunker.ts', 'test/chunks/bundle.ts']

function sanitizerLibrary(): string | undefined {
  const compiler = process.env['CXX'] ?? 'c++'
  const path = execFileSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
  return existsSync(path) ? path : undefined
}

const library = sanitizerLibrary()
const skip = library === undefined ? 'the compiler has no libasan' : false

t.test('native code under AddressSanitizer', { skip }, async (t) => {
  const build = spawnSync('sh', ['native/build.sh'], {
    cwd: root,
    env: { ...process.env, LATTICE_SANITIZE: 'address' },
    encoding: 'utf8',
  })
  t.equal(build.status, 0, build.stderr)
  for (const file of files) {
    const run = spawnSync(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      encoding: 'utf8',
      env: {
        ...process.env,
        LD_PRELOAD: library,
        // V8 and libsodium's guard pages handle their own faults; node leaks at exit by design.
        ASAN_OPTIONS: 'detect_leaks=0:handle_segv=0:exitcode=86',
        UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
        LATTICE_ADDON: `${root}/native/build/lattice-asan.node`,
      },
    })
    t.equal(run.status, 0, `${file}: ${run.stderr.slice(0, 2000)}`)
  }
})
