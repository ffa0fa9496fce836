// Every conflict among members that FORMATS.md defines, as a scene and what comes of it. Read by
// members.ts, which also breaks each rule on purpose and asks for a case that notices.
import type { Members } from '../../src/state/members.ts'
import type { Scene } from './members-scene.helper.ts'

export interface MemberCase {
  what: string
  play(scene: Scene): void
  /** Devices by seniority; `-n` = removed, n batches count. */
  roles: string
  /** Ops that count for nothing, with the reason. */
  voids?: string[]
  /** Standings asked for: 'b0' → 'valid'. */
  standing?: Record<string, 'valid' | 'cut' | 'void'>
  more?(scene: Scene, members: Members): [unknown, unknown][]
}

/** a is the first owner, b and c admins, w and x writers, r a reader; everybody knows it all. */
function family(scene: Scene): void {
  scene.do('a', scene.add('b', 'admin'))
  scene.do('a', scene.add('c', 'admin'))
  scene.do('a', scene.add('w', 'writer'))
  scene.do('a', scene.add('x', 'writer'))
  scene.do('a', scene.add('r', 'reader'))
  scene.syncAll()
}

function owners(scene: Scene): void {
  scene.do('a', scene.add('o', 'owner'))
  scene.do('a', scene.add('p', 'owner'))
  scene.do('a', scene.add('b', 'admin'))
  scene.syncAll()
}

const code = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const HASH = new Uint8Array(32).fill(7)

