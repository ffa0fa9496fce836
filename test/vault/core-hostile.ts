// What a writer with a program of its own can put into its log: values at their bounds, times out
// of this world, more than a journal record holds. Honest devices go on, agree, and can be
// reopened.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { blake2b } from '../../src/crypto/hash.ts'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { BATCH_MAX_BYTES, BATCH_OPS_MAX } from '../../src/ops/bounds.ts'
import { encodeBatch } from '../../src/ops/codec.ts'
import { sealBatch } from '../../src/ops/envelope.ts'
import { KIND_CHAR_DEVICE, KIND_FILE } from '../../src/ops/types.ts'
import type { AuthorId, Batch, ChunkId, Name, NodeId, NodeKind, Op } from '../../src/ops/types.ts'
import { Facts, decodeFacts, encodeFacts } from '../../src/state/facts.ts'
import { StateMeta } from '../../src/state/meta.ts'
import { ATTR_ATIME } from '../../src/vault/buffers.ts'
import type { Attr, Ino } from '../../src/vault/buffers.ts'
import type { EngineCoreOptions } from '../../src/vault/engine-core.ts'
import { JOURNAL_RECORD_MAX_BYTES } from '../../src/vault/ports.ts'
import {
  Device, MemoryLogs, authorNamed, epochNamed, heal, ids, rootNode, vaultId,
} from './cores.helper.ts'

/** An author without an engine: its log has whatever it likes. */
class Hostile {
  readonly author = authorNamed('H')
  readonly logs = new MemoryLogs(this.author)
  #mint = 0

  batch(
    ops: Op[], { ms = 1_800_000_000_000, counter = 0, deps = [] }: Partial<Batch> = {},
  ): number {
    const seq = this.logs.length(this.author)
    const epochId = epochNamed('1')
    const opKey = blake2b(32, Buffer.concat([epochId, Buffer.from('op')]))
    const nonce = Buffer.alloc(24)
    nonce.writeUInt32BE(seq)
    const plain = encodeBatch({ ms, counter, deps, ops }, this.author, seq)
    this.logs.put(this.author, sealBatch(plain, { vaultId, author: this.author, seq }, {
      epochId, opKey, nonce,
    }))
    return seq
  }

  mk(name: string, nodeKind: NodeKind = KIND_FILE, parent: NodeId = rootNode): Op & { kind: 'mk' } {
    const mint = ++this.#mint
    const node = ids.node(this.author, mint, nodeKind)
    return { kind: 'mk', mint, node, nodeKind, parent, name: name as Name, attrs: [] }
  }

  put(node: NodeId, change: Partial<Op & { kind: 'put' }> = {}): Op {
    return {
      kind: 'put', node, base: [], sizeBytes: 0, mtimeSec: 0, mtimeNsec: 0,
      content: { kind: 'inline', bytes: new Uint8Array() }, ...change,
    }
  }
}

/** A device whose index is on a disk. */
class LmdbDevice extends Device {
  readonly directory = mkdtempSync(join(tmpdir(), 'lattice-hostile-'))
  lmdb!: LmdbIndex

  async begin(): Promise<void> {
    this.lmdb = await LmdbIndex.open({
      directory: this.directory, vaultId: 'aa', rootNode: this.rootNode,
      valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
    })
    await this.start()
  }

  override options(): EngineCoreOptions {
    return { ...super.options(), index: this.lmdb }
  }

  async reopen(): Promise<void> {
    await this.core.close()
    await this.lmdb.close()
    await this.begin()
  }
}

const chunk = '\u0001'.repeat(32) as ChunkId
const root = { chunk, chunkBytes: 100, begin: 0, length: 100 }
const tree = { kind: 'tree' as const, chunker: 1, depth: 8, root }
const HUGE = { sizeBytes: Number.MAX_SAFE_INTEGER, content: tree }

