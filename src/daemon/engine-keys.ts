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
import type { JournalKeys } from '../vault/journal-batch.ts'

interface Epoch {
  epochId: Uint8Array
  opKey: Secret
  bundleKey: Secret
}

export class EngineKeys {
  readonly vaultIdHex: string
  readonly author: AuthorId
  readonly ids: Ids
  /** Seals records of the journal that never leave this device. */
  readonly journalKey: Secret
  readonly indexValueKey: Secret
  readonly indexHashKey: Secret
  readonly journalKeys: JournalKeys
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
    for (const { epochId, epochKey } of vault.epochs) {
      const epoch = { epochId, opKey: opKey(epochKey), bundleKey: bundleKey(epochKey) }
      this.#epochs.set(toHex(epochId), epoch)
    }
    currentEpoch(vault)
    this.journalKeys = {
      vaultId: vault.vaultId,
      author: this.author,
      ids: this.ids,
      opKey: (epochId) => this.#epochs.get(toHex(epochId))?.opKey,
      localKey: this.journalKey,
    }
  }

  /** The epoch that seals now. */
  currentEpoch(): { epochId: Uint8Array; opKey: Uint8Array } {
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
