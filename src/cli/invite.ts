// `lattice invite`: prints a code that another device joins with, and waits until it has, asking
// for the digits; with --detach it only prints.

import type { ControlClient } from '../api/client.ts'
import type { Invite } from '../api/client-pairing-types.ts'
import type { VaultStatus } from '../api/client-types.ts'
import { LatticeError } from '../util/errors.ts'
import { flag, text } from './command.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { timeText } from './output.ts'
import { askDigits, checkCanAsk, durationMs, oneVault } from './pairing.ts'

const ENDS: Partial<Record<Invite['state'], LatticeError>> = {
  expired: new LatticeError('invite-expired', 'the invite has expired, nobody joined'),
  revoked: new LatticeError('invite-revoked', 'the invite was revoked'),
  spent: new LatticeError('invite-spent', 'the invite is void: wrong digits, or tried too often'),
}

export async function run(context: Context): Promise<undefined> {
  const { output } = context
  const role = text(context, 'role') ?? 'writer'
  const lifetimeMs = durationMs(text(context, 'expires') ?? '1h')
  const isUnattended = flag(context, 'yes')
  const isDetached = flag(context, 'detach')
  if (!isDetached) checkCanAsk(context)
  await withRunningDaemon(context.paths, async (client) => {
    const vault = await oneVault(context, await client.status())
    const made = await client.invite(vault.id, { role, lifetimeMs, isUnattended })
    const { code, invite } = made
    const qr = flag(context, 'qr') && !output.json ? await qrLines(code) : []
    const first = { id: made.id, code, role, expiryMs: invite.expiryMs, vault: vault.name }
    output.result(isDetached ? first : { event: 'invite', ...first }, [code, ...qr])
    output.notice(`on the other device: lattice join CODE DIR (until ${timeText(invite.expiryMs)})`)
    if (role !== 'blind') output.notice('whoever joins can read everything, deleted files included')
    if (isDetached) return
    const joined = await untilJoined(context, client, vault, invite)
    const name = joined.device?.label ?? ''
    output.result({ event: 'joined', ...joined }, [`${name} joined as ${joined.role}`])
  })
  return undefined
}

/** Throws how the invite ended otherwise. */
export async function untilJoined(
  context: Context, client: ControlClient, vault: VaultStatus, begun: Invite,
): Promise<Invite> {
  let invite = begun
  let problem = begun.problem
  for (;;) {
    if (invite.state === 'joined') return invite
    const end = ENDS[invite.state]
    if (end !== undefined) throw end
    if (invite.problem !== undefined && invite.problem !== problem) {
      context.output.notice(`a device tried and failed: ${invite.problem}`)
    }
    problem = invite.problem
    if (invite.isAsked && invite.digits !== undefined) {
      const who = `${invite.device?.label ?? ''} (${invite.device?.key ?? ''}) wants to join`
      const decision = await askDigits(context, invite.digits, who)
      await client.decideInvite(vault.id, invite.id, { decision }).catch((error: unknown) => {
        if (!(error instanceof LatticeError) || error.code !== 'not-ready') throw error
        context.output.notice('the other device has gone')
      })
    }
    invite = await client.waitInvite(vault.id, invite.id, { revision: invite.revision })
  }
}

async function qrLines(code: string): Promise<string[]> {
  const { renderUnicodeCompact } = await import('uqr')
  return ['', ...renderUnicodeCompact(code, { border: 2 }).split('\n')]
}
