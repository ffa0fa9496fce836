// The directory in which Corestore keeps the logs of one vault. It is a cache: everything in it is
// in the journal too, or with peers. So a directory that does not open, was copied from elsewhere
// or was found damaged is thrown away and made anew, and nobody is asked. One that another process
// holds, or that the disk refuses, is left alone.
//
// A file named DAMAGED in it says that a read has failed since it was opened.

import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Corestore from 'corestore'
import HypercoreStorage from 'hypercore-storage'
import { LatticeError, fromSystemError } from '../util/errors.ts'
import type { ErrorCode } from '../util/errors.ts'
import { ownerOf } from './log-keys.ts'
import type { LogName } from './types.ts'

const DAMAGED_FILE = 'DAMAGED'
const ASIDE_SUFFIX = '.old'
/** Of RocksDB; its own default of 64 MiB buys nothing for small blocks. */
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024

/** What the libraries say when the directory is sound and something else is wrong. */
const OTHER_TROUBLE: readonly [RegExp, ErrorCode][] = [
  [/could not be locked|lock hold|LOCK:/i, 'locked'],
  [/no space left|disk quota|ENOSPC|EDQUOT/i, 'disk-full'],
  [/permission denied|read-only file system|EACCES|EPERM|EROFS/i, 'denied'],
  [/too many open files|cannot allocate memory|EMFILE|ENFILE|ENOMEM/i, 'io'],
]

/** The error as lattice's own, unless it means that the store itself is no good. */
export function storageTrouble(error: unknown): LatticeError | undefined {
  if (error instanceof LatticeError) return error
  const text = error instanceof Error ? error.message : String(error)
  const found = OTHER_TROUBLE.find(([pattern]) => pattern.test(text))
  if (found === undefined) return undefined
  return new LatticeError(found[1], `the store of the logs: ${text}`, { cause: error })
}

export interface OpenStorage {
  corestore: Corestore
  /** Logs of the vault that are in it. */
  names: LogName[]
}

/** Opens or makes the store. Rejects with a LatticeError for the disk, with others for damage. */
export async function openStorage(directory: string, vaultId: Uint8Array): Promise<OpenStorage> {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    rmSync(directory + ASIDE_SUFFIX, { recursive: true, force: true })
  } catch (error) {
    throw fromSystemError(error, 'make the directory of the logs')
  }
  if (existsSync(join(directory, DAMAGED_FILE))) throw new Error('found damaged before')
  const corestore = new Corestore(
    new HypercoreStorage(directory, { writeBufferSize: WRITE_BUFFER_BYTES }),
  )
  try {
    await corestore.ready()
    return { corestore, names: await storedNames(corestore, vaultId) }
  } catch (error) {
    await corestore.close().catch(() => undefined) // it has told what is wrong already
    throw storageTrouble(error) ?? error
  }
}

/** Moves the directory out of the way and deletes it. */
export function discardStorage(directory: string): void {
  try {
    rmSync(directory + ASIDE_SUFFIX, { recursive: true, force: true })
    renameSync(directory, directory + ASIDE_SUFFIX)
    rmSync(directory + ASIDE_SUFFIX, { recursive: true, force: true })
  } catch (error) {
    throw fromSystemError(error, 'remove the damaged store of the logs')
  }
}

/** The next opening makes it anew. */
export function markDamaged(directory: string): void {
  try {
    writeFileSync(join(directory, DAMAGED_FILE), '')
  } catch (error) {
    throw fromSystemError(error, 'mark the store of the logs as damaged')
  }
}

async function storedNames(corestore: Corestore, vaultId: Uint8Array): Promise<LogName[]> {
  const names: LogName[] = []
  for await (const discoveryKey of corestore.storage.createDiscoveryKeyStream()) {
    const auth = await corestore.storage.getAuth(discoveryKey)
    const owner = ownerOf(auth?.manifest, vaultId)
    if (owner !== undefined) names.push(owner)
  }
  return names
}
