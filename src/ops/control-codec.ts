/**
 * Bytes of the control ops' bodies (genesis: control-genesis.ts). One value has one form: decoding
 * encodes again and compares. Numbers are compact-encoding's uints, keys stand bare.
 *
 *   role      u8: 0 blind, 1 reader, 2 writer, 3 admin, 4 owner
 *   mark      log 32 ‖ length uint ‖ tree hash 32 (zeros at length 0)
 *   logs      count uint (1 to 16) ‖ mark…, ascending by log
 *   keyBox    0 | 1 ‖ epoch id 8 ‖ 0 ‖ box 176 | 1 ‖ epoch id 8 ‖ 1 ‖ box 112
 *   cert      phrase 32 ‖ serial uint (from 1) ‖ signature 64
 *
 *   add       device 32 ‖ box key 32 ‖ role ‖ label (length uint ‖ UTF-8, ≤ 64)
 *             ‖ (0 | 1 ‖ code 32 | 2 ‖ cert) ‖ keyBox
 *   role      device 32 ‖ role ‖ u8: 0 raise, 1 lower ‖ logs ‖ keyBox
 *   remove    device 32 ‖ logs
 *   epoch     commitment 32 ‖ control commitment 32
 *             ‖ count uint (1 to 64) ‖ (epoch id 8 ‖ chain 104 ‖ control chain 104)…, ascending
 *             ‖ count uint (≤ 1024) ‖ (box key 32 ‖ 0 ‖ box 176 | box key 32 ‖ 1 ‖ box 112)…, asc.
 *   invite    code 32 ‖ role ‖ expiry uint (ms)
 *   info      0 ‖ label | 1 ‖ epoch id 8 | 2 ‖ log 32
 *   policy    0 ‖ version uint | 1 ‖ sign key 32 ‖ box key 32 ‖ (0 | 1 ‖ cert)
 *   readmit   author 32 ‖ sequence uint ‖ index uint ‖ logs
 *   void      device 32 ‖ begin uint ‖ end uint ‖ tree hash 32
 *   fork      device 32 ‖ mark (length from 1)
 */

import { assert } from '../util/assert.ts'
import { bufferView, compareBytes, isZero } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import {
  AUTHOR_BYTES, BATCH_MAX_BYTES, BATCH_OPS_MAX, EPOCH_ID_BYTES, TREE_HASH_BYTES,
} from './bounds.ts'
import { decodeGenesis, encodeGenesis } from './control-genesis.ts'
import {
  BLIND_BOX_BYTES, CHAIN_ENTRY_BYTES, CONTROL_NUMBERS, EPOCH_BOXES_MAX, EPOCH_PARENTS_MAX,
  FULL_BOX_BYTES, LABEL_MAX_BYTES, LOGS_MAX, ROLES, SERIAL_MAX, rankOf,
} from './control-types.ts'
import type {
  AddOp, Certificate, ControlKind, ControlOp, DeviceInfoOp, EpochBox, EpochOp, EpochParent, KeyBox,
  LogMark, PolicyOp, Role, RoleOp,
} from './control-types.ts'
import { reject } from './reject.ts'
import type { AuthorId, Op } from './types.ts'
import { Reader, Writer } from './wire.ts'

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
const NUMBER_MAX = Number.MAX_SAFE_INTEGER
const NO_HASH = new Uint8Array(TREE_HASH_BYTES)
/** What every lattice must understand; the others may be skipped. */
const NOT_CRITICAL: ReadonlySet<ControlKind> = new Set(['invite', 'deviceInfo'])
const KINDS = Object.keys(CONTROL_NUMBERS) as ControlKind[]

let spare: Writer | undefined

/** A new buffer. Values beyond their bounds are asserted: callers check what users give. */
export function encodeControl(op: ControlOp): Uint8Array {
  if (op.kind === 'genesis') return encodeGenesis(op)
  spare ??= new Writer(BATCH_MAX_BYTES)
  spare.rewind(0)
  writeControl(spare, op)
  return new Uint8Array(spare.buffer.subarray(0, spare.at))
}

/** As it stands in a batch. */
export function controlOp(op: ControlOp): Op & { kind: 'control' } {
  const control = CONTROL_NUMBERS[op.kind]
  return { kind: 'control', control, critical: !NOT_CRITICAL.has(op.kind), body: encodeControl(op) }
}

/** The kind of a control op by its number, or undefined for one of a later lattice. */
export function controlKind(control: number): ControlKind | undefined {
  return KINDS.find((kind) => CONTROL_NUMBERS[kind] === control)
}

