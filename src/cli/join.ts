// `lattice join CODE DIR`: this machine becomes a device of the vault that the code invites to, and
// mounts it; `lattice recover DIR` does the same with the 24 words.

import { setTimeout as delay } from 'node:timers/promises'
import type { ControlClient } from '../api/client.ts'
import type { Join } from '../api/client-pairing-types.ts'
import type { KeyAccess, Status } from '../api/client-types.ts'
import { LatticeError } from '../util/errors.ts'
import { flag, text } from './command.ts'
import type { Context } from './command.ts'
import { withDaemon } from './daemon-process.ts'
import { resolveDirectory } from './directories.ts'
import { askDigits, checkCanAsk, failure } from './pairing.ts'
import { UNPROTECTED_WARNING, newPassphrase, withKeyAccess } from './passphrase.ts'

const HISTORY_WAIT_MS = 30_000
const HISTORY_POLL_MS = 100

export async function run(context: Context): Promise<undefined> {
  const code = context.arguments[0] ?? ''
  const directory = await resolveDirectory(context.arguments[1] ?? '')
  checkCanAsk(context)
  const isUnattended = flag(context, 'yes')
  await joining(context, (client, access) => (
    client.join({ ...access, ...requestOf(context, directory), code, isUnattended })
  ))
  return undefined
}

/** What join and recover send alike. */
export function requestOf(
  context: Context, directory: string,
): { directory: string; label?: string; peers: string[] } {
  const label = text(context, 'label')
  const peers = (text(context, 'peer') ?? '').split(',').filter((peer) => peer !== '')
  return { directory, peers, ...(label === undefined ? {} : { label }) }
}

/** Begins, answers for this screen, and mounts what came of it. */
export async function joining(
  context: Context,
  begin: (client: ControlClient, access: KeyAccess) => Promise<Join>,
): Promise<void> {
  const { output } = context
  await withDaemon(context.paths, async (client) => {
    const status = await client.status()
    const begun = await withAccess(context, status, (access) => begin(client, access))
    const joined = await untilJoined(context, client, begun)
    if (joined.isNewKeyFile === true && joined.protection === 'none') {
      output.warning(UNPROTECTED_WARNING)
    }
    const directory = joined.vault?.directory ?? ''
    const isMounted = joined.role !== 'blind' && context.options['mount'] !== false
    if (isMounted) {
      const options = { readOnly: false, allowOther: false, dev: false, suid: false }
      await client.mount(joined.vaultId ?? '', options)
      await untilMember(context, client, joined.vaultId ?? '')
    }
    const lines = [`joined ${joined.vaultName ?? ''} as ${joined.role ?? ''}`]
    if (isMounted) lines.push(`mounted ${directory}`)
    output.result({ ...joined, mounted: isMounted }, lines)
  })
}

/** The history comes from the devices that are there; who waits for it may as well see it come. */
async function untilMember(
  context: Context, client: ControlClient, vaultId: string,
): Promise<void> {
  const end = performance.now() + HISTORY_WAIT_MS
  let isTold = false
  while (performance.now() < end) {
    const { vaults } = await client.status()
    if (vaults.find(({ id }) => id === vaultId)?.role !== undefined) return
    if (!isTold) context.output.notice('the history is coming')
    isTold = true
    await delay(HISTORY_POLL_MS)
  }
  context.output.warning('the history has not come yet: until it has, nothing can be changed')
}

async function untilJoined(
  context: Context, client: ControlClient, begun: Join,
): Promise<Join> {
  let join = begun
  let shown = ''
  const stop = (): void => void client.decideJoin(join.id, { decision: 'refuse' }).catch(() => {})
  process.prependOnceListener('SIGINT', stop)
  for (;;) {
    if (join.state === 'joined') return join
    if (join.state === 'failed') {
      throw failure(join.problem ?? { reason: 'internal', message: 'joining failed' })
    }
    if (join.state !== shown) context.output.notice(progressOf(join))
    shown = join.state
    if (join.isAsked && join.digits !== undefined) {
      const inviter = `${join.inviter?.label ?? ''} (${join.inviter?.key ?? ''})`
      const what = `${inviter} lets this device into ${join.vaultName ?? ''} as ${join.role ?? ''}`
      const decision = await askDigits(context, join.digits, what)
      await client.decideJoin(join.id, { decision }).catch((error: unknown) => {
        if (!(error instanceof LatticeError) || error.code !== 'not-ready') throw error
      })
    }
    join = await client.waitJoin(join.id, { revision: join.revision })
  }
}

function progressOf({ state, digits }: Join): string {
  if (state === 'connecting') return 'looking for the other device'
  if (state === 'comparing') return `the digits are ${digits ?? ''}: confirm them on both devices`
  return 'storing the keys'
}

function withAccess(
  context: Context, status: Status, use: (access: KeyAccess) => Promise<Join>,
): Promise<Join> {
  return status.keys.state === 'absent'
    ? newPassphrase(context).then(use)
    : withKeyAccess(context, status.keys, use)
}
