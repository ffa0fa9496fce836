// Minting an epoch, and learning the keys of those that others minted. Pure but for the Random port
// that new keys, nonces and boxes come from; the caller keeps what is learnt (crypto/key-ring.ts).

import { isBoxKey } from '../crypto/box.ts'
import {
  boxEpochKeys, commitmentsOf, openChain, openEpochKeys, sealChain,
} from '../crypto/epoch-keys.ts'
import type { EpochCommitments } from '../crypto/epoch-keys.ts'
import { NONCE_BYTES } from '../crypto/aead.ts'
import { newSecret, wipe } from '../crypto/secret.ts'
import type { Secret } from '../crypto/secret.ts'
import { boxKeyPair } from '../crypto/sign.ts'
import type { BoxKeyPair } from '../crypto/sign.ts'
import { findEpoch, isBlind, wipeEpoch } from '../crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../crypto/vault-keys.ts'
import { encodeControl } from '../ops/control-codec.ts'
import { epochIdOf } from '../ops/control-genesis.ts'
import type { EpochOp } from '../ops/control-types.ts'
import { EPOCH_PARENTS_MAX, rankOf } from '../ops/control-types.ts'
import type { Members } from '../state/members.ts'
import type { EpochInfo } from '../state/members-types.ts'
import { compareBytes, equalBytes, fromHex, toHex } from '../util/bytes.ts'
import { must } from '../util/assert.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import type { Random } from './ports.ts'

export interface Recipient { boxKey: Uint8Array; kind: 'full' | 'blind' }

export interface Learnt {
  /** Epochs that were not in the key ring (or blind there). The caller's own. */
  epochs: EpochKeys[]
  /** Hex ids whose box to this device held other keys than the epoch commits to: report them. */
  bad: string[]
}

/** Whom a new epoch is boxed to: every member, and every phrase in force. */
export function recipientsOf(members: Members): Recipient[] {
  const recipients: Recipient[] = []
  for (const { role, boxKey } of members.list()) {
    if (role === undefined) continue
    recipients.push({ boxKey, kind: rankOf(role) >= rankOf('reader') ? 'full' : 'blind' })
  }
  for (const { boxKey } of members.phrases()) recipients.push({ boxKey, kind: 'full' })
  return recipients
}

/**
 * A new epoch on top of all valid ones whose keys are here, and of those that were valid once. The
 * caller puts the keys into the key ring, durably, before the op is published. Throws 'missing-key'
 * when no epoch's keys are here.
 */
export function mintEpoch(
  members: Members, keys: VaultKeys, recipients: readonly Recipient[], random: Random,
): { op: EpochOp; keys: EpochKeys } {
  const child = newKeys(random)
  const parents = [...members.epochHeads(), ...members.strandedEpochs(), ...fallenHeads(members)]
    .filter((epoch, i, all) => all.indexOf(epoch) === i)
    .map(({ epochId }) => findEpoch(keys, idBytes(epochId)))
    .filter((epoch) => epoch !== undefined && !isBlind(epoch)) as EpochKeys[]
  if (parents.length === 0) {
    throw new LatticeError('missing-key', 'no keys of the current epoch to build a new one on')
  }
  const chained = parents.slice(0, EPOCH_PARENTS_MAX).map((parent) => ({
    epochId: parent.epochId,
    ...sealChain(keys.vaultId, parent, child, {
      chain: random.bytes(NONCE_BYTES), controlChain: random.bytes(NONCE_BYTES),
    }),
  }))
  const op: EpochOp = {
    kind: 'epoch',
    ...commitmentsOf(child),
    parents: chained.toSorted((a, b) => compareBytes(a.epochId, b.epochId)),
    // whoever gave a key that none can be sealed to cannot keep the others from a new epoch
    boxes: unique(recipients).filter(({ boxKey }) => isBoxKey(boxKey)).map(({ boxKey, kind }) => ({
      boxKey, box: boxEpochKeys(child, boxKey, kind, random.bytes(32)),
    })),
  }
  return { op, keys: { ...child, epochId: epochIdOf(encodeControl(op)) } }
}

/**
 * The keys of all epochs that this device can open and has not got: from its own boxes, then
 * backwards along the chains. Blind devices learn K_ctl and K_topic.
 */
