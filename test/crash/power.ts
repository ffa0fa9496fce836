// timeoutSeconds: 180
// runAlone: true
// The power fails in the middle of work: LATTICE_HOME lies on an ext4 of its own, which forgets
// what was not synced; the daemon lives on for a moment, with a disk that fails, and is then
// killed. The oracle is that of kill.ts, and its log lies on another disk. ROUNDS=200 for a long
// run, SEED replays the choices.

import t from 'tap'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount } from '../mount/harness.helper.ts'
import { temporaryDirectory } from '../mount/system.helper.ts'
import { LoopDisk } from './loop-disk.helper.ts'
import { runRounds } from './rounds.helper.ts'

const rounds = Number(process.env['ROUNDS'] ?? 10)
const skip = noMount() ?? LoopDisk.missing() ?? false

t.test('the power fails in the middle of work', { skip }, async (t) => {
  const { seed } = testRandom()
  t.comment(`SEED=${seed}`)
  const base = temporaryDirectory(t)
  const disk = await LoopDisk.open(t, base, 2048)
  const home = join(disk.directory, 'home')
  mkdirSync(home, { mode: 0o700 })
  const place = await Place.open(t, { base, home })
  const outcome = await runRounds({
    rounds,
    seed,
    directory: place.directory,
    outside: base,
    workMs: [150, 2500],
    crash: async (random) => {
      disk.cutPower()
      await delay(random.below(400))
      await place.kill()
    },
    recover: async () => {
      await disk.unmount()
      disk.mount()
      await place.recover()
    },
    errors: ['ENOTCONN', 'ECONNABORTED', 'EIO'],
    say: (line) => t.comment(line),
  })
  t.same(outcome.faults, [], 'every state found may be found')
  t.ok(outcome.withWorkInFlight * 2 >= rounds, `work in flight: ${outcome.withWorkInFlight} rounds`)
  t.equal(outcome.damageRefused, outcome.damageTried, 'the oracle refuses damaged copies')
  t.comment(`${outcome.issuedOps} operations, ${outcome.lostNames} names lost with the power`)
  await place.unmount()
})
