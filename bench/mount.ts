// How fast is a mounted vault beside gocryptfs and the plain directory? Every row runs on each
// system in turn, round after round, so that a drifting machine hurts all alike; medians and ratios
// are printed, then one JSON line per row. CPU counts the serving process (until it is quiet) and
// the client.
//
// npm run bench -- mount [--rounds 3] [--size-mib 1024] [--dir DIR] [--rows 'write,read cold,…']
//   [--beside CHECKOUT]   another checkout of lattice, built, as one more system
// Needs root (drop_caches, umount), gocryptfs, git, sqlite3, tar.

import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync } from 'node:fs'
import { readdirSync, writeSync } from 'node:fs'
import { randomFillSync } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import {
  cleanUp,
  diskBytes,
  gocryptfsSystem,
  latticeSystem,
  plainSystem,
  processCpuSeconds,
  residentAnonBytes,
  type System,
} from './mount/systems.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    'size-mib': { type: 'string', default: '1024' },
    dir: { type: 'string', default: tmpdir() },
    rows: { type: 'string', default: '' },
    beside: { type: 'string', default: '' },
  },
})
const ROUNDS = Number(values.rounds)
const SIZE_MIB = Number(values['size-mib'])
const SMALL_COUNT = 10_000
const CLIENT = fileURLToPath(new URL('./mount/client.mjs', import.meta.url))
const RANDOM_FILE = `/dev/shm/lattice-bench-random-${process.pid}`
const TREE_FILES_MIN = 20_000
const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))

interface Sample {
  seconds: number
  cpuSeconds: number
  count: number
  p50Ms?: number
}

interface Row {
  name: string
  unit: 'MB/s' | '/s' | 's' | 'ms'
  /** Unmounted, caches dropped and mounted before it. */
  cold?: boolean
  run(system: System, directory: string): Sample
}

const rows: Row[] = [
  { name: 'write', unit: 'MB/s', run: (_, d) => client('write', d, 'big', String(SIZE_MIB)) },
  { name: 'read cold', unit: 'MB/s', cold: true, run: (_, d) => client('read', d, 'big') },
  { name: 'read warm', unit: 'MB/s', run: (_, d) => client('read', d, 'big') },
  {
    name: 'random read 4K cold',
    unit: '/s',
    cold: true,
    run: (_, d) => client('randomRead', d, 'big', '6000'),
  },
  { name: 'random write 4K', unit: '/s', run: (_, d) => client('randomWrite', d, 'big', '16000') },
  {
    name: 'random read 4K after it',
    unit: '/s',
    cold: true,
    run: (_, d) => client('randomRead', d, 'big', '6000'),
  },
  { name: 'create 4K', unit: '/s', run: (_, d) => client('create', d, String(SMALL_COUNT)) },
  {
    name: 'stat cold',
    unit: '/s',
    cold: true,
    run: (_, d) => client('stat', d, String(SMALL_COUNT)),
  },
  {
    name: 'read 4K files cold',
    unit: '/s',
    cold: true,
    run: (_, d) => client('readSmall', d, String(SMALL_COUNT)),
  },
  { name: 'unlink', unit: '/s', run: (_, d) => client('unlink', d, String(SMALL_COUNT)) },
  { name: 'create + fsync', unit: 'ms', run: (_, d) => client('createFsync', d, '200') },
  { name: 'untar', unit: 's', run: (_, d) => shell(`tar xf ${archive()} -C ${d}`) },
  { name: 'find cold', unit: 's', cold: true, run: (_, d) => shell(`find ${d} -type f -size +0`) },
  { name: 'tar c cold', unit: 's', cold: true, run: (_, d) => shell(`tar cf - -C ${d} . | cat`) },
  { name: 'git clone', unit: 's', run: (_, d) => shell(`git clone -q ${repository()} ${d}/clone`) },
  {
    name: 'git status cold',
    unit: 's',
    cold: true,
    run: (_, d) => shell(`git -C ${d}/clone status`),
  },
  { name: 'sqlite 2000 tx', unit: 's', run: (_, d) => shell(sqliteScript(d)) },
  { name: 'rm -rf', unit: 's', run: (_, d) => shell(`rm -rf ${d}/tree ${d}/clone`) },
]

