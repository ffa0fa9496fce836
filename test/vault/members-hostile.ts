// Members with programs of their own: what an admin, or one who is no member any more, puts into
// control ops must not keep honest devices from turning epochs, removing people, or reading on.
import t from 'tap'
import { opKey } from '../../src/crypto/kdf.ts'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import { newEpochKeys, newVaultKeys, putEpoch } from '../../src/crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../../src/crypto/vault-keys.ts'
import { EngineKeys } from '../../src/daemon/engine-keys.ts'
import { controlOp } from '../../src/ops/control-codec.ts'
import type { Role } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import type { Members } from '../../src/state/members.ts'
import { authorOf, createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import type { EngineCoreOptions } from '../../src/vault/engine-core.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import { knowsControl, vaultMembers } from '../../src/vault/members-view.ts'
import type { VaultMembers } from '../../src/vault/members-view.ts'
import { Membership } from '../../src/vault/membership.ts'
import type { MembershipOps } from '../../src/vault/membership.ts'
import { mintEpoch } from '../../src/vault/membership-epochs.ts'
import { Device, heal } from './cores.helper.ts'

class Member extends Device {
  readonly vault: VaultKeys
  /** Seals under this one, whatever the members say. */
  forced: EpochKeys | undefined

  constructor(vault: VaultKeys, seed: number) {
    super('?', seed, authorOf(vault))
    this.vault = vault
    this.rootNode = new EngineKeys(vault).ids.root(vault.vaultId)
    this.index = this.newIndex()
  }

  override options(): EngineCoreOptions {
    const { coreKeys } = new EngineKeys(this.vault)
    const current: typeof coreKeys.current = (floor) => {
      if (this.forced === undefined) return coreKeys.current(floor)
      const { epochId, epochKey, controlKey } = this.forced
      return { epochId, opKey: opKey(epochKey), controlKey }
    }
    return {
      ...super.options(),
      keys: { ...coreKeys, current },
      foldMembers: vaultMembers(this.vault.vaultId),
      knowsControl,
    }
  }

  get view(): Members {
    return (this.core.members as VaultMembers).members
  }

  get membership(): Membership {
    return new Membership(this.view, this.vault, this.random)
  }

  get boxKey(): Uint8Array {
    return new Uint8Array(boxKeyPair(this.vault.boxSeed).publicKey)
  }

  async carryOut({ ops, epoch }: MembershipOps): Promise<void> {
    if (epoch !== undefined) putEpoch(this.vault, epoch)
    await this.core.control(ops)
    await this.sync()
  }
}

async function founder(seed: number): Promise<Member> {
  const keys = createVaultKeys('vault', 'laptop')
  const a = new Member(keys, seed)
  await a.start()
  await a.core.control([genesisOp(genesisOf(keys, 'laptop'))])
  return a
}

async function added(by: Member, seed: number, role: Role): Promise<Member> {
  const keys = newVaultKeys('guest')
  const { vaultId, idKey, cutKey, recoveryBoxKey, recoverySignKey } = by.vault
  Object.assign(keys, { vaultId, idKey, cutKey, recoveryBoxKey, recoverySignKey })
  const first = by.vault.epochs[0]!
  const known = newEpochKeys(first.epochId)
  for (const field of ['epochKey', 'historyKey', 'controlKey', 'topicKey'] as const) {
    known[field].set(first[field])
  }
  keys.epochs.push(known)
  const b = new Member(keys, seed)
  await b.start()
  const { author: device, boxKey } = b
  await by.carryOut(by.membership.add({ device, boxKey, role, label: `device ${seed}` }))
  b.logs.pull(by.logs)
  await b.core.pump()
  return b
}

t.test('box keys that nothing can be sealed to keep nobody from turning the epoch', async (t) => {
  const a = await founder(1)
  const h = await added(a, 2, 'admin')
  await heal([a, h])
  const zombies = [0, 1].map((first) => controlOp({
    kind: 'add', device: String(first).repeat(32) as AuthorId, role: 'writer', label: 'zombie',
    boxKey: Uint8Array.of(first, ...new Uint8Array(31)),
  }))
  await h.core.control(zombies)
  await heal([a, h])
  t.equal(a.view.list().length, 4)
  const length = a.core.applier.length(h.author)
  const treeHash = (await a.logs.treeHash(h.author, length))!
  await a.carryOut(a.membership.remove(h.author, [{ log: h.author, length, treeHash }]))
  t.equal(a.view.get(h.author)!.role, undefined)
  t.equal(a.vault.epochs.length, 2)
  t.equal(a.view.currentEpoch(), Buffer.from(a.vault.epochs.at(-1)!.epochId).toString('hex'))
})

t.test('an epoch by one who may make none divides nobody', async (t) => {
  const a = await founder(3)
  const b = await added(a, 4, 'writer')
  const c = await added(a, 5, 'writer')
  const h = await added(a, 6, 'writer')
  await heal([a, b, c, h])
  const recipients = [h, b].map(({ boxKey }) => ({ boxKey, kind: 'full' as const }))
  const { op, keys } = mintEpoch(h.view, h.vault, recipients, h.random)
  await h.core.control([controlOp(op)])
  putEpoch(h.vault, keys)
  h.forced = keys
  h.save('/of h', 'under an epoch of its own')
  await heal([a, b, c, h])
  b.save('/of b', 'from now on under that epoch')
  await heal([a, b, c, h])
  t.match(c.list().join(), /of b/, 'others read what b writes')
  await a.carryOut(a.membership.rotate())
  await heal([a, b, c, h])
  b.save('/of b, later', 'after a proper epoch')
  await heal([a, b, c, h])
  t.match(c.list().join(), /of b, later/, 'at the latest after the next epoch')
})

t.test('a batch under an epoch whose op is not applied waits, keys or not', async (t) => {
  const a = await founder(7)
  const b = await added(a, 8, 'writer')
  const h = await added(a, 9, 'writer')
  await heal([a, b, h])
  await a.carryOut(a.membership.rotate())
  const rotated = a.vault.epochs.at(-1)!
  putEpoch(h.vault, rotated)
  putEpoch(b.vault, rotated) // out of a control batch that waits, say
  await b.crash()
  h.forced = rotated
  h.save('/of h', 'by one who has not told that it has seen the op')
  await h.sync()
  b.logs.pull(h.logs)
  await b.core.pump()
  t.equal(b.list().length, 0)
  t.match(b.core.waiting(), [{ author: h.author, for: 'key' }])
  b.save('/of b', 'under the epoch before')
  await heal([a, b, h])
  for (const device of [a, b, h]) t.match(device.list().join(), /of b.*of h/, 'all show both')
  t.equal(await a.stateHash(), await b.stateHash())
})
