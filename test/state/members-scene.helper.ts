// Devices that make control ops by hand, honest and hostile: each has a log and a version vector of
// what it has seen. Nothing here asks the rules; whether an op counts is the fold's to say.
// (Phrases alone have real keys, made by @noble: guarded memory is too scarce for thousands of
// scenes.)
import { ed25519 } from '@noble/curves/ed25519.js'
import { commitmentsOf } from '../../src/crypto/epoch-keys.ts'
import { vaultIdOf } from '../../src/crypto/vault-keys.ts'
import { encodeControl } from '../../src/ops/control-codec.ts'
import { epochIdOf } from '../../src/ops/control-genesis.ts'
import type {
  AddOp, ControlOp, ControlRecord, EpochOp, Genesis, LogMark, RemoveOp, Role, RoleOp,
} from '../../src/ops/control-types.ts'
import { BLIND_BOX_BYTES, CHAIN_ENTRY_BYTES, FULL_BOX_BYTES } from '../../src/ops/control-types.ts'
import type { AuthorId } from '../../src/ops/types.ts'
import { Members } from '../../src/state/members.ts'
import type { MembersOptions } from '../../src/state/members.ts'
import { certify } from '../../src/state/members-phrases.ts'
import type { CertificateUse } from '../../src/state/members-phrases.ts'
import type { SeededRandom } from '../support/random.ts'

export interface Actor {
  name: string
  author: AuthorId
  signKey: Uint8Array
  boxKey: Uint8Array
  length: number
  vv: Map<AuthorId, number>
}

export interface TestPhrase { signKey: Uint8Array; boxKey: Uint8Array; secretKey: Uint8Array }

export class Scene {
  readonly random: SeededRandom
  readonly records: ControlRecord[] = []
  readonly actors = new Map<string, Actor>()
  readonly phrase: TestPhrase
  readonly vaultId: Uint8Array
  readonly genesis: ControlRecord
  clock = 1_700_000_000_000

  /** The vault is made by the device `first`. */
  constructor(random: SeededRandom, first = 'a') {
    this.random = random
    this.phrase = this.newPhrase()
    const actor = this.actor(first)
    const { signKey, boxKey } = this.phrase
    this.vaultId = vaultIdOf(actor.signKey, actor.boxKey, boxKey, signKey)
    this.genesis = this.do(first, this.genesisOp(first, this.vaultId))
  }

  genesisOp(name: string, vaultId: Uint8Array): Genesis {
    const actor = this.actor(name)
    const key = () => Buffer.from(this.random.bytes(32))
    const keys = { epochKey: key(), historyKey: key(), controlKey: key(), topicKey: key() }
    return {
      kind: 'genesis', rulesVersion: 0, vaultId, deviceSignKey: actor.signKey,
      deviceBoxKey: actor.boxKey, ...commitmentsOf(keys), recoveryBoxKey: this.phrase.boxKey,
      recoverySignKey: this.phrase.signKey, chunker: 1, chunkMinBytes: 65536,
      chunkAvgBytes: 131072, chunkMaxBytes: 524288, label: name,
    }
  }

  newPhrase(): TestPhrase {
    const seed = this.random.bytes(32)
    const signKey = ed25519.getPublicKey(seed)
    const secretKey = new Uint8Array([...seed, ...signKey])
    return { signKey, boxKey: this.random.bytes(32), secretKey }
  }

  actor(name: string): Actor {
    const known = this.actors.get(name)
    if (known !== undefined) return known
    const signKey = this.random.bytes(32)
    const boxKey = this.random.bytes(32)
    const author = Buffer.from(signKey).toString('latin1') as AuthorId
    const actor = { name, author, signKey, boxKey, length: 0, vv: new Map() }
    this.actors.set(name, actor)
    return actor
  }

  author(name: string): AuthorId {
    return this.actor(name).author
  }

  /** `to` has applied everything that each of `from` has. */
  sync(to: string, ...from: string[]): void {
    const actor = this.actor(to)
    const grow = (author: AuthorId, length: number): void => {
      if (author === actor.author) return
      actor.vv.set(author, Math.max(length, actor.vv.get(author) ?? 0))
    }
    for (const other of from.map((name) => this.actor(name))) {
      grow(other.author, other.length)
      for (const [author, length] of other.vv) grow(author, length)
    }
  }

  syncAll(): void {
    const names = [...this.actors.keys()]
    for (const name of names) this.sync(name, ...names.filter((other) => other !== name))
  }