function client(...args: string[]): Sample {
  const env = { ...process.env, LATTICE_BENCH_RANDOM: RANDOM_FILE }
  const result = spawnSync(process.execPath, [CLIENT, ...args], { encoding: 'utf8', env })
  if (result.status !== 0) throw new Error(`${args.join(' ')}: ${result.stderr}`)
  return JSON.parse(result.stdout) as Sample
}

/** Runs a shell line, timed from outside with the children's CPU. */
function shell(line: string): Sample {
  const begin = performance.now()
  const script = `TIMEFORMAT='%U %S'; time (${line}) >/dev/null`
  const result = spawnSync('bash', ['-c', script], { encoding: 'utf8', maxBuffer: 1 << 26 })
  const seconds = (performance.now() - begin) / 1000
  if (result.status !== 0) throw new Error(`${line}: ${result.stderr}`)
  const [user, system] = result.stderr.trim().split('\n').at(-1)?.split(' ') ?? []
  return { seconds, cpuSeconds: Number(user) + Number(system), count: 1 }
}

/**
 * At least TREE_FILES_MIN real files: this project with its packages, but without what was built,
 * the packages that come with Node, and where that is not enough some of ours once more.
 */
let archivePath = ''
function archive(): string {
  if (archivePath !== '') return archivePath
  archivePath = join(base, 'tree.tar')
  const tree = join(base, 'tree')
  mkdirSync(tree)
  const parts = readdirSync(REPOSITORY).filter((name) => name !== '.git')
  execFileSync('cp', ['-a', ...parts.map((name) => join(REPOSITORY, name)), tree])
  execFileSync('rm', ['-rf', join(tree, 'dist'), join(tree, 'native/build')])
  const withNode = join(process.execPath, '../../lib/node_modules')
  if (existsSync(withNode)) execFileSync('cp', ['-a', withNode, join(tree, 'with-node')])
  mkdirSync(join(tree, 'second'))
  for (const name of readdirSync(join(tree, 'node_modules'))) {
    if (filesBelow(tree) >= TREE_FILES_MIN) break
    execFileSync('cp', ['-a', join(tree, 'node_modules', name), join(tree, 'second')])
  }
  console.error(`the tree has ${filesBelow(tree)} files`)
  execFileSync('tar', ['cf', archivePath, '-C', base, 'tree'])
  execFileSync('rm', ['-rf', tree])
  return archivePath
}

function filesBelow(directory: string): number {
  const script = 'find "$0" -type f | wc -l'
  return Number(execFileSync('sh', ['-c', script, directory], { encoding: 'utf8' }))
}

/** A local repository with history: a bare clone of this project. */
let repositoryPath = ''
function repository(): string {
  if (repositoryPath === '') {
    repositoryPath = join(base, 'repository.git')
    execFileSync('git', ['clone', '-q', '--bare', '--no-local', REPOSITORY, repositoryPath])
  }
  return repositoryPath
}

function sqliteScript(directory: string): string {
  const file = join(directory, 'test.db')
  const statement = '"BEGIN; INSERT INTO t VALUES(" i ", hex(randomblob(100))); COMMIT;"'
  const inserts = `awk 'BEGIN { for (i = 0; i < 2000; i++) print ${statement} }'`
  const table = 'CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);'
  return `rm -f ${file}*; (echo "${table}"; ${inserts}) | sqlite3 ${file}`
}

async function settled(pid: number): Promise<void> {
  if (pid === 0) return
  let last = -1
  for (let quiet = 0; quiet < 3; ) {
    const now = processCpuSeconds(pid)
    quiet = now === last ? quiet + 1 : 0
    last = now
    await delay(100)
  }
}

async function measure(system: System, row: Row): Promise<Sample> {
  if (row.cold === true) {
    await system.unmount()
    execFileSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches'])
    await system.mount()
    await settled(system.pid())
  }
  const before = processCpuSeconds(system.pid())
  const sample = row.run(system, system.directory)
  await settled(system.pid())
  sample.cpuSeconds += processCpuSeconds(system.pid()) - before
  return sample
}

function figure(row: Row, sample: Sample): number {
  if (row.unit === 'ms') return sample.p50Ms ?? Number.NaN
  return row.unit === 's' ? sample.seconds : sample.count / sample.seconds
}

