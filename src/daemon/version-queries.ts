// The history of one node by path, for the control API: its ops as they were applied here, newest
// first, and the contents of its versions.

import { setImmediate as pause } from 'node:timers/promises'
import type * as Api from '../api/client-types.ts'
import { sameRef } from '../ops/order.ts'
import type { Op, OpRef } from '../ops/types.ts'
import type { HistoryOp } from '../state/node-history.ts'
import type { NodeRecord } from '../state/records.ts'
import { must } from '../util/assert.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { originOf } from './conflict-queries.ts'
import type { Labels } from './conflict-queries.ts'
import type { Engine } from './engine.ts'
import { nodeAt, textFor } from './vault-queries.ts'

const CONTENT_BYTES_MAX = 1024 * 1024
const OPS_AT_ONCE = 64

export async function versionsAt(
  engine: Engine,
  label: Labels,
  request: Api.LogRequest,
): Promise<Api.LogResult> {
  const record = recordAt(engine, request.path)
  const ops: HistoryOp[] = []
  let more = false
  for (const one of engine.core.history.of(record)) {
    more = ops.length === request.limit
    if (more) break
    ops.push(one)
    if (ops.length % OPS_AT_ONCE === 0) await pause() // each may be a read of the journal
  }
  const concurrent = concurrentPuts(ops)
  const winner = record.winner?.ref
  const versions = ops.map(({ op, ref }): Api.FileVersion => ({
    id: versionId(ref),
    ...originOf(label, ref),
    ...changeOf(op),
    concurrent: concurrent.has(ref),
    current: winner !== undefined && sameRef(winner, ref),
    cut: engine.core.members.standing(ref.author, ref.seq) !== 'valid',
  }))
  return { path: request.path, versions, more }
}

/** Throws 'not-found'. */
export async function versionContent(
  engine: Engine,
  { path, id }: Api.VersionRequest,
): Promise<Api.VersionResult> {
  for (const { op, ref } of engine.core.history.of(recordAt(engine, path))) {
    if (op.kind !== 'put' || versionId(ref) !== id) continue
    const { content, sizeBytes } = op
    if (sizeBytes > CONTENT_BYTES_MAX) return { sizeBytes }
    const bytes = await engine.content.readWhole(content, sizeBytes)
    return { sizeBytes, base64: Buffer.from(bytes).toString('base64') }
  }
  throw new LatticeError('not-found', `${path} has no such version with content`, {
    hint: 'lattice log lists the versions',
  })
}

/** What is shown there; of a conflict copy that is shown only, the file that it is a version of. */
function recordAt(engine: Engine, path: Api.PathText): NodeRecord {
  const { store } = engine.core
  const record = must(store.node(nodeAt(engine.tree, path).ino), 'a shown node has a record')
  if (record.virtualOf === '') return record
  const ino = store.inoOf(record.virtualOf)
  const node = ino === undefined ? store.hidden(record.virtualOf) : store.node(ino)
  return must(node, 'a version of a node without a record')
}

/** Puts whose author had not seen another one that nobody had superseded. */
function concurrentPuts(newestFirst: readonly HistoryOp[]): Set<OpRef> {
  const concurrent = new Set<OpRef>()
  let heads: OpRef[] = []
  for (const { op, ref } of newestFirst.toReversed()) {
    if (op.kind !== 'put') continue
    heads = heads.filter((head) => !op.base.some((one) => sameRef(one, head)))
    if (heads.length > 0) for (const one of [...heads, ref]) concurrent.add(one)
    heads.push(ref)
  }
  return concurrent
}

function changeOf(op: Op): Pick<Api.FileVersion, 'change' | 'name' | 'sizeBytes'> {
  switch (op.kind) {
    case 'mk':
      return { change: 'made', name: textFor(op.name) }
    case 'link':
      return { change: 'linked', name: textFor(op.name) }
    case 'mv':
      return { change: 'renamed', name: textFor(op.name) }
    case 'put':
      return { change: 'content', sizeBytes: op.sizeBytes }
    case 'rm':
      return { change: 'removed' }
    default:
      return { change: 'attributes' }
  }
}

function versionId({ author, seq, index }: OpRef): string {
  return `${toHex(Buffer.from(author, 'latin1'))}:${seq}:${index}`
}
