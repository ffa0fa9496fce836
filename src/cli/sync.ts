// `lattice sync [DIR]`: everything written so far is durable when it returns.

import type { VaultStatus } from '../api/client-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { selectVaults } from './selection.ts'

export async function run(context: Context): Promise<undefined> {
  await withRunningDaemon(context.paths, async (client) => {
    const chosen = await selectVaults(await client.status(), context.arguments[0])
    const vaults: VaultStatus[] = []
    for (const vault of chosen) {
      if (vault.mounted) vaults.push(await client.sync(vault.id))
    }
    context.output.result({ vaults }, vaults.map((vault) => `stored ${vault.directory}`))
  })
  return undefined
}
