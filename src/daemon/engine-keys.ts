// Every key that an open vault uses, derived once from the key file's secrets and wiped together.
// The vault keys themselves stay the key ring's.

import { bundleKey, deriveKey, opKey } from '../crypto/kdf.ts'
import { randomSecret } from '../crypto/random.ts'
import { wipe } from '../crypto/secret.ts'
import type { Secret } from '../crypto/secret.ts'
import { currentEpoch, isBlind, makeCurrent, putEpoch } from '../crypto/vault-keys.ts'
import type { EpochKeys, VaultKeys } from '../crypto/vault-keys.ts'
import type { SealKeys } from '../chunks/seal-protocol.ts'
import { Ids } from '../ops/ids.ts'
import type { AuthorId } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { authorOf } from '../vault/create.ts'
import type { CoreKeys } from '../vault/engine-core.ts'
import type { Members } from '../state/members.ts'
import { VaultMembers } from '../vault/members-view.ts'
import { learnEpochs } from '../vault/membership-epochs.ts'
import type { Learnt } from '../vault/membership-epochs.ts'
import type { EpochSeal, MembersView } from '../vault/ports.ts'

interface Epoch {
  epochId: Uint8Array
  opKey: Secret
  bundleKey: Secret
  /** The key ring's own. */
  controlKey: Secret
  isBlind: boolean
}

export class EngineKeys {
  readonly vaultIdHex: string
  readonly author: AuthorId
  readonly ids: Ids
  /** Seals records of the journal that never leave this device. */
  readonly journalKey: Secret
  readonly indexValueKey: Secret
  readonly indexHashKey: Secret
  readonly coreKeys: CoreKeys
  readonly #vault: VaultKeys
  readonly #nodeKey: Secret
  readonly #epochs = new Map<string, Epoch>()
  readonly #membersListeners: (() => void)[] = []
  #members: VaultMembers | undefined
  /** Settles when the keys learnt last are in the key file. */
  #kept: Promise<void> = Promise.resolve()

  /** Throws 'missing-key' when the vault has no epoch. */
  constructor(vault: VaultKeys) {
    this.#vault = vault
    this.vaultIdHex = toHex(vault.vaultId)
    this.author = authorOf(vault)
    this.#nodeKey = deriveKey(vault.idKey, 'lattice/0/node-id')
    this.ids = new Ids(this.#nodeKey)
    this.journalKey = deriveKey(vault.databaseKey, 'lattice/0/local-journal')
    this.indexValueKey = deriveKey(vault.databaseKey, 'lattice/0/db-value')
    this.indexHashKey = deriveKey(vault.databaseKey, 'lattice/0/db-index')
    this.#derive()
    currentEpoch(vault)
    this.coreKeys = {
      vaultId: vault.vaultId,
      author: this.author,
      ids: this.ids,
      current: (floor, announces) => this.#toAnnounce(announces) ?? this.#toSeal(floor),
      learn: (members) => this.#learn(members),
      kept: () => this.#keepAll(),
      opKey: (epochId) => this.#full(epochId)?.opKey,
      controlKey: (epochId) => this.#epochs.get(toHex(epochId))?.controlKey,
      localKey: this.journalKey,
    }
  }

  /** Told of epochs whose keys came (they are in the vault's keys then), and of boxes that held
   *  other keys than they should: the key file is to be written. At the next start all of it is
   *  learnt again from the journal. */
  onLearnt: (learnt: Learnt) => Promise<void> | void = () => undefined

  /** Told of the bundle key of an epoch that had none here, minted by this device or learnt:
   *  whoever opens bundles has to have it before anything is sealed with it. The key stays this
   *  object's. */
  onBundleKey: (epochId: Uint8Array, key: Uint8Array) => void = () => undefined

  /** Told when another epoch seals than before: whoever seals content has to know. */
  onCurrent: () => void = () => undefined

  /** The listener is told when members or epochs are others than before. */
  onMembers(listener: () => void): void {
    this.#membersListeners.push(listener)
  }

  /** Undefined before the first control op is known. */
  get members(): Members | undefined {
    return this.#members?.members
  }

  /** Of this device's signatures. The key ring's own. */
  get signSeed(): Secret {
    return this.#vault.signSeed
  }

  /** No key here opens content. */
  get isBlind(): boolean {
    return this.#vault.epochs.every(isBlind)
  }

  /** What this device has of each epoch, for the network. The key ring's own. */
  get epochs(): readonly EpochKeys[] {
    return this.#vault.epochs
  }

  /** The epoch that seals now. */
  currentEpoch(): EpochSeal {
    return this.#current()
  }

  bundleKey(epochId: Uint8Array): Uint8Array | undefined {
    return this.#full(epochId)?.bundleKey
  }

  bundleKeys(): { epochId: Uint8Array; key: Uint8Array }[] {
    const epochs = [...this.#epochs.values()].filter((epoch) => !epoch.isBlind)
    return epochs.map(({ epochId, bundleKey: key }) => ({ epochId, key }))
  }

  /** For the seal workers, which copy them. */
  sealKeys(): SealKeys {
    const { epochId, bundleKey: key } = this.#current()
    const { vaultId, idKey, cutKey } = this.#vault
    const sealer = Buffer.from(this.author, 'latin1')
    return { vaultId, epochId, sealer, bundleKey: key, idKey, cutKey }
  }

  close(): void {
    const own = [this.#nodeKey, this.journalKey, this.indexValueKey, this.indexHashKey]
    for (const secret of own) wipe(secret)
    for (const epoch of this.#epochs.values()) {
      wipe(epoch.opKey)
      wipe(epoch.bundleKey)
    }
  }

  /** Undefined for epochs of which this device knows K_ctl only. */
  #full(epochId: Uint8Array): Epoch | undefined {
    const epoch = this.#epochs.get(toHex(epochId))
    return epoch?.isBlind === true ? undefined : epoch
  }

  #derive(): void {
    for (const epoch of this.#vault.epochs) {
      const { epochId, epochKey, controlKey } = epoch
      const id = toHex(epochId)
      const old = this.#epochs.get(id)
      if (old !== undefined && old.controlKey === controlKey) continue
      // nothing may ever be sealed by what a blind device has: not even by mistake
      const derived = isBlind(epoch)
        ? { opKey: randomSecret(), bundleKey: randomSecret() }
        : { opKey: opKey(epochKey), bundleKey: bundleKey(epochKey) }
      this.#epochs.set(id, { epochId, controlKey, isBlind: isBlind(epoch), ...derived })
      if (!isBlind(epoch)) this.onBundleKey(epochId, derived.bundleKey)
    }
  }

  /** Keys that were learnt ahead open what is journalled before the op that brought them. */
  async #keepAll(): Promise<void> {
    try {
      await this.#kept
    } catch (error) {
      const all: Learnt = { epochs: [], bad: [] }
      this.#kept = Promise.resolve().then(() => this.onLearnt(all)) // the key file is one
      this.#kept.catch(() => undefined)
      throw error
    }
  }

