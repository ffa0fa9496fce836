// `lattice where PATH`: which devices hold the content below it.

import type { VaultStatus } from '../api/client-types.ts'
import type { WhereResult } from '../api/client-where-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { bytesText, countText } from './output.ts'
import { shownPath, vaultPath } from './vault-path.ts'

export async function run(context: Context): Promise<undefined> {
  const { output } = context
  const { vault, path, result } = await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    let shown = ''
    for (;;) {
      const result = await client.where(vault.id, { path })
      if (result.done) return { vault, path, result }
      const line = `asked about ${result.asked} of ${countText(result.bundles, 'bundle')}`
      if (line !== shown) output.progress(result, line)
      shown = line
    }
  })
  const { done: _, ...value } = result
  output.result({ vault: vault.name, path, ...value }, lines(vault, path, result))
  return undefined
}

function lines(vault: VaultStatus, path: string, result: WhereResult): string[] {
  const { files, contentBytes, bundles, here, loose, unknown, devices, copies } = result
  const size = `${countText(files, 'file')}, ${bytesText(contentBytes)}`
  const head = `${shownPath(vault, path)}: ${size} in ${countText(bundles, 'bundle')}`
  const row = (name: string, count: number): string => (
    `  ${name.padEnd(20)}  ${count === bundles ? 'all' : `${count} of ${bundles}`}`
  )
  const theirs = devices.map(({ label, device, role, bundles: held }) => {
    const name = label === '' ? device.slice(0, 8) : label
    return row(role === 'blind' ? `${name} (blind)` : name, held)
  })
  const rows = [row('this device', here), ...theirs]
  const onOne = (copies[0] ?? 0) + (copies[1] ?? 0)
  const least = copies.findIndex((count) => count > 0)
  const notes: string[] = []
  if (least >= 2) notes.push(`  everything is on ${least} or more of the connected devices`)
  else if (onOne > 0) notes.push(`  ${countText(onOne, 'bundle')} on one connected device or none`)
  if (loose > 0) notes.push(`  ${countText(loose, 'small chunk')} in this device's journal only`)
  if (unknown > 0) {
    notes.push(`  ${countText(unknown, 'part')} cannot be told of without fetching`)
  }
  return [head, ...(bundles === 0 ? [] : rows), ...notes]
}
