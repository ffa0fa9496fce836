// The invite code: what a person carries from one device to the other. `LATTICE-` and base 32 of
//
//    0  1  version (0)
//    1  1  role that is granted: its number in ROLES; never owner
//    2 16  seed, random: all secrets of the invite come from it (secrets.ts)
//   18 16  start of BLAKE2b-256('lattice/0/inviter' ‖ the inviter's Ed25519 key)
//   34  4  expiry, seconds since 1970, u32 (a hint: the inviter's own clock decides)
//   38  1  number of addresses, at most 8, then each:
//            4 ‖ 4 bytes ‖ port u16   |   6 ‖ 16 bytes ‖ port u16   |   0 ‖ length u8 ‖ name ‖ port
//       4  checksum: start of BLAKE2b-256('lattice/0/invite-code' ‖ everything before)
//
// The checksum is at the end in every version, so that a code of a newer lattice is told apart from
// a damaged one. Whoever has the code may knock and ask; who is let in, people decide (inviter.ts).

import { isIP, isIPv4 } from 'node:net'
import { blake2b } from '../../crypto/hash.ts'
import { ROLES, rankOf } from '../../ops/control-types.ts'
import type { Role } from '../../ops/control-types.ts'
import { ByteReader } from '../../util/byte-cursor.ts'
import { concatBytes, equalBytes, utf8, writeU16, writeU32 } from '../../util/bytes.ts'
import { LatticeError, isLatticeError } from '../../util/errors.ts'
import { damagedCode, fromBase32, toBase32 } from './base32.ts'
import type { Address } from './ports.ts'

export const SEED_BYTES = 16
export const INVITER_HASH_BYTES = 16
export const ADDRESSES_MAX = 8
export const CODE_TEXT_MAX = 4096

const PREFIX = 'LATTICE-'
const VERSION = 0
const CHECKSUM_BYTES = 4
const NAME_MAX_BYTES = 253

/** Roles that a code can grant. */
export type InviteRole = Exclude<Role, 'owner'>

export interface InviteCode {
  seed: Uint8Array
  inviterHash: Uint8Array
  role: InviteRole
  expiryMs: number
  addresses: readonly Address[]
}

export function inviterHash(signKey: Uint8Array): Uint8Array {
  return new Uint8Array(blake2b(32, utf8('lattice/0/inviter'), signKey).subarray(0, 16))
}

export function isInviteRole(role: string): role is InviteRole {
  return role !== 'owner' && ROLES.some((one) => one === role)
}

/** Addresses beyond the eighth are left out. */
export function encodeCode(code: InviteCode): string {
  const head = new Uint8Array(5)
  writeU32(head, 0, Math.ceil(code.expiryMs / 1000))
  const addresses = code.addresses.slice(0, ADDRESSES_MAX)
  head[4] = addresses.length
  const body = concatBytes(
    Uint8Array.of(VERSION, rankOf(code.role)), code.seed, code.inviterHash, head,
    ...addresses.map(encodeAddress),
  )
  return PREFIX + toBase32(concatBytes(body, checksum(body)))
}

/**
 * Throws 'code-damaged' (details.rule: prefix, character, padding, length, checksum, role, address)
 * or 'code-too-new'.
 */
export function decodeCode(text: string): InviteCode {
  const trimmed = text.trim()
  if (trimmed.length > CODE_TEXT_MAX) throw damagedCode('length', 'it is too long')
  if (!trimmed.toUpperCase().startsWith(PREFIX)) {
    throw damagedCode('prefix', `it does not begin with ${PREFIX}`)
  }
  const bytes = fromBase32(trimmed.slice(PREFIX.length))
  const end = bytes.length - CHECKSUM_BYTES
  if (end < 1) throw damagedCode('length', 'it is too short')
  const body = bytes.subarray(0, end)
  if (!equalBytes(checksum(body), bytes.subarray(end))) {
    throw damagedCode('checksum', 'a character is wrong or missing')
  }
  if (body[0] !== VERSION) {
    throw new LatticeError('code-too-new', 'the invite code was made by a newer lattice', {
      hint: 'install the version of lattice that the other device has',
      details: { version: body[0] ?? 0 },
    })
  }
  try {
    return decodeBody(body)
  } catch (error) {
    if (!isLatticeError(error, 'truncated') && !isLatticeError(error, 'trailing-bytes')) throw error
    throw damagedCode('length', 'its length does not fit')
  }
}

