// timeoutSeconds: 120
// An ordinary user mounts through fusermount3, works, unmounts, and mounts again over the mount of
// a killed daemon. Run by root, the test becomes such a user, in a mount namespace of its own where
// /dev/fuse is open to all; run by anybody else it is one already.

import t from 'tap'
import { accessSync, chownSync, constants } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { noMount, placeKind } from './harness.helper.ts'
import { hasProgram, isRoot, temporaryDirectory } from './system.helper.ts'
import { start } from './shell.helper.ts'
import { checkout } from './trees.helper.ts'

const inside = fileURLToPath(new URL('user-inside.helper.ts', import.meta.url))
const USER = 65534

const AS_USER = `
mknod "$BASE/fuse" c 10 229 && chmod 666 "$BASE/fuse" && mount --bind "$BASE/fuse" /dev/fuse
exec setpriv --reuid ${USER} --regid ${USER} --clear-groups -- "$@"
`

function whyNot(): string | false {
  if (placeKind() !== 'lattice') return 'only lattice mounts for ordinary users here'
  const reason = noMount()
  if (reason !== undefined) return reason
  if (!hasProgram('fusermount3')) return 'no fusermount3'
  if (!isRoot()) {
    try {
      accessSync('/dev/fuse', constants.W_OK)
      return false
    } catch {
      return 'not root, and /dev/fuse is not open to this user'
    }
  }
  for (const program of ['unshare', 'setpriv', 'mknod']) {
    if (!hasProgram(program)) return `no ${program}`
  }
  return false
}

t.test('an ordinary user', { skip: whyNot() }, async (t) => {
  const base = temporaryDirectory(t)
  const program = [process.execPath, '--import', import.meta.resolve('tsx'), inside, base]
  const shell = ['unshare', '-m', '--propagation', 'private', 'sh', '-euc', AS_USER, 'sh']
  if (isRoot()) chownSync(base, USER, USER)
  const argv = isRoot() ? [...shell, ...program] : program
  const env = { BASE: base, TMPDIR: base, HOME: base }
  const running = start(t, argv, { cwd: checkout, env, timeoutMs: 100_000 })
  const { code, out } = await running.finished
  const told = [...out.matchAll(/^(ok|not ok) - (.*)$/gm)]
  for (const [, verdict, what = ''] of told) t.ok(verdict === 'ok', what)
  t.ok(told.length >= 9, 'everything was tried')
  t.equal(code, 0, code === 0 ? 'it ends well' : out)
})
