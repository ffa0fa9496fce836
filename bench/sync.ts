// How fast do two directories become equal? Two lattice mounts beside two Syncthing folders and
// rsync, on loopback, one after the other. "Complete" = read on the other side and compared; for
// lattice that means read through the other mount. CPU is that of the serving processes of both
// ends until they are quiet; bytes are those of their TCP connections, both directions once each
// (counted at the left end).
//
// npm run bench -- sync [--mib 256] [--files 2000] [--saves 40] [--only lattice,syncthing,rsync]
//                       [--rows large,small,save,change,rename,idle] [--dir DIR]
// Syncthing is told to scan at once in the bulk rows, and not in `save`, which has its default
// watcher (10 s) and so only a few rounds. Needs Linux, FUSE, ss, syncthing, rsync.

import { randomFillSync } from 'node:crypto'
import {
  closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, renameSync,
  statSync, writeFileSync, writeSync,
} from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { cpuSeconds, percentile, settled, until, wireBytes, withChildren } from './sync/measure.ts'
import { latticePair, removeAll, rsyncPair, syncthingPair } from './sync/pairs.ts'
import type { Pair } from './sync/pairs.ts'

const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '256' },
    files: { type: 'string', default: '2000' },
    saves: { type: 'string', default: '40' },
    only: { type: 'string', default: 'rsync,syncthing,lattice' },
    rows: { type: 'string', default: 'large,change,small,rename,save,idle' },
    dir: { type: 'string', default: tmpdir() },
  },
})
const MIB = 1 << 20
const SIZE_MIB = Number(values.mib)
const FILES = Number(values.files)
const SMALL_BYTES = 4096
const SAVE_BYTES = 100 * 1024
const SLOW_SAVES = 3
const RENAMED_FILES = 1000
const IDLE_S = 20
const TIMEOUT_MS = 300_000

interface Outcome {
  /** From the first write on. */
  seconds: number
  /** From the last close on. */
  afterSeconds?: number
  count?: number
  p50Ms?: number
  p95Ms?: number
  cpuSeconds?: number
  bytes?: number
}

type Row = (pair: Pair) => Promise<Outcome | undefined>

/** Blocks that never repeat and never come again. */
function block(sizeBytes: number): Buffer {
  return randomFillSync(Buffer.allocUnsafe(sizeBytes))
}

