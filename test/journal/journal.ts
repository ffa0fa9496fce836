// The journal: what was appended comes back in order, what was flushed survives any crash, damage
// is told from torn tails, and a failed flush loses nothing and lies to nobody. SEED=n replays.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Journal } from '../../src/journal/journal.ts'
import { NodeDisk } from '../../src/journal/node-disk.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import {
  JOURNAL_BATCH, JOURNAL_LOOSE, JOURNAL_START, journalPosition, journalSegment,
} from '../../src/vault/ports.ts'
import type { Disk, JournalPosition } from '../../src/vault/ports.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { SimDisk } from '../support/sim-disk.ts'

const vaultId = Buffer.alloc(16, 7)
const directory = '/journal'
const small = { segmentBytes: 64 * 1024, firstFileBytes: 16 * 1024, spareBytes: 32 * 1024 }
const KiB = 1024

function open(disk: Disk, more: object = {}): Promise<Journal> {
  return Journal.open({ directory, disk, vaultId, ...small, ...more })
}

/** A payload that names itself: its number, then filling that depends on it. */
function payload(number: number, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(Math.max(4, sizeBytes), number & 0xff)
  bytes.writeUInt32BE(number)
  return bytes
}

function numbers(journal: Journal): number[] {
  return [...journal.scan(JOURNAL_START)].map((record) => {
    const number = Buffer.from(record.payload).readUInt32BE()
    t.equal(Buffer.compare(record.payload, payload(number, record.payload.length)), 0)
    return number
  })
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

async function code(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    return isLatticeError(error) ? error.code : `not a LatticeError: ${String(error)}`
  }
  return 'no error'
}

t.test('records come back, before and after the flush, and after opening again', async (t) => {
  const disk = new SimDisk(1)
  let journal = await open(disk)
  const positions: JournalPosition[] = []
  for (let i = 0; i < 60; i++) {
    positions.push(journal.append(i % 3 === 0 ? JOURNAL_LOOSE : JOURNAL_BATCH, payload(i, i * 170)))
    if (i % 7 === 0) await journal.flush()
  }
  const check = () => {
    t.same(numbers(journal), upTo(60))
    for (const [i, position] of positions.entries()) {
      const record = journal.read(position)
      t.equal(Buffer.compare(record.payload, payload(i, i * 170)), 0)
      t.equal(record.type, i % 3 === 0 ? JOURNAL_LOOSE : JOURNAL_BATCH)
    }
  }
  check()
  const end = journal.end
  t.same([...journal.scan(end)], [])
  await journal.close()
  await journal.close()
  journal = await open(disk)
  check()
  t.ok(journalSegment(positions.at(-1)!) > 0, 'more than one segment')
  t.same([...journal.scan(end)].length, 0)
  journal.append(JOURNAL_BATCH, payload(60, 5))
  t.equal([...journal.scan(end)].length, 1)
  const middle = [...journal.scan(JOURNAL_START)][30]!
  t.equal([...journal.scan(middle)].length, 61 - 30)
  await journal.close()
})

t.test('after any crash: all that was flushed, and a prefix of the rest', async (t) => {
  const seed = testSeed()
  const rounds = 400
  t.comment(`SEED=${seed}`)
  let crashes = 0
  let torn = 0
  for (let round = 0; round < rounds; round++) {
    const random = new SeededRandom(seed + round)
    const result = await crashRound(random)
    crashes += result.crashes
    torn += result.torn
    if (result.fault !== undefined) {
      t.fail(`${result.fault} (SEED=${seed + round}, first round)`)
      break
    }
  }
  t.ok(crashes > rounds / 2, `crashes ${crashes}`)
  t.ok(torn > 10, `crashes that lost or tore something ${torn}`)
})

function isSpareZero(disk: SimDisk): boolean {
  let isZero = true
  if (disk.list(directory).includes('spare.journal')) {
    disk.edit(join(directory, 'spare.journal'), (bytes) => {
      isZero = bytes.every((byte) => byte === 0)
    })
  }
  return isZero
}

