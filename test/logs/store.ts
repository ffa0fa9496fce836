// Log stores by themselves: appending, reading in ranges with tree hashes, opening again,
// directories that are no good, and that no secret lies on the disk.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import Hypercore from 'hypercore'
import { decodeDescriptor, encodeDescriptor } from '../../src/logs/descriptor.ts'
import { logKey, logManifest, logNamespace, ownerOf } from '../../src/logs/log-keys.ts'
import { rootIndexes } from '../../src/logs/tree-hasher.ts'
import { BATCH_MAX_BYTES } from '../../src/ops/bounds.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import {
  authorOf, keyPairOf, newDirectory, openStore, someBlocks, vaultId,
} from './logs.helper.ts'

const ALL = { maxBlocks: 1e6, maxBytes: 1e9 }

t.test('what is appended is read, in order, and is there after opening again', async (t) => {
  const a = await openStore('A')
  const blocks = someBlocks(500, 'a')
  t.equal(await a.store.append(blocks.slice(0, 1)), true)
  t.equal(await a.store.append(blocks.slice(1)), true)
  const grown: number[] = []
  a.store.onGrowth((author, kind, length) => {
    if (author === a.author && kind === 'ops') grown.push(length)
  })
  t.equal(await a.store.appendContent([Buffer.from('descriptor')]), true)
  await new Promise((resolve) => setImmediate(resolve))
  t.same([a.store.length(a.author, 'ops'), a.store.length(a.author, 'content')], [500, 1])
  t.equal(a.store.length(authorOf('B'), 'ops'), 0)
  t.same(a.store.authors(), [a.author])
  t.same(await a.store.read(a.author, 'ops', 499), blocks[499])
  t.equal(await a.store.read(a.author, 'ops', 500), undefined)
  t.equal(await a.store.read(authorOf('B'), 'ops', 0), undefined)
  await a.store.close()
  await a.store.close()
  await t.rejects(a.store.append(blocks), { code: 'closed' })
  const again = await openStore('A', a.directory)
  t.equal(again.store.isNew, false)
  t.same(again.store.length(a.author, 'ops'), 500)
  t.same((await again.store.readRange(a.author, 'ops', 0, ALL)).blocks, blocks)
  await again.store.close()
  t.same([...a.troubles, ...again.troubles], [])
})

t.test('nothing is appended at another length than the caller thinks', async (t) => {
  const { store, author } = await openStore('A')
  await store.append(someBlocks(3, 'a'))
  t.equal(await store.append(someBlocks(1, 'x'), 2), false)
  t.equal(await store.append(someBlocks(1, 'x'), 4), false)
  const both = [store.append(someBlocks(1, 'x')), store.append(someBlocks(2, 'y'))]
  t.equal((await Promise.all(both)).filter(Boolean).length, 1, 'of two at once one')
  t.ok(store.length(author, 'ops') >= 4)
  await store.close()
})

t.test('tree hashes of ranges are those of Hypercore, from wherever one reads', async (t) => {
  const directory = newDirectory()
  const { store, author } = await openStore('A', directory)
  const blocks = someBlocks(300, 'a')
  blocks[7] = Buffer.alloc(0)
  await store.append(blocks.slice(0, 100))
  await store.append(blocks.slice(100))
  // the same log in a core of Hypercore's own
  const core = new Hypercore(join(directory, 'twin'), null, {
    manifest: logManifest(vaultId, author, 'ops'),
  })
  await core.append(blocks, { keyPair: keyPairOf('A'), maxLength: 1e9 })
  t.same(core.key, logKey(vaultId, author, 'ops'))
  const oracle: Buffer[] = []
  for (let length = 0; length <= 300; length++) oracle.push(await core.treeHash(length))
  for (const from of [0, 1, 7, 8, 63, 64, 65, 127, 128, 255, 299, 300]) {
    const range = await store.readRange(author, 'ops', from, ALL)
    t.same(range.before, oracle[from], `before ${from}`)
    t.same(range.treeHashes, oracle.slice(from + 1), `from ${from}`)
    t.same(range.blocks, blocks.slice(from))
  }
  const beyond = await store.readRange(author, 'ops', 301, ALL)
  t.same(beyond, { from: 301, before: undefined, blocks: [], treeHashes: [] })
  // piece by piece, as a reader that goes on does
  for (let from = 0; from < 300;) {
    const range = await store.readRange(author, 'ops', from, { maxBlocks: 7, maxBytes: 1000 })
    if (range.blocks.length === 0 || range.blocks.length > 7) t.fail(`${from}`)
    if (!range.treeHashes.every((hash, i) => oracle[from + i + 1]!.equals(hash))) t.fail('hash')
    from += range.blocks.length
  }
  for (const length of [0, 1, 150, 300]) {
    t.same(await store.treeHash(author, 'ops', length), oracle[length])
  }
  t.equal(await store.treeHash(author, 'ops', 301), undefined)
  t.same(store.head(author, 'ops')?.treeHash, oracle[300])
  await core.close()
  await store.close()
})

t.test('roots of every length', (t) => {
  t.same(rootIndexes(0), [])
  t.same(rootIndexes(1), [0])
  t.same(rootIndexes(7), [3, 9, 12])
  t.same(rootIndexes(2 ** 40), [2 ** 40 - 1])
  t.end()
})

