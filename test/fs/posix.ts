// The POSIX suite (posix-cases.helper.ts) over FileSystem without a mount, and over a plain
// directory: what the latter does is what the suite must expect.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { DirectPosix } from './direct-posix.helper.ts'
import { nodePosix } from './node-posix.helper.ts'
import { runPosixCases } from './posix-cases.helper.ts'
import { VaultPlace } from './real-vault.helper.ts'
import { memoryVault } from './vault.helper.ts'

void t.test('a plain directory', async (test) => {
  const root = mkdtempSync(join(tmpdir(), 'lattice-posix-'))
  test.teardown(() => rmSync(root, { recursive: true, force: true }))
  await runPosixCases(nodePosix(root), test)
})

void t.test('FileSystem over the real tree, journal, index, packs and content', async (test) => {
  const root = mkdtempSync(join(tmpdir(), 'lattice-posix-'))
  test.teardown(() => rmSync(root, { recursive: true, force: true }))
  const vault = await new VaultPlace(root).open()
  test.teardown(() => vault.close())
  const direct = new DirectPosix('real parts', vault.fs, vault.buffers)
  direct.sync = async () => vault.files.syncAll()
  await runPosixCases(direct, test)
  await vault.files.syncAll()
  direct.forget()
  vault.buffers.deliver()
  test.same(direct.troubles, [])
  test.same(vault.troubles, [])
  test.equal(vault.files.openFiles, 0)
  test.equal(vault.files.orphans.count, 0)
})

void t.test('FileSystem over naive parts', async (test) => {
  const vault = memoryVault()
  test.teardown(() => vault.close())
  const direct = new DirectPosix('memory', vault.fs, vault.buffers)
  direct.sync = async () => vault.files.syncAll()
  await runPosixCases(direct, test)
  await vault.files.syncAll()
  direct.forget()
  vault.buffers.deliver()
  test.same(direct.troubles, [])
  test.same(vault.troubles, [])
  test.equal(vault.files.openFiles, 0)
  test.equal(vault.files.orphans.count, 0)
})
