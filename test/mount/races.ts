// timeoutSeconds: 400
// Many processes at once where answers may cross: names that are made, replaced and removed while
// others look them up, and reads, overwrites and seals of a file that is larger than what is kept
// in RAM. Nobody waits for ever, no name is missed, no byte is wrong. SECONDS=300 for a long run.

import t from 'tap'
import { spawn } from 'node:child_process'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { testRandom } from '../support/random.helper.ts'
import { noMount, Place } from './harness.helper.ts'

const worker = fileURLToPath(new URL('races-worker.helper.ts', import.meta.url))
const seconds = Number(process.env['SECONDS'] ?? 8)
const MIB = Number(process.env['MIB'] ?? 160)
const BLOCK_BYTES = 4096
const HANG_MS = 60_000

/** Incompressible blocks that name themselves. */
function prepare(path: string): void {
  const fd = openSync(path, 'w')
  const words = new Uint32Array((1024 * 1024) / 4)
  let state = 7
  for (let block = 0; block < (MIB * 1024 * 1024) / BLOCK_BYTES; ) {
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13
      state ^= state >>> 17
      words[i] = state ^= state << 5
    }
    for (let at = 0; at < words.length; at += BLOCK_BYTES / 4, block++) {
      words[at + (block % 1000)] = block
    }
    writeSync(fd, new Uint8Array(words.buffer))
  }
  closeSync(fd)
}

/** Resolves to what is wrong with one worker, or ''. */
function work(what: string, path: string, seed: number, say: (line: string) => void) {
  const words = ['--import', 'tsx', worker, what, path, String(seconds), String(seed)]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => say(text.trim()))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  return new Promise<string>((resolve) => {
    let hung = ''
    const timer = setTimeout(() => {
      hung = `${what} ${seed} waits for ever; `
      child.kill('SIGKILL')
    }, seconds * 1000 + HANG_MS)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve(code === 0 ? '' : `${what} ${seed}: ${hung}${signal ?? code} ${output}`)
    })
  })
}

t.test('races', { skip: noMount() ?? false }, async (t) => {
  const { seed } = testRandom()
  t.comment(`SEED=${seed}`)
  const place = await Place.open(t)
  const shared = join(place.directory, 'shared')
  const large = join(place.directory, 'large')
  writeFileSync(shared, 'x')
  prepare(large)
  await place.remount()
  const say = (line: string): void => t.comment(line)
  const all = [
    ...[0, 1].map((n) => work('names', place.directory, seed + n, say)),
    ...[0, 1].map((n) => work('replace', shared, seed + n, say)),
    work('look', shared, seed, say),
    ...[0, 1, 2].map((n) => work('read', large, seed + n, say)),
    work('write', large, seed, say),
  ]
  const faults = (await Promise.all(all)).filter((fault) => fault !== '')
  t.same(faults, [])
  await place.unmount()
})
