// The committer over the journal on the simulated disk: promises are recorded as they are made, and
// after any crash everything promised is there and the rest is a prefix. SEED=n replays.
import t from 'tap'
import { Journal } from '../../src/journal/journal.ts'
import { Ids, kindOfId } from '../../src/ops/ids.ts'
import type { AuthorId, ChunkId, Name, Op, OpRef } from '../../src/ops/types.ts'
import { Facts } from '../../src/state/facts.ts'
import { LatticeError, isLatticeError } from '../../src/util/errors.ts'
import { Committer } from '../../src/vault/committer.ts'
import { decodeJournalBatch } from '../../src/vault/journal-batch.ts'
import type { JournalBatch } from '../../src/vault/journal-batch.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import { JOURNAL_LOOSE, JOURNAL_START } from '../../src/vault/ports.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { SimDisk } from '../support/sim-disk.ts'

const vaultId = Buffer.alloc(16, 3)
const author = 'A'.repeat(32) as AuthorId
const opKey = Buffer.alloc(32, 4)
const localKey = Buffer.alloc(32, 5)
const epochId = Buffer.alloc(8, 6)
const ids = new Ids(Buffer.alloc(32, 7))
const root = ids.root(vaultId)
const keys = { vaultId, author, ids, localKey, opKey: () => opKey, controlKey: () => opKey }

class World {
  readonly clock = new FakeClock()
  readonly random: SeededRandom
  readonly journal: Journal
  readonly committer: Committer
  contentSyncs = 0
  contentFails = 0
  order = 0
  mint = 1

  private constructor(journal: Journal, seed: number, found: JournalBatch[]) {
    this.journal = journal
    this.random = new SeededRandom(seed)
    const last = found.findLast((one) => one.batch !== undefined)
    this.committer = new Committer({
      journal,
      content: { sync: () => this.#syncContent() },
      clock: this.clock,
      random: this.random,
      vaultId,
      author,
      epoch: () => ({ epochId, opKey, controlKey: opKey }),
      localKey,
      nextSeq: (last?.seq ?? -1) + 1,
      lastTime: last?.time ?? { ms: 0, counter: 0 },
    })
  }

  static async open(disk: SimDisk, seed = 1): Promise<World> {
    const journal = await Journal.open({
      directory: '/j', disk, vaultId,
      segmentBytes: 1 << 20, firstFileBytes: 8192, spareBytes: 16384,
    })
    return new World(journal, seed, read(journal))
  }

  async #syncContent(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.contentSyncs++
    if (this.contentFails-- > 0) throw new LatticeError('io', 'simulated: pack')
  }

  ref(): OpRef {
    return { ms: 0, counter: 0, author, seq: -1, index: 0, order: this.order++ }
  }

  /** A user operation named by `number`: `count` files, the last one moved once. */
  operation(number: number, count = 1, ready = true): UserOperation {
    const ops: Op[] = []
    const refs: OpRef[] = []
    for (let i = 0; i < count; i++) {
      const mint = this.mint++
      const node = ids.node(author, mint, 2)
      const name = `${number}.${i}` as Name
      ops.push({ kind: 'mk', mint, node, nodeKind: 2, parent: root, name, attrs: [] })
      refs.push(this.ref())
    }
    if (count > 1) {
      const made = ops.at(-1) as Op & { kind: 'mk' }
      const prev = [refs.at(-1)!]
      ops.push({ kind: 'mv', link: made.node as never, parent: root, name: 'moved' as Name, prev })
      refs.push(this.ref())
    }
    const facts = new Facts(number, 0)
    facts.values.push(number + 1)
    return { ops, refs, facts, ready }
  }

  /** Brings content that lies in packs. */
  put(number: number): UserOperation {
    const ref = { chunk: 'c'.repeat(32) as ChunkId, chunkBytes: 9, begin: 0, length: 9 }
    const content = { kind: 'refs' as const, chunker: 1, refs: [ref] }
    const node = ids.node(author, 0, 2)
    const op: Op = {
      kind: 'put', node, base: [], sizeBytes: 9, mtimeSec: 1, mtimeNsec: 2, content,
    }
    const facts = new Facts(number, 0)
    return { ops: [op], refs: [this.ref()], facts, ready: true }
  }

