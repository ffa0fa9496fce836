// A directory that grows to a million entries, one in a hundred of them in conflict with another
// device's file of the same name: what listing, looking up and changing cost per entry at 10,000,
// 100,000 and 1,000,000, in CPU time of the process (wall clock says little on a busy machine).
//   node --import tsx bench/directory.ts [entries]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbIndex } from '../src/db/lmdb-index.ts'
import { Ids } from '../src/ops/ids.ts'
import type { AuthorId, Name, Op, OpRef } from '../src/ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../src/ops/types.ts'
import { Facts } from '../src/state/facts.ts'
import { Fold } from '../src/state/fold.ts'
import type { FoldContext } from '../src/state/fold.ts'
import type { Ino } from '../src/vault/buffers.ts'
import { LiveTree } from '../src/vault/live-tree.ts'
import type { UserOperation } from '../src/vault/pending.ts'
import type { JournalPosition } from '../src/vault/ports.ts'

const OWN = 'A'.repeat(32) as AuthorId
const OTHER = 'B'.repeat(32) as AuthorId
const CONFLICT_EVERY = 100
const CHECKPOINT_EVERY = 2000
const SAMPLE = 2000

const ids = new Ids(Buffer.alloc(32, 3))
const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-'))
const total = Number(process.argv.slice(2).find((one) => /^\d+$/.test(one)) ?? 1_000_000)
const steps = [10_000, 100_000, 1_000_000].filter((count) => count < total).concat(total)
const rows: Record<string, number | string>[] = []
let seq = 0

const place = (refs: readonly OpRef[], author: AuthorId): void => {
  refs.forEach((ref, index) => {
    Object.assign(ref, { ms: 1_700_000_000_000 + seq, counter: 0, author, seq, index })
  })
  seq++
}
const queue = {
  last: 0,
  push(operation: UserOperation): number {
    place(operation.refs, OWN)
    return ++this.last
  },
  unblock: () => undefined,
  stuck: () => undefined,
  durable: () => Promise.resolve(),
}
const clock = {
  nowMs: () => Date.now(),
  now: () => ({ sec: 1_800_000_000, nsec: 5 }),
  setTimer: () => ({ cancel: () => undefined }),
}
const context: FoldContext = {
  standing: () => 'valid', label: (author) => (author === OWN ? 'here' : 'there'),
  history: () => [], isOpen: () => false,
  changes: {
    entry: () => undefined, node: () => undefined, content: () => undefined,
    detached: () => undefined,
  },
}

const index = await LmdbIndex.open({
  directory: folder, vaultId: '00', rootNode: ids.root(Buffer.alloc(16)),
  valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
})
const fold = new Fold(index.store, ids, context)
const tree = new LiveTree({
  store: index.store, queue, ids, author: OWN, clock, owner: { uid: 0, gid: 0 }, fold,
})
const init = { kind: KIND_FILE, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: '' } as const
const big = tree.make(tree.root, 'big' as Name, { ...init, kind: KIND_DIRECTORY, mode: 0o755 }).ino
const bigNode = (index.store.node(big) ?? { node: '' as never }).node
let mint = 0

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Microseconds of CPU time for each of `count`. */
function each(count: number, run: () => void): number {
  const begin = cpuMs()
  run()
  return Math.round((cpuMs() - begin) * 10_000 / count) / 10
}

async function checkpoint(): Promise<void> {
  index.freeze()
  const position = index.cursor + 1 as JournalPosition
  await index.write(position, OWN, {
    position, batches: seq, ms: 1, counter: 0, resume: new Uint8Array(0),
  })
}

/** Another device's file of that name, made without having seen this one's. */
function remoteFile(name: Name): void {
  const node = ids.node(OTHER, ++mint, KIND_FILE)
  const bytes = Buffer.from(`there ${mint}`)
  const ops: Op[] = [
    { kind: 'mk', mint, node, nodeKind: KIND_FILE, parent: bigNode, name, attrs: [] },
    {
      kind: 'put', node, base: [], sizeBytes: bytes.length, mtimeSec: 1, mtimeNsec: 0,
      content: { kind: 'inline', bytes },
    },
  ]
  const refs = ops.map(() => ({ ms: 0, counter: 0, author: OTHER, seq: 0, index: 0, order: 0 }))
  place(refs, OTHER)
  const facts = new Facts(1, 0)
  facts.opCount = ops.length
  fold.apply(ops, refs, facts, () => true)
}

const nameOf = (i: number): Name => `entry-${i}.txt` as Name
const sampled = (count: number): number[] => (
  Array.from({ length: SAMPLE }, (_, i) => Math.floor((i * (count - 1)) / SAMPLE) + (i % 2))
)

async function grow(from: number, to: number): Promise<{ makeUs: number; remoteUs: number }> {
  let makeUs = 0
  let remoteUs = 0
  for (let at = from; at < to; at += CHECKPOINT_EVERY) {
    const end = Math.min(to, at + CHECKPOINT_EVERY)
    makeUs += (end - at) * each(end - at, () => {
      for (let i = at; i < end; i++) tree.make(big, nameOf(i), init)
    })
    await checkpoint()
    const conflicts = Math.ceil((end - at) / CONFLICT_EVERY)
    remoteUs += conflicts * each(conflicts, () => {
      for (let i = at; i < end; i += CONFLICT_EVERY) remoteFile(nameOf(i))
    })
  }
  await checkpoint()
  const count = to - from
  return { makeUs: makeUs / count, remoteUs: remoteUs / (count / CONFLICT_EVERY) }
}

function listAll(): number {
  let listed = 0
  for (let after = 0; ;) {
    const page = tree.list(big as Ino, after, 512)
    listed += page.length
    if (page.length < 512) return listed
    after = page.at(-1)?.cookie ?? 0
  }
}

let grown = 0
for (const count of steps) {
  const before = grown
  const { makeUs, remoteUs } = await grow(before, count)
  grown = count
  let listed = 0
  const listUs = each(count, () => void (listed = listAll()))
  const lookupUs = each(SAMPLE, () => {
    for (const i of sampled(count)) tree.lookupNode(big, nameOf(i))
  })
  // those before have been renamed
  const fresh = sampled(count).filter((i) => i >= before + CONFLICT_EVERY)
  const conflicted = fresh.map((i) => i - (i % CONFLICT_EVERY))
  const unique = [...new Set(conflicted)].slice(0, 200)
  const touchUs = each(unique.length, () => {
    for (const i of unique) tree.rename(big, nameOf(i), big, `moved-${count}-${i}` as Name)
  })
  const plain = fresh.filter((i) => i % CONFLICT_EVERY !== 0).slice(0, 1000)
  const renameUs = each(plain.length, () => {
    for (const i of plain) tree.rename(big, nameOf(i), big, `renamed-${count}-${i}` as Name)
  })
  await checkpoint()
  rows.push({
    entries: count, shown: listed, 'list us': listUs, 'lookup us': lookupUs,
    'make us': Math.round(makeUs * 10) / 10, 'rename us': renameUs,
    'conflict arrives us': Math.round(remoteUs * 10) / 10, 'conflict renamed us': touchUs,
    'RSS MiB': Math.round(process.memoryUsage().rss / 2 ** 20),
  })
}
await index.close()
rmSync(folder, { recursive: true, force: true })
if (process.argv.includes('--json')) for (const row of rows) console.log(JSON.stringify(row))
else console.table(rows)
