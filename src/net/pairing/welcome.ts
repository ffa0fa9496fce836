// What a device gets when it is let in: everything that it needs to open the vault and that the
// ops log cannot give it, since the log opens with these keys only. Sealed to the device's X25519
// key (to the phrase's, in a recovery):
//
//   version u8 (0) ‖ flags u8 (bit 0: full, else blind) ‖ role u8 ‖ vault id 16 ‖ vault name
//   genesis: device Ed25519 32 ‖ X25519 32, phrase X25519 32 ‖ Ed25519 32: the id is their hash
//   phrase in force: X25519 32 ‖ Ed25519 32
//   full only: K_id 32 ‖ K_cdc 32
//   number of epochs u32, oldest first, the sealing one last, each:
//     id 8 ‖ full only: K_e 32 ‖ H_e 32 ‖ both: K_ctl 32 ‖ K_topic 32
//   addresses of the sender: number u8, each as in the code (code.ts)
//
// A blind device gets no key of content or names; K_id and K_cdc are drawn at random there. Earlier
// epochs come along, since each is needed to read what it sealed: history is every member's.

import { boxSealWith } from '../../crypto/box.ts'
import { randomSecret } from '../../crypto/random.ts'
import { newSecret, secretFrom, wipe } from '../../crypto/secret.ts'
import type { Secret } from '../../crypto/secret.ts'
import { BOX_OVERHEAD_BYTES, boxOpen } from '../../crypto/sign.ts'
import type { BoxKeyPair } from '../../crypto/sign.ts'
import {
  EPOCHS_MAX, VAULT_NAME_MAX_BYTES, isBlind, vaultIdOf,
} from '../../crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../../crypto/vault-keys.ts'
import { rankOf } from '../../ops/control-types.ts'
import type { Genesis, Role } from '../../ops/control-types.ts'
import { ByteReader, ByteWriter } from '../../util/byte-cursor.ts'
import { copyBytes, equalBytes } from '../../util/bytes.ts'
import { isLatticeError } from '../../util/errors.ts'
import { decodeAddresses, encodeAddresses } from './code.ts'
import { FRAME_MAX_BYTES, protocolError } from './frames.ts'
import { readRole, readText, text } from './messages.ts'
import type { Address } from './ports.ts'

/** The public keys that a vault's id is made of. */
export type GenesisKeys = Pick<
  Genesis, 'deviceSignKey' | 'deviceBoxKey' | 'recoveryBoxKey' | 'recoverySignKey'
>

export interface Welcome {
  role: Role
  vaultId: Uint8Array
  name: string
  genesis: GenesisKeys
  recoveryBoxKey: Uint8Array
  recoverySignKey: Uint8Array
  idKey: Secret
  cutKey: Secret
  /** Oldest first, the sealing one last; without K_e for a blind device. */
  epochs: EpochKeys[]
  addresses: Address[]
}

export interface WelcomeSource {
  keys: VaultKeys
  name: string
  role: Role
  genesis: GenesisKeys
  phrase: { boxKey: Uint8Array; signKey: Uint8Array }
  addresses: readonly Address[]
}

/** Epochs of which only K_ctl is here are left out for a full member. */
export function sealWelcome(
  source: WelcomeSource, boxKey: Uint8Array, seed: Uint8Array,
): Uint8Array {
  const { keys, role } = source
  const isFull = rankOf(role) >= rankOf('reader')
  const epochs = keys.epochs.filter((epoch) => !isFull || !isBlind(epoch))
  const name = text(source.name)
  const addresses = encodeAddresses(source.addresses)
  const epochBytes = 8 + (isFull ? 4 : 2) * 32
  const sizeBytes = 3 + 16 + name.length + 6 * 32 + (isFull ? 64 : 0) + 4 +
    epochs.length * epochBytes + addresses.length
  if (sizeBytes + BOX_OVERHEAD_BYTES + 1 > FRAME_MAX_BYTES) {
    throw protocolError('welcome-size', 'the vault has too many epochs')
  }
  const plain = newSecret(sizeBytes)
  const writer = new ByteWriter(plain)
  writer.u8(0).u8(isFull ? 1 : 0).u8(rankOf(role)).bytes(keys.vaultId).bytes(name)
  const { genesis, phrase } = source
  writer.bytes(genesis.deviceSignKey).bytes(genesis.deviceBoxKey)
  writer.bytes(genesis.recoveryBoxKey).bytes(genesis.recoverySignKey)
  writer.bytes(phrase.boxKey).bytes(phrase.signKey)
  if (isFull) writer.bytes(keys.idKey).bytes(keys.cutKey)
  writer.u32(epochs.length)
  for (const epoch of epochs) {
    writer.bytes(epoch.epochId)
    if (isFull) writer.bytes(epoch.epochKey).bytes(epoch.historyKey)
    writer.bytes(epoch.controlKey).bytes(epoch.topicKey)
  }
  writer.bytes(addresses).end()
  const sealed = boxSealWith(plain, boxKey, seed)
  wipe(plain)
  return sealed
}

/** Throws 'pairing-protocol': rule welcome-box, welcome-length, welcome-fields, welcome-vault. */
export function openWelcome(sealed: Uint8Array, pair: BoxKeyPair): Welcome {
  const plain = boxOpen(sealed, pair)
  if (plain === null) throw protocolError('welcome-box', 'the keys are not for this device')
  try {
    return readWelcome(new ByteReader(plain))
  } catch (error) {
    if (!isLatticeError(error) || error.code === 'pairing-protocol') throw error
    throw protocolError('welcome-length', 'the keys came damaged')
  } finally {
    wipe(plain)
  }
}

function readWelcome(reader: ByteReader): Welcome {
  const [version, flags] = [reader.u8(), reader.u8()]
  const role = readRole(reader)
  const isFull = rankOf(role) >= rankOf('reader')
  if (version !== 0 || flags !== (isFull ? 1 : 0)) {
    throw protocolError('welcome-fields', 'the keys come in an unknown form')
  }
  const vaultId = reader.copy(16)
  const name = readText(reader, VAULT_NAME_MAX_BYTES)
  const genesis = {
    deviceSignKey: reader.copy(32), deviceBoxKey: reader.copy(32),
    recoveryBoxKey: reader.copy(32), recoverySignKey: reader.copy(32),
  }
  const { deviceSignKey, deviceBoxKey } = genesis
  const id = vaultIdOf(deviceSignKey, deviceBoxKey, genesis.recoveryBoxKey, genesis.recoverySignKey)
  if (!equalBytes(id, vaultId) || name === '') {
    throw protocolError('welcome-vault', 'the vault\'s id is not that of its first device')
  }
  const [recoveryBoxKey, recoverySignKey] = [reader.copy(32), reader.copy(32)]
  const secret = (): Secret => secretFrom(reader.view(32))
  const [idKey, cutKey] = isFull ? [secret(), secret()] : [randomSecret(), randomSecret()]
  const count = reader.u32()
  if (count < 1 || count > EPOCHS_MAX) {
    throw protocolError('welcome-fields', 'no epoch, or too many')
  }
  const epochs = Array.from({ length: count }, (): EpochKeys => ({
    epochId: copyBytes(reader.view(8)),
    epochKey: isFull ? secret() : newSecret(32),
    historyKey: isFull ? secret() : newSecret(32),
    controlKey: secret(),
    topicKey: secret(),
  }))
  const addresses = decodeAddresses(reader)
  reader.end()
  return {
    role, vaultId, name, genesis, recoveryBoxKey, recoverySignKey, idKey, cutKey, epochs, addresses,
  }
}
