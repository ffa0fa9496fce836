// The keys of epochs, out of the control ops into the keys that this device has: boxed to it by the
// op that made the epoch, by the op that made it a member or raised it, or opened by a later
// epoch's chain. Takes only what matches the commitments in the ops.

import { openChain, openEpochKeys } from '../crypto/epoch-keys.ts'
import { wipe } from '../crypto/secret.ts'
import { boxKeyPair } from '../crypto/sign.ts'
import type { BoxKeyPair } from '../crypto/sign.ts'
import { findEpoch, isBlind, makeCurrent, putEpoch } from '../crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../crypto/vault-keys.ts'
import { epochIdOf } from '../ops/control-genesis.ts'
import type { EpochOp } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import { equalBytes, fromHex, toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import type { VaultMembers } from './members-view.ts'

export interface Learnt {
  /** Epochs whose keys came, hex. They are the vault keys' own. */
  came: string[]
  /** Epochs whose box for this device holds other keys than they commit to, hex: to be reported. */
  bad: string[]
}

/** Takes into `vault` what `view` has for this device. The caller stores the key file. */
export function learnEpochs(vault: VaultKeys, own: AuthorId, view: VaultMembers): Learnt {
  const learnt: Learnt = { came: [], bad: [] }
  const pair = boxKeyPair(vault.boxSeed)
  try {
    for (const { op, body } of view.records) {
      if (op.kind === 'epoch') {
        const box = op.boxes.find((one) => equalBytes(one.boxKey, pair.publicKey))
        if (box !== undefined) takeBox(vault, view, epochIdOf(body), box.box, pair, learnt)
      } else if (op.kind === 'add' || op.kind === 'role') {
        const { keyBox, device } = op
        if (keyBox === undefined || device !== own) continue
        takeBox(vault, view, keyBox.epochId, keyBox.box, pair, learnt)
      }
    }
    while (followChains(vault, view, learnt));
  } finally {
    wipe(pair.secretKey)
  }
  return learnt
}

/**
 * From now on the epoch seals that should, of those whose keys are here. `floor`: the epochs of
 * what the next batch depends on. False when no key will do.
 */
export function chooseEpoch(
  vault: VaultKeys, view: VaultMembers, floor: readonly Uint8Array[],
): boolean {
  if (!view.members.hasGenesis) return true
  const hasKeys = (id: string): boolean => isFull(find(vault, id))
  const id = view.members.toSealUnder(hasKeys, floor.map((epoch) => toHex(epoch)))
  const epoch = id === undefined ? undefined : find(vault, id)
  if (epoch === undefined) return false
  if (vault.epochs[vault.epochs.length - 1] !== epoch) makeCurrent(vault, epoch.epochId)
  return true
}

function takeBox(
  vault: VaultKeys, view: VaultMembers, epochId: Uint8Array, box: Uint8Array, pair: BoxKeyPair,
  learnt: Learnt,
): void {
  const id = toHex(epochId)
  const info = view.members.epoch(id)
  if (info === undefined || isFull(findEpoch(vault, epochId))) return
  take(vault, id, () => openEpochKeys(epochId, box, pair, info), learnt)
}

/** One step along the chains from what is here to what it opens. True when something came. */
function followChains(vault: VaultKeys, view: VaultMembers, learnt: Learnt): boolean {
  const before = learnt.came.length
  for (const { op, body } of view.records) {
    if (op.kind !== 'epoch') continue
    const child = findEpoch(vault, epochIdOf(body))
    if (child !== undefined) openParents(vault, view, op, child, learnt)
  }
  return learnt.came.length > before
}

function openParents(
  vault: VaultKeys, view: VaultMembers, op: EpochOp, child: EpochKeys, learnt: Learnt,
): void {
  for (const { epochId, ...entries } of op.parents) {
    const known = findEpoch(vault, epochId)
    const commitments = view.members.epoch(toHex(epochId))
    if (commitments === undefined || isFull(known)) continue
    if (known !== undefined && isBlind(child)) continue
    const parent = { epochId, commitments }
    take(vault, toHex(epochId), () => openChain(vault.vaultId, parent, child, op, entries), learnt)
  }
}

function take(vault: VaultKeys, id: string, open: () => EpochKeys, learnt: Learnt): void {
  try {
    putEpoch(vault, open())
    learnt.came.push(id)
  } catch (error) {
    if (!(error instanceof LatticeError)) throw error
    if (error.code === 'invalid' && !learnt.bad.includes(id)) learnt.bad.push(id)
  }
}

function find(vault: VaultKeys, id: string): EpochKeys | undefined {
  const bytes = fromHex(id)
  return bytes === undefined ? undefined : findEpoch(vault, bytes)
}

function isFull(epoch: EpochKeys | undefined): boolean {
  return epoch !== undefined && !isBlind(epoch)
}
