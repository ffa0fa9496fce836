// Engine cores with real members and real keys: a device is added, the epoch turns, somebody is
// removed; each device learns its keys from the ops alone, also when it makes all anew from its
// journal; what a removed one writes counts for nothing, and it reads nothing that came after.
import t from 'tap'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import { newEpochKeys, newVaultKeys, putEpoch } from '../../src/crypto/vault-keys.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { EngineKeys } from '../../src/daemon/engine-keys.ts'
import type { EngineCoreOptions } from '../../src/vault/engine-core.ts'
import { createVaultKeys, authorOf, genesisOf } from '../../src/vault/create.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import type { Role } from '../../src/ops/control-types.ts'
import type { VaultMembers } from '../../src/vault/members-view.ts'
import { knowsControl, vaultMembers } from '../../src/vault/members-view.ts'
import { Membership } from '../../src/vault/membership.ts'
import type { MembershipOps } from '../../src/vault/membership.ts'
import { Device, heal } from './cores.helper.ts'

/** Keys of its own, and of the vault what pairing hands over. */
function guestKeys(founder: VaultKeys, isBlind = false): VaultKeys {
  const keys = newVaultKeys('guest')
  const { vaultId, idKey, cutKey, recoveryBoxKey, recoverySignKey } = founder
  Object.assign(keys, { vaultId, idKey, cutKey, recoveryBoxKey, recoverySignKey })
  const first = founder.epochs[0]!
  const known = newEpochKeys(first.epochId)
  const full = ['epochKey', 'historyKey', 'controlKey', 'topicKey'] as const
  for (const field of full) known[field].set(first[field])
  for (const field of isBlind ? full.slice(0, 2) : []) known[field].fill(0)
  keys.epochs.push(known)
  return keys
}

class Member extends Device {
  readonly vault: VaultKeys
  engineKeys: EngineKeys
  /** How often keys were to be stored before they are used. */
  kept = 0

  constructor(vault: VaultKeys, seed: number) {
    super('?', seed, authorOf(vault))
    this.vault = vault
    this.engineKeys = new EngineKeys(vault)
    this.rootNode = this.engineKeys.ids.root(vault.vaultId)
    this.index = this.newIndex()
  }

  static async open(vault: VaultKeys, seed: number): Promise<Member> {
    const member = new Member(vault, seed)
    await member.start()
    return member
  }

  override options(): EngineCoreOptions {
    this.engineKeys = new EngineKeys(this.vault)
    return {
      ...super.options(),
      keys: { ...this.engineKeys.coreKeys, kept: async () => void this.kept++ },
      foldMembers: vaultMembers(this.vault.vaultId),
      knowsControl,
    }
  }

  get membership(): Membership {
    return new Membership((this.core.members as VaultMembers).members, this.vault, this.random)
  }

  get boxKey(): Uint8Array {
    return new Uint8Array(boxKeyPair(this.vault.boxSeed).publicKey)
  }

  async carryOut({ ops, epoch }: MembershipOps): Promise<void> {
    if (epoch !== undefined) putEpoch(this.vault, epoch)
    await this.core.control(ops)
    await this.sync()
  }

  epochs(): number {
    return this.vault.epochs.length
  }

  forget(): void {
    this.vault.epochs.splice(1)
  }
}

async function founder(seed: number): Promise<Member> {
  const keys = createVaultKeys('vault', 'laptop')
  const a = await Member.open(keys, seed)
  await a.core.control([genesisOp(genesisOf(keys, 'laptop'))])
  t.equal(a.core.mayWrite, true)
  return a
}

async function added(
  by: Member, seed: number, label: string, role: Role = 'writer',
): Promise<Member> {
  const b = await Member.open(guestKeys(by.vault), seed)
  const { author: device, boxKey } = b
  t.equal(b.core.mayWrite, false, 'not a member yet')
  await by.carryOut(by.membership.add({ device, boxKey, role, label }))
  b.logs.pull(by.logs)
  await b.core.pump()
  t.equal(b.core.mayWrite, true)
  return b
}

t.test('added, working together, names of devices in conflict copies', async (t) => {
  const a = await founder(1)
  const b = await added(a, 2, 'phone')
  a.save('/f', 'of a')
  b.save('/f', 'of b')
  await heal([a, b])
  t.same(a.list(), b.list())
  t.equal(a.list().length, 2)
  t.match(a.list().join('\n'), /\(conflict .* (phone|laptop)\)/)
  t.equal(await a.stateHash(), await b.stateHash())
})