function decodeBody(body: Uint8Array): InviteCode {
  const reader = new ByteReader(body)
  reader.u8()
  const role = ROLES[reader.u8()]
  if (role === undefined || role === 'owner') throw damagedCode('role', 'it grants no known role')
  const seed = reader.copy(SEED_BYTES)
  const hash = reader.copy(INVITER_HASH_BYTES)
  const expiryMs = reader.u32() * 1000
  const addresses = decodeAddresses(reader)
  reader.end()
  return { seed, inviterHash: hash, role, expiryMs, addresses }
}

// ---- addresses: also part of what the inviter sends (welcome.ts) ----

export function encodeAddresses(addresses: readonly Address[]): Uint8Array {
  const few = addresses.slice(0, ADDRESSES_MAX)
  return concatBytes(Uint8Array.of(few.length), ...few.map(encodeAddress))
}

/** Throws 'code-damaged' with rule 'address', or 'truncated'. */
export function decodeAddresses(reader: ByteReader): Address[] {
  const count = reader.u8()
  if (count > ADDRESSES_MAX) throw damagedCode('address', 'it has too many addresses')
  return Array.from({ length: count }, () => decodeAddress(reader))
}

function encodeAddress({ host, port }: Address): Uint8Array {
  const end = new Uint8Array(2)
  writeU16(end, 0, port)
  if (isIPv4(host)) return concatBytes(Uint8Array.of(4, ...host.split('.').map(Number)), end)
  if (isIP(host) === 6 && !host.includes('%')) return concatBytes(ipv6Bytes(host), end)
  const name = utf8(host)
  if (!isHostName(host)) {
    throw new LatticeError('invalid', `${host} is no address`, { hint: 'give HOST:PORT' })
  }
  return concatBytes(Uint8Array.of(0, name.length), name, end)
}

function decodeAddress(reader: ByteReader): Address {
  const kind = reader.u8()
  let host: string | undefined
  if (kind === 4) host = [...reader.view(4)].join('.')
  else if (kind === 6) host = ipv6Text(reader.view(16))
  else if (kind === 0) host = Buffer.from(reader.view(reader.u8())).toString('latin1')
  if (host === undefined || (kind === 0 && !isHostName(host))) {
    throw damagedCode('address', 'it has an address of an unknown kind')
  }
  const port = reader.u16()
  if (port === 0) throw damagedCode('address', 'it has an address without a port')
  return { host, port }
}

function isHostName(host: string): boolean {
  return host.length <= NAME_MAX_BYTES && /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(host)
}

function ipv6Bytes(host: string): Uint8Array {
  const out = new Uint8Array(17)
  out[0] = 6
  // the URL parser writes an IPv4 tail as two groups
  const plain = new URL(`http://[${host}]`).hostname.slice(1, -1)
  const [left = '', right] = plain.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const head = groups(left)
  const tail = right === undefined ? [] : groups(right)
  head.forEach((group, i) => writeU16(out, 1 + 2 * i, Number.parseInt(group, 16)))
  const begin = 8 - tail.length
  tail.forEach((group, i) => writeU16(out, 1 + 2 * (begin + i), Number.parseInt(group, 16)))
  return out
}

function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16)
  ))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

function checksum(body: Uint8Array): Uint8Array {
  return blake2b(32, utf8('lattice/0/invite-code'), body).subarray(0, CHECKSUM_BYTES)
}
