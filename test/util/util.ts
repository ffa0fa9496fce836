// util/: byte strings, varints, cursors, mutexes, the bounded cache, errors and asserts.

import t from 'tap'
import { AssertionError, assert, must, unreachable } from '../../src/util/assert.ts'
import {
  compareBytes,
  concatBytes,
  copyBytes,
  equalBytes,
  fromHex,
  isZero,
  readU16,
  readU32,
  readU64,
  toHex,
  writeU16,
  writeU32,
  writeU64,
} from '../../src/util/bytes.ts'
import { ByteReader, ByteWriter } from '../../src/util/byte-cursor.ts'
import { LatticeError, errnoName, fromSystemError } from '../../src/util/errors.ts'
import { Lru } from '../../src/util/lru.ts'
import { KeyedMutex, Mutex } from '../../src/util/mutex.ts'
import { readVarint, varintSize, writeVarint } from '../../src/util/varint.ts'

t.test('asserts throw, and never a LatticeError', async (t) => {
  assert(true, 'fine')
  t.throws(() => assert(false, () => 'lazy'), { message: 'lazy', name: 'AssertionError' })
  t.throws(() => must(undefined, 'gone'), AssertionError)
  t.equal(must(0, 'zero is a value'), 0)
  t.throws(() => unreachable(3 as never), AssertionError)
})

t.test('errors carry code, hint, details and cause', async (t) => {
  const cause = new Error('inner')
  const error = new LatticeError('corrupt', 'bad', { hint: 'do', details: { at: 3 }, cause })
  t.match(error, { code: 'corrupt', hint: 'do', details: { at: 3 }, message: 'bad' })
  t.equal(error.cause, cause)
  const full = Object.assign(new Error('x'), { code: 'ENOSPC' })
  t.match(fromSystemError(full, 'write'), { code: 'disk-full', details: { errno: 'ENOSPC' } })
  t.equal(fromSystemError(error, 'again'), error, 'a LatticeError passes')
  t.equal(errnoName({ code: 'ERR_INVALID_ARG' }), undefined)
})

t.test('bytes', async (t) => {
  t.same(concatBytes(Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(2, 3)), [1, 2, 3])
  t.ok(equalBytes(Uint8Array.of(1, 2), Buffer.from([1, 2])))
  t.notOk(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1)))
  t.equal(compareBytes(Uint8Array.of(1, 255), Uint8Array.of(2)), -1)
  t.equal(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0)), -1, 'a prefix is smaller')
  t.same(fromHex('00ff'), [0, 255])
  for (const wrong of ['0', 'zz', '0x']) t.equal(fromHex(wrong), undefined)
  t.equal(toHex(Uint8Array.of(0, 171)), '00ab')
  t.ok(isZero(new Uint8Array(9)))
  t.notOk(isZero(Uint8Array.of(0, 1)))
  const large = new Uint8Array(40000)
  t.ok(isZero(large))
  large[39999] = 1
  t.notOk(isZero(large))
  const source = Buffer.from([1, 2, 3])
  const copy = copyBytes(source, 1)
  source.fill(0)
  t.same([...copy], [2, 3], 'a copy of a Buffer is a copy')
})

