// The LMDB environment of one vault: opened, checked, sealed value by value, closed. The only
// importer of lmdb. Its own encryption is not used (its key stream repeats and it authenticates
// nothing); values are sealed by crypto/, with the whole key as associated data.
//
// LMDB only ever holds what a checkpoint put there, in one transaction: the fold of the journal up
// to the cursor in it. It is derived data: whatever is wrong with it is 'damaged-index' with a
// reason in details.reason, and the caller removes it and folds the journal again.

import { mkdirSync, rmSync } from 'node:fs'
import { open } from 'lmdb'
import type { RootDatabase } from 'lmdb'
import { openRecord, sealRecord } from '../crypto/aead.ts'
import { assert } from '../util/assert.ts'
import { LatticeError, fromSystemError } from '../util/errors.ts'
import { beginOpening, endOpening, faultOf } from './lmdb-file.ts'

const MAGIC = 'lattice index '
/** Of the layout of keys and records. Another one means: rebuild. */
export const INDEX_VERSION = 3
const FORMAT_LABEL = '\0format'

export type IndexDamage = 'version' | 'vault' | 'seal' | 'record' | 'lmdb' | 'missing'

export interface IndexKeysInput {
  /** Seals values; 32 bytes each, kept by reference. */
  valueKey: Uint8Array
  /** Hashes names and chunk ids. */
  hashKey: Uint8Array
}

/** One put (or removal, when undefined) of a transaction. */
export interface Write {
  key: Buffer
  value: Buffer | undefined
}

export class IndexEnvironment {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #valueKey: Uint8Array
  #closed = false

  private constructor(root: RootDatabase<Buffer, Buffer>, valueKey: Uint8Array) {
    this.#root = root
    this.#valueKey = valueKey
  }

  /**
   * Opens or creates the index in `directory`. `vaultId` in hex. Throws 'damaged-index' when what
   * is there is not an index of this version and vault.
   */
  static open(directory: string, vaultId: string, valueKey: Uint8Array): IndexEnvironment {
    let root: RootDatabase<Buffer, Buffer>
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const fault = faultOf(directory)
      if (fault !== undefined) throw damagedIndex('lmdb', `the index is damaged: ${fault}`)
      if (!beginOpening(directory)) throw damagedIndex('lmdb', 'the index does not open')
      root = open<Buffer, Buffer>({
        path: directory,
        keyEncoding: 'binary',
        encoding: 'binary',
        overlappingSync: true,
      })
    } catch (error) {
      endOpening(directory)
      throw openFailure(error, directory)
    }
    const environment = new IndexEnvironment(root, valueKey)
    try {
      environment.#checkFormat(vaultId)
    } catch (error) {
      endOpening(directory)
      void root.close()
      throw error
    }
    return environment
  }

  /** The index was opened and read, well or badly: it does not end the process. */
  opened(directory: string): void {
    endOpening(directory)
  }

  /** Deletes the index from disk; nobody may have it open. */
  static remove(directory: string): void {
    rmSync(directory, { recursive: true, force: true })
  }

  /** The value as stored, valid until the next get. */
  get(key: Buffer): Buffer | undefined {
    return this.#root.getBinaryFast(key) as Buffer | undefined
  }

  has(key: Buffer): boolean {
    return this.#root.getBinaryFast(key) !== undefined
  }

  /** The opened value, the caller's own. Throws 'damaged-index'. */
  getSealed(key: Buffer): Buffer | undefined {
    const sealed = this.#root.getBinaryFast(key)
    return sealed === undefined ? undefined : this.open(key, sealed as Buffer)
  }

  seal(key: Buffer, plain: Uint8Array): Buffer {
    return sealRecord(this.#valueKey, key, plain)
  }

  open(key: Buffer, sealed: Uint8Array): Buffer {
    try {
      return openRecord(this.#valueKey, key, sealed)
    } catch (error) {
      throw damagedIndex('seal', 'a sealed value of the index does not open', error)
    }
  }

  /** Key and stored value of [begin, end), ascending, at most `limit`. */
  range(begin: Buffer, end: Buffer, limit: number): Iterable<{ key: Buffer; value: Buffer }> {
    return this.#root.getRange({ start: begin, end, limit })
  }

  /** As range(), of keys in [end, begin), descending. */
  rangeDown(begin: Buffer, end: Buffer, limit: number): Iterable<{ key: Buffer; value: Buffer }> {
    return this.#root.getRange({
      start: begin, end, limit, reverse: true, exclusiveStart: true, inclusiveEnd: true,
    })
  }

  /**
   * All of it in one transaction; resolves when it is durable. Readers see it when it resolves, or
   * earlier. On rejection nothing of it is there.
   */
  async write(writes: readonly Write[]): Promise<void> {
    assert(!this.#closed, 'the index is closed')
    const root = this.#root
    try {
      await root.batch(() => {
        for (const { key, value } of writes) {
          if (value === undefined) void root.remove(key)
          else void root.put(key, value)
        }
      })
      await root.flushed
    } catch (error) {
      throw fromSystemError(error, 'writing the index')
    }
    root.resetReadTxn()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#root.close()
  }

  #checkFormat(vaultId: string): void {
    const key = Buffer.from(FORMAT_LABEL, 'latin1')
    const expected = `${MAGIC}${INDEX_VERSION} ${vaultId}`
    let found: string | undefined
    try {
      found = this.#root.getBinary(key)?.toString('latin1')
    } catch (error) {
      throw damagedIndex('lmdb', 'the index does not read', error)
    }
    if (found === undefined) {
      this.#root.transactionSync(() => this.#root.putSync(key, Buffer.from(expected, 'latin1')))
      return
    }
    if (found === expected) return
    const sameVersion = found.startsWith(`${MAGIC}${INDEX_VERSION} `)
    throw sameVersion
      ? damagedIndex('vault', 'the index belongs to another vault')
      : damagedIndex('version', 'the index has another version')
  }
}

export function damagedIndex(reason: IndexDamage, message: string, cause?: unknown): LatticeError {
  return new LatticeError('damaged-index', message, {
    cause,
    details: { reason },
    hint: 'it is rebuilt from the journal; nothing is lost',
  })
}

function openFailure(error: unknown, directory: string): Error {
  const known = fromSystemError(error, `opening the index ${directory}`)
  if (known instanceof LatticeError) return known
  return damagedIndex('lmdb', 'LMDB does not open the index', error)
}
