// `lattice status`: the daemon, the keys, every recorded vault. Starts nothing.

import type { Status, VaultStatus } from '../api/client-types.ts'
import type { ContentResult } from '../api/client-where-types.ts'
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
  const contents = running === undefined ? new Map() : await contentsOf(context, running)
  const vaults = status.vaults.map((vault) => {
    const content = contents.get(vault.id)
    return content === undefined ? vault : { ...vault, content }
  })
  const value = { running: running !== undefined, ...status, vaults }
  output.result(value, lines({ ...status, vaults }, running !== undefined))
  if (status.keys.protection === 'none') output.warning(UNPROTECTED_WARNING)
  return undefined
}

type Shown = VaultStatus & { content?: ContentResult }

/** What is where, of the mounted vaults; left out of one that cannot say. */
async function contentsOf(
  { paths }: Context, status: Status,
): Promise<Map<string, ContentResult>> {
  const mounted = status.vaults.filter((vault) => vault.mounted)
  return withRunningDaemon(paths, async (client) => {
    const told = await Promise.all(mounted.map(async ({ id }) => {
      const content = await client.content(id).catch(() => undefined)
      return content === undefined ? [] : [[id, content] as const]
    }))
    return new Map(told.flat())
  }).catch(() => new Map<string, ContentResult>())
}

function lines(status: Status & { vaults: Shown[] }, running: boolean): string[] {
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

function vaultLines(vault: Shown): string[] {
  if (!vault.mounted) return [`vault    ${vault.name}: not mounted, for ${vault.directory}`]
  const mode = vault.readOnly ? ', read-only' : ''
  const lines = [`vault    ${vault.name}: mounted on ${vault.directory}${mode}`]
  const files = countText(vault.files ?? 0, 'file')
  const directories = countText(vault.directories ?? 0, 'directory', 'directories')
  const content = bytesText(vault.contentBytes ?? 0)
  const stored = bytesText(vault.storedBytes ?? 0)
  lines.push(`         ${files}, ${directories}, ${content}; ${stored} on disk`)
  if (vault.content !== undefined) lines.push(...contentLines(vault.content))
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

/** Nothing when all of it is here, and there is no limit. */
function contentLines(content: ContentResult): string[] {
  const { isWhole, here, partial, elsewhere, bytes, bytesHere, storedBytes, limitBytes } = content
  const lines: string[] = []
  if (partial + elsewhere > 0) {
    const most = isWhole ? '' : ' so far'
    const parts = partial === 0 ? '' : `, ${countText(partial, 'file')} in part`
    lines.push(
      `         here: ${countText(here, 'file')}${parts}, ${bytesText(bytesHere)} of ` +
      `${bytesText(bytes)}${most}; the rest is on other devices`,
    )
  }
  if (limitBytes !== undefined) {
    lines.push(`         ${bytesText(storedBytes)} of content kept, limit ${bytesText(limitBytes)}`)
  }
  return lines
}

function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}
