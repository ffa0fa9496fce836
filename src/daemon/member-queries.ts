// The members of a mounted vault, for the control API.

import type * as Api from '../api/client-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { toHex } from '../util/bytes.ts'
import { VaultMembers } from '../vault/members-view.ts'
import { hexOf } from './membership.ts'
import type { Engine } from './engine.ts'

export function membersOf(engine: Engine): Api.MembersResult {
  const { core, keys } = engine
  const view = core.members
  const members = must(view instanceof VaultMembers ? view.members : undefined, 'no members')
  const nameOf = (device: AuthorId): string => members.label(device) || hexOf(device).slice(0, 8)
  const list = members.list().map((info): Api.Member => ({
    label: nameOf(info.device),
    device: hexOf(info.device),
    role: info.role ?? 'removed',
    self: info.device === keys.author,
    ...(info.by === undefined ? {} : { by: nameOf(info.by) }),
    batches: core.store.meta.authors.get(info.device)?.length ?? 0,
    ...(info.cutoff === undefined ? {} : { cutoff: info.cutoff.length }),
  }))
  const epoch = members.hasGenesis ? members.currentEpoch() : toHex(keys.currentEpoch().epochId)
  return { members: list, epoch }
}
