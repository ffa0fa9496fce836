// `lattice init [DIR]`: a new vault, recorded for DIR.

import type { Context } from './command.ts'
import { createVault } from './creation.ts'
import { withDaemon } from './daemon-process.ts'
import { resolveDirectory } from './directories.ts'

export async function run(context: Context): Promise<undefined> {
  const directory = await resolveDirectory(context.arguments[0] ?? '.')
  await withDaemon(context.paths, async (client) => {
    const status = await client.status()
    const created = await createVault(context, client, status, { directory, forMount: false })
    const { vault } = created
    context.output.result({ vault, created: true, protection: created.protection }, [
      `vault ${vault.name} ${vault.id}`,
    ])
  })
  return undefined
}
