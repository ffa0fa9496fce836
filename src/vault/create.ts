// A new vault: its keys with the first epoch, and the genesis op that its journal begins with.
// Pure; the caller stores the keys before anything is sealed with them.

import { CHUNKER_FASTCDC, FASTCDC_SIZES } from '../chunks/chunker.ts'
import { commitmentsOf } from '../crypto/epoch-keys.ts'
import { wipe } from '../crypto/secret.ts'
import { boxKeyPair, signKeyPair } from '../crypto/sign.ts'
import { EPOCH_ID_BYTES, newEpochKeys, newVaultKeys } from '../crypto/vault-keys.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { RULES_VERSION } from '../ops/bounds.ts'
import { encodeGenesis, epochIdOf } from '../ops/control-genesis.ts'
import type { AuthorId } from '../ops/types.ts'
import { must } from '../util/assert.ts'

/**
 * Fresh keys whose first epoch is named by the genesis that genesisOf() gives for them. `label`:
 * the device's name, at most 64 bytes; others see it in names of conflict copies.
 */
export function createVaultKeys(name: string, label = ''): VaultKeys {
  const keys = newVaultKeys(name)
  const epoch = newEpochKeys(new Uint8Array(EPOCH_ID_BYTES))
  keys.epochs.push(epoch)
  epoch.epochId = epochIdOf(genesisOf(keys, label))
  return keys
}

/** The genesis op's body, the same for the same keys and label. */
export function genesisOf(keys: VaultKeys, label = ''): Uint8Array {
  const first = must(keys.epochs[0], 'a new vault has an epoch')
  const { signKey, boxKey } = deviceKeys(keys)
  return encodeGenesis({
    kind: 'genesis',
    rulesVersion: RULES_VERSION,
    vaultId: keys.vaultId,
    deviceSignKey: signKey,
    deviceBoxKey: boxKey,
    ...commitmentsOf(first),
    recoveryBoxKey: keys.recoveryBoxKey,
    recoverySignKey: keys.recoverySignKey,
    chunker: CHUNKER_FASTCDC,
    chunkMinBytes: FASTCDC_SIZES.minBytes,
    chunkAvgBytes: FASTCDC_SIZES.avgBytes,
    chunkMaxBytes: FASTCDC_SIZES.maxBytes,
    label,
  })
}

/** This device as an author of the vault. */
export function authorOf(keys: VaultKeys): AuthorId {
  return Buffer.from(deviceKeys(keys).signKey).toString('latin1') as AuthorId
}

function deviceKeys(keys: VaultKeys): { signKey: Uint8Array; boxKey: Uint8Array } {
  const sign = signKeyPair(keys.signSeed)
  const box = boxKeyPair(keys.boxSeed)
  wipe(sign.secretKey)
  wipe(box.secretKey)
  return { signKey: sign.publicKey, boxKey: box.publicKey }
}
