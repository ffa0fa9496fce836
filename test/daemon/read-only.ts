// A vault whose process was killed, opened for reading: all that was done is there, and the journal
// does not change.

import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { resolvePaths, vaultDirectory } from '../../src/config/paths.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { Engine } from '../../src/daemon/engine.ts'
import { openLog } from '../../src/daemon/log.ts'
import { createStoredVault, openStoredVault } from '../../src/daemon/open-vault.ts'
import { makeStateDirectory, stateDirectory } from '../../src/daemon/state-directory.ts'
import type { Attr } from '../../src/vault/buffers.ts'
import { createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'

const caller = { uid: 1000, gid: 1000 }

function filesOf(directory: string): Map<string, string> {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  return new Map(files.map((entry) => {
    const path = join(entry.parentPath, entry.name)
    return [path.slice(directory.length), readFileSync(path).toString('latin1')]
  }))
}

t.test('a killed vault, read only', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lattice-read-only-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const options = {
    vaultKeys: createVaultKeys('test'), config: defaultConfig(), log: openLog('error'),
  }
  const live = join(directory, 'live', 'vault')
  const state = await makeStateDirectory(live)
  const engine = await Engine.open({ ...options, state, readOnly: false })
  t.teardown(() => engine.close())
  await engine.core.control([genesisOp(genesisOf(options.vaultKeys))])
  const { fileSystem: fs } = engine
  for (let i = 0; i < 3000; i++) fs.mkdir(caller, fs.root, `d${i}`, 0o755)
  await engine.sync()
  const copy = join(directory, 'copy')
  for (const part of ['journal', 'packs']) {
    cpSync(join(live, part), join(copy, part), { recursive: true })
  }
  const before = filesOf(join(copy, 'journal'))
  for (let round = 0; round < 2; round++) {
    const found = await Engine.open({ ...options, state: stateDirectory(copy), readOnly: true })
    t.equal(found.fileSystem.readdir(found.fileSystem.root, 0, 5000).length >= 3000, true)
    t.throws(() => found.fileSystem.mkdir(caller, fs.root, 'new', 0o755), { message: 'errno 30' })
    await found.close()
    t.same(filesOf(join(copy, 'journal')), before)
  }
  const found = await Engine.open({ ...options, state: stateDirectory(copy), readOnly: false })
  t.equal(found.fileSystem.readdir(found.fileSystem.root, 0, 5000).length >= 3000, true)
  await found.close()
})

t.test('an empty vault has the times of its making, with or without its index', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'lattice-empty-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const paths = resolvePaths({ LATTICE_HOME: home })
  const ring = await KeyRing.create({ kind: 'none' })
  const log = openLog('error')
  const beginSec = Math.floor(Date.now() / 1000)
  const { id } = await createStoredVault(paths, 'empty', ring, async () => undefined, log)
  const entry = { id, name: 'empty', path: '/nowhere' }
  const options = { config: defaultConfig(), readOnly: false, log }
  const times: Attr[] = []
  for (let round = 0; round < 2; round++) {
    const vault = await openStoredVault(paths, entry, ring.get(Buffer.from(id, 'hex')), options)
    times.push(vault.fileSystem.getattr(vault.fileSystem.root))
    await vault.close()
    rmSync(join(vaultDirectory(paths, id), 'index'), { recursive: true })
  }
  t.ok((times[0]?.mtimeSec ?? 0) >= beginSec)
  t.same(times[1], times[0])
})
