// timeoutSeconds: 240
// runAlone: true
// kill -9 of the daemon in the middle of work, again and again: what was promised is there, the
// rest is a prefix, replaced files are whole; also when the index is gone, and when recovery is
// killed too. ROUNDS=300 for a long run (bench/soak-kill.ts), SEED replays the choices of a run
// (not its timing). `PLACE=gocryptfs` tries the test itself.

import t from 'tap'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { testRandom } from '../support/random.helper.ts'
import { Place, noMount, placeKind } from '../mount/harness.helper.ts'
import { temporaryDirectory } from '../mount/system.helper.ts'
import { runRounds } from './rounds.helper.ts'

/** What is derived from journal and packs may go at any time. */
function removeIndexes(home: string): void {
  const vaults = join(home, 'state', 'vaults')
  for (const vault of readdirSync(vaults)) {
    rmSync(join(vaults, vault, 'index'), { recursive: true, force: true })
  }
}

const kind = placeKind()
const rounds = Number(process.env['ROUNDS'] ?? 25)

t.test('killed in the middle of work', { skip: noMount() ?? false }, async (t) => {
  const random = testRandom()
  const { seed } = random
  t.comment(`SEED=${seed}`)
  const base = temporaryDirectory(t)
  const place = await Place.open(t, { base })
  const outcome = await runRounds({
    rounds,
    seed,
    directory: place.directory,
    outside: base,
    workMs: [150, 1800],
    crash: () => place.kill(),
    recover: async () => {
      if (kind === 'lattice' && random.below(4) === 0) {
        t.comment('without its index')
        removeIndexes(place.home)
      }
      if (kind === 'lattice' && random.below(4) === 0) {
        t.comment('killed while it recovers')
        const tried = place.recover().catch(() => undefined) // killed while it recovers
        await delay(random.below(700))
        await place.kill()
        await tried
      }
      await place.recover()
    },
    errors: ['ENOTCONN', 'ECONNABORTED', 'EIO'],
    say: (line) => t.comment(line),
  })
  t.same(outcome.faults, [], 'every state found may be found')
  t.ok(outcome.withWorkInFlight * 2 >= rounds, `work in flight: ${outcome.withWorkInFlight} rounds`)
  t.equal(outcome.damageRefused, outcome.damageTried, 'the oracle refuses damaged copies')
  t.ok(outcome.damageTried >= rounds, 'and was shown some')
  t.comment(`${outcome.issuedOps} operations, ${outcome.lostNames} names lost by the kills`)
  await place.unmount()
})
