// `lattice invites`: the invites that this device has issued, and how they stand.

import type { Invite } from '../api/client-pairing-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { timeText } from './output.ts'
import { mountedVaults } from './vault-path.ts'

export async function run(context: Context): Promise<undefined> {
  const vaults = await withRunningDaemon(context.paths, async (client) => {
    const all: { vault: string; invites: Invite[] }[] = []
    for (const { vault } of await mountedVaults(await client.status(), context.arguments[0])) {
      all.push({ vault: vault.name, invites: (await client.invites(vault.id)).invites })
    }
    return all
  })
  context.output.result({ vaults }, vaults.flatMap(({ vault, invites }) => [
    `vault ${vault}: ${invites.length === 0 ? 'no invites' : ''}`.trimEnd(),
    ...invites.map(inviteLine),
  ]))
  return undefined
}

export function inviteLine(invite: Invite): string {
  const { id, role, state, expiryMs, device, digits, problem } = invite
  const who = device === undefined ? '' : `, ${device.label} (${device.key})`
  const shown = digits === undefined ? '' : `, digits ${digits}`
  const why = problem === undefined || state === 'joined' ? '' : `, ${problem}`
  const until = state === 'waiting' ? ` until ${timeText(expiryMs)}` : ''
  return `  ${id}  ${role.padEnd(7)}  ${state}${until}${who}${shown}${why}`
}
