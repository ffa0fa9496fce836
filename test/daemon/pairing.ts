// timeoutSeconds: 600
// Joining from end to end, over TCP on loopback: what is stored where, what each wrong code says,
// two who race for one code, crashes of either side at every step, and the vault that comes of it.
import t from 'tap'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isBlind } from '../../src/crypto/vault-keys.ts'
import { decodeCode, encodeCode } from '../../src/net/pairing/code.ts'
import type { InviteRole } from '../../src/net/pairing/code.ts'
import { Frames } from '../../src/net/pairing/frames.ts'
import { dialAny } from '../../src/net/pairing/tcp-network.ts'
import { inviteSecrets } from '../../src/net/pairing/secrets.ts'
import { ATTEMPTS_MAX } from '../../src/daemon/pairing-host.ts'
import { readIntroducer } from '../../src/daemon/pairing-join.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { concatBytes } from '../../src/util/bytes.ts'
import { authorOf } from '../../src/vault/create.ts'
import { Home, OpenHome, until } from './pairing.helper.ts'

const caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const HOUR = 3600_000
const asked = { isUnattended: true, lifetimeMs: HOUR }
const ended = (): boolean => false

async function invited(
  t: { teardown: (end: () => Promise<void>) => void }, role: InviteRole = 'writer',
  isUnattended = true,
): Promise<{ desk: OpenHome; code: string; id: string }> {
  const desk = await OpenHome.create()
  t.teardown(() => desk.close())
  return { desk, ...(await desk.host.invite({ role, isUnattended, lifetimeMs: HOUR })) }
}

for (const role of ['writer', 'reader', 'admin', 'blind'] as const) {
  t.test(`a ${role} joins, and its vault becomes one when the ops come`, async (t) => {
    const { desk, code, id } = await invited(t, role)
    desk.engine.fileSystem.mkdir(caller, desk.engine.fileSystem.root, 'before', 0o755)
    await desk.engine.sync()
    const home = new Home()
    const done = await until(home.joins, (await home.join(code)).id, ended)
    t.match(done, { state: 'joined', role, vaultName: 'Photos', isNewKeyFile: true })
    t.match(desk.host.list()[0], { state: 'joined', id, attempts: 1 })
    const [entry] = await home.vaults()
    t.match(entry, { id: desk.id, path: join(home.root, 'mnt') })
    const keys = home.store.keysOf(desk.id)
    t.equal(isBlind(keys.epochs[0]!), role === 'blind')
    t.match(desk.membership.members.get(authorOf(keys)), { role, label: 'laptop' })
    t.strictSame(readdirSync(join(home.paths.stateDirectory, 'joins')), [], 'nothing unfinished')

    const laptop = await OpenHome.open(home, desk.id)
    t.teardown(() => laptop.close())
    const introducer = await readIntroducer(laptop.engine.state.path, keys)
    t.strictSame(introducer?.addresses, [{ host: '127.0.0.1', port: desk.listener.port }])
    t.equal(Buffer.from(introducer!.device).toString('latin1'), desk.engine.keys.author)
    const { fileSystem: fs } = laptop.engine
    t.equal(laptop.engine.core.mayWrite, false, 'not before it knows that it is a member')
    t.throws(() => fs.mkdir(caller, fs.root, 'early', 0o755))
    t.same(fs.readdir(fs.root, 0, 100).length, 2, 'an empty directory to look at')
    await t.rejects(laptop.membership.rename('x'), { code: 'not-ready' })

    await laptop.pull(desk)
    t.equal(laptop.membership.own?.role, role)
    const names = fs.readdir(fs.root, 0, 100).map(({ name }) => String(name))
    t.equal(names.includes('before'), role !== 'blind', `it sees ${names.join(' ')}`)
    t.equal(laptop.engine.core.mayWrite, role === 'writer' || role === 'admin')
    await laptop.membership.rename('notebook')
    if (laptop.engine.core.mayWrite) fs.mkdir(caller, fs.root, 'after', 0o755)
    await laptop.engine.sync()
    await laptop.engine.core.pump()
    await desk.pull(laptop)
    t.equal(desk.membership.members.label(laptop.engine.keys.author), 'notebook')
    const there = desk.engine.fileSystem.readdir(desk.engine.fileSystem.root, 0, 100)
    t.equal(there.some(({ name }) => String(name) === 'after'), laptop.engine.core.mayWrite)
    const again = await until(home.joins, (await home.join(code)).id, ended)
    t.equal(again.problem?.reason, 'invite-used', 'a second time is another device')
  })
}

