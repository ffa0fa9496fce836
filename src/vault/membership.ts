// The ops of everything that a user does about members: invite, add, remove with a new epoch,
// change a role, rotate, readmit, replace the phrase, recover with it. From the members as they are
// known here, this device's keys and the Random port; nothing is applied or published.
//
// What the fold would refuse is refused here first, as 'denied', 'not-found', 'exists' or
// 'invalid'. The ops of one result belong into one batch, in this order. Keys of a new epoch must
// be durable in the key ring before the batch is published.

import { isBoxKey } from '../crypto/box.ts'
import { boxEpochKeys } from '../crypto/epoch-keys.ts'
import { recoveryKeys } from '../crypto/phrase.ts'
import { secretFrom, wipe } from '../crypto/secret.ts'
import { boxKeyPair, signKeyPair } from '../crypto/sign.ts'
import { currentEpoch, findEpoch, isBlind } from '../crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../crypto/vault-keys.ts'
import { controlOp } from '../ops/control-codec.ts'
import { LABEL_MAX_BYTES, rankOf } from '../ops/control-types.ts'
import type {
  Certificate, ControlName, ControlOp, KeyBox, LogMark, Role,
} from '../ops/control-types.ts'
import type { AuthorId, Op } from '../ops/types.ts'
import type { Members } from '../state/members.ts'
import { certify } from '../state/members-phrases.ts'
import type { MemberInfo, PhraseInfo } from '../state/members-types.ts'
import { equalBytes, fromHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { mintEpoch, recipientsOf } from './membership-epochs.ts'
import type { Recipient } from './membership-epochs.ts'
import type { Random } from './ports.ts'

export interface MembershipOps {
  /** In this order, in one batch, sealed under K_ctl of the epoch before. */
  ops: Op[]
  /** Keys of the epoch that the ops make, the caller's own. */
  epoch: EpochKeys | undefined
}

export interface NewDevice {
  device: AuthorId
  boxKey: Uint8Array
  role: Role
  /** At most 64 bytes of UTF-8. */
  label: string
  /** The public key of the invite's code, if it came by one. */
  code?: Uint8Array
}

export class Membership {
  readonly #members: Members
  readonly #keys: VaultKeys
  readonly #random: Random
  readonly #self: AuthorId

  /** `keys` stay the caller's; epochs must be up to date (learnEpochs()). */
  constructor(members: Members, keys: VaultKeys, random: Random) {
    this.#members = members
    this.#keys = keys
    this.#random = random
    this.#self = authorIn(keys)
  }

  /** `code`: public key of the invite's code. Expiry is this device's to enforce. */
  invite(code: Uint8Array, role: Role, expiryMs: number): MembershipOps {
    this.#mayGrant(role)
    return made({ kind: 'invite', code, role, expiryMs })
  }

  /** The device's keys come from a confirmed pairing: the current epoch is boxed to it. */
  add(device: NewDevice): MembershipOps {
    this.#mayGrant(device.role)
    checkLabel(device.label)
    if (this.#members.get(device.device) !== undefined) {
      throw new LatticeError('exists', 'this device has been a member before', {
        hint: 'let it make new keys, or raise its role again',
      })
    }
    const { code } = device
    const isPending = (
      { by, role, code: other }: { by: AuthorId; role: Role; code: Uint8Array },
    ) => (
      by === this.#self && role === device.role && code !== undefined && equalBytes(code, other)
    )
    if (code !== undefined && !this.#members.pendingInvites().some(isPending)) {
      throw new LatticeError('denied', 'the invite was used, or is none of this device')
    }
    const keyBox = this.#keyBox(device.boxKey, device.role)
    return made({ kind: 'add', ...device, keyBox })
  }

  /** With a new epoch that the device gets no keys of. `logs`: what counts of its logs. */
  remove(device: AuthorId, logs: readonly LogMark[]): MembershipOps {
    const member = this.#target(device)
    const sorted = this.#logsOf(device, logs)
    const isOther = ({ boxKey }: Recipient): boolean => !equalBytes(boxKey, member.boxKey)
    return this.#withEpoch(
      [{ kind: 'remove', device, logs: sorted }],
      recipientsOf(this.#members).filter(isOther),
    )
  }

  /**
   * Raises or lowers from the lengths in `logs` on. A device that becomes blind is left out of a
   * new epoch; one that was blind is boxed the current one.
   */
  setRole(device: AuthorId, role: Role, logs: readonly LogMark[]): MembershipOps {
    const { role: before, boxKey } = this.#target(device)
    const [from, to] = [before === undefined ? -1 : rankOf(before), rankOf(role)]
    if (from === to) throw new LatticeError('exists', `the device is ${role} already`)
    const sorted = this.#logsOf(device, logs)
    if (to < from) {
      const op: ControlOp = { kind: 'role', device, role, change: 'lower', logs: sorted }
      if (role !== 'blind') return made(op)
      const recipients = recipientsOf(this.#members).map((one): Recipient => (
        equalBytes(one.boxKey, boxKey) ? { boxKey, kind: 'blind' } : one
      ))
      return this.#withEpoch([op], recipients)
    }
    this.#mayGrant(role)
    const op: ControlOp = { kind: 'role', device, role, change: 'raise', logs: sorted }
    const isMissing = from < rankOf('reader')
    return made(isMissing ? { ...op, keyBox: this.#keyBox(boxKey, role) } : op)
  }

  /** A new epoch for everybody: a joint one after concurrent removals, or one on request. */
  rotate(): MembershipOps {
    return this.#withEpoch([], recipientsOf(this.#members))
  }

  /** Raises what a removal or demotion left of a device's logs. */
  readmit(target: ControlName, device: AuthorId, logs: readonly LogMark[]): MembershipOps {
    this.#needs('admin')
    return made({ kind: 'readmit', target, logs: this.#logsOf(device, logs) })
  }

  voidBatches(device: AuthorId, begin: number, end: number, treeHash: Uint8Array): MembershipOps {
    this.#target(device)
    return made({ kind: 'void', device, begin, end, treeHash })
  }

  pickBranch(device: AuthorId, mark: LogMark): MembershipOps {
    this.#target(device)
    return made({ kind: 'fork', device, mark })
  }

  /**
   * A new phrase, and an epoch that the old one gets no keys of. With the old one's entropy its
   * later certificates end; without, it goes on certifying with what its holder has.
   */
  replacePhrase(next: Uint8Array, old?: Uint8Array): MembershipOps {
    this.#needs('owner')
    const { sign, box } = publicKeys(next)
    const certificate = old === undefined ? undefined : this.#certificate(old, sign, box)
    const op: ControlOp = {
      kind: 'policy', policy: 'phrase', signKey: sign, boxKey: box,
      ...(certificate === undefined ? {} : { certificate }),
    }
    const gone = this.#members.phrases().map(({ boxKey }) => boxKey)
    const recipients = recipientsOf(this.#members)
      .filter(({ boxKey }) => !gone.some((other) => equalBytes(other, boxKey)))
    return this.#withEpoch([op], [...recipients, { boxKey: box, kind: 'full' }])
  }

  /** This device becomes an owner by the phrase's word. `entropy`: of a phrase in force. */
  recover(entropy: Uint8Array, label: string): MembershipOps {
    checkLabel(label)
    const box = boxKeyPair(this.#keys.boxSeed)
    wipe(box.secretKey)
    const signKey = Buffer.from(this.#self, 'latin1')
    const certificate = this.#certificate(entropy, signKey, box.publicKey, 'phrase-owner')
    return made({
      kind: 'add', device: this.#self, boxKey: new Uint8Array(box.publicKey), role: 'owner', label,
      certificate,
    })
  }

  /** Carries a certificate that the phrase signed for another device, which becomes an owner. */
  carry(device: Omit<NewDevice, 'role' | 'code'>, certificate: Certificate): MembershipOps {
    checkLabel(device.label)
    const keyBox = this.#keyBox(device.boxKey, 'owner')
    return made({ kind: 'add', ...device, role: 'owner', certificate, keyBox })
  }

  /** The keys boxed to this device are not those that the epoch commits to. */
  reportEpoch(epochId: Uint8Array): MembershipOps {
    return made({ kind: 'deviceInfo', info: 'bad-epoch', epochId })
  }

  rename(label: string): MembershipOps {
    checkLabel(label)
    return made({ kind: 'deviceInfo', info: 'label', label })
  }

  announceContentLog(log: AuthorId): MembershipOps {
    return made({ kind: 'deviceInfo', info: 'content-log', log })
  }

  switchRules(version: number): MembershipOps {
    this.#needs('owner')
    return made({ kind: 'policy', policy: 'rules', version })
  }

  // ---- parts ----

  #withEpoch(ops: ControlOp[], recipients: readonly Recipient[]): MembershipOps {
    this.#needs('admin')
    const { op, keys } = mintEpoch(this.#members, this.#keys, recipients, this.#random)
    return { ops: [...ops, op].map(controlOp), epoch: keys }
  }

  #keyBox(boxKey: Uint8Array, role: Role): KeyBox {
    if (!isBoxKey(boxKey)) throw new LatticeError('invalid', 'the device gave a key that is none')
    const id = fromHex(this.#members.currentEpoch())
    const epoch = (id && findEpoch(this.#keys, id)) ?? currentEpoch(this.#keys)
    if (isBlind(epoch)) throw new LatticeError('missing-key', 'a blind device has no keys to give')
    const kind = rankOf(role) >= rankOf('reader') ? 'full' : 'blind'
    const box = boxEpochKeys(epoch, boxKey, kind, this.#random.bytes(32))
    return { epochId: epoch.epochId, box }
  }

  #needs(role: Role): void {
    const own = this.#members.get(this.#self)?.role
    if (own !== undefined && rankOf(own) >= rankOf(role)) return
    throw new LatticeError('denied', `this device is ${own ?? 'no member'}: ${role} is needed`)
  }

  #mayGrant(role: Role): void {
    this.#needs('admin')
    this.#needs(role)
  }

  #target(device: AuthorId): MemberInfo {
    this.#needs('admin')
    const member = this.#members.get(device)
    if (member === undefined) throw new LatticeError('not-found', 'no such member')
    if (this.#members.isJunior(device, this.#self)) return member
    throw new LatticeError('denied', 'the device is not junior to this one', {
      hint: 'a device that is senior to it, or the recovery phrase, can do this',
    })
  }

  #logsOf(device: AuthorId, logs: readonly LogMark[]): LogMark[] {
    if (!logs.some(({ log }) => log === device)) {
      throw new LatticeError('invalid', 'the ops log of the device must be among the logs')
    }
    return logs.toSorted((a, b) => (a.log < b.log ? -1 : 1))
  }

  #certificate(
    entropy: Uint8Array, signKey: Uint8Array, boxKey: Uint8Array,
    use: 'phrase-owner' | 'phrase-next' = 'phrase-next',
  ): ReturnType<typeof certify> {
    const { sign, box } = recoveryKeys(secretFrom(entropy))
    wipe(box.secretKey)
    const phrase = new Uint8Array(sign.publicKey)
    const inForce = (other: PhraseInfo): boolean => equalBytes(other.signKey, phrase)
    const known = this.#members.phrases().find(inForce)
    if (known === undefined) {
      wipe(sign.secretKey)
      throw new LatticeError('wrong-phrase', 'the recovery phrase is not the one of this vault', {
        hint: 'it may have been replaced by a newer one',
      })
    }
    const place = { phrase, serial: known.serialMax + 1 }
    const { vaultId } = this.#keys
    const certificate = certify(use, vaultId, place, { signKey, boxKey }, sign.secretKey)
    wipe(sign.secretKey)
    return certificate
  }
}

function made(...ops: ControlOp[]): MembershipOps {
  return { ops: ops.map(controlOp), epoch: undefined }
}

function authorIn(keys: VaultKeys): AuthorId {
  const sign = signKeyPair(keys.signSeed)
  wipe(sign.secretKey)
  return Buffer.from(sign.publicKey).toString('latin1') as AuthorId
}

function publicKeys(entropy: Uint8Array): { sign: Uint8Array; box: Uint8Array } {
  const { sign, box } = recoveryKeys(secretFrom(entropy))
  wipe(sign.secretKey)
  wipe(box.secretKey)
  return { sign: new Uint8Array(sign.publicKey), box: new Uint8Array(box.publicKey) }
}

function checkLabel(label: string): void {
  if (Buffer.byteLength(label) <= LABEL_MAX_BYTES) return
  throw new LatticeError('invalid', `a device's name has at most ${LABEL_MAX_BYTES} bytes`)
}
