// One body of each control op, put together by hand from the byte tables, beside the op that it is.
// make.ts writes test/vectors/ops/control.json of them. Keys and ids as latin1 strings become hex.
import { blake2b } from '@noble/hashes/blake2.js'
import type { ControlOp } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'

const fill = (length: number, byte: number) => Buffer.alloc(length, byte)
const device = fill(32, 0xd1)
const id = device.toString('latin1') as AuthorId
const contentLog = fill(32, 0xd2)
const log = contentLog.toString('latin1') as AuthorId
const bytes = (...parts: (number | string | Uint8Array)[]) => Buffer.concat(parts.map((part) => (
  typeof part === 'number' ? Buffer.from([part])
    : typeof part === 'string' ? Buffer.from(part, 'utf8') : Buffer.from(part)
)))
const u32 = (value: number) => {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return out
}
/** compact-encoding's uint of 32 and 64 bits. */
const uint32 = (value: number) => {
  const out = Buffer.from([0xfe, 0, 0, 0, 0])
  out.writeUInt32LE(value, 1)
  return out
}
const uint64 = (value: number) => {
  const out = Buffer.alloc(9, 0xff)
  out.writeBigUInt64LE(BigInt(value), 1)
  return out
}

const full = fill(176, 0xf0)
const blind = fill(112, 0xb0)
const epochId = fill(8, 0xe1)
const hash = fill(32, 0xaa)
const keyBox = { epochId, box: full }
const certificate = { phrase: fill(32, 0xc1), serial: 3, signature: fill(64, 0xc2) }
const certBytes = bytes(certificate.phrase, 3, certificate.signature)
const marks = [{ log: id, length: 300, treeHash: hash }, { log, length: 0, treeHash: fill(32, 0) }]
const marksBytes = bytes(2, device, 0xfd, 44, 1, hash, contentLog, 0, fill(32, 0))
const fourKeys = [device, fill(32, 0xd5), fill(32, 0xd6), fill(32, 0xd7)]
const vaultId = Buffer.from(blake2b(bytes('lattice/0/vault', ...fourKeys), { dkLen: 32 }))
  .subarray(0, 16)

