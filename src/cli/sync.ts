// `lattice sync [DIR]`: everything written so far is durable when it returns.

import type { VaultStatus } from '../api/client-types.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { selectVaults } from './selection.ts'

export async function run(context: Context): Promise<undefined> {
  const vaults = await withRunningDaemon(context.paths, async (client) => {
    const status = await client.status()
    const named = context.arguments[0]
    const chosen = named === undefined ? status.vaults : await selectVaults(status, named)
    const mounted = chosen.filter((vault) => vault.mounted)
    if (mounted.length === 0) throw nothingMounted()
    const synced: VaultStatus[] = []
    for (const vault of mounted) synced.push(await client.sync(vault.id))
    return synced
  }).catch((error: unknown) => {
    throw isLatticeError(error, 'daemon-not-running') ? nothingMounted() : error
  })
  context.output.result({ vaults }, vaults.map((vault) => `stored ${vault.directory}`))
  return undefined
}

function nothingMounted(): LatticeError {
  return new LatticeError('not-mounted', 'it is not mounted: there is nothing to store')
}
