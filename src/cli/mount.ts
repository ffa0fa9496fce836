// `lattice mount DIR`: the vault recorded for DIR, or a new one. In the background the daemon
// serves it; with --foreground this process becomes the daemon.

import { ControlClient } from '../api/client.ts'
import type { MountRequest, MountResult, Status } from '../api/client-types.ts'
import { LatticeError } from '../util/errors.ts'
import { flag, text } from './command.ts'
import type { Context } from './command.ts'
import { createVault } from './creation.ts'
import { withDaemon } from './daemon-process.ts'
import { resolveDirectory } from './directories.ts'
import { UNPROTECTED_WARNING, withKeyAccess } from './passphrase.ts'

type MountFlags = Pick<MountRequest, 'readOnly' | 'allowOther' | 'dev' | 'suid' | 'names'>

/** Words of mount(8) that mean nothing here and need no notice. */
const GENERIC = new Set(
  ('defaults auto noauto user nouser users nofail _netdev exec noexec async sync atime noatime ' +
    'diratime nodiratime relatime norelatime strictatime lazytime default_permissions').split(' '),
)

export async function run(context: Context): Promise<number | undefined> {
  const directory = await resolveDirectory(context.arguments[0] ?? '')
  const flags = mountFlags(context)
  if (flag(context, 'foreground')) return runForeground(context, directory, flags)
  await withDaemon(context.paths, (client) => mount(context, client, directory, flags))
  return undefined
}

async function mount(
  context: Context,
  client: ControlClient,
  directory: string,
  flags: MountFlags,
): Promise<void> {
  const { output } = context
  const status = await client.status()
  for (const warning of status.warnings) output.warning(warning)
  const known = status.vaults.find((vault) => vault.directory === directory)
  const created =
    known === undefined
      ? await createVault(context, client, status, { directory, forMount: true })
      : undefined
  const id = known?.id ?? created?.vault.id ?? ''
  const keys = created === undefined ? status.keys : ({ ...status.keys, state: 'open' } as const)
  const result = await withKeyAccess(context, keys, (access) =>
    client.mount(id, { ...flags, ...access }),
  )
  if (created === undefined && result.protection === 'none') output.warning(UNPROTECTED_WARNING)
  output.result(mountDocument(result, created !== undefined, status), [`mounted ${directory}`])
}

function mountDocument(result: MountResult, created: boolean, status: Status): object {
  const { vault, protection } = result
  return { vault, created, protection, pid: status.daemon.pid, warnings: status.warnings }
}

/** This process serves; it returns when the mount is gone. */
async function runForeground(
  context: Context,
  directory: string,
  flags: MountFlags,
): Promise<number | undefined> {
  const { serveForeground } = await import('./foreground.ts')
  return serveForeground(context.paths, async () => {
    const client = await ControlClient.connect(context.paths.socket)
    try {
      await mount(context, client, directory, flags)
    } finally {
      client.close()
    }
  })
}

/** -o words and their long forms; unknown words are ignored with a notice, as mount(8) expects. */
function mountFlags(context: Context): MountFlags {
  const flags: MountFlags = {
    readOnly: flag(context, 'readOnly'),
    allowOther: flag(context, 'allowOther'),
    dev: false,
    suid: false,
  }
  for (const word of (text(context, 'options') ?? '').split(',')) {
    if (word === 'ro') flags.readOnly = true
    else if (word === 'rw') flags.readOnly = false
    else if (word === 'allow_other') flags.allowOther = true
    else if (word === 'dev' || word === 'nodev') flags.dev = word === 'dev'
    else if (word.startsWith('names=')) flags.names = matchingOf(word.slice('names='.length))
    else if (word === 'suid' || word === 'nosuid') flags.suid = word === 'suid'
    else if (word !== '' && !GENERIC.has(word) && !word.startsWith('x-')) {
      context.output.notice(`the mount option ${word} is not known and is ignored`)
    }
  }
  return flags
}

function matchingOf(word: string): 'bytes' | 'nfc' | 'caseless' {
  if (word === 'bytes' || word === 'nfc' || word === 'caseless') return word
  throw new LatticeError('usage', `names cannot match by ${word}`, {
    hint: 'names=bytes, names=nfc or names=caseless',
  })
}
