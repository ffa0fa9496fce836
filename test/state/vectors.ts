// The vector files of folds and views: what is in them is decoded as a stranger would, and must
// come to the nodes and the tree that stand beside it, on the specification and on the fold.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { decodeBatch } from '../../src/ops/codec.ts'
import { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Name, NodeId } from '../../src/ops/types.ts'
import { describeModelNode, hex } from './naive-compare.helper.ts'
import type { NodeText } from './naive-compare.helper.ts'
import { foldNaively } from './naive-model.helper.ts'
import type { ModelBatch, ModelStanding, PlacedOp } from './naive-model.helper.ts'
import { conflictName, viewLines, viewNaively } from './naive-view.helper.ts'

interface FoldVector {
  what: string
  devices: { author: string; label: string }[]
  cutoffs: { device: number; length: number }[]
  voids: { device: number; sequence: number }[]
  batches: { device: number; sequence: number; effective: string; plain: string }[]
  refused: { op: string; rule: string }[]
  nodes: NodeText[]
  view: Record<string, string>
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8')) as T
}

const latin1 = (text: string) => Buffer.from(text, 'hex').toString('latin1')
const folds = read<{ idsKey: string; root: string; cases: FoldVector[] }>('fold/cases.json')
const ids = new Ids(Buffer.from(folds.idsKey, 'hex'))
const root = latin1(folds.root) as NodeId

function prepare(vector: FoldVector) {
  const authors = vector.devices.map(({ author }) => latin1(author) as AuthorId)
  const batches = vector.batches.map(({ device, sequence, plain }): ModelBatch => {
    const author = authors[device]!
    const bytes = Buffer.from(plain, 'hex')
    return { author, seq: sequence, ...decodeBatch(bytes, author, sequence, ids) }
  })
  const standing = (author: AuthorId, seq: number): ModelStanding => {
    const device = authors.indexOf(author)
    if (vector.voids.some((one) => one.device === device && one.sequence === seq)) return 'void'
    const cutoff = vector.cutoffs.find((one) => one.device === device)
    return cutoff !== undefined && seq >= cutoff.length ? 'cut' : 'valid'
  }
  const label = (author: AuthorId) => vector.devices[authors.indexOf(author)]?.label ?? ''
  return { authors, batches, standing, label }
}

const byOp = (a: { op: string }, b: { op: string }) => (a.op < b.op ? -1 : 1)

t.test('folds: the specification', (t) => {
  for (const vector of folds.cases) {
    const { authors, batches, standing, label } = prepare(vector)
    // any order will do
    const model = foldNaively(batches.toReversed(), { root, standing })
    const nodes = [...model.nodes.values()].map(describeModelNode)
      .toSorted((a, b) => (a.node < b.node ? -1 : 1))
    t.same(JSON.parse(JSON.stringify(nodes)), vector.nodes, vector.what)
    t.same(Object.fromEntries(viewLines(viewNaively(model, { ids, label }))), vector.view)
    t.same(model.voids.map((one) => ({
      op: `${authors.indexOf(one.batch.batch.author)}.${one.batch.batch.seq}.${one.index}`,
      rule: one.void,
    })).toSorted(byOp), vector.refused.toSorted(byOp))
    for (const { device, sequence, effective } of vector.batches) {
      const { ms, counter } = model.batches.get(authors[device]!)![sequence]!
      t.equal(`${ms}.${counter}`, effective)
    }
  }
  t.end()
})

interface NameVector {
  name: string
  author: string
  label: string
  ms: number
  k: number
  conflictName: string
}

t.test('conflict names: the specification', (t) => {
  for (const vector of read<NameVector[]>('view/conflict-names.json')) {
    const by = { batch: { ms: vector.ms, batch: { author: latin1(vector.author) } }, index: 0 }
    const name = latin1(vector.name) as Name
    const made = conflictName(name, by as unknown as PlacedOp, vector.k, () => vector.label)
    t.equal(hex(made), vector.conflictName)
    t.ok(made.length <= 255)
  }
  t.end()
})
