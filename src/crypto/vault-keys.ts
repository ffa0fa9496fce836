// The secrets of one vault on one device, and their bytes inside the key file.
//
//    0 16  vault id
//   16  1  flags: bit 0 = the entropy of the recovery phrase follows
//   17  1  length of the name, then the name, UTF-8
//       7 × 32  sign seed, box seed, database key, K_id, K_cdc, recovery box key, recovery sign key
//          (the last two are public; the database key is local, the first two this device's)
//          32  entropy of the recovery phrase, if flagged
//           4  number of epochs, u32, then each: epoch id 8, K_e 32, H_e 32, K_ctl 32, K_topic 32
//
// Every secret lies in guarded memory from creation to wipeVaultKeys().

import { assert } from '../util/assert.ts'
import { copyBytes, equalBytes, isZero, utf8 } from '../util/bytes.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { LatticeError } from '../util/errors.ts'
import { blake2b } from './hash.ts'
import { PHRASE_ENTROPY_BYTES, recoveryKeys } from './phrase.ts'
import { randomSecret } from './random.ts'
import { newSecret, secretFrom, wipe } from './secret.ts'
import type { Secret } from './secret.ts'
import { boxKeyPair, signKeyPair } from './sign.ts'

export const VAULT_ID_BYTES = 16
export const EPOCH_ID_BYTES = 8
export const VAULT_NAME_MAX_BYTES = 255
export const EPOCHS_MAX = 4096

const FLAG_ENTROPY = 1
const SECRETS = ['signSeed', 'boxSeed', 'databaseKey', 'idKey', 'cutKey'] as const
const EPOCH_SECRETS = ['epochKey', 'historyKey', 'controlKey', 'topicKey'] as const
const EPOCH_BYTES = EPOCH_ID_BYTES + EPOCH_SECRETS.length * 32

export type EpochKeys = {
  /** 8 bytes: the hash of the op that made the epoch. */
  epochId: Uint8Array
  /** K_e: K_op and K_bundle come from it (kdf.ts). Zeros on a blind device: isBlind(). */
  epochKey: Secret
  /** H_e: opens the chain to earlier epochs. Zeros on a blind device. */
  historyKey: Secret
  /** K_ctl: seals control batches; blind members have it too. */
  controlKey: Secret
  /** K_topic: where peers meet. */
  topicKey: Secret
}

export type VaultKeys = {
  vaultId: Uint8Array
  name: string
  /** Ed25519 and X25519 seeds of this device in this vault. */
  signSeed: Secret
  boxSeed: Secret
  /** Seals what only this device reads: state, indexes, local facts of the journal. */
  databaseKey: Secret
  /** K_id and K_cdc, constant for the vault. */
  idKey: Secret
  cutKey: Secret
  /** Public keys of the recovery phrase. */
  recoveryBoxKey: Uint8Array
  recoverySignKey: Uint8Array
  /** Kept so that the phrase can be shown later; undefined once the user has it removed. */
  recoveryEntropy: Secret | undefined
  /** Oldest first; the last one seals. Empty until genesis. */
  epochs: EpochKeys[]
}

/** Fresh keys for a new vault, without an epoch. */
export function newVaultKeys(name: string): VaultKeys {
  assertName(name)
  const recoveryEntropy = randomSecret(PHRASE_ENTROPY_BYTES)
  const recovery = recoveryKeys(recoveryEntropy)
  const keys: VaultKeys = {
    vaultId: new Uint8Array(VAULT_ID_BYTES),
    name,
    signSeed: randomSecret(),
    boxSeed: randomSecret(),
    databaseKey: randomSecret(),
    idKey: randomSecret(),
    cutKey: randomSecret(),
    recoveryBoxKey: recovery.box.publicKey,
    recoverySignKey: recovery.sign.publicKey,
    recoveryEntropy,
    epochs: [],
  }
  wipe(recovery.box.secretKey)
  wipe(recovery.sign.secretKey)
  keys.vaultId = newVaultId(keys)
  return keys
}

/**
 * The id of the vault that a device with these keys creates: the four public keys of its genesis
 * decide it, so that a genesis by anybody else bears another id.
 */
export function vaultIdOf(
  deviceSignKey: Uint8Array,
  deviceBoxKey: Uint8Array,
  recoveryBoxKey: Uint8Array,
  recoverySignKey: Uint8Array,
): Uint8Array {
  const label = utf8('lattice/0/vault')
  const hash = blake2b(32, label, deviceSignKey, deviceBoxKey, recoveryBoxKey, recoverySignKey)
  return copyBytes(hash, 0, VAULT_ID_BYTES)
}

/** vaultIdOf() for keys that are to create a vault. */
export function newVaultId(keys: VaultKeys): Uint8Array {
  const sign = signKeyPair(keys.signSeed)
  const box = boxKeyPair(keys.boxSeed)
  wipe(sign.secretKey)
  wipe(box.secretKey)
  return vaultIdOf(sign.publicKey, box.publicKey, keys.recoveryBoxKey, keys.recoverySignKey)
}

/** Fresh random keys for an epoch whose id is known (or will be set by the caller). */
export function newEpochKeys(epochId: Uint8Array): EpochKeys {
  assert(epochId.length === EPOCH_ID_BYTES, 'epoch id length')
  return {
    epochId: copyBytes(epochId),
    epochKey: randomSecret(),
    historyKey: randomSecret(),
    controlKey: randomSecret(),
    topicKey: randomSecret(),
  }
}

