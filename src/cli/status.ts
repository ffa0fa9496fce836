// `lattice status`: the daemon, the keys, every recorded vault. Starts nothing.

import type { Status, VaultStatus } from '../api/client-types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'
import { withDaemon, withRunningDaemon } from './daemon-process.ts'
import { bytesText, countText } from './output.ts'
import { UNPROTECTED_WARNING } from './passphrase.ts'

export async function run(context: Context): Promise<undefined> {
  const { output } = context
  const running = await withRunningDaemon(context.paths, (client) => client.status()).catch(
    (error: unknown) => {
      if (isLatticeError(error, 'daemon-not-running')) return undefined
      throw error
    },
  )
  // one that only answers this question: it ends by itself, and reads the files for us
  const status = running ?? (await withDaemon(context.paths, (client) => client.status()))
  for (const warning of status.warnings) output.warning(warning)
  output.result({ running: running !== undefined, ...status }, lines(status, running !== undefined))
  if (status.keys.protection === 'none') output.warning(UNPROTECTED_WARNING)
  return undefined
}

function lines(status: Status, running: boolean): string[] {
  const { daemon, keys } = status
  const age = durationText(Math.round((Date.now() - daemon.startedMs) / 1000))
  const process = running
    ? `running, process ${daemon.pid}, for ${age}, ${bytesText(daemon.rssBytes)} of RAM`
    : 'not running'
  const vaults = status.vaults.flatMap(vaultLines)
  const keyFile = `${keys.file} (${keysText(keys.protection)})`
  return [
    `daemon   ${process}`,
    `keys     ${keys.state === 'absent' ? 'none yet' : keyFile}`,
    `state    ${status.stateDirectory}`,
    ...(vaults.length === 0 ? ['vaults   none yet: lattice mount DIR'] : vaults),
  ]
}

function keysText(protection: string): string {
  return protection === 'none' ? 'no passphrase' : 'protected by a passphrase'
}

function vaultLines(vault: VaultStatus): string[] {
  if (!vault.mounted) return [`vault    ${vault.name}: not mounted, for ${vault.directory}`]
  const mode = vault.readOnly ? ', read-only' : ''
  const lines = [`vault    ${vault.name}: mounted on ${vault.directory}${mode}`]
  const files = countText(vault.files ?? 0, 'file')
  const directories = countText(vault.directories ?? 0, 'directory', 'directories')
  const content = bytesText(vault.contentBytes ?? 0)
  const stored = bytesText(vault.storedBytes ?? 0)
  lines.push(`         ${files}, ${directories}, ${content}; ${stored} on disk`)
  const { known, connected } = vault.devices ?? { known: 0, connected: 0 }
  if (known > 0) {
    const others = countText(known, 'other device')
    lines.push(`         ${vault.role ?? 'no member'}; ${connected} of ${others} connected`)
  }
  const dirtyBytes = vault.dirtyBytes ?? 0
  if (dirtyBytes > 0) lines.push(`         ${bytesText(dirtyBytes)} not stored yet`)
  const held = vault.heldFiles ?? 0
  if (held > 0) {
    const files = countText(held, 'file')
    lines.push(`         ${files} stored here only: overwritten in part, and the rest is elsewhere`)
  }
  const conflicts = vault.conflicts ?? 0
  if (conflicts > 0) {
    lines.push(`         ${countText(conflicts, 'conflict')}: lattice conflicts`)
  }
  if (vault.unwatched !== undefined && !vault.readOnly) {
    lines.push(`         programs that watch it do not hear of other devices: ${vault.unwatched}`)
  }
  if (vault.trouble !== undefined) lines.push(`         trouble: ${vault.trouble}`)
  return lines
}

function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}
