// The key file of this LATTICE_HOME as the daemon uses it: opened at the first need and kept open
// until the daemon ends; written whole after each change; put together anew from a recovery phrase.
// A new key file is made only where no vault is recorded: one that is missing is never replaced.

import { readdir, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { KeyAccess, KeyInfo, RestoreRequest, RestoreResult } from '../api/client-types.ts'
import type { VaultEntry } from '../config/config-schema.ts'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory } from '../config/private-files.ts'
import { readKeyFile, writeKeyFile } from '../crypto/key-file-store.ts'
import { KeyRing, needsPassphrase, openWithPhrase } from '../crypto/key-ring.ts'
import type { NewProtection } from '../crypto/key-ring.ts'
import { phraseOf } from '../crypto/phrase.ts'
import { wipe } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { fromHex, toHex, utf8 } from '../util/bytes.ts'
import { LatticeError, isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'

const OLD_MARK = '.old-'

export class KeyStore {
  readonly #paths: Paths
  readonly #mutex = new Mutex()
  #ring: KeyRing | undefined

  constructor(paths: Paths) {
    this.#paths = paths
  }

  async info(): Promise<KeyInfo> {
    const file = this.#paths.keyFile
    if (this.#ring !== undefined) {
      return { state: 'open', protection: this.#ring.protection, file }
    }
    const bytes = await readKeyFile(file)
    if (bytes === undefined) return { state: 'absent', protection: 'unknown', file }
    const protection = needsPassphrase(bytes) ? 'passphrase' : 'none'
    return { state: 'locked', protection, file }
  }

  get protection(): 'none' | 'passphrase' {
    return this.#ring?.protection ?? 'none'
  }

  /**
   * Opens the key file, once. Throws 'missing-key' when there is none, 'passphrase-needed',
   * 'wrong-passphrase', 'empty-passphrase', 'damaged-keys', 'unknown-format', 'denied'.
   */
  open(access: KeyAccess): Promise<KeyRing> {
    return this.#mutex.run(async () => {
      if (this.#ring !== undefined) return this.#ring
      const bytes = await readKeyFile(this.#paths.keyFile)
      if (bytes === undefined) throw this.#missing()
      this.#ring = await withPassphrase(access.passphrase, (secret) => KeyRing.open(bytes, secret))
      return this.#ring
    })
  }

  /** As open(), or makes the file when there is none and `recorded` names no vault. */
  async openOrCreate(
    access: KeyAccess,
    recorded: readonly VaultEntry[],
  ): Promise<{ ring: KeyRing; made: boolean }> {
    const info = await this.info()
    if (info.state !== 'absent') return { ring: await this.open(access), made: false }
    if (recorded.length > 0) throw this.#missing()
    return this.#mutex.run(async () => {
      await ensurePrivateDirectory(this.#paths.configDirectory)
      const ring = await newRing(access)
      await writeKeyFile(this.#paths.keyFile, ring.encode(), { mustBeNew: true })
      this.#ring = ring
      return { ring, made: true }
    })
  }

  /** Writes the ring after a change of its vaults. */
  save(): Promise<void> {
    return this.#mutex.run(async () => {
      if (this.#ring === undefined) throw new LatticeError('closed', 'the key file is not open')
      await writeKeyFile(this.#paths.keyFile, this.#ring.encode())
    })
  }

  keysOf(idHex: string): VaultKeys {
    const id = fromHex(idHex)
    if (this.#ring === undefined || id === undefined) {
      throw new LatticeError('missing-key', 'the key file is not open')
    }
    return this.#ring.get(id)
  }

  /** The 24 words of each vault that still has them. */
  phrases(): { id: string; phrase: string }[] {
    return (this.#ring?.vaults ?? []).flatMap((keys) =>
      keys.recoveryEntropy === undefined
        ? []
        : [{ id: toHex(keys.vaultId), phrase: phraseOf(keys.recoveryEntropy) }],
    )
  }

  /**
   * Opens the keys of the phrase's vault without the passphrase and writes a key file under a new
   * protection. The old file is kept beside it: it still holds the keys of vaults with other
   * phrases, and a restore by their phrases adds them to the new file.
   */
  restore(request: RestoreRequest, recorded: readonly VaultEntry[]): Promise<RestoreResult> {
    return this.#mutex.run(async () => {
      const found = await this.#findByPhrase(request.phrase)
      const inUse = found.path === this.#paths.keyFile
      const ring = inUse ? await newRing(request) : await this.#openCurrent(request)
      for (const keys of found.keys) ring.put(keys)
      const oldKeyFile = inUse ? await this.#setAside() : found.path
      await writeKeyFile(this.#paths.keyFile, ring.encode())
      this.#ring?.close()
      this.#ring = undefined // the new passphrase is asked for, as ever
      const present = new Set(ring.vaults.map((keys) => toHex(keys.vaultId)))
      ring.close()
      return {
        restored: recorded.filter(({ id }) => present.has(id)).map(({ name }) => name),
        missing: recorded.filter(({ id }) => !present.has(id)).map(({ name }) => name),
        keyFile: this.#paths.keyFile,
        oldKeyFile,
      }
    })
  }

  /** Wipes every key. Idempotent. */
  close(): void {
    this.#ring?.close()
    this.#ring = undefined
  }

  async #findByPhrase(phrase: string): Promise<{ path: string; keys: VaultKeys[] }> {
    let refusal: unknown = this.#missing()
    for (const path of await this.#keyFiles()) {
      const bytes = await readKeyFile(path)
      if (bytes === undefined) continue
      try {
        return { path, keys: openWithPhrase(bytes, phrase) }
      } catch (error) {
        if (!isLatticeError(error, 'wrong-phrase')) throw error
        refusal = error
      }
    }
    throw refusal
  }

  /** The file in use, then those that were set aside, newest first. */
  async #keyFiles(): Promise<string[]> {
    const folder = dirname(this.#paths.keyFile)
    const prefix = `${basename(this.#paths.keyFile)}${OLD_MARK}`
    const names = await readdir(folder).catch(() => [])
    const old = names.filter((name) => name.startsWith(prefix)).sort().reverse()
    return [this.#paths.keyFile, ...old.map((name) => join(folder, name))]
  }

  async #openCurrent(access: KeyAccess): Promise<KeyRing> {
    const bytes = await readKeyFile(this.#paths.keyFile)
    if (bytes === undefined) return newRing(access)
    return withPassphrase(access.passphrase, (secret) => KeyRing.open(bytes, secret))
  }

  async #setAside(): Promise<string> {
    const stamp = new Date().toISOString().replace(/[:.]/g, '-')
    const path = `${this.#paths.keyFile}${OLD_MARK}${stamp}`
    await rename(this.#paths.keyFile, path)
    return path
  }

  #missing(): LatticeError {
    return new LatticeError('missing-key', 'the key file is missing', {
      hint: `put it back from a backup: ${this.#paths.keyFile}`,
    })
  }
}

async function newRing(access: KeyAccess): Promise<KeyRing> {
  if (access.passphrase === undefined && access.allowUnprotected !== true) {
    throw new LatticeError('passphrase-needed', 'a passphrase for the new key file is needed', {
      hint: 'give it at the prompt, by --passphrase-file or in LATTICE_PASSPHRASE_FILE',
    })
  }
  return withPassphrase(access.passphrase, (passphrase) => {
    const protection: NewProtection =
      passphrase === undefined ? { kind: 'none' } : { kind: 'passphrase', passphrase }
    return KeyRing.create(protection)
  })
}

/** The passphrase as bytes for the time of `use`. */
async function withPassphrase<T>(
  text: string | undefined,
  use: (passphrase: Uint8Array | undefined) => Promise<T>,
): Promise<T> {
  const bytes = text === undefined ? undefined : utf8(text)
  try {
    return await use(bytes)
  } finally {
    if (bytes !== undefined) wipe(bytes)
  }
}