/** Lives of one journal, each ended by a crash, a kill or a close, with failing disk calls. */
async function crashRound(random: SeededRandom) {
  let disk = new SimDisk(random.int(0, 2 ** 31))
  let appended = 0 // numbers used
  let promised = 0 // all below were in a flush that resolved
  const result = { crashes: 0, torn: 0, fault: undefined as string | undefined }
  const where = new Map<number, JournalPosition>()
  for (let life = 0; life < 4; life++) {
    if (random.chance(0.8)) disk.crashAfter(random.int(1, 60))
    if (random.chance(0.3)) disk.fail(random.pick(['writeAndSync', 'syncDirectory', 'create']),
      random.int(1, 5))
    let journal: Journal | undefined
    try {
      journal = await open(disk)
      const found = numbers(journal)
      if (found.length < promised) result.fault = `lost: ${found.length} of ${promised}`
      if (found.some((number, i) => number !== i)) result.fault = `not a prefix: ${found.join()}`
      if (found.length < appended) result.torn++
      if (result.fault !== undefined) return result
      appended = promised = found.length // what was found was made durable by opening
      const flushes: Promise<void>[] = []
      for (let step = 0; step < 40; step++) {
        const sizeBytes = random.pick([4, 100, 3000, 4096, 9000])
        where.set(appended, journal.append(JOURNAL_BATCH, payload(appended, sizeBytes)))
        appended++
        if (!random.chance(0.4)) continue
        const covers = appended
        const flush = journal.flush().then(
          () => void (promised = Math.max(promised, covers)),
          () => undefined,
        )
        if (random.chance(0.7)) await flush
        else flushes.push(flush)
        if (disk.hasCrashed) break
      }
      await Promise.all(flushes)
      for (let number = 0; number < appended && !disk.hasCrashed; number++) {
        const position = where.get(number)!
        if (Buffer.from(journal.read(position).payload).readUInt32BE() !== number) {
          result.fault = `record ${number} is not where it was put`
        }
      }
      if (random.chance(0.3)) {
        await journal.close()
        promised = appended
      }
    } catch (error) {
      if (isLatticeError(error, 'damaged-journal')) {
        result.fault = `a crash is taken for damage: ${error.message}`
        return result
      }
      if (!disk.hasCrashed && !isLatticeError(error, 'io')) throw error
    }
    if (disk.hasCrashed) result.crashes++
    disk = random.chance(0.7) ? disk.reboot() : disk.restart()
    if (!isSpareZero(disk)) result.fault = 'a file was written to before its name was durable'
  }
  return result
}

t.test('a failed flush is told once to each waiter; nothing is lost, nothing moves', async (t) => {
  for (const call of ['writeAndSync', 'syncDirectory'] as const) {
    const disk = new SimDisk(3)
    const journal = await open(disk)
    if (call === 'writeAndSync') {
      journal.append(JOURNAL_BATCH, payload(0, 10))
      await journal.flush()
    }
    const first = call === 'writeAndSync' ? 1 : 0
    const position = journal.append(JOURNAL_BATCH, payload(first, 5000))
    disk.fail(call, 1)
    const waiters = [journal.flush(), journal.flush()]
    t.same((await Promise.allSettled(waiters)).map((one) => one.status), ['rejected', 'rejected'])
    t.ok(journal.trouble)
    const later = journal.append(JOURNAL_BATCH, payload(first + 1, 10))
    t.equal(journal.read(position).payload.length, 5000)
    await journal.flush()
    t.equal(journal.trouble, undefined)
    t.equal(disk.list(directory).includes('00000000-1.journal'), first === 1)
    t.same(numbers(journal), upTo(first + 2))
    const after = await open(disk.reboot())
    t.same(numbers(after), upTo(first + 2), 'durable in another file')
    t.equal(after.read(position).payload.length, 5000)
    t.equal(after.read(later).payload.length, 10)
    await after.close()
    await journal.close()
  }
})

t.test('waiters of a later group are not told of an earlier failure', async (t) => {
  const disk = new SimDisk(4)
  const journal = await open(disk)
  journal.append(JOURNAL_BATCH, payload(0, 10))
  await journal.flush()
  journal.append(JOURNAL_BATCH, payload(1, 10))
  disk.fail('writeAndSync', 1)
  const first = journal.flush()
  journal.append(JOURNAL_BATCH, payload(2, 10))
  const second = journal.flush()
  t.same((await Promise.allSettled([first, second])).map((one) => one.status),
    ['rejected', 'fulfilled'])
  const after = await open(disk.reboot())
  t.same(numbers(after), upTo(3))
  await after.close()
  await journal.close()
})

