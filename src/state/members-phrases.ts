/**
 * Recovery phrases as members: a phrase authors no log, it signs certificates that anybody may
 * carry. The genesis' phrase and those that it signed as its successors are senior to every device;
 * one that an owner put in its place without its signature ranks right behind that owner.
 *
 * Certificates are numbered; a later one is senior to an earlier one, so that whoever has the
 * phrase can always act on what it certified before. A successor ends its predecessor's
 * certificates from its own number on. Of several successors the one with the smallest number
 * counts, then the one with the smaller key.
 *
 *   signed: label, length first ‖ vault id 16 ‖ phrase's Ed25519 key ‖ serial u32 ‖ two keys
 *   'lattice/0/phrase-owner': keys of the device (Ed25519, X25519), which becomes an owner
 *   'lattice/0/phrase-next':  keys of the next phrase (Ed25519, X25519)
 */

import { sign } from '../crypto/sign.ts'
import { AUTHOR_BYTES } from '../ops/bounds.ts'
import type { Certificate, ControlRecord } from '../ops/control-types.ts'
import { SERIAL_MAX } from '../ops/control-types.ts'
import { compareRefs } from '../ops/order.ts'
import type { AuthorId } from '../ops/types.ts'
import type { MemberRules } from './members-rules.ts'
import { compareBytes, concatBytes, equalBytes, readU32, utf8, writeU32 } from '../util/bytes.ts'

export type CertificateUse = 'phrase-owner' | 'phrase-next'

export interface Phrase {
  readonly signKey: Uint8Array
  readonly boxKey: Uint8Array
  /** Where its lineage stands, and how many phrases of it came before. */
  readonly prefix: readonly number[]
  readonly generation: number
  /**
   * What it stands on: the op that introduced its lineage (none for the genesis' one), then the
   * carriers of its predecessors' certificates up to its own. Who sees them all sees the phrase: a
   * carrier alone may be older than the phrase that signed.
   */
  readonly records: readonly ControlRecord[]
}

/** A phrase as the fold keeps it. */
export interface PhraseEntry extends Phrase {
  readonly serialMax: number
  readonly successor: Phrase | undefined
  /** Whether this one was introduced, without a signature, to stand for the other. */
  replaces(other: Phrase): boolean
}

/** What a phrase's certificates amount to. */
export interface Certified {
  owners: { record: ControlRecord; device: AuthorId; path: number[] }[]
  next: { record: ControlRecord; signKey: Uint8Array; boxKey: Uint8Array } | undefined
  /** All that carry a certificate which counts. */
  carriers: ControlRecord[]
  /** Valid signatures beyond the phrase's replacement. */
  replaced: ControlRecord[]
  /** Valid signatures for a successor that has been a phrase already. */
  known: ControlRecord[]
  serialMax: number
}

type Signed = { record: ControlRecord; serial: number; signKey: Uint8Array; boxKey: Uint8Array }

/** The bytes that a certificate signs. */
export function certificateBytes(
  use: CertificateUse,
  vaultId: Uint8Array,
  certificate: Pick<Certificate, 'phrase' | 'serial'>,
  signKey: Uint8Array,
  boxKey: Uint8Array,
): Uint8Array {
  const label = utf8(`lattice/0/${use}`)
  const serial = new Uint8Array(4)
  writeU32(serial, 0, certificate.serial)
  return concatBytes(
    Uint8Array.of(label.length), label, vaultId, certificate.phrase, serial, signKey, boxKey,
  )
}

/** `secretKey`: the phrase's Ed25519 secret key (crypto/phrase.ts). */
export function certify(
  use: CertificateUse,
  vaultId: Uint8Array,
  certificate: Pick<Certificate, 'phrase' | 'serial'>,
  keys: { signKey: Uint8Array; boxKey: Uint8Array },
  secretKey: Uint8Array,
): Certificate {
  const bytes = certificateBytes(use, vaultId, certificate, keys.signKey, keys.boxKey)
  return { ...certificate, signature: new Uint8Array(sign(bytes, secretKey)) }
}

