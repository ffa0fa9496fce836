// The members of a vault (state/members.ts) as the engine asks about them: made anew from the
// stored control batches whenever one is applied. Bodies are decoded once; what does not decode
// counts for nothing.

import { controlKind, decodeControl } from '../ops/control-codec.ts'
import type { ControlRecord } from '../ops/control-types.ts'
import { rankOf } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { Members } from '../state/members.ts'
import type { Standing } from '../state/node-history.ts'
import type { ControlBatch } from '../state/records.ts'
import { toHex } from '../util/bytes.ts'
import { isLatticeError } from '../util/errors.ts'
import type { FoldMembers } from './applier.ts'
import type { MembersView } from './ports.ts'

export class VaultMembers implements MembersView {
  readonly members: Members
  /** In no order that matters. */
  readonly records: readonly ControlRecord[]

  constructor(records: readonly ControlRecord[], vaultId: Uint8Array) {
    this.records = records
    this.members = Members.fold(records, { vaultId })
  }

  standing(author: AuthorId, seq: number): Standing {
    return this.members.standing(author, seq)
  }

  label(author: AuthorId): string {
    return this.members.label(author)
  }

  precedes(one: Uint8Array, other: Uint8Array): boolean {
    return this.members.precedes(toHex(one), toHex(other))
  }

  knowsEpoch(epochId: Uint8Array): boolean {
    return this.members.hasGenesis && this.members.epoch(toHex(epochId)) !== undefined
  }

  /** Admins and owners only. */
  mayRequire(author: AuthorId, seq: number): boolean {
    const role = this.members.roleAt(author, seq)
    return role !== undefined && rankOf(role) >= rankOf('admin')
  }

  breaks(author: AuthorId): readonly number[] {
    return this.members.breaks(author)
  }
}

/** For EngineCore: one per vault that is open, since it remembers what it decoded. */
export function vaultMembers(vaultId: Uint8Array): FoldMembers {
  const decoded = new Map<string, readonly ControlRecord[]>()
  return (batches) => {
    const records: ControlRecord[] = []
    for (const batch of batches) {
      const key = `${batch.author}${batch.seq}`
      const known = decoded.get(key) ?? recordsOf(batch)
      decoded.set(key, known)
      records.push(...known)
    }
    return new VaultMembers(records, vaultId)
  }
}

export function knowsControl(control: number): boolean {
  return controlKind(control) !== undefined
}

function recordsOf({ author, seq, ms, counter, vv, ops }: ControlBatch): ControlRecord[] {
  const records: ControlRecord[] = []
  for (const { index, control, critical, body } of ops) {
    const ref = { ms, counter, author, seq, index, order: 0 }
    try {
      const op = decodeControl({ kind: 'control', control, critical, body })
      if (op !== undefined) records.push({ ref, deps: vv, op, body })
    } catch (error) {
      if (!isLatticeError(error)) throw error
    }
  }
  return records
}
