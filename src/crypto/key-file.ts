// The key file of a LATTICE_HOME, version 0: one file, one passphrase, the keys of every vault.
// Pure: bytes in, bytes out (key-file-store.ts does the I/O, key-ring.ts holds what is open).
//
//    0  4  magic "LKEY"
//    4  1  version (0)
//    5  1  suite (1: XChaCha20-Poly1305, Argon2id 1.3, X25519 sealed boxes, BLAKE2b)
//    6  1  protection: 0 = the key stands in this file, 1 = Argon2id of a passphrase
//    7  1  Argon2id passes               zero without a passphrase, like the next two
//    8  4  Argon2id memory in KiB, u32
//   12 16  Argon2id salt
//   28 32  the key, if protection is 0, else zeroes
//   60  4  length of the sealed payload, u32
//   64  …  payload as a sealed record; associated data = bytes 0 to 63
//       2  number of recovery boxes, u16, then each: vault id 16, length u32, X25519 sealed box of
//          the vault's keys, for the box key of its recovery phrase
//      32  BLAKE2b-256 of everything before: tells damage from a wrong passphrase
//
//   payload   number of vaults u16, then each: length u32, vault keys (vault-keys.ts); ids ascend

import { assert } from '../util/assert.ts'
import { compareBytes, copyBytes, equalBytes, isZero } from '../util/bytes.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { LatticeError } from '../util/errors.ts'
import { RECORD_OVERHEAD_BYTES, openRecord, sealRecord } from './aead.ts'
import { SALT_BYTES, isArgonParameters } from './argon.ts'
import type { ArgonParameters } from './argon.ts'
import { blake2b } from './hash.ts'
import { newSecret, secretFrom, wipe } from './secret.ts'
import type { Secret } from './secret.ts'
import { BOX_OVERHEAD_BYTES, boxOpen, boxSeal } from './sign.ts'
import type { BoxKeyPair } from './sign.ts'
import { VAULT_ID_BYTES, decodeVaultKeys, encodeVaultKeys, wipeVaultKeys } from './vault-keys.ts'
import type { VaultKeys } from './vault-keys.ts'

export const KEY_FILE_MAX_BYTES = 16 * 1024 * 1024
export const VAULTS_MAX = 1024

const MAGIC = Uint8Array.of(0x4c, 0x4b, 0x45, 0x59)
const VERSION = 0
const SUITE = 1
const HEADER_BYTES = 64
const CHECKSUM_BYTES = 32

export type Protection =
  | { kind: 'none'; key: Secret }
  | { kind: 'passphrase'; key: Secret; salt: Uint8Array; parameters: ArgonParameters }

export type RecoveryBox = { vaultId: Uint8Array; box: Uint8Array }

/** What can be read without any key. */
export type ParsedKeyFile = {
  protection:
    | { kind: 'none'; key: Secret }
    | { kind: 'passphrase'; salt: Uint8Array; parameters: ArgonParameters }
  header: Uint8Array
  payload: Uint8Array
  recoveryBoxes: RecoveryBox[]
}

export function encodeKeyFile(protection: Protection, vaults: readonly VaultKeys[]): Uint8Array {
  const sorted = [...vaults].sort((a, b) => compareBytes(a.vaultId, b.vaultId))
  assert(sorted.length <= VAULTS_MAX, 'too many vaults')
  const payload = encodePayload(sorted)
  const header = encodeHeader(protection, payload.length + RECORD_OVERHEAD_BYTES)
  const sealed = sealRecord(protection.key, header, payload)
  wipe(payload)
  const boxes = sorted.map((keys) => {
    const entry = encodeVaultKeys(keys, { withEntropy: false })
    const box = boxSeal(entry, keys.recoveryBoxKey)
    wipe(entry)
    return box
  })
  const boxesBytes = boxes.reduce((sum, box) => sum + VAULT_ID_BYTES + 4 + box.length, 2)
  const sizeBytes = HEADER_BYTES + sealed.length + boxesBytes + CHECKSUM_BYTES
  assert(sizeBytes <= KEY_FILE_MAX_BYTES, 'key file too large')
  const out = new Uint8Array(sizeBytes)
  const writer = new ByteWriter(out).bytes(header).bytes(sealed).u16(boxes.length)
  boxes.forEach((box, i) => {
    writer.bytes((sorted[i] as VaultKeys).vaultId).u32(box.length).bytes(box)
  })
  writer.bytes(blake2b(CHECKSUM_BYTES, out.subarray(0, writer.offset)))
  writer.end()
  return out
}

