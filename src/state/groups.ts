// What a group is to those who look at it: a conflict, or not. Pure.

import { kindOfId } from '../ops/ids.ts'
import { KIND_DIRECTORY } from '../ops/types.ts'
import type { GroupRecord } from './records.ts'

/** Some claim is a directory: it has the name, and is not among what the group shows. */
export function hasDirectory({ claims }: GroupRecord): boolean {
  return claims.some(({ node }) => kindOfId(node) === KIND_DIRECTORY)
}

/** Whether more than one thing wants the name, displayed or not. Unions alone do not count. */
export function isConflicted(group: GroupRecord): boolean {
  const mains = group.claims.filter(({ node }) => kindOfId(node) !== KIND_DIRECTORY).length
  const items = mains + (hasDirectory(group) ? 1 : 0)
  return items > 1 || group.shown.some(({ kind }) => kind === 'variant')
}

/** Whether there is something to decide: things that are equal are shown as one. */
export function isUndecided(group: GroupRecord | undefined): boolean {
  if (group === undefined || !isConflicted(group)) return false
  return group.shown.length + (hasDirectory(group) ? 1 : 0) > 1
}
