// The first thing that both sides of a vault's connection say, before anything else is told or
// attached: that they are members. Whoever dialled speaks first. One message each, inside Noise:
//
//     0  1  version 0
//     1 32  device id
//    33  8  epoch id
//    41 32  MAC        keyed BLAKE2b-256 under the proof key of that epoch, of M
//    73 64  signature  Ed25519 of the device, of M
//
//   M = 'lattice/0/proof' ‖ vault id 16 ‖ role u8 (0 dialler, 1 listener) ‖ Noise handshake hash 64
//
// The MAC shows the epoch's keys, the signature the device; both are bound to this one connection
// and to one side of it, so neither can be replayed, reflected or passed on. That the device is a
// member at present is asked of the members view. An older epoch is fine: the member was away.

import { blake2bKeyed } from '../crypto/hash.ts'
import { equalSecrets } from '../crypto/secret.ts'
import { sign, verify } from '../crypto/sign.ts'
import type { AuthorId } from '../ops/types.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { concatBytes, equalBytes, utf8 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { deviceBytes, deviceId } from './network-keys.ts'
import type { SignKeys } from './ports.ts'

export const PROOF_BYTES = 137
const VERSION = 0
const LABEL = utf8('lattice/0/proof')

export type ProofRule =
  | 'proof-length'
  | 'proof-version'
  | 'proof-epoch'
  | 'proof-mac'
  | 'proof-signature'
  | 'proof-member'
  | 'proof-self'

export interface ProofContext {
  vaultId: Uint8Array
  /** 64 bytes of this connection. */
  handshakeHash: Uint8Array
}

export interface ProofKeys {
  epochId: Uint8Array
  proofKey: Uint8Array
}

export function makeProof(
  context: ProofContext,
  isDialler: boolean,
  device: AuthorId,
  signKeys: SignKeys,
  epoch: ProofKeys,
): Uint8Array {
  const message = signed(context, isDialler)
  return new ByteWriter(new Uint8Array(PROOF_BYTES))
    .u8(VERSION)
    .bytes(deviceBytes(device))
    .bytes(epoch.epochId)
    .bytes(blake2bKeyed(epoch.proofKey, 32, message))
    .bytes(sign(message, signKeys.secretKey))
    .end()
}

export interface Verifier {
  self: AuthorId
  /** Those that are still good, in any order. */
  epochs: readonly ProofKeys[]
  isMember(device: AuthorId): boolean
}

/** Who is there. Throws 'refused' with details.rule, a ProofRule. */
export function checkProof(
  context: ProofContext, isDialler: boolean, proof: Uint8Array, verifier: Verifier,
): { device: AuthorId; epochId: Uint8Array } {
  if (proof.length !== PROOF_BYTES) throw refusal('proof-length')
  const reader = new ByteReader(proof)
  if (reader.u8() !== VERSION) throw refusal('proof-version')
  const device = deviceId(reader.view(32))
  const epochId = reader.copy(8)
  const mac = reader.view(32)
  const signature = reader.view(64)
  const epoch = verifier.epochs.find((one) => equalBytes(one.epochId, epochId))
  if (epoch === undefined) throw refusal('proof-epoch')
  const message = signed(context, isDialler)
  if (!equalSecrets(blake2bKeyed(epoch.proofKey, 32, message), mac)) throw refusal('proof-mac')
  if (!verify(message, signature, deviceBytes(device))) throw refusal('proof-signature')
  if (device === verifier.self) throw refusal('proof-self')
  if (!verifier.isMember(device)) throw refusal('proof-member')
  return { device, epochId }
}

function signed(context: ProofContext, isDialler: boolean): Uint8Array {
  const role = Uint8Array.of(isDialler ? 0 : 1)
  return concatBytes(LABEL, context.vaultId, role, context.handshakeHash)
}

function refusal(rule: ProofRule): LatticeError {
  return new LatticeError('refused', 'a peer does not prove to be a member', { details: { rule } })
}