/**
 * Checks everything that needs no key. Throws 'unknown-format' for another version or suite,
 * 'damaged-keys' for anything else that is wrong.
 */
export function parseKeyFile(bytes: Uint8Array): ParsedKeyFile {
  const body = bodyOf(bytes)
  if (!equalBytes(blake2b(CHECKSUM_BYTES, body), bytes.subarray(body.length))) {
    throw damaged('its checksum is wrong')
  }
  const suite = bytes[5] as number
  if (suite !== SUITE) throw unknownFormat(`suite ${suite}`)
  return asDamaged(() => parseBody(body))
}

/**
 * The recovery boxes alone, each of which is authentic by itself: a file that is damaged elsewhere
 * still yields them. Throws as parseKeyFile() when not even they can be found.
 */
export function parseRecoveryBoxes(bytes: Uint8Array): RecoveryBox[] {
  const body = bodyOf(bytes)
  return asDamaged(() => {
    const reader = new ByteReader(body)
    reader.view(HEADER_BYTES - 4)
    reader.view(reader.u32())
    return readBoxes(reader)
  })
}

/** The vaults of a parsed file under its key. Throws 'unauthentic' when the key is another one. */
export function openPayload(parsed: ParsedKeyFile, key: Uint8Array): VaultKeys[] {
  const plain = newSecret(parsed.payload.length - RECORD_OVERHEAD_BYTES)
  try {
    openRecord(key, parsed.header, parsed.payload, plain)
    return asDamaged(() => decodePayload(plain))
  } finally {
    wipe(plain)
  }
}

/** The keys of the vaults whose recovery box opens with `pair`. Their entropy is left out. */
export function openRecoveryBoxes(boxes: readonly RecoveryBox[], pair: BoxKeyPair): VaultKeys[] {
  const found: VaultKeys[] = []
  for (const { vaultId, box } of boxes) {
    const plain = boxOpen(box, pair)
    if (plain === null) continue
    const keys = asDamaged(() => decodeVaultKeys(plain))
    wipe(plain)
    if (equalBytes(keys.vaultId, vaultId)) found.push(keys)
    else wipeVaultKeys(keys)
  }
  return found
}

function encodeHeader(protection: Protection, payloadBytes: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES)
  const writer = new ByteWriter(header).bytes(MAGIC).u8(VERSION).u8(SUITE)
  if (protection.kind === 'passphrase') {
    writer.u8(1).u8(protection.parameters.passes).u32(protection.parameters.memoryKib)
    writer.bytes(protection.salt).bytes(new Uint8Array(32))
  } else {
    writer.u8(0).u8(0).u32(0).bytes(new Uint8Array(SALT_BYTES)).bytes(protection.key)
  }
  writer.u32(payloadBytes)
  writer.end()
  return header
}

function parseBody(body: Uint8Array): ParsedKeyFile {
  const reader = new ByteReader(body)
  reader.view(6)
  const kind = reader.u8()
  const parameters = { passes: reader.u8(), memoryKib: reader.u32() }
  const salt = reader.copy(SALT_BYTES)
  const key = reader.view(32)
  const protection = parseProtection(kind, parameters, salt, key)
  const payloadBytes = reader.u32()
  assert(reader.offset === HEADER_BYTES, 'key file header length')
  if (payloadBytes < RECORD_OVERHEAD_BYTES) throw damaged('its payload is too short')
  const payload = reader.copy(payloadBytes)
  const recoveryBoxes = readBoxes(reader)
  return { protection, header: copyBytes(body, 0, HEADER_BYTES), payload, recoveryBoxes }
}

