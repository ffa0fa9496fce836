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
  const flags = mountFlags(context)
  const mounting = await whatToMount(context, flags)
  if (flag(context, 'foreground')) return runForeground(context, mounting)
  await withDaemon(context.paths, mounting)
  return undefined
}

type Mounting = (client: ControlClient) => Promise<string>

async function whatToMount(context: Context, flags: MountFlags): Promise<Mounting> {
  const [named] = context.arguments
  if (flag(context, 'all') === (named !== undefined)) {
    throw new LatticeError('usage', 'name a directory, or --all', { hint: 'lattice help mount' })
  }
  if (named === undefined) return (client) => mountAll(context, client, flags)
  const directory = await resolveDirectory(named)
  return async (client) => {
    await mount(context, client, directory, flags)
    return `mounted ${directory}`
  }
}

/** Every recorded vault that is not mounted. One that fails does not keep the others. */
async function mountAll(
  context: Context, client: ControlClient, flags: MountFlags,
): Promise<string> {
  const { vaults } = await client.status()
  const waiting = vaults.filter(({ mounted }) => !mounted)
  let failure: unknown
  let count = vaults.length - waiting.length
  for (const { directory } of waiting) {
    try {
      await mount(context, client, directory, flags)
      count += 1
    } catch (error) {
      failure = error
      const what = error instanceof Error ? error.message : String(error)
      context.output.warning(`${directory} is not mounted: ${what}`)
    }
  }
  if (count === 0 && failure !== undefined) throw failure
  return `${count} of ${vaults.length} vaults mounted`
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
  context: Context, mounting: Mounting,
): Promise<number | undefined> {
  const { serveForeground } = await import('./foreground.ts')
  return serveForeground(context.paths, async () => {
    const client = await ControlClient.connect(context.paths.socket)
    try {
      return await mounting(client)
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