t.test('integers are big-endian and bounded', async (t) => {
  const bytes = new Uint8Array(8)
  for (const value of [0, 1, 255, 65535]) {
    writeU16(bytes, 1, value)
    t.equal(readU16(bytes, 1), value)
  }
  for (const value of [0, 0x80000000, 0xffffffff]) {
    writeU32(bytes, 3, value)
    t.equal(readU32(bytes, 3), value)
  }
  for (const value of [0, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    writeU64(bytes, 0, value)
    t.equal(readU64(bytes, 0), value)
    t.equal(Buffer.from(bytes).readBigUInt64BE(), BigInt(value))
  }
  bytes.fill(255)
  t.equal(readU64(bytes, 0), undefined, 'beyond 2^53')
  t.throws(() => writeU64(bytes, 0, 2 ** 53), AssertionError)
  t.throws(() => writeU32(bytes, 5, 1), AssertionError)
  t.throws(() => readU32(bytes, 5), AssertionError)
})

t.test('varints: every value has one form', async (t) => {
  const bytes = new Uint8Array(16)
  for (let power = 0; power <= 53; power++) {
    for (const value of [2 ** power - 1, 2 ** power, 2 ** power + 1]) {
      if (!Number.isSafeInteger(value)) continue
      const end = writeVarint(bytes, 2, value)
      t.equal(end - 2, varintSize(value))
      t.same(readVarint(bytes, 2), { value, end })
    }
  }
  t.throws(() => readVarint(Uint8Array.of(128), 0), { code: 'truncated' })
  t.throws(() => readVarint(Uint8Array.of(128, 0), 0), { code: 'not-canonical' })
  t.throws(() => readVarint(new Uint8Array(9).fill(255), 0), { code: 'varint' })
  t.throws(() => writeVarint(new Uint8Array(1), 0, 128), AssertionError)
})

t.test('cursors stay inside', async (t) => {
  const bytes = new ByteWriter(new Uint8Array(18))
    .u8(7).u16(300).u32(70000).u64(2 ** 40).bytes(Uint8Array.of(1, 2, 3)).end()
  const reader = new ByteReader(bytes)
  t.same([reader.u8(), reader.u16(), reader.u32(), reader.u64()], [7, 300, 70000, 2 ** 40])
  t.throws(() => reader.view(4), { code: 'truncated' })
  t.throws(() => reader.end(), { code: 'trailing-bytes' })
  t.same(reader.copy(3), [1, 2, 3])
  reader.end()
  t.throws(() => new ByteReader(new Uint8Array(8).fill(255)).u64(), { code: 'out-of-bounds' })
  t.throws(() => new ByteWriter(new Uint8Array(1)).u16(1), AssertionError)
  t.throws(() => new ByteWriter(new Uint8Array(1)).end(), AssertionError)
})

t.test('mutex: first come, first served, released on error', async (t) => {
  const mutex = new Mutex()
  const order: number[] = []
  const tasks = [3, 1, 2].map((delay, index) =>
    mutex.run(async () => {
      order.push(index)
      await new Promise((resolve) => setTimeout(resolve, delay))
      order.push(index)
    }))
  t.notOk(mutex.tryLock())
  await Promise.all(tasks)
  t.same(order, [0, 0, 1, 1, 2, 2])
  await t.rejects(mutex.run(() => Promise.reject(new Error('no'))), { message: 'no' })
  t.notOk(mutex.held)
  t.throws(() => mutex.unlock(), AssertionError)

  const keyed = new KeyedMutex<string>()
  const seen: string[] = []
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => { open = resolve })
  const a = keyed.run('a', () => gate.then(() => seen.push('a1')))
  const a2 = keyed.run('a', () => seen.push('a2'))
  await keyed.run('b', () => seen.push('b'))
  t.same(seen, ['b'], 'another key does not wait')
  open()
  await Promise.all([a, a2])
  t.same(seen, ['b', 'a1', 'a2'])
  t.equal(keyed.size, 0, 'nothing is kept')
})

t.test('lru: bounded by bytes, oldest out first', async (t) => {
  const evicted: string[] = []
  const lru = new Lru<string, number>({ maxBytes: 10, onEvict: (key) => evicted.push(key) })
  t.ok(lru.set('a', 1, 4))
  t.ok(lru.set('b', 2, 4))
  t.equal(lru.get('a'), 1)
  t.ok(lru.set('c', 3, 4))
  t.same(evicted, ['b'])
  t.equal(lru.peek('b'), undefined)
  t.notOk(lru.set('huge', 4, 11), 'greater than all')
  t.equal(lru.sizeBytes, 8)
  t.ok(lru.set('a', 5, 1), 'replaced')
  t.same([lru.sizeBytes, lru.count], [5, 2])
  t.same([...lru.entries()], [['c', 3], ['a', 5]])
  t.ok(lru.delete('c'))
  t.notOk(lru.delete('c'))
  lru.clear()
  t.same([lru.sizeBytes, lru.count, lru.has('a')], [0, 0, false])
})
