// Where the other devices of a vault were reached, and where this one listens, from one start to
// the next: so that devices which only know each other's addresses find each other again. A hint:
// when it is lost or damaged, discovery and the next connection make it anew.
//
//   addresses   record (crypto/aead.ts) under KDF(database key, 'lattice/0/local-invites'),
//               associated data = vault id, of JSON {version: 0, port,
//               devices: [[hex, [address…]]…]}

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../config/private-files.ts'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { deriveKey } from '../crypto/kdf.ts'
import { wipe } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import type { HostPort } from '../net/ports.ts'
import type { AuthorId } from '../ops/types.ts'
import { toHex, utf8 } from '../util/bytes.ts'
import { isLatticeError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'

const DEVICES_MAX = 256
const SAVE_AFTER_MS = 500

interface Stored {
  version: 0
  port: number
  devices: [string, HostPort[]][]
}

export class KnownAddresses {
  readonly #path: string
  readonly #keys: VaultKeys
  readonly #mutex = new Mutex()
  readonly #devices: Map<string, HostPort[]>
  #port: number
  #timer: NodeJS.Timeout | undefined

  private constructor(path: string, keys: VaultKeys, stored: Stored) {
    this.#path = path
    this.#keys = keys
    this.#port = stored.port
    this.#devices = new Map(stored.devices)
  }

  static async open(stateDirectory: string, keys: VaultKeys): Promise<KnownAddresses> {
    const path = join(stateDirectory, 'addresses')
    return new KnownAddresses(path, keys, await read(path, keys))
  }

  /** 0: any. */
  get port(): number {
    return this.#port
  }

  all(): { device: AuthorId; addresses: HostPort[] }[] {
    return [...this.#devices].map(([hex, addresses]) => ({
      device: Buffer.from(hex, 'hex').toString('latin1') as AuthorId, addresses,
    }))
  }

  listensAt(port: number): void {
    if (port === this.#port) return
    this.#port = port
    this.#saveSoon()
  }

  told(device: AuthorId, addresses: readonly HostPort[]): void {
    const hex = toHex(Buffer.from(device, 'latin1'))
    const text = JSON.stringify(addresses)
    if (JSON.stringify(this.#devices.get(hex) ?? []) === text) return
    this.#devices.delete(hex)
    if (addresses.length > 0) this.#devices.set(hex, [...addresses])
    for (const oldest of this.#devices.keys()) {
      if (this.#devices.size <= DEVICES_MAX) break
      this.#devices.delete(oldest)
    }
    this.#saveSoon()
  }

  /** Writes what is not written yet. Never rejects: it is a hint. */
  async close(): Promise<void> {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    await this.#save()
  }

  #saveSoon(): void {
    this.#timer ??= setTimeout(() => void this.#save(), SAVE_AFTER_MS)
    this.#timer.unref()
  }

  async #save(): Promise<void> {
    this.#timer = undefined
    await this.#mutex.run(async () => {
      const stored: Stored = { version: 0, port: this.#port, devices: [...this.#devices] }
      const key = deriveKey(this.#keys.databaseKey, 'lattice/0/local-invites')
      const sealed = sealRecord(key, this.#keys.vaultId, utf8(JSON.stringify(stored)))
      wipe(key)
      await replaceFile(this.#path, sealed).catch(() => undefined)
    })
  }
}

async function read(path: string, keys: VaultKeys): Promise<Stored> {
  const none: Stored = { version: 0, port: 0, devices: [] }
  const key = deriveKey(keys.databaseKey, 'lattice/0/local-invites')
  try {
    const sealed = await readFile(path).catch(() => undefined)
    if (sealed === undefined) return none
    const stored = JSON.parse(openRecord(key, keys.vaultId, sealed).toString('utf8')) as Stored
    return stored.version === 0 ? stored : none
  } catch (error) {
    if (isLatticeError(error) || error instanceof SyntaxError) return none
    throw error
  } finally {
    wipe(key)
  }
}
