// The pairing conversation over streams in memory: what each side ends up with, who finds out what,
// and that whoever is in between, with the code in hand, is given away by the digits.
import t from 'tap'
import { randomBytes } from '../../../src/crypto/random.ts'
import { signKeyPair } from '../../../src/crypto/sign.ts'
import { isBlind } from '../../../src/crypto/vault-keys.ts'
import { inviterHash } from '../../../src/net/pairing/code.ts'
import type { InviteRole } from '../../../src/net/pairing/code.ts'
import { runInviter } from '../../../src/net/pairing/inviter.ts'
import { runJoiner } from '../../../src/net/pairing/joiner.ts'
import { FRAME, frame, rejection } from '../../../src/net/pairing/messages.ts'
import { isZero } from '../../../src/util/bytes.ts'
import { LatticeError } from '../../../src/util/errors.ts'
import { SeededRandom } from '../../support/random.ts'
import { Scene, TIMES } from './sides.helper.ts'
import { memoryPair } from './streams.helper.ts'
import type { MemoryStream } from './streams.helper.ts'

type Ends = [PromiseSettledResult<unknown>, PromiseSettledResult<unknown>]

/** Codes of what the inviter and the joiner threw; '' for none. */
const codes = (ends: Ends): string[] => ends.map((end) => {
  if (end.status === 'fulfilled') return ''
  const reason = end.reason as LatticeError
  return typeof reason.details?.['rule'] === 'string'
    ? `${reason.code}/${reason.details['rule']}`
    : reason.code
})

async function pair(
  scene: Scene, changes: {
    inviter?: Parameters<Scene['inviter']>[0]; joiner?: Parameters<Scene['joiner']>[0]
    wire?: (inviter: MemoryStream, joiner: MemoryStream) => void
  } = {},
): Promise<Ends> {
  const [one, two] = memoryPair()
  changes.wire?.(one, two)
  return Promise.allSettled([
    runInviter(one, scene.inviter(changes.inviter)),
    runJoiner(two, scene.joiner(changes.joiner)),
  ])
}

for (const role of ['writer', 'reader', 'admin', 'blind'] as InviteRole[]) {
  t.test(`a ${role} gets what its role needs`, async (t) => {
    const scene = new Scene(role)
    t.strictSame(codes(await pair(scene)), ['', ''])
    t.match(scene.digits.joiner, /^\d{3} \d{3}$/)
    t.equal(scene.digits.inviter, scene.digits.joiner, 'the same digits on both screens')
    t.strictSame(scene.done, ['admit', 'stored'])
    const { received, vault } = scene
    t.strictSame(received?.vaultId, vault.vaultId)
    t.strictSame(received?.addresses, [{ host: '192.0.2.7', port: 4000 }])
    const [epoch, sent] = [received!.epochs[0]!, vault.epochs[0]!]
    t.ok(epoch.controlKey.equals(sent.controlKey) && epoch.topicKey.equals(sent.topicKey))
    const isFull = role !== 'blind'
    t.equal(isBlind(epoch), !isFull, 'the key of content')
    t.equal(epoch.historyKey.equals(sent.historyKey), isFull)
    t.equal(received!.idKey.equals(vault.idKey), isFull, 'the key of ids')
    t.equal(received!.cutKey.equals(vault.cutKey), isFull, 'the key of cuts')
    t.notOk(isZero(received!.idKey), 'a blind one draws its own')
  })
}

t.test('nothing but id, name and role leaves before both agreed', async (t) => {
  for (const side of ['inviter', 'joiner'] as const) {
    for (const reason of ['digits-differ', 'pairing-refused'] as const) {
      const scene = new Scene()
      const confirm = async (): Promise<void> => {
        throw rejection(reason)
      }
      let types: number[] = []
      const ends = await pair(scene, {
        [side]: { confirm },
        wire: (one) => (one.send = (bytes) => (types.push(bytes[0]!), bytes)),
      })
      t.strictSame(codes(ends), [reason, reason], `${side}: ${reason}`)
      t.notOk(types.includes(FRAME.welcome))
      t.strictSame(scene.done, [])
      t.equal(scene.received, undefined)
      types = []
    }
  }
})

t.test('each refusal of the host is told by its name', async (t) => {
  const reasons = [
    'invite-used', 'invite-expired', 'invite-revoked', 'invite-spent', 'invite-busy',
  ] as const
  for (const reason of reasons) {
    const begin = async (): Promise<never> => {
      throw rejection(reason)
    }
    t.strictSame(codes(await pair(new Scene(), { inviter: { begin } })), [reason, reason])
  }
  const admit = async (): Promise<never> => {
    throw new LatticeError('disk-full', 'no space')
  }
  t.strictSame(codes(await pair(new Scene(), { inviter: { admit } })), ['disk-full', 'internal'])
})

t.test('a device that was let in before needs no digits at the inviter', async (t) => {
  const scene = new Scene()
  const begin = async (): Promise<{ isResumed: boolean }> => ({ isResumed: true })
  t.strictSame(codes(await pair(scene, { inviter: { begin } })), ['', ''])
  t.equal(scene.digits.inviter, undefined)
})

t.test('whoever is not what the code says is found out', async (t) => {
  const wrongCode = new Scene()
  const other = new Scene()
  t.strictSame(
    codes(await pair(wrongCode, { joiner: { secrets: other.secrets } })),
    ['pairing-protocol/code-signature', 'pairing-protocol'], 'another code',
  )
  const impostor = signKeyPair(randomBytes(32))
  t.strictSame(
    codes(await pair(new Scene(), { inviter: { sign: impostor } })),
    ['pairing-protocol', 'pairing-protocol/inviter'], 'another device than the code names',
  )
  t.strictSame(
    codes(await pair(new Scene(), { inviter: { role: 'admin' } })),
    ['pairing-protocol', 'pairing-protocol/offer-role'], 'another role',
  )
})

