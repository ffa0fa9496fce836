// timeoutSeconds: 120
// Two devices remove one each without knowing of each other: the epoch of either is open to whom
// the other one removed, until the more senior of them has minted a joint one, by itself.
import t from 'tap'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { EpochRotation } from '../../src/daemon/epoch-rotation.ts'
import { openLog } from '../../src/daemon/log.ts'
import { VaultMembership } from '../../src/daemon/membership.ts'
import type { Device } from './sync-devices.helper.ts'
import { firstDevice, pathIn, until } from './sync-devices.helper.ts'

const log = openLog('error')

function membershipOf({ engine, keys }: Device): VaultMembership {
  return new VaultMembership({
    engine, keys, saveKeys: () => Promise.resolve(), random: new SystemRandom(),
  })
}

function rotationOf(device: Device, membership: VaultMembership): EpochRotation {
  return new EpochRotation({ membership, keys: device.engine.keys, log, firstWaitMs: 20 })
}

t.test('concurrent removals end in one epoch that neither of the removed can open', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'rotation-'))
  const owner = await firstDevice(pathIn(home, 'owner'))
  const admin = await owner.admit('admin', pathIn(home, 'admin'), 'admin')
  const gone = [
    await owner.admit('third', pathIn(home, 'third')),
    await owner.admit('fourth', pathIn(home, 'fourth')),
  ] as const
  await admin.open()
  const all = { owner: membershipOf(owner), admin: membershipOf(admin) }
  await until('the admin knows all', () => all.admin.members.list().length === 4)
  const epochOf = (which: keyof typeof all): string => all[which].members.currentEpoch()
  const first = epochOf('owner')
  await owner.sync.pause(true)
  await until('they are apart', async () => (await admin.sync.status())!.peers.length === 0)

  await all.owner.remove(gone[0].author)
  await all.admin.remove(gone[1].author)
  const rotations = [rotationOf(owner, all.owner), rotationOf(admin, all.admin)]
  t.teardown(async () => {
    for (const rotation of rotations) await rotation.close()
    await owner.close()
    await admin.close()
  })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const apart = [epochOf('owner'), epochOf('admin')]
  t.equal(new Set([first, ...apart]).size, 3, 'each has an epoch of its own, and minted no other')

  await owner.sync.pause(false)
  await until('one epoch that neither had', () => (
    epochOf('owner') === epochOf('admin') && !apart.includes(epochOf('owner'))
  ))
  const joint = epochOf('owner')
  t.equal(all.owner.members.epoch(joint)?.minter, owner.author, 'the most senior made it')
  t.strictSame([...all.owner.members.epoch(joint)!.parents].sort(), apart.sort())
  const op = all.owner.members.epochOp(joint)!
  t.equal(op.boxes.length, 3, 'boxed to the two that are left, and to the phrase')
  await until('it seals at both', () => [owner, admin].every(({ engine }) => (
    Buffer.from(engine.keys.currentEpoch().epochId).toString('hex') === joint
  )))
  await admin.save('after', Buffer.from('read by the two'))
  const read = async (): Promise<boolean> => (
    (await owner.load('after'))?.toString() === 'read by the two'
  )
  await until('it is read', read)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(epochOf('owner'), joint, 'and no other is minted')
})
