// `lattice pin PATH`, `lattice unpin PATH`, `lattice pins [DIR]`: what is kept on this device.

import { setTimeout as delay } from 'node:timers/promises'
import type { VaultStatus } from '../api/client-types.ts'
import type { Pin } from '../api/client-where-types.ts'
import type { ControlClient } from '../api/client.ts'
import { LatticeError } from '../util/errors.ts'
import type { Context } from './command.ts'
import { flag } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { bytesText, countText } from './output.ts'
import { mountedVaults, shownPath, vaultPath } from './vault-path.ts'

const POLL_MS = 250

export async function pin(context: Context): Promise<undefined> {
  const { output } = context
  const { vault, made } = await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    const { pins: [begun] } = await client.pin(vault.id, { path })
    if (begun === undefined) throw new LatticeError('not-found', 'it was removed meanwhile')
    const waits = flag(context, 'wait')
    return { vault, made: waits ? await whole(context, client, vault, begun) : begun }
  })
  output.result({ vault: vault.name, pin: made }, [pinLine(vault, made).trim()])
  return undefined
}

export async function unpin(context: Context): Promise<undefined> {
  const { vault, gone } = await withRunningDaemon(context.paths, async (client) => {
    const { vault, path } = await vaultPath(await client.status(), context.arguments[0] ?? '')
    return { vault, gone: (await client.unpin(vault.id, { path })).pins }
  })
  const lines = gone.map((one) => `no longer kept: ${shownPath(vault, one.path ?? one.said)}`)
  context.output.result({ vault: vault.name, unpinned: gone }, lines)
  return undefined
}

export async function pins(context: Context): Promise<undefined> {
  const vaults = await withRunningDaemon(context.paths, async (client) => {
    const all: { vault: VaultStatus; pins: Pin[] }[] = []
    for (const { vault } of await mountedVaults(await client.status(), context.arguments[0])) {
      all.push({ vault, ...(await client.pins(vault.id)) })
    }
    return all
  })
  const value = vaults.map(({ vault, pins: kept }) => ({ vault: vault.name, pins: kept }))
  context.output.result({ vaults: value }, vaults.flatMap(({ vault, pins: kept }) => [
    `vault ${vault.name}: ${countText(kept.length, 'pin')}`,
    ...kept.map((one) => pinLine(vault, one)),
  ]))
  return undefined
}

/** Shows how far it is whenever that changes. */
async function whole(
  context: Context, client: ControlClient, vault: VaultStatus, begun: Pin,
): Promise<Pin> {
  let shown = ''
  for (let now = begun; ;) {
    if (now.state === 'whole') return now
    if (now.state === 'gone') throw new LatticeError('not-found', 'it was removed meanwhile')
    const text = JSON.stringify(now)
    if (text !== shown) context.output.progress(now, pinLine(vault, now).trim())
    shown = text
    await delay(POLL_MS)
    const { pins: all } = await client.pins(vault.id)
    const same = all.find(({ said, path }) => said === begun.said && path !== undefined)
    if (same === undefined) throw new LatticeError('not-found', 'it is not pinned any more')
    now = same
  }
}

function pinLine(vault: VaultStatus, one: Pin): string {
  const { state, files, bytes, missingFiles, missingBytes, reason } = one
  const seen = `${countText(files, 'file')}, ${bytesText(bytes)}`
  const missing = missingFiles === 0
    ? ''
    : `, of ${countText(missingFiles, 'file')} ${bytesText(missingBytes)} missing`
  const why = reason === undefined ? '' : ` (${reason})`
  return `  ${state.padEnd(7)}  ${shownPath(vault, one.path ?? one.said)}: ${seen}${missing}${why}`
}