  /** One batch with these ops; the record of the first one. */
  do(name: string, ...ops: ControlOp[]): ControlRecord {
    const actor = this.actor(name)
    const seq = actor.length++
    const deps = new Map([...actor.vv, [actor.author, seq]])
    const records = ops.map((op, index): ControlRecord => ({
      ref: { ms: this.clock, counter: 0, author: actor.author, seq, index, order: 0 },
      deps, op, body: encodeControl(op),
    }))
    this.clock += 10
    this.records.push(...records)
    return records[0]!
  }

  /** Batches of data ops: they make the log longer. */
  write(name: string, count = 1): void {
    this.actor(name).length += count
  }

  mark(name: string, length = this.actor(name).length): LogMark {
    const { author } = this.actor(name)
    const treeHash = Buffer.alloc(32)
    treeHash.write(`${name}${length}`)
    return { log: author, length, treeHash: length === 0 ? Buffer.alloc(32) : treeHash }
  }

  add(name: string, role: Role, more: Partial<AddOp> = {}): AddOp {
    const { author: device, boxKey } = this.actor(name)
    return { kind: 'add', device, boxKey, role, label: name, ...more }
  }

  role(name: string, role: Role, change: 'raise' | 'lower', length?: number): RoleOp {
    return {
      kind: 'role', device: this.author(name), role, change, logs: [this.mark(name, length)],
    }
  }

  remove(name: string, length?: number): RemoveOp {
    return { kind: 'remove', device: this.author(name), logs: [this.mark(name, length)] }
  }

  /** Keys are noise: the fold never opens a box. */
  epoch(parents: string[], full: string[], blind: string[] = [], withPhrase = true): EpochOp {
    const { random } = this
    const boxes = [
      ...full.map((name) => ({ boxKey: this.actor(name).boxKey, size: FULL_BOX_BYTES })),
      ...blind.map((name) => ({ boxKey: this.actor(name).boxKey, size: BLIND_BOX_BYTES })),
      ...(withPhrase ? [{ boxKey: this.phrase.boxKey, size: FULL_BOX_BYTES }] : []),
    ]
    return {
      kind: 'epoch',
      epochCommitment: random.bytes(32),
      controlCommitment: random.bytes(32),
      parents: parents.toSorted().map((id) => ({
        epochId: new Uint8Array(Buffer.from(id, 'hex')),
        chain: random.bytes(CHAIN_ENTRY_BYTES),
        controlChain: random.bytes(CHAIN_ENTRY_BYTES),
      })),
      boxes: boxes.map(({ boxKey, size }) => ({ boxKey, box: random.bytes(size) }))
        .toSorted((a, b) => Buffer.compare(a.boxKey, b.boxKey)),
    }
  }

  /** Adds `name` as an owner by a phrase's word. */
  certified(name: string, serial: number, phrase = this.phrase): AddOp {
    const { signKey, boxKey } = this.actor(name)
    const certificate = this.certificate('phrase-owner', serial, { signKey, boxKey }, phrase)
    return this.add(name, 'owner', { certificate })
  }

  replacePhrase(next: TestPhrase, serial: number, phrase = this.phrase): ControlOp {
    const certificate = this.certificate('phrase-next', serial, next, phrase)
    const { signKey, boxKey } = next
    return { kind: 'policy', policy: 'phrase', signKey, boxKey, certificate }
  }

  certificate(
    use: CertificateUse, serial: number,
    keys: { signKey: Uint8Array; boxKey: Uint8Array }, phrase = this.phrase,
  ) {
    return certify(use, this.vaultId, { phrase: phrase.signKey, serial }, keys, phrase.secretKey)
  }

  fold(rules?: MembersOptions['rules'], records: readonly ControlRecord[] = this.records): Members {
    const options = { vaultId: this.vaultId, ...(rules === undefined ? {} : { rules }) }
    return Members.fold(records, options)
  }

  idOf(record: ControlRecord): string {
    return Buffer.from(epochIdOf(record.body)).toString('hex')
  }

  nameOf(author: AuthorId): string {
    return [...this.actors.values()].find((actor) => actor.author === author)?.name ?? '?'
  }

  /** `a owner, b writer, c -8` (cut at 8): devices by seniority. */
  roles(members: Members): string {
    return members.list()
      .map(({ device, role, cutoff }) => `${this.nameOf(device)} ${role ?? `-${cutoff?.length}`}`)
      .join(', ')
  }

  /** `b1.0 remove not-junior`: what counts for nothing. */
  voids(members: Members): string[] {
    return members.voidOps().map(({ ref, kind, reason }) => (
      `${this.nameOf(ref.author)}${ref.seq}.${ref.index} ${kind} ${reason}`
    ))
  }
}