export function findEpoch(keys: VaultKeys, epochId: Uint8Array): EpochKeys | undefined {
  return keys.epochs.find((epoch) => equalBytes(epoch.epochId, epochId))
}

/** Whether only K_ctl and K_topic of the epoch are known. */
export function isBlind(epoch: Pick<EpochKeys, 'epochKey'>): boolean {
  return isZero(epoch.epochKey)
}

/**
 * Adds an epoch and takes ownership. One that is there already stays, and the given one is wiped;
 * but a blind one gives way to one with all keys. The last one goes on sealing.
 */
export function putEpoch(keys: VaultKeys, epoch: EpochKeys): void {
  const index = keys.epochs.findIndex((other) => equalBytes(other.epochId, epoch.epochId))
  const old = keys.epochs[index]
  if (old === epoch) return
  if (old === undefined) {
    keys.epochs.splice(Math.max(0, keys.epochs.length - 1), 0, epoch)
    return
  }
  const isBetter = isBlind(old) && !isBlind(epoch)
  if (isBetter) keys.epochs[index] = epoch
  wipeEpoch(isBetter ? old : epoch)
}

/** From now on this epoch seals: it becomes the last one. Throws 'missing-key'. */
export function makeCurrent(keys: VaultKeys, epochId: Uint8Array): void {
  const epoch = findEpoch(keys, epochId)
  if (epoch === undefined) throw new LatticeError('missing-key', 'no keys for this epoch')
  keys.epochs = [...keys.epochs.filter((other) => other !== epoch), epoch]
}

export function wipeEpoch(epoch: EpochKeys): void {
  for (const field of EPOCH_SECRETS) wipe(epoch[field])
}

/** The epoch that seals now. Throws 'missing-key' before genesis. */
export function currentEpoch(keys: VaultKeys): EpochKeys {
  const epoch = keys.epochs[keys.epochs.length - 1]
  if (epoch === undefined) throw new LatticeError('missing-key', 'the vault has no epoch yet')
  return epoch
}

/** The bytes drawn above, in guarded memory; the recovery box leaves the entropy out. */
export function encodeVaultKeys(keys: VaultKeys, options: { withEntropy: boolean }): Secret {
  const name = assertName(keys.name)
  const entropy = options.withEntropy ? keys.recoveryEntropy : undefined
  assert(keys.epochs.length <= EPOCHS_MAX, 'too many epochs')
  const sizeBytes =
    VAULT_ID_BYTES + 2 + name.length + 7 * 32 + (entropy === undefined ? 0 : 32) + 4 +
    keys.epochs.length * EPOCH_BYTES
  const out = newSecret(sizeBytes)
  const writer = new ByteWriter(out)
  writer.bytes(keys.vaultId).u8(entropy === undefined ? 0 : FLAG_ENTROPY)
  writer.u8(name.length).bytes(name)
  for (const field of SECRETS) writer.bytes(keys[field])
  writer.bytes(keys.recoveryBoxKey).bytes(keys.recoverySignKey)
  if (entropy !== undefined) writer.bytes(entropy)
  writer.u32(keys.epochs.length)
  for (const epoch of keys.epochs) {
    writer.bytes(epoch.epochId)
    for (const field of EPOCH_SECRETS) writer.bytes(epoch[field])
  }
  writer.end()
  return out
}

/** Throws 'truncated', 'trailing-bytes', 'out-of-bounds' or 'invalid'; the input stays as it is. */
export function decodeVaultKeys(bytes: Uint8Array): VaultKeys {
  const reader = new ByteReader(bytes)
  const secret = (): Secret => secretFrom(reader.view(32))
  const vaultId = reader.copy(VAULT_ID_BYTES)
  const flags = reader.u8()
  if (flags > FLAG_ENTROPY) throw new LatticeError('invalid', 'vault keys: unknown flags')
  const name = decodeName(reader.view(reader.u8()))
  const keys: VaultKeys = {
    vaultId,
    name,
    signSeed: secret(),
    boxSeed: secret(),
    databaseKey: secret(),
    idKey: secret(),
    cutKey: secret(),
    recoveryBoxKey: reader.copy(32),
    recoverySignKey: reader.copy(32),
    recoveryEntropy: flags === FLAG_ENTROPY ? secret() : undefined,
    epochs: [],
  }
  const count = reader.u32()
  if (count > EPOCHS_MAX || count * EPOCH_BYTES !== reader.leftBytes) {
    throw new LatticeError('out-of-bounds', 'vault keys: wrong number of epochs')
  }
  for (let i = 0; i < count; i++) {
    keys.epochs.push({
      epochId: reader.copy(EPOCH_ID_BYTES),
      epochKey: secret(),
      historyKey: secret(),
      controlKey: secret(),
      topicKey: secret(),
    })
  }
  reader.end()
  return keys
}

export function wipeVaultKeys(keys: VaultKeys): void {
  for (const field of SECRETS) wipe(keys[field])
  if (keys.recoveryEntropy !== undefined) wipe(keys.recoveryEntropy)
  for (const epoch of keys.epochs) wipeEpoch(epoch)
}

function assertName(name: string): Uint8Array {
  const bytes = utf8(name)
  if (bytes.length < 1 || bytes.length > VAULT_NAME_MAX_BYTES) {
    throw new LatticeError('invalid', 'a vault name has 1 to 255 bytes')
  }
  return bytes
}

function decodeName(bytes: Uint8Array): string {
  let name: string
  try {
    name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new LatticeError('invalid', 'vault keys: the name is not UTF-8', { cause })
  }
  assertName(name)
  return name
}
