// Which Hypercore a log is. Its key is the hash of its manifest, and the manifest follows from the
// vault, the device and the kind of log; so every member computes the keys of every log, nothing
// has to be announced, and no log of one vault is one of another.
//
//   manifest    {version 1, hash 'blake2b', quorum 1,
//               signers: [{'ed25519', namespace, device key}]}
//   namespace   BLAKE2b-256('lattice/0/ops-log' | 'lattice/0/content-log' ‖ vault id 16)
//
// The signature of a head, as Hypercore stores it, is its encoding of a quorum of one: 01 (one
// proof) ‖ 00 (by the first signer) ‖ signature 64 ‖ 00 (no patch) ‖ 00 (no nodes). Lattice keeps
// the 64 bytes.

import Hypercore from 'hypercore'
import { blake2b } from '../crypto/hash.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { concatBytes, copyBytes, equalBytes, utf8 } from '../util/bytes.ts'
import type { LogKind } from '../vault/ports.ts'

const LABELS: Record<LogKind, Uint8Array> = {
  ops: utf8('lattice/0/ops-log'),
  content: utf8('lattice/0/content-log'),
}
const KINDS: readonly LogKind[] = ['ops', 'content']
const SIGNATURE_BYTES = 64
const BEFORE = Uint8Array.of(1, 0)
const BEHIND = Uint8Array.of(0, 0)

export function logNamespace(vaultId: Uint8Array, kind: LogKind): Buffer {
  assert(vaultId.length === 16, 'a vault id has 16 bytes')
  return blake2b(32, LABELS[kind], vaultId)
}

export function logManifest(
  vaultId: Uint8Array, author: AuthorId, kind: LogKind,
): Hypercore.Manifest {
  const publicKey = Buffer.from(author, 'latin1')
  const namespace = logNamespace(vaultId, kind)
  return { version: 1, signers: [{ signature: 'ed25519', namespace, publicKey }] }
}

export function logKey(vaultId: Uint8Array, author: AuthorId, kind: LogKind): Buffer {
  return Hypercore.key(logManifest(vaultId, author, kind))
}

/** Whose log a stored manifest is; undefined when it is none of this vault. */
export function ownerOf(
  manifest: unknown, vaultId: Uint8Array,
): { author: AuthorId; kind: LogKind } | undefined {
  const { signers } = (manifest ?? {}) as Partial<Hypercore.Manifest>
  const signer = signers?.[0]
  if (signer === undefined || signers?.length !== 1) return undefined
  const kind = KINDS.find((one) => logNamespace(vaultId, one).equals(signer.namespace))
  if (kind === undefined) return undefined
  return { author: Buffer.from(signer.publicKey).toString('latin1') as AuthorId, kind }
}

/** The 64 bytes in a signature of Hypercore's; undefined when an author has put it otherwise. */
export function plainSignature(stored: Uint8Array): Uint8Array | undefined {
  const signature = copyBytes(stored, BEFORE.length, BEFORE.length + SIGNATURE_BYTES)
  if (signature.length !== SIGNATURE_BYTES) return undefined
  return equalBytes(storedSignature(signature), stored) ? signature : undefined
}

export function storedSignature(signature: Uint8Array): Buffer {
  assert(signature.length === SIGNATURE_BYTES, 'a signature has 64 bytes')
  return Buffer.from(concatBytes(BEFORE, signature, BEHIND))
}
