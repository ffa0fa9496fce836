// The vector files of members: bodies of control ops, key boxes and chains, worked histories.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { boxSealWith } from '../../src/crypto/box.ts'
import {
  boxEpochKeys, commitmentsOf, openChain, openEpochKeys, sealChain,
} from '../../src/crypto/epoch-keys.ts'
import { secretFrom } from '../../src/crypto/secret.ts'
import { boxKeyPair } from '../../src/crypto/sign.ts'
import type { EpochKeys } from '../../src/crypto/vault-keys.ts'
import { isBlind } from '../../src/crypto/vault-keys.ts'
import { controlKind, controlOp, decodeControl } from '../../src/ops/control-codec.ts'
import { decodeGenesis } from '../../src/ops/control-genesis.ts'
import { ROLES } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import type { Role } from '../../src/ops/control-types.ts'
import { Members } from '../../src/state/members.ts'
import type { ControlBatch } from '../../src/state/records.ts'
import { LatticeError } from '../../src/util/errors.ts'
import { SeededRandom, testSeed } from '../support/random.ts'

const seed = testSeed()
const load = (file: string) => (
  JSON.parse(readFileSync(new URL(`../vectors/members/${file}.json`, import.meta.url), 'utf8'))
)
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
const hex = (value: Uint8Array) => Buffer.from(value).toString('hex')

function ruleOf(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    if (error instanceof LatticeError) return error.details['rule'] ?? error.code
    throw error
  }
  return 'nothing'
}

interface Body {
  control: number
  critical: boolean
  body: string
  rule?: string
  op?: { kind: string }
}

t.test('bodies: one form each, and a named rule for what is refused', async (t) => {
  const { valid, invalid } = load('bodies') as { valid: Body[]; invalid: Body[] }
  const random = new SeededRandom(seed)
  t.comment(`seed ${seed}`)
  for (const { control, critical, body, op: said } of valid) {
    const op = { kind: 'control' as const, control, critical, body: bytes(body) }
    const decoded = decodeControl(op)
    t.equal(decoded?.kind, said?.kind)
    t.equal(hex(controlOp(decoded!).body), body, said?.kind ?? '')
    t.equal(controlOp(decoded!).critical, critical)
    const longer = new Uint8Array([...op.body, 0])
    t.notOk(decodes({ ...op, body: longer }), 'a byte too many')
    t.notOk(decodes({ ...op, body: op.body.subarray(0, -1) }), 'a byte too few')
    // Whatever decodes is what the encoder writes.
    for (let n = 0; n < 200; n++) {
      const damaged = new Uint8Array(op.body)
      damaged[random.int(0, damaged.length)] = random.int(0, 256)
      const other = decodes({ ...op, body: damaged })
      if (other && hex(controlOp(other).body) !== hex(damaged)) t.fail(`two forms: ${hex(damaged)}`)
    }
  }
  t.same(new Set(valid.map(({ control }) => control)).size, 11, 'every kind')
  for (const { control, critical, body, rule } of invalid) {
    const op = { kind: 'control' as const, control, critical, body: bytes(body) }
    t.equal(ruleOf(() => decodeControl(op)), rule, `${controlKind(control)}: ${rule}`)
  }
  const later = { kind: 'control' as const, control: 11, critical: true, body: bytes('00') }
  t.equal(decodeControl(later), undefined, 'of a later lattice')
  t.equal(ruleOf(() => decodeGenesis(new Uint8Array(191))), 'unknown-format', 'before members')
  const first = bytes(valid[0]!.body)
  first[1] = 9
  t.equal(ruleOf(() => decodeGenesis(first)), 'unknown-format', 'rules of a later lattice')
})

function decodes(op: Parameters<typeof decodeControl>[0]): ReturnType<typeof decodeControl> {
  try {
    return decodeControl(op)
  } catch (error) {
    if (error instanceof LatticeError) return undefined
    throw error
  }
}