export const CONTROL_BODIES: { what: string; control: number; body: Buffer; op: ControlOp }[] = [
  { what: 'genesis', control: 0,
    body: bytes(
      0, 0, vaultId, device, fill(32, 0xd5), hash, fill(32, 0xab), fill(32, 0xd6), fill(32, 0xd7), 1,
      u32(65536), u32(131072), u32(524288), 6, 'laptop',
    ),
    op: {
      kind: 'genesis', rulesVersion: 0, vaultId, deviceSignKey: device,
      deviceBoxKey: fill(32, 0xd5), epochCommitment: hash, controlCommitment: fill(32, 0xab),
      recoveryBoxKey: fill(32, 0xd6), recoverySignKey: fill(32, 0xd7), chunker: 1,
      chunkMinBytes: 65536, chunkAvgBytes: 131072, chunkMaxBytes: 524288, label: 'laptop',
    } },
  { what: 'add by an invite', control: 1,
    body: bytes(
      device, fill(32, 0xd5), 2, 5, 'phone', 1, fill(32, 0xcc), 1, epochId, 0, full,
    ),
    op: {
      kind: 'add', device: id, boxKey: fill(32, 0xd5), role: 'writer', label: 'phone',
      code: fill(32, 0xcc), keyBox,
    } },
  { what: 'add of an owner by the phrase, without a box', control: 1,
    body: bytes(device, fill(32, 0xd5), 4, 0, 2, certBytes, 0),
    op: {
      kind: 'add', device: id, boxKey: fill(32, 0xd5), role: 'owner', label: '', certificate,
    } },
  { what: 'add of a blind device', control: 1,
    body: bytes(device, fill(32, 0xd5), 0, 3, 'nas', 0, 1, epochId, 1, blind),
    op: {
      kind: 'add', device: id, boxKey: fill(32, 0xd5), role: 'blind', label: 'nas',
      keyBox: { epochId, box: blind },
    } },
  { what: 'role: raised', control: 2,
    body: bytes(device, 3, 0, marksBytes, 1, epochId, 0, full),
    op: { kind: 'role', device: id, role: 'admin', change: 'raise', logs: marks, keyBox } },
  { what: 'role: lowered', control: 2,
    body: bytes(device, 1, 1, marksBytes, 0),
    op: { kind: 'role', device: id, role: 'reader', change: 'lower', logs: marks } },
  { what: 'remove', control: 3, body: bytes(device, marksBytes),
    op: { kind: 'remove', device: id, logs: marks } },
  { what: 'epoch: joint, for two members', control: 4,
    body: bytes(
      hash, fill(32, 0xab), 2, fill(8, 1), fill(104, 2), fill(104, 3), fill(8, 4), fill(104, 5),
      fill(104, 6), 2, fill(32, 7), 0, full, fill(32, 8), 1, blind,
    ),
    op: {
      kind: 'epoch', epochCommitment: hash, controlCommitment: fill(32, 0xab),
      parents: [
        { epochId: fill(8, 1), chain: fill(104, 2), controlChain: fill(104, 3) },
        { epochId: fill(8, 4), chain: fill(104, 5), controlChain: fill(104, 6) },
      ],
      boxes: [{ boxKey: fill(32, 7), box: full }, { boxKey: fill(32, 8), box: blind }],
    } },
  { what: 'invite', control: 5, body: bytes(fill(32, 0xcc), 2, uint64(1_795_000_000_000)),
    op: { kind: 'invite', code: fill(32, 0xcc), role: 'writer', expiryMs: 1_795_000_000_000 } },
  { what: 'info: label', control: 6, body: bytes(0, 5, 'caf\u00e9'),
    op: { kind: 'deviceInfo', info: 'label', label: 'caf\u00e9' } },
  { what: 'info: bad epoch', control: 6, body: bytes(1, epochId),
    op: { kind: 'deviceInfo', info: 'bad-epoch', epochId } },
  { what: 'info: content log', control: 6, body: bytes(2, contentLog),
    op: { kind: 'deviceInfo', info: 'content-log', log } },
  { what: 'policy: rules', control: 7, body: bytes(0, 1),
    op: { kind: 'policy', policy: 'rules', version: 1 } },
  { what: 'policy: phrase, certified by the one before', control: 7,
    body: bytes(1, fill(32, 0xd7), fill(32, 0xd6), 1, certBytes),
    op: {
      kind: 'policy', policy: 'phrase', signKey: fill(32, 0xd7), boxKey: fill(32, 0xd6), certificate,
    } },
  { what: 'policy: phrase, by an owner', control: 7,
    body: bytes(1, fill(32, 0xd7), fill(32, 0xd6), 0),
    op: { kind: 'policy', policy: 'phrase', signKey: fill(32, 0xd7), boxKey: fill(32, 0xd6) } },
  { what: 'readmit', control: 8, body: bytes(device, uint32(70_000), 1, marksBytes),
    op: { kind: 'readmit', target: { author: id, seq: 70_000, index: 1 }, logs: marks } },
  { what: 'void', control: 9, body: bytes(device, 9, 12, hash),
    op: { kind: 'void', device: id, begin: 9, end: 12, treeHash: hash } },
  { what: 'fork', control: 10, body: bytes(device, device, 7, hash),
    op: { kind: 'fork', device: id, mark: { log: id, length: 7, treeHash: hash } } },
]

/** The id of an epoch by this op, and what a certificate signs. */
export const CONTROL_HASHES = {
  epochIds: CONTROL_BODIES.filter(({ control }) => control === 0 || control === 4).map((one) => ({
    what: one.what, epochId: Buffer.from(blake2b(one.body, { dkLen: 32 })).subarray(0, 8),
  })),
  certificates: ['phrase-owner', 'phrase-next'].map((use) => {
    const label = `lattice/0/${use}`
    const signed = bytes(
      label.length, label, vaultId, certificate.phrase, u32(certificate.serial), device,
      fill(32, 0xd5),
    )
    return { use, signed }
  }),
}
