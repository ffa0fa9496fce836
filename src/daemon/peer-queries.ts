// The other devices of an open vault, for people: who is connected and how, and who is not.

import type { Peer, PeersResult } from '../api/client-pairing-types.ts'
import type { PeerStatus } from '../net/network.ts'
import type { Engine } from './engine.ts'
import { hexOf } from './membership.ts'
import type { VaultSync } from './sync.ts'

export async function peersOf(engine: Engine, sync: VaultSync | undefined): Promise<PeersResult> {
  const status = await sync?.status()
  if (status === undefined) return { state: 'off', peers: [] }
  const connected = new Map(status.peers.map((peer) => [peer.device, peer]))
  const members = engine.keys.members?.list() ?? []
  const peers: Peer[] = []
  for (const { device, label, role } of members) {
    if (role === undefined || device === engine.keys.author) continue
    const found = connected.get(device)
    const name = { device: hexOf(device).slice(0, 16), label }
    peers.push(found === undefined ? { ...name, state: 'offline' } : connectedPeer(name, found))
  }
  return { state: status.isPaused ? 'paused' : 'on', peers }
}

function connectedPeer(name: Pick<Peer, 'device' | 'label'>, found: PeerStatus): Peer {
  const { address, transport, roundTripMs } = found
  return {
    ...name, state: 'connected', address, by: transport,
    ...(roundTripMs === undefined ? {} : { roundTripMs }),
  }
}
