/**
 * Control ops as the fold takes them, from the batches that the state keeps. A body that does not
 * decode, and an op of a later lattice, count for nothing; the others of their batch stay. A
 * genesis under rules that this lattice does not know is no reason to throw here: without a genesis
 * nobody is a member, and opening the vault has told the user why.
 */

import { decodeControl } from '../ops/control-codec.ts'
import type { ControlOp, ControlRecord } from '../ops/control-types.ts'
import { LatticeError } from '../util/errors.ts'
import type { ControlBatch, ControlBody } from './records.ts'

const decoded = new WeakMap<ControlBatch, readonly ControlRecord[]>()

export function controlRecords(batches: Iterable<ControlBatch>): ControlRecord[] {
  const records: ControlRecord[] = []
  for (const batch of batches) {
    let known = decoded.get(batch)
    if (known === undefined) {
      known = recordsOf(batch)
      decoded.set(batch, known)
    }
    records.push(...known)
  }
  return records
}

function recordsOf(batch: ControlBatch): ControlRecord[] {
  const { ms, counter, author, seq, vv } = batch
  const records: ControlRecord[] = []
  for (const body of batch.ops) {
    const op = decode(body)
    if (op === undefined) continue
    const ref = { ms, counter, author, seq, index: body.index, order: 0 }
    records.push({ ref, deps: vv, op, body: body.body })
  }
  return records
}

function decode({ control, critical, body }: ControlBody): ControlOp | undefined {
  try {
    return decodeControl({ kind: 'control', control, critical, body })
  } catch (error) {
    if (error instanceof LatticeError) return undefined
    throw error
  }
}
