// Private directories and whole-file replacement: what configuration and state are written with.
// A crash leaves the old file or the new one, never a mixture.

import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'

/**
 * Makes the directory with missing parents, mode 0700; one that exists is kept, but must belong to
 * this user and give nobody else a right to write. A symbolic link in its place must be this user's
 * or root's, and lead to such a directory. Throws 'denied', 'io', 'disk-full'.
 */
export async function ensurePrivateDirectory(path: string): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true, mode: 0o700 })
    if (made !== undefined) {
      await chmod(path, 0o700)
      return
    }
    const stats = await stat(path)
    const user = process.geteuid?.() ?? stats.uid
    const linkUser = (await lstat(path)).uid
    if (stats.uid !== user || (linkUser !== user && linkUser !== 0)) {
      throw new LatticeError('denied', `${path} belongs to another user`, {
        hint: 'set LATTICE_HOME to a directory of your own',
      })
    }
    if ((stats.mode & 0o022) !== 0) {
      throw new LatticeError('denied', `other users may write to ${path}`, {
        hint: `make it private: chmod go-w ${path}`,
      })
    }
  } catch (error) {
    throw fromSystemError(error, `${path} cannot be used`)
  }
}

/** Replaces the file, durably, mode 0600. */
export async function replaceFile(path: string, text: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}`)
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await unlink(temporary).catch(() => undefined) // may be gone already; the error counts
    throw fromSystemError(error, `${path} cannot be written`)
  }
}

/** Removes the file, durably, if it is there. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
    await syncDirectory(dirname(path))
  } catch (error) {
    if (errnoName(error) !== 'ENOENT') throw fromSystemError(error, `${path} cannot be removed`)
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