t.test('the epoch turns: keys come from the ops, at a rebuild as well', async (t) => {
  const a = await founder(3)
  const b = await added(a, 4, 'phone')
  await a.carryOut(a.membership.rotate())
  a.save('/under the new epoch', 'x')
  await heal([a, b])
  t.equal(b.epochs(), 2)
  b.save('/of b', 'y')
  await heal([a, b])
  t.equal(a.core.applier.length(b.author), b.core.committer.nextSeq)
  t.same(a.list(), b.list())
  t.same(a.list().length, 2)
  for (const device of [a, b]) {
    const before = device.list(true)
    device.forget()
    device.index = device.newIndex() // all is made anew from the journal
    device.disk = device.disk.reboot()
    await device.start()
    t.equal(device.epochs(), 2)
    t.same(device.list(true), before)
  }
  b.save('/goes on', 'z')
  await heal([a, b])
  t.same(a.list(), b.list())
})

t.test('removed: what it did beyond counts nowhere, ' +
  'and it reads nothing that came after', async (t) => {
  const a = await founder(5)
  const b = await added(a, 6, 'phone')
  const c = await added(a, 7, 'tablet')
  await heal([a, b, c])
  b.save('/known', 'b')
  await heal([a, b, c])
  b.save('/in secret', 'b')
  await b.core.sync()
  const length = a.core.applier.length(b.author)
  const treeHash = (await a.logs.treeHash(b.author, length))!
  await a.carryOut(a.membership.remove(b.author, [{ log: b.author, length, treeHash }]))
  a.save('/after', 'a')
  await heal([a, b, c])
  await heal([a, b, c])
  t.equal(b.core.mayWrite, false)
  t.equal(b.epochs(), 1)
  t.equal(c.epochs(), 2)
  const paths = (device: Device) => (
    device.list().map((line) => line.split(' "')[0]!.replace(/ \d+/g, ''))
  )
  t.same(paths(a), ['/after', '/known'])
  t.same(c.list(), a.list())
  t.match(b.core.waiting(), [{ author: a.author, for: 'key' }])
  t.same(paths(b), ['/known'], 'its own secret work counts for nothing here either')
  t.equal(await a.stateHash(), await c.stateHash())
})

t.test('added while an epoch was minted elsewhere: the joint one is heard of past what waits',
  async (t) => {
  const a = await founder(8)
  const b = await added(a, 9, 'phone', 'admin')
  await heal([a, b])
  await b.carryOut(b.membership.rotate())
  b.save('/under the epoch of b', 'b')
  const c = await added(a, 10, 'tablet')
  await heal([a, b, c])
  t.match(c.core.waiting(), [{ author: b.author, for: 'key' }], 'nobody boxed it to c')
  await a.carryOut(a.membership.rotate())
  await heal([a, b, c])
  t.same(c.core.waiting(), [])
  t.same(c.list(), a.list())
  t.equal(c.list().length, 1)
  t.equal(await c.stateHash(), await a.stateHash())
  t.ok(c.kept > 0, 'keys that came early were stored before they were used')
})

t.test('a blind device hears of members and epochs past data that it cannot open', async (t) => {
  const a = await founder(11)
  a.save('/before', 'a')
  const b = await Member.open(guestKeys(a.vault, true), 12)
  const { author: device, boxKey } = b
  await a.carryOut(a.membership.add({ device, boxKey, role: 'blind', label: 'store' }))
  a.save('/data', 'a')
  const c = await added(a, 13, 'tablet')
  a.save('/more data', 'a')
  await a.carryOut(a.membership.rotate())
  await heal([a, b, c])
  t.match(b.core.waiting()[0], { author: a.author, for: 'key' })
  t.same(b.list(), [])
  t.equal(b.epochs(), 2)
  const members = (b.core.membersAhead as VaultMembers).members
  t.equal(members.get(c.author)?.role, 'writer')
  t.equal(members.get(b.author)?.role, 'blind')
  t.equal(members.currentEpoch(), (a.core.members as VaultMembers).members.currentEpoch())
  await b.core.close()
  b.disk = b.disk.reboot()
  await b.start()
  await b.core.pump()
  t.equal((b.core.membersAhead as VaultMembers).members.get(c.author)?.role, 'writer')
})

t.test('an op that needs a newer lattice stops nobody for ever: its author can be removed',
  async (t) => {
    const a = await founder(14)
    const b = await added(a, 15, 'phone', 'admin')
    const c = await added(a, 16, 'tablet')
    await heal([a, b, c])
    const length = a.core.applier.length(b.author)
    const body = new Uint8Array(3)
    await b.core.control([{ kind: 'control', control: 30, critical: true, body }])
    await heal([a, b, c])
    for (const one of [a, c]) {
      t.match(one.core.waiting(), [{ author: b.author, for: 'needs-newer' }])
      t.equal(one.core.mayWrite, false)
    }
    const treeHash = (await a.logs.treeHash(b.author, length)) ?? new Uint8Array(32)
    await a.carryOut(a.membership.remove(b.author, [{ log: b.author, length, treeHash }]))
    await heal([a, b, c])
    for (const one of [a, c]) {
      t.same(one.core.waiting(), [])
      t.equal(one.core.mayWrite, true)
      t.equal(one.core.applier.length(b.author), length + 1, 'applied, and void')
    }
    t.equal(await a.stateHash(), await c.stateHash())
  })