t.test('boxes and chains', async (t) => {
  const vectors = load('boxes')
  const keys = (of: Record<string, string>, id: string): EpochKeys => ({
    epochId: bytes(id), epochKey: secretFrom(bytes(of['epochKey']!)),
    historyKey: secretFrom(bytes(of['historyKey']!)),
    controlKey: secretFrom(bytes(of['controlKey']!)), topicKey: secretFrom(bytes(of['topicKey']!)),
  })
  const parent = keys(vectors.parent, vectors.parentId)
  const child = keys(vectors.child, 'ff'.repeat(8))
  for (const [epoch, said] of [[parent, vectors.parent], [child, vectors.child]]) {
    const { epochCommitment, controlCommitment } = commitmentsOf(epoch)
    t.equal(hex(epochCommitment), said.epochCommitment)
    t.equal(hex(controlCommitment), said.controlCommitment)
  }
  const pair = boxKeyPair(bytes(vectors.recipientSeed))
  t.equal(hex(pair.publicKey), vectors.recipientKey)
  const commitments = commitmentsOf(child)
  for (const kind of ['full', 'blind'] as const) {
    const box = boxEpochKeys(child, pair.publicKey, kind, bytes(vectors.sealSeed))
    t.equal(hex(box), vectors[`${kind}Box`], kind)
    const opened = openEpochKeys(child.epochId, box, pair, commitments)
    t.equal(isBlind(opened), kind === 'blind')
    t.same(opened.controlKey, child.controlKey)
    const [chain, controlChain] = vectors.nonces.map(bytes)
    const entries = sealChain(bytes(vectors.vaultId), parent, child, { chain, controlChain })
    t.equal(hex(entries.chain), vectors.chain)
    t.equal(hex(entries.controlChain), vectors.controlChain)
    const place = { epochId: parent.epochId, commitments: commitmentsOf(parent) }
    const open = (changed: Partial<typeof entries>, id = bytes(vectors.vaultId)) => (
      openChain(id, place, opened, commitments, { ...entries, ...changed })
    )
    t.same(open({}).controlKey, parent.controlKey)
    t.equal(isBlind(open({})), kind === 'blind')
    const damaged = new Uint8Array(entries.controlChain)
    damaged[30] = damaged[30]! ^ 1
    t.equal(ruleOf(() => open({ controlChain: damaged })), 'unauthentic')
    t.equal(ruleOf(() => open({}, new Uint8Array(16))), 'unauthentic', 'of another vault')
    const others = { ...place, commitments }
    const confused = () => openChain(bytes(vectors.vaultId), others, opened, commitments, entries)
    t.equal(ruleOf(confused), 'epoch-commitment', 'keys that are not the parent\'s')
  }
  const box = boxSealWith(new Uint8Array(7), pair.publicKey, bytes(vectors.sealSeed))
  t.equal(ruleOf(() => openEpochKeys(child.epochId, box, pair, commitments)), 'unauthentic')
})

interface History {
  what: string
  vaultId: string
  devices: { key: string }[]
  ops: [number, number, number, number, Record<string, number>, number, string][]
  counts: number[]
  ranks: number[][]
  standings: string[]
}

t.test('histories: from the bodies that the state keeps', async (t) => {
  const { histories } = load('histories') as { histories: History[] }
  for (const { what, vaultId, devices, ops, counts, ranks, standings } of histories) {
    const author = (n: number | string) => (
      Buffer.from(devices[Number(n)]!.key, 'hex').toString('latin1') as AuthorId
    )
    const batches = ops.map(([device, seq, index, ms, deps, control, body]): ControlBatch => {
      const critical = control !== 5 && control !== 6
      const vv = new Map(Object.entries(deps).map(([n, count]) => [author(n), count]))
      const op = { index, control, critical, body: bytes(body) }
      return { author: author(device), seq, ms, counter: 0, vv, ops: [op] }
    })
    const noise = { ...batches[0]!, seq: 99, ops: [
      { index: 0, control: 1, critical: true, body: bytes('00') },
      { index: 1, control: 30, critical: true, body: bytes('00') },
    ] }
    const members = Members.ofBatches([noise, ...batches], { vaultId: bytes(vaultId) })
    const voids = new Set(
      members.voidOps().map(({ ref }) => `${ref.author}${ref.seq}.${ref.index}`),
    )
    const found = ops.flatMap(([device, seq, index], i) => (
      voids.has(`${author(device)}${seq}.${index}`) ? [] : [i]
    ))
    t.same(found, counts, `${what}: ops`)
    const each = <T>(of: (device: AuthorId, seq: number) => T): T[][] => (
      ranks.map((list, n) => list.map((_, seq) => of(author(n), seq)))
    )
    const rank = (device: AuthorId, seq: number) => (
      ROLES.indexOf(members.roleAt(device, seq) ?? ('none' as Role))
    )
    t.same(each(rank), ranks, `${what}: roles`)
    const letters = each((device, seq) => members.standing(device, seq)[0])
    t.same(letters.map((list) => list.join('')), standings, `${what}: standings`)
  }
})
