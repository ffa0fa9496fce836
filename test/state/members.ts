// Members as a pure function of the set of control ops: every conflict that is defined, in any
// order of delivery, and every rule broken on purpose, which some case must notice.
import t from 'tap'
import { MEMBER_RULES } from '../../src/state/members-rules.ts'
import type { MemberRules } from '../../src/state/members-rules.ts'
import { SeededRandom, testSeed } from '../support/random.ts'
import { MEMBER_CASES } from './members-cases.helper.ts'
import type { MemberCase } from './members-cases.helper.ts'
import { Scene } from './members-scene.helper.ts'

const seed = testSeed()

/** What differs from what the case says, or '' when it holds. */
function differences(one: MemberCase, rules?: Partial<MemberRules>): string {
  const random = new SeededRandom(seed)
  const scene = new Scene(random)
  one.play(scene)
  const lines: string[] = []
  const check = (what: string, found: unknown, wanted: unknown): void => {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)]
    if (a !== b) lines.push(`${what}: ${a} instead of ${b}`)
  }
  let members = scene.fold(rules)
  for (let round = 0; round < 3; round++) {
    check('roles', scene.roles(members), one.roles)
    check('voids', scene.voids(members).toSorted(), (one.voids ?? []).toSorted())
    for (const [place, wanted] of Object.entries(one.standing ?? {})) {
      const standing = members.standing(scene.author(place[0]!), Number(place.slice(1)))
      check(place, standing, wanted)
    }
    for (const [found, wanted] of one.more?.(scene, members) ?? []) check('more', found, wanted)
    const mixed = scene.records.map((record) => ({ record, at: random.next() }))
    const order = mixed.toSorted((a, b) => a.at - b.at).map(({ record }) => record)
    members = scene.fold(rules, order)
  }
  return lines.join('\n')
}

t.test('every conflict that is defined', async (t) => {
  t.comment(`seed ${seed}`)
  for (const one of MEMBER_CASES) t.equal(differences(one), '', one.what)
})

// One broken rule each, as the simulator breaks them too.
const true_ = MEMBER_RULES
const MUTANTS: Record<string, Partial<MemberRules>> = {
  'the greater path is senior': {
    compareOffices: (a, b) => b.rank - a.rank || -true_.compareOffices(a, b),
  },
  'seniority is by path alone': {
    compareOffices: (a, b) => true_.compareOffices({ ...a, rank: 0 }, { ...b, rank: 0 }),
  },
  'everybody may act on everybody': { isJunior: () => true },
  'one may act on oneself': { isJunior: (a, b) => true_.compareOffices(b, a) <= 0 },
  'equal roles may not act on each other': { isJunior: (a, b) => a.rank < b.rank },
  'any role may do anything': { rankNeeded: () => 0 },
  'admins switch policies': { rankNeeded: (kind) => Math.min(3, true_.rankNeeded(kind)) },
  'admins grant any role': { mayGrant: () => true },
  'admins grant lower roles only': { mayGrant: (rank, by) => rank < by.rank },
  'cutoffs are not honoured': { isBeyond: () => false },
  'the batch at the cutoff counts': { isBeyond: (seq, length) => seq > length },
  'the greatest cutoff counts': {
    smallest: (a, b) => (a === Infinity ? b : Math.max(a, b)),
  },
  'the first cutoff counts': { smallest: (a, b) => (a === Infinity ? b : a) },
  'juniors readmit': { mayReadmit: () => true },
  'seniors readmit only': { mayReadmit: (a, b) => true_.compareOffices(a, b) < 0 },
  'nobody readmits': { mayReadmit: () => false },
  'any grant undoes what it saw': {
    returns: (grant, act) => grant.record !== undefined && true_.sees(grant.record, act.record),
  },
  'a grant undoes what it did not see': {
    returns: (grant, act) => (
      grant.granter !== undefined && true_.compareOffices(grant.granter, act.actor) <= 0
    ),
  },
  'nothing returns': { returns: () => false },
  'everything is seen': { sees: () => true },
  'nothing is seen': { sees: (a, b) => a.ref.author === b.ref.author && true_.sees(a, b) },
  'codes need no invite': { needsInvite: false },
  'devices are added again': { isKnown: () => false },
  'a raised device counts as added': { isKnown: (grants) => grants.length > 0 },
  'branches are picked again': { picksAgain: true },
  'certificates are not verified': { verifies: () => true },
  'no certificate counts': { verifies: () => false },
  'replaced phrases certify': { isReplaced: () => false },
  'the number of the successor may be used again': { isReplaced: (a, b) => a > b },
  'epochs name any parents': { voidsEpoch: (reason) => reason !== 'epoch-parents' },
  'epochs are boxed to anybody': { voidsEpoch: (reason) => reason !== 'epoch-recipient' },
  'epochs leave seniors out': { voidsEpoch: (reason) => reason !== 'epoch-omits-senior' },
  'reports do nothing': { voidsEpoch: (reason) => reason !== 'epoch-reported' },
  'no epoch precedes another': { precedes: () => false },
  'every epoch precedes another': { precedes: () => true },
  'codes work twice': { usesPerCode: 2 },
  'readers change data': { dataRank: 1 },
  'only admins change data': { dataRank: 3 },
  'writers require versions': { requireRank: 2 },
  'only owners require versions': { requireRank: 4 },
}

function isNoticed(one: MemberCase, rules: Partial<MemberRules>): boolean {
  try {
    return differences(one, rules) !== ''
  } catch {
    return true // an assert of the fold
  }
}

t.test('each broken rule is noticed by a case', async (t) => {
  for (const [what, rules] of Object.entries(MUTANTS)) {
    const noticed = MEMBER_CASES.filter((one) => isNoticed(one, rules))
    t.ok(noticed.length > 0, `${what}: ${noticed.length} cases`)
  }
})
