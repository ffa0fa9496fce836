// The fold over LMDB: what a device of the fuzz has lived through is applied again over an index on
// disk, with checkpoints on the way and the index closed and opened between: records, groups, view,
// inos, cookies and the state hash must be those of the memory store. SEED=n, RUNS=n.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { testSeed } from '../support/random.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import { World, replayEvent } from './fold-worlds.helper.ts'
import { VAULT } from './fuzz-world.helper.ts'

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 6)
const NOBODY = 'n'.repeat(32) as AuthorId

async function checkpoint(index: LmdbIndex): Promise<void> {
  const position = (index.cursor + 1) as JournalPosition
  index.freeze()
  const resume = new Uint8Array()
  await index.write(position, NOBODY, { position, batches: 0, ms: 0, counter: 0, resume })
}

async function run(worldSeed: number, directory: string): Promise<void> {
  const world = new World(worldSeed)
  world.live()
  const { random } = world.fuzz
  const { user, replica } = random.pick(world.devices)
  const options = {
    directory, vaultId: 'aa', rootNode: VAULT.root,
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  }
  let index = await LmdbIndex.open(options)
  const twin = new FoldReplica(VAULT, index.store)
  try {
    for (const event of replica.events) {
      replayEvent(twin, event)
      if (!random.chance(0.1)) continue
      await checkpoint(index)
      if (!random.chance(0.3)) continue
      await index.close()
      index = await LmdbIndex.open(options)
      twin.reopen(index.store)
    }
    await checkpoint(index)
    const { model, view } = user.seen
    const wrong = twin.compare(model, view)
    if (wrong !== undefined) throw new Error(wrong)
    if (twin.localText() !== replica.localText()) throw new Error('other inos or cookies')
    if (index.stateHash() !== replica.base.stateHash.digest()) throw new Error('another state hash')
  } catch (error) {
    throw new Error(`SEED=${worldSeed}: ${String(error)}`, { cause: error })
  } finally {
    await index.close()
  }
}

t.setTimeout((60 + runs) * 1000)

t.test(`worlds over LMDB, seed ${seed}`, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-fold-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (let i = 0; i < runs; i++) {
    await t.resolves(run(seed + i, join(directory, String(i))), `seed ${seed + i}`)
  }
})
