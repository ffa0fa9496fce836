// Key derivation. One rule for all keys:
//
//   child = BLAKE3-256 keyed with the parent, over u8 length of label ‖ label ‖ context
//
// A label names exactly one purpose and is never used for another. Labels are append-only, since
// what they derived is on disk. Contexts are empty or of fixed length per label.

import { assert } from '../util/assert.ts'
import { EMPTY_BYTES, utf8 } from '../util/bytes.ts'
import { blake3Keyed } from './hash.ts'
import { takeSecret } from './secret.ts'
import type { Secret } from './secret.ts'

export type KdfLabel =
  // From an epoch's K_e
  | 'lattice/0/op'
  | 'lattice/0/bundle'
  // From the local database key of a vault on this device
  | 'lattice/0/db-value'
  | 'lattice/0/db-index'
  | 'lattice/0/local-journal'
  | 'lattice/0/local-pack'
  | 'lattice/0/local-invites'
  | 'lattice/0/local-pins'
  | 'lattice/0/local-held'
  // From K_id
  | 'lattice/0/node-id'
  | 'lattice/0/manifest-split'
  // From the entropy of a recovery phrase
  | 'lattice/0/recovery-box'
  | 'lattice/0/recovery-sign'
  // From the public sign key of a recovery phrase, which its members know: where it is asked for
  | 'lattice/0/recovery-topic'
  // From the seed of an invite, and (the first three) from what a phrase's topic key gives
  | 'lattice/0/pairing-door'
  | 'lattice/0/pairing-noise'
  | 'lattice/0/pairing-topic'
  | 'lattice/0/invite-code'
  | 'lattice/0/invite-join'
  // From the entropy of a recovery phrase: seals a recovery that is not finished
  | 'lattice/0/recovery-join'
  // Commitments to the keys of an epoch: under K_e and under K_ctl
  | 'lattice/0/epoch-commit'
  | 'lattice/0/control-commit'
  // From H_e and from K_ctl: seal the keys of the epochs before
  | 'lattice/0/chain'
  | 'lattice/0/control-chain'
  // From K_topic: Noise key pairs, tags of doors, where peers meet (net/network-keys.ts)
  | 'lattice/0/noise'
  | 'lattice/0/door'
  | 'lattice/0/topic'
  | 'lattice/0/lan'
  // From K_ctl: proofs of membership on a connection
  | 'lattice/0/proof'

const LABEL_BYTES = new Map<KdfLabel, Uint8Array>()

/** 32 bytes in guarded memory; the caller wipes them. */
export function deriveKey(
  parent: Uint8Array,
  label: KdfLabel,
  context: Uint8Array = EMPTY_BYTES,
): Secret {
  return takeSecret(blake3Keyed(parent, labelBytes(label), context))
}

/** K_op of an epoch: seals op batches. */
export function opKey(epochKey: Uint8Array): Secret {
  return deriveKey(epochKey, 'lattice/0/op')
}

/** K_bundle of an epoch: seals bundles. */
export function bundleKey(epochKey: Uint8Array): Secret {
  return deriveKey(epochKey, 'lattice/0/bundle')
}

/** The public commitment to K_e and H_e that an epoch op carries, 32 bytes. */
export function epochCommitment(
  epochKey: Uint8Array,
  historyKey: Uint8Array = EMPTY_BYTES,
): Buffer {
  return blake3Keyed(epochKey, labelBytes('lattice/0/epoch-commit'), historyKey)
}

/** The one to K_ctl and K_topic, which blind members check. */
export function controlCommitment(controlKey: Uint8Array, topicKey: Uint8Array): Buffer {
  return blake3Keyed(controlKey, labelBytes('lattice/0/control-commit'), topicKey)
}

function labelBytes(label: KdfLabel): Uint8Array {
  let bytes = LABEL_BYTES.get(label)
  if (bytes === undefined) {
    const text = utf8(label)
    assert(text.length > 0 && text.length < 256, 'label length')
    bytes = new Uint8Array(1 + text.length)
    bytes[0] = text.length
    bytes.set(text, 1)
    LABEL_BYTES.set(label, bytes)
  }
  return bytes
}
