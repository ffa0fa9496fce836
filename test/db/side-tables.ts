// Groups, names passed over, batches, control batches and every field of a node's record: LMDB
// gives what memory gives, before, during and after checkpoints, taken back ones too, and after
// reopening. SEED=n repeats a run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../../src/ops/types.ts'
import { AuthorTable } from '../../src/state/author-table.ts'
import { makeRoot } from '../../src/state/fold.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta, decodeMeta, encodeMeta, nextAuthorState } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import { RecordCodec } from '../../src/state/record-codec.ts'
import { NOWHERE, NodeRecord } from '../../src/state/records.ts'
import type { ControlBatch, GroupRecord } from '../../src/state/records.ts'
import { StateHash } from '../../src/state/state-hash.ts'
import type { GroupPlace, Store } from '../../src/state/store.ts'
import { RecordReader, RecordWriter } from '../../src/state/wire.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { describe } from '../vault/tree.helper.ts'

const AUTHORS = ['A', 'B', 'C'].map((letter) => letter.repeat(32) as AuthorId)
const OWN = AUTHORS[0]!
const ROOT = '\x01root-node-id-16' as NodeId
const STEPS = 400

function id(kind: number, number: number): NodeId {
  return (String.fromCharCode(kind) + String(number).padStart(15, '0')) as NodeId
}

function refOf(random: SeededRandom): OpRef {
  const seq = random.int(0, 9)
  return { ms: 1e12 + seq, counter: 3, author: random.pick(AUTHORS), seq, index: 1, order: 0 }
}

function randomGroup(random: SeededRandom): GroupRecord {
  const claim = (_: unknown, i: number) => (
    { link: id(2, i) as string as LinkId, node: id(2, random.int(0, 9)) }
  )
  const claims = Array.from({ length: random.int(1, 4) }, claim)
  const shown = claims.map(({ link, node }, i) => (
    { name: `shown ${i}` as Name, kind: i === 0 ? 'main' as const : 'variant' as const, link, node }
  ))
  const skipped = random.chance(0.3) ? ['passed over' as Name] : []
  return { claims, shown, skipped }
}

/** The same steps for both stores. */
function step(stores: readonly Store[], random: SeededRandom, seq: number, position: number): void {
  const dir = random.int(2, 6)
  const name = `name ${random.int(0, 12)}` as Name
  switch (random.int(0, 5)) {
    case 0:
    case 1: {
      const group = random.chance(0.4) ? undefined : randomGroup(random)
      for (const store of stores) store.putGroup(dir, name, group)
      return
    }
    case 2: {
      const by = random.chance(0.4) ? [] : [`by ${random.int(0, 3)}` as Name]
      for (const store of stores) store.setSkips(dir, name, by)
      return
    }
    default: {
      const author = random.pick(AUTHORS)
      const info = { position, ms: 1e12 + seq, counter: seq % 5 }
      for (const store of stores) store.putBatch(author, seq, info)
      if (!random.chance(0.3)) return
      const body = random.bytes(random.int(0, 40))
      const ops = [{ index: 0, control: 3, critical: random.chance(0.5), body }]
      const vv = new Map([[author, seq + 1], [random.pick(AUTHORS), 2]])
      const batch: ControlBatch = { author, seq, ms: info.ms, counter: 2, vv, ops }
      for (const store of stores) store.putControl(batch)
    }
  }
}

/** Everything that the tables say, comparable. */
function dump(store: Store, seqs: number, page: number): unknown {
  const groups: unknown[] = []
  let after: GroupPlace | undefined
  for (;;) {
    const found = store.groups(after, page)
    for (const { dir, name, group } of found) groups.push([dir, name, group])
    after = found.at(-1)
    if (found.length < page) break
  }
  const control: ControlBatch[] = []
  for (;;) {
    const found = store.control(control.at(-1), page)
    control.push(...found)
    if (found.length < page) break
  }
  const named: unknown[] = []
  for (let dir = 2; dir < 6; dir++) {
    for (let i = 0; i < 12; i++) {
      const name = `name ${i}` as Name
      named.push([dir, name, store.group(dir, name), store.skips(dir, name)])
    }
  }
  const batches: unknown[] = []
  for (const author of AUTHORS) {
    for (let seq = 0; seq < seqs; seq++) batches.push(store.batch(author, seq))
  }
  const sorted = groups.map((one) => JSON.stringify(one)).toSorted()
  return { groups: sorted, control, named, batches }
}