  #learn(members: MembersView): void {
    if (!(members instanceof VaultMembers)) return
    this.#members = members
    const learnt = learnEpochs(members.members, this.#vault)
    for (const epoch of learnt.epochs) putEpoch(this.#vault, epoch)
    this.#derive()
    this.#choose([])
    if (learnt.epochs.length > 0 || learnt.bad.length > 0) {
      this.#kept = this.#kept.then(() => this.onLearnt(learnt))
      this.#kept.catch(() => undefined) // told to whoever waits for it
    }
    for (const listener of this.#membersListeners) listener()
  }

  #toSeal(floor: () => readonly Uint8Array[]): EpochSeal {
    if (this.#vault.epochs.length > 1 && !this.#choose(floor())) {
      throw new LatticeError('missing-key', 'no key here may seal what this device has seen')
    }
    return this.#current()
  }

  /** For a batch that brings a new epoch: what all members can open. The current one stays. */
  #toAnnounce(announces = false): EpochSeal | undefined {
    const members = this.#members?.members
    if (!announces || members?.hasGenesis !== true) return undefined
    const id = members.toAnnounceUnder((one) => this.#epochs.get(one)?.isBlind === false)
    return id === undefined ? undefined : this.#epochs.get(id)
  }

  /** Makes the epoch current that should seal, of those whose keys are here. False: none may. */
  #choose(floor: readonly Uint8Array[]): boolean {
    const members = this.#members?.members
    if (members?.hasGenesis !== true) return true
    const below = floor.map((epochId) => toHex(epochId))
    // a blind device's own control ops need K_ctl only
    const isBlindDevice = this.#vault.epochs.every(isBlind)
    const id = members.toSealUnder((one) => {
      const known = this.#epochs.get(one)
      return known !== undefined && (isBlindDevice || !known.isBlind)
    }, below)
    const epoch = id === undefined ? undefined : this.#epochs.get(id)
    if (epoch === undefined) return false
    const sealing = currentEpoch(this.#vault).epochId
    if (equalBytes(sealing, epoch.epochId)) return true
    makeCurrent(this.#vault, epoch.epochId)
    this.onCurrent()
    return true
  }

  #current(): Epoch {
    const { epochId } = currentEpoch(this.#vault)
    return must(this.#epochs.get(toHex(epochId)), 'the current epoch has keys')
  }
}