export function learnEpochs(members: Members, keys: VaultKeys): Learnt {
  const learnt: Learnt = { epochs: [], bad: [] }
  const known = new Map(keys.epochs.map((epoch) => [toHex(epoch.epochId), epoch]))
  const pair = boxKeyPair(keys.boxSeed)
  const keep = (epoch: EpochKeys): void => {
    const id = toHex(epoch.epochId)
    const before = learnt.epochs.findIndex((other) => toHex(other.epochId) === id)
    if (before !== -1) wipeEpoch(must(learnt.epochs.splice(before, 1)[0], 'an epoch'))
    known.set(id, epoch)
    learnt.epochs.push(epoch)
  }
  for (const { epochId, box } of members.boxesFor(pair.publicKey)) {
    const before = known.get(epochId)
    if ((before !== undefined && !isBlind(before)) || !isVouchedFor(members, epochId)) continue
    const epoch = openBox(members, epochId, box, pair, learnt)
    if (epoch === undefined) continue
    if (before === undefined || !isBlind(epoch)) keep(epoch)
    else wipeEpoch(epoch)
  }
  wipe(pair.secretKey)
  const pending = [...known.values()]
  for (let child = pending.pop(); child !== undefined; child = pending.pop()) {
    for (const parent of openParents(members, keys.vaultId, child, known)) {
      keep(parent)
      pending.push(parent)
    }
  }
  return learnt
}

/**
 * Whether the epoch counts, or one that counts was built on it. An epoch that anybody made for some
 * would divide them from the others: who has its keys applies what is sealed under it, and must
 * then seal what nobody else can read. Without its keys such batches wait.
 */
function isVouchedFor(members: Members, epochId: string): boolean {
  if (members.epoch(epochId)?.isValid === true) return true
  return members.epochs().some((other) => other.isValid && members.precedes(epochId, other.epochId))
}

/** Epochs that have counted once, and that nothing was built on: a new one makes them known. */
function fallenHeads(members: Members): EpochInfo[] {
  const all = members.epochs()
  return all.filter(({ epochId, isValid }) => (
    !isValid && !all.some((other) => members.precedes(epochId, other.epochId))
  ))
}

/** The keys in the box, checked; undefined, and noted when bad, if they are not the epoch's. */
function openBox(
  members: Members, epochId: string, box: Uint8Array, pair: BoxKeyPair, learnt: Learnt,
): EpochKeys | undefined {
  const info = members.epoch(epochId)
  if (info === undefined) return undefined
  try {
    return openEpochKeys(idBytes(epochId), box, pair, info)
  } catch (error) {
    if (!isLatticeError(error, 'unauthentic') && !isLatticeError(error, 'invalid')) throw error
    if (!learnt.bad.includes(epochId)) learnt.bad.push(epochId)
    return undefined
  }
}

/** Parents of `child` that the chain opens and that are not known as well already. */
function openParents(
  members: Members, vaultId: Uint8Array, child: EpochKeys, known: Map<string, EpochKeys>,
): EpochKeys[] {
  const id = toHex(child.epochId)
  const commitments: EpochCommitments | undefined = members.epoch(id)
  const opened: EpochKeys[] = []
  for (const entry of members.epochOp(id)?.parents ?? []) {
    const parentId = toHex(entry.epochId)
    const before = known.get(parentId)
    if (before !== undefined && (!isBlind(before) || isBlind(child))) continue
    const parent = members.epoch(parentId)
    if (parent === undefined || commitments === undefined) continue
    const place = { epochId: entry.epochId, commitments: parent }
    try {
      opened.push(openChain(vaultId, place, child, commitments, entry))
    } catch (error) {
      // Whoever minted the child chained noise: the parent's own boxes may still be there.
      if (!isLatticeError(error, 'unauthentic') && !isLatticeError(error, 'invalid')) throw error
    }
  }
  return opened
}

function newKeys(random: Random): Omit<EpochKeys, 'epochId'> {
  const key = (): Secret => random.fill(newSecret(32))
  return { epochKey: key(), historyKey: key(), controlKey: key(), topicKey: key() }
}

/** Ascending by box key; of two for one key the full one. */
function unique(recipients: readonly Recipient[]): Recipient[] {
  const sorted = recipients.toSorted((a, b) => (
    compareBytes(a.boxKey, b.boxKey) || (a.kind === 'full' ? -1 : 1)
  ))
  return sorted.filter((one, i) => {
    const before = sorted[i - 1]
    return before === undefined || !equalBytes(before.boxKey, one.boxKey)
  })
}

function idBytes(id: string): Uint8Array {
  return must(fromHex(id), 'an epoch id in hex')
}
