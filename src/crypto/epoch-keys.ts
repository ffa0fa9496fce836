// An epoch's keys on their way to members: boxed to each of them, checked against the commitments
// that the epoch op carries, and the chain by which one epoch's keys open the epochs before it.
//
//   full box    X25519 sealed box of K_e ‖ H_e ‖ K_ctl ‖ K_topic    176 bytes
//   blind box   the same of K_ctl ‖ K_topic                         112 bytes
//   chain entry nonce 24 ‖ XChaCha20-Poly1305 of K_e ‖ H_e of the parent      under H_e
//               nonce 24 ‖ XChaCha20-Poly1305 of K_ctl ‖ K_topic of it        under K_ctl
//     key = KDF(H_e, 'lattice/0/chain') or KDF(K_ctl, 'lattice/0/control-chain')
//     associated data = vault id ‖ epoch id of the parent ‖ both commitments of the child
//
// A box that opens to keys other than those committed to is refused: no two members can be given
// different keys under one epoch without one of them seeing it.

import { assert } from '../util/assert.ts'
import { concatBytes, equalBytes } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { NONCE_BYTES, TAG_BYTES, openMessage, sealMessage } from './aead.ts'
import { boxSealWith } from './box.ts'
import { controlCommitment, deriveKey, epochCommitment } from './kdf.ts'
import { newSecret, secretFrom, wipe } from './secret.ts'
import type { Secret } from './secret.ts'
import { boxOpen } from './sign.ts'
import type { BoxKeyPair } from './sign.ts'
import { isBlind } from './vault-keys.ts'
import type { EpochKeys } from './vault-keys.ts'

const KEY_BYTES = 32
const CHAIN_BYTES = NONCE_BYTES + 2 * KEY_BYTES + TAG_BYTES

export interface EpochCommitments {
  epochCommitment: Uint8Array
  controlCommitment: Uint8Array
}

/** What the op that makes the epoch says about its keys. */
export function commitmentsOf(epoch: Omit<EpochKeys, 'epochId'>): EpochCommitments {
  return {
    epochCommitment: new Uint8Array(epochCommitment(epoch.epochKey, epoch.historyKey)),
    controlCommitment: new Uint8Array(controlCommitment(epoch.controlKey, epoch.topicKey)),
  }
}

/** For a member's box key; a blind one gets K_ctl and K_topic. `seed`: 32 random bytes, used
 * once. */
export function boxEpochKeys(
  epoch: Omit<EpochKeys, 'epochId'>,
  boxKey: Uint8Array,
  kind: 'full' | 'blind',
  seed: Uint8Array,
): Uint8Array {
  assert(kind === 'blind' || !isBlind(epoch), 'a blind device has no keys to give')
  const keys = kind === 'full' ? [epoch.epochKey, epoch.historyKey] : []
  const plain = secretFrom(concatBytes(...keys, epoch.controlKey, epoch.topicKey))
  const box = boxSealWith(plain, boxKey, seed)
  wipe(plain)
  return new Uint8Array(box)
}

/**
 * The keys in a box, in guarded memory. Throws 'unauthentic' when it is not for this pair or
 * damaged, and 'invalid' with details.rule 'epoch-commitment' when its keys are not those that the
 * epoch commits to: the member reports that (device-info), and the epoch is none for it.
 */
export function openEpochKeys(
  epochId: Uint8Array,
  box: Uint8Array,
  pair: BoxKeyPair,
  commitments: EpochCommitments,
): EpochKeys {
  const plain = boxOpen(box, pair)
  if (plain === null) throw new LatticeError('unauthentic', 'a key box does not open')
  try {
    return checkedKeys(epochId, plain, commitments)
  } finally {
    wipe(plain)
  }
}