/**
 * Reads all certificates of `phrase` among the records. `isPhrase`: whether a key is one of a
 * phrase already, this one included; such a one is no successor.
 */
export function readCertificates(
  phrase: Phrase, records: readonly ControlRecord[], vaultId: Uint8Array,
  isPhrase: (signKey: Uint8Array) => boolean,
  rules: Pick<MemberRules, 'verifies' | 'isReplaced'>,
): Certified {
  const owners: Signed[] = []
  const nexts: Signed[] = []
  const known: ControlRecord[] = []
  for (const record of records) {
    const claim = claimOf(record)
    if (claim === undefined || !equalBytes(claim.certificate.phrase, phrase.signKey)) continue
    const { certificate, use, signKey, boxKey } = claim
    const bytes = certificateBytes(use, vaultId, certificate, signKey, boxKey)
    if (!rules.verifies(bytes, certificate.signature, phrase.signKey)) continue
    const signed = { record, serial: certificate.serial, signKey, boxKey }
    if (use === 'phrase-owner') owners.push(signed)
    else if (isPhrase(signKey)) known.push(record)
    else nexts.push(signed)
  }
  return { ...sortCertificates(phrase, owners, nexts, rules), known }
}

function claimOf({ op }: ControlRecord): {
  certificate: Certificate; use: CertificateUse; signKey: Uint8Array; boxKey: Uint8Array
} | undefined {
  if (op.kind === 'add' && op.role === 'owner' && op.certificate !== undefined) {
    const signKey = Buffer.from(op.device, 'latin1')
    return { certificate: op.certificate, use: 'phrase-owner', signKey, boxKey: op.boxKey }
  }
  if (op.kind !== 'policy' || op.policy !== 'phrase') return undefined
  if (op.certificate === undefined) return undefined
  const { certificate, signKey, boxKey } = op
  return { certificate, use: 'phrase-next', signKey, boxKey }
}

function sortCertificates(
  phrase: Phrase, owners: Signed[], nexts: Signed[], rules: Pick<MemberRules, 'isReplaced'>,
): Omit<Certified, 'known'> {
  const next = nexts.toSorted(compareSigned)[0]
  const last = next?.serial ?? Infinity
  const isNext = (signed: Signed): boolean => (
    next !== undefined && nexts.includes(signed) && signed.serial === next.serial &&
    equalBytes(signed.signKey, next.signKey) && equalBytes(signed.boxKey, next.boxKey)
  )
  const isCut = (signed: Signed): boolean => (
    !isNext(signed) && rules.isReplaced(signed.serial, last)
  )
  const seen = new Set<string>()
  const certified: Omit<Certified, 'known'> = {
    owners: [], next, carriers: [], replaced: [], serialMax: 0,
  }
  for (const signed of [...owners, ...nexts].toSorted(compareSigned)) {
    certified.serialMax = Math.max(certified.serialMax, signed.serial)
    if (isCut(signed)) certified.replaced.push(signed.record)
    else certified.carriers.push(signed.record)
    if (isCut(signed) || nexts.includes(signed)) continue
    const path = certificatePath(phrase, signed.serial, signed.signKey)
    // The same certificate may have been carried several times.
    if (seen.has(path.join())) continue
    seen.add(path.join())
    const device = Buffer.from(signed.signKey).toString('latin1') as AuthorId
    certified.owners.push({ record: signed.record, device, path })
  }
  return certified
}

function compareSigned(a: Signed, b: Signed): number {
  return a.serial - b.serial || compareBytes(a.signKey, b.signKey) ||
    compareBytes(a.boxKey, b.boxKey) || compareRefs(a.record.ref, b.record.ref)
}

/** Later phrases of the lineage first, then later certificates, then smaller device keys. */
export function certificatePath(phrase: Phrase, serial: number, signKey: Uint8Array): number[] {
  const path = [...phrase.prefix, SERIAL_MAX + 1 - phrase.generation, SERIAL_MAX + 1 - serial]
  for (let at = 0; at < AUTHOR_BYTES; at += 4) path.push(readU32(signKey, at))
  return path
}
