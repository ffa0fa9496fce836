// timeoutSeconds: 120
// A mount in which names match without case or by NFC, as other systems do, over one whose names
// are bytes; and what `lattice doctor --names` says about them. The vault itself never changes.

import t from 'tap'
import { Instance, noMount } from './harness.helper.ts'

const skip = noMount() ?? false

t.test('names without case, by NFC, and as bytes', { skip }, async (t) => {
  const instance = await Instance.create(t)
  const mount = await instance.mount()
  const sh = async (script: string) => (await instance.sh(script, mount)).trim()
  await sh(`echo A > Makefile; echo b > makefile; mkdir Dir; echo d > Dir/x
    touch "$(printf 'caf\\303\\251')" "$(printf 'cafe\\314\\201')" "$(printf 'x\\377')"`)
  const before = await sh('ls')
  const found = await instance.json<{
    vaults: { names: number; findings: { path: string; problem: string }[] }[]
  }>('doctor', '--names', mount)
  const problems = found.vaults[0]!.findings.map(({ problem }) => problem).toSorted()
  t.same(problems, ['not-nfc', 'not-utf8', 'same-after-nfc', 'same-without-case'])
  t.equal(found.vaults[0]!.names, 7)
  await instance.umount(mount)

  await instance.mount(mount, '-o', 'names=caseless')
  const day = new Date().toISOString().slice(0, 10)
  const names = (await sh('ls')).split('\n')
  t.equal(names.filter((name) => name.includes(`(conflict ${day} `)).length, 2)
  t.ok(names.includes('x%FF'))
  t.equal(await sh('cat MAKEFILE'), 'b', 'the later one keeps the name')
  t.equal(await sh(`cat "$(ls | grep 'akefile (conflict')"`), 'A')
  t.equal(await sh('cat DIR/X; cat dir/x'), 'd\nd')
  // Linux itself does nothing when both names are of one inode, so that takes two steps
  await sh('mv DIR other; mv other dIR')
  t.equal(await sh('ls | grep -i dir'), 'dIR')
  t.equal(await sh('echo 1 > New; test -e nEW; rm NEW; test -e New || echo gone'), 'gone')
  t.equal(await sh('echo 1 > one; mv ONE Two; cat tWO'), '1')
  t.equal(await sh('mkdir d; mkdir D 2>/dev/null || echo there; rmdir D; test -e d || echo no'),
    'there\nno')
  await sh('mv dir other; mv OTHER Dir; rm TWO')
  await instance.umount(mount)

  await instance.mount(mount, '-o', 'names=nfc')
  t.equal(await sh('ls | grep -c conflict'), '1')
  t.equal(await sh('cat Makefile makefile'), 'A\nb')
  await instance.umount(mount)

  await instance.mount(mount)
  t.equal(await sh('ls'), before, 'nothing has changed')
  await instance.umount(mount)
  const wrong = await instance.run('mount', mount, '-o', 'names=utf8')
  t.equal(wrong.code, 2)
  t.match(wrong.stderr, /names=bytes, names=nfc or names=caseless/)
})
