// The messages of the channel 'lattice/0', byte by byte (FORMATS.md, "Wire"). Decoders take what a
// peer sent and throw: 'protocol' with the rule in details.rule, or what a reader of damaged bytes
// throws ('truncated', 'trailing-bytes', 'out-of-bounds'); the peer is disconnected then. Integers
// are big-endian. Every list has a bound, and a list that exceeds it breaks the protocol.

import { isIP } from 'node:net'
import { BUNDLE_ID_BYTES } from '../chunks/bundle-id.ts'
import type { BundleId } from '../chunks/bundle-id.ts'
import { BUNDLE_MAX_BYTES } from '../chunks/bundle-layout.ts'
import type { AuthorId } from '../ops/types.ts'
import { assert } from '../util/assert.ts'
import { ByteReader, ByteWriter } from '../util/byte-cursor.ts'
import { copyBytes, utf8 } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { deviceBytes, deviceId } from './network-keys.ts'
import type { HostPort, LogHead, LogKind, LogName } from './ports.ts'

/** Places in the channel: their order is the format. */
export const MESSAGES = [
  'hello', 'heads', 'hashes', 'have', 'having', 'want', 'part', 'end', 'cancel', 'credit',
  'prove', 'proof', 'ping', 'pong', 'ack',
] as const
export type MessageName = (typeof MESSAGES)[number]

export const PROTOCOL_VERSION = 0
export const ADDRESSES_MAX = 16
export const HEADS_MAX = 1024
export const HAVE_MAX = 512
export const PART_MAX_BYTES = 128 * 1024
/** A part is smaller only at the end of a bundle, or where a limit says so. */
export const PART_LEAST_BYTES = 16 * 1024
export const PROVE_MAX = 64
export const ACKS_MAX = 1024
export const PRIORITY_RANKS = 6

export const END_COMPLETE = 0
export const END_ABSENT = 1
export const END_BUSY = 2
export const END_CANCELLED = 3
export const END_FAILED = 4
const END_LAST = END_FAILED

const KINDS: readonly LogKind[] = ['ops', 'content']

function broken(rule: string): LatticeError {
  return new LatticeError('protocol', `a peer broke the protocol: ${rule}`, { details: { rule } })
}

export { broken as protocolError }

// ---- hello: version u8 ‖ abilities u32 ‖ credit u32 ‖ n u8 ‖
//             n × (port u16 ‖ length u8 ‖ host) ----

export interface Hello {
  version: number
  /** Bits, none defined yet: unknown ones are ignored. */
  abilities: number
  /** Bytes of parts that the sender of this takes before it grants more. */
  creditBytes: number
  /** Where it listens: IP addresses. */
  addresses: HostPort[]
}

export function encodeHello(hello: Hello): Uint8Array {
  const hosts = hello.addresses.slice(0, ADDRESSES_MAX).map(({ host, port }) => (
    { host: utf8(host), port }
  ))
  const size = hosts.reduce((sum, { host }) => sum + 3 + host.length, 10)
  const writer = new ByteWriter(new Uint8Array(size))
    .u8(hello.version).u32(hello.abilities).u32(hello.creditBytes).u8(hosts.length)
  for (const { host, port } of hosts) writer.u16(port).u8(host.length).bytes(host)
  return writer.end()
}

export function decodeHello(bytes: Uint8Array): Hello {
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (version !== PROTOCOL_VERSION) throw broken('hello-version')
  const abilities = reader.u32()
  const creditBytes = reader.u32()
  const count = reader.u8()
  if (count > ADDRESSES_MAX) throw broken('hello-addresses')
  const addresses: HostPort[] = []
  for (let i = 0; i < count; i++) {
    const port = reader.u16()
    const host = Buffer.from(reader.view(reader.u8())).toString('latin1')
    if (port === 0 || isIP(host) === 0) throw broken('hello-address')
    addresses.push({ host, port })
  }
  reader.end()
  return { version, abilities, creditBytes, addresses }
}

// ---- heads: stage u8 ‖ n u16 ‖ n × (author 32 ‖ kind u8 ‖ length u64 ‖ tree hash 32) ----
// ---- hashes: the same without a stage; length 0 and zeros for a log that the sender has not ----

/** Of the first telling of all logs: more to come, and its end; told later, one by one. */
export const STAGE_MORE = 0
export const STAGE_LAST = 1
export const STAGE_LATER = 2

const HEAD_BYTES = 32 + 1 + 8 + 32

export function encodeHeads(stage: number, heads: readonly LogHead[]): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(3 + heads.length * HEAD_BYTES)).u8(stage)
  return writeHeads(writer, heads)
}

export function decodeHeads(bytes: Uint8Array): { stage: number; heads: LogHead[] } {
  const reader = new ByteReader(bytes)
  const stage = reader.u8()
  if (stage > STAGE_LATER) throw broken('heads-stage')
  const heads = readHeads(reader)
  if (heads.some(({ length }) => length === 0)) throw broken('heads-length')
  return { stage, heads }
}