t.test('both people compare digits', async (t) => {
  for (const [here, there, reason] of [
    ['same', 'same', undefined], ['differ', 'same', 'digits-differ'],
    ['same', 'differ', 'digits-differ'], ['refuse', 'same', 'pairing-refused'],
    ['same', 'refuse', 'pairing-refused'],
  ] as const) {
    const { desk, code, id } = await invited(t, 'writer', false)
    const home = new Home()
    const { id: join } = await home.join(code, { isUnattended: false })
    const laptop = await until(home.joins, join, ({ isAsked }) => isAsked)
    let seen = 0
    let shown = await desk.host.wait(id, seen, 1000)
    while (!shown.isAsked) shown = await desk.host.wait(id, (seen = shown.revision), 1000)
    t.match(shown, { state: 'comparing', device: { label: 'laptop' }, digits: laptop.digits! })
    t.match(laptop, { role: 'writer', vaultName: 'Photos', inviter: { label: /./ } })
    desk.host.decide(id, here)
    home.joins.decide(join, there)
    const done = await until(home.joins, join, ended)
    t.equal(done.problem?.reason, reason, `${here}, ${there}`)
    t.equal(desk.membership.members.list().length, reason === undefined ? 2 : 1)
    t.equal((await home.vaults()).length, reason === undefined ? 1 : 0)
    if (reason === 'digits-differ') {
      const late = await until(home.joins, (await home.join(code)).id, ended)
      t.equal(late.problem?.reason, 'invite-spent', 'wrong digits end the invite')
    }
  }
})

t.test('wrong, unknown, expired and revoked codes say so', async (t) => {
  const { desk, code, id } = await invited(t)
  const home = new Home()
  const reason = async (text: string): Promise<string | undefined> => (
    (await until(home.joins, (await home.join(text)).id, ended)).problem?.reason
  )
  await t.rejects(home.join(code.slice(0, -3)), { code: 'code-damaged' })
  const other = encodeCode({ ...decodeCode(code), seed: randomBytes(16) })
  t.equal(await reason(other), 'invite-unknown', 'somebody is there, and does not know it')
  t.equal(await reason(encodeCode({ ...decodeCode(code), addresses: [] })), 'no-route')
  const nobody = [{ host: '127.0.0.1', port: 1 }]
  t.equal(await reason(encodeCode({ ...decodeCode(code), addresses: nobody })), 'inviter-offline')
  desk.home.nowMs += HOUR + 1001
  t.equal(await reason(code), 'invite-expired')
  t.equal(desk.host.list()[0]?.state, 'expired')
  desk.home.nowMs -= HOUR + 1001
  t.match(await desk.host.revoke(id), { state: 'revoked' })
  t.equal(await reason(code), 'invite-revoked')
  await t.rejects(desk.host.revoke('00000000'), { code: 'not-found' })
  const short = { ...asked, role: 'writer', lifetimeMs: 1 } as const
  await t.rejects(desk.host.invite(short), { code: 'invalid' })
  t.equal(desk.membership.members.list().length, 1)
})

t.test('of two who race for one code, one joins', async (t) => {
  for (let round = 0; round < 3; round++) {
    const { desk, code } = await invited(t)
    const homes = [new Home(), new Home(), new Home()]
    const ends = await Promise.all(homes.map(async (home) => (
      until(home.joins, (await home.join(code)).id, ended)
    )))
    const joined = ends.filter(({ state }) => state === 'joined')
    t.equal(joined.length, 1)
    for (const { problem } of ends) {
      if (problem !== undefined) t.match(problem.reason, /^invite-(busy|used)$/)
    }
    t.equal(desk.membership.members.list().length, 2)
  }
})

