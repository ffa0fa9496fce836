// A session over a real engine, with a fake kernel at its other end: no mount, no privilege.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { ensurePrivateDirectory } from '../../src/config/private-files.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { openLog } from '../../src/daemon/log.ts'
import { createStoredVault, openStoredVault } from '../../src/daemon/open-vault.ts'
import { sessionAddon } from '../../src/fuse/addon.ts'
import { FuseSession } from '../../src/fuse/session.ts'
import { must } from '../../src/util/assert.ts'
import { FakeKernel, OP, body } from '../native/support/fake-kernel.ts'

export interface Served {
  kernel: FakeKernel
  session: FuseSession
  vault: Awaited<ReturnType<typeof openStoredVault>>
}

/** Serves a new vault to a fake kernel while `run` lasts. */
export async function served(test: Test, run: (served: Served) => Promise<void>): Promise<void> {
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
    await kernel.ok(OP.getattr, 1, body.getattr()) // as a real one: the root is known
    await run({ kernel, session, vault })
  } finally {
    session.close()
    await kernel.ended
    await vault.close()
    ring.close()
  }
}
