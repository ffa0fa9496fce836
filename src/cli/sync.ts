// `lattice sync [DIR]`: everything written so far is durable when it returns; with --wait others
// can have it, with --copies N so many connected devices hold it.

import { setTimeout as delay } from 'node:timers/promises'
import type { VaultStatus } from '../api/client-types.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { ControlClient } from '../api/client.ts'
import type { Context } from './command.ts'
import { flag, text } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { selectVaults } from './selection.ts'

const POLL_MS = 500

export async function run(context: Context): Promise<undefined> {
  const copies = copiesOf(context)
  const vaults = await withRunningDaemon(context.paths, async (client) => {
    const status = await client.status()
    const named = context.arguments[0]
    const chosen = named === undefined ? status.vaults : await selectVaults(status, named)
    const mounted = chosen.filter((vault) => vault.mounted)
    if (mounted.length === 0) throw nothingMounted()
    const synced: VaultStatus[] = []
    for (const vault of mounted) {
      synced.push(await client.sync(vault.id))
      if (flag(context, 'wait')) await untilHeld(context, client, vault, copies)
    }
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

/** Throws 'usage'. */
function copiesOf(context: Context): number {
  const said = text(context, 'copies')
  if (said === undefined) return 0
  const copies = Number(said)
  if (/^[0-9]+$/.test(said) && copies >= 1 && copies <= 255 && flag(context, 'wait')) return copies
  throw new LatticeError('usage', '--copies takes a number of devices from 1 to 255, with --wait')
}

async function untilHeld(
  context: Context, client: ControlClient, vault: VaultStatus, copies: number,
): Promise<void> {
  let shown = ''
  for (;;) {
    const state = await client.copies(vault.id, { copies })
    const { batches, published, connected, acknowledged, bundles, held } = state
    const others = copies === 0
      ? ''
      : `; ${connected} connected, ${acknowledged} have all names, ` +
        `${held} of ${bundles} bundles held`
    const line = `${vault.name}: ${published} of ${batches} batches published${others}`
    if (line !== shown) context.output.progress({ vault: vault.name, ...state }, line)
    const isMoving = line !== shown
    shown = line
    if (state.done) return
    await delay(isMoving ? POLL_MS / 10 : POLL_MS)
  }
}
