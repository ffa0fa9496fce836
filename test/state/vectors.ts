// The vector files of folds and views: what is in them is decoded as a stranger would, and must
// come to the nodes and the tree that stand beside it, on the specification and on the fold.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { decodeBatch } from '../../src/ops/codec.ts'
import { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Name, NodeId } from '../../src/ops/types.ts'
import { conflictName as productName } from '../../src/state/conflict-names.ts'
import { FoldReplica } from './fold-replica.helper.ts'
import type { StandingVersion } from './fuzz-world.helper.ts'
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
  const version: StandingVersion = {
    cutoffs: new Map(vector.cutoffs.map(({ device, length }) => [authors[device]!, length])),
    voids: new Set(vector.voids.map(({ device, sequence }) => `${authors[device]!}${sequence}`)),
  }
  const label = (author: AuthorId) => vector.devices[authors.indexOf(author)]?.label ?? ''
  return { authors, batches, standing, label, version }
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

t.test('folds: the product, in orders of delivery', (t) => {
  for (const vector of folds.cases) {
    const { batches, standing, label, version } = prepare(vector)
    const model = foldNaively(batches, { root, standing })
    const view = viewNaively(model, { ids, label })
    const hashes = new Set<string>()
    for (const isLast of [true, false]) {
      const replica = new FoldReplica({ ids, root, label })
      if (!isLast) replica.changeStanding(version)
      const waiting = isLast ? [...batches] : batches.toReversed()
      const lengths = new Map<AuthorId, number>()
      const isReady = ({ author, seq, deps }: ModelBatch) => (
        (lengths.get(author) ?? 0) === seq
          && deps.every((dep) => (lengths.get(dep.author) ?? 0) >= dep.length)
      )
      while (waiting.length > 0) {
        const [batch] = waiting.splice(waiting.findIndex(isReady), 1)
        replica.apply(batch!, false)
        lengths.set(batch!.author, batch!.seq + 1)
      }
      if (isLast) replica.changeStanding(version)
      t.equal(replica.compare(model, view), undefined, vector.what)
      replica.checkpoint()
      hashes.add(replica.base.stateHash.digest())
    }
    t.equal(hashes.size, 1)
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

t.test('conflict names', (t) => {
  for (const vector of read<NameVector[]>('view/conflict-names.json')) {
    const by = { batch: { ms: vector.ms, batch: { author: latin1(vector.author) } }, index: 0 }
    const name = latin1(vector.name) as Name
    const made = conflictName(name, by as unknown as PlacedOp, vector.k, () => vector.label)
    t.equal(hex(made), vector.conflictName, 'the specification')
    const op = { ms: vector.ms, author: latin1(vector.author) as AuthorId }
    t.equal(hex(productName(name, op, vector.label, vector.k)), vector.conflictName, 'the product')
    t.ok(made.length <= 255)
  }
  t.end()
})