function cpuFigure(row: Row, sample: Sample): number {
  if (row.unit === 'MB/s') return (sample.cpuSeconds * 1000) / sample.count // ms per MiB
  if (row.unit === 's') return sample.cpuSeconds
  return (sample.cpuSeconds * 1e6) / sample.count // µs per op
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

function report(row: Row, samples: Map<string, Sample[]>): void {
  const names = systems.map((system) => system.name)
  const cell = (name: string, of: (row: Row, sample: Sample) => number) =>
    median((samples.get(name) ?? []).map((sample) => of(row, sample)))
  const rate = new Map([...samples.keys()].map((name) => [name, cell(name, figure)]))
  const cpu = new Map([...samples.keys()].map((name) => [name, cell(name, cpuFigure)]))
  const ours = rate.get('lattice') ?? Number.NaN
  const theirs = rate.get('gocryptfs') ?? Number.NaN
  const higherIsBetter = row.unit === 'MB/s' || row.unit === '/s'
  const ratio = higherIsBetter ? ours / theirs : theirs / ours
  const show = (value: number | undefined) => (value ?? Number.NaN).toPrecision(3).padStart(9)
  console.log(
    `${row.name.padEnd(26)} ${row.unit.padEnd(5)}` +
      names.map((name) => show(rate.get(name))).join('') +
      `   ${ratio.toFixed(2)}x   cpu ` +
      names.slice(1).map((name) => show(cpu.get(name))).join(''),
  )
  console.error(
    JSON.stringify({ row: row.name, unit: row.unit, ratio, ...Object.fromEntries(rate) }),
  )
}

const base = mkdtempSync(join(values.dir, 'lattice-bench-'))
const systems: System[] = []

/** New for every round: what was stored once would only be recognised. */
function prepareRandom(): void {
  const fd = openSync(RANDOM_FILE, 'w')
  const block = Buffer.alloc(16 * 1024 * 1024)
  for (let mib = 0; mib < Math.max(SIZE_MIB, 64); mib += 16) writeSync(fd, randomFillSync(block))
  closeSync(fd)
}

async function main(): Promise<void> {
  const selected = rows.filter(
    (row) => values.rows === '' || values.rows.split(',').includes(row.name),
  )
  const samples = new Map(
    selected.map((row) => [row, new Map<string, Sample[]>()] as const),
  )
  systems.push(plainSystem(base), gocryptfsSystem(base), latticeSystem(base))
  if (values.beside !== '') systems.push(latticeSystem(base, 'beside', resolve(values.beside)))
  for (const system of systems) await system.mount()
  for (let round = 0; round < ROUNDS; round++) {
    prepareRandom()
    // each round begins with another one: what one leaves to be written slows the next
    const turn = round % systems.length
    const order = [...systems.slice(turn), ...systems.slice(0, turn)]
    for (const row of selected) {
      for (const system of order) {
        const sample = await measure(system, row)
        const told = `${figure(row, sample).toPrecision(4)} ${row.unit}`
        console.error(`${row.name}, ${system.name}: ${told}`)
        const bySystem = samples.get(row)
        bySystem?.set(system.name, [...(bySystem.get(system.name) ?? []), sample])
      }
    }
    for (const system of systems) {
      for (const name of readdirSync(system.directory)) {
        if (round < ROUNDS - 1 && existsSync(join(system.directory, name))) {
          execFileSync('rm', ['-rf', join(system.directory, name)])
        }
      }
    }
  }
  const columns = systems.map(({ name }) => name.padStart(9)).join('')
  console.log(`${'row'.padEnd(26)} unit ${columns}   ratio   cpu (ms/MiB, µs/op, s)`)
  for (const row of selected) report(row, samples.get(row) ?? new Map<string, Sample[]>())
  for (const system of systems.filter((one) => one.pid() > 0)) {
    const rss = residentAnonBytes(system.pid()) / 1048576
    const disk = diskBytes(system.store) / 1048576
    console.log(`${system.name}: RssAnon ${rss.toFixed(0)} MiB, store ${disk.toFixed(0)} MiB`)
  }
}

try {
  await main()
} finally {
  await cleanUp(base, systems)
  execFileSync('rm', ['-f', RANDOM_FILE])
}
