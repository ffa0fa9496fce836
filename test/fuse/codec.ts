// The packing of replies and the reading of requests, held against layouts worked out by hand from
// <linux/fuse.h>; malformed requests are refused, never read beyond their end.

import t from 'tap'
import { Errno } from '../../src/fs/errno.ts'
import { ReplyWriter } from '../../src/fuse/reply-writer.ts'
import { RequestReader } from '../../src/fuse/request-reader.ts'
import type { Attr } from '../../src/vault/buffers.ts'

const attr: Attr = {
  mode: 0o100644,
  nlink: 2,
  uid: 1000,
  gid: 0xffff_fffe,
  rdev: 0,
  sizeBytes: 2 ** 40 + 513,
  atimeSec: -1,
  atimeNsec: 5,
  mtimeSec: 1_700_000_000,
  mtimeNsec: 999_999_999,
  ctimeSec: 3,
  ctimeNsec: 4,
}

t.test('records carry exact lengths and start at multiples of eight', async (t) => {
  const writer = new ReplyWriter(3600)
  writer.begin(7, 1)
  writer.bytes(Buffer.from('abc'))
  writer.end()
  writer.error(8, 0, 2)
  const packed = Buffer.from(writer.packed())
  t.equal(writer.count, 2)
  t.equal(packed.length, 24 + 16)
  t.equal(packed.readUInt32LE(0), 19, 'header and three bytes')
  t.equal(packed.readBigUInt64LE(8), (1n << 32n) + 7n)
  t.equal(packed.readUInt32LE(24), 16)
  t.equal(packed.readInt32LE(28), -2)
  writer.clear()
  t.equal(writer.packed().length, 0)
})

t.test('an entry has the layout of fuse_entry_out', async (t) => {
  const writer = new ReplyWriter(3600)
  writer.begin(1, 0)
  writer.entry({ ino: 2 ** 33 + 5, generation: 9, attr })
  writer.end()
  const out = Buffer.from(writer.packed()).subarray(16)
  t.equal(out.length, 128)
  t.equal(out.readBigUInt64LE(0), 2n ** 33n + 5n)
  t.equal(out.readBigUInt64LE(8), 9n)
  t.equal(out.readBigUInt64LE(16), 3600n, 'entry lifetime')
  t.equal(out.readBigUInt64LE(40), 2n ** 33n + 5n, 'attr.ino')
  t.equal(out.readBigUInt64LE(48), 2n ** 40n + 513n, 'attr.size')
  t.equal(out.readBigUInt64LE(56), 2n ** 31n + 2n, 'attr.blocks, rounded up')
  t.equal(out.readBigInt64LE(64), -1n, 'attr.atime before 1970')
  t.equal(out.readUInt32LE(40 + 60), 0o100644)
  t.equal(out.readUInt32LE(40 + 72), 0xffff_fffe)
})

t.test('directory entries stop at the limit and pad names', async (t) => {
  const writer = new ReplyWriter(3600)
  writer.begin(1, 0)
  t.ok(writer.dirent(64, undefined, false, 5, 3, 8, 'abc'))
  t.ok(writer.dirent(64, undefined, false, 6, 4, 8, 'abcdefgh'))
  t.notOk(writer.dirent(64, undefined, false, 7, 5, 8, 'x'))
  writer.end()
  const out = Buffer.from(writer.packed()).subarray(16)
  t.equal(out.length, 64)
  t.equal(out.readUInt32LE(16), 3)
  t.equal(out.toString('latin1', 24, 32), 'abc\0\0\0\0\0')
  t.equal(out.readBigUInt64LE(32), 6n)
})

t.test('a record that is given up leaves nothing behind', async (t) => {
  const writer = new ReplyWriter(1)
  writer.empty(1, 0)
  writer.begin(2, 0)
  writer.u64(3)
  writer.abandon()
  t.equal(writer.count, 1)
  t.equal(writer.packed().length, 16)
})

t.test('the buffer grows without losing what is in it', async (t) => {
  const writer = new ReplyWriter(1)
  const payload = Buffer.alloc(100_000, 7)
  writer.begin(1, 0)
  writer.bytes(payload)
  writer.bytes(payload)
  writer.end()
  t.equal(Buffer.compare(Buffer.from(writer.packed()).subarray(16), Buffer.alloc(200_000, 7)), 0)
})

function request(body: Buffer): { reader: RequestReader; arena: Buffer } {
  const arena = Buffer.alloc(4096, 0xaa)
  arena.writeUInt32LE(40 + body.length, 64)
  arena.writeUInt32LE(1, 68)
  arena.writeBigUInt64LE((3n << 32n) + 2n, 72)
  arena.writeBigUInt64LE(1n, 80)
  arena.writeUInt32LE(1000, 88)
  arena.writeUInt32LE(1001, 92)
  arena.writeUInt32LE(77, 96)
  body.copy(arena, 104)
  const copy = new ArrayBuffer(arena.length)
  new Uint8Array(copy).set(arena)
  const reader = new RequestReader(copy)
  reader.set(64, 40 + body.length)
  return { reader, arena }
}

t.test('a request is read in place, within its own length', async (t) => {
  const body = Buffer.concat([Buffer.from([1, 0, 0, 0]), Buffer.from('n\xe9\0tail\0', 'latin1')])
  const { reader } = request(body)
  t.equal(reader.opcode, 1)
  t.equal(reader.uniqueLow, 2)
  t.equal(reader.uniqueHigh, 3)
  t.equal(reader.nodeId, 1)
  t.equal(reader.uid, 1000)
  t.equal(reader.u32(), 1)
  t.equal(reader.cstring(), 'n\xe9')
  t.equal(reader.cstring(), 'tail')
  t.throws(() => reader.u32(), Errno)
  t.throws(() => reader.cstring(), Errno)
})

t.test('numbers that JavaScript cannot hold, and short headers, are refused', async (t) => {
  const body = Buffer.alloc(16, 0xff)
  t.throws(() => request(body).reader.u64(), Errno)
  t.equal(request(body).reader.i64(), -1)
  const { reader } = request(Buffer.alloc(0))
  t.throws(() => reader.set(0, 39), Errno)
  t.throws(() => reader.set(4090, 40), Errno)
  t.throws(() => reader.cstring(), Errno)
})
