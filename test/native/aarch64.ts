// timeoutSeconds: 600
// The addon for arm64, from here: it compiles without a warning and links; its pure parts, run by
// qemu-user, make of the same data what this machine's build makes of it. With LATTICE_AARCH64_NODE
// (a node for arm64) the fake kernel and the buffers' fuzzer run in it too. What is missing here is
// skipped with its reason.

import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CROSS = 'aarch64-linux-gnu-g++'
const ADDON = join(ROOT, 'native/build/lattice-aarch64.node')
/** Where Debian's cross compiler keeps the loader and libraries of its target. */
const QEMU = ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'] as const
const ELF_MACHINE_AT = 18
const EM_AARCH64 = 183

function exists(command: string): boolean {
  return spawnSync(command, ['--version']).status === 0
}

function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const options = { cwd: ROOT, env: { ...process.env, ...env }, encoding: 'utf8' } as const
  const { status, stdout, stderr } = spawnSync(command, args, { ...options, timeout: 280_000 })
  return { status, stdout, stderr: stderr.slice(-4000) }
}

function elfMachine(path: string): number {
  const head = Buffer.alloc(20)
  const fd = openSync(path, 'r')
  readSync(fd, head, 0, head.length, 0)
  closeSync(fd)
  return head.readUInt16LE(ELF_MACHINE_AT)
}

/** Builds the program of support/pure.cc. What needs node's symbols goes: nothing calls it. */
function buildPure(compiler: string, out: string) {
  const sources = ['aead', 'cut', 'lz4'].map((name) => `native/${name}.cc`)
  const headers = '-Inode_modules/node-api-headers/include'
  const warnings = ['-Wall', '-Wextra', '-Werror']
  const dropped = ['-fvisibility=hidden', '-ffunction-sections', '-Wl,--gc-sections']
  const flags = ['-O2', '-std=c++20', '-DNAPI_VERSION=8', ...warnings, ...dropped, headers]
  return run(compiler, [...flags, 'test/native/support/pure.cc', ...sources, '-o', out])
}

t.setTimeout(600_000) // the first build, and an emulated node
const noCross = exists(CROSS) ? false : 'no cross compiler'
const noQemu = noCross || (exists(QEMU[0]) ? false : 'no qemu-aarch64')

t.test('the addon compiles and links for arm64', { skip: noCross }, async (t) => {
  const build = run('sh', ['native/build.sh'], { LATTICE_TARGET: 'aarch64' })
  t.equal(build.status, 0, build.stderr)
  t.equal(elfMachine(ADDON), EM_AARCH64)
})

t.test('cut, LZ4 and HChaCha20 on arm64 as here', { skip: noQemu }, async (t) => {
  const [here, there] = [join(tmpdir(), 'pure-here'), join(tmpdir(), 'pure-there')]
  for (const [compiler, out] of [[process.env['CXX'] ?? 'c++', here], [CROSS, there]] as const) {
    const build = buildPure(compiler, out)
    t.equal(build.status, 0, `${compiler}: ${build.stderr}`)
  }
  const expected = run(here, [])
  t.equal(expected.status, 0, expected.stderr)
  t.match(expected.stdout, /\nok\n$/)
  const actual = run(QEMU[0], [...QEMU.slice(1), there])
  t.equal(actual.status, 0, actual.stderr)
  t.ok(actual.stdout === expected.stdout, 'the same cuts, blocks and keys')
})

const node = process.env['LATTICE_AARCH64_NODE'] ?? ''
const noNode = noQemu || (node === '' && 'no node for arm64 in LATTICE_AARCH64_NODE')

t.test('fake kernel and fuzzer on arm64', { skip: noNode }, async (t) => {
  // tsx compiles with this machine's esbuild, which the emulated node can start.
  const esbuild = join(ROOT, `node_modules/@esbuild/linux-${process.arch}/bin/esbuild`)
  const env = { LATTICE_ADDON: ADDON, ESBUILD_BINARY_PATH: esbuild }
  for (const file of ['test/native/session.ts', 'test/vault/buffers-fuzz.ts']) {
    const result = run(QEMU[0], [...QEMU.slice(1), node, '--import', 'tsx', file], env)
    t.equal(result.status, 0, `${file}: ${result.stdout.slice(-2000)}${result.stderr}`)
  }
})
