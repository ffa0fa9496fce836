// Every key that an open vault uses, derived once from the key file's secrets and wiped together.
// The vault keys themselves stay the key ring's.

import { bundleKey, deriveKey, opKey } from '../crypto/kdf.ts'
import { wipe } from '../crypto/secret.ts'
import type { Secret } from '../crypto/secret.ts'
import { currentEpoch } from '../crypto/vault-keys.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import type { SealKeys } from '../chunks/seal-protocol.ts'
import { Ids } from '../ops/ids.ts'
import type { AuthorId } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { toHex } from '../util/bytes.ts'
import { authorOf } from '../vault/create.ts'
import type { CoreKeys } from '../vault/engine-core.ts'
import type { EpochSeal } from '../vault/ports.ts'

interface Epoch {
  epochId: Uint8Array
  opKey: Secret
  bundleKey: Secret
  /** The key ring's own. */
  controlKey: Secret
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
    for (const { epochId, epochKey, controlKey } of vault.epochs) {
      const derived = { opKey: opKey(epochKey), bundleKey: bundleKey(epochKey) }
      const epoch = { epochId, controlKey, ...derived }
      this.#epochs.set(toHex(epochId), epoch)
    }
    currentEpoch(vault)
    this.coreKeys = {
      vaultId: vault.vaultId,
      author: this.author,
      ids: this.ids,
      current: () => this.currentEpoch(),
      opKey: (epochId) => this.#epochs.get(toHex(epochId))?.opKey,
      controlKey: (epochId) => this.#epochs.get(toHex(epochId))?.controlKey,
      localKey: this.journalKey,
    }
  }

  /** The epoch that seals now. */
  currentEpoch(): EpochSeal {
    return this.#current()
  }

  bundleKey(epochId: Uint8Array): Uint8Array | undefined {
    return this.#epochs.get(toHex(epochId))?.bundleKey
  }

  bundleKeys(): { epochId: Uint8Array; key: Uint8Array }[] {
    const epochs = [...this.#epochs.values()]
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

  #current(): Epoch {
    const { epochId } = currentEpoch(this.#vault)
    return must(this.#epochs.get(toHex(epochId)), 'the current epoch has keys')
  }
}
