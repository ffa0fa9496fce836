// timeoutSeconds: 240
// The simulator in CI: seeds that failed once, a short run of every profile, the same seed twice,
// and some mutants that it must notice. `npm run sim` is the real thing. SEED=n moves the run.
import t from 'tap'
import { runEpisode } from './episode.helper.ts'
import { MUTANTS, hunt } from './mutants.helper.ts'
import { planOf } from './plan.helper.ts'
import { PROFILES, profileNamed } from './profiles.helper.ts'
import { REGRESSIONS } from './regressions.helper.ts'

t.setTimeout(230_000)

const seed = Number(process.env['SEED'] ?? 1)
const SMOKE_EPISODES = 6
/** Of those that are not in the mixture since they take longer. */
const LONG_EPISODES = 1
/** Those that a few episodes notice. */
const MUTANTS_IN_CI = 8

t.test('seeds that failed once', async (t) => {
  for (const { seed: once, profile, note } of REGRESSIONS) {
    const { violation } = await runEpisode(planOf(once, profileNamed(profile)))
    t.equal(violation?.message, undefined, `seed ${once}, ${profile}: ${note}`)
  }
})

t.test('a short run of every profile', async (t) => {
  for (const profile of PROFILES) {
    let episodes = 0
    let failed: string | undefined
    const enough = profile.share > 0 ? SMOKE_EPISODES : LONG_EPISODES
    while (episodes < enough && failed === undefined) {
      const at = seed + episodes++
      const { violation } = await runEpisode(planOf(at, profile))
      if (violation === undefined) continue
      failed = `npm run sim -- --seed ${at} --profile ${profile.name}\n${violation.message}`
    }
    t.equal(failed, undefined, `${profile.name}: ${episodes} episodes from seed ${seed}`)
  }
})

t.test('same seed, same trace', async (t) => {
  for (const profile of PROFILES.filter(({ name }) => name === 'core' || name === 'members')) {
    const plan = planOf(seed, profile)
    const one = await runEpisode(plan)
    const two = await runEpisode(plan)
    t.equal(one.traceHash, two.traceHash, profile.name)
  }
})

t.test('rules broken on purpose are noticed', async (t) => {
  for (const mutant of MUTANTS.filter(({ inCi }) => inCi).slice(0, MUTANTS_IN_CI)) {
    const found = await hunt(mutant, seed)
    t.ok(found !== undefined, `${mutant.rule}: ${mutant.name}`)
  }
})