t.test('ranges keep to their bounds; a block too large for a batch is not even read', async (t) => {
  const { store, author } = await openStore('A')
  const large = Buffer.alloc(BATCH_MAX_BYTES + 1, 'large')
  const most = Buffer.alloc(BATCH_MAX_BYTES, 'most')
  await store.append([most, ...someBlocks(3, 'a', 100), large, ...someBlocks(1, 'b')])
  const range = async (from: number, maxBlocks: number, maxBytes: number): Promise<number[]> => {
    const { blocks } = await store.readRange(author, 'ops', from, { maxBlocks, maxBytes })
    return blocks.map((block) => block.length)
  }
  t.same(await range(0, 10, 1), [BATCH_MAX_BYTES], 'the first whatever its size')
  t.same(await range(1, 10, 250), [100, 100])
  t.same(await range(1, 2, 1e6), [100, 100])
  t.same(await range(3, 9, 1e6), [100, BATCH_MAX_BYTES + 1, 300])
  const read = await store.read(author, 'ops', 4)
  t.ok(read?.every((byte) => byte === 0), 'something of that size stands for it')
  await store.close()
})

t.test('no secret is on the disk', async (t) => {
  const a = await openStore('A')
  await a.store.append(someBlocks(50, 'a'))
  await a.store.appendContent(someBlocks(50, 'c', 37))
  await a.store.close()
  const files = readdirSync(a.directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
  const { publicKey, secretKey } = keyPairOf('A')
  const has = (bytes: Buffer): boolean => files.some((file) => file.includes(bytes))
  t.ok(files.length > 3)
  t.ok(has(publicKey), 'what is there is found')
  t.notOk(has(secretKey.subarray(0, 32)), 'the seed')
  t.notOk(has(secretKey))
})

t.test('a directory that another process has open is left alone', async (t) => {
  const a = await openStore('A')
  await a.store.append(someBlocks(5, 'a'))
  await t.rejects(openStore('A', a.directory), { code: 'locked' })
  await a.store.close()
  const again = await openStore('A', a.directory)
  t.equal(again.store.length(a.author, 'ops'), 5)
  await again.store.close()
})

t.test('a directory that is no good is made anew', async (t) => {
  const ruin = (directory: string, how: string): string => {
    const db = join(directory, 'logs', 'db')
    if (how === 'copied') {
      const copy = newDirectory()
      cpSync(join(directory, 'logs'), join(copy, 'logs'), { recursive: true })
      return copy
    }
    if (how === 'marked') writeFileSync(join(directory, 'logs', 'DAMAGED'), '')
    if (how === 'emptied') rmSync(db, { recursive: true })
    for (const file of how === 'emptied' ? [] : readdirSync(db)) {
      const path = join(db, file)
      if (how === 'manifest' && file.startsWith('MANIFEST')) writeFileSync(path, 'nonsense')
      if (how === 'current' && file === 'CURRENT') rmSync(path)
      if (how === 'wal' && file.endsWith('.log')) writeFileSync(path, 'nonsense')
    }
    return directory
  }
  for (const how of ['copied', 'marked', 'emptied', 'manifest', 'current', 'wal']) {
    const a = await openStore('A')
    await a.store.append(someBlocks(5, 'a'))
    await a.store.close()
    const again = await openStore('A', ruin(a.directory, how))
    t.equal(again.store.length(a.author, 'ops'), 0, how)
    t.equal(again.store.isNew, true, how)
    await again.store.append(someBlocks(7, 'a'))
    await again.store.close()
    const third = await openStore('A', again.directory)
    t.equal(third.store.length(a.author, 'ops'), 7, how)
    await third.store.close()
  }
})

t.test('a directory that may not be written says so, and stays', async (t) => {
  if (process.getuid?.() === 0) return t.comment('root may write everywhere')
  const directory = newDirectory()
  execFileSync('chmod', ['0500', directory])
  await t.rejects(openStore('A', directory), { code: 'denied' })
})

t.test('descriptors of bundles: their bytes, and what is none', (t) => {
  const bundleId = Buffer.alloc(32, 0xdd)
  const bytes = encodeDescriptor({ bundleId, sealedBytes: 0x01020304 })
  t.equal(Buffer.from(bytes).toString('hex'), `00${'dd'.repeat(32)}01020304`)
  t.match(decodeDescriptor(bytes), { bundleId, sealedBytes: 0x01020304 })
  for (const other of [
    bytes.subarray(1), Buffer.concat([bytes, Buffer.alloc(1)]), Buffer.alloc(37),
    Buffer.concat([Buffer.from([1]), bytes.subarray(1)]), new Uint8Array(0),
  ]) t.equal(decodeDescriptor(other), undefined)
  t.end()
})

t.test('keys of logs', (t) => {
  const author = Buffer.alloc(32, 0xab).toString('latin1') as AuthorId
  const keys = [
    logKey(vaultId, author, 'ops'), logKey(vaultId, author, 'content'),
    logKey(Buffer.alloc(16, 4), author, 'ops'), logKey(vaultId, authorOf('A'), 'ops'),
  ].map((key) => key.toString('hex'))
  t.equal(new Set(keys).size, 4)
  t.same([logNamespace(vaultId, 'ops').toString('hex'), keys[0]], [
    'f966b24159675fb6d8f2797dcabf393c10d5aef325cd977370ed8ed6096b6007',
    '65fa8ebf9c6409d031d192ac070b51b9f8985d21db578c2e1f148fe6e71c3939',
  ])
  const manifest = logManifest(vaultId, author, 'content')
  t.same(ownerOf(manifest, vaultId), { author, kind: 'content' })
  t.equal(ownerOf(manifest, Buffer.alloc(16, 4)), undefined)
  t.equal(ownerOf(null, vaultId), undefined)
  t.end()
})
