// Loose chunks through the real journal on a simulated disk.
import t from 'tap'
import { chunkIdOf } from '../../src/chunks/chunk-id.ts'
import { compressChunk } from '../../src/chunks/compress.ts'
import { JournalLoose } from '../../src/chunks/seal-loose.ts'
import { Journal } from '../../src/journal/journal.ts'
import { isLatticeError } from '../../src/util/errors.ts'
import { JOURNAL_LOOSE, JOURNAL_START } from '../../src/vault/ports.ts'
import { SimDisk } from '../support/sim-disk.ts'
import { bytesOf, keys, randomOf } from './content.helper.ts'
import { testSeed } from '../support/seed.ts'

const seed = testSeed()
t.comment(`SEED=${seed}`)

const options = {
  directory: '/v/journal', vaultId: keys.vaultId, segmentBytes: 1 << 18, firstFileBytes: 1 << 16,
  spareBytes: 0,
}
const key = new Uint8Array(32).fill(9)

t.test('loose chunks are read at once, after a restart, and never wrong', async (t) => {
  const random = randomOf(seed)
  let disk = new SimDisk(seed)
  let journal = await Journal.open({ ...options, disk })
  let loose = new JournalLoose(journal, key, keys.vaultId)
  const chunks = Array.from({ length: 80 }, (_, n) => {
    const plain = bytesOf(random, 1 + random(16_384))
    const id = chunkIdOf(keys.idKey, plain)
    const { codec, stored } = compressChunk(plain)
    const location = loose.append(id, codec, plain.length, stored)
    t.equal(Buffer.compare(loose.read(id, location), stored), 0, `chunk ${n} before any flush`)
    return { id, location, stored: Buffer.from(stored) }
  })
  await journal.flush()
  await journal.close()

  disk = disk.reboot()
  journal = await Journal.open({ ...options, disk })
  loose = new JournalLoose(journal, key, keys.vaultId)
  let index = 0
  for (const record of journal.scan(JOURNAL_START)) {
    if (record.type !== JOURNAL_LOOSE) continue
    const opened = loose.open(record.position, record.payload)
    const chunk = chunks[index++]!
    t.equal(opened.id === chunk.id && Buffer.compare(opened.stored, chunk.stored) === 0, true)
    t.strictSame(opened.location, chunk.location, 'a scan finds the same place')
  }
  t.equal(index, chunks.length)
  const [first, second] = [chunks[0]!, chunks[1]!]
  t.throws(() => loose.read(second.id, first.location), { code: 'damaged-journal' })
  await journal.close()

  const path = `/v/journal/${disk.list('/v/journal')[0]!}`
  let refused = 0
  for (let i = 0; i < 40; i++) {
    disk.edit(path, (bytes) => {
      const at = 4096 + random(bytes.length - 4096)
      bytes[at] = bytes[at]! ^ (1 << random(8))
    })
  }
  try {
    journal = await Journal.open({ ...options, disk })
    loose = new JournalLoose(journal, key, keys.vaultId)
    for (const { id, location, stored } of chunks) {
      try {
        if (Buffer.compare(loose.read(id, location), stored) !== 0) t.fail('wrong content')
      } catch (error) {
        if (!isLatticeError(error)) throw error
        refused++
      }
    }
    await journal.close()
  } catch (error) {
    if (!isLatticeError(error)) throw error
    refused++
  }
  t.ok(refused > 0, `${refused} refused`)
})
