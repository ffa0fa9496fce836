// `lattice invites wait ID`: goes on with an invite that was made with --detach.

import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { untilJoined } from './invite.ts'
import { inviteLine } from './invites.ts'
import { oneVault } from './pairing.ts'

export async function run(context: Context): Promise<undefined> {
  const id = context.arguments[0] ?? ''
  const invite = await withRunningDaemon(context.paths, async (client) => {
    const vault = await oneVault(context, await client.status())
    const begun = await client.waitInvite(vault.id, id, { revision: 0 })
    return untilJoined(context, client, vault, begun)
  })
  context.output.result(invite, [inviteLine(invite).trim()])
  return undefined
}