t.test('damage before the durable end is an error that names the place', async (t) => {
  const seed = testSeed()
  t.comment(`SEED=${seed}`)
  const random = new SeededRandom(seed)
  const disk = new SimDisk(5)
  let journal = await open(disk)
  for (let i = 0; i < 40; i++) {
    journal.append(JOURNAL_BATCH, payload(i, 3000))
    if (i % 4 === 3) await journal.flush()
  }
  await journal.close()
  const files = disk.list(directory).filter((name) => name.startsWith('0'))
  t.ok(files.length > 1)
  for (let i = 0; i < 150; i++) {
    const damaged = disk.reboot()
    const name = random.pick(files)
    const used = await usedBytes(disk, name)
    const at = random.int(0, used)
    damaged.edit(join(directory, name), (bytes) => {
      bytes[at] = bytes[at]! ^ (1 << random.int(0, 8))
    })
    const found = await code(async () => {
      const reopened = await open(damaged)
      try {
        t.same(numbers(reopened), upTo(40), 'padding is no record')
      } finally {
        await reopened.close()
      }
    })
    // a flipped bit in zeros behind the records of a full file is nobody's data
    if (found === 'no error') continue
    t.equal(found, 'damaged-journal', `byte ${at} of ${name}`)
  }
  const again = disk.reboot()
  journal = await open(again)
  t.same(numbers(journal), upTo(40))
  await journal.close()
})

/** Where the records of a file end. */
async function usedBytes(disk: SimDisk, name: string): Promise<number> {
  let used = 0
  disk.edit(join(directory, name), (bytes) => {
    used = bytes.length
    while (used > 0 && bytes[used - 1] === 0) used--
  })
  return used
}

t.test('the last group: torn when nothing proves it, damaged when a checkpoint does', async (t) => {
  const disk = new SimDisk(6)
  const journal = await open(disk)
  journal.append(JOURNAL_BATCH, payload(0, 100))
  await journal.flush()
  const durable = journal.end.position
  const killed = disk.reboot()
  killed.edit(join(directory, '00000000.journal'), (bytes) => {
    bytes[4096 + 40] = bytes[4096 + 40]! ^ 1
  })
  t.equal(await code(() => open(killed.restart(), { durable })), 'damaged-journal')
  const reopened = await open(killed)
  t.same(numbers(reopened), [])
  reopened.append(JOURNAL_BATCH, payload(0, 200))
  await reopened.flush()
  t.same(killed.list(directory).filter((name) => name.startsWith('0')),
    ['00000000-1.journal', '00000000.journal'], 'what is torn is left where it is')
  await reopened.close()
  const last = await open(killed)
  t.same(numbers(last), [0])
  await last.close()
  await journal.close()
})

t.test('missing, swapped, foreign and future files', async (t) => {
  const disk = new SimDisk(7)
  const journal = await open(disk)
  for (let i = 0; i < 60; i++) {
    journal.append(JOURNAL_BATCH, payload(i, 3000))
    await journal.flush()
  }
  await journal.close()
  const scanAll = async (broken: SimDisk, more: object = {}) => code(async () => {
    const opened = await open(broken, more)
    try {
      numbers(opened)
    } finally {
      await opened.close()
    }
  })
  const path = (number: number) => join(directory, `0000000${number}.journal`)
  t.ok(disk.list(directory).length > 4)
  let broken = disk.reboot()
  broken.remove(path(1))
  t.equal(await scanAll(broken), 'damaged-journal', 'missing')
  broken = disk.reboot()
  broken.remove(path(0))
  t.equal(await scanAll(broken), 'damaged-journal', 'first one missing')
  broken = disk.reboot()
  broken.rename(path(1), path(9))
  broken.rename(path(2), path(1))
  broken.rename(path(9), path(2))
  t.equal(await scanAll(broken), 'damaged-journal', 'swapped')
  t.equal(await scanAll(disk.reboot(), { vaultId: Buffer.alloc(16, 8) }), 'damaged-journal')
  broken = disk.reboot()
  await transplantGroup(broken, path(0))
  t.equal(await scanAll(broken), 'damaged-journal', 'a group of another history')
  broken = disk.reboot()
  broken.edit(path(0), (bytes) => bytes.writeUInt32BE(1, 8))
  t.equal(await scanAll(broken), 'damaged-journal', 'version changed without its checksum')
  t.equal(await scanAll(disk.reboot()), 'no error')
})

