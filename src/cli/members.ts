// `lattice members [DIR]`: the devices of a vault, their roles, and how far their changes are here.

import type { Member, MembersResult } from '../api/client-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { countText } from './output.ts'
import { mountedVaults } from './vault-path.ts'

export async function run(context: Context): Promise<undefined> {
  const listed = await withRunningDaemon(context.paths, async (client) => {
    const all: ({ vault: string } & MembersResult)[] = []
    for (const { vault } of await mountedVaults(await client.status(), context.arguments[0])) {
      all.push({ vault: vault.name, ...(await client.members(vault.id)) })
    }
    return all
  })
  context.output.result({ vaults: listed }, listed.flatMap(({ vault, members }) => [
    `vault ${vault}: ${countText(members.length, 'device')}`,
    ...members.map(memberLine),
  ]))
  return undefined
}

function memberLine(member: Member): string {
  const self = member.self ? ', this device' : ''
  const by = member.by === undefined ? '' : `, let in by ${member.by}`
  const cut = member.cutoff === undefined ? '' : `, counts up to ${member.cutoff}`
  const batches = countText(member.batches, 'batch', 'batches')
  const key = member.device.slice(0, 16)
  return `  ${member.role.padEnd(7)}  ${key}  ${member.label}${self}${by}; ${batches}${cut}`
}
