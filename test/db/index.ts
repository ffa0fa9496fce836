// The index on disk: what opens, what is refused and why, what a checkpoint keeps, chunk locations,
// a checkpoint that is taken back, and that nothing readable lies in the files.
import { mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { open as openLmdb } from 'lmdb'
import type { ChunkLocation } from '../../src/chunks/chunk-index-port.ts'
import { IndexEnvironment } from '../../src/db/environment.ts'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import type { ChunkId, Name, NodeId } from '../../src/ops/types.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../../src/ops/types.ts'
import { LatticeError } from '../../src/util/errors.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { AUTHOR, TestVault } from '../vault/tree.helper.ts'

const KEYS = { valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2) }
const ROOT = '\x01root-node-id-16' as NodeId
const FILE = { kind: KIND_FILE, mode: 0o644, uid: 1000, gid: 1000, rdev: 0, target: '' } as const

function openIndex(directory: string, change = {}): Promise<LmdbIndex> {
  return LmdbIndex.open({ directory, vaultId: 'aa', rootNode: ROOT, ...KEYS, ...change })
}

async function reasonOf(opening: Promise<LmdbIndex>): Promise<string> {
  try {
    await (await opening).close()
    return 'opened'
  } catch (error) {
    if (!(error instanceof LatticeError)) throw error
    return `${error.code} ${String(error.details['reason'])}`
  }
}

async function checkpoint(index: LmdbIndex, position = 5): Promise<void> {
  index.freeze()
  const place = position as JournalPosition
  const cut = { position: place, batches: 3, ms: 17, counter: 2, resume: Buffer.from('resume') }
  await index.write(place, AUTHOR, cut)
}

t.test('what does not open, and why', async (t) => {
  const directory = join(t.testdir(), 'index')
  const first = await openIndex(directory)
  t.equal(first.existed, false)
  await checkpoint(first)
  await first.close()
  t.equal(await reasonOf(openIndex(directory)), 'opened')
  t.equal(await reasonOf(openIndex(directory, { vaultId: 'bb' })), 'damaged-index vault')
  const wrongKey = { valueKey: Buffer.alloc(32, 9) }
  t.equal(await reasonOf(openIndex(directory, wrongKey)), 'damaged-index seal')
  const otherRoot = { rootNode: '\x01another-node-16' as NodeId }
  t.equal(await reasonOf(openIndex(directory, otherRoot)), 'damaged-index record')

  const binary = { keyEncoding: 'binary', encoding: 'binary' } as const
  const raw = openLmdb<Buffer, Buffer>({ path: directory, ...binary })
  await raw.put(Buffer.from('\0format', 'latin1'), Buffer.from('lattice index 99 aa'))
  await raw.close()
  t.equal(await reasonOf(openIndex(directory)), 'damaged-index version')

  const garbage = join(t.testdir(), 'garbage')
  mkdirSync(garbage)
  writeFileSync(join(garbage, 'data.mdb'), Buffer.alloc(20_000, 0x41))
  t.equal(await reasonOf(openIndex(garbage)), 'damaged-index lmdb')
  LmdbIndex.remove(garbage)
  t.equal(await reasonOf(openIndex(garbage)), 'opened')
})

t.test('a flipped value and a moved one are refused', async (t) => {
  const directory = join(t.testdir(), 'index')
  const environment = IndexEnvironment.open(directory, 'aa', KEYS.valueKey)
  t.teardown(() => environment.close())
  const a = Buffer.from('\x01aaaaaaaa')
  const b = Buffer.from('\x01bbbbbbbb')
  const sealed = environment.seal(a, Buffer.from('value'))
  const flipped = Buffer.from(sealed)
  flipped[30] = (flipped[30] as number) ^ 1
  await environment.write([{ key: a, value: sealed }, { key: b, value: sealed }])
  t.equal(environment.getSealed(a)?.toString(), 'value')
  t.throws(() => environment.getSealed(b), { code: 'damaged-index' })
  await environment.write([{ key: a, value: flipped }])
  t.throws(() => environment.getSealed(a), { code: 'damaged-index' })
})

