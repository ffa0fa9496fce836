// The test of the test: rules broken on purpose, one at a time, through seams (the rules of the
// direct engine, which every op passes, and the `rules` of the fold). The simulator must notice
// each within a number of seeds. Never part of a product run.
import { compareRefs } from '../../src/ops/order.ts'
import { KIND_DIRECTORY } from '../../src/ops/types.ts'
import type { Op, OpRef } from '../../src/ops/types.ts'
import type { HistoryOp, Standing } from '../../src/state/fold.ts'
import type { VoidReason } from '../../src/state/fold-void.ts'
import type { MemberRules } from '../../src/state/members-rules.ts'
import type { NodeRecord } from '../../src/state/records.ts'
import type { DirectEngine, DirectRules } from './direct-engine.helper.ts'
import { runEpisode } from './episode.helper.ts'
import { planOf } from './plan.helper.ts'
import { profileNamed } from './profiles.helper.ts'

export interface Mutant {
  name: string
  /** The rule that it breaks (FORMATS.md, "Rules"). */
  rule: string
  profile: string
  rules?: Partial<DirectRules>
  memberRules?: Partial<MemberRules>
  /** Where to begin: near a seed that is known to meet it. */
  from?: number
  /** The simulator must notice within so many seeds. */
  seedsMax: number
  /** Cheap enough for every run of the tests. */
  inCi: boolean
}

/** Rules that few seeds meet. */
const RARE = new Set<string>([
  'skipCycles', 'reviveLatest', 'smallestRepresents', 'avoidTakenNames', 'keepFreedNames',
  'placeRevived',
])

export const MUTANTS: readonly Mutant[] = [
  mutant('no hold-back: batches are applied before what they depend on', 'R1', {
    holdBack: false,
  }),
  mutant('a batch is cut in two', 'R1', { wholeBatches: false }),
  mutant('the order of arrival decides', 'R1', { time: 'arrival' }),
  mutant('claimed times are taken as they are', 'R1', { time: 'claimed' }, 'liar'),
  mutant('claims beyond the end of time count', 'R1', { time: 'endless' }, 'liar'),
  mutant('what an op names need not have been seen', 'R2', { seen: false }, 'liar'),
  mutant('ids may be minted twice', 'R2', forgive('duplicate-id'), 'liar'),
  mutant('kinds may be anything', 'R2', forgive('bad-kind'), 'liar'),
  mutant('a node or parent need not have been seen', 'R2', forgive('unknown-node'), 'liar'),
  mutant('a link need not have been seen', 'R2', forgive('unknown-link'), 'liar'),
  mutant('cutoffs are ignored', 'R2, R8', { standing: () => 'valid' }, 'cuts'),
  mutant('what is void is merely cut', 'R2', { standing: () => 'cut' }, 'cuts'),
  mutant('what is cut never was', 'R2', { standing: () => 'void' }, 'cuts'),
  mutant('delete wins: rm takes what it has not seen', 'R3', { rewrite: removeAll }),
  mutant('last writer wins: a put takes every head', 'R3', { rewrite: replaceAll }),
  mutant('a put takes nothing', 'R3', { rewrite: replaceNothing }),
  mutant('last applied wins: puts are ordered by arrival', 'R3', { rewrite: arrivingPuts() }),
  mutant('no undo: a late move of a directory is applied as if it were new', 'R4', {
    rewrite: arrivingMoves(),
  }),
  mutant('rm does not cover content', 'R3', { rewrite: coverNothing }),
  mutant('a move supersedes nothing', 'R3', { rewrite: moveOnTop }),
  mutant('last applied wins: attributes are ordered by arrival', 'R3', {
    rewrite: arrivingAttributes(),
  }),
  mutant('attributes keep nothing alive: rm takes all touches', 'R3', { rewrite: removeTouches }),
  mutant('the link removed first comes back', 'R3', { fold: { reviveLatest: false } }),
  mutant('no cycle check', 'R4', { fold: { skipCycles: false } }),
  mutant('a removed directory hides what is in it', 'R3', {
    fold: { deadDirectoriesShow: false },
  }),
  mutant('nothing is revived', 'R3', { fold: { revive: false } }),
  mutant('directories of one name stay apart', 'R6', { fold: { mergeDirectories: false } }),
  mutant('the greatest id represents a union', 'R6', { fold: { smallestRepresents: false } }),
  mutant('equal contents are in conflict', 'R6', { fold: { mergeEqual: false } }),
  mutant('the smallest has the name itself', 'R6', { fold: { greatestKeepsName: false } }),
  mutant('conflict copies bear no device', 'R6', { labels: false }),
  mutant('a conflict name may be that of a real file', 'R6', { fold: { avoidTakenNames: false } }),
  mutant('a change of one item moves the others', 'R7', { fold: { normalise: false } }),
  mutant('a conflict copy slides to a freed name', 'R7', { fold: { keepFreedNames: false } }),
  mutant('a new link lets go of what was revived', 'R7', { fold: { placeRevived: false } }),
  mutant('what only cut ops made has no attributes', 'R3', { history: forgetAttributes }, 'cuts'),
  mutant('no fallback: cut claims are no places', 'R3', { history: forgetPlaces }, 'cuts'),
  mutant('supersession does not pass through cut ops', 'R3', { history: endAtCuts }, 'cuts'),
  memberMutant('members: cutoffs are ignored', { isBeyond: () => false }),
  memberMutant('members: seniority is ignored', { isJunior: () => true }),
  memberMutant('members: readers may write', { dataRank: 1 }),
  memberMutant('members: of several cutoffs the greatest counts', {
    smallest: (a, b) => Math.max(a === Infinity ? -1 : a, b),
  }),
  memberMutant('members: nobody is readmitted', { mayReadmit: () => false }),
  {
    ...memberMutant('members: the most senior epoch seals, whatever it knows', {
      sealsOpenLast: false,
    }),
    from: 60_040,
  },
  memberMutant('members: no epoch precedes another', { precedes: () => false }, 'old-keys'),
  memberMutant('members: demotions change nothing', { returns: () => true }),
]

