// timeoutSeconds: 240
// More dirty data than the daemon may keep in memory: three processes fill large files, rewrite
// them in random places through two handles, cut and extend them, all at once. Nobody waits for
// ever, memory stays bounded, and every block is what was written last, also after mounting again.
// MIB=1000 for larger files.

import t from 'tap'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount, placeKind } from './harness.helper.ts'
import { temporaryDirectory } from './system.helper.ts'
import { run } from './shell.helper.ts'

const worker = fileURLToPath(new URL('large-worker.helper.ts', import.meta.url))
const program = [process.execPath, '--import', import.meta.resolve('tsx'), worker]
const sizeMiB = Number(process.env['MIB'] ?? 160)
const MEMORY_MIB_MAX = 1200

function peakMiB(pid: number): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1] ?? 0) / 1024
}

t.test('more than fits into memory', { skip: noMount() ?? false }, async (t) => {
  const { seed } = testRandom()
  t.comment(`SEED=${seed}`)
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  const files = [0, 1, 2].map((index) => ({
    path: join(place.directory, `large-${index}`),
    versions: join(base, `versions-${index}`),
    words: [String(sizeMiB), String(seed + index)],
  }))
  await Promise.all(files.map(({ path, versions, words }) =>
    run(t, [...program, 'write', path, versions, ...words], { cwd: base, timeoutMs: 200_000 })))
  t.pass('every process ended')
  if (placeKind() === 'lattice') {
    const peak = Math.round(peakMiB(place.pid))
    t.ok(peak < MEMORY_MIB_MAX, `the daemon took ${peak} MiB at most`)
  }
  await place.remount()
  for (const { path, versions } of files) {
    await run(t, [...program, 'check', path, versions], { cwd: base })
  }
  t.pass('everything is there after mounting again')
})
