// The first op of every vault: what all its devices must agree on for ever. A control op, critical,
// alone in the first batch of the device that creates the vault; its hash names the first epoch.
//
//    0   2  rules version, u16
//    2  16  vault id
//   18  32  Ed25519 key of the creating device, the first owner
//   50  32  X25519 key of it
//   82  32  commitment to K_e of the first epoch
//  114  32  X25519 key of the recovery phrase
//  146  32  Ed25519 key of it
//  178   1  id of the chunker for ordinary files
//  179  12  its min, avg and max in bytes, u32 each
//
//   epoch id = first 8 bytes of BLAKE2b-256 of this body

import { blake2b } from '../crypto/hash.ts'
import { EPOCH_ID_BYTES, VAULT_ID_BYTES } from '../crypto/vault-keys.ts'
import { RULES_VERSION } from '../ops/bounds.ts'
import type { Op } from '../ops/types.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { LatticeError } from '../util/errors.ts'

/** Number of the genesis op among the control ops. */
export const CONTROL_GENESIS = 0
export const GENESIS_BYTES = 191

export interface Genesis {
  rulesVersion: number
  vaultId: Uint8Array
  deviceSignKey: Uint8Array
  deviceBoxKey: Uint8Array
  epochCommitment: Uint8Array
  recoveryBoxKey: Uint8Array
  recoverySignKey: Uint8Array
  chunker: number
  chunkMinBytes: number
  chunkAvgBytes: number
  chunkMaxBytes: number
}

export function encodeGenesis(genesis: Genesis): Uint8Array {
  const body = new Uint8Array(GENESIS_BYTES)
  const writer = new ByteWriter(body)
  writer.u16(genesis.rulesVersion)
  writer.bytes(genesis.vaultId).bytes(genesis.deviceSignKey).bytes(genesis.deviceBoxKey)
  writer.bytes(genesis.epochCommitment).bytes(genesis.recoveryBoxKey).bytes(genesis.recoverySignKey)
  writer.u8(genesis.chunker)
  writer.u32(genesis.chunkMinBytes).u32(genesis.chunkAvgBytes).u32(genesis.chunkMaxBytes)
  writer.end()
  return body
}

/** Throws 'truncated' or 'trailing-bytes', and 'unknown-format' for rules of a later lattice. */
export function decodeGenesis(body: Uint8Array): Genesis {
  const reader = new ByteReader(body)
  const rulesVersion = reader.u16()
  if (rulesVersion !== RULES_VERSION) {
    throw new LatticeError('unknown-format', `the vault follows rules ${rulesVersion}`, {
      hint: `this lattice knows rules ${RULES_VERSION}: use a newer one`,
    })
  }
  const genesis = {
    rulesVersion,
    vaultId: reader.copy(VAULT_ID_BYTES),
    deviceSignKey: reader.copy(32),
    deviceBoxKey: reader.copy(32),
    epochCommitment: reader.copy(32),
    recoveryBoxKey: reader.copy(32),
    recoverySignKey: reader.copy(32),
    chunker: reader.u8(),
    chunkMinBytes: reader.u32(),
    chunkAvgBytes: reader.u32(),
    chunkMaxBytes: reader.u32(),
  }
  reader.end()
  return genesis
}

export function genesisEpochId(body: Uint8Array): Uint8Array {
  return new Uint8Array(blake2b(32, body).subarray(0, EPOCH_ID_BYTES))
}

export function genesisOp(body: Uint8Array): Op {
  return { kind: 'control', control: CONTROL_GENESIS, critical: true, body }
}
