// The key file on disk: the only I/O of crypto/. Written whole to a temporary file, flushed,
// renamed over the old one, directory flushed: a crash leaves the old or the new file, never a
// mixture. Mode 0600 from the first moment; a file that others may read is refused.

import { constants } from 'node:fs'
import { link, open, rename, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import { toHex } from '../util/bytes.ts'
import { KEY_FILE_MAX_BYTES, damaged } from './key-file.ts'
import { randomBytes } from './random.ts'

/**
 * The file's bytes, or undefined when there is none. Throws 'denied' when group or others have any
 * right to it or when it cannot be read, 'damaged-keys' when it is no key file by size or kind.
 */
export async function readKeyFile(path: string): Promise<Uint8Array | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined
    throw fromSystemError(error, 'the key file cannot be opened')
  }
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw damaged('it is not a regular file')
    if ((stat.mode & 0o077) !== 0) {
      throw new LatticeError('denied', 'other users may read the key file', {
        hint: `make it private: chmod 600 ${path}`,
        details: { mode: (stat.mode & 0o777).toString(8) },
      })
    }
    if (stat.size > KEY_FILE_MAX_BYTES) throw damaged('it is too large')
    return await file.readFile()
  } catch (error) {
    throw fromSystemError(error, 'the key file cannot be read')
  } finally {
    await file.close()
  }
}

/**
 * Replaces the file, durably. With `mustBeNew` an existing file is an 'exists' error and stays as
 * it is. The directory must exist.
 */
export async function writeKeyFile(
  path: string,
  bytes: Uint8Array,
  options: { mustBeNew?: boolean } = {},
): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${toHex(randomBytes(6))}`)
  try {
    await writeFlushed(temporary, bytes)
    if (options.mustBeNew === true) await linkNew(temporary, path)
    else await rename(temporary, path)
    await syncDirectory(folder)
  } catch (error) {
    await unlink(temporary).catch(() => undefined) // it may be gone already; the error counts
    throw fromSystemError(error, 'the key file cannot be written')
  }
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** rename() would replace; link() fails when the name is taken. */
async function linkNew(temporary: string, path: string): Promise<void> {
  await link(temporary, path)
  await unlink(temporary)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
