// `lattice invites revoke ID`: nobody can join by it any more.

import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { inviteLine } from './invites.ts'
import { oneVault } from './pairing.ts'

export async function run(context: Context): Promise<undefined> {
  const id = context.arguments[0] ?? ''
  const invite = await withRunningDaemon(context.paths, async (client) => (
    client.revokeInvite((await oneVault(context, await client.status())).id, id)
  ))
  context.output.result(invite, [inviteLine(invite).trim()])
  return undefined
}
