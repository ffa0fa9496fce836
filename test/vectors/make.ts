// Writes the vector files beside it that follow from the rules: `node --import tsx
// test/vectors/make.ts`. Folds and views come from the executable specification (test/state/naive-*)
// and seals from @noble, never from the code under test. Run it when a vector is added: what is
// committed is the reference, and a changed old line is a changed format.
// (ops/batches.json: UPDATE_VECTORS=1 with test/ops/ops.ts. crypto/: its own make.ts.)
import { writeFileSync } from 'node:fs'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { encodeBatch } from '../../src/ops/codec.ts'
import type { AuthorId, Name } from '../../src/ops/types.ts'
import { describeModelNode, hex } from '../state/naive-compare.helper.ts'
import type { PlacedOp } from '../state/naive-model.helper.ts'
import { conflictName, viewLines } from '../state/naive-view.helper.ts'
import { CONTROL_BODIES, CONTROL_HASHES } from './control-ops.ts'
import { FOLD_CASES, ID_KEY, Script } from './fold-cases.ts'
import type { FoldCase } from './fold-cases.ts'
import { INVALID_BATCHES } from './invalid-batches.ts'
import { keyFileVector } from './make-key-file.ts'

const TREE_HASH = new Uint8Array(32)
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function save(file: string, value: unknown): void {
  const text = JSON.stringify(value, undefined, 1)
  writeFileSync(new URL(file, import.meta.url), `${text}\n`)
}

// ---- folds ----