function mutant(
  name: string, rule: string, rules: Partial<DirectRules>, profile = 'rules', seedsMax = 300,
): Mutant {
  const isRare = Object.keys(rules.fold ?? {}).some((rule) => RARE.has(rule))
  const inCi = profile === 'rules' && rules.rewrite === undefined && !isRare
  return { name, rule, profile, rules, seedsMax, inCi }
}

function memberMutant(
  name: string, memberRules: Partial<MemberRules>, profile = 'members',
): Mutant {
  return { name, rule: 'R8', profile, memberRules, seedsMax: 60, inCi: false }
}

/** Which seed noticed, and what; undefined when none did. */
export async function hunt(
  { profile, rules, memberRules, seedsMax, from }: Mutant, firstSeed: number,
): Promise<{ seeds: number; oracle: string } | undefined> {
  for (let i = 0; i < seedsMax; i++) {
    const plan = planOf((from ?? firstSeed) + i, profileNamed(profile))
    const outcome = await runEpisode(plan, { rules, memberRules })
    if (outcome.violation !== undefined) return { seeds: i + 1, oracle: outcome.violation.oracle }
  }
  return undefined
}

/** Exit code. */
export async function runMutants(
  { seed }: { seed: number }, print: (text: string) => void,
): Promise<number> {
  let missed = 0
  for (const one of MUTANTS) {
    const found = await hunt(one, seed)
    if (found === undefined) missed++
    const how = found === undefined
      ? `NOT noticed in ${one.seedsMax} seeds`
      : `noticed by seed ${found.seeds}: ${found.oracle}`
    print(`${one.rule.padEnd(7)} ${one.name}: ${how}`)
  }
  print(`${MUTANTS.length - missed} of ${MUTANTS.length} mutants noticed, from seed ${seed}`)
  return missed === 0 ? 0 : 1
}