function readBoxes(reader: ByteReader): RecoveryBox[] {
  const boxes: RecoveryBox[] = []
  for (let left = reader.u16(); left > 0; left--) {
    const vaultId = reader.copy(VAULT_ID_BYTES)
    const boxBytes = reader.u32()
    if (boxBytes < BOX_OVERHEAD_BYTES) throw damaged('a recovery box is too short')
    boxes.push({ vaultId, box: reader.copy(boxBytes) })
  }
  reader.end()
  return boxes
}

/** Everything before the checksum of what may be a key file of this version. */
function bodyOf(bytes: Uint8Array): Uint8Array {
  if (bytes.length > KEY_FILE_MAX_BYTES) throw damaged('it is too large')
  if (bytes.length < 6 || !equalBytes(bytes.subarray(0, 4), MAGIC)) {
    throw damaged('it does not begin like a key file')
  }
  const version = bytes[4] as number
  if (version !== VERSION) throw unknownFormat(`version ${version}`)
  if (bytes.length < HEADER_BYTES + RECORD_OVERHEAD_BYTES + 2 + 2 + CHECKSUM_BYTES) {
    throw damaged('it is too short')
  }
  return bytes.subarray(0, bytes.length - CHECKSUM_BYTES)
}

function parseProtection(
  kind: number,
  parameters: ArgonParameters,
  salt: Uint8Array,
  key: Uint8Array,
): ParsedKeyFile['protection'] {
  if (kind === 1) {
    if (!isArgonParameters(parameters)) throw damaged('its Argon2id parameters are out of bounds')
    if (!isZero(key)) throw damaged('it holds a key beside a passphrase')
    return { kind: 'passphrase', salt, parameters }
  }
  if (kind !== 0) throw damaged('its protection is unknown')
  if (parameters.passes !== 0 || parameters.memoryKib !== 0 || !isZero(salt)) {
    throw damaged('it has passphrase parameters without a passphrase')
  }
  return { kind: 'none', key: secretFrom(key) }
}

function encodePayload(vaults: readonly VaultKeys[]): Secret {
  const entries = vaults.map((keys) => encodeVaultKeys(keys, { withEntropy: true }))
  const sizeBytes = entries.reduce((sum, entry) => sum + 4 + entry.length, 2)
  const payload = newSecret(sizeBytes)
  const writer = new ByteWriter(payload).u16(entries.length)
  for (const entry of entries) {
    writer.u32(entry.length).bytes(entry)
    wipe(entry)
  }
  writer.end()
  return payload
}

function decodePayload(plain: Uint8Array): VaultKeys[] {
  const reader = new ByteReader(plain)
  const count = reader.u16()
  if (count > VAULTS_MAX) throw damaged('it has too many vaults')
  const vaults: VaultKeys[] = []
  for (let i = 0; i < count; i++) {
    const keys = decodeVaultKeys(reader.view(reader.u32()))
    const previous = vaults[vaults.length - 1]
    vaults.push(keys)
    if (previous !== undefined && compareBytes(previous.vaultId, keys.vaultId) >= 0) {
      throw damaged('its vaults are out of order')
    }
  }
  reader.end()
  return vaults
}

/** Decoders report their own reasons; for the user they all mean a damaged key file. */
function asDamaged<T>(decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    if (cause instanceof LatticeError && cause.code !== 'damaged-keys') {
      throw damaged(cause.message, cause)
    }
    throw cause
  }
}

export function damaged(reason: string, cause?: unknown): LatticeError {
  return new LatticeError('damaged-keys', `the key file is damaged: ${reason}`, {
    hint: 'restore it from a backup, or open the vault with its recovery phrase',
    cause,
  })
}

function unknownFormat(what: string): LatticeError {
  return new LatticeError('unknown-format', `the key file has an unknown format: ${what}`, {
    hint: 'it was written by another version of lattice: upgrade',
  })
}
