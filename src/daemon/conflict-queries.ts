// Conflicts of a mounted vault by path, for the control API: listing, counting, deciding.

import type * as Api from '../api/client-types.ts'
import {
  KIND_BLOCK_DEVICE, KIND_CHAR_DEVICE, KIND_DIRECTORY, KIND_FIFO, KIND_FILE, KIND_SOCKET,
  KIND_SYMLINK,
} from '../ops/types.ts'
import type { Name, NodeKind, OpRef } from '../ops/types.ts'
import { toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type {
  ConflictChoice, ConflictItem, ConflictPlace, TreeConflict,
} from '../vault/tree-conflicts.ts'
import type { LiveTree } from '../vault/live-tree.ts'
import { joined, nodeAt, splitPath, textFor } from './vault-queries.ts'

const PAGE = 256
const DEVICE_HEX = 16

const KINDS: Readonly<Record<NodeKind, string>> = {
  [KIND_DIRECTORY]: 'directory',
  [KIND_FILE]: 'file',
  [KIND_SYMLINK]: 'symlink',
  [KIND_FIFO]: 'fifo',
  [KIND_SOCKET]: 'socket',
  [KIND_CHAR_DEVICE]: 'character-device',
  [KIND_BLOCK_DEVICE]: 'block-device',
}

/** Names of devices. */
export type Labels = (author: OpRef['author']) => string

/** One page: of the entry's own conflict, or of everything below a directory. */
export function conflictsAt(
  tree: LiveTree,
  label: Labels,
  { path, after }: Api.ConflictsRequest,
): Api.ConflictsResult {
  const count = tree.conflictCount
  const own = conflictOfPath(tree, path)
  if (own !== undefined) return { conflicts: [shown(tree, label, own)], count }
  if (path !== '') nodeAt(tree, path)
  const place = after === undefined ? undefined : decodePlace(after)
  const page = tree.conflicts(place, PAGE)
  const conflicts = page.conflicts
    .map((conflict) => shown(tree, label, conflict))
    .filter((conflict) => path === '' || conflict.path.startsWith(`${path}/`))
  return { conflicts, count, ...(page.next && { next: encodePlace(page.next) }) }
}

/** Of a decision: the kernel does not know of it. */
export interface Changed {
  parent: Ino
  names: readonly Name[]
  inos: readonly Ino[]
}

/** Throws 'not-found', 'usage'. */
export function resolveConflict(
  tree: LiveTree,
  { path, keep }: Api.ResolveRequest,
): { result: Api.ResolveResult; changed: Changed } {
  const { parent, name, directory } = splitPath(tree, path)
  const items = tree.conflictAt(parent, name)?.items ?? []
  const { kept, removed } = tree.resolve(parent, name, choiceOf(keep))
  const full = (one: Name): string => joined(directory, textFor(one))
  return {
    result: { kept: kept.map(full), removed: removed.map(full) },
    changed: {
      parent,
      names: [...kept, ...items.map((item) => item.name)],
      inos: items.map((item) => item.ino),
    },
  }
}

export function originOf(label: Labels, { author, ms }: OpRef): Api.Origin {
  const device = toHex(Buffer.from(author, 'latin1')).slice(0, DEVICE_HEX)
  return { author: label(author) || device.slice(0, 8), device, timeMs: ms }
}

/** Where an inode lies, for people. */
export function pathText(tree: LiveTree, ino: Ino): Api.PathText {
  return (tree.pathOf(ino) ?? []).map(textFor).join('/')
}

function conflictOfPath(tree: LiveTree, path: string): TreeConflict | undefined {
  if (path === '') return undefined
  const { parent, name } = splitPath(tree, path)
  return tree.conflictAt(parent, name)
}

function shown(tree: LiveTree, label: Labels, conflict: TreeConflict): Api.Conflict {
  const directory = pathText(tree, conflict.parent)
  const at = (name: Name): string => joined(directory, textFor(name))
  const item = ({ name, kind, sizeBytes, origin, winner }: ConflictItem): Api.ConflictItem => (
    { path: at(name), kind: KINDS[kind], sizeBytes, winner, ...originOf(label, origin) }
  )
  return { kind: conflict.kind, path: at(conflict.name), items: conflict.items.map(item) }
}

function choiceOf(keep: string): ConflictChoice {
  if (keep === 'mine' || keep === 'theirs' || keep === 'both') return keep
  const number = Number(keep)
  if (Number.isSafeInteger(number) && number > 0) return number
  const hint = 'mine, theirs, both, or a number'
  throw new LatticeError('usage', `${keep} is no choice`, { hint })
}

function encodePlace(place: ConflictPlace): string {
  return Buffer.from(JSON.stringify(place), 'latin1').toString('base64url')
}

function decodePlace(text: string): ConflictPlace {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('latin1')) as ConflictPlace
  } catch (cause) {
    throw new LatticeError('usage', 'that is not where a list goes on', { cause })
  }
}