t.test('one in between that has the code, and swapped it, is given away by the digits',
  async (t) => {
    // the joiner holds a code of the attacker's, with the attacker's key in it
    for (let round = 0; round < 20; round++) {
      const scene = new Scene()
      const attacker = signKeyPair(randomBytes(32))
      const swapped = { ...scene.code, inviterHash: inviterHash(attacker.publicKey) }
      const compare = async (digits: string, side: 'inviter' | 'joiner'): Promise<void> => {
        scene.digits[side] = digits
        while (scene.digits.inviter === undefined || scene.digits.joiner === undefined) {
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        if (scene.digits.inviter !== scene.digits.joiner) throw rejection('digits-differ')
      }
      const [toInviter, inviterEnd] = memoryPair()
      const [toJoiner, joinerEnd] = memoryPair()
      const ends = await Promise.allSettled([
        runInviter(inviterEnd, scene.inviter({ confirm: (d) => compare(d, 'inviter') })),
        runJoiner(joinerEnd, scene.joiner({
          code: swapped, confirm: (d) => compare(d, 'joiner'),
        })),
        // with the best that it has: the very keys and nonces cannot be kept, so it plays both
        runJoiner(toInviter, scene.joiner({ confirm: async () => undefined })),
        runInviter(toJoiner, scene.inviter({ sign: attacker, confirm: async () => undefined })),
      ])
      t.strictSame(codes([ends[0], ends[1]]), ['digits-differ', 'digits-differ'])
      t.strictSame(scene.done.filter((what) => what === 'stored'), [])
      t.equal(scene.received, undefined, 'nobody got a key')
    }
  })

t.test('one in between that only passes frames on changes the handshake, and so the digits',
  async (t) => {
    const scene = new Scene()
    const [a, b] = memoryPair()
    const [c, d] = memoryPair()
    b.on('data', (bytes: Uint8Array) => void c.write(bytes))
    c.on('data', (bytes: Uint8Array) => void b.write(bytes))
    const ends = await Promise.allSettled([
      runInviter(a, scene.inviter()), runJoiner(d, scene.joiner()),
    ])
    t.match(codes(ends)[1], 'pairing-protocol/inviter', 'the signature is over another handshake')
    t.strictSame(scene.done, [])
  })

t.test('the joiner cannot open another commitment', async (t) => {
  const scene = new Scene()
  const ends = await pair(scene, {
    wire: (_, joiner) => {
      joiner.send = (bytes) => {
        if (bytes[0] === FRAME.reveal) bytes[1]! ^= 1
        return bytes
      }
    },
  })
  t.equal(codes(ends)[0], 'pairing-protocol/commitment')
})

t.test('garbage in any place ends both sides, and gives away nothing', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
  t.comment(`SEED=${seed}`)
  const random = new SeededRandom(seed)
  for (let round = 0; round < 300; round++) {
    const scene = new Scene()
    const victim = random.int(0, 2)
    const at = random.int(0, 4)
    let count = 0
    const spoil = (bytes: Uint8Array): Uint8Array | undefined => {
      if (count++ !== at) return bytes
      const kind = random.int(0, 5)
      if (kind === 0) return random.bytes(random.int(1, 300))
      if (kind === 1) return bytes.subarray(0, random.int(1, bytes.length + 1) - 1)
      if (kind === 2) return new Uint8Array([...bytes, 0])
      if (kind === 3) return new Uint8Array(random.int(1, 3) * 700_000)
      const copy = Uint8Array.from(bytes)
      copy[random.int(0, copy.length)]! ^= 1 << random.int(0, 8)
      return copy
    }
    const ends = await pair(scene, {
      inviter: { timeouts: { stepMs: 50, confirmMs: 50, storeMs: 50 } },
      joiner: { timeouts: { stepMs: 50, confirmMs: 50, storeMs: 50 } },
      wire: (...sides) => (sides[victim]!.send = spoil),
    })
    const [inviter, joiner] = codes(ends)
    const isUnspoilt = count <= at
    const known =
      /^(|closed|timeout|internal|unsupported|pairing-\w+(\/.*)?|digits-\w+|invite-\w+)$/
    t.match(inviter, known, `round ${round}`)
    t.match(joiner, known, `round ${round}`)
    if (scene.received !== undefined && !isUnspoilt) {
      t.ok(scene.done.includes('admit'), 'only after both agreed')
    }
    if (!isUnspoilt && victim === 1 && at < 2) t.strictSame(scene.done, [], 'nobody was let in')
  }
})

t.test('silence ends in a timeout, an abort in cancelled', async (t) => {
  const [one, two] = memoryPair()
  const times = { ...TIMES, stepMs: 20 }
  await t.rejects(runInviter(one, new Scene().inviter({ timeouts: times })), { code: 'timeout' })
  two.destroy()
  const [three] = memoryPair()
  const abort = new AbortController()
  const run = runJoiner(three, new Scene().joiner(), abort.signal)
  abort.abort()
  await t.rejects(run, { code: 'cancelled' })
  const [four, five] = memoryPair()
  five.write(frame('confirm'))
  await t.rejects(runInviter(four, new Scene().inviter()), { code: 'pairing-protocol' })
})