// ---- the breakages ----

function recordOf(engine: DirectEngine, op: Op): NodeRecord | undefined {
  const { store } = engine
  const node = op.kind === 'rm' || op.kind === 'mv'
    ? store.nodeOfLink(op.link) ?? op.link : 'node' in op ? op.node : undefined
  if (node === undefined) return undefined
  const ino = store.inoOf(node as never)
  return ino === undefined ? store.hidden(node as never) : store.node(ino)
}

function removeAll(op: Op, _ref: OpRef, engine: DirectEngine): Op {
  if (op.kind !== 'rm') return op
  const record = recordOf(engine, op)
  const link = record?.links.find((one) => one.link === op.link)
  if (record === undefined || link === undefined) return op
  return {
    ...op,
    prev: union(op.prev, [...link.heads, ...record.touches]),
    contentHeads: union(op.contentHeads, record.heads.map((head) => head.ref)),
  }
}

function replaceAll(op: Op, _ref: OpRef, engine: DirectEngine): Op {
  if (op.kind !== 'put') return op
  const heads = recordOf(engine, op)?.heads ?? []
  return { ...op, base: union(op.base, heads.map((head) => head.ref)) }
}

function replaceNothing(op: Op): Op {
  return op.kind === 'put' ? { ...op, base: [] } : op
}

function coverNothing(op: Op): Op {
  return op.kind === 'rm' ? { ...op, contentHeads: [] } : op
}

function moveOnTop(op: Op): Op {
  return op.kind === 'mv' ? { ...op, prev: [] } : op
}

/** Changes the order of an op in place: refs are this device's own objects. */
function arrivingPuts(): DirectRules['rewrite'] {
  let arrivals = 0
  return (op, ref) => {
    if (op.kind === 'put') ref.ms = 2 ** 46 + arrivals++
    return op
  }
}

function arrivingAttributes(): DirectRules['rewrite'] {
  let arrivals = 0
  return (op, ref) => {
    if (op.kind === 'attr') ref.ms = 2 ** 46 + arrivals++
    return op
  }
}

function removeTouches(op: Op, _ref: OpRef, engine: DirectEngine): Op {
  if (op.kind !== 'rm') return op
  return { ...op, prev: union(op.prev, recordOf(engine, op)?.touches ?? []) }
}

function arrivingMoves(): DirectRules['rewrite'] {
  let arrivals = 0
  return (op, ref) => {
    if (op.kind === 'mv' && op.link.charCodeAt(0) === KIND_DIRECTORY) ref.ms = 2 ** 46 + arrivals++
    return op
  }
}

/** Cut ops give no place to what has none else. */
function forgetPlaces(one: HistoryOp, standing: Standing): HistoryOp | undefined {
  return standing === 'cut' && one.op.kind === 'mv' ? undefined : one
}

/** Cut ops set no attributes. */
function forgetAttributes({ op, ref }: HistoryOp, standing: Standing): HistoryOp | undefined {
  if (standing !== 'cut') return { op, ref }
  if (op.kind === 'attr') return undefined
  return op.kind === 'mk' ? { op: { ...op, attrs: [] }, ref } : { op, ref }
}

/** Ops exist that should not for this reason. */
function forgive(reason: VoidReason): Partial<DirectRules> {
  return { fold: { voids: (one) => one !== reason } }
}

/** Cut ops name nothing. */
function endAtCuts(one: HistoryOp, standing: Standing): HistoryOp {
  if (standing !== 'cut') return one
  const { op, ref } = one
  if (op.kind === 'put') return { op: { ...op, base: [] }, ref }
  return op.kind === 'mv' ? { op: { ...op, prev: [] }, ref } : one
}

function union(one: readonly OpRef[], two: readonly OpRef[]): OpRef[] {
  const key = (ref: OpRef): string => `${ref.author} ${ref.seq} ${ref.index}`
  const all = new Map([...one, ...two].map((ref) => [key(ref), ref]))
  return [...all.values()].toSorted(compareRefs)
}
