// A session over a real engine, driven by the fake kernel: what depends on how requests meet in one
// batch. No mount, no privilege.

import t, { type Test } from 'tap'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { ensurePrivateDirectory } from '../../src/config/private-files.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { openLog } from '../../src/daemon/log.ts'
import { createStoredVault, openStoredVault } from '../../src/daemon/open-vault.ts'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FuseSession } from '../../src/fuse/session.ts'
import { must } from '../../src/util/assert.ts'
import { FakeKernel, OP, attrAt, body } from '../native/support/fake-kernel.ts'

const UNLINK = 10

interface Served {
  kernel: FakeKernel
  vault: Awaited<ReturnType<typeof openStoredVault>>
}

/** Serves a new vault to a fake kernel while `run` lasts. */
async function served(test: Test, run: (served: Served) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'session-'))
  test.teardown(() => rmSync(home, { recursive: true, force: true }))
  const paths = resolvePaths({ LATTICE_HOME: home })
  await ensurePrivateDirectory(paths.stateDirectory)
  const log = openLog('error')
  const ring = await KeyRing.create({ kind: 'none' })
  const { id } = await createStoredVault(paths, 'v', ring, () => Promise.resolve(), log)
  const keys = must(ring.vaults[0], 'the vault')
  const options = { config: defaultConfig(), readOnly: false, log }
  const vault = await openStoredVault(paths, { name: 'v', path: '/v', id }, keys, options)
  const [ours, theirs] = sessionAddon().socketPair()
  const { fileSystem, buffers } = vault
  const quiet = () => {}
  const session = FuseSession.open({ fd: ours, fileSystem, buffers, readOnly: false, log: quiet })
  const kernel = new FakeKernel(theirs)
  try {
    await kernel.ok(OP.init, 0, body.init())
    await run({ kernel, vault })
  } finally {
    session.close()
    await kernel.ended
    await vault.close()
    ring.close()
  }
}

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
