// Lanes of seal workers: what a sync promises to each of several callers, and after a worker died.
import fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { DirectDisk } from '../../src/chunks/pack-disk.ts'
import { PackStore } from '../../src/chunks/pack-store.ts'
import { SealPool } from '../../src/chunks/seal-pool.ts'
import { Frozen, bundleKey, clock, keys } from './content.helper.ts'

const SIZE_BYTES = 300_000

async function sealed(directory: string, syncLast: (writer: number) => Promise<void>) {
  const frozen = new Frozen(1 << 20)
  const disk = new DirectDisk()
  const packs = await PackStore.open({ disk, directory, vaultId: keys.vaultId, bundleKey })
  const pool = new SealPool({
    keys, frozen: frozen.source, directory, writers: [1], clock, syncLast,
    nextOf: (writer) => packs.nextOf(writer),
  })
  const bytes = new Uint8Array(SIZE_BYTES).map((_, i) => (i * 7919) >> 5)
  const { job } = frozen.job(bytes, [{ offset: 0, length: SIZE_BYTES }])
  const ranges = Float64Array.of(0, SIZE_BYTES)
  const cut = { job, ranges, head: undefined, chunker: 1 as const, final: true }
  const { lengths, ids } = await pool.cut(cut)
  let at = 0
  const offsets = Float64Array.from(lengths, (length) => (at += length) - length)
  const how = { random: false, urgent: true, lane: 0, headBegin: 0 }
  await pool.seal({ job, head: undefined, offsets, lengths, ids, ...how })
  return pool
}

t.test('who syncs while a sync runs waits for it as well', async (t) => {
  const directory = fs.mkdtempSync(join(os.tmpdir(), 'lattice-pool-'))
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }))
  const pool = await sealed(directory, async () => undefined)
  t.teardown(() => pool.close())
  let isDurable = false
  const first = pool.sync().then(() => {
    isDurable = true
  })
  await pool.sync()
  t.ok(isDurable, 'nothing is promised before it is on the disk')
  await first
})

t.test('what a dead worker had written is flushed before a sync says so', async (t) => {
  const directory = fs.mkdtempSync(join(os.tmpdir(), 'lattice-pool-'))
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }))
  const workers = new Set<Worker>()
  const postMessage = Reflect.get(Worker.prototype, 'postMessage')
  Worker.prototype.postMessage = function post(...parameters: [unknown]) {
    workers.add(this)
    return postMessage.apply(this, parameters)
  }
  t.teardown(() => {
    Worker.prototype.postMessage = postMessage
  })
  const flushed: number[] = []
  let isBroken = true
  const pool = await sealed(directory, async (writer) => {
    if (isBroken) throw new Error('the disk fails')
    flushed.push(writer)
  })
  t.teardown(() => pool.close())
  for (const worker of workers) {
    if (worker.listenerCount('error') > 0) worker.emit('error', new Error('out of memory'))
  }
  await t.rejects(pool.sync(), 'not while it cannot be flushed')
  await t.rejects(pool.sync(), 'nor when asked again')
  isBroken = false
  await pool.sync()
  t.same(flushed, [1])
})