export const MEMBER_CASES: readonly MemberCase[] = [
  {
    what: 'a genesis: its device is the owner, others are nobody',
    play: (s) => s.write('a', 2),
    roles: 'a owner',
    standing: { a0: 'valid', a9: 'valid', q0: 'cut' },
    more: (s, m) => [
      [m.label(s.author('a')), 'a'], [m.label(s.author('q')), ''], [m.breaks(s.author('a')), [0]],
      [m.phrases().map(({ serialMax }) => serialMax), [0]], [m.rulesVersion, 0],
    ],
  },
  {
    what: 'a genesis by somebody else, for this vault or in the name of another, is none',
    play: (s) => {
      s.do('q', s.genesisOp('q', s.vaultId))
      s.do('q', s.genesisOp('a', s.vaultId))
      s.do('a', s.genesisOp('a', s.vaultId))
    },
    roles: 'a owner',
    voids: ['q0.0 genesis genesis', 'q1.0 genesis genesis', 'a1.0 genesis genesis'],
  },
  {
    what: 'roles grant what they say: readers and blind devices change nothing',
    play: (s) => {
      family(s)
      s.do('a', s.add('z', 'blind'))
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader, z blind',
    standing: { b0: 'valid', w0: 'valid', r0: 'cut', z0: 'cut' },
  },
  {
    what: 'a writer grants nothing, an admin no owner',
    play: (s) => {
      family(s)
      s.do('w', s.add('q', 'reader'))
      s.do('w', { kind: 'invite', code: code(1), role: 'reader', expiryMs: 0 })
      s.do('b', s.add('q', 'owner'))
      s.do('b', s.role('w', 'owner', 'raise'))
      s.do('b', { kind: 'invite', code: code(1), role: 'owner', expiryMs: 0 })
      s.do('b', { kind: 'policy', policy: 'rules', version: 1 })
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: [
      'w0.0 add role', 'w1.0 invite role', 'b0.0 add above-own-role', 'b1.0 role above-own-role',
      'b2.0 invite above-own-role', 'b3.0 policy role',
    ],
    more: (s, m) => [
      [m.rulesVersion, 0], [m.mayRequire(s.author('b'), 4), true],
      [m.mayRequire(s.author('w'), 4), false],
    ],
  },
  {
    what: 'two admins remove each other: the one with the smaller path of grants stays',
    play: (s) => {
      family(s)
      s.write('b', 3)
      s.write('c', 3)
      s.do('b', s.remove('c', 2))
      s.do('c', s.remove('b', 2))
    },
    roles: 'a owner, b admin, w writer, x writer, r reader, c -2',
    voids: ['c3.0 remove cut'],
    standing: { c1: 'valid', c2: 'cut', b3: 'valid' },
  },
  {
    what: 'a junior whose removal of a senior was seen first is refused all the same',
    play: (s) => {
      family(s)
      s.do('c', s.remove('b', 0))
      s.sync('b', 'c')
      s.do('b', s.remove('c', 1))
    },
    roles: 'a owner, b admin, w writer, x writer, r reader, c -1',
    voids: ['c0.0 remove not-junior'],
  },
  {
    what: 'two owners remove each other, and an admin the owner',
    play: (s) => {
      owners(s)
      s.do('p', s.remove('o', 0))
      s.do('o', s.remove('p', 0))
      s.do('b', s.remove('a', 1))
    },
    roles: 'a owner, o owner, b admin, p -0',
    voids: ['p0.0 remove cut', 'b0.0 remove not-junior'],
  },
  {
    what: 'nobody removes or lowers itself',
    play: (s) => {
      owners(s)
      s.do('a', s.remove('a'))
      s.do('o', s.role('o', 'reader', 'lower'))
    },
    roles: 'a owner, o owner, p owner, b admin',
    voids: ['a4.0 remove not-junior', 'o0.0 role not-junior'],
  },
  {
    what: 'an owner is lost: the phrase adds another, which removes it and all that it did later',
    play: (s) => {
      s.do('a', s.add('w', 'writer'))
      s.sync('n', 'a')
      s.do('n', s.certified('n', 1))
      s.do('n', s.remove('a', 2))
      s.do('a', s.remove('n', 0))
      s.do('a', s.add('q', 'owner'))
    },
    roles: 'n owner, w writer, a -2',
    voids: ['a2.0 remove cut', 'a3.0 add cut'],
    standing: { a1: 'valid', a2: 'cut', n0: 'valid' },
    more: (_s, m) => [
      [m.phrases()[0]?.serialMax, 1], [m.rotation().reasons.includes('missing'), true],
    ],
  },
  {
    what: 'a later certificate is senior to an earlier one; carried twice it counts once',
    play: (s) => {
      s.sync('n', 'a')
      s.sync('m', 'a')
      s.do('n', s.certified('n', 1))
      s.do('m', s.certified('m', 2))
      s.do('m', s.certified('m', 2))
      s.sync('n', 'm')
      s.sync('m', 'n')
      s.do('n', s.remove('m', 0))
      s.do('m', s.remove('n', 1))
    },
    roles: 'm owner, a owner, n -1',
    voids: ['n1.0 remove cut'],
  },
  {
    what: 'a certificate by another key, or altered, counts for nothing',
    play: (s) => {
      s.do('n', s.certified('n', 1, s.newPhrase()))
      s.do('n', { ...s.certified('n', 1), boxKey: code(3) })
      s.do('n', s.add('n', 'writer', { certificate: s.certified('n', 1).certificate! }))
    },
    roles: 'a owner',
    voids: ['n0.0 add certificate', 'n1.0 add certificate', 'n2.0 add certificate'],
  },
  {
    what: 'a phrase is replaced with its signature: its later certificates count for nothing',
    play: (s) => {
      const next = s.newPhrase()
      s.sync('n', 'a')
      s.do('n', s.certified('n', 1))
      s.do('a', s.replacePhrase(next, 2))
      s.do('m', s.certified('m', 2))
      s.do('q', s.certified('q', 9))
      s.do('l', s.certified('l', 1, next))
    },
    roles: 'l owner, n owner, a owner',
    voids: ['m0.0 add phrase-replaced', 'q0.0 add phrase-replaced'],
    more: (_s, m) => [[m.phrases().length, 1]],
  },
  {
    what: 'two successors of a phrase: the smaller number counts, whoever carries it',
    play: (s) => {
      s.do('a', s.replacePhrase(s.newPhrase(), 5))
      s.do('a', s.replacePhrase(s.newPhrase(), 3))
    },
    roles: 'a owner',
    voids: ['a1.0 policy phrase-replaced'],
    more: (_s, m) => [[m.phrases().length, 1]],
  },
  {
    what: 'a phrase is no successor of itself, nor one before it',
    play: (s) => {
      const next = s.newPhrase()
      s.do('a', s.replacePhrase(s.phrase, 1))
      s.do('a', s.replacePhrase(next, 2))
      s.do('a', s.replacePhrase(s.phrase, 1, next))
      s.do('n', s.certified('n', 1))
    },
    roles: 'n owner, a owner',
    voids: ['a1.0 policy phrase-known', 'a3.0 policy phrase-known'],
    more: (_s, m) => [[m.phrases().length, 1]],
  },
  {
    what: 'an owner replaces the phrase without it: it ranks behind that owner, ' +
      'and the old one goes on',
    play: (s) => {
      owners(s)
      const next = s.newPhrase()
      const { signKey, boxKey } = next
      s.do('o', { kind: 'policy', policy: 'phrase', signKey, boxKey })
      s.do('b', { kind: 'policy', policy: 'phrase', signKey: code(1), boxKey: code(2) })
      s.do('p', { kind: 'policy', policy: 'phrase', signKey, boxKey })
      s.sync('n', 'o')
      s.do('n', s.certified('n', 1, next))
      s.do('n', s.remove('o', 1))
      s.do('n', s.remove('p', 0))
      s.do('m', s.certified('m', 1))
    },
    roles: 'm owner, a owner, o owner, n owner, b admin, p -0',
    voids: ['b0.0 policy role', 'p0.0 policy cut', 'n1.0 remove not-junior'],
    more: (_s, m) => [[m.phrases().length, 1]],
  },
  {
    what: 'a code redeemed twice by its issuer: the first device is in',
    play: (s) => {
      s.do('a', { kind: 'invite', code: code(1), role: 'writer', expiryMs: 5 })
      s.do('a', s.add('w', 'writer', { code: code(1) }))
      s.do('a', s.add('x', 'writer', { code: code(1) }))
    },
    roles: 'a owner, w writer',
    voids: ['a3.0 add invite-used'],
    more: (_s, m) => [[m.pendingInvites(), []]],
  },
  {
    what: 'one code held by two issuers: the add of the more senior counts',
    play: (s) => {
      family(s)
      s.do('c', { kind: 'invite', code: code(1), role: 'writer', expiryMs: 5 })
      s.do('c', s.add('q', 'writer', { code: code(1) }))
      s.do('b', { kind: 'invite', code: code(1), role: 'writer', expiryMs: 5 })
      s.do('b', s.add('z', 'writer', { code: code(1) }))
    },
    roles: 'a owner, b admin, c admin, z writer, w writer, x writer, r reader',
    voids: ['c1.0 add invite-used'],
  },
  {
    what: 'an invite is redeemed by its issuer, for its role; the others stay pending',
    play: (s) => {
      family(s)
      s.do('b', { kind: 'invite', code: code(1), role: 'writer', expiryMs: 5 })
      s.do('b', s.add('q', 'admin', { code: code(1) }))
      s.do('c', s.add('q', 'writer', { code: code(1) }))
      s.do('c', { kind: 'invite', code: code(2), role: 'reader', expiryMs: 5 })
      s.sync('a', 'c')
      s.do('a', s.remove('c'))
    },
    roles: 'a owner, b admin, w writer, x writer, r reader, c -2',
    voids: ['b1.0 add invite-missing', 'c0.0 add invite-missing'],
    more: (s, m) => [
      [m.pendingInvites().map(({ by, role }) => `${s.nameOf(by)} ${role}`), ['b writer']],
    ],
  },
  {
    what: 'one device added by two: the add of the more senior counts, whatever the clock says',
    play: (s) => {
      family(s)
      s.do('c', s.add('q', 'writer'))
      s.do('b', s.add('q', 'reader'))
      s.clock = 5
      s.do('c', s.add('q', 'admin'))
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, q reader, r reader',
    voids: ['c1.0 add device-known', 'c0.0 add device-known'],
  },
  {
    what: 'an add backdated: what lies beyond the cutoff counts for nothing, nor what it granted',
    play: (s) => {
      family(s)
      s.write('c', 2)
      s.do('a', s.remove('c', 1))
      s.clock = 1
      const c = s.actor('c')
      c.vv = new Map([...c.vv].filter(([author]) => author !== s.author('a')))
      s.do('c', s.add('q', 'admin'))
      s.sync('q', 'c')
      s.do('q', s.add('z', 'writer'))
      s.do('q', s.remove('w', 0))
    },
    roles: 'a owner, b admin, w writer, x writer, r reader, c -1',
    voids: ['c2.0 add cut', 'q0.0 add cut', 'q1.0 remove cut'],
    standing: { q0: 'cut', z0: 'cut', w0: 'valid', c0: 'valid', c1: 'cut' },
  },
  {
    what: 'an add below the cutoff stands, the one who is in through it stays',
    play: (s) => {
      family(s)
      s.do('c', s.add('q', 'admin'))
      s.sync('q', 'c')
      s.do('q', s.add('z', 'writer'))
      s.do('a', s.remove('c', 1))
    },
    roles: 'a owner, b admin, q admin, z writer, w writer, x writer, r reader, c -1',
    standing: { z0: 'valid' },
  },
  {
    what: 'concurrent removals: the smallest cutoff counts',
    play: (s) => {
      family(s)
      s.write('w', 9)
      s.do('b', s.remove('w', 7))
      s.do('c', s.remove('w', 4))
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, w -4',
    standing: { w3: 'valid', w4: 'cut' },
    more: (s, m) => [[m.breaks(s.author('w')), [0, 4, 7]], [m.cutoffs().length, 2]],
  },
  {
    what: 'the remover is removed: below the cutoff its removals stand, beyond they do not',
    play: (s) => {
      family(s)
      s.do('c', s.remove('w', 0))
      s.do('c', s.remove('x', 0))
      s.do('b', s.remove('c', 1))
    },
    roles: 'a owner, b admin, x writer, r reader, c -1, w -0',
    voids: ['c1.0 remove cut'],
  },
  {
    what: 'demotion: from the length on the role is the lower one',
    play: (s) => {
      family(s)
      s.do('c', s.remove('w', 0))
      s.do('c', s.remove('x', 0))
      s.do('b', s.role('c', 'reader', 'lower', 1))
      s.do('c', { kind: 'deviceInfo', info: 'label', label: 'still here' })
    },
    roles: 'a owner, b admin, x writer, c reader, r reader, w -0',
    voids: ['c1.0 remove role'],
    standing: { c0: 'valid', c1: 'cut' },
    more: (s, m) => [
      [m.label(s.author('c')), 'still here'], [m.roleAt(s.author('c'), 0), 'admin'],
    ],
  },
  {
    what: 'promotion: from the length on; what the device did before stays as it was',
    play: (s) => {
      family(s)
      s.write('r', 3)
      s.do('b', s.role('r', 'writer', 'raise', 2))
      s.do('b', s.role('w', 'admin', 'raise', 0))
      s.sync('w', 'b')
      s.do('w', s.add('q', 'writer'))
    },
    roles: 'a owner, b admin, w admin, c admin, r writer, q writer, x writer',
    standing: { r1: 'cut', r2: 'valid' },
    more: (s, m) => [[m.breaks(s.author('r')), [0, 2]]],
  },
  {
    what: 'who was added by a junior and raised by a senior keeps what it had before',
    play: (s) => {
      family(s)
      s.do('b', s.add('q', 'writer'))
      s.sync('a', 'b')
      s.do('a', s.role('q', 'admin', 'raise', 2))
    },
    roles: 'a owner, b admin, c admin, q admin, w writer, x writer, r reader',
    standing: { q0: 'valid', q2: 'valid' },
    more: (s, m) => [
      [m.roleAt(s.author('q'), 1), 'writer'], [m.roleAt(s.author('q'), 2), 'admin'],
    ],
  },
  {
    what: 'promoted and demoted concurrently: the demotion counts, until a promotion that saw it',
    play: (s) => {
      owners(s)
      s.do('a', s.add('w', 'writer'))
      s.do('a', s.add('x', 'writer'))
      s.syncAll()
      s.do('p', s.role('w', 'admin', 'raise', 0))
      s.do('o', s.role('w', 'reader', 'lower', 0))
      s.do('p', s.role('x', 'admin', 'raise', 0))
      s.do('o', s.role('x', 'reader', 'lower', 0))
      s.sync('o', 'p')
      s.do('o', s.role('x', 'writer', 'raise', 3))
    },
    roles: 'a owner, o owner, p owner, b admin, x writer, w reader',
    standing: { w0: 'cut', x2: 'cut', x3: 'valid' },
  },
  {
    what: 'a junior does not undo what a senior did, though it saw it',
    play: (s) => {
      owners(s)
      s.do('a', s.add('w', 'writer'))
      s.do('a', s.add('x', 'writer'))
      s.syncAll()
      s.do('o', s.role('w', 'reader', 'lower', 0))
      s.do('o', s.remove('x', 0))
      s.sync('p', 'o')
      s.do('p', s.role('w', 'writer', 'raise', 0))
      s.do('p', s.role('x', 'writer', 'raise', 0))
      s.do('p', s.add('x', 'writer'))
      s.do('p', {
        kind: 'readmit',
        target: { author: s.author('o'), seq: 1, index: 0 },
        logs: [s.mark('x', 8)],
      })
    },
    roles: 'a owner, o owner, p owner, b admin, w reader, x -0',
    voids: ['p2.0 add device-known', 'p3.0 readmit readmit-senior'],
  },
  {
    what: 'the remover takes a device back under its old keys: what lies between stays cut',
    play: (s) => {
      family(s)
      s.do('b', s.remove('w', 1))
      s.do('b', s.role('w', 'writer', 'raise', 3))
      s.do('b', s.add('w', 'writer'))
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: ['b2.0 add device-known'],
    standing: { w0: 'valid', w1: 'cut', w2: 'cut', w3: 'valid' },
  },
  {
    what: 'a device demoted by one and removed by another at once is removed',
    play: (s) => {
      family(s)
      s.do('b', s.role('w', 'reader', 'lower', 1))
      s.do('c', s.remove('w', 2))
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, w -2',
    standing: { w0: 'valid', w1: 'cut', w2: 'cut' },
    more: (s, m) => [[m.roleAt(s.author('w'), 1), 'reader']],
  },
  {
    what: 'a removal of who was promoted to a senior meanwhile counts for nothing',
    play: (s) => {
      family(s)
      s.do('a', s.role('w', 'owner', 'raise', 0))
      s.do('b', s.remove('w', 0))
    },
    roles: 'a owner, w owner, b admin, c admin, x writer, r reader',
    voids: ['b0.0 remove not-junior'],
  },
  {
    what: 'a demoted owner can be removed by an admin that saw the demotion, from there on',
    play: (s) => {
      owners(s)
      s.do('a', s.add('w', 'writer'))
      s.syncAll()
      s.do('b', s.remove('p', 0))
      s.do('a', s.role('o', 'writer', 'lower', 2))
      s.sync('b', 'a')
      s.do('b', s.remove('o', 1))
      s.do('a', s.role('p', 'writer', 'lower', 2))
    },
    roles: 'a owner, b admin, p writer, w writer, o -1',
    voids: ['b0.0 remove not-junior'],
    standing: { o1: 'valid', o2: 'cut' },
  },
  {
    what: 'readmission raises the cutoff of its own or a junior act; the greatest length counts',
    play: (s) => {
      family(s)
      s.do('c', s.remove('w', 1))
      s.sync('a', 'c')
      s.sync('b', 'c')
      const target = { author: s.author('c'), seq: 0, index: 0 }
      s.do('b', { kind: 'readmit', target, logs: [s.mark('w', 4)] })
      s.do('a', { kind: 'readmit', target, logs: [s.mark('w', 3)] })
      s.do('x', { kind: 'readmit', target, logs: [s.mark('w', 9)] })
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, w -4',
    voids: ['x0.0 readmit role'],
    standing: { w3: 'valid', w4: 'cut' },
    more: (s, m) => [[m.cutoffs()[0]?.marks, [s.mark('w', 4)]]],
  },
  {
    what: 'a readmission names a removal that it has seen, and the log of the device',
    play: (s) => {
      family(s)
      s.do('c', s.remove('w', 1))
      const target = { author: s.author('c'), seq: 0, index: 0 }
      s.do('b', { kind: 'readmit', target, logs: [s.mark('w', 4)] })
      s.sync('b', 'c')
      s.do('b', { kind: 'readmit', target: { ...target, seq: 5 }, logs: [s.mark('w', 4)] })
      s.do('b', { kind: 'readmit', target, logs: [s.mark('x', 4)] })
      const add = { author: s.author('a'), seq: 2, index: 0 }
      s.do('b', { kind: 'readmit', target: add, logs: [s.mark('w', 4)] })
      s.do('r', s.remove('w', 0))
      s.sync('a', 'r')
      const void_ = { author: s.author('r'), seq: 0, index: 0 }
      s.do('a', { kind: 'readmit', target: void_, logs: [s.mark('w', 4)] })
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, w -1',
    voids: [
      'b0.0 readmit readmit-target', 'b1.0 readmit readmit-target', 'b2.0 readmit range',
      'b3.0 readmit readmit-target', 'r0.0 remove role', 'a6.0 readmit readmit-target',
    ],
  },
  {
    what: 'a raised cutoff brings control ops back, and what they granted',
    play: (s) => {
      family(s)
      s.do('c', s.add('q', 'writer'))
      s.do('c', s.remove('w', 0))
      s.do('b', s.remove('c', 0))
      s.do('b', {
        kind: 'readmit',
        target: { author: s.author('b'), seq: 0, index: 0 },
        logs: [s.mark('c', 1)],
      })
    },
    roles: 'a owner, b admin, q writer, w writer, x writer, r reader, c -1',
    voids: ['c1.0 remove cut'],
  },
  {
    what: 'acts name who they act on: a device that an add they saw names, with its ops log',
    play: (s) => {
      family(s)
      s.do('b', s.remove('q', 0))
      s.do('b', s.role('q', 'writer', 'raise', 0))
      s.do('b', { kind: 'remove', device: s.author('w'), logs: [s.mark('x', 0)] })
      s.do('b', { kind: 'void', device: s.author('q'), begin: 0, end: 1, treeHash: HASH })
      s.do('b', { kind: 'fork', device: s.author('q'), mark: s.mark('q', 1) })
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: [
      'b0.0 remove not-a-member', 'b1.0 role not-a-member', 'b2.0 remove range',
      'b3.0 void not-a-member', 'b4.0 fork not-a-member',
    ],
  },
  {
    what: 'a senior voids batches: data, and control ops with what they granted',
    play: (s) => {
      family(s)
      s.do('c', s.add('q', 'writer'))
      s.do('c', s.add('z', 'writer'))
      s.write('w', 9)
      s.do('b', { kind: 'void', device: s.author('c'), begin: 0, end: 1, treeHash: HASH })
      s.do('b', { kind: 'void', device: s.author('w'), begin: 2, end: 4, treeHash: HASH })
      s.do('x', { kind: 'void', device: s.author('w'), begin: 0, end: 9, treeHash: HASH })
      s.do('c', { kind: 'void', device: s.author('b'), begin: 0, end: 9, treeHash: HASH })
    },
    roles: 'a owner, b admin, c admin, z writer, w writer, x writer, r reader',
    voids: ['c0.0 add voided', 'x0.0 void role', 'c2.0 void not-junior'],
    standing: { w1: 'valid', w2: 'void', w3: 'void', w4: 'valid', c0: 'void', c1: 'valid' },
    more: (s, m) => [[m.breaks(s.author('w')), [0, 2, 4]]],
  },
  {
    what: 'a batch beyond a cutoff can be voided too',
    play: (s) => {
      family(s)
      s.write('w', 9)
      s.do('b', s.remove('w', 2))
      s.do('b', { kind: 'void', device: s.author('w'), begin: 5, end: 6, treeHash: HASH })
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, w -2',
    standing: { w1: 'valid', w4: 'cut', w5: 'void', w6: 'cut' },
  },
  {
    what: 'a senior picks the branch of a forked log; of two that pick, the more senior',
    play: (s) => {
      family(s)
      s.do('c', {
        kind: 'fork', device: s.author('w'), mark: { ...s.mark('w', 5), treeHash: HASH },
      })
      s.do('b', { kind: 'fork', device: s.author('w'), mark: s.mark('w', 5) })
      s.do('b', { kind: 'fork', device: s.author('w'), mark: s.mark('w', 8) })
      s.do('w', { kind: 'fork', device: s.author('x'), mark: s.mark('x', 8) })
      s.do('c', { kind: 'fork', device: s.author('b'), mark: s.mark('b', 8) })
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: ['c0.0 fork fork-decided', 'w0.0 fork role', 'c1.0 fork not-junior'],
    more: (s, m) => [
      [m.branches.map(({ mark, by }) => `${s.nameOf(by)} ${mark.length}`), ['b 5', 'b 8']],
    ],
  },
  {
    what: 'rules are switched by an owner, upwards; names and logs are told by the device itself',
    play: (s) => {
      family(s)
      s.do('a', { kind: 'policy', policy: 'rules', version: 2 })
      s.do('a', { kind: 'policy', policy: 'rules', version: 1 })
      s.do('a', { kind: 'policy', policy: 'rules', version: 0 })
      s.do('r', { kind: 'deviceInfo', info: 'label', label: 'old' })
      s.do('r', { kind: 'deviceInfo', info: 'label', label: 'new' })
      s.do('r', { kind: 'deviceInfo', info: 'content-log', log: s.author('z') })
      s.do('q', { kind: 'deviceInfo', info: 'label', label: 'stranger' })
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: ['a8.0 policy rules-version', 'q0.0 deviceInfo cut'],
    more: (s, m) => [
      [m.rulesVersion, 2], [m.label(s.author('r')), 'new'], [m.label(s.author('q')), ''],
      [m.contentLog(s.author('r')), s.author('z')], [m.contentLog(s.author('b')), undefined],
    ],
  },
  {
    what: 'a device that the phrase certifies is an owner from its beginning, ' +
      'removed before or not',
    play: (s) => {
      family(s)
      s.do('b', s.remove('w', 1))
      s.sync('w', 'b')
      s.do('w', s.certified('w', 1))
      s.do('b', s.remove('x', 0))
      s.do('x', s.certified('x', 2))
    },
    roles: 'x owner, w owner, a owner, b admin, c admin, r reader',
    voids: [
      'a3.0 add device-known', 'a4.0 add device-known', 'b0.0 remove not-junior',
      'b1.0 remove not-junior',
    ],
    standing: { w0: 'valid', w1: 'valid' },
  },
  {
    what: 'of the parents that an epoch names those count that it saw: others may come later',
    play: (s) => {
      family(s)
      const all = ['a', 'b', 'c', 'w', 'x', 'r']
      const unseen = s.do('c', s.epoch([s.idOf(s.genesis)], all))
      s.do('b', s.epoch([s.idOf(unseen)], all))
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: ['b0.0 epoch epoch-parents'],
    more: (s, m) => {
      const ids = m.epochs().map(({ epochId }) => epochId)
      const [ofB, ofC] = ['b', 'c'].map((name) => (
        m.epochs().find(({ minter, ref }) => ref && minter === s.author(name))?.epochId ?? ''
      ))
      return [
        [ids.length, 3], [m.precedes(ofC!, ofB!), false],
        [m.precedes(s.idOf(s.genesis), ofB!), false], [m.precedes(s.idOf(s.genesis), ofC!), true],
      ]
    },
  },
  {
    what: 'an epoch is minted by an admin, boxed to all its seniors, on parents that it saw',
    play: (s) => {
      family(s)
      const [first, all] = [s.idOf(s.genesis), ['a', 'b', 'c', 'w', 'x', 'r']]
      s.do('w', s.epoch([first], all))
      s.do('b', s.epoch(['00'.repeat(8)], all))
      s.do('b', s.epoch([first], ['b', 'c', 'w', 'x', 'r']))
      s.do('b', s.epoch([first], ['b', 'c', 'w', 'x', 'r'], ['a']))
      s.do('b', s.epoch([first], all, [], false))
      s.do('b', s.epoch([first], ['a', 'b']))
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: [
      'w0.0 epoch role', 'b0.0 epoch epoch-parents', 'b1.0 epoch epoch-omits-senior',
      'b2.0 epoch epoch-omits-senior', 'b3.0 epoch epoch-omits-senior',
    ],
    more: (s, m) => [
      [m.currentEpoch(), s.idOf(s.records.at(-1)!)], [m.rotation().reasons, ['missing']],
      [m.precedes(s.idOf(s.genesis), m.currentEpoch()), true],
      [m.precedes(m.currentEpoch(), s.idOf(s.genesis)), false],
    ],
  },
  {
    what: 'an epoch boxed to a device whose removal it saw, or beyond its role, is none',
    play: (s) => {
      family(s)
      s.do('a', s.add('z', 'blind'))
      const [first, all] = [s.idOf(s.genesis), ['a', 'b', 'c', 'x', 'r']]
      s.sync('b', 'a')
      s.do('c', s.remove('w'))
      s.do('b', s.epoch([first], [...all, 'w'], ['z']))
      s.sync('b', 'c')
      s.do('b', s.epoch([first], [...all, 'w'], ['z']))
      s.do('b', s.epoch([first], [...all, 'z']))
    },
    roles: 'a owner, b admin, c admin, x writer, r reader, z blind, w -0',
    voids: ['b1.0 epoch epoch-recipient', 'b2.0 epoch epoch-recipient'],
    more: (s, m) => [
      [m.currentEpoch(), s.idOf(s.records.at(-3)!)], [m.rotation().reasons, ['recipient']],
      [s.nameOf(m.rotation().minter!), 'a'],
    ],
  },
  {
    what: 'of concurrent epochs that of the most senior seals, until a joint one; ' +
      'a senior report voids',
    play: (s) => {
      family(s)
      const [first, all] = [s.idOf(s.genesis), ['a', 'b', 'c', 'w', 'x', 'r']]
      const one = s.do('c', s.epoch([first], all))
      s.do('b', s.epoch([first], all))
      const epochId = new Uint8Array(Buffer.from(s.idOf(one), 'hex'))
      s.sync('x', 'c')
      s.do('x', { kind: 'deviceInfo', info: 'bad-epoch', epochId })
      s.do('c', s.epoch([s.idOf(one)], all))
      const last = new Uint8Array(Buffer.from(s.idOf(s.records.at(-1)!), 'hex'))
      s.sync('a', 'c')
      s.do('a', { kind: 'deviceInfo', info: 'bad-epoch', epochId: last })
    },
    roles: 'a owner, b admin, c admin, w writer, x writer, r reader',
    voids: ['c1.0 epoch epoch-reported'],
    more: (s, m) => [
      [m.currentEpoch(), s.idOf(s.records.find(({ ref }) => ref.author === s.author('b'))!)],
      [m.epochHeads().length, 2], [m.epochs().length, 4],
      [m.precedes(s.idOf(s.genesis), m.epochs().at(-1)!.epochId), true],
      [m.rotation().reasons, ['heads']],
      [m.rotation(m.epochs().at(-1)!.epochId).reasons, ['heads', 'invalid']],
      [m.toSealUnder(() => true, [m.epochs().at(-1)!.epochId]), m.currentEpoch()],
      [m.toSealUnder((id) => id !== m.currentEpoch(), [m.epochs().at(-1)!.epochId]),
        m.epochs().at(-1)!.epochId],
    ],
  },
]
