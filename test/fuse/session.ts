// A session over a real engine, driven by the fake kernel: what depends on how requests meet in one
// batch.

import t from 'tap'
import { OP, attrAt, body } from '../native/support/fake-kernel.ts'
import { served } from './served.helper.ts'

const UNLINK = 10

void t.test('a file that is opened and unlinked in one batch stays open', async (test) => {
  await served(test, async ({ kernel, vault }) => {
    const { buffers } = vault
    const { ino } = attrAt(await kernel.ok(OP.create, 1, body.create('a')), 40)
    const bytes = Buffer.alloc(200_000, 7)
    await kernel.ok(OP.write, ino, body.write(0, bytes))
    await kernel.ok(OP.fsync, ino, body.fsync())
    await kernel.ok(OP.release, ino, body.release())
    while (vault.engine.files.openFiles > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const opened = kernel.ask(OP.open, ino, body.open())
    const unlinked = kernel.ask(UNLINK, 1, body.name('a'))
    const until = Date.now() + 50 // both are there when JavaScript looks
    while (Date.now() < until);
    test.same([(await opened).error, (await unlinked).error], [0, 0])
    test.equal(buffers.openCount(ino as Parameters<typeof buffers.openCount>[0]), 1)
    test.equal(vault.engine.files.openFiles, 1, 'the engine knows that it is open')
    test.same(await kernel.ok(OP.read, ino, body.read(0, 131072)), bytes.subarray(0, 131072))
  })
})

void t.test('a header that cannot be read gets an error; the session serves on', async (test) => {
  await served(test, async ({ kernel }) => {
    const answer = await kernel.ask(UNLINK, 2 ** 60, body.name('a'))
    test.equal(Math.abs(answer.error), 22)
    await kernel.ok(OP.create, 1, body.create('a'))
    test.equal((await kernel.ask(UNLINK, 1, body.name('a'))).error, 0)
  })
})
