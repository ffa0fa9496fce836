// The vault of simulated worlds: its ids and keys, fixed for all episodes (a seed must not depend
// on what keys were drawn), and what each device may open. Keys of epochs are handed out as boxes
// would: by who may have them, once the device knows the epoch.
import { blake2b } from '../../src/crypto/hash.ts'
import { vaultIdOf } from '../../src/crypto/vault-keys.ts'
import { RULES_VERSION } from '../../src/ops/bounds.ts'
import { decodeControl, encodeControl } from '../../src/ops/control-codec.ts'
import { epochIdOf } from '../../src/ops/control-genesis.ts'
import type { ControlOp, ControlRecord, Role } from '../../src/ops/control-types.ts'
import { rankOf } from '../../src/ops/control-types.ts'
import { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Op } from '../../src/ops/types.ts'
import { Members } from '../../src/state/members.ts'
import type { MemberRules } from '../../src/state/members-rules.ts'
import type { ControlBatch } from '../../src/state/records.ts'
import type { CoreKeys } from '../../src/vault/engine-core.ts'
import type { EpochSeal, MembersView } from '../../src/vault/ports.ts'
import { toHex } from '../../src/util/bytes.ts'
import { LatticeError } from '../../src/util/errors.ts'
import { directAuthor } from './direct-storage.helper.ts'
import { deviceLabel } from './workload.helper.ts'

/** Public keys, which nobody in a simulated world holds the other half of. */
const publicKey = (label: string): Uint8Array => fixedKey(`public ${label}`)

const signKey = (index: number): Uint8Array => Buffer.from(directAuthor(index), 'latin1')
export const boxKey = (index: number): Uint8Array => publicKey(`box ${index}`)

export const VAULT_ID = vaultIdOf(
  signKey(0), boxKey(0), publicKey('recovery box'), publicKey('recovery sign'),
)
export const ids = new Ids(Buffer.alloc(32, 9))
export const ROOT = ids.root(VAULT_ID)

export function fixedKey(label: string): Uint8Array {
  return new Uint8Array(blake2b(32, Buffer.from(label)))
}

/** The genesis, by device 0. Its hash names the first epoch. */
export const GENESIS: ControlOp = {
  kind: 'genesis',
  rulesVersion: RULES_VERSION,
  vaultId: VAULT_ID,
  deviceSignKey: signKey(0),
  deviceBoxKey: boxKey(0),
  epochCommitment: fixedKey('commitment 0'),
  controlCommitment: fixedKey('control commitment 0'),
  recoveryBoxKey: publicKey('recovery box'),
  recoverySignKey: publicKey('recovery sign'),
  chunker: 1, chunkMinBytes: 65536, chunkAvgBytes: 131072, chunkMaxBytes: 524288,
  label: deviceLabel(0),
}

export const FIRST_EPOCH = epochIdOf(encodeControl(GENESIS))

/** Device 1 becomes an admin, so that somebody is left to disagree with; the others write. */
export function addOp(index: number, role: Role = index === 1 ? 'admin' : 'writer'): ControlOp {
  return {
    kind: 'add', device: directAuthor(index), boxKey: boxKey(index), role,
    label: deviceLabel(index),
  }
}

/** What members say, for one set of control batches. */
export class SimMembers implements MembersView {
  readonly members: Members
  readonly #ranks = new Map<string, number>()

  constructor(batches: readonly ControlBatch[], rules: Partial<MemberRules> | undefined) {
    const options = { vaultId: VAULT_ID, ...(rules && { rules }) }
    this.members = Members.fold(batches.flatMap(recordsOf), options)
  }

  standing(author: AuthorId, seq: number): ReturnType<Members['standing']> {
    return this.members.standing(author, seq)
  }

  label(author: AuthorId): string {
    return this.members.label(author)
  }

  precedes(one: Uint8Array, other: Uint8Array): boolean {
    return this.members.precedes(toHex(one), toHex(other))
  }

  knowsEpoch(epochId: Uint8Array): boolean {
    return this.members.hasGenesis && this.members.epoch(toHex(epochId)) !== undefined
  }

  mayRequire(author: AuthorId, seq: number): boolean {
    const key = `${author}${seq}`
    let rank = this.#ranks.get(key)
    if (rank === undefined) {
      const role = this.members.roleAt(author, seq)
      this.#ranks.set(key, (rank = role === undefined ? -1 : rankOf(role)))
    }
    return rank >= rankOf('admin')
  }

