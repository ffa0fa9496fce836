// `lattice conflicts show PATH`: one conflict, with the differences between its texts. The contents
// are read through the mount, as any program would.

import { readFile, stat } from 'node:fs/promises'
import type { Conflict, ConflictItem, VaultStatus } from '../api/client-types.ts'
import type { ControlClient } from '../api/client.ts'
import { LatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'
import { conflictLines } from './conflicts.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { DIFF_BYTES_MAX, textDiff } from './text-diff.ts'
import { shownPath, vaultPath } from './vault-path.ts'

export async function run(context: Context): Promise<undefined> {
  const { vault, conflict } = await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    return { vault, conflict: await findConflict(client, vault, path) }
  })
  const differences = context.output.json ? [] : await differencesOf(vault, conflict)
  const lines = [...conflictLines(vault.directory, conflict), ...differences]
  context.output.result({ vault: vault.name, conflict }, lines)
  return undefined
}

/** The conflict that an entry is part of. Throws 'not-found'. */
export async function findConflict(
  client: ControlClient,
  vault: VaultStatus,
  path: string,
): Promise<Conflict> {
  const { conflicts } = await client.conflicts(vault.id, { path })
  const found = conflicts.find((conflict) => (
    conflict.path === path || conflict.items.some((item) => item.path === path)
  ))
  if (found !== undefined) return found
  throw new LatticeError('not-found', `${shownPath(vault, path)} is not in conflict`, {
    hint: 'lattice conflicts lists those there are',
  })
}

async function differencesOf(vault: VaultStatus, conflict: Conflict): Promise<string[]> {
  const files = conflict.items.filter((item) => item.kind === 'file')
  const [winner, ...others] = [
    ...files.filter((item) => item.winner), ...files.filter((item) => !item.winner),
  ]
  if (winner === undefined) return []
  const content = await contentOf(vault, winner)
  const lines: string[] = []
  for (const other of others) {
    const names = [shownPath(vault, winner.path), shownPath(vault, other.path)] as const
    lines.push('', ...textDiff(names, [content, await contentOf(vault, other)]))
  }
  return lines
}

async function contentOf(vault: VaultStatus, item: ConflictItem): Promise<Buffer | undefined> {
  const path = shownPath(vault, item.path)
  const { size } = await stat(path)
  return size > DIFF_BYTES_MAX ? undefined : readFile(path)
}
