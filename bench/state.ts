// What the live tree costs in CPU time (all threads; wall clock says little on a busy machine):
// make and put live, a checkpoint, cold and warm lookups, lists with nodes, a directory of a
// million entries, a rebuild. One table; JSON lines with --json.
//   node --import tsx bench/state.ts [entries of the big directory]
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbIndex } from '../src/db/lmdb-index.ts'
import { Ids } from '../src/ops/ids.ts'
import type { AuthorId, ChunkId, Content, Name } from '../src/ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../src/ops/types.ts'
import type { Attr, Ino } from '../src/vault/buffers.ts'
import { LiveTree } from '../src/vault/live-tree.ts'
import type { UserOperation } from '../src/vault/pending.ts'
import type { JournalPosition } from '../src/vault/ports.ts'

const AUTHOR = 'A'.repeat(32) as AuthorId
const ids = new Ids(Buffer.alloc(32, 3))
const directory = mkdtempSync(join(tmpdir(), 'lattice-bench-'))
const bigCount = Number(process.argv.slice(2).find((one) => /^\d+$/.test(one)) ?? 200_000)
const rows: { what: string; usEach: number; note: string }[] = []

/** Places refs at once, so that checkpoints need no committer. */
const queue = {
  last: 0,
  seq: 0,
  push(operation: UserOperation): number {
    operation.refs.forEach((ref, index) => {
      Object.assign(ref, { ms: 1_700_000_000_000 + this.seq, seq: this.seq, index })
    })
    this.seq++
    return ++this.last
  },
  unblock(): void {},
  stuck(): void {},
  durable: () => Promise.resolve(),
}
const clock = {
  nowMs: () => Date.now(),
  now: () => ({ sec: 1_800_000_000, nsec: 5 }),
  setTimer: () => ({ cancel: () => undefined }),
}

function openIndex(): Promise<LmdbIndex> {
  return LmdbIndex.open({
    directory, vaultId: '00', rootNode: ids.root(Buffer.alloc(16)),
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  })
}

let index = await openIndex()
const owner = { uid: 0, gid: 0 }
const treeOf = () => (
  new LiveTree({ store: index.store, queue, ids, author: AUTHOR, clock, owner })
)
let tree = treeOf()

/** CPU time of the process so far, in ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function report(what: string, count: number, startMs: number, note = ''): void {
  const usEach = ((cpuMs() - startMs) * 1000) / count
  rows.push({ what, usEach: Math.round(usEach * 100) / 100, note })
}

/** Returns the longest time that the thread was held. */
async function checkpoint(): Promise<number> {
  let longestMs = 0
  let last = performance.now()
  const watch = setInterval(() => {
    const now = performance.now()
    longestMs = Math.max(longestMs, now - last - 1)
    last = now
  }, 1)
  index.freeze()
  const position = index.cursor + 1 as JournalPosition
  await index.write(position, AUTHOR, {
    position, batches: queue.seq, ms: 1, counter: 0, resume: new Uint8Array(0),
  })
  clearInterval(watch)
  return longestMs
}

const init = { kind: KIND_FILE, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: '' } as const

function content(i: number): Content {
  const chunk = String(i).padStart(32, '0') as ChunkId
  return { kind: 'refs', chunker: 1, refs: [{ chunk, chunkBytes: 4000, begin: 0, length: 4000 }] }
}

const DIRECTORIES = 200
const FILES = 20_000
const parents: Ino[] = []
for (let i = 0; i < DIRECTORIES; i++) {
  const name = `directory-${i}` as Name
  parents.push(tree.make(tree.root, name, { ...init, kind: KIND_DIRECTORY, mode: 0o755 }).ino)
}
const place = (i: number) => (
  { parent: parents[i % DIRECTORIES] as Ino, name: `component-${i}.test.ts` as Name }
)

