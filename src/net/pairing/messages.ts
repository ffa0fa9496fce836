// The frames of pairing; FORMATS.md, "Pairing", has the table. A frame is a type and a body:
//
//   1 hello    joiner    version u8 (0) ‖ Ed25519 key 32 ‖ X25519 key 32 ‖ label ‖ commitment 32
//   2 offer    inviter   vault id 16 ‖ vault name ‖ role u8 ‖ Ed25519 key 32 ‖ label ‖ flags u8
//                        (bit 0: this device is a member already) ‖ nonce 32 ‖ signature 64
//   3 reveal   joiner    nonce 32 ‖ signature by the code key 64 ‖ by the device key 64
//   4 confirm  both      the digits are the same
//   5 welcome  inviter   sealed box for the joiner's X25519 key (welcome.ts)
//   6 stored   joiner    all of it is durable
//   7 reject   both      reason u8
//
// Texts are a length u8 and UTF-8. What breaks a rule is 'pairing-protocol' with the rule's name.

import { isBoxKey } from '../../crypto/box.ts'
import { VAULT_NAME_MAX_BYTES } from '../../crypto/vault-keys.ts'
import { LABEL_MAX_BYTES, ROLES, rankOf } from '../../ops/control-types.ts'
import type { Role } from '../../ops/control-types.ts'
import { ByteReader } from '../../util/byte-cursor.ts'
import { concatBytes, utf8 } from '../../util/bytes.ts'
import { LatticeError, isLatticeError } from '../../util/errors.ts'
import type { ErrorCode } from '../../util/errors.ts'
import { protocolError } from './frames.ts'

export const PAIRING_VERSION = 0
export const NONCE_BYTES = 32

export const FRAME = {
  hello: 1, offer: 2, reveal: 3, confirm: 4, welcome: 5, stored: 6, reject: 7,
  recoverHello: 16, recoverOffer: 17, recoverProof: 18,
} as const
type FrameName = keyof typeof FRAME

export interface Hello {
  signKey: Uint8Array
  boxKey: Uint8Array
  label: string
  commitment: Uint8Array
}

export interface Offer {
  vaultId: Uint8Array
  vaultName: string
  role: Role
  signKey: Uint8Array
  label: string
  /** The device was let in before, but did not get to its end. */
  isResumed: boolean
  nonce: Uint8Array
}

export interface Reveal {
  nonce: Uint8Array
  codeSignature: Uint8Array
  deviceSignature: Uint8Array
}

/** What a side gives up for; the number on the wire is the place. Append-only. */
const REASONS = [
  'pairing-protocol', 'invite-used', 'invite-expired', 'invite-revoked', 'invite-spent',
  'invite-busy', 'pairing-refused', 'digits-differ', 'unsupported', 'denied', 'timeout', 'internal',
  'wrong-phrase',
] as const satisfies readonly ErrorCode[]
export type RejectReason = (typeof REASONS)[number]

const MESSAGES: Record<RejectReason, readonly [message: string, hint: string]> = {
  'pairing-protocol': ['the other device could not read this one',
    'the two devices may run different versions of lattice'],
  'invite-used': ['the invite was used already', 'ask for a new one: lattice invite'],
  'invite-expired': ['the invite has expired', 'ask for a new one: lattice invite'],
  'invite-revoked': ['the invite was revoked', 'ask for a new one: lattice invite'],
  'invite-spent': ['the invite was tried too often', 'ask for a new one: lattice invite'],
  'invite-busy': ['another device is joining with this invite now', 'try again in a minute'],
  'pairing-refused': ['the pairing was refused', 'ask for a new one: lattice invite'],
  'digits-differ': ['the digits were not the same: somebody may be in between',
    'the invite is void; bring a new code over another way'],
  unsupported: ['the other device speaks another version of pairing',
    'install the same version of lattice on both'],
  denied: ['the inviting device may not let anybody in any more', 'lattice members tells its role'],
  timeout: ['nobody confirmed in time', 'try again with both devices at hand'],
  internal: ['the other device met an error', 'its log says more'],
  'wrong-phrase': ['the recovery phrase is not the one of this vault',
    'it may have been replaced by a newer one'],
}

// ---- encoding ----