/** Puts the second group of another journal, sound in itself, in place of this one's. */
async function transplantGroup(disk: SimDisk, path: string): Promise<void> {
  const other = new SimDisk(70)
  const journal = await open(other)
  for (let i = 0; i < 60; i++) {
    journal.append(JOURNAL_BATCH, payload(i + 100, 3000))
    await journal.flush()
  }
  await journal.close()
  let group = Buffer.alloc(0)
  other.edit(path, (bytes) => void (group = Buffer.from(bytes.subarray(8192, 12288))))
  disk.edit(path, (bytes) => void group.copy(bytes, 8192))
}

t.test('a full disk: said so, the reserve is used, and room given back is used too', async (t) => {
  const disk = new SimDisk(8)
  disk.capacityBytes = 16 * KiB + 32 * KiB + 8 * KiB
  const journal = await open(disk)
  let written = 0
  let failure: unknown
  while (failure === undefined && written < 1000) {
    journal.append(JOURNAL_BATCH, payload(written++, 3000))
    await journal.flush().catch((error: unknown) => void (failure = error))
  }
  t.ok(isLatticeError(failure, 'disk-full'))
  t.ok(journal.isSpaceLow)
  t.ok(written > 8, 'the reserve was used before the first failure')
  t.equal(await code(() => journal.flush()), 'disk-full', 'still full')
  disk.capacityBytes = Infinity
  await journal.flush()
  t.equal(journal.trouble, undefined)
  t.same(numbers(journal), upTo(written))
  await journal.close()
  const after = await open(disk.reboot())
  t.same(numbers(after), upTo(written))
  await after.close()
})

t.test('room given back is found without a flush', async (t) => {
  const disk = new SimDisk(9)
  disk.capacityBytes = 16 * KiB
  const journal = await open(disk)
  await turns(20)
  t.ok(journal.isSpaceLow)
  journal.lookForSpace()
  await turns(20)
  t.ok(journal.isSpaceLow, 'there is none yet')
  disk.capacityBytes = Infinity
  journal.lookForSpace()
  await turns(20)
  t.notOk(journal.isSpaceLow)
  await journal.close()
})

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

t.test('on a real disk', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'lattice-journal-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  const disk = new NodeDisk()
  const options = { directory: join(path, 'journal'), disk, vaultId, ...small }
  let journal = await Journal.open(options)
  for (let i = 0; i < 200; i++) {
    journal.append(JOURNAL_BATCH, payload(i, 700))
    if (i % 10 === 0) await journal.flush()
  }
  t.same(numbers(journal), upTo(200))
  await journal.close()
  journal = await Journal.open(options)
  t.same(numbers(journal), upTo(200))
  t.equal(journal.read([...journal.scan(JOURNAL_START)][3]!.position).payload[0], 0)
  await journal.close()
  t.ok(readdirSync(options.directory).length >= 3)
  t.equal(await code(() => journal.read(journalPosition(9, 4096))), 'damaged-journal')
})

t.test('read-only: everything is there, and no file changes', async (t) => {
  const disk = new SimDisk(11)
  let journal = await open(disk)
  for (let i = 0; i < 40; i++) {
    journal.append(JOURNAL_BATCH, payload(i, 3000))
    if (i % 5 === 0) await journal.flush()
  }
  await journal.flush()
  const copyOf = (from: Disk): Map<string, string> => {
    const files = from.list(directory).map((name): [string, string] => {
      const file = from.open(join(directory, name), 'read')
      const bytes = Buffer.alloc(file.sizeBytes())
      file.readSync(0, bytes)
      file.close()
      return [name, bytes.toString('latin1')]
    })
    return new Map(files)
  }
  const killed = disk.restart()
  const before = copyOf(killed)
  journal = await open(killed, { readOnly: true })
  t.same(numbers(journal), upTo(40))
  t.ok(journal.durableEnd < journal.end.position, 'the last group is not proven durable')
  await journal.flush()
  await journal.close()
  t.same(copyOf(killed), before)
  journal = await open(killed)
  t.same(numbers(journal), upTo(40))
  t.equal(journal.durableEnd, journal.end.position)
  await journal.close()
})