t.test('attempts are counted, over restarts too', async (t) => {
  const { desk, code } = await invited(t, 'writer', false)
  const { seed, addresses } = decodeCode(code)
  let open = desk
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    if (i === 2) {
      await desk.cut()
      await desk.listen() // on another port
      open = desk
    }
    const to = [{ host: '127.0.0.1', port: open.listener.port }]
    let type = 0
    while (type !== 2) { // an offer: the attempt is counted; else the one before is not over yet
      const stream = await dialAny(to, inviteSecrets(seed).door, AbortSignal.timeout(5000))
      const frames = new Frames(stream)
      frames.send(concatBytes(
        Buffer.from([1, 0]), randomBytes(32), boxKey(), Buffer.from([0]), randomBytes(32),
      ))
      type = (await frames.next(5000))[0] ?? 0
      frames.close()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    t.equal(open.host.list()[0]?.attempts, i + 1)
  }
  while (open.host.list()[0]?.problem === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const home = new Home()
  const late = { ...decodeCode(code), addresses: [{ ...addresses[0]!, port: open.listener.port }] }
  const end = async () => until(home.joins, (await home.join(encodeCode(late))).id, ended)
  let reason: string | undefined
  do reason = (await end()).problem?.reason
  while (reason === 'invite-busy')
  t.equal(reason, 'invite-spent')
})

t.test('a crash of either side at any step can be repeated', async (t) => {
  // each step fails once, as if the process had ended there
  const steps = [
    'admit-before', 'admit-after', 'welcome-lost', 'save-keys', 'state', 'stored-lost',
  ] as const
  for (const step of steps) {
    const { desk, code } = await invited(t)
    const home = new Home()
    const fail = async (): Promise<never> => {
      await desk.listener.close()
      throw new Error(`the process ends at ${step}`)
    }
    const admit = desk.membership.admit.bind(desk.membership)
    if (step === 'admit-before') desk.membership.admit = fail
    if (step === 'admit-after' || step === 'welcome-lost') {
      desk.membership.admit = async (device) => {
        await admit(device)
        await fail()
      }
    }
    const save = home.save.bind(home)
    if (step === 'save-keys') home.save = fail
    if (step === 'state') home.save = async () => (await save(), fail())
    if (step === 'stored-lost') {
      home.save = async () => {
        await save()
        setImmediate(() => void desk.listener.close())
      }
    }
    const first = await until(home.joins, (await home.join(code)).id, ended)
    t.equal(first.state, step === 'stored-lost' ? 'joined' : 'failed', step)
    desk.membership.admit = admit
    home.save = save
    await desk.cut()
    await desk.listen()
    home.joins = home.newJoins()
    const addresses = [{ host: '127.0.0.1', port: desk.listener.port }]
    const again = { ...decodeCode(code), addresses }
    const stranger = new Home()
    const other = await until(stranger.joins, (await stranger.join(encodeCode(again))).id, ended)
    t.equal(other.problem?.reason, 'invite-used', 'nobody else may take its place')
    if (step === 'stored-lost') continue
    const second = await until(home.joins, (await home.join(encodeCode(again))).id, ended)
    t.match(second, { state: 'joined' }, `${step}: ${second.problem?.message ?? ''}`)
    t.equal(desk.membership.members.list().length, 2, 'one device, not two')
    t.equal((await home.vaults()).length, 1)
    const laptop = await OpenHome.open(home, desk.id)
    await laptop.pull(desk)
    t.equal(laptop.membership.own?.role, 'writer')
    await laptop.close()
  }
})

t.test('whoever was removed meanwhile is given nothing', async (t) => {
  const { desk, code } = await invited(t)
  const home = new Home()
  home.save = async () => {
    throw new Error('the process ends here')
  }
  await until(home.joins, (await home.join(code)).id, ended)
  const device = desk.membership.members.list().find(({ label }) => label === 'laptop')!.device
  await desk.membership.remove(device)
  const again = await until(home.joins, (await home.join(code)).id, ended)
  t.equal(again.problem?.reason, 'denied')
})

t.test('no seed and no key lies open on a disk', async (t) => {
  const { desk, code } = await invited(t)
  const home = new Home()
  home.save = async () => {
    throw new Error('the process ends here')
  }
  await until(home.joins, (await home.join(code)).id, ended)
  const { seed } = decodeCode(code)
  const files = [
    join(desk.engine.state.path, 'invites'),
    ...readdirSync(join(home.paths.stateDirectory, 'joins'))
      .map((name) => join(home.paths.stateDirectory, 'joins', name)),
  ]
  t.equal(files.length, 2)
  for (const file of files) {
    const bytes = readFileSync(file)
    const secret = Buffer.from(seed)
    t.notOk(bytes.includes(secret) || bytes.includes(secret.toString('hex')), file)
  }
  t.notOk(existsSync(join(home.paths.stateDirectory, 'vaults', desk.id.slice(0, 16))))
})

function boxKey(): Buffer {
  return Buffer.from('b'.repeat(32))
}