/** Without the frame's type: also what transcripts cover. */
export function helloBody({ signKey, boxKey, label, commitment }: Hello): Uint8Array {
  return concatBytes(Uint8Array.of(PAIRING_VERSION), signKey, boxKey, text(label), commitment)
}

/** All but the signature. */
export function offerBody(offer: Offer): Uint8Array {
  return concatBytes(
    offer.vaultId, text(offer.vaultName), Uint8Array.of(rankOf(offer.role)), offer.signKey,
    text(offer.label), Uint8Array.of(offer.isResumed ? 1 : 0), offer.nonce,
  )
}

export function frame(name: FrameName, ...body: Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(FRAME[name]), ...body)
}

export function rejectFrame(reason: RejectReason): Uint8Array {
  return frame('reject', Uint8Array.of(REASONS.indexOf(reason)))
}

/** The reason to tell the other side for an error met here. */
export function reasonFor(error: unknown): RejectReason {
  const code = isLatticeError(error) ? error.code : 'internal'
  if (code === 'cancelled') return 'pairing-refused'
  return REASONS.find((reason) => reason === code) ?? 'internal'
}

export function rejection(reason: RejectReason): LatticeError {
  const [message, hint] = MESSAGES[reason]
  return new LatticeError(reason, message, { hint })
}

/** A length u8 and UTF-8. */
export function text(value: string): Uint8Array {
  const bytes = utf8(value)
  return concatBytes(Uint8Array.of(bytes.length), bytes)
}

// ---- decoding ----

/**
 * The body of a frame of this type. A reject throws the other side's reason; anything else, and
 * what `read` cannot read, throws 'pairing-protocol'.
 */
export function expectFrame<T>(
  name: FrameName, bytes: Uint8Array, read: (reader: ByteReader) => T,
): T {
  const reader = new ByteReader(bytes)
  const type = reader.u8()
  if (type === FRAME.reject) {
    const reason = reader.leftBytes === 1 ? REASONS[reader.u8()] : undefined
    throw rejection(reason ?? 'internal')
  }
  if (type !== FRAME[name]) throw protocolError('frame-type', 'the other device sent another frame')
  try {
    const value = read(reader)
    reader.end()
    return value
  } catch (error) {
    if (!isLatticeError(error, 'truncated') && !isLatticeError(error, 'trailing-bytes')) throw error
    throw protocolError(`${name}-length`, 'the other device sent a frame of another length')
  }
}

export function readHello(reader: ByteReader): Hello {
  checkVersion(reader.u8())
  const signKey = reader.copy(32)
  const boxKey = readBoxKey(reader)
  const label = readText(reader, LABEL_MAX_BYTES)
  return { signKey, boxKey, label, commitment: reader.copy(32) }
}

/** `body` is what the signature covers. */
export function readOffer(reader: ByteReader): Offer & { signature: Uint8Array } {
  const vaultId = reader.copy(16)
  const vaultName = readText(reader, VAULT_NAME_MAX_BYTES)
  const role = readRole(reader)
  const signKey = reader.copy(32)
  const label = readText(reader, LABEL_MAX_BYTES)
  const flags = reader.u8()
  if (flags > 1 || vaultName === '') throw protocolError('offer-fields', 'an offer without sense')
  const nonce = reader.copy(NONCE_BYTES)
  return {
    vaultId, vaultName, role, signKey, label, isResumed: flags === 1, nonce,
    signature: reader.copy(64),
  }
}

export function readReveal(reader: ByteReader): Reveal {
  return {
    nonce: reader.copy(NONCE_BYTES), codeSignature: reader.copy(64),
    deviceSignature: reader.copy(64),
  }
}

export function checkVersion(version: number): void {
  if (version !== PAIRING_VERSION) throw rejection('unsupported')
}

export function readRole(reader: ByteReader): Role {
  const role = ROLES[reader.u8()]
  if (role === undefined) throw protocolError('role', 'the other device names an unknown role')
  return role
}

export function readBoxKey(reader: ByteReader): Uint8Array {
  const boxKey = reader.copy(32)
  if (!isBoxKey(boxKey)) throw protocolError('box-key', 'the other device gave a key that is none')
  return boxKey
}

export function readText(reader: ByteReader, maxBytes: number): string {
  const bytes = reader.view(reader.u8())
  if (bytes.length > maxBytes) throw protocolError('text', 'a name is too long')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw protocolError('text', 'a name is not UTF-8')
  }
}