t.test('a checkpoint keeps what it says', async (t) => {
  const directory = join(t.testdir(), 'index')
  let index = await openIndex(directory)
  const location: ChunkLocation = {
    where: 'pack', file: 2 ** 24 + 7, bundleOffset: 40_000_000_000, bundleBytes: 1 << 20,
    plainOffset: 500_000, storedBytes: 60_000, plainBytes: 65_536, codec: 1,
  }
  const known = 'k'.repeat(32) as ChunkId
  const unknown = 'u'.repeat(32) as ChunkId
  index.chunks.put(known, location)
  t.strictSame(index.chunks.get(known), location)
  t.ok(index.changes > 0)
  index.freeze()
  t.strictSame(index.chunks.get(known), location, 'while it is being written')
  index.thaw()
  t.strictSame(index.chunks.get(known), location, 'taken back')
  await checkpoint(index, 77)
  t.equal(index.changes, 0)
  index.chunks.put(unknown, location)
  await index.close()
  index = await openIndex(directory)
  t.teardown(() => index.close())
  t.equal(index.existed, true)
  t.equal(index.cursor, 77)
  t.equal(Buffer.from(index.resume ?? []).toString(), 'resume')
  t.match(index.store.meta.authors.get(AUTHOR), { length: 3, ms: 17, counter: 2 })
  t.strictSame(index.chunks.get(known), location)
  t.equal(index.chunks.get(unknown), undefined, 'after the checkpoint: lost with the process')
})

t.test('a checkpoint taken back loses nothing and orders entries', async (t) => {
  const vault = new TestVault(new FakeClock())
  t.teardown(() => vault.destroy())
  await vault.open()
  const { tree, index } = vault
  const names = () => tree.list(tree.root, 0, 100).map((entry) => entry.name).join('')
  for (const name of 'abc') tree.make(tree.root, name as Name, FILE)
  index.freeze()
  tree.make(tree.root, 'd' as Name, FILE)
  tree.unlink(tree.root, 'a' as Name)
  tree.rename(tree.root, 'b' as Name, tree.root, 'e' as Name)
  t.equal(names(), 'ecd')
  index.thaw()
  t.equal(names(), 'ecd')
  t.equal(tree.lookup(tree.root, 'b' as Name), undefined)
  t.equal(tree.list(tree.root, 0, 1).length, 1)
  index.freeze()
  tree.make(tree.root, 'f' as Name, FILE)
  vault.log.commit(100)
  const cut = await vault.log.cut()
  await index.write(cut.position, AUTHOR, cut)
  t.equal(names(), 'ecdf')
  t.equal(tree.counts().files, 4)
})

t.test('nothing readable lies in the index', async (t) => {
  const vault = new TestVault(new FakeClock())
  t.teardown(() => vault.destroy())
  await vault.open()
  const { tree, index } = vault
  const secret = 'a-name-that-nobody-may-read'
  for (let i = 0; i < 50; i++) {
    const { ino, attr } = tree.make(tree.root, `${secret}-${i}` as Name, FILE)
    const bytes = new Uint8Array(Buffer.from('words that nobody may read'))
    tree.put(ino, { kind: 'inline', bytes }, { ...attr, sizeBytes: bytes.length })
    tree.setXattr(ino, 'user.hidden-key', new Uint8Array(Buffer.from('hidden value')))
  }
  tree.make(tree.root, 'directory-nobody-sees' as Name, { ...FILE, kind: KIND_DIRECTORY })
  vault.log.commit(1000)
  index.freeze()
  const cut = await vault.log.cut()
  await index.write(cut.position, AUTHOR, cut)
  for (const file of readdirSync(vault.indexDirectory)) {
    const bytes = readFileSync(join(vault.indexDirectory, file))
    for (const word of ['nobody', 'hidden', 'user.', AUTHOR]) {
      t.equal(bytes.indexOf(word), -1, `${word} in ${file}`)
    }
  }
})

t.test('an index cut short is rebuilt, not served', async (t) => {
  const vault = new TestVault(new FakeClock())
  t.teardown(() => vault.destroy())
  await vault.open()
  for (let i = 0; i < 300; i++) vault.tree.make(vault.tree.root, `n${i}` as Name, FILE)
  vault.log.commit(1000)
  vault.index.freeze()
  const cut = await vault.log.cut()
  await vault.index.write(cut.position, AUTHOR, cut)
  const before = vault.dump()
  const hash = vault.index.stateHash()
  await vault.close()
  truncateSync(join(vault.indexDirectory, 'data.mdb'), 10_000)
  const reason = await reasonOf(vault.openIndex())
  t.match(reason, /^damaged-index/)
  LmdbIndex.remove(vault.indexDirectory)
  await vault.open()
  t.strictSame(vault.dump(), before)
  vault.index.freeze()
  const again = await vault.log.cut()
  await vault.index.write(again.position, AUTHOR, again)
  t.equal(vault.index.stateHash(), hash)
})
