// The same events, hostile ones and changes of standing included, on a device in memory and on one
// with an LMDB index whose checkpoints begin and end at any moment, and which is closed and opened
// in between: records, entries, inos, cookies, groups and counts are the same.
// SEED=n begins there, RUNS=n that many worlds.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import type { AuthorId, NodeId } from '../../src/ops/types.ts'
import { Facts } from '../../src/state/facts.ts'
import type { Overlay } from '../../src/state/overlay.ts'
import { ROOT_INO } from '../../src/state/records.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import type { ReplicaEvent } from './fold-replica.helper.ts'
import { FuzzWorld, VAULT, optionsOf, standingOf } from './fuzz-world.helper.ts'

const STEPS = 180

/** What one device hears in a world, with the local facts that it recorded. */
function eventsOf(seed: number): readonly ReplicaEvent[] {
  const fuzz = new FuzzWorld(seed, optionsOf(seed))
  const { random } = fuzz
  const listener = new FoldReplica(VAULT)
  const heard = new Map<AuthorId, number>()
  let { standing } = fuzz
  for (let step = 0; step < STEPS; step++) {
    const user = random.pick(fuzz.users)
    const other = random.chance(0.6) ? undefined : fuzz.next(user)
    if (other !== undefined) user.receive(fuzz.encoded(other))
    else if (random.chance(0.08)) fuzz.normalise(user)
    else fuzz.act(user)
    if (fuzz.options.cuts && random.chance(0.03)) fuzz.changeStanding()
    if (random.chance(0.1)) {
      for (const one of fuzz.users) one.changeStanding(standingOf(fuzz.standing))
    }
    const ready = [...fuzz.logs].flatMap(([author, log]) => {
      const batch = log[heard.get(author) ?? 0]
      const isReady = batch?.deps.every((dep) => (heard.get(dep.author) ?? 0) >= dep.length)
      return batch !== undefined && isReady === true ? [batch] : []
    })
    if (ready.length > 0 && random.chance(0.5)) {
      const batch = random.pick(ready)
      listener.apply(fuzz.encoded(batch), false)
      heard.set(batch.author, batch.seq + 1)
    }
    if (standing !== fuzz.standing && random.chance(0.1)) {
      ({ standing } = fuzz)
      listener.changeStanding(standing)
    }
  }
  return listener.events
}

function apply(replica: FoldReplica, event: ReplicaEvent): void {
  const { kind, sec, nsec, values } = event.facts
  const facts = Facts.replaying(kind, sec, nsec, [...values])
  if ('batch' in event) replica.apply(event.batch, event.own, facts)
  else if ('standing' in event) replica.changeStanding(event.standing, facts)
}

class Indexed {
  index: LmdbIndex
  readonly replica: FoldReplica
  readonly #directory: string
  #position = 0
  #isFrozen = false

  private constructor(directory: string, index: LmdbIndex) {
    this.#directory = directory
    this.index = index
    this.replica = new FoldReplica(VAULT, index.store as Overlay)
  }

  static async make(directory: string): Promise<Indexed> {
    return new Indexed(directory, await open(directory))
  }

  freeze(): void {
    if (this.#isFrozen) return
    this.index.freeze()
    this.#isFrozen = true
  }

  async write(): Promise<void> {
    if (!this.#isFrozen) return
    const position = ++this.#position as JournalPosition
    const cut = { position, batches: 0, ms: 0, counter: 0, resume: new Uint8Array(0) }
    await this.index.write(position, 'L'.repeat(32) as AuthorId, cut)
    this.#isFrozen = false
  }

  async reopen(): Promise<void> {
    await this.write()
    this.freeze()
    await this.write()
    await this.index.close()
    this.index = await open(this.#directory)
    this.replica.reopen(this.index.store as Overlay)
  }
}

function open(directory: string): Promise<LmdbIndex> {
  return LmdbIndex.open({
    directory, vaultId: '00', rootNode: VAULT.root,
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  })
}

/** Everything that can be reached from the root, and the counts. */
function textOf(store: Overlay): string {
  const lines: string[] = []
  const walk = (ino: number, path: string) => {
    const record = store.node(ino)!
    const { claimCount, entryCount, grouped, links, members, mode, nextCookie, skipCount } = record
    lines.push(JSON.stringify([
      path, record.node, claimCount, entryCount, grouped, members, mode, nextCookie, skipCount,
      links.map((link) => [link.shownName, link.cookie, link.wanted, link.skipped]),
      record.heads.map((head) => head.ref.seq), record.virtualOf,
    ]))
    if (!record.isDirectory) return
    for (let after = 0; ;) {
      const page = store.entries(ino, after, 4, true)
      for (const entry of page) {
        after = entry.cookie
        const byName = store.entry(ino, entry.name)?.ino
        const byNode = store.inoOf(store.node(entry.ino)!.node as NodeId)
        if (byName !== entry.ino || byNode !== entry.ino) throw new Error(`${path}/${entry.name}`)
        lines.push(
          JSON.stringify(store.group(ino, entry.name)), store.skips(ino, entry.name).join(),
        )
        walk(entry.ino, `${path}/${entry.name} ${entry.ino} ${entry.cookie}`)
      }
      if (page.length < 4) return
    }
  }
  walk(ROOT_INO, '')
  const { files, directories, contentBytes } = store.meta
  return [...lines, files, directories, contentBytes].join('\n')
}

async function run(seed: number): Promise<void> {
  const random = new SeededRandom(seed)
  const directory = mkdtempSync(join(tmpdir(), 'lattice-view-'))
  const indexed = await Indexed.make(directory)
  const memory = new FoldReplica(VAULT)
  const compare = () => {
    if (textOf(indexed.index.store as Overlay) !== textOf(memory.store)) throw new Error('differs')
  }
  try {
    for (const event of eventsOf(seed)) {
      apply(indexed.replica, event)
      apply(memory, event)
      if (random.chance(0.2)) indexed.freeze()
      if (random.chance(0.3)) {
        const written = indexed.write()
        if (random.chance(0.1)) compare()
        await written
      }
      if (random.chance(0.04)) await indexed.reopen()
      if (random.chance(0.1)) compare()
      if (random.chance(0.1)) memory.checkpoint()
    }
    await indexed.reopen()
    compare()
    memory.checkpoint()
    if (indexed.index.stateHash() !== memory.base.stateHash.digest()) throw new Error('state hash')
  } finally {
    await indexed.index.close()
    rmSync(directory, { recursive: true })
  }
}

/** Seeds of worlds that failed once. */
const REGRESSIONS = [
  { seed: 1735197005, what: 'normalising took a removed directory that showed a duplicate alone' },
]

const seed = testSeed()
const runs = Number(process.env['RUNS'] ?? 8)

t.test('worlds that failed once', async (t) => {
  for (const { seed: once, what } of REGRESSIONS) {
    await run(once)
    t.pass(`${once}: ${what}`)
  }
})

t.test(`worlds in memory and LMDB, seed ${seed}`, async (t) => {
  for (let i = 0; i < runs; i++) {
    await run(seed + i).catch((error: unknown) => {
      throw new Error(`SEED=${seed + i}: ${String(error)}`, { cause: error })
    })
  }
  t.pass(`${runs} worlds`)
})
