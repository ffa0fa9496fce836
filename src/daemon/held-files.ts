// The records of held contents (vault/held.ts) on the disk: a file each, replaced whole.
//
//   held/<16 hex digits, random>   record (crypto/aead.ts) under KDF(database key,
//                                  'lattice/0/local-held'), associated data = vault id ‖ name,
//                                  of the text in vault/held-record.ts
//
// A file that does not open is damage of what only this device has: it is never removed.

import { randomBytes } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ensurePrivateDirectory, removeFile, replaceFile } from '../config/private-files.ts'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { deriveKey } from '../crypto/kdf.ts'
import { wipe } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { concatBytes, utf8 } from '../util/bytes.ts'
import type { HeldStore } from '../vault/held.ts'

const NAME = /^[0-9a-f]{16}$/

export class HeldFiles implements HeldStore {
  readonly #directory: string
  readonly #keys: VaultKeys

  private constructor(directory: string, keys: VaultKeys) {
    this.#directory = directory
    this.#keys = keys
  }

  static async open(stateDirectory: string, keys: VaultKeys): Promise<HeldFiles> {
    const directory = join(stateDirectory, 'held')
    await ensurePrivateDirectory(directory)
    return new HeldFiles(directory, keys)
  }

  newName(): string {
    return randomBytes(8).toString('hex')
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => NAME.test(name)).sort()
  }

  async read(name: string): Promise<string> {
    const sealed = await readFile(join(this.#directory, name))
    const key = this.#key()
    try {
      return openRecord(key, this.#adOf(name), sealed).toString('utf8')
    } finally {
      wipe(key)
    }
  }

  async write(name: string, text: string): Promise<void> {
    const key = this.#key()
    const sealed = sealRecord(key, this.#adOf(name), utf8(text))
    wipe(key)
    await replaceFile(join(this.#directory, name), sealed)
  }

  remove(name: string): Promise<void> {
    return removeFile(join(this.#directory, name))
  }

  #adOf(name: string): Uint8Array {
    return concatBytes(this.#keys.vaultId, utf8(name))
  }

  #key(): Uint8Array {
    return deriveKey(this.#keys.databaseKey, 'lattice/0/local-held')
  }
}