export function encodeHashes(heads: readonly LogHead[]): Uint8Array {
  return writeHeads(new ByteWriter(new Uint8Array(2 + heads.length * HEAD_BYTES)), heads)
}

export function decodeHashes(bytes: Uint8Array): LogHead[] {
  return readHeads(new ByteReader(bytes))
}

function writeHeads(writer: ByteWriter, heads: readonly LogHead[]): Uint8Array {
  assert(heads.length <= HEADS_MAX, 'heads: too many for one message')
  writer.u16(heads.length)
  for (const head of heads) {
    writeLog(writer, head)
    writer.u64(head.length).bytes(head.treeHash)
  }
  return writer.end()
}

function readHeads(reader: ByteReader): LogHead[] {
  const count = reader.u16()
  if (count > HEADS_MAX) throw broken('heads-count')
  const heads: LogHead[] = []
  for (let i = 0; i < count; i++) {
    const log = readLog(reader)
    heads.push({ ...log, length: reader.u64(), treeHash: reader.copy(32) })
  }
  reader.end()
  return heads
}

// ---- have: query u32 ‖ n u16 ‖ n × id 32        having: query u32 ‖ n u16 ‖ ⌈n / 8⌉ bytes ----
// Bit i of a byte, lowest first, is the id at 8 × byte + i.

export function encodeHave(query: number, ids: readonly BundleId[]): Uint8Array {
  assert(ids.length <= HAVE_MAX, 'have: too many ids')
  const size = 6 + ids.length * BUNDLE_ID_BYTES
  const writer = new ByteWriter(new Uint8Array(size)).u32(query).u16(ids.length)
  for (const id of ids) writer.bytes(idBytes(id))
  return writer.end()
}

export function decodeHave(bytes: Uint8Array): { query: number; ids: BundleId[] } {
  const reader = new ByteReader(bytes)
  const query = reader.u32()
  const count = reader.u16()
  if (count === 0 || count > HAVE_MAX) throw broken('have-count')
  const ids: BundleId[] = []
  for (let i = 0; i < count; i++) ids.push(readId(reader))
  reader.end()
  return { query, ids }
}

export function encodeHaving(query: number, has: readonly boolean[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(has.length / 8))
  has.forEach((is, i) => {
    if (is) bits[i >>> 3] = (bits[i >>> 3] ?? 0) | (1 << (i & 7))
  })
  const size = 6 + bits.length
  return new ByteWriter(new Uint8Array(size)).u32(query).u16(has.length).bytes(bits).end()
}

export function decodeHaving(bytes: Uint8Array): { query: number; has: boolean[] } {
  const reader = new ByteReader(bytes)
  const query = reader.u32()
  const count = reader.u16()
  if (count === 0 || count > HAVE_MAX) throw broken('having-count')
  const bits = reader.view(Math.ceil(count / 8))
  reader.end()
  const has = Array.from({ length: count }, (_, i) => (
    (((bits[i >>> 3] ?? 0) >>> (i & 7)) & 1) === 1
  ))
  return { query, has }
}

// ---- want: request u32 ‖ rank u8 ‖ id 32; a second one with the same request moves its rank ----

export interface Want {
  request: number
  /** 0 = somebody waits … 5 = whenever there is time: index in FETCH_PRIORITIES. */
  rank: number
  id: BundleId
}

export function encodeWant(want: Want): Uint8Array {
  return new ByteWriter(new Uint8Array(5 + BUNDLE_ID_BYTES))
    .u32(want.request).u8(want.rank).bytes(idBytes(want.id)).end()
}

export function decodeWant(bytes: Uint8Array): Want {
  const reader = new ByteReader(bytes)
  const request = reader.u32()
  const rank = reader.u8()
  if (rank >= PRIORITY_RANKS) throw broken('want-rank')
  const id = readId(reader)
  reader.end()
  return { request, rank, id }
}

// ---- part: request u32 ‖ offset u32 ‖ 1 to 128 KiB, in order and without gaps ----

export interface Part {
  request: number
  offset: number
  /** A view. */
  bytes: Uint8Array
}

export const PART_HEADER_BYTES = 8

export function decodePart(bytes: Uint8Array): Part {
  const reader = new ByteReader(bytes)
  const request = reader.u32()
  const offset = reader.u32()
  const { leftBytes } = reader
  if (leftBytes === 0 || leftBytes > PART_MAX_BYTES) throw broken('part-size')
  if (offset + leftBytes > BUNDLE_MAX_BYTES) throw broken('part-offset')
  return { request, offset, bytes: reader.view(leftBytes) }
}

// ---- end: request u32 ‖ status u8; the last word on every want        cancel: request u32 ----

export function encodeEnd(request: number, status: number): Uint8Array {
  return new ByteWriter(new Uint8Array(5)).u32(request).u8(status).end()
}

export function decodeEnd(bytes: Uint8Array): { request: number; status: number } {
  const reader = new ByteReader(bytes)
  const request = reader.u32()
  const status = reader.u8()
  reader.end()
  if (status > END_LAST) throw broken('end-status')
  return { request, status }
}

