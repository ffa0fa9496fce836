// What the user of this device does about the members of an open vault: invite, let in, remove,
// change a role, rotate, rename, replace the phrase. The ops come from vault/membership.ts; here
// they are committed, one action at a time.
//
// Invariant: the keys of a new epoch are durable in the key file before the batch that makes it is
// published, or nobody could read what is sealed under it after a crash.

import { phraseOf, recoveryKeys } from '../crypto/phrase.ts'
import { randomSecret } from '../crypto/random.ts'
import { secretFrom, wipe } from '../crypto/secret.ts'
import { isBlind, putEpoch } from '../crypto/vault-keys.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { rankOf } from '../ops/control-types.ts'
import type { Certificate, LogMark, Role } from '../ops/control-types.ts'
import type { AuthorId } from '../ops/types.ts'
import type { Members } from '../state/members.ts'
import type { MemberInfo } from '../state/members-types.ts'
import { must } from '../util/assert.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'
import { Membership } from '../vault/membership.ts'
import type { MembershipOps, NewDevice } from '../vault/membership.ts'
import { VaultMembers } from '../vault/members-view.ts'
import type { Random } from '../vault/ports.ts'
import type { Engine } from './engine.ts'

export interface VaultMembershipOptions {
  engine: Pick<Engine, 'core' | 'keys'>
  /** The key ring's own. */
  keys: VaultKeys
  /** Writes the key file. */
  saveKeys: () => Promise<void>
  random: Random
}

export class VaultMembership {
  readonly #options: VaultMembershipOptions
  readonly #actions = new Mutex()

  constructor(options: VaultMembershipOptions) {
    this.#options = options
  }

  get keys(): VaultKeys {
    return this.#options.keys
  }

  get self(): AuthorId {
    return this.#options.engine.keys.author
  }

  get members(): Members {
    const { core, keys } = this.#options.engine
    // a blind device applies nothing that it cannot open, nor what depends on that
    const view = keys.isBlind ? core.membersAhead : core.members
    return must(view instanceof VaultMembers ? view.members : undefined, 'members of a vault')
  }

  /** This device as a member; undefined before the ops that let it in have come. */
  get own(): MemberInfo | undefined {
    return this.members.get(this.self)
  }

  /** Whether it holds K_e of the epoch that seals: only such a device can let others in. */
  get isFull(): boolean {
    return this.keys.epochs.some((epoch) => !isBlind(epoch))
  }

  /** Throws 'not-ready' while the history that makes this device a member has not come. */
  checkReady(): void {
    const { hasGenesis } = this.members
    if (hasGenesis && this.own?.role !== undefined) return
    if (hasGenesis && this.own !== undefined) {
      throw new LatticeError('denied', 'this device was removed from the vault')
    }
    throw new LatticeError('not-ready', 'the vault\'s history has not come yet', {
      hint: 'let it meet the device that invited it: lattice peers',
    })
  }

  invite(code: Uint8Array, role: Role, expiryMs: number): Promise<void> {
    return this.#commit((membership) => membership.invite(code, role, expiryMs))
  }

  /** Nothing when the device is a member already. Throws 'denied' when it was removed. */
  async admit(device: NewDevice): Promise<void> {
    await this.#let(device.device, (membership) => membership.add(device))
  }

  /** As admit(), by the phrase's word. */
  async carry(
    device: Omit<NewDevice, 'role' | 'code'>, certificate: Certificate,
  ): Promise<void> {
    await this.#let(device.device, (membership) => membership.carry(device, certificate))
  }

  remove(device: AuthorId): Promise<void> {
    return this.#commit((membership) => membership.remove(device, this.#marksOf(device)))
  }

  /** Throws 'unsupported' for a blind device that is to read: keys of ids come by pairing only. */
  async setRole(device: AuthorId, role: Role): Promise<void> {
    const before = this.members.get(device)?.role
    if (before === 'blind' && rankOf(role) > rankOf('blind')) {
      throw new LatticeError('unsupported', 'a blind device cannot be given the keys afterwards', {
        hint: 'remove it, and let it join anew: lattice invite --role reader',
      })
    }
    if (before === undefined) {
      throw new LatticeError('not-found', 'the device is not a member', {
        hint: 'let it join anew: lattice invite',
      })
    }
    await this.#commit((membership) => membership.setRole(device, role, this.#marksOf(device)))
  }

  rotate(): Promise<void> {
    return this.#commit((membership) => membership.rotate())
  }

  rename(label: string): Promise<void> {
    return this.#commit((membership) => membership.rename(label))
  }

