// `lattice evict PATH`: frees the disk of what lies below, where other devices prove to hold it.

import type { EvictResult } from '../api/client-where-types.ts'
import { EXIT_PARTIAL } from '../config/exit-codes.ts'
import { LatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'
import { text } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { bytesText, countText } from './output.ts'
import { shownPath, vaultPath } from './vault-path.ts'

/** Why content stays (Api.EvictResult), most telling first. */
const REASONS: readonly (readonly [string, string])[] = [
  ['not-proven', 'no other device, or too few, proved to hold it'],
  ['not-published', 'no other device has been told of it yet'],
  ['pinned', 'is pinned'],
  ['in-use', 'is open, or being stored'],
  ['shared', 'also belongs to files elsewhere in the vault'],
  ['damaged', 'is damaged: lattice check'],
]

export async function run(context: Context): Promise<number | undefined> {
  const { output } = context
  const copies = copiesOf(context)
  const { vault, path, result } = await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    let shown = ''
    for (;;) {
      const result = await client.evict(vault.id, { path, copies })
      if (result.done) return { vault, path, result }
      const line = lineOf(result)
      if (line !== shown) output.progress(result, line)
      shown = line
    }
  })
  const missing = (result.stays['not-proven'] ?? 0) + (result.stays['not-published'] ?? 0)
  if (result.bundles === 0 && missing > 0) throw nobodyHolds(result, copies)
  const { done: _, ...value } = result
  output.result({ vault: vault.name, path, ...value }, [
    `${shownPath(vault, path)}: ${lineOf(result)}`,
    ...REASONS.flatMap(([reason, why]) => {
      const bytes = result.stays[reason] ?? 0
      return bytes === 0 ? [] : [`  ${bytesText(bytes)} stay: ${why}`]
    }),
  ])
  return missing > 0 ? EXIT_PARTIAL : undefined
}

function lineOf({ files, bundles, freedBytes }: EvictResult): string {
  const looked = countText(files, 'file')
  return `${bytesText(freedBytes)} freed in ${countText(bundles, 'bundle')}, ${looked} looked at`
}

function nobodyHolds({ stays }: EvictResult, copies: number): LatticeError {
  const devices = countText(copies, 'other device')
  return new LatticeError('not-available', `nothing was freed: not proven to be on ${devices}`, {
    hint: 'lattice peers shows who is connected; lattice pin on another device makes it hold it',
    details: { ...stays },
  })
}

/** Throws 'usage'. */
function copiesOf(context: Context): number {
  const said = text(context, 'copies') ?? '1'
  const copies = Number(said)
  if (/^[0-9]+$/.test(said) && copies >= 1 && copies <= 255) return copies
  throw new LatticeError('usage', '--copies takes a number of devices from 1 to 255')
}