// ---- cancel: request u32     credit: bytes u32     pong: token u32 ----

export function encodeNumber(value: number): Uint8Array {
  return new ByteWriter(new Uint8Array(4)).u32(value).end()
}

export function decodeNumber(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes)
  const value = reader.u32()
  reader.end()
  return value
}

// ---- prove: query u32 ‖ nonce 32 ‖ n u8 ‖ n × id 32 ----
// ---- proof: query u32 ‖ n u8 ‖ n × (held u8 ‖ hash 32: of the bundle, under the nonce) ----

export interface Prove {
  query: number
  nonce: Uint8Array
  ids: BundleId[]
}

export function encodeProve({ query, nonce, ids }: Prove): Uint8Array {
  assert(ids.length <= PROVE_MAX, 'prove: too many ids')
  const writer = new ByteWriter(new Uint8Array(37 + ids.length * BUNDLE_ID_BYTES))
  writer.u32(query).bytes(nonce).u8(ids.length)
  for (const id of ids) writer.bytes(idBytes(id))
  return writer.end()
}

export function decodeProve(bytes: Uint8Array): Prove {
  const reader = new ByteReader(bytes)
  const query = reader.u32()
  const nonce = reader.copy(32)
  const count = reader.u8()
  if (count === 0 || count > PROVE_MAX) throw broken('prove-count')
  const ids: BundleId[] = []
  for (let i = 0; i < count; i++) ids.push(readId(reader))
  reader.end()
  return { query, nonce, ids }
}

/** Undefined for a bundle that is not held. */
export type HoldingProof = Uint8Array | undefined

export function encodeProofs(query: number, proofs: readonly HoldingProof[]): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(5 + proofs.length * 33))
  writer.u32(query).u8(proofs.length)
  for (const proof of proofs) {
    writer.u8(proof === undefined ? 0 : 1).bytes(proof ?? new Uint8Array(32))
  }
  return writer.end()
}

export function decodeProofs(bytes: Uint8Array): { query: number; proofs: HoldingProof[] } {
  const reader = new ByteReader(bytes)
  const query = reader.u32()
  const count = reader.u8()
  if (count === 0 || count > PROVE_MAX) throw broken('proof-count')
  const proofs: HoldingProof[] = []
  for (let i = 0; i < count; i++) {
    const holds = reader.u8()
    if (holds > 1) throw broken('proof-flag')
    const proof = reader.copy(32)
    proofs.push(holds === 1 ? proof : undefined)
  }
  reader.end()
  return { query, proofs }
}

// ---- ping: token u32 ‖ presence u8 (0 nobody works there, 1 somebody does) ----

export interface Ping {
  token: number
  presence: number
}

export function encodePing({ token, presence }: Ping): Uint8Array {
  return new ByteWriter(new Uint8Array(5)).u32(token).u8(presence).end()
}

export function decodePing(bytes: Uint8Array): Ping {
  const reader = new ByteReader(bytes)
  const token = reader.u32()
  const presence = reader.u8()
  reader.end()
  if (presence > 1) throw broken('ping-presence')
  return { token, presence }
}

// ---- ack: n u16 ‖ n × (author 32 ‖ kind u8 ‖ length u64): applied and durable at the sender ----

export interface AppliedLog extends LogName {
  length: number
}

const ACK_BYTES = 32 + 1 + 8

export function encodeAcks(acks: readonly AppliedLog[]): Uint8Array {
  assert(acks.length <= ACKS_MAX, 'ack: too many for one message')
  const writer = new ByteWriter(new Uint8Array(2 + acks.length * ACK_BYTES)).u16(acks.length)
  for (const ack of acks) {
    writeLog(writer, ack)
    writer.u64(ack.length)
  }
  return writer.end()
}

export function decodeAcks(bytes: Uint8Array): AppliedLog[] {
  const reader = new ByteReader(bytes)
  const count = reader.u16()
  if (count > ACKS_MAX) throw broken('ack-count')
  const acks: AppliedLog[] = []
  for (let i = 0; i < count; i++) acks.push({ ...readLog(reader), length: reader.u64() })
  reader.end()
  return acks
}

// ---- parts of them ----

function writeLog(writer: ByteWriter, log: LogName): void {
  writer.bytes(deviceBytes(log.author)).u8(KINDS.indexOf(log.kind))
}

function readLog(reader: ByteReader): { author: AuthorId; kind: LogKind } {
  const author = deviceId(reader.view(32))
  const kind = KINDS[reader.u8()]
  if (kind === undefined) throw broken('log-kind')
  return { author, kind }
}

function readId(reader: ByteReader): BundleId {
  return Buffer.from(copyBytes(reader.view(BUNDLE_ID_BYTES))).toString('latin1') as BundleId
}

function idBytes(id: BundleId): Uint8Array {
  assert(id.length === BUNDLE_ID_BYTES, 'a bundle id has 32 bytes')
  return Buffer.from(id, 'latin1')
}