/** Whether the file on the other side is the same, byte for byte. */
function isSame(pair: Pair, name: string): boolean {
  const [a, b] = [pair.left, pair.right].map((side) => openSync(join(side, name), 'r'))
  if (a === undefined || b === undefined) return false
  try {
    const [mine, theirs] = [Buffer.alloc(MIB), Buffer.alloc(MIB)]
    for (let at = 0; ; at += MIB) {
      const count = readSync(b, theirs, 0, MIB, at)
      if (readSync(a, mine, 0, MIB, at) !== count) return false
      if (count === 0) return true
      if (mine.compare(theirs, 0, count, 0, count) !== 0) return false
    }
  } finally {
    closeSync(a)
    closeSync(b)
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? -1
}

async function nudged(pair: Pair, begun: number): Promise<Outcome & { written: number }> {
  const written = performance.now()
  const cost = await pair.nudge()
  return { seconds: written - begun, written, ...cost }
}

function finished(_: Pair, begun: number, part: Outcome & { written: number }): Outcome {
  const now = performance.now()
  const { written, ...rest } = part
  return { ...rest, seconds: (now - begun) / 1000, afterSeconds: (now - written) / 1000 }
}

const large: Row = async (pair) => {
  const parts = Array.from({ length: 16 }, () => block(MIB))
  const begun = performance.now()
  const fd = openSync(join(pair.left, 'large'), 'w')
  for (let i = 0; i < SIZE_MIB; i++) {
    const part = parts[i % 16] ?? block(MIB)
    for (let at = 0; at < MIB; at += 4096) part.writeUInt32LE(i, at)
    writeSync(fd, part)
  }
  closeSync(fd)
  const part = await nudged(pair, begun)
  const there = join(pair.right, 'large')
  await until('the large file', TIMEOUT_MS, 10, () => sizeOf(there) === SIZE_MIB * MIB)
  readAll(there)
  const outcome = finished(pair, begun, part)
  if (!isSame(pair, 'large')) throw new Error(`${pair.name}: the large file differs`)
  return { ...outcome, count: SIZE_MIB }
}

function readAll(path: string): void {
  const fd = openSync(path, 'r')
  const into = Buffer.alloc(MIB)
  while (readSync(fd, into, 0, MIB, null) > 0);
  closeSync(fd)
}

const change: Row = async (pair) => {
  if (sizeOf(join(pair.left, 'large')) < 2 * MIB) return undefined
  const bytes = block(MIB)
  const at = Math.floor(SIZE_MIB / 2) * MIB + 4321
  const begun = performance.now()
  const fd = openSync(join(pair.left, 'large'), 'r+')
  writeSync(fd, bytes, 0, MIB, at)
  closeSync(fd)
  const part = await nudged(pair, begun)
  const there = Buffer.alloc(MIB)
  await until('the change', TIMEOUT_MS, 5, () => {
    if (!readIfThere(join(pair.right, 'large'), there, at)) return false
    return there.equals(bytes)
  })
  const outcome = finished(pair, begun, part)
  if (!isSame(pair, 'large')) throw new Error(`${pair.name}: the changed file differs`)
  return outcome
}

/** Who puts a new file in the place of the old one may have none for a moment. */
function readIfThere(path: string, into: Buffer, at: number): boolean {
  if (sizeOf(path) < 0) return false
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return false
  }
  readSync(fd, into, 0, into.length, at)
  closeSync(fd)
  return true
}

/** Writes the files, and waits until all can be read on the other side. */
async function spread(pair: Pair, name: string, count: number): Promise<Outcome> {
  const all = block(count * SMALL_BYTES)
  const contents = (i: number): Buffer => all.subarray(i * SMALL_BYTES, (i + 1) * SMALL_BYTES)
  const begun = performance.now()
  mkdirSync(join(pair.left, name))
  for (let i = 0; i < count; i++) writeFileSync(join(pair.left, name, `f${i}`), contents(i))
  const part = await nudged(pair, begun)
  const there = join(pair.right, name)
  const tmp = (file: string): boolean => !file.startsWith('.') && !file.startsWith('~')
  await until('many files', TIMEOUT_MS, 20, () => (
    sizeOf(there) >= 0 && readdirSync(there).filter(tmp).length === count
  ))
  for (let i = 0; i < count; i++) {
    const path = join(there, `f${i}`)
    while (!readFileSync(path).equals(contents(i))) await delay(5)
  }
  return { ...finished(pair, begun, part), count }
}

const small: Row = (pair) => spread(pair, 'small', FILES)

const rename: Row = async (pair) => {
  await spread(pair, 'before', RENAMED_FILES)
  await settled(withChildren(pair.pids()))
  return measured(pair, async () => {
    const begun = performance.now()
    renameSync(join(pair.left, 'before'), join(pair.left, 'after'))
    const part = await nudged(pair, begun)
    await until('the renamed directory', TIMEOUT_MS, 5, () => {
      const there = join(pair.right, 'after')
      if (sizeOf(join(pair.right, 'before')) >= 0 || sizeOf(there) < 0) return false
      return readdirSync(there).filter((file) => file.startsWith('f')).length === RENAMED_FILES
    })
    return finished(pair, begun, part)
  })
}

