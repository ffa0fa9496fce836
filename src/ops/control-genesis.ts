/**
 * The first op of every vault: what all its devices must agree on for ever. A control op, critical,
 * index 0 of batch 0 of the device that creates the vault; its hash names the first epoch.
 *
 *    0   2  rules version, u16
 *    2  16  vault id
 *   18  32  Ed25519 key of the creating device, the first owner
 *   50  32  X25519 key of it
 *   82  32  commitment to K_e and H_e of the first epoch (crypto/epoch-keys.ts)
 *  114  32  commitment to K_ctl and K_topic of it
 *  146  32  X25519 key of the recovery phrase
 *  178  32  Ed25519 key of it
 *  210   1  id of the chunker for ordinary files
 *  211  12  its min, avg and max in bytes, u32 each
 *  223   1  length of the creating device's name, at most 64, then the name, UTF-8
 *
 *   epoch id = first 8 bytes of BLAKE2b-256 of this body
 *   vault id = first 16 bytes of BLAKE2b-256('lattice/0/vault' ‖ the four keys as they stand here),
 *              so that nobody else can make a genesis for a vault that exists
 */

import { vaultIdOf } from '../crypto/vault-keys.ts'
import { blake2b } from '../crypto/hash.ts'
import { equalBytes, utf8 } from '../util/bytes.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { LatticeError } from '../util/errors.ts'
import { EPOCH_ID_BYTES, ID_BYTES, RULES_VERSION } from './bounds.ts'
import { LABEL_MAX_BYTES } from './control-types.ts'
import type { Genesis } from './control-types.ts'

const FIXED_BYTES = 224
/** Length of a genesis as the first versions of lattice wrote it, without members. */
const OLD_BYTES = 191

export function encodeGenesis(genesis: Genesis): Uint8Array {
  const label = utf8(genesis.label)
  if (label.length > LABEL_MAX_BYTES) throw badLabel()
  const body = new Uint8Array(FIXED_BYTES + label.length)
  const writer = new ByteWriter(body)
  writer.u16(genesis.rulesVersion)
  writer.bytes(genesis.vaultId).bytes(genesis.deviceSignKey).bytes(genesis.deviceBoxKey)
  writer.bytes(genesis.epochCommitment).bytes(genesis.controlCommitment)
  writer.bytes(genesis.recoveryBoxKey).bytes(genesis.recoverySignKey)
  writer.u8(genesis.chunker)
  writer.u32(genesis.chunkMinBytes).u32(genesis.chunkAvgBytes).u32(genesis.chunkMaxBytes)
  writer.u8(label.length).bytes(label)
  writer.end()
  return body
}

/**
 * Throws 'truncated', 'trailing-bytes' or 'invalid' (a name that is too long or not UTF-8), and
 * 'unknown-format' for rules of a later lattice and for vaults from before members.
 */
export function decodeGenesis(body: Uint8Array): Genesis {
  if (body.length === OLD_BYTES) {
    throw new LatticeError('unknown-format', 'the vault was made before devices could be members', {
      hint: 'formats are not frozen yet: make a new vault and copy the files',
    })
  }
  const reader = new ByteReader(body)
  const rulesVersion = reader.u16()
  if (rulesVersion !== RULES_VERSION) {
    throw new LatticeError('unknown-format', `the vault follows rules ${rulesVersion}`, {
      hint: `this lattice knows rules ${RULES_VERSION}: use a newer one`,
    })
  }
  const fixed = {
    kind: 'genesis' as const,
    rulesVersion,
    vaultId: reader.copy(ID_BYTES),
    deviceSignKey: reader.copy(32),
    deviceBoxKey: reader.copy(32),
    epochCommitment: reader.copy(32),
    controlCommitment: reader.copy(32),
    recoveryBoxKey: reader.copy(32),
    recoverySignKey: reader.copy(32),
    chunker: reader.u8(),
    chunkMinBytes: reader.u32(),
    chunkAvgBytes: reader.u32(),
    chunkMaxBytes: reader.u32(),
  }
  const labelBytes = reader.u8()
  if (labelBytes > LABEL_MAX_BYTES) throw badLabel()
  const genesis = { ...fixed, label: decodeLabel(reader.view(labelBytes)) }
  reader.end()
  return genesis
}

/** Whether the genesis is that of the vault whose id it bears. */
export function isGenuine(genesis: Genesis): boolean {
  const { deviceSignKey, deviceBoxKey, recoveryBoxKey, recoverySignKey } = genesis
  const id = vaultIdOf(deviceSignKey, deviceBoxKey, recoveryBoxKey, recoverySignKey)
  return equalBytes(id, genesis.vaultId)
}

/** The id of the epoch that an op with this body makes (genesis or epoch). */
export function epochIdOf(body: Uint8Array): Uint8Array {
  return new Uint8Array(blake2b(32, body).subarray(0, EPOCH_ID_BYTES))
}

function decodeLabel(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw badLabel()
  }
}

function badLabel(): LatticeError {
  const text = `a device's name has at most ${LABEL_MAX_BYTES} bytes of UTF-8`
  return new LatticeError('invalid', text)
}
