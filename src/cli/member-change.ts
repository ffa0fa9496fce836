// `lattice remove`, `role`, `rotate`, `rename-device`: changes of one vault's members.

import type { ControlClient } from '../api/client.ts'
import type { MemberResult } from '../api/client-pairing-types.ts'
import type { VaultStatus } from '../api/client-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { confirm, oneVault } from './pairing.ts'

export async function removeDevice(context: Context): Promise<undefined> {
  const device = context.arguments[0] ?? ''
  return change(context, (client, { id }) => client.removeMember(id, { device }), {
    question: `Remove ${device}? It keeps what it has, and gets nothing more`,
    line: ({ label }) => `removed ${label}; a new epoch seals from now on`,
  })
}

export async function setRole(context: Context): Promise<undefined> {
  const [device = '', role = ''] = context.arguments
  return change(context, (client, { id }) => client.setRole(id, { device, role }), {
    line: (result) => `${result.label} is ${result.role} now`,
  })
}

export async function rotate(context: Context): Promise<undefined> {
  return change(context, (client, { id }) => client.rotate(id), {
    line: ({ epoch }) => `epoch ${epoch} seals from now on`,
  })
}

export async function renameDevice(context: Context): Promise<undefined> {
  const label = context.arguments[0] ?? ''
  return change(context, (client, { id }) => client.renameDevice(id, { label }), {
    line: (result) => `this device is called ${result.label} now`,
  })
}

async function change(
  context: Context,
  act: (client: ControlClient, vault: VaultStatus) => Promise<MemberResult>,
  texts: { question?: string; line: (result: MemberResult) => string },
): Promise<undefined> {
  const result = await withRunningDaemon(context.paths, async (client) => {
    const vault = await oneVault(context, await client.status())
    if (texts.question !== undefined) await confirm(context, texts.question)
    return act(client, vault)
  })
  context.output.result(result, [texts.line(result)])
  return undefined
}