/** As editors do: a new file takes the place of the old one. */
const save: Row = async (pair) => {
  if (pair.name === 'rsync') return undefined
  const rounds = pair.name === 'lattice' ? Number(values.saves) : SLOW_SAVES
  const there = join(pair.right, 'document')
  const times: number[] = []
  for (let i = 0; i <= rounds; i++) {
    const bytes = block(SAVE_BYTES)
    const begun = performance.now()
    writeFileSync(join(pair.left, '.document.new'), bytes)
    renameSync(join(pair.left, '.document.new'), join(pair.left, 'document'))
    let seen = ''
    await until('a save', TIMEOUT_MS, 1, () => {
      const stat = statSync(there, { throwIfNoEntry: false })
      const now = `${stat?.ino} ${stat?.mtimeMs}`
      if (stat?.size !== SAVE_BYTES || now === seen) return false
      seen = now
      const held = Buffer.alloc(SAVE_BYTES)
      return readIfThere(there, held, 0) && held.equals(bytes)
    })
    if (i > 0) times.push(performance.now() - begun) // the first makes it
    await delay(50 + Math.random() * 400)
  }
  const p50Ms = percentile(times, 0.5)
  return { seconds: 0, count: rounds, p50Ms, p95Ms: percentile(times, 0.95) }
}

const idle: Row = async (pair) => {
  if (pair.pids().length === 0) return undefined
  await delay(IDLE_S * 1000)
  return { seconds: IDLE_S }
}

const ROWS: Record<string, Row> = { large, change, small, rename, save, idle }

/** With the CPU time and the bytes of what it does. Those of commands it runs are told by it. */
async function measured(
  pair: Pair, work: () => Promise<Outcome | undefined>,
): Promise<Outcome | undefined> {
  const pids = withChildren(pair.pids())
  if (pids.length === 0) return work()
  const wire = (): number => wireBytes(withChildren(pair.pids().slice(0, 1)), pair.controlPort)
  const before = { cpu: cpuSeconds(pids), wire: wire() }
  const outcome = await work()
  if (outcome === undefined) return undefined
  if (outcome.bytes !== undefined) return outcome // measured what counts itself
  if (outcome.seconds !== IDLE_S) await settled(pids)
  return { ...outcome, cpuSeconds: cpuSeconds(pids) - before.cpu, bytes: wire() - before.wire }
}

function print(row: string, name: string, outcome: Outcome): void {
  const { seconds, afterSeconds, count, p50Ms, p95Ms, bytes } = outcome
  const cells = [row.padEnd(7), name.padEnd(10)]
  if (p50Ms !== undefined) cells.push(`p50 ${p50Ms.toFixed(0)} ms  p95 ${p95Ms?.toFixed(0)} ms`)
  else cells.push(`${seconds.toFixed(3).padStart(8)} s`)
  if (afterSeconds !== undefined) cells.push(`(${afterSeconds.toFixed(3)} s after the last close)`)
  if (row === 'large') cells.push(`${((count ?? 0) / seconds).toFixed(0)} MiB/s`)
  if (row === 'small') cells.push(`${((count ?? 0) / seconds).toFixed(0)} files/s`)
  cells.push(`cpu ${outcome.cpuSeconds?.toFixed(2)} s`, `wire ${bytes} B`)
  console.log(cells.join('  '))
  console.error(JSON.stringify({ row, pair: name, load: loadavg()[0], ...outcome }))
}

async function main(base: string): Promise<void> {
  const makers: Record<string, (base: string) => Pair | Promise<Pair>> = {
    lattice: latticePair, syncthing: syncthingPair, rsync: rsyncPair,
  }
  console.log(`${SIZE_MIB} MiB, ${FILES} × 4 KiB, load ${loadavg()[0]?.toFixed(1)}`)
  for (const name of values.only.split(',')) {
    const pair = await makers[name]?.(base)
    if (pair === undefined) throw new Error(`no pair ${name}`)
    try {
      for (const key of values.rows.split(',')) {
        const row = ROWS[key]
        if (row === undefined) throw new Error(`no row ${key}`)
        await settled(withChildren(pair.pids()))
        const outcome = await measured(pair, () => row(pair))
        if (outcome !== undefined) print(key, name, outcome)
      }
    } finally {
      await pair.close()
    }
  }
}

const base = mkdtempSync(join(values.dir, 'lattice-bench-sync-'))
try {
  await main(base)
} finally {
  removeAll(base)
}
