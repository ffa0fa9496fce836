// `lattice log PATH`: the versions of a file, newest first: who, when, how large; those made
// without knowing of each other are marked. --diff shows how the texts differ.

import type { FileVersion, LogResult, VaultStatus } from '../api/client-types.ts'
import type { ControlClient } from '../api/client.ts'
import { LatticeError } from '../util/errors.ts'
import { flag, text } from './command.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { bytesText, timeText } from './output.ts'
import { textDiff } from './text-diff.ts'
import { shownPath, vaultPath } from './vault-path.ts'

const LIMIT_DEFAULT = 100
const LIMIT_MAX = 10_000

export async function run(context: Context): Promise<undefined> {
  const limit = limitOf(text(context, 'limit'))
  await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    const log = await client.log(vault.id, { path, limit })
    const diff = flag(context, 'diff') && !context.output.json
    const differences = diff ? await differencesOf(client, vault, log) : new Map<string, string[]>()
    const lines = log.versions.flatMap((version) => [
      versionLine(version), ...(differences.get(version.id) ?? []),
    ])
    if (log.more) lines.push(`… more with --limit (now ${limit})`)
    const head = shownPath(vault, path)
    context.output.result({ vault: vault.name, ...log }, [head, ...lines])
  })
  return undefined
}

function limitOf(word: string | undefined): number {
  if (word === undefined) return LIMIT_DEFAULT
  const limit = Number(word)
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX) return limit
  throw new LatticeError('usage', `--limit takes a number from 1 to ${LIMIT_MAX}`)
}

function versionLine(version: FileVersion): string {
  const marks = [
    version.current ? 'current' : '',
    version.concurrent ? 'concurrent' : '',
    version.cut ? 'does not count: its device was removed' : '',
  ].filter(Boolean)
  const what = version.sizeBytes === undefined ? version.change : bytesText(version.sizeBytes)
  const name = version.name === undefined ? '' : ` ${version.name}`
  const who = `${version.author} (${version.device.slice(0, 8)})`
  const end = marks.length === 0 ? '' : `  [${marks.join(', ')}]`
  return `${timeText(version.timeMs)}  ${who}  ${what}${name}${end}`
}

/** For each content, the difference from the one before it in the list. */
async function differencesOf(
  client: ControlClient,
  vault: VaultStatus,
  { path, versions }: LogResult,
): Promise<Map<string, string[]>> {
  const contents = versions.filter((version) => version.sizeBytes !== undefined)
  const read = async (version: FileVersion): Promise<Buffer | undefined> => {
    const { base64 } = await client.fileVersion(vault.id, { path, id: version.id })
    return base64 === undefined ? undefined : Buffer.from(base64, 'base64')
  }
  const lines = new Map<string, string[]>()
  let newer: { version: FileVersion; bytes: Buffer | undefined } | undefined
  for (const version of contents) {
    const bytes = await read(version)
    if (newer !== undefined) {
      const names = [timeText(version.timeMs), timeText(newer.version.timeMs)] as const
      lines.set(newer.version.id, textDiff(names, [bytes, newer.bytes]))
    }
    newer = { version, bytes }
  }
  return lines
}