/**
 * The op, or undefined for a number of a later lattice. Throws LatticeError 'invalid' with a
 * RejectRule (for a genesis also what decodeGenesis() throws): such an op counts for nothing, the
 * others of its batch stay.
 */
export function decodeControl(op: Op & { kind: 'control' }): ControlOp | undefined {
  const kind = controlKind(op.control)
  if (kind === undefined) return undefined
  if (op.critical === NOT_CRITICAL.has(kind)) reject('op-flags')
  if (kind === 'genesis') return decodeGenesis(op.body)
  const reader = new Reader(op.body)
  const decoded = readControl(reader, kind)
  reader.finish()
  if (!bufferView(encodeControl(decoded)).equals(op.body)) reject('not-canonical')
  return decoded
}

function writeControl(writer: Writer, op: Exclude<ControlOp, { kind: 'genesis' }>): void {
  switch (op.kind) {
    case 'add': return writeAdd(writer, op)
    case 'role': return writeRole(writer, op)
    case 'remove':
      writer.id(op.device, AUTHOR_BYTES)
      return writeLogs(writer, op.logs)
    case 'epoch': return writeEpoch(writer, op)
    case 'invite':
      writeFixed(writer, op.code, KEY_BYTES)
      writer.u8(rankOf(op.role))
      return writer.uint(op.expiryMs)
    case 'deviceInfo': return writeInfo(writer, op)
    case 'policy': return writePolicy(writer, op)
    case 'readmit':
      writer.id(op.target.author, AUTHOR_BYTES)
      writer.uint(op.target.seq)
      writer.uint(op.target.index)
      return writeLogs(writer, op.logs)
    case 'void':
      assert(op.begin < op.end, 'a range of batches')
      writer.id(op.device, AUTHOR_BYTES)
      writer.uint(op.begin)
      writer.uint(op.end)
      return writeFixed(writer, op.treeHash, TREE_HASH_BYTES)
    case 'fork':
      writer.id(op.device, AUTHOR_BYTES)
      return writeMark(writer, op.mark)
  }
}

function readControl(
  reader: Reader, kind: Exclude<ControlKind, 'genesis'>,
): Exclude<ControlOp, { kind: 'genesis' }> {
  switch (kind) {
    case 'add': return readAdd(reader)
    case 'role': return readRole(reader)
    case 'remove': return { kind, device: readDevice(reader), logs: readLogs(reader) }
    case 'epoch': return readEpoch(reader)
    case 'invite': {
      const code = reader.raw(KEY_BYTES)
      return { kind, code, role: readRank(reader), expiryMs: reader.uint(NUMBER_MAX) }
    }
    case 'deviceInfo': return readInfo(reader)
    case 'policy': return readPolicy(reader)
    case 'readmit': {
      const author = readDevice(reader)
      const seq = reader.uint(NUMBER_MAX)
      const index = reader.uint(BATCH_OPS_MAX - 1, 'ref-index')
      return { kind, target: { author, seq, index }, logs: readLogs(reader) }
    }
    case 'void': {
      const device = readDevice(reader)
      const begin = reader.uint(NUMBER_MAX)
      const end = reader.uint(NUMBER_MAX)
      if (begin >= end) reject('batch-range')
      return { kind, device, begin, end, treeHash: reader.raw(TREE_HASH_BYTES) }
    }
    case 'fork': {
      const device = readDevice(reader)
      const mark = readMark(reader)
      if (mark.length === 0) reject('batch-range')
      return { kind, device, mark }
    }
  }
}

// ---- add, role ----

function writeAdd(writer: Writer, op: AddOp): void {
  writer.id(op.device, AUTHOR_BYTES)
  writeFixed(writer, op.boxKey, KEY_BYTES)
  writer.u8(rankOf(op.role))
  writeLabel(writer, op.label)
  assert(op.code === undefined || op.certificate === undefined, 'an invite or a certificate')
  writer.u8(op.code !== undefined ? 1 : op.certificate !== undefined ? 2 : 0)
  if (op.code !== undefined) writeFixed(writer, op.code, KEY_BYTES)
  if (op.certificate !== undefined) writeCertificate(writer, op.certificate)
  writeKeyBox(writer, op.keyBox)
}

function readAdd(reader: Reader): AddOp {
  const device = readDevice(reader)
  const boxKey = reader.raw(KEY_BYTES)
  const role = readRank(reader)
  const label = readLabel(reader)
  const form = reader.u8()
  if (form > 2) reject('control-form')
  const code = form === 1 ? { code: reader.raw(KEY_BYTES) } : {}
  const certificate = form === 2 ? { certificate: readCertificate(reader) } : {}
  return {
    kind: 'add', device, boxKey, role, label, ...code, ...certificate, ...readKeyBox(reader),
  }
}