t.test(`LMDB and memory say the same, seed ${testSeed()}`, async (t) => {
  const random = new SeededRandom(testSeed())
  const directory = mkdtempSync(join(tmpdir(), 'lattice-side-'))
  const options = {
    directory, vaultId: 'aa', rootNode: ROOT,
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  }
  let index = await LmdbIndex.open(options)
  t.teardown(async () => {
    await index.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const base = new MemoryBase()
  const memory = new Overlay(base, new StateMeta())
  makeRoot(memory, ROOT)
  for (let seq = 0; seq < STEPS; seq++) {
    step([index.store, memory], random, seq, seq)
    if (!random.chance(0.05)) continue
    index.freeze()
    const frozen = memory.freeze()
    // placed between freeze and cut: goes with what was frozen, or waits
    const late = { position: seq + random.int(0, 2), ms: 5, counter: 0 }
    for (const store of [index.store, memory]) store.putBatch(OWN, STEPS + seq, late)
    const page = random.int(1, 9)
    t.strictSame(dump(index.store, 2 * STEPS, page), dump(memory, 2 * STEPS, page), 'frozen')
    if (random.chance(0.3)) {
      index.thaw()
      memory.thaw()
    } else {
      const position = seq + 1 as JournalPosition
      const cut = { position, batches: 0, ms: 0, counter: 0, resume: new Uint8Array(0) }
      memory.takeEarlierBatches(position)
      base.absorb(frozen)
      memory.release()
      await index.write(position, OWN, cut)
      if (late.position < position && random.chance(0.5)) {
        await index.close()
        index = await LmdbIndex.open(options)
      }
    }
    t.strictSame(dump(index.store, 2 * STEPS, page), dump(memory, 2 * STEPS, page), 'after')
  }
})

t.test('every field of a record comes back', (t) => {
  const random = new SeededRandom(testSeed())
  const codec = new RecordCodec(new AuthorTable())
  for (let run = 0; run < 300; run++) {
    const record = randomRecord(random)
    const writer = new RecordWriter()
    const embedded = record.onlyLink !== undefined && random.chance(0.5)
    codec.encode(writer, record, embedded)
    const link = record.onlyLink
    const embedding = embedded && link !== undefined
      ? { ino: record.ino, parent: link.shownParent, cookie: link.cookie, name: link.shownName }
      : undefined
    const back = codec.decode(new RecordReader(writer.view()), record.ino, embedding)
    t.equal(describe(back), describe(record))
  }
  t.end()
})

t.test('the state hash is of what is replicated, and of nothing else', (t) => {
  const random = new SeededRandom(testSeed())
  for (let run = 0; run < 100; run++) {
    const record = randomRecord(random)
    record.virtualOf = ''
    const hash = new StateHash()
    const plain = hash.hashOf(record)
    const other = record.clone()
    const link = { ...other.links[0]!, shownName: 'other' as Name, wanted: false, cookie: 77 }
    other.links = [link, ...other.links.slice(1)]
    other.mergedInto = id(1, 3)
    other.members = [id(1, 3), id(1, 4)]
    Object.assign(other, {
      grouped: true, claimCount: 5, skipCount: 2, last: refOf(random), ino: 9,
    })
    t.equal(hash.hashOf(other), plain)
    const born = { ...link, births: [...link.births, refOf(random)] }
    other.links = [born, ...other.links.slice(1)]
    t.not(hash.hashOf(other), plain)
    hash.update(record)
    const digest = hash.digest()
    const shown = randomRecord(random)
    shown.virtualOf = record.node
    hash.update(shown)
    t.equal(hash.digest(), digest, 'a variant that no op made')
    shown.virtualOf = ''
    hash.update(shown)
    t.not(hash.digest(), digest)
    shown.virtualOf = record.node
    hash.update(shown)
    t.equal(hash.digest(), digest, 'and a variant again')
  }
  t.end()
})

t.test('counters come back', (t) => {
  const meta = new StateMeta()
  const treeHash = new Uint8Array(32).fill(9)
  const vv = new Map([[AUTHORS[0]!, 4], [AUTHORS[2]!, 7]])
  meta.authors.set(AUTHORS[0]!, { length: 4, ms: 17, counter: 2, treeHash, vv })
  const change = { length: 7, ms: 18, counter: 0 }
  meta.authors.set(AUTHORS[2]!, nextAuthorState(undefined, change))
  Object.assign(meta, { nextIno: 70, nextMint: 8, files: 3, directories: 2, conflicts: 5 })
  const writer = new RecordWriter()
  encodeMeta(writer, meta)
  t.strictSame(decodeMeta(new RecordReader(writer.view())), meta)
  t.strictSame(meta.copy(), meta)
  t.end()
})

function randomRecord(random: SeededRandom): NodeRecord {
  const kind = random.chance(0.5) ? KIND_DIRECTORY : KIND_FILE
  const node = id(kind, random.int(0, 1e6))
  const record = new NodeRecord(random.int(2, 1e6), node, kind)
  const refs = (max: number) => Array.from({ length: random.int(0, max) }, () => refOf(random))
  const count = kind === KIND_DIRECTORY ? 1 : random.int(1, 3)
  record.links = Array.from({ length: count }, (_, i) => {
    const pos = refOf(random)
    const name = `n${i}` as Name
    const shown = random.chance(0.7)
    return {
      link: (i === 0 ? node : id(kind, i)) as string as LinkId,
      parent: random.chance(0.2) ? NOWHERE : id(1, random.int(0, 9)), name, pos,
      births: random.chance(0.5) ? [pos] : [refOf(random), refOf(random)],
      heads: refs(3), rm: random.chance(0.3) ? refOf(random) : undefined,
      skipped: random.chance(0.2), wanted: random.chance(0.7), shown,
      shownParent: shown ? random.int(1, 99) : 0, cookie: shown ? random.int(3, 99) : 0,
      shownName: random.chance(0.3) ? `n${i} (conflict)` as Name : name,
    }
  })
  record.mode = 0o644
  record.modeRef = refOf(random)
  record.touches = refs(3)
  record.hasCut = random.chance(0.3)
  record.grouped = random.chance(0.3)
  record.last = random.chance(0.8) ? refOf(random) : undefined
  if (random.chance(0.3)) record.virtualOf = id(2, 7)
  if (kind !== KIND_DIRECTORY) return record
  record.entryCount = random.int(0, 9)
  record.claimCount = random.int(0, 9)
  record.skipCount = random.int(0, 9)
  if (random.chance(0.3)) record.mergedInto = id(1, 5)
  if (random.chance(0.3)) record.members = [id(1, 5), id(1, 6)]
  return record
}
