// The program behind `lattice doctor`: one JSON line per look, in order, so that a crash in the
// middle leaves what came before. Changes nothing.

import { spawn } from 'node:child_process'
import { access, constants, readFile, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { loadConfig } from '../config/config-file.ts'
import { DISK_FREE_WARN_BYTES } from '../config/limits.ts'
import { resolvePaths } from '../config/paths.ts'
import { aeadProvider } from '../crypto/aead.ts'
import { needsPassphrase } from '../crypto/key-ring.ts'
import { readKeyFile } from '../crypto/key-file-store.ts'
import { runSelfTests } from '../crypto/self-test.ts'
import { sessionAddon } from '../fuse/addon.ts'
import { pokeProgram } from '../fuse/poke-process.ts'
import { LatticeError, errnoName } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'

const NODE_MIN = [20, 19] as const
const paths = resolvePaths()

interface Outcome {
  state?: 'warning'
  message: string
  hint?: string
}

async function look(name: string, task: () => Promise<Outcome> | Outcome): Promise<void> {
  try {
    const outcome = await task()
    process.stdout.write(`${JSON.stringify({ name, state: 'ok', ...outcome })}\n`)
  } catch (error) {
    const known = error instanceof LatticeError ? error : undefined
    const message = error instanceof Error ? error.message : String(error)
    const line = { name, state: 'error', message, hint: known?.hint, reason: known?.code ?? 'io' }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }
}

function refuse(code: ErrorCode, message: string, hint: string): never {
  throw new LatticeError(code, message, { hint })
}

function lookAtNode(): Outcome {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const enough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
  const version = process.versions.node
  if (!enough) refuse('prerequisite', `Node.js ${version} is too old`, 'install 20.19')
  return { message: `Node.js ${process.versions.node}, ${process.platform}-${process.arch}` }
}

async function lookAtDevice(): Promise<Outcome> {
  try {
    await access('/dev/fuse', constants.R_OK | constants.W_OK)
    return { message: '/dev/fuse can be opened' }
  } catch (error) {
    const code = errnoName(error) ?? 'error'
    const hint =
      code === 'ENOENT'
        ? 'modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN'
        : 'its mode must let this user read and write it: chmod 666 /dev/fuse'
    return refuse('no-fuse', `/dev/fuse: ${code}`, hint)
  }
}

async function lookAtHelper(): Promise<Outcome> {
  const version = await outputOf('fusermount3', ['--version']).catch(() => undefined)
  if (version !== undefined) return { message: version.trim() }
  const hint = 'install the package fuse3 (Debian: apt-get install fuse3)'
  if (process.geteuid?.() !== 0) refuse('no-fusermount', 'fusermount3 was not found', hint)
  return { state: 'warning', message: 'fusermount3 was not found; root does not need it', hint }
}

function lookAtAddon(): Outcome {
  sessionAddon().createFileTable().close()
  runSelfTests()
  return { message: `loads, self-tests pass, sealing through ${aeadProvider()}` }
}

async function lookAtPokes(): Promise<Outcome> {
  const program = pokeProgram()
  const message = 'programs that watch a mount hear of changes from elsewhere'
  const isThere = await access(program, constants.X_OK).then(() => true, () => false)
  if (isThere) return { message: `${message}; lattice status says where not` }
  return { state: 'warning', message: `not so: ${program} is missing`, hint: 'sh native/build.sh' }
}

async function lookAtLock(): Promise<Outcome> {
  const version = await outputOf('flock', ['--version']).catch(() => undefined)
  if (version === undefined) refuse('prerequisite', 'flock was not found', 'install util-linux')
  return { message: (version ?? '').trim() }
}

async function lookAtPaths(): Promise<Outcome> {
  for (const path of [paths.configDirectory, paths.stateDirectory, paths.runtimeDirectory]) {
    const existing = await nearestExisting(path)
    await access(existing, constants.W_OK).catch(() =>
      refuse('denied', `${existing} may not be written to`, 'set LATTICE_HOME to another one'),
    )
  }
  return { message: `state in ${paths.stateDirectory}` }
}

async function lookAtConfig(): Promise<Outcome> {
  const config = await loadConfig(paths)
  if (config.warnings.length > 0) return { state: 'warning', message: config.warnings.join('; ') }
  return { message: `${config.vaults.length} vaults in ${paths.configFile}` }
}

async function lookAtKeys(): Promise<Outcome> {
  const bytes = await readKeyFile(paths.keyFile)
  if (bytes === undefined) return { message: 'no key file yet' }
  if (needsPassphrase(bytes)) return { message: 'the key file is protected by a passphrase' }
  return { state: 'warning', message: 'disk theft: unprotected (the key file has no passphrase)' }
}

async function lookAtSpace(): Promise<Outcome> {
  const { bavail, bsize } = await statfs(await nearestExisting(paths.stateDirectory))
  const free = bavail * bsize
  const message = `${(free / 2 ** 30).toFixed(1)} GiB free where the state lies`
  return free < DISK_FREE_WARN_BYTES ? { state: 'warning', message } : { message }
}

async function lookAtFuseConfig(): Promise<Outcome> {
  if (process.geteuid?.() === 0) return { message: 'root may let other users in' }
  const text = await readFile('/etc/fuse.conf', 'utf8').catch(() => '')
  const allowed = /^\s*user_allow_other\s*$/m.test(text)
  return { message: allowed ? '--allow-other is allowed' : '--allow-other is not (/etc/fuse.conf)' }
}

async function nearestExisting(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    const there = await stat(at).then(
      () => true,
      () => false,
    )
    if (there || at === '/') return at
  }
}

function outputOf(command: string, words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'ignore'] })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(text) : reject(new Error(`code ${code}`))))
  })
}

await look('node', lookAtNode)
await look('device', lookAtDevice)
await look('fusermount3', lookAtHelper)
await look('flock', lookAtLock)
await look('addon', lookAtAddon)
await look('watchers', lookAtPokes)
await look('paths', lookAtPaths)
await look('config', lookAtConfig)
await look('keys', lookAtKeys)
await look('space', lookAtSpace)
await look('allow-other', lookAtFuseConfig)
