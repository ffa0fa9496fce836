// Makes a failing plan smaller: leaves steps out, in ever smaller portions, as long as the same
// promise stays broken (delta debugging: Zeller and Hildebrandt, 2002).
import { runEpisode } from './episode.helper.ts'
import type { EpisodeOptions, Outcome } from './episode.helper.ts'
import type { Plan, Step } from './plan.helper.ts'

export interface Shrunk {
  steps: Step[]
  outcome: Outcome
  runs: number
}

/** At most `msMax` of real time; `now` tells it. */
export async function shrink(
  plan: Plan, first: Outcome, options: EpisodeOptions, msMax: number, now: () => number,
): Promise<Shrunk> {
  const until = now() + msMax
  let kept = plan.steps.map((step) => step.index)
  let outcome = first
  let runs = 0
  for (let portion = kept.length >> 1; portion >= 1;) {
    let hasShrunk = false
    for (let at = 0; at < kept.length && now() < until;) {
      const fewer = [...kept.slice(0, at), ...kept.slice(at + portion)]
      runs++
      const tried = await runEpisode(plan, { ...options, keep: new Set(fewer) })
      if (tried.violation?.oracle === first.violation?.oracle) {
        kept = fewer
        outcome = tried
        hasShrunk = true
      } else {
        at += portion
      }
    }
    if (now() >= until) break
    if (portion > 1 || !hasShrunk) portion >>= 1
  }
  const left = new Set(kept)
  return { steps: plan.steps.filter((step) => left.has(step.index)), outcome, runs }
}
