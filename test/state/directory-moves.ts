// The log of directory moves against a naive fold of the sorted set: moves come in any order, many
// at once, are taken out again (a standing that changed), the start of a directory changes; over
// memory with checkpoints at any moment, and over LMDB. Then what a late move costs.
// SEED=n repeats a run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { compareRefs } from '../../src/ops/order.ts'
import type { AuthorId, LinkId, Name, NodeId, OpRef } from '../../src/ops/types.ts'
import { changeMoves, insertMove, removeMove } from '../../src/state/directory-moves.ts'
import type {
  MovePort, NewMove, NewStart, PositionChange,
} from '../../src/state/directory-moves.ts'
import { MemoryBase } from '../../src/state/memory-base.ts'
import { StateMeta } from '../../src/state/meta.ts'
import { Overlay } from '../../src/state/overlay.ts'
import { NOWHERE } from '../../src/state/records.ts'
import type { DirectoryPosition } from '../../src/state/records.ts'
import type { Store } from '../../src/state/store.ts'
import type { Cut } from '../../src/vault/checkpoint.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const AUTHORS = ['A', 'B', 'C'].map((letter) => letter.repeat(32) as AuthorId)
const NO_CUT: Cut = {
  position: 0 as JournalPosition, batches: 0, ms: 0, counter: 0, resume: new Uint8Array(0),
}

type Placed = DirectoryPosition & { skipped: boolean }

function idOf(number: number): NodeId {
  return `\x01${String(number).padStart(15, '0')}` as NodeId
}

function refOf(author: AuthorId, seq: number, ms: number, index = 0): OpRef {
  return { ms, counter: 0, author, seq, index, order: 0 }
}

/** Positions beside a real store's log. */
class World implements MovePort {
  readonly store: Pick<Store, 'movesFrom' | 'putMove' | 'removeMove'>
  readonly positions = new Map<NodeId, Placed>()
  readonly starts = new Map<NodeId, DirectoryPosition>()
  puts = 0

  constructor(store: World['store'], count: number, birth: (i: number) => OpRef) {
    this.store = store
    for (let i = 1; i <= count; i++) {
      const start = { parent: idOf(0), name: `d${i}` as Name, pos: birth(i) }
      this.starts.set(idOf(i), start)
      this.positions.set(idOf(i), { ...start, skipped: false })
    }
  }

  movesFrom(end: OpRef | undefined) {
    return this.store.movesFrom(end)
  }

  putMove(move: Parameters<Store['putMove']>[0]): void {
    this.puts++
    this.store.putMove(move)
  }

  removeMove(move: Parameters<Store['removeMove']>[0]): void {
    this.store.removeMove(move)
  }

  position(directory: NodeId): Placed | undefined {
    return this.positions.get(directory)
  }

  take(changes: PositionChange[]): void {
    for (const { directory, position, skipped } of changes) {
      this.positions.set(directory, { ...position, skipped })
    }
  }
}

/** What R4 says, read literally. */
function naive(world: World, moves: NewMove[]): Map<NodeId, string> {
  const positions = new Map<NodeId, Placed>()
  for (const [node, start] of world.starts) positions.set(node, { ...start, skipped: false })
  for (const move of moves.toSorted((a, b) => compareRefs(a.ref, b.ref))) {
    const directory = move.link as string as NodeId
    let isCycle = false
    for (let at: NodeId | undefined = move.parent; at !== undefined;) {
      isCycle ||= at === directory
      at = isCycle ? undefined : positions.get(at)?.parent
    }
    const now = positions.get(directory)!
    now.skipped = isCycle && !move.fallback
    if (!isCycle) Object.assign(now, { parent: move.parent, name: move.name, pos: move.ref })
  }
  return describe(positions)
}

function describe(positions: Map<NodeId, Placed>): Map<NodeId, string> {
  const out = new Map<NodeId, string>()
  for (const [node, { parent, name, pos, skipped }] of positions) {
    out.set(node, `${parent}/${name} by ${pos.author[0]}${pos.seq}.${pos.index} ${skipped}`)
  }
  return out
}

function randomMove(random: SeededRandom, count: number, seq: number): NewMove {
  const directory = random.int(1, count + 1)
  const ref = refOf(random.pick(AUTHORS), seq, 1000 + random.int(0, 60), random.int(0, 3))
  return {
    ref, link: idOf(directory) as string as LinkId, parent: idOf(random.int(0, count + 1)),
    name: `n${seq}` as Name, fallback: random.int(0, 10) === 0,
  }
}