const BATCH = 2000
for (const round of ['first', 'second']) {
  let makeMs = 0
  let putMs = 0
  let writeMs = 0
  let heldMs = 0
  for (let from = 0; from < FILES; from += BATCH) {
    const made: { ino: Ino; attr: Attr }[] = []
    let start = cpuMs()
    for (let i = from; i < from + BATCH; i++) {
      const name = `${round}-component-${i}.test.ts` as Name
      made.push(tree.make(place(i).parent, name, init))
    }
    makeMs += cpuMs() - start
    start = cpuMs()
    made.forEach(({ ino, attr }, i) => {
      tree.put(ino, content(from + i), { ...attr, sizeBytes: 4000 })
    })
    putMs += cpuMs() - start
    start = cpuMs()
    heldMs = Math.max(heldMs, await checkpoint())
    writeMs += cpuMs() - start
  }
  rows.push({ what: `make, ${round}`, usEach: makeMs * 1000 / FILES, note: '' })
  rows.push({ what: `put, ${round}`, usEach: putMs * 1000 / FILES, note: '' })
  const note = `wall: thread held ${heldMs.toFixed(1)} ms at most`
  rows.push({ what: `checkpoint, per file`, usEach: writeMs * 1000 / FILES, note })
}
const bytes = statSync(join(directory, 'data.mdb')).size
rows.push({ what: 'LMDB bytes per file', usEach: Math.round(bytes / (2 * FILES)), note: 'bytes' })

await index.close()
index = await openIndex()
tree = treeOf()
let start = cpuMs()
for (let i = 0; i < FILES; i++) {
  const { parent, name } = place(i)
  if (tree.lookupNode(parent, `first-${name}` as Name) === undefined) throw new Error('lost')
}
report('lookupNode, cold records', FILES, start)
start = cpuMs()
for (let i = 0; i < 4000; i++) tree.lookupNode(place(i).parent, `first-${place(i).name}` as Name)
for (let i = 0; i < 4000; i++) tree.lookupNode(place(i).parent, `first-${place(i).name}` as Name)
report('lookupNode, half warm', 8000, start)
start = cpuMs()
for (let i = 0; i < 4000; i++) tree.lookupNode(place(i).parent, `first-${place(i).name}` as Name)
report('lookupNode, warm', 4000, start)
start = cpuMs()
for (let i = 0; i < FILES; i++) tree.lookupNode(place(i).parent, `no-${i}` as Name)
report('lookup of a missing name', FILES, start)

await index.close()
index = await openIndex()
tree = treeOf()
start = cpuMs()
let listed = 0
for (const parent of parents) {
  for (let after = 0; ;) {
    const page = tree.listNodes(parent, after, 128)
    listed += page.length
    if (page.length < 128) break
    after = page.at(-1)?.entry.cookie ?? 0
  }
}
report('listNodes, cold, per entry', listed, start, `${listed} entries`)
start = cpuMs()
listed = 0
for (const parent of parents) listed += tree.list(parent, 0, 10_000).length
report('list, per entry', listed, start)

const big = tree.make(tree.root, 'big' as Name, { ...init, kind: KIND_DIRECTORY }).ino
for (let part = 0; part < 4; part++) {
  let ms = 0
  for (let from = 0; from < bigCount / 4; from += BATCH) {
    const began = cpuMs()
    for (let i = from; i < from + BATCH; i++) {
      tree.make(big, `entry-${part * bigCount + i}` as Name, init)
    }
    ms += cpuMs() - began
    await checkpoint()
  }
  const what = `make, big directory, quarter ${part + 1}`
  rows.push({ what, usEach: ms * 1000 / (bigCount / 4), note: `${bigCount} entries` })
}
await checkpoint()
start = cpuMs()
listed = 0
for (let after = 0; ;) {
  const page = tree.list(big, after, 512)
  listed += page.length
  if (page.length < 512) break
  after = page.at(-1)?.cookie ?? 0
}
report('list of the big directory', listed, start, `${listed} entries`)
start = cpuMs()
for (let i = 0; i < 2000; i++) tree.unlink(big, `entry-${i}` as Name)
report('unlink in the big directory, cold', 2000, start)

await index.close()
rmSync(directory, { recursive: true, force: true })
const rss = Math.round(process.memoryUsage().rss / 2 ** 20)
rows.push({ what: 'RSS at the end', usEach: rss, note: 'MiB' })
if (process.argv.includes('--json')) for (const row of rows) console.log(JSON.stringify(row))
else console.table(rows.map((row) => ({ ...row, usEach: Math.round(row.usEach * 10) / 10 })))