t.test('values at their bounds are stored and read back', async (t) => {
  const hostile = new Hostile()
  const b = new LmdbDevice('B', 5)
  t.teardown(() => rmSync(b.directory, { recursive: true, force: true }))
  await b.begin()
  const files = ['late', 'early', 'huge', 'huge too', 'huge three'].map((name) => hostile.mk(name))
  const device = hostile.mk('device', KIND_CHAR_DEVICE)
  device.attrs = [{ key: 2, uid: 0xfffffffe, gid: 0xfffffffe }, { key: 6, rdev: 2 ** 52 }]
  const times: Op[] = [2 ** 51, -(2 ** 51)].map((mtimeSec, i) => (
    hostile.put(files[i]!.node, { mtimeSec, mtimeNsec: 999_999_999 })
  ))
  const huge = files.slice(2).map(({ node }) => hostile.put(node, HUGE))
  hostile.batch([...files, device, ...times, ...huge])
  b.logs.pull(hostile.logs)
  await b.core.pump()
  t.equal(b.list().length, 6)
  const before = b.list(true)
  await b.checkpoint()
  await b.reopen()
  t.same(b.list(true), before, 'read back as it was')
  t.ok(b.tree.counts().contentBytes > 0)
  b.save('/own', 'goes on')
  await b.sync()
  await b.checkpoint()
  await b.reopen()
  t.equal(b.list().length, 7)
  await b.core.close()
  await b.lmdb.close()
})

t.test('a clock at its end: own times are what others work out', async (t) => {
  const hostile = new Hostile()
  hostile.batch([hostile.mk('from the future')], { ms: 2 ** 47, counter: 0xffff })
  const [b, c] = [await Device.start('B', 1), await Device.start('C', 2)]
  for (const device of [b, c]) device.logs.pull(hostile.logs)
  await heal([b, c])
  for (let round = 0; round < 4; round++) {
    b.save(`/of b ${round}`, 'x')
    await b.sync()
    // an operation that nobody else hears of
    const ino = b.at(`/of b ${round}`) as Ino
    const attr: Attr = { ...b.tree.node(ino)!.attr, atimeSec: 5 }
    b.tree.setAttrs(ino, ATTR_ATIME, attr)
    await b.sync()
    b.save(`/both ${round}`, 'b')
    c.save(`/both ${round}`, 'c')
    await heal([b, c])
  }
  for (const { author } of [b, c]) {
    const [one, two] = [b, c].map((device) => device.core.store.meta.authors.get(author)!)
    t.same([one!.ms, one!.counter], [two!.ms, two!.counter], 'the same effective time')
  }
  t.same(b.list(), c.list())
  t.equal(await b.stateHash(), await c.stateHash())
})

t.test('what a step draws fits into a record of the journal, however much it is', async (t) => {
  const place = { author: authorNamed('H'), seq: 2 ** 40 }
  const meta = new StateMeta()
  meta.nextIno = 2 ** 50 // numbers of eight bytes
  const facts = new Facts(1, 2)
  facts.opCount = BATCH_OPS_MAX
  facts.chain = Array.from({ length: BATCH_OPS_MAX }, (_, i) => ({
    ms: 0, counter: 0, order: 0, author: i.toString(16).padStart(32, '0') as AuthorId,
    seq: 2 ** 50, index: BATCH_OPS_MAX - 1,
  }))
  const inos = Array.from({ length: 200_000 }, () => facts.ino(meta))
  const bytes = encodeFacts([facts], place)
  t.ok(bytes.length + BATCH_MAX_BYTES + 1024 < JOURNAL_RECORD_MAX_BYTES)
  const [read] = decodeFacts(bytes, place)
  t.same(read!.chain, facts.chain, 'the chain is whole')
  const again = new StateMeta()
  t.same(inos.map(() => read!.ino(again, () => true)), inos, 'drawn anew, they are the same')
})

t.test('a batch that fails halfway is neither stored nor built on', async (t) => {
  const hostile = new Hostile()
  const b = await Device.start('B', 7)
  b.save('/own', 'b')
  await b.sync()
  await b.checkpoint()
  const { fold } = b.core
  const apply = fold.apply.bind(fold)
  fold.apply = (...args) => {
    apply(...args)
    throw new Error('a bug')
  }
  hostile.batch([hostile.mk('half')])
  b.logs.pull(hostile.logs)
  await t.rejects(b.core.pump(), { message: 'a bug' })
  t.equal(b.core.mayWrite, false)
  await t.rejects(b.checkpoint())
  await b.core.pump().catch(() => undefined)
  t.equal(b.core.applier.length(hostile.author), 0, 'it is not tried again on top')
  await b.crash()
  t.equal(b.list().length, 1)
  await b.core.pump()
  t.equal(b.list().length, 2)
  t.equal(b.core.mayWrite, true)
  await b.checkpoint()
})