/** One change of the log, in the world and in `moves`. */
function step(world: World, random: SeededRandom, moves: NewMove[], seq: number): void {
  const what = random.int(0, 12)
  if (what < 7 || moves.length === 0) {
    const move = randomMove(random, world.starts.size, seq)
    moves.push(move)
    world.take(insertMove(world, move))
  } else if (what < 9) {
    const move = moves.splice(random.int(0, moves.length), 1)[0]!
    world.take(removeMove(world, { ...move.ref }))
  } else if (what < 11) {
    const gone: OpRef[] = []
    while (moves.length > 0 && gone.length < random.int(0, 4)) {
      gone.push(moves.splice(random.int(0, moves.length), 1)[0]!.ref)
    }
    const added = Array.from({ length: random.int(0, 5) }, (_, i) => (
      randomMove(random, world.starts.size, seq + i + 1)
    ))
    moves.push(...added)
    world.take(changeMoves(world, added, gone))
  } else {
    const directory = idOf(random.int(1, world.starts.size + 1))
    const before = world.starts.get(directory)!
    const parent = before.parent === NOWHERE ? idOf(0) : NOWHERE
    const start: NewStart = { ref: before.pos, directory, position: { ...before, parent } }
    world.starts.set(directory, start.position)
    world.take(changeMoves(world, [], [], [start]))
  }
}

t.test(`against the sorted fold, seed ${testSeed()}`, (t) => {
  const random = new SeededRandom(testSeed())
  for (let run = 0; run < 300; run++) {
    const base = new MemoryBase()
    const store = new Overlay(base, new StateMeta())
    const world = new World(store, 3 + random.int(0, 9), (i) => refOf(AUTHORS[0]!, i, i))
    const moves: NewMove[] = []
    for (let i = 0; i < 40; i++) {
      step(world, random, moves, 100 + i * 20)
      const expected = naive(world, moves)
      const found = describe(world.positions)
      if (JSON.stringify([...expected]) !== JSON.stringify([...found])) {
        t.strictSame(found, expected, `run ${run}, step ${i}`)
        t.end()
        return
      }
      const dice = random.int(0, 6)
      if (dice === 0) {
        base.absorb(store.freeze())
        store.release()
      } else if (dice === 1) {
        store.freeze()
        step(world, random, moves, 100 + i * 20 + 10)
        store.thaw()
      }
    }
    t.equal([...store.movesFrom(undefined)].length, moves.length)
  }
  t.end()
})

t.test('over LMDB, with ties in time and reopening', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-moves-'))
  const options = {
    directory, vaultId: 'aa', rootNode: idOf(0),
    valueKey: Buffer.alloc(32, 1), hashKey: Buffer.alloc(32, 2),
  }
  let index = await LmdbIndex.open(options)
  t.teardown(async () => {
    await index.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const random = new SeededRandom(testSeed())
  const birth = (i: number): OpRef => refOf(AUTHORS[0]!, i, i)
  let world = new World(index.store, 8, birth)
  const moves: NewMove[] = []
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 30; i++) step(world, random, moves, 1000 * (round + 1) + i * 10)
    t.strictSame(describe(world.positions), naive(world, moves))
    const refs = moves.map((move) => move.ref).toSorted(compareRefs).reverse()
    const middle = refs[random.int(0, refs.length)]!
    const listed = [...index.store.movesFrom(undefined)].map((move) => move.ref)
    t.strictSame(listed.map(plain), refs.map(plain))
    const below = [...index.store.movesFrom(middle)].map((move) => plain(move.ref))
    t.strictSame(below, refs.filter((ref) => compareRefs(ref, middle) < 0).map(plain))
    index.freeze()
    await index.write(round as JournalPosition, AUTHORS[0]!, NO_CUT)
    if (round % 4 !== 3) continue
    await index.close()
    index = await LmdbIndex.open(options)
    const { positions, starts } = world
    world = new World(index.store, 0, birth)
    for (const [node, position] of positions) world.positions.set(node, position)
    for (const [node, start] of starts) world.starts.set(node, start)
  }
})

t.test('what a late move costs', (t) => {
  const base = new MemoryBase()
  const store = new Overlay(base, new StateMeta())
  const count = 2000
  const world = new World(store, count, (i) => refOf(AUTHORS[0]!, i, i))
  const random = new SeededRandom(7)
  for (let seq = 0; seq < 10_200; seq++) {
    const link = idOf(random.int(1, count + 1)) as string as LinkId
    const parent = idOf(random.int(0, count + 1))
    const ref = refOf(AUTHORS[1]!, seq, 1_000_000 + seq)
    world.take(insertMove(world, { ref, link, parent, name: 'x' as Name, fallback: false }))
  }
  for (const late of [0, 100, 10_000]) {
    const times: number[] = []
    for (let i = 0; i < 5; i++) {
      const ref = refOf(AUTHORS[2]!, late * 10 + i, 1_000_000 + 10_200 - late, i)
      const link = idOf(random.int(1, count + 1)) as string as LinkId
      const begin = performance.now()
      world.puts = 0
      world.take(insertMove(world, {
        ref, link, parent: idOf(random.int(1, count + 1)), name: 'late' as Name, fallback: false,
      }))
      times.push(performance.now() - begin)
    }
    const ms = times.toSorted((a, b) => a - b)[2]!
    t.comment(`${late} moves late: ${ms.toFixed(2)} ms, ${world.puts} records rewritten`)
    t.ok(ms < 1000)
  }
  t.end()
})

function plain({ author, seq, index }: OpRef): string {
  return `${author}${seq}.${index}`
}
