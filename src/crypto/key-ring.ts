// The open key file: the keys of every vault of this LATTICE_HOME, in guarded memory, and the key
// that seals the file again when something changes (the passphrase itself is not kept).
// Changes are in memory until the caller writes encode() with key-file-store.ts.

import { assert } from '../util/assert.ts'
import { equalBytes, toHex } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { ARGON_DEFAULT, SALT_BYTES, passphraseKey } from './argon.ts'
import type { ArgonParameters } from './argon.ts'
import {
  damaged,
  encodeKeyFile,
  openPayload,
  openRecoveryBoxes,
  parseKeyFile,
  parseRecoveryBoxes,
} from './key-file.ts'
import type { ParsedKeyFile, Protection } from './key-file.ts'
import { entropyOf, recoveryKeys } from './phrase.ts'
import { randomBytes, randomSecret } from './random.ts'
import { secretFrom, wipe } from './secret.ts'
import { wipeVaultKeys } from './vault-keys.ts'
import type { VaultKeys } from './vault-keys.ts'

/** How a key file is to be protected: by a passphrase (bytes stay the caller's) or by its mode. */
export type NewProtection =
  | { kind: 'none' }
  | { kind: 'passphrase'; passphrase: Uint8Array; parameters?: ArgonParameters }

export class KeyRing {
  #protection: Protection
  readonly #vaults: VaultKeys[]
  #closed = false

  private constructor(protection: Protection, vaults: VaultKeys[]) {
    this.#protection = protection
    this.#vaults = vaults
  }

  /** An empty ring. Takes 0.7 s with a passphrase and default parameters, off this thread. */
  static async create(protection: NewProtection): Promise<KeyRing> {
    return new KeyRing(await makeProtection(protection), [])
  }

  /**
   * Opens a key file. Throws 'passphrase-needed', 'empty-passphrase', 'wrong-passphrase',
   * 'damaged-keys' or 'unknown-format'. Without protection a passphrase is ignored.
   */
  static async open(file: Uint8Array, passphrase?: Uint8Array): Promise<KeyRing> {
    const parsed = parseKeyFile(file)
    const protection = await openProtection(parsed, passphrase)
    try {
      return new KeyRing(protection, openPayload(parsed, protection.key))
    } catch (error) {
      wipe(protection.key)
      if (!isLatticeError(error, 'unauthentic')) throw error
      if (protection.kind === 'none') throw damaged('its payload does not open', error)
      throw new LatticeError('wrong-passphrase', 'the passphrase is wrong', {
        hint: 'try again; without it, the recovery phrase of a vault opens that vault',
      })
    }
  }

  get protection(): 'none' | 'passphrase' {
    return this.#protection.kind
  }

  /** The vaults, in the order in which they were added or read. Owned by the ring. */
  get vaults(): readonly VaultKeys[] {
    return this.#vaults
  }

  find(vaultId: Uint8Array): VaultKeys | undefined {
    assert(!this.#closed, 'key ring is closed')
    return this.#vaults.find((keys) => equalBytes(keys.vaultId, vaultId))
  }

  /** Throws 'vault-not-found'. */
  get(vaultId: Uint8Array): VaultKeys {
    const keys = this.find(vaultId)
    if (keys !== undefined) return keys
    throw new LatticeError('vault-not-found', 'no keys for this vault in the key file', {
      details: { vault: toHex(vaultId) },
    })
  }

  /** Takes ownership. A vault that is there already is replaced and its old keys are wiped. */
  put(keys: VaultKeys): void {
    assert(!this.#closed, 'key ring is closed')
    const index = this.#vaults.findIndex((other) => equalBytes(other.vaultId, keys.vaultId))
    const old = this.#vaults[index]
    if (old === keys) return
    if (old === undefined) this.#vaults.push(keys)
    else {
      this.#vaults[index] = keys
      wipeVaultKeys(old)
    }
  }

  remove(vaultId: Uint8Array): boolean {
    const index = this.#vaults.findIndex((keys) => equalBytes(keys.vaultId, vaultId))
    const old = this.#vaults[index]
    if (old === undefined) return false
    this.#vaults.splice(index, 1)
    wipeVaultKeys(old)
    return true
  }

  /** Another passphrase, or none. The file changes with the next encode(). */
  async protect(protection: NewProtection): Promise<void> {
    const made = await makeProtection(protection)
    wipe(this.#protection.key)
    this.#protection = made
  }

  /** The key file's bytes, sealed under a fresh nonce. */
  encode(): Uint8Array {
    assert(!this.#closed, 'key ring is closed')
    return encodeKeyFile(this.#protection, this.#vaults)
  }

  /** Zeroes every key. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    wipe(this.#protection.key)
    for (const keys of this.#vaults) wipeVaultKeys(keys)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Whether opening the file will need a passphrase. Throws as parseKeyFile(). */
export function needsPassphrase(file: Uint8Array): boolean {
  const { protection } = parseKeyFile(file)
  if (protection.kind === 'none') wipe(protection.key)
  return protection.kind === 'passphrase'
}

/**
 * The keys of the vault that a recovery phrase belongs to, without the passphrase; the caller puts
 * them into a new ring and owns them. The phrase's entropy is in them again. A file that is damaged
 * outside of the boxes will do. Throws 'wrong-phrase', or what entropyOf() and
 * parseRecoveryBoxes() throw.
 */
export function openWithPhrase(file: Uint8Array, phrase: string): VaultKeys[] {
  const entropy = entropyOf(phrase)
  const recovery = recoveryKeys(entropy)
  try {
    const found = openRecoveryBoxes(parseRecoveryBoxes(file), recovery.box)
    if (found.length === 0) {
      throw new LatticeError('wrong-phrase', 'the recovery phrase belongs to no vault here', {
        hint: 'each vault has a phrase of its own',
      })
    }
    return found.map((keys) => ({ ...keys, recoveryEntropy: secretFrom(entropy) }))
  } finally {
    wipe(entropy)
    wipe(recovery.box.secretKey)
    wipe(recovery.sign.secretKey)
  }
}

async function makeProtection(protection: NewProtection): Promise<Protection> {
  if (protection.kind === 'none') return { kind: 'none', key: randomSecret() }
  const parameters = protection.parameters ?? ARGON_DEFAULT
  const salt = randomBytes(SALT_BYTES)
  const key = await passphraseKey(protection.passphrase, salt, parameters)
  return { kind: 'passphrase', key, salt, parameters }
}

async function openProtection(
  parsed: ParsedKeyFile,
  passphrase: Uint8Array | undefined,
): Promise<Protection> {
  const { protection } = parsed
  if (protection.kind === 'none') return protection
  if (passphrase === undefined) {
    throw new LatticeError('passphrase-needed', 'the key file is protected by a passphrase', {
      hint: 'give it at the prompt, by --passphrase-file or in LATTICE_PASSPHRASE_FILE',
    })
  }
  const { salt, parameters } = protection
  const key = await passphraseKey(passphrase, salt, parameters)
  return { kind: 'passphrase', key, salt, parameters }
}
