// The daemon's end while content cannot be stored: said, and no dead mount stays behind.

import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { openLog } from '../../src/daemon/log.ts'
import { MountedVault } from '../../src/daemon/mounted-vault.ts'
import { createStoredVault, openStoredVault } from '../../src/daemon/open-vault.ts'
import { isMountPoint, unmountDirectory } from '../../src/fuse/mount.ts'
import { LatticeError } from '../../src/util/errors.ts'

t.test('what cannot be sealed at the end', { timeout: 30_000 }, async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'lattice-shut-down-'))
  const path = join(home, 'mount')
  await mkdir(path)
  t.teardown(async () => {
    if (await isMountPoint(path).catch(() => true)) await unmountDirectory(path, true)
    await rm(home, { recursive: true, force: true })
  })
  const paths = resolvePaths({ LATTICE_HOME: home })
  const ring = await KeyRing.create({ kind: 'none' })
  const log = openLog('error')
  const { id } = await createStoredVault(paths, 'v', ring, async () => undefined, log)
  const entry = { id, name: 'v', path }
  const keys = ring.get(Buffer.from(id, 'hex'))
  const vault = await openStoredVault(paths, entry, keys, {
    config: defaultConfig(), readOnly: false, log,
  })
  const options = { readOnly: false, allowOther: false, dev: false, suid: false }
  const mounted = await MountedVault.open(entry, vault, options, log)
  vault.engine.content.seal = () => Promise.reject(new LatticeError('disk-full', 'injected'))
  const file = await open(join(path, 'a'), 'w')
  await file.write('precious')
  await file.close()
  await t.rejects(mounted.shutDown(), { code: 'disk-full' })
  t.notOk(await isMountPoint(path))
})
