// Two homes on one machine come together by the command line: invite, join, members, exit codes.
import t from 'tap'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Instance, noMount } from './harness.helper.ts'

type Document = Record<string, unknown>

const LOOPBACK = `version = 1

[network]
listen = "127.0.0.1:0"
lan = false
dht = false
`

t.test('a code carries a device into a vault', { skip: noMount() ?? false }, async (t) => {
  const [desk, laptop] = [await Instance.create(t), await Instance.create(t)]
  for (const { home } of [desk, laptop]) {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    writeFileSync(`${home}/config.toml`, LOOPBACK)
  }
  await desk.mount()
  writeFileSync(desk.path('mount', 'there'), 'before')
  const unasked = await desk.run('invite')
  t.equal(unasked.code, 2, 'nobody could compare digits')
  const { code, id } = await desk.json<{ code: string; id: string }>('invite', '--yes', '--detach')
  t.match(code, /^LATTICE-/)
  const broken = await laptop.run('join', `${code.slice(0, -2)}00`, laptop.path('v'), '--yes')
  t.equal(broken.code, 23, broken.stderr)
  const words = ['join', code, laptop.path('v'), '--yes', '--label', 'it']
  const joined = await laptop.json<Document>(...words)
  t.match(joined, { state: 'joined', role: 'writer', mounted: true })
  t.equal(readFileSync(laptop.path('v', 'there'), 'utf8'), 'before', 'the history has come')
  writeFileSync(laptop.path('v', 'at once'), 'and it may write')
  t.match(await laptop.json('status'), { vaults: [
    { role: 'writer', devices: { known: 1, connected: 1 } },
  ] })
  t.match(await laptop.ok('status'), /writer; 1 of 1 other device connected/)
  const members = await desk.json<{ vaults: { members: Document[] }[] }>('members')
  t.match(members.vaults[0]?.members[1], { label: 'it', role: 'writer' })
  const again = await laptop.run('join', code, laptop.path('w'), '--yes', '--json')
  t.equal(again.code, 23)
  t.match(JSON.parse(again.stderr), { error: { reason: 'invite-used' } })
  t.match(await desk.json('invites'), { vaults: [{ invites: [{ id, state: 'joined' }] }] })

  t.equal((await desk.run('remove', 'it')).code, 2, 'not without a yes')
  t.match(await desk.json('role', 'it', 'reader'), { label: 'it', role: 'reader' })
  const before = await desk.json<{ epoch: string }>('rotate')
  const removed = await desk.json<{ epoch: string }>('remove', 'it', '--yes')
  t.match(removed, { label: 'it', role: 'removed' })
  t.not(removed.epoch, before.epoch, 'another epoch at once')
  t.equal((await desk.run('remove', 'nobody', '--yes')).code, 4)

  const second = await desk.json<{ id: string; code: string }>('invite', '--yes', '--detach')
  await desk.ok('umount', desk.path('mount'))
  const off = await laptop.run('join', second.code, laptop.path('x'), '--yes')
  t.equal(off.code, 9, 'the inviter is offline')
  await desk.mount()
  await desk.ok('invites', 'revoke', second.id)
  t.match(await desk.json('invites'), { vaults: [{ invites: [{}, { state: 'revoked' }] }] })
  t.equal((await desk.run('key', 'replace-phrase', '--yes')).code, 0)
})
