// `lattice peers [DIR]`: which devices are connected now, and how.

import type { Peer, PeersResult } from '../api/client-pairing-types.ts'
import type { Context } from './command.ts'
import { withRunningDaemon } from './daemon-process.ts'
import { timeText } from './output.ts'
import { mountedVaults } from './vault-path.ts'

export async function run(context: Context): Promise<undefined> {
  const vaults = await withRunningDaemon(context.paths, async (client) => {
    const all: ({ vault: string } & PeersResult)[] = []
    for (const { vault } of await mountedVaults(await client.status(), context.arguments[0])) {
      all.push({ vault: vault.name, ...(await client.peers(vault.id)) })
    }
    return all
  })
  context.output.result({ vaults }, vaults.flatMap(({ vault, state, peers }) => [
    `vault ${vault}: sync is ${state}`, ...peers.map(peerLine),
  ]))
  return undefined
}

function peerLine(peer: Peer): string {
  const by = peer.by === undefined ? '' : `, ${peer.by}`
  const at = peer.address === undefined ? '' : ` ${peer.address}`
  const time = peer.roundTripMs === undefined ? '' : `, ${Math.round(peer.roundTripMs)} ms`
  const isSeen = peer.state === 'offline' && peer.lastSeenMs !== undefined
  const seen = isSeen ? `, seen ${timeText(peer.lastSeenMs ?? 0)}` : ''
  return `  ${peer.state.padEnd(10)}  ${peer.device}  ${peer.label}${by}${at}${time}${seen}`
}