/** Both entries by which the keys of `child` open those of `parent`. */
export function sealChain(
  vaultId: Uint8Array,
  parent: EpochKeys,
  child: Omit<EpochKeys, 'epochId'>,
  nonces: { chain: Uint8Array; controlChain: Uint8Array },
): { chain: Uint8Array; controlChain: Uint8Array } {
  const ad = chainAd(vaultId, parent.epochId, commitmentsOf(child))
  const controlKey = deriveKey(child.controlKey, 'lattice/0/control-chain')
  const historyKey = deriveKey(child.historyKey, 'lattice/0/chain')
  const full = secretFrom(concatBytes(parent.epochKey, parent.historyKey))
  const control = secretFrom(concatBytes(parent.controlKey, parent.topicKey))
  const entries = {
    chain: sealEntry(historyKey, nonces.chain, ad, full),
    controlChain: sealEntry(controlKey, nonces.controlChain, ad, control),
  }
  for (const secret of [controlKey, historyKey, full, control]) wipe(secret)
  return entries
}

/**
 * The parent's keys; a blind child opens the control entry only and gives a blind parent. Throws
 * 'unauthentic', or 'invalid' with rule 'epoch-commitment' when they are not the parent's.
 */
export function openChain(
  vaultId: Uint8Array,
  parent: { epochId: Uint8Array; commitments: EpochCommitments },
  child: EpochKeys,
  childCommitments: EpochCommitments,
  entries: { chain: Uint8Array; controlChain: Uint8Array },
): EpochKeys {
  const ad = chainAd(vaultId, parent.epochId, childCommitments)
  const parts: Secret[] = []
  try {
    if (!isBlind(child)) {
      parts.push(openEntry(child.historyKey, 'lattice/0/chain', ad, entries.chain))
    }
    const control = entries.controlChain
    parts.push(openEntry(child.controlKey, 'lattice/0/control-chain', ad, control))
    const plain = secretFrom(concatBytes(...parts))
    const keys = checkedKeys(parent.epochId, plain, parent.commitments)
    wipe(plain)
    return keys
  } finally {
    for (const part of parts) wipe(part)
  }
}

function checkedKeys(
  epochId: Uint8Array, plain: Uint8Array, commitments: EpochCommitments,
): EpochKeys {
  const isFull = plain.length === 4 * KEY_BYTES
  if (!isFull && plain.length !== 2 * KEY_BYTES) {
    throw new LatticeError('unauthentic', 'a key box of another size')
  }
  const part = (n: number): Secret => secretFrom(plain.subarray(n * KEY_BYTES, (n + 1) * KEY_BYTES))
  const keys: EpochKeys = {
    epochId: new Uint8Array(epochId),
    epochKey: isFull ? part(0) : newSecret(KEY_BYTES),
    historyKey: isFull ? part(1) : newSecret(KEY_BYTES),
    controlKey: part(isFull ? 2 : 0),
    topicKey: part(isFull ? 3 : 1),
  }
  const is = commitmentsOf(keys)
  const fits = equalBytes(is.controlCommitment, commitments.controlCommitment) &&
    (!isFull || equalBytes(is.epochCommitment, commitments.epochCommitment))
  if (fits) return keys
  throw new LatticeError('invalid', 'a key box holds other keys than its epoch commits to', {
    details: { rule: 'epoch-commitment' },
  })
}

function chainAd(
  vaultId: Uint8Array, parentId: Uint8Array, child: EpochCommitments,
): Uint8Array {
  return concatBytes(vaultId, parentId, child.epochCommitment, child.controlCommitment)
}

function sealEntry(
  key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, plain: Uint8Array,
): Uint8Array {
  assert(nonce.length === NONCE_BYTES, 'nonce of a chain entry')
  const entry = new Uint8Array(CHAIN_BYTES)
  entry.set(nonce)
  sealMessage(key, nonce, ad, plain, entry.subarray(NONCE_BYTES))
  return entry
}

function openEntry(
  parentKey: Uint8Array,
  label: 'lattice/0/chain' | 'lattice/0/control-chain',
  ad: Uint8Array,
  entry: Uint8Array,
): Secret {
  const key = deriveKey(parentKey, label)
  const plain = newSecret(2 * KEY_BYTES)
  const nonce = entry.subarray(0, NONCE_BYTES)
  const isOpen = entry.length === CHAIN_BYTES &&
    openMessage(key, nonce, ad, entry.subarray(NONCE_BYTES), plain)
  wipe(key)
  if (isOpen) return plain
  throw new LatticeError('unauthentic', 'an entry of the key chain does not open')
}
