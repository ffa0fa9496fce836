// From an engine's keys and members to what the network goes by: who belongs to the vault, and the
// keys of its epochs. Everything is copied: it moves to another thread, which wipes it.

import { signKeyPair } from '../crypto/sign.ts'
import type { NetworkKeys, NetworkMember } from '../net/ports.ts'
import type { AuthorId } from '../ops/types.ts'
import type { Members } from '../state/members.ts'
import { VaultMembers } from '../vault/members-view.ts'
import type { Engine } from './engine.ts'
import type { EngineKeys } from './engine-keys.ts'
import type { ContentKeys } from './sync-protocol.ts'

/** A device that is known before the control ops are: it let this one in. */
export interface KnownDevice {
  device: AuthorId
  label: string
}

/** Whether anybody else belongs to the vault; also before this device knows who. */
export function isShared(engine: Engine): boolean {
  const members = membersAhead(engine)
  const { author } = engine.keys
  if (members?.hasGenesis !== true) return true
  return members.list().some(({ device, role }) => role !== undefined && device !== author)
}

export function networkKeysOf(engine: Engine, known: readonly KnownDevice[]): NetworkKeys {
  const { keys } = engine
  return {
    vaultId: keys.coreKeys.vaultId.slice(),
    self: keys.author,
    signKeyPair: copyPair(signKeyPair(keys.signSeed)),
    epochs: keys.epochs.map(({ epochId, controlKey, topicKey }) => ({
      epochId: epochId.slice(),
      controlKey: new Uint8Array(controlKey),
      topicKey: new Uint8Array(topicKey),
    })),
    members: membersOf(membersAhead(engine), known),
  }
}

export function contentKeysOf(keys: EngineKeys): ContentKeys {
  return {
    epochs: keys.bundleKeys().map(({ epochId, key }) => ({
      epochId: epochId.slice(), bundleKey: new Uint8Array(key),
    })),
  }
}

/** A blind device applies little, and hears of members ahead of it. */
function membersAhead({ core, keys }: Engine): Members | undefined {
  const { membersAhead: ahead } = core
  return ahead instanceof VaultMembers ? ahead.members : keys.members
}

function membersOf(
  members: Members | undefined, known: readonly KnownDevice[],
): NetworkMember[] {
  if (members?.hasGenesis !== true) {
    return known.map(({ device, label }) => ({ device, role: 'admin', label }))
  }
  return members.list().flatMap(({ device, role, label }) => (
    role === undefined ? [] : [{ device, role, label }]
  ))
}

function copyPair(
  { publicKey, secretKey }: { publicKey: Uint8Array; secretKey: Uint8Array },
): NetworkKeys['signKeyPair'] {
  return { publicKey: new Uint8Array(publicKey), secretKey: new Uint8Array(secretKey) }
}