  /** Returns the new 24 words. The old ones open nothing that is sealed from now on. */
  async replacePhrase(): Promise<string> {
    const next = randomSecret()
    const { keys } = this
    await this.#commit((membership) => {
      const old = this.#entropyInForce()
      return membership.replacePhrase(next, old)
    }, () => takePhrase(keys, next))
    return phraseOf(next)
  }

  /** The device that a person means: its whole name, or the beginning of its key in hex. */
  find(named: string): MemberInfo {
    const list = this.members.list()
    const named_ = named.toLowerCase()
    const byLabel = list.filter(({ label }) => label === named)
    const byKey = /^[0-9a-f]{4,64}$/.test(named_)
      ? list.filter(({ device }) => hexOf(device).startsWith(named_))
      : []
    const present = [...new Set([...byLabel, ...byKey])]
    const among = present.filter(({ role }) => role !== undefined)
    const found = among.length > 0 ? among : present
    if (found.length > 1) {
      throw new LatticeError('ambiguous', `${found.length} devices are called ${named}`, {
        hint: `name one by its key: ${found.map(({ device }) => keyText(device)).join(', ')}`,
      })
    }
    const [one] = found
    if (one !== undefined) return one
    throw new LatticeError('not-found', `no device is called ${named}`, {
      hint: 'lattice members lists them',
    })
  }

  // ---- parts ----

  #let(device: AuthorId, make: (membership: Membership) => MembershipOps): Promise<void> {
    return this.#actions.run(async () => {
      const known = this.members.get(device)
      if (known?.role !== undefined) return
      if (known !== undefined) {
        throw new LatticeError('denied', 'the device was removed from the vault')
      }
      await this.#apply(make(this.#membership()))
    })
  }

  #commit(
    make: (membership: Membership) => MembershipOps, keep?: () => void,
  ): Promise<void> {
    return this.#actions.run(async () => {
      this.checkReady()
      await this.#apply(make(this.#membership()), keep)
    })
  }

  async #apply({ ops, epoch }: MembershipOps, keep?: () => void): Promise<void> {
    const { engine, keys, saveKeys } = this.#options
    if (epoch !== undefined) putEpoch(keys, epoch)
    keep?.()
    if (epoch !== undefined || keep !== undefined) await saveKeys()
    await engine.core.control(ops)
  }

  #membership(): Membership {
    return new Membership(this.members, this.keys, this.#options.random)
  }

  /** Everything of the device's ops log that is applied here counts. */
  #marksOf(device: AuthorId): LogMark[] {
    const state = this.#options.engine.core.store.meta.authors.get(device)
    const length = state?.length ?? 0
    const treeHash = length === 0 ? new Uint8Array(32) : must(state?.treeHash, 'a tree hash')
    return [{ log: device, length, treeHash }]
  }

  /** The entropy that the key file has, if it is that of a phrase in force. */
  #entropyInForce(): Uint8Array | undefined {
    const { recoveryEntropy } = this.keys
    if (recoveryEntropy === undefined) return undefined
    const { sign, box } = recoveryKeys(recoveryEntropy)
    wipe(sign.secretKey)
    wipe(box.secretKey)
    const isInForce = this.members.phrases().some(({ signKey }) => (
      equalBytes(signKey, sign.publicKey)
    ))
    return isInForce ? recoveryEntropy : undefined
  }
}

/** The key file is opened by the phrase in force. True when another one came into force. */
export function followPhrase(keys: VaultKeys, members: Members): boolean {
  const inForce = members.phrases()
  const isKnown = inForce.some(({ signKey }) => equalBytes(signKey, keys.recoverySignKey))
  const next = inForce[0]
  if (isKnown || next === undefined) return false
  keys.recoverySignKey = next.signKey
  keys.recoveryBoxKey = next.boxKey
  if (keys.recoveryEntropy !== undefined) wipe(keys.recoveryEntropy)
  keys.recoveryEntropy = undefined
  return true
}

/** Sixteen hex digits: what lists show. */
export function keyText(device: AuthorId): string {
  return hexOf(device).slice(0, 16)
}

export function hexOf(device: AuthorId): string {
  return toHex(Buffer.from(device, 'latin1'))
}

function takePhrase(keys: VaultKeys, entropy: Uint8Array): void {
  const { sign, box } = recoveryKeys(entropy)
  wipe(sign.secretKey)
  wipe(box.secretKey)
  if (keys.recoveryEntropy !== undefined) wipe(keys.recoveryEntropy)
  keys.recoverySignKey = new Uint8Array(sign.publicKey)
  keys.recoveryBoxKey = new Uint8Array(box.publicKey)
  keys.recoveryEntropy = secretFrom(entropy)
}