function writeRole(writer: Writer, op: RoleOp): void {
  writer.id(op.device, AUTHOR_BYTES)
  writer.u8(rankOf(op.role))
  writer.u8(op.change === 'raise' ? 0 : 1)
  writeLogs(writer, op.logs)
  writeKeyBox(writer, op.keyBox)
}

function readRole(reader: Reader): RoleOp {
  const device = readDevice(reader)
  const role = readRank(reader)
  const form = reader.u8()
  if (form > 1) reject('control-form')
  const change = form === 0 ? 'raise' : 'lower'
  return { kind: 'role', device, role, change, logs: readLogs(reader), ...readKeyBox(reader) }
}

function writeKeyBox(writer: Writer, keyBox: KeyBox | undefined): void {
  writer.u8(keyBox === undefined ? 0 : 1)
  if (keyBox === undefined) return
  writeFixed(writer, keyBox.epochId, EPOCH_ID_BYTES)
  writeBox(writer, keyBox.box)
}

function readKeyBox(reader: Reader): { keyBox?: KeyBox } {
  const form = reader.u8()
  if (form > 1) reject('control-form')
  return form === 0 ? {} : { keyBox: { epochId: reader.raw(EPOCH_ID_BYTES), box: readBox(reader) } }
}

function writeBox(writer: Writer, box: Uint8Array): void {
  assert(box.length === FULL_BOX_BYTES || box.length === BLIND_BOX_BYTES, 'size of a key box')
  writer.u8(box.length === FULL_BOX_BYTES ? 0 : 1)
  writer.raw(box)
}

function readBox(reader: Reader): Uint8Array {
  const form = reader.u8()
  if (form > 1) reject('box-size')
  return reader.raw(form === 0 ? FULL_BOX_BYTES : BLIND_BOX_BYTES)
}

// ---- epoch ----

function writeEpoch(writer: Writer, op: EpochOp): void {
  writeFixed(writer, op.epochCommitment, KEY_BYTES)
  writeFixed(writer, op.controlCommitment, KEY_BYTES)
  assert(op.parents.length >= 1 && op.parents.length <= EPOCH_PARENTS_MAX, 'parents of an epoch')
  writer.uint(op.parents.length)
  for (const { epochId, chain, controlChain } of op.parents) {
    writeFixed(writer, epochId, EPOCH_ID_BYTES)
    writeFixed(writer, chain, CHAIN_ENTRY_BYTES)
    writeFixed(writer, controlChain, CHAIN_ENTRY_BYTES)
  }
  assert(op.boxes.length <= EPOCH_BOXES_MAX, 'boxes of an epoch')
  writer.uint(op.boxes.length)
  for (const { boxKey, box } of op.boxes) {
    writeFixed(writer, boxKey, KEY_BYTES)
    writeBox(writer, box)
  }
}

function readEpoch(reader: Reader): EpochOp {
  const epochCommitment = reader.raw(KEY_BYTES)
  const controlCommitment = reader.raw(KEY_BYTES)
  const parentBytes = EPOCH_ID_BYTES + 2 * CHAIN_ENTRY_BYTES
  const parents: EpochParent[] = []
  for (let n = reader.count(EPOCH_PARENTS_MAX, parentBytes, 'epoch-parents'); n > 0; n--) {
    const epochId = reader.raw(EPOCH_ID_BYTES)
    const before = parents.at(-1)
    if (before && compareBytes(before.epochId, epochId) >= 0) reject('epoch-parents')
    const chain = reader.raw(CHAIN_ENTRY_BYTES)
    parents.push({ epochId, chain, controlChain: reader.raw(CHAIN_ENTRY_BYTES) })
  }
  if (parents.length === 0) reject('epoch-parents')
  const boxes: EpochBox[] = []
  const boxBytes = KEY_BYTES + 1 + BLIND_BOX_BYTES
  for (let n = reader.count(EPOCH_BOXES_MAX, boxBytes, 'length'); n > 0; n--) {
    const boxKey = reader.raw(KEY_BYTES)
    const before = boxes.at(-1)
    if (before && compareBytes(before.boxKey, boxKey) >= 0) reject('box-order')
    boxes.push({ boxKey, box: readBox(reader) })
  }
  return { kind: 'epoch', epochCommitment, controlCommitment, parents, boxes }
}

// ---- device info, policy ----

function writeInfo(writer: Writer, op: DeviceInfoOp): void {
  switch (op.info) {
    case 'label':
      writer.u8(0)
      return writeLabel(writer, op.label)
    case 'bad-epoch':
      writer.u8(1)
      return writeFixed(writer, op.epochId, EPOCH_ID_BYTES)
    case 'content-log':
      writer.u8(2)
      return writer.id(op.log, AUTHOR_BYTES)
  }
}

