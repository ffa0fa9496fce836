// Local operations while others' batches are applied: a vault of many files, a backlog of small
// batches, and a program that works at a steady pace meanwhile, against the same program when
// nothing comes. Real journal, index and clock. What is told: how long each local operation took
// from the moment it was due (so waiting for the thread counts); how long the thread was held
// between two turns of the loop, in its own CPU time (which a busy machine does not change); and
// what applying costs.
//   node --import tsx bench/replica.ts [files] [batches]
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as pause, setTimeout as sleep } from 'node:timers/promises'
import { blake2b } from '../src/crypto/hash.ts'
import { SystemClock, SystemRandom } from '../src/daemon/clock.ts'
import { LmdbIndex } from '../src/db/lmdb-index.ts'
import { Journal } from '../src/journal/journal.ts'
import { NodeDisk } from '../src/journal/node-disk.ts'
import { Ids } from '../src/ops/ids.ts'
import type { AuthorId, Name } from '../src/ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../src/ops/types.ts'
import type { Ino } from '../src/vault/buffers.ts'
import { EngineCore } from '../src/vault/engine-core.ts'
import type { LogPort } from '../src/vault/ports.ts'

const numbers = process.argv.slice(2).filter((one) => /^\d+$/.test(one)).map(Number)
const [fileCount = 100_000, batchCount = 20_000] = numbers
const FILES_PER_DIRECTORY = 500
const THINK_MS = 1
const vaultId = Buffer.alloc(16, 3)
const ids = new Ids(Buffer.alloc(32, 7))
const directory = mkdtempSync(join(tmpdir(), 'lattice-replica-'))
const rows: Record<string, string | number>[] = []

class Logs implements LogPort {
  readonly blocks = new Map<AuthorId, Uint8Array[]>()
  readonly hashes = new Map<AuthorId, Uint8Array[]>()
  readonly own: AuthorId

  constructor(own: AuthorId) {
    this.own = own
  }

  authors(): AuthorId[] {
    return [...this.blocks.keys()]
  }

  length(author: AuthorId): number {
    return this.blocks.get(author)?.length ?? 0
  }

  async read(author: AuthorId, seq: number): Promise<Uint8Array | undefined> {
    return this.blocks.get(author)?.[seq]
  }

  async treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    return this.hashes.get(author)?.[length - 1]
  }

  async append(blocks: readonly Uint8Array[]): Promise<void> {
    for (const block of blocks) this.put(this.own, block)
  }

  onGrowth(): void {}

  put(author: AuthorId, block: Uint8Array): void {
    if (!this.blocks.has(author)) {
      this.blocks.set(author, [])
      this.hashes.set(author, [])
    }
    this.blocks.get(author)?.push(Uint8Array.from(block))
    this.hashes.get(author)?.push(new Uint8Array(blake2b(32, block)))
  }
}

interface Vault {
  core: EngineCore
  logs: Logs
  close(): Promise<void>
}

async function openVault(name: string): Promise<Vault> {
  const author = name.repeat(32) as AuthorId
  const index = await LmdbIndex.open({
    directory: join(directory, name, 'index'), vaultId: '00', rootNode: ids.root(vaultId),
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  })
  const disk = new NodeDisk()
  const journal = await Journal.open({ directory: join(directory, name, 'journal'), disk, vaultId })
  const logs = new Logs(author)
  const key = Buffer.alloc(32, 5)
  const core = await EngineCore.open({
    index, journal, logs,
    clock: new SystemClock(),
    random: new SystemRandom(),
    content: { sync: async () => undefined },
    keys: {
      vaultId, author, ids, localKey: key,
      opKey: () => key,
      controlKey: () => key,
      current: () => ({ epochId: Buffer.alloc(8, 1), opKey: key, controlKey: key }),
    },
    owner: { uid: 0, gid: 0 },
    pause: () => pause(),
    isManual: true,
    onTrouble: (error) => console.error(error),
  })
  const close = async (): Promise<void> => {
    await core.close()
    await journal.close()
    await index.close()
  }
  return { core, logs, close }
}

const init = { mode: 0o644, uid: 0, gid: 0, rdev: 0, target: '' }