function foldVector({ what, labels = ['laptop', 'phone', 'desk'], play }: FoldCase) {
  const script = new Script(labels)
  play(script)
  const { model, view } = script.users[0]!.seen
  const batches = [...model.batches.values()].flat()
  const device = (author: AuthorId) => script.authors.indexOf(author)
  const name = ({ batch, index }: PlacedOp) => (
    `${device(batch.batch.author)}.${batch.batch.seq}.${index}`
  )
  return {
    what,
    devices: script.authors.map((author, i) => ({ author: hex(author), label: labels[i] })),
    cutoffs: [...script.cutoffs].map(([author, length]) => ({ device: device(author), length })),
    voids: [...script.voids].map((one) => (
      { device: device(one.slice(0, 32) as AuthorId), sequence: Number(one.slice(32)) }
    )),
    batches: batches.map(({ batch, ms, counter }) => ({
      device: device(batch.author),
      sequence: batch.seq,
      effective: `${ms}.${counter}`,
      plain: toHex(encodeBatch({
        ms: batch.ms, counter: batch.counter, ops: [...batch.ops],
        deps: batch.deps.map((dep) => ({ ...dep, treeHash: TREE_HASH })),
      }, batch.author, batch.seq)),
    })),
    refused: model.voids.map((one) => ({ op: name(one), rule: one.void })),
    nodes: [...model.nodes.values()].map(describeModelNode)
      .toSorted((a, b) => (a.node < b.node ? -1 : 1)),
    view: Object.fromEntries([...viewLines(view)].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}

save('fold/cases.json', {
  note: 'Paths, names and contents: one character per byte (latin1). Ops: device.sequence.index; in '
    + 'nodes: first 4 bytes of the author.sequence.index@effective ms.counter.',
  idsKey: toHex(ID_KEY),
  root: hex(new Script(['']).vault.root),
  cases: FOLD_CASES.map(foldVector),
})

// ---- conflict names ----

const DAY = 1_795_000_000_000
const by = (author: string, ms: number) => (
  { batch: { ms, batch: { author } }, index: 0 } as unknown as PlacedOp
)

function nameVector(name: string, label: string, ms = DAY, k = 1) {
  const author = '\xab\xcd\x01'.padEnd(32, '\x02')
  const bytes = Buffer.from(name, 'utf8').toString('latin1') as Name
  const made = conflictName(bytes, by(author, ms), k, () => label)
  return { name: hex(bytes), author: hex(author), label, ms, k, conflictName: hex(made) }
}

const e255 = 'é'.repeat(127)
save('view/conflict-names.json', [
  nameVector('plan.txt', 'laptop'),
  nameVector('plan.txt', 'laptop', DAY, 2),
  nameVector('plan.txt', 'laptop', DAY, 12),
  nameVector('archive.tar.gz', 'laptop'),
  nameVector('.profile', 'laptop'),
  nameVector('..d', 'laptop'),
  nameVector('a.', 'laptop'),
  nameVector('b.123456789012345', 'laptop'),
  nameVector('c.1234567890123456', 'laptop'),
  nameVector('plan.txt', ''),
  nameVector('plan.txt', 'a/b\nc\u007f'),
  nameVector('plan.txt', 'é'.repeat(16)),
  nameVector('plan.txt', `x${'é'.repeat(16)}`),
  nameVector('plan.txt', 'laptop', 0),
  nameVector('plan.txt', 'laptop', 2 ** 47),
  nameVector('n'.repeat(255), 'laptop'),
  nameVector('n'.repeat(255), 'laptop', DAY, 10),
  nameVector(`${'n'.repeat(250)}.html`, 'laptop'),
  nameVector(e255, 'laptop'),
  nameVector(`${e255}x`, 'laptop'),
  nameVector(`x${e255}`, 'laptop'),
  nameVector('n'.repeat(219), 'laptop'),
  nameVector('n'.repeat(220), 'laptop'),
])

// ---- envelopes ----

const vaultId = Buffer.alloc(16, 1)
const author = Buffer.alloc(32, 1)

function envelope(what: string, suite: number, sequence: number, plain: Uint8Array) {
  const epochId = Buffer.from('epoch..1')
  const nonce = Buffer.alloc(24, 6 + suite)
  const key = Buffer.alloc(32, 5 + suite)
  const at = Buffer.alloc(8)
  at.writeBigUInt64BE(BigInt(sequence))
  const header = Buffer.concat([Buffer.from([0, suite]), epochId, nonce])
  const ad = Buffer.concat([header, vaultId, author, at])
  const sealed = xchacha20poly1305(key, nonce, ad).encrypt(plain)
  return {
    what, suite, vaultId: toHex(vaultId), author: toHex(author), sequence, key: toHex(key),
    plain: toHex(plain), block: toHex(Buffer.concat([header, sealed])),
  }
}

const empty = encodeBatch({ ms: 0, counter: 0, deps: [], ops: [] }, '\x01'.repeat(32) as AuthorId, 0)
const control = encodeBatch({
  ms: DAY, counter: 7, deps: [],
  ops: [{ kind: 'control', control: 3, critical: true, body: Buffer.from('body') }],
}, '\x01'.repeat(32) as AuthorId, 2 ** 40)
save('envelope/blocks.json', [
  envelope('data: suite 0, K_op', 0, 0, empty),
  envelope('data: a late sequence', 0, 2 ** 40, Buffer.from('not a batch, but sealed as one')),
  envelope('control: suite 1, K_ctl', 1, 2 ** 40, control),
])

// ---- invalid encodings ----

save('ops/invalid.json', INVALID_BATCHES.map(([what, rule, bytes]) => (
  { what, rule, plain: bytes.length > 4096 ? `zeros ${bytes.length}` : toHex(bytes) }
)))

// ---- control ops ----

/** Bytes and latin1 strings of 32 as hex. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, one: unknown) => {
    if (one instanceof Uint8Array) return toHex(one)
    const json = one as { type?: string; data?: number[] } | null
    if (json?.type === 'Buffer') return toHex(Uint8Array.from(json.data ?? []))
    return typeof one === 'string' && one.length === 32 ? hex(one) : one
  }))
}

save('ops/control.json', {
  bodies: CONTROL_BODIES.map(({ what, control, body, op }) => ({
    what, control, critical: control !== 5 && control !== 6, body: toHex(body), op: plain(op),
  })),
  ...plain(CONTROL_HASHES) as object,
})

// ---- key files ----

save('keyring/key-files.json', [
  keyFileVector('a key that stands in the file', undefined, 1),
  keyFileVector('a passphrase; two vaults, one without the phrase, one with two epochs', 'correct horse', 2),
])
