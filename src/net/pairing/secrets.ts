// What comes from the seed of an invite code, each by a label of its own: the door (tag key, Noise
// key of the listener, topic), the code key that the vault names and the joiner proves to have, and
// the key of the joiner's unfinished join on its disk. A recovery phrase has a door too: it comes
// from the phrase's public key, which members know and whoever has the words.

import { blake2b } from '../../crypto/hash.ts'
import { deriveKey } from '../../crypto/kdf.ts'
import { takeSecret, wipe } from '../../crypto/secret.ts'
import type { Secret } from '../../crypto/secret.ts'
import { signKeyPair } from '../../crypto/sign.ts'
import type { SignKeyPair } from '../../crypto/sign.ts'
import { assert } from '../../util/assert.ts'
import { utf8 } from '../../util/bytes.ts'
import { SEED_BYTES } from './code.ts'
import type { DoorSecrets } from './ports.ts'

export interface InviteSecrets {
  door: DoorSecrets
  /** Its public key stands in the vault's invite op. */
  code: SignKeyPair
  joinKey: Secret
}

/** The caller wipes what is secret: wipeInvite(). */
export function inviteSecrets(seed: Uint8Array): InviteSecrets {
  assert(seed.length === SEED_BYTES, 'seed length')
  const root = takeSecret(blake2b(32, utf8('lattice/0/invite-seed'), seed))
  const codeSeed = deriveKey(root, 'lattice/0/invite-code')
  const secrets = {
    door: doorSecrets(root),
    code: signKeyPair(codeSeed),
    joinKey: deriveKey(root, 'lattice/0/invite-join'),
  }
  wipe(codeSeed)
  wipe(root)
  return secrets
}

/** Where the phrase's vault is asked for. `signKey`: the phrase's public Ed25519 key. */
export function recoveryDoor(signKey: Uint8Array): DoorSecrets {
  const root = deriveKey(signKey, 'lattice/0/recovery-topic')
  const door = doorSecrets(root)
  wipe(root)
  return door
}

export function wipeDoor({ tagKey, noise }: DoorSecrets): void {
  wipe(tagKey)
  wipe(noise.secretKey)
}

export function wipeInvite({ door, code, joinKey }: InviteSecrets): void {
  wipeDoor(door)
  wipe(code.secretKey)
  wipe(joinKey)
}

function doorSecrets(root: Secret): DoorSecrets {
  const seed = deriveKey(root, 'lattice/0/pairing-noise')
  const noise = signKeyPair(seed)
  wipe(seed)
  return {
    tagKey: deriveKey(root, 'lattice/0/pairing-door'),
    noise,
    topic: new Uint8Array(deriveKey(root, 'lattice/0/pairing-topic')),
  }
}
