// Journal records of signed heads: their bytes, and that nothing else is taken for one.
import t from 'tap'
import type { AuthorId } from '../../src/ops/types.ts'
import { decodeHead, encodeHead } from '../../src/vault/journal-head.ts'
import { JOURNAL_HEAD } from '../../src/vault/ports.ts'
import type { JournalPosition, JournalRecord } from '../../src/vault/ports.ts'

const head = {
  author: Buffer.alloc(32, 0xaa).toString('latin1') as AuthorId,
  kind: 'content' as const,
  head: { length: 258, treeHash: Buffer.alloc(32, 0xbb), signature: Buffer.alloc(64, 0xcc) },
}
const record = (payload: Uint8Array): JournalRecord => (
  { type: JOURNAL_HEAD, position: 4096 as JournalPosition, sequence: 3, payload }
)

t.test('bytes', (t) => {
  const bytes = encodeHead(head)
  t.equal(Buffer.from(bytes).toString('hex'), [
    '01', 'aa'.repeat(32), '0000000000000102', '0000000000000000', 'bb'.repeat(32), 'cc'.repeat(64),
  ].join(''))
  const { author } = head
  t.match(decodeHead(record(bytes)), { author, kind: 'content', head: { length: 258 } })
  t.match(decodeHead(record(encodeHead({ ...head, kind: 'ops' }))), { kind: 'ops' })
  t.end()
})

t.test('nothing else', (t) => {
  const spoiled = (at: number, byte: number): Uint8Array => {
    const bytes = encodeHead(head)
    bytes[at] = byte
    return bytes
  }
  for (const bytes of [
    encodeHead(head).subarray(1), Buffer.concat([encodeHead(head), Buffer.alloc(1)]),
    spoiled(0, 2), spoiled(48, 1), spoiled(33, 255), new Uint8Array(0),
  ]) t.throws(() => decodeHead(record(bytes)), { code: 'damaged-journal' })
  t.end()
})
