// The pool of buffers: what it hands out again, and how much it keeps.
import t from 'tap'
import { BufferPool } from '../../src/util/buffer-pool.ts'

t.test('buffers come back, of about the size, and no more than may be kept', async (t) => {
  const pool = new BufferPool(3000)
  const one = pool.take(1000)
  t.equal(one.length, 1000)
  pool.give(one)
  t.equal(pool.freeBytes, 1000)
  const shorter = pool.take(600)
  t.equal(shorter.buffer, one.buffer, 'one that is large enough is used again')
  t.equal(shorter.length, 600)
  t.equal(pool.freeBytes, 0)
  pool.give(shorter)
  t.equal(pool.freeBytes, 1000, 'the whole of it')
  t.not(pool.take(400).buffer, one.buffer, 'not for much less')
  t.not(pool.take(1001).buffer, one.buffer, 'nor for more')
  pool.give(new Uint8Array(1500))
  pool.give(new Uint8Array(1500))
  t.equal(pool.freeBytes, 2500, 'what is too much is dropped')
})