function readInfo(reader: Reader): DeviceInfoOp {
  const form = reader.u8()
  if (form === 0) return { kind: 'deviceInfo', info: 'label', label: readLabel(reader) }
  if (form === 1) {
    return { kind: 'deviceInfo', info: 'bad-epoch', epochId: reader.raw(EPOCH_ID_BYTES) }
  }
  if (form !== 2) reject('control-form')
  return { kind: 'deviceInfo', info: 'content-log', log: readDevice(reader) }
}

function writePolicy(writer: Writer, op: PolicyOp): void {
  if (op.policy === 'rules') {
    writer.u8(0)
    return writer.uint(op.version)
  }
  writer.u8(1)
  writeFixed(writer, op.signKey, KEY_BYTES)
  writeFixed(writer, op.boxKey, KEY_BYTES)
  writer.u8(op.certificate === undefined ? 0 : 1)
  if (op.certificate !== undefined) writeCertificate(writer, op.certificate)
}

function readPolicy(reader: Reader): PolicyOp {
  const form = reader.u8()
  if (form === 0) return { kind: 'policy', policy: 'rules', version: reader.uint(0xffff) }
  if (form !== 1) reject('control-form')
  const signKey = reader.raw(KEY_BYTES)
  const boxKey = reader.raw(KEY_BYTES)
  const signed = reader.u8()
  if (signed > 1) reject('control-form')
  const certificate = signed === 1 ? { certificate: readCertificate(reader) } : {}
  return { kind: 'policy', policy: 'phrase', signKey, boxKey, ...certificate }
}

// ---- parts ----

function writeFixed(writer: Writer, bytes: Uint8Array, sizeBytes: number): void {
  assert(bytes.length === sizeBytes, 'control op: a field of another length')
  writer.raw(bytes)
}

function readDevice(reader: Reader): AuthorId {
  return reader.id(AUTHOR_BYTES) as AuthorId
}

function readRank(reader: Reader): Role {
  return ROLES[reader.u8()] ?? reject('control-role')
}

function writeLabel(writer: Writer, label: string): void {
  if (Buffer.byteLength(label) > LABEL_MAX_BYTES) {
    throw new LatticeError('invalid', `a device's name has at most ${LABEL_MAX_BYTES} bytes`)
  }
  writer.utf8(label)
}

function readLabel(reader: Reader): string {
  return reader.utf8(LABEL_MAX_BYTES)
}

function writeLogs(writer: Writer, logs: readonly LogMark[]): void {
  assert(logs.length >= 1 && logs.length <= LOGS_MAX, 'logs of a device')
  writer.uint(logs.length)
  for (const mark of logs) writeMark(writer, mark)
}

function readLogs(reader: Reader): LogMark[] {
  const logs: LogMark[] = []
  const markBytes = AUTHOR_BYTES + 1 + TREE_HASH_BYTES
  for (let n = reader.count(LOGS_MAX, markBytes, 'log-count'); n > 0; n--) {
    const mark = readMark(reader)
    const before = logs.at(-1)
    if (before && before.log >= mark.log) reject('log-order')
    logs.push(mark)
  }
  if (logs.length === 0) reject('log-count')
  return logs
}

function writeMark(writer: Writer, mark: LogMark): void {
  writer.id(mark.log, AUTHOR_BYTES)
  writer.uint(mark.length)
  writeFixed(writer, mark.length === 0 ? NO_HASH : mark.treeHash, TREE_HASH_BYTES)
}

function readMark(reader: Reader): LogMark {
  const log = reader.id(AUTHOR_BYTES) as AuthorId
  const length = reader.uint(NUMBER_MAX)
  const treeHash = reader.raw(TREE_HASH_BYTES)
  if (length === 0 && !isZero(treeHash)) reject('log-hash')
  return { log, length, treeHash }
}

function writeCertificate(writer: Writer, certificate: Certificate): void {
  writeFixed(writer, certificate.phrase, KEY_BYTES)
  assert(certificate.serial >= 1 && certificate.serial <= SERIAL_MAX, 'serial of a certificate')
  writer.uint(certificate.serial)
  writeFixed(writer, certificate.signature, SIGNATURE_BYTES)
}

function readCertificate(reader: Reader): Certificate {
  const phrase = reader.raw(KEY_BYTES)
  const serial = reader.uint(SERIAL_MAX, 'serial')
  if (serial === 0) reject('serial')
  return { phrase, serial, signature: reader.raw(SIGNATURE_BYTES) }
}
