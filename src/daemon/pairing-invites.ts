// The invites that this device has issued for one vault, as a sealed file in the state directory:
// they survive restarts, and the count of attempts cannot be turned back by one.
//
//   invites   record (crypto/aead.ts) under KDF(database key, 'lattice/0/local-invites'),
//             associated data = vault id, of JSON: {version: 0, invites: [InviteRecord…]}
//
// Ended ones stay a week, so that whoever comes late is told why; at most 64 in all.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../config/private-files.ts'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { deriveKey } from '../crypto/kdf.ts'
import { wipe } from '../crypto/secret.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { isInviteRole } from '../net/pairing/code.ts'
import type { InviteRole } from '../net/pairing/code.ts'
import { utf8 } from '../util/bytes.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import { Mutex } from '../util/mutex.ts'

const INVITES_MAX = 64
const PENDING_MAX = 16
const KEEP_ENDED_MS = 7 * 24 * 3600 * 1000

export type InviteState = 'pending' | 'used' | 'revoked' | 'spent'

export interface InviteRecord {
  /** First 8 hex digits of the code key. */
  id: string
  /** Hex. */
  seed: string
  role: InviteRole
  createdMs: number
  expiryMs: number
  /** The digits need nobody's eyes at this device. */
  isUnattended: boolean
  state: InviteState
  /** Connections that got as far as a nonce. */
  attempts: number
  /** Hex of the device that was let in, and its name. */
  device?: string
  label?: string
  /** When it was used, revoked or spent. */
  endedMs?: number
  /** Why it ended, or why the last attempt failed. */
  problem?: string
}

export class InviteBook {
  readonly #path: string
  readonly #keys: VaultKeys
  readonly #mutex = new Mutex()
  #records: InviteRecord[]

  private constructor(path: string, keys: VaultKeys, records: InviteRecord[]) {
    this.#path = path
    this.#keys = keys
    this.#records = records
  }

  /** A file that does not open counts as damaged: 'corrupt'. */
  static async open(stateDirectory: string, keys: VaultKeys): Promise<InviteBook> {
    const path = join(stateDirectory, 'invites')
    let sealed: Uint8Array
    try {
      sealed = await readFile(path)
    } catch (error) {
      if (errnoName(error) === 'ENOENT') return new InviteBook(path, keys, [])
      throw fromSystemError(error, 'the invites cannot be read')
    }
    return new InviteBook(path, keys, decode(sealed, keys))
  }

  get records(): readonly InviteRecord[] {
    return this.#records
  }

  find(id: string): InviteRecord {
    const record = this.#records.find((one) => one.id === id)
    if (record !== undefined) return record
    throw new LatticeError('not-found', `there is no invite ${id}`, {
      hint: 'lattice invites lists them',
    })
  }

  /** Throws 'busy' when too many are pending. */
  async add(record: InviteRecord, nowMs: number): Promise<void> {
    const isPending = ({ state, expiryMs }: InviteRecord): boolean => (
      state === 'pending' && expiryMs > nowMs
    )
    if (this.#records.filter(isPending).length >= PENDING_MAX) {
      throw new LatticeError('busy', `${PENDING_MAX} invites are pending already`, {
        hint: 'revoke one: lattice invites revoke ID',
      })
    }
    const kept = this.#records.filter((one) => !isForgotten(one, nowMs))
    await this.#replace([...kept, record].slice(-INVITES_MAX))
  }

  /** Durable when it resolves; the record in memory changes at once. */
  async update(id: string, change: Partial<InviteRecord>): Promise<void> {
    const record = this.find(id)
    await this.#replace(this.#records.map((one) => (one === record ? { ...one, ...change } : one)))
  }

  async #replace(records: InviteRecord[]): Promise<void> {
    this.#records = records
    await this.#mutex.run(() => replaceFile(this.#path, encode(this.#records, this.#keys)))
  }
}

/** Ended, or expired, so long ago that nobody needs to be told any more. */
export function isForgotten({ state, expiryMs, endedMs }: InviteRecord, nowMs: number): boolean {
  const ended = state === 'pending' ? expiryMs : (endedMs ?? expiryMs)
  return nowMs - ended > KEEP_ENDED_MS
}

function encode(invites: InviteRecord[], keys: VaultKeys): Uint8Array {
  const key = deriveKey(keys.databaseKey, 'lattice/0/local-invites')
  const plain = utf8(JSON.stringify({ version: 0, invites }))
  const sealed = sealRecord(key, keys.vaultId, plain)
  wipe(plain)
  wipe(key)
  return sealed
}

function decode(sealed: Uint8Array, keys: VaultKeys): InviteRecord[] {
  const key = deriveKey(keys.databaseKey, 'lattice/0/local-invites')
  try {
    const plain = openRecord(key, keys.vaultId, sealed)
    const value = JSON.parse(plain.toString('utf8')) as { version: number; invites: InviteRecord[] }
    wipe(plain)
    if (value.version !== 0) {
      throw new LatticeError('unknown-format', 'the invites were written by another lattice')
    }
    return value.invites.filter(({ role }) => isInviteRole(role))
  } catch (cause) {
    if (cause instanceof LatticeError && cause.code === 'unknown-format') throw cause
    throw new LatticeError('corrupt', 'the file of invites is damaged', {
      hint: 'remove it to go on: pending invites are void then', cause,
    })
  } finally {
    wipe(key)
  }
}
