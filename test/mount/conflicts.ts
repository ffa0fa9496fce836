// timeoutSeconds: 120
// Two devices change one vault without knowing of each other; then the first one is mounted, and
// ordinary programs and the command line see what came of it. The devices are two engines of this
// process, whose logs are exchanged in memory; the second one is a member that the first let in.

import t from 'tap'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { defaultConfig } from '../../src/config/config-schema.ts'
import { resolvePaths, vaultDirectory } from '../../src/config/paths.ts'
import { KeyRing } from '../../src/crypto/key-ring.ts'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import { newVaultKeys } from '../../src/crypto/vault-keys.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { Engine } from '../../src/daemon/engine.ts'
import { openLog } from '../../src/daemon/log.ts'
import { makeStateDirectory, stateDirectory } from '../../src/daemon/state-directory.ts'
import type { StateDirectory } from '../../src/daemon/state-directory.ts'
import { KIND_FILE } from '../../src/ops/types.ts'
import type { Name } from '../../src/ops/types.ts'
import { authorOf } from '../../src/vault/create.ts'
import type { VaultMembers } from '../../src/vault/members-view.ts'
import { Membership } from '../../src/vault/membership.ts'
import { logsOnly } from '../support/peers.helper.ts'
import { MemoryLogs } from '../vault/cores.helper.ts'
import { Instance, noMount } from './harness.helper.ts'

const log = openLog('error')
const skip = noMount() ?? false

class Device {
  readonly keys: VaultKeys
  readonly logs: MemoryLogs
  engine!: Engine

  constructor(keys: VaultKeys) {
    this.keys = keys
    this.logs = new MemoryLogs(authorOf(keys))
  }

  async open(state: StateDirectory): Promise<void> {
    const { keys, logs } = this
    const peers = logsOnly(logs)
    const config = defaultConfig()
    this.engine = await Engine.open({ state, vaultKeys: keys, config, readOnly: false, log, peers })
  }

  save(name: string, text: string): void {
    const { tree } = this.engine
    const at = [tree.root, name as Name] as const
    const init = { kind: KIND_FILE, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: '' } as const
    const node = tree.lookupNode(...at) ?? tree.make(...at, init)
    const bytes = Buffer.from(text)
    const attr = { ...node.attr, sizeBytes: bytes.length, mtimeNsec: node.attr.mtimeNsec + 1 }
    tree.put(node.ino, { kind: 'inline', bytes }, attr)
  }

  async pull(other: Device): Promise<void> {
    await other.engine.sync()
    await other.engine.core.pump()
    this.logs.pull(other.logs)
    await this.engine.core.pump()
  }
}

/** Keys of a device that was let into the vault of `keys`. */
function joiningKeys(keys: VaultKeys): VaultKeys {
  const { vaultId, idKey, cutKey, epochs } = keys
  const copies = epochs.map((epoch) => ({ ...epoch }))
  return { ...newVaultKeys('second'), vaultId, idKey, cutKey, epochs: copies }
}

t.test('what two devices did at once, mounted', { skip }, async (t) => {
  const instance = await Instance.create(t)
  const made = await instance.json<{ vault: { id: string } }>('init', instance.path('mount'))
  const { id } = made.vault
  const paths = resolvePaths({ LATTICE_HOME: instance.home })
  const ring = await KeyRing.open(readFileSync(paths.keyFile), undefined)
  const one = new Device(ring.get(Buffer.from(id, 'hex')))
  const two = new Device(joiningKeys(one.keys))
  await one.open(stateDirectory(vaultDirectory(paths, id)))
  await two.open(await makeStateDirectory(instance.path('second')))
  const { members } = one.engine.core.members as VaultMembers
  const { ops } = new Membership(members, one.keys, new SystemRandom()).add({
    device: authorOf(two.keys),
    boxKey: boxKeyPair(two.keys.boxSeed).publicKey,
    role: 'writer',
    label: 'second',
  })
  await one.engine.core.control(ops)
  one.save('notes.txt', 'a\nb\n')
  one.save('kept.txt', 'the same')
  await two.pull(one)
  one.save('notes.txt', 'a\nfrom the first\n')
  one.save('new.txt', 'first')
  two.save('notes.txt', 'a\nfrom the second\n')
  two.save('new.txt', 'second')
  await two.pull(one)
  await one.pull(two)
  await two.engine.close()
  await one.engine.close()

  const mount = await instance.mount()
  const day = new Date().toISOString().slice(0, 10)
  const copy = (name: string) => (
    readdirSync(mount).filter((one) => one.startsWith(`${name} (conflict`))
  )
  const [label = ''] = copy('new').map((name) => name.replace(/^.* (\S+)\)\.txt$/, '$1'))
  t.not(label, '', 'the copy is named by its device')
  t.equal(readdirSync(mount).length, 5)
  t.same(copy('new'), [`new (conflict ${day} ${label}).txt`])
  const read = (name: string) => readFileSync(join(mount, name), 'utf8')
  t.same(['new.txt', ...copy('new')].map(read).toSorted(), ['first', 'second'])

  const { members: listed } = (await instance.json<{
    vaults: { members: { label: string; role: string; self: boolean }[] }[]
  }>('members', mount)).vaults[0]!
  t.same(listed.map(({ role, self }) => [role, self]), [['owner', true], ['writer', false]])

  t.match(await instance.ok('status'), /2 conflicts: lattice conflicts/)
  const text = await instance.ok('conflicts')
  t.match(text, /notes\.txt: changed on several devices/)
  t.match(text, /new\.txt: several things of one name/)
  const show = await instance.ok('conflicts', 'show', join(mount, 'notes.txt'))
  t.match(show, /^[-+]from the first$/m)
  t.match(show, /^[-+]from the second$/m)
  const lines = (await instance.ok('log', join(mount, 'notes.txt'))).split('\n')
  t.equal(lines.filter((line) => /\bconcurrent\b/.test(line)).length, 2)
  t.equal(lines.filter((line) => /\bcurrent\b/.test(line)).length, 1)
  t.match(lines.join('\n'), /second/)

  const resolve = (name: string, ...words: string[]) => (
    instance.run('conflicts', 'resolve', join(mount, name), ...words)
  )
  t.equal((await resolve('kept.txt', '--keep', 'mine')).code, 4)
  t.equal((await resolve('new.txt')).code, 2)
  t.match((await resolve('notes.txt', '--keep', 'theirs')).stdout, /kept/)
  t.equal(read('notes.txt'), 'a\nfrom the second\n')
  t.same(copy('notes'), [], 'the kernel hears of it')
  // what ordinary programs do decides, too
  await instance.sh(`rm 'new (conflict ${day} ${label}).txt'`, mount)
  t.match(await instance.ok('conflicts'), /no conflicts/)
  await instance.umount(mount)
  await instance.mount()
  t.same(readdirSync(mount).toSorted(), ['kept.txt', 'new.txt', 'notes.txt'])
  t.equal(read('notes.txt'), 'a\nfrom the second\n')
  t.match(await instance.ok('check', '--read-data', mount), /no errors found/)
  await instance.umount(mount)
})