  breaks(author: AuthorId): readonly number[] {
    return this.members.breaks(author)
  }
}

function recordsOf(batch: ControlBatch): ControlRecord[] {
  const records: ControlRecord[] = []
  for (const { index, control, body, critical } of batch.ops) {
    const op = decoded({ kind: 'control', control, critical, body })
    if (op === undefined) continue
    const { author, seq, ms, counter } = batch
    const ref = { ms, counter, author, seq, index, order: 0 }
    records.push({ ref, deps: batch.vv, op, body })
  }
  return records
}

/** Undefined for what makes no sense: it counts for nothing. */
function decoded(op: Op & { kind: 'control' }): ControlOp | undefined {
  try {
    return decodeControl(op)
  } catch (error) {
    if (!(error instanceof LatticeError)) throw error
    return undefined
  }
}

/** One epoch, and who was given its keys. */
export interface SimEpoch extends EpochSeal {
  hex: string
  holders: Set<AuthorId>
}

/** All epochs of one world, by hex id. */
export class SimEpochs {
  readonly #epochs = new Map<string, SimEpoch>()
  readonly #parents = new Map<string, string[]>()

  /** Whoever has an epoch opens its parents, too: the chain under H_e. */
  add(
    epochId: Uint8Array, label: string, holders: readonly AuthorId[], parents: string[] = [],
  ): void {
    const hex = toHex(epochId)
    for (const parent of parents) this.#open(parent, holders)
    this.#parents.set(hex, parents)
    this.#epochs.set(hex, {
      hex, epochId, holders: new Set(holders),
      opKey: fixedKey(`op ${label}`), controlKey: fixedKey(`control ${label}`),
    })
  }

  get(hex: string): SimEpoch | undefined {
    return this.#epochs.get(hex)
  }

  /** Whether `one` comes before `other`, by the parents of their ops. */
  precedes(one: string, other: string): boolean {
    const parents = this.#parents.get(other) ?? []
    return parents.some((parent) => parent === one || this.precedes(one, parent))
  }

  /** Those that a device was given, the oldest first. */
  heldBy(author: AuthorId): SimEpoch[] {
    return [...this.#epochs.values()].filter(({ holders }) => holders.has(author))
  }

  #open(hex: string, holders: readonly AuthorId[]): void {
    for (const holder of holders) this.#epochs.get(hex)?.holders.add(holder)
    for (const parent of this.#parents.get(hex) ?? []) this.#open(parent, holders)
  }
}

/** The keys of one device: of epochs that it was given, once it knows of them. */
export class SimKeys implements CoreKeys {
  readonly vaultId = VAULT_ID
  readonly ids = ids
  readonly author: AuthorId
  readonly localKey: Uint8Array
  readonly #epochs: SimEpochs
  readonly #current: SimEpoch
  #members: Members | undefined

  constructor(index: number, epochs: SimEpochs, first: string) {
    this.author = directAuthor(index)
    this.localKey = fixedKey(`local ${index}`)
    this.#epochs = epochs
    this.#current = this.#mine(first) as SimEpoch
  }

  current(floor: () => readonly Uint8Array[], announces = false): EpochSeal {
    const members = this.#members
    if (members === undefined) return this.#current
    const isMine = (hex: string): boolean => this.#mine(hex) !== undefined
    const id = (announces ? members.toAnnounceUnder(isMine) : undefined)
      ?? members.toSealUnder(isMine, floor().map((one) => toHex(one)))
    if (id === undefined) throw new LatticeError('missing-key', 'no key may seal this')
    return this.#mine(id) as SimEpoch
  }

  opKey(epochId: Uint8Array): Uint8Array | undefined {
    return this.#mine(toHex(epochId))?.opKey
  }

  controlKey(epochId: Uint8Array): Uint8Array | undefined {
    return this.#mine(toHex(epochId))?.controlKey
  }

  learn(view: MembersView): void {
    const { members } = view as SimMembers
    if (members === undefined || !members.hasGenesis) return
    this.#members = members
  }

  /** Any epoch whose keys are here: what no honest device seals under. */
  held(): EpochSeal[] {
    return this.#epochs.heldBy(this.author)
  }

  /** Blocks name epochs before their ops are known: a key is there once the device has it. */
  #mine(hex: string): SimEpoch | undefined {
    const epoch = this.#epochs.get(hex)
    return epoch?.holders.has(this.author) === true ? epoch : undefined
  }
}