/** The work of another device: files, then many small changes, each a batch. */
async function author(vault: Vault): Promise<void> {
  const { core } = vault
  const { tree, committer } = core
  const inos: Ino[] = []
  let parent = tree.root
  for (let i = 0; i < fileCount; i++) {
    if (i % FILES_PER_DIRECTORY === 0) {
      const name = `d${i / FILES_PER_DIRECTORY}` as Name
      parent = tree.make(tree.root, name, { ...init, kind: KIND_DIRECTORY }).ino
      await core.sync()
    }
    inos.push(tree.make(parent, `file ${i}` as Name, { ...init, kind: KIND_FILE }).ino)
  }
  await core.sync()
  for (let i = 0; i < batchCount; i++) {
    const ino = inos[(i * 7919) % inos.length] as Ino
    const node = tree.node(ino)
    if (node === undefined) throw new Error('no such inode')
    const bytes = Buffer.from(`content ${i}`)
    const attr = { ...node.attr, sizeBytes: bytes.length, mtimeSec: 1_800_000_000 + i }
    tree.put(ino, { kind: 'inline', bytes }, attr)
    if (i % 4 === 0) tree.make(tree.root, `new ${i}` as Name, { ...init, kind: KIND_FILE })
    committer.placeAll()
    if (i % 500 === 0) await core.sync()
  }
  await core.sync()
  await core.pump()
}

/** A program that makes, writes, renames and removes files, thinking between any two calls. */
async function work(core: EngineCore, isOver: () => boolean): Promise<number[]> {
  const { tree } = core
  const tookMs: number[] = []
  for (let n = 0; !isOver(); n++) {
    const dueMs = performance.now() + THINK_MS
    await sleep(THINK_MS)
    const name = `own ${Math.floor(n / 4) % 1000}` as Name
    const other = `${name}~` as Name
    const found = tree.lookup(tree.root, name)
    if (n % 4 === 0 && found === undefined) tree.make(tree.root, name, { ...init, kind: KIND_FILE })
    else if (n % 4 === 1 && found !== undefined) {
      const attr = tree.node(found.ino)?.attr
      if (attr !== undefined) {
        const bytes = Buffer.from(`${n}`)
        tree.put(found.ino, { kind: 'inline', bytes }, { ...attr, sizeBytes: bytes.length })
      }
    } else if (n % 4 === 2 && found !== undefined) tree.rename(tree.root, name, tree.root, other)
    else if (n % 4 === 3 && tree.lookup(tree.root, other) !== undefined) {
      tree.release(tree.unlink(tree.root, other).ino)
    }
    tookMs.push(performance.now() - dueMs)
  }
  return tookMs
}

/** CPU time of this thread so far, in ms (Linux). */
function threadMs(): number {
  const text = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1')
  return Number(text.split(' ')[0]) / 1e6
}

/** CPU time of the thread between turns of the loop. */
async function holds(isOver: () => boolean): Promise<number[]> {
  const heldMs: number[] = []
  for (let before = threadMs(); !isOver();) {
    await pause()
    const now = threadMs()
    heldMs.push(now - before)
    before = now
  }
  return heldMs
}

function tell(what: string, tookMs: number[], note = ''): void {
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (part: number): string => (
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(2)
  )
  rows.push({
    what, operations: sorted.length,
    p50: at(0.5), p99: at(0.99), 'p99.9': at(0.999), max: at(1), note,
  })
}

try {
  const other = await openVault('A')
  await author(other)
  const { blocks } = other.logs
  await other.close()
  const here = await openVault('B')
  const all = [...blocks].flatMap(([from, list]) => list.map((block) => ({ from, block })))
  const backlog = all.splice(all.length - batchCount)
  for (const { from, block } of all) here.logs.put(from, block)
  const beginMs = performance.now()
  await here.core.pump()
  const firstMs = performance.now() - beginMs
  await here.core.checkpointer.run()
  let isOver = false
  const idle = [work(here.core, () => isOver), holds(() => isOver)]
  await sleep(15_000)
  isOver = true
  const [idleMs = [], idleHeldMs = []] = await Promise.all(idle)
  tell('idle', idleMs)
  tell('idle: thread held', idleHeldMs, 'CPU time')
  for (const { from, block } of backlog) here.logs.put(from, block)
  let isApplied = false
  const cpuBefore = process.cpuUsage()
  const startMs = performance.now()
  const busy = [work(here.core, () => isApplied), holds(() => isApplied)]
  await here.core.pump()
  const passedMs = performance.now() - startMs
  const cpu = process.cpuUsage(cpuBefore)
  isApplied = true
  const cpuUs = (cpu.user + cpu.system) / batchCount
  const [busyMs = [], heldMs = []] = await Promise.all(busy)
  tell('while applying', busyMs, `${batchCount} batches in ${(passedMs / 1000).toFixed(1)} s, ` +
    `${cpuUs.toFixed(0)} µs of CPU each, ` +
    `RSS ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`)
  tell('while applying: thread held', heldMs, 'CPU time')
  rows.push({
    what: `the first ${fileCount} files, applied`, note: `${(firstMs / 1000).toFixed(1)} s`,
  })
  await here.close()
  console.table(rows)
  if (process.argv.includes('--json')) for (const row of rows) console.log(JSON.stringify(row))
} finally {
  rmSync(directory, { recursive: true, force: true })
}