  /** Local facts only: no replicated part. */
  local(number: number): UserOperation {
    return { ops: [], refs: [], facts: new Facts(number, 0), ready: true }
  }
}

function read(journal: Journal): JournalBatch[] {
  return [...journal.scan(JOURNAL_START)]
    .filter((record) => record.type !== JOURNAL_LOOSE)
    .map((record) => decodeJournalBatch(record, keys))
}

/** Numbers of the operations, in order; asserts that batches follow each other and are whole. */
function operations(batches: JournalBatch[]): number[] {
  let seq = 0
  let time = { ms: 0, counter: 0 }
  const numbers: number[] = []
  for (const { batch, seq: found, facts, time: at } of batches) {
    numbers.push(...facts.map((one) => one.sec))
    const opCount = facts.reduce((sum, one) => sum + one.opCount, 0)
    if (opCount !== (batch?.ops.length ?? 0)) throw new Error('facts and ops differ in number')
    if (batch === undefined) continue
    if (found !== seq++) throw new Error(`sequence ${found}`)
    if (at.ms < time.ms || (at.ms === time.ms && at.counter <= time.counter)) {
      throw new Error('time does not ascend')
    }
    time = at
    checkMoves(batch.ops, found)
  }
  return numbers
}

function checkMoves(ops: Op[], seq: number): void {
  for (const [index, op] of ops.entries()) {
    if (op.kind !== 'mv') continue
    const made = ops[index - 1]
    if (made?.kind !== 'mk' || (made.node as string) !== op.link) throw new Error('torn operation')
    const [ref] = op.prev
    if (ref?.seq !== seq || ref.index !== index - 1) throw new Error('a ref to another op')
    if (kindOfId(made.node) !== made.nodeKind) throw new Error('kind')
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

t.test('what durable() promised is in the journal, in order, and refs are placed', async (t) => {
  const disk = new SimDisk(1)
  const world = await World.open(disk)
  const queued = [world.operation(0), world.operation(1, 3), world.local(2), world.operation(3)]
  const tickets = queued.map((one) => world.committer.push(one))
  t.same(tickets, [1, 2, 3, 4])
  t.equal(queued[1]!.refs[0]!.seq, -1)
  await world.committer.durable(tickets[1]!)
  t.same(queued[1]!.refs.map((ref) => [ref.seq, ref.index]), [[0, 1], [0, 2], [0, 3], [0, 4]])
  t.equal(queued[1]!.refs[0]!.ms, world.clock.nowMs())
  t.equal(world.contentSyncs, 0, 'nothing names packs')
  const after = await World.open(disk.reboot())
  t.same(operations(read(after.journal)), upTo(4))
  t.equal(after.committer.nextSeq, 1)
  await after.committer.close()
  await after.journal.close()
  await world.committer.close()
  await world.journal.close()
})

t.test('nobody waits: committed a second after the first operation', async (t) => {
  const world = await World.open(new SimDisk(2))
  world.committer.push(world.operation(0))
  world.clock.advance(999)
  t.equal(world.committer.queued, 1)
  world.committer.push(world.operation(1))
  world.clock.advance(1)
  t.equal(world.committer.queued, 0)
  await world.committer.drain()
  t.equal(world.clock.timers, 0)
  t.same(operations(read(world.journal)), [0, 1])
  await world.committer.close()
  await world.journal.close()
})

t.test('an operation that is not ready holds back all behind it', async (t) => {
  const world = await World.open(new SimDisk(3))
  const { committer } = world
  const first = committer.push(world.operation(0))
  const blocked = world.operation(1, 1, false)
  committer.push(blocked)
  const last = committer.push(world.operation(2))
  const order: string[] = []
  const all = committer.durable(last).then(() => order.push('last'))
  await committer.durable(first).then(() => order.push('first'))
  world.clock.advance(5000)
  t.same(operations(read(world.journal)), [0])
  ;(blocked.ops[0] as { name: string }).name = 'filled in later'
  blocked.ready = true
  committer.unblock(blocked)
  await all
  t.same(order, ['first', 'last'])
  const batches = read(world.journal)
  t.same(operations(batches), [0, 1, 2])
  t.equal((batches[1]!.batch!.ops[0] as { name: string }).name, 'filled in later')
  await committer.close()
  await world.journal.close()
})

t.test('packs are durable before a batch that names them', async (t) => {
  const world = await World.open(new SimDisk(4))
  const { committer } = world
  committer.push(world.operation(0))
  const ticket = committer.push(world.put(1))
  world.contentFails = 1
  await t.rejects(committer.durable(ticket), { code: 'io' })
  t.equal(read(world.journal).length, 0, 'nothing was appended')
  t.ok(committer.trouble)
  await committer.durable(ticket)
  t.equal(committer.trouble, undefined)
  t.same(operations(read(world.journal)), [0, 1])
  await committer.close()
  await world.journal.close()
})

t.test('a failed flush is told once; the timer tries again; nothing is lost', async (t) => {
  const disk = new SimDisk(5)
  const world = await World.open(disk)
  const { committer } = world
  await committer.durable(committer.push(world.operation(0)))
  const ticket = committer.push(world.operation(1))
  disk.fail('writeAndSync')
  const waiters = [committer.durable(ticket), committer.durable(ticket)]
  t.same((await Promise.allSettled(waiters)).map((one) => one.status), ['rejected', 'rejected'])
  t.ok(committer.trouble)
  world.clock.advance(1000)
  for (let i = 0; i < 100 && committer.trouble; i++) await new Promise((go) => setImmediate(go))
  t.equal(committer.trouble, undefined)
  const after = await World.open(disk.reboot())
  t.same(operations(read(after.journal)), [0, 1])
  await after.committer.close()
  await after.journal.close()
  await committer.close()
  await world.journal.close()
})

t.test('batches are cut between operations, by size and by count', async (t) => {
  const world = await World.open(new SimDisk(6))
  const { committer } = world
  let number = 0
  for (; number < 300; number++) committer.push(world.operation(number, 50))
  for (; number < 9000; number++) committer.push(world.operation(number))
  await committer.drain()
  const batches = read(world.journal)
  t.same(operations(batches), upTo(9000))
  t.ok(batches.length >= 4)
  for (const { batch } of batches) t.ok(batch!.ops.length <= 4096)
  await committer.close()
  await world.journal.close()
})

t.test('control ops stand in batches of their own', async (t) => {
  const world = await World.open(new SimDisk(9))
  const { committer } = world
  const control = (number: number): UserOperation => ({
    ops: [{ kind: 'control', control: 0, critical: true, body: Buffer.from('genesis') }],
    refs: [world.ref()], facts: new Facts(number, 0), ready: true,
  })
  for (const one of [control(0), control(1), world.operation(2), world.local(3), control(4)]) {
    committer.push(one)
  }
  await committer.drain()
  const batches = read(world.journal)
  t.same(operations(batches), upTo(5))
  t.same(batches.map(({ batch }) => batch!.ops.length), [2, 1, 1])
  await committer.close()
  await world.journal.close()
})

t.test('a barrier cuts exactly there, and tells where a rebuild goes on', async (t) => {
  const world = await World.open(new SimDisk(7))
  const { committer, journal } = world
  for (let i = 0; i < 5; i++) committer.push(world.operation(i))
  journal.append(JOURNAL_LOOSE, Buffer.from('before'))
  const reached = committer.barrier()
  journal.append(JOURNAL_LOOSE, Buffer.from('after'))
  for (let i = 5; i < 8; i++) committer.push(world.operation(i))
  const cursor = await reached
  await committer.drain()
  const rest = [...journal.scan(cursor.scanFrom)]
  const loose = rest.filter((record) => record.type === JOURNAL_LOOSE)
  t.same(loose.map((record) => Buffer.from(record.payload).toString()), ['after'])
  const known = rest.filter((record) => (
    record.type !== JOURNAL_LOOSE && record.sequence > cursor.batchesThrough
  ))
  t.same(known.flatMap((record) => decodeJournalBatch(record, keys).facts.map((one) => one.sec)),
    [5, 6, 7])
  t.equal(cursor.nextSeq, 1)
  const again = await committer.barrier()
  t.equal(again.nextSeq, committer.nextSeq)
  t.same([...journal.scan(again.scanFrom)], [])
  await committer.close()
  await journal.close()
})

t.test('a barrier set while a cycle runs cuts what the next one takes', async (t) => {
  const world = await World.open(new SimDisk(10))
  const { committer, journal } = world
  const first = committer.durable(committer.push(world.put(0)))
  committer.push(world.operation(1))
  const reached = committer.barrier()
  committer.push(world.operation(2))
  const last = committer.drain()
  const cursor = await reached
  await Promise.all([first, last])
  const behind = [...journal.scan(cursor.scanFrom)]
    .filter((record) => record.sequence > cursor.batchesThrough)
  t.same(behind.flatMap((record) => decodeJournalBatch(record, keys).facts.map((one) => one.sec)),
    [2])
  const again = await committer.barrier()
  t.same([...journal.scan(again.scanFrom)], [])
  await committer.close()
  await journal.close()
})

t.test('a clock that goes back', async (t) => {
  const world = await World.open(new SimDisk(8))
  const { committer } = world
  await committer.durable(committer.push(world.operation(0)))
  world.clock.set(1000)
  await committer.durable(committer.push(world.operation(1)))
  t.same(operations(read(world.journal)), [0, 1])
  await committer.close()
  await world.journal.close()
})

t.test('crashes: everything promised is there, the rest is a prefix', async (t) => {
  const seed = testSeed()
  t.comment(`SEED=${seed}`)
  let inFlight = 0
  for (let round = 0; round < 250; round++) {
    const result = await crashRound(new SeededRandom(seed + round))
    inFlight += result.inFlight
    if (result.fault === undefined) continue
    t.fail(`${result.fault} (SEED=${seed + round})`)
    break
  }
  t.ok(inFlight > 50, `crashes with something in flight: ${inFlight}`)
})

async function crashRound(random: SeededRandom) {
  let disk = new SimDisk(random.int(0, 2 ** 31))
  const result = { inFlight: 0, fault: undefined as string | undefined }
  let pushed = 0
  let promised = 0
  for (let life = 0; life < 4; life++) {
    if (random.chance(0.85)) disk.crashAfter(random.int(1, 50))
    if (random.chance(0.3)) disk.fail('writeAndSync', random.int(1, 4))
    try {
      const world = await World.open(disk, random.int(0, 2 ** 31))
      world.mint = pushed * 100
      const found = operations(read(world.journal))
      if (found.length < promised) result.fault = `lost ${promised - found.length} of ${promised}`
      if (found.some((number, i) => number !== i)) result.fault = `not a prefix: ${found.join()}`
      if (result.fault !== undefined) return result
      pushed = promised = found.length
      await live(world, random, disk, () => pushed++, (count) => {
        promised = Math.max(promised, count)
      })
    } catch (error) {
      if (isLatticeError(error, 'damaged-journal')) result.fault = error.message
      else if (!isLatticeError(error)) result.fault = String(error)
      if (result.fault !== undefined) return result
    }
    if (disk.hasCrashed && promised < pushed) result.inFlight++
    disk = random.chance(0.7) ? disk.reboot() : disk.restart()
  }
  return result
}

/** Pushes operations of all sorts, waits for some, until the disk crashes. */
async function live(
  world: World,
  random: SeededRandom,
  disk: SimDisk,
  next: () => number,
  promise: (count: number) => void,
): Promise<void> {
  const { committer } = world
  const waits: Promise<void>[] = []
  const blocked: UserOperation[] = []
  for (let step = 0; step < 60 && !disk.hasCrashed; step++) {
    const number = next()
    const operation = random.chance(0.1) ? world.local(number)
      : random.chance(0.2) ? world.put(number)
      : world.operation(number, random.int(1, 4), random.chance(0.95))
    if (!operation.ready) blocked.push(operation)
    const ticket = committer.push(operation)
    if (random.chance(0.1)) world.journal.append(JOURNAL_LOOSE, random.bytes(100))
    if (random.chance(0.1)) world.clock.advance(1000)
    if (random.chance(0.5)) {
      for (const one of blocked.splice(0)) {
        one.ready = true
        committer.unblock(one)
      }
    }
    if (random.chance(0.05)) world.contentFails = 1
    if (!random.chance(0.4)) continue
    const covers = number + 1
    const wait = committer.durable(ticket).then(() => promise(covers), () => undefined)
    if (blocked.length === 0 && random.chance(0.7)) await wait
    else waits.push(wait)
  }
  for (const one of blocked) {
    one.ready = true
    committer.unblock(one)
  }
  await Promise.all(waits)
}
