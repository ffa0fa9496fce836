// What an epoch's keys are on the network. Nothing of it is published: every member, blind ones
// included, computes it for every other member, and a removed one cannot for the epochs after.
//
//   Noise key pair of a device   Ed25519 from KDF(K_topic, 'lattice/0/noise', device id 32)
//   tag key                      KDF(K_topic, 'lattice/0/door')
//   door tag                     first 16 bytes of keyed BLAKE2b-256(tag key,
//                                'lattice/0/door' ‖ nonce 8 ‖ device id 32)
//   topic                        KDF(K_topic, 'lattice/0/topic')
//   LAN tag                      first 8 bytes of KDF(K_topic, 'lattice/0/lan', UTC day u32 ‖
//                                device id 32)
//   proof key                    KDF(K_ctl, 'lattice/0/proof')
//
// The device id of 32 zero bytes means whichever member listens there (an address that a person
// wrote down): its Noise key is one that all members have, so it hides the connection from others
// and says nothing about who answers. The proof (proof.ts) says that in any case.

import { blake2bKeyed } from '../crypto/hash.ts'
import { deriveKey } from '../crypto/kdf.ts'
import type { Secret } from '../crypto/secret.ts'
import { equalSecrets, wipe } from '../crypto/secret.ts'
import { signKeyPair } from '../crypto/sign.ts'
import { AUTHOR_BYTES } from '../ops/bounds.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { equalBytes, utf8, writeU32 } from '../util/bytes.ts'
import { DOOR_TAG_BYTES } from './doors.ts'
import type { DialDoor } from './doors.ts'
import type { NoiseKeyPair } from './noise-stream.ts'
import type { NetworkEpoch } from './ports.ts'

export const LAN_TAG_BYTES = 8

/** Doors are open, and proofs are taken, for so many of the newest epochs. */
export const DOOR_EPOCHS = 8
/** Peers are looked up on the topics of so many. */
export const LOOKUP_EPOCHS = 4

/** Whichever member listens at an address. */
export const ANY_DEVICE = '\0'.repeat(AUTHOR_BYTES) as AuthorId

const DOOR_LABEL = utf8('lattice/0/door')
const DAY_MS = 86_400_000

export function deviceBytes(device: AuthorId): Uint8Array {
  assert(device.length === AUTHOR_BYTES, 'a device id has 32 bytes')
  return Buffer.from(device, 'latin1')
}

export function deviceId(bytes: Uint8Array): AuthorId {
  assert(bytes.length === AUTHOR_BYTES, 'a device id has 32 bytes')
  return Buffer.from(bytes).toString('latin1') as AuthorId
}

export function deviceHex(device: AuthorId): string {
  return Buffer.from(device, 'latin1').toString('hex')
}

export function utcDay(nowMs: number): number {
  return Math.floor(nowMs / DAY_MS)
}

/** `device` undefined for a door that belongs to no device, that of an invite. */
export function doorTag(
  tagKey: Uint8Array, nonce: Uint8Array, device: AuthorId | undefined,
): Uint8Array {
  const who = device === undefined ? [] : [deviceBytes(device)]
  return blake2bKeyed(tagKey, 32, DOOR_LABEL, nonce, ...who).subarray(0, DOOR_TAG_BYTES)
}

/** The keys of one epoch. They stay this object's; wipe() ends it. */
export class EpochNetwork {
  readonly epochId: Uint8Array
  readonly topic: Buffer
  readonly #topicKey: Uint8Array
  readonly #tagKey: Secret
  readonly #proofKey: Secret
  readonly #pairs = new Map<AuthorId, NoiseKeyPair>()
  readonly #publicKeys = new Map<AuthorId, Uint8Array>()

  constructor(epoch: NetworkEpoch) {
    this.epochId = epoch.epochId
    this.#topicKey = epoch.topicKey
    this.#tagKey = deriveKey(epoch.topicKey, 'lattice/0/door')
    this.#proofKey = deriveKey(epoch.controlKey, 'lattice/0/proof')
    // a topic goes to strangers (the nodes of a DHT): it needs no guarded memory
    const topic = deriveKey(epoch.topicKey, 'lattice/0/topic')
    this.topic = Buffer.from(topic)
    wipe(topic)
  }

  get proofKey(): Uint8Array {
    return this.#proofKey
  }

  noiseKeyPair(device: AuthorId): NoiseKeyPair {
    let pair = this.#pairs.get(device)
    if (pair === undefined) {
      const seed = deriveKey(this.#topicKey, 'lattice/0/noise', deviceBytes(device))
      pair = signKeyPair(seed)
      wipe(seed)
      this.#pairs.set(device, pair)
    }
    return pair
  }

  noisePublicKey(device: AuthorId): Uint8Array {
    let key = this.#publicKeys.get(device) ?? this.#pairs.get(device)?.publicKey
    if (key === undefined) {
      const seed = deriveKey(this.#topicKey, 'lattice/0/noise', deviceBytes(device))
      const pair = signKeyPair(seed)
      key = pair.publicKey
      wipe(pair.secretKey)
      wipe(seed)
      this.#publicKeys.set(device, key)
    }
    return key
  }

  /** Whether the tag is that of this epoch's door to the device. */
  opens(device: AuthorId, nonce: Uint8Array, tag: Uint8Array): boolean {
    return equalSecrets(doorTag(this.#tagKey, nonce, device), tag)
  }

  dialDoor(device: AuthorId): DialDoor {
    return {
      remotePublicKey: this.noisePublicKey(device),
      tag: (nonce) => doorTag(this.#tagKey, nonce, device),
    }
  }

  lanTag(device: AuthorId, day: number): Uint8Array {
    const context = new Uint8Array(4 + AUTHOR_BYTES)
    writeU32(context, 0, day)
    context.set(deviceBytes(device), 4)
    const key = deriveKey(this.#topicKey, 'lattice/0/lan', context)
    const tag = new Uint8Array(key.subarray(0, LAN_TAG_BYTES))
    wipe(key)
    return tag
  }

  wipe(): void {
    wipe(this.#tagKey)
    wipe(this.#proofKey)
    for (const { secretKey } of this.#pairs.values()) wipe(secretKey)
    this.#pairs.clear()
  }
}

/** The epochs that doors and proofs are good for, newest first; those in `before` are kept. */
export function epochNetworks(
  epochs: readonly NetworkEpoch[], before: readonly EpochNetwork[] = [],
): EpochNetwork[] {
  return epochs.slice(-DOOR_EPOCHS).toReversed().map((epoch) => (
    before.find((kept) => equalBytes(kept.epochId, epoch.epochId)) ?? new EpochNetwork(epoch)
  ))
}
