// An index that is made anew from packs with many chunks: written on the way, equal at the end.
// CHUNKS=300000 measures a large vault.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { chunkIdOf, writeChunkId } from '../../src/chunks/chunk-id.ts'
import { DirectDisk } from '../../src/chunks/pack-disk.ts'
import { PackStore } from '../../src/chunks/pack-store.ts'
import { InlineSealer } from '../../src/chunks/seal-inline.ts'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { SystemClock } from '../../src/daemon/clock.ts'
import { EngineKeys } from '../../src/daemon/engine-keys.ts'
import { Engine, RECOVERED_CHANGES } from '../../src/daemon/engine.ts'
import { openLog } from '../../src/daemon/log.ts'
import { makeStateDirectory } from '../../src/daemon/state-directory.ts'
import type { StateDirectory } from '../../src/daemon/state-directory.ts'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import type { ChunkId } from '../../src/ops/types.ts'
import { createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'

const CHUNKS = Number(process.env['CHUNKS'] ?? 30_000)
const CHUNK_BYTES = 64
const BUNDLE_CHUNKS = 500
const caller = { uid: 1000, gid: 1000 }
const vaultKeys = createVaultKeys('test')

/** Many tiny chunks in packs of a writer of their own, as if an engine had sealed them. */
async function fillPacks(state: StateDirectory): Promise<ChunkId[]> {
  const keys = new EngineKeys(vaultKeys)
  const disk = new DirectDisk()
  const { vaultId, idKey } = vaultKeys
  const bundleKey = (epochId: Uint8Array) => keys.bundleKey(epochId)
  const packs = await PackStore.open({ disk, directory: state.packs, vaultId, bundleKey })
  const sealer = new InlineSealer({
    keys: keys.sealKeys(), readFrozen: () => 0, disk, directory: join(state.packs, '2'),
    writer: 2, ...packs.nextOf(2), clock: new SystemClock(),
  })
  const all: ChunkId[] = []
  while (all.length < CHUNKS) {
    const head = new Uint8Array(BUNDLE_CHUNKS * CHUNK_BYTES)
    const ids = new Uint8Array(BUNDLE_CHUNKS * 32)
    const offsets = new Float64Array(BUNDLE_CHUNKS)
    for (let i = 0; i < BUNDLE_CHUNKS; i++) {
      const chunk = head.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES)
      new DataView(chunk.buffer, chunk.byteOffset).setUint32(0, all.length)
      const id = chunkIdOf(idKey, chunk)
      offsets[i] = i * CHUNK_BYTES
      writeChunkId(ids, i * 32, id)
      all.push(id)
    }
    const lengths = new Uint32Array(BUNDLE_CHUNKS).fill(CHUNK_BYTES)
    const where = { job: -2, head, headBegin: 0, offsets, lengths, ids }
    await sealer.seal({ ...where, random: false, urgent: true })
  }
  await sealer.sync()
  await sealer.close()
  packs.close()
  keys.close()
  return all
}

/** Without files that are mapped, as the index is. */
function memoryMib(): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Math.round(Number(/RssAnon:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

t.test('an index made anew is written on the way and comes out equal', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'lattice-rebuild-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const state = await makeStateDirectory(join(home, 'vault'))
  const options = {
    vaultKeys, config: defaultConfig(), log: openLog('error'), state, readOnly: false,
  }
  const first = await Engine.open(options)
  await first.core.control([genesisOp(genesisOf(vaultKeys))])
  const { fileSystem: fs } = first
  for (let i = 0; i < 50; i++) fs.mkdir(caller, fs.root, `d${i}`, 0o755)
  await first.close()
  const hash = first.index.stateHash()
  const ids = await fillPacks(state)

  const freeze = Reflect.get(LmdbIndex.prototype, 'freeze')
  t.teardown(() => (LmdbIndex.prototype.freeze = freeze))
  const sizes: number[] = []
  let mostMib = 0
  let failAfter = Infinity
  LmdbIndex.prototype.freeze = function (this: LmdbIndex): void {
    if (sizes.length >= failAfter) throw new Error('the process ends here')
    sizes.push(this.changes)
    mostMib = Math.max(mostMib, memoryMib())
    freeze.call(this)
  }
  const rebuilds = [
    { how: 'whole', endsAfter: Infinity },
    { how: 'ended half-way', endsAfter: 2 },
    { how: 'once more', endsAfter: 1 },
  ]
  for (const { how, endsAfter } of rebuilds) {
    LmdbIndex.remove(state.index)
    sizes.length = 0
    failAfter = endsAfter
    if (endsAfter < Infinity) await t.rejects(Engine.open(options), { message: 'the process' })
    failAfter = Infinity
    const beforeMib = memoryMib()
    mostMib = 0
    const startMs = performance.now()
    const engine = await Engine.open(options)
    const tookMs = Math.round(performance.now() - startMs)
    t.comment(`${how}: ${ids.length} chunks, ${tookMs} ms, ${sizes.length} writes of the index`)
    t.comment(`memory: ${beforeMib} MiB before, at most ${mostMib} MiB at a write`)
    t.ok(sizes.length >= Math.floor(ids.length / (RECOVERED_CHANGES + BUNDLE_CHUNKS)), how)
    t.ok(Math.max(...sizes) < RECOVERED_CHANGES + BUNDLE_CHUNKS, 'never much in memory')
    t.equal(engine.fileSystem.readdir(engine.fileSystem.root, 0, 100).length, 52)
    for (let i = 0; i < ids.length; i += 97) await engine.content.verifyChunk(ids[i]!)
    await engine.close()
    t.equal(engine.index.stateHash(), hash, 'the same state')
  }
  const again = await Engine.open(options)
  t.equal(again.report.rebuilt, undefined)
  t.equal(again.report.bundles, 0, 'nothing is read again')
  for (const id of [ids[0]!, ids.at(-1)!]) await again.content.verifyChunk(id)
  await again.close()
})
