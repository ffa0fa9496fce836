// Directories as the user names them, as the absolute paths that vaults are recorded under.

import { realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { callerDirectory } from '../config/paths.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'

const MAY_BE_NEW_OR_DEAD = ['ENOENT', 'ENOTDIR', 'ENOTCONN', 'ECONNABORTED']

/**
 * Absolute, symbolic links resolved. The last part need not exist, and may be a dead mount. Throws
 * 'mountpoint-missing' when its parent does not exist, 'usage' for what cannot be a path.
 */
export async function resolveDirectory(argument: string): Promise<string> {
  if (argument === '' || argument.includes('\0')) {
    throw new LatticeError('usage', 'the directory must have a name')
  }
  const absolute = resolve(callerDirectory(), argument)
  try {
    return await realpath(absolute)
  } catch (error) {
    if (!MAY_BE_NEW_OR_DEAD.includes(errnoName(error) ?? '')) {
      throw fromSystemError(error, `${absolute} cannot be reached`)
    }
  }
  try {
    return join(await realpath(dirname(absolute)), basename(absolute))
  } catch (error) {
    if (errnoName(error) === 'ENOENT') {
      throw new LatticeError('mountpoint-missing', `${dirname(absolute)} does not exist`, {
        hint: 'create it first, or name another directory',
      })
    }
    if (errnoName(error) === 'ENOTDIR') {
      throw new LatticeError('mountpoint-not-directory', `${dirname(absolute)} is no directory`, {
        hint: 'name a directory, or a path that does not exist yet',
      })
    }
    throw fromSystemError(error, `${dirname(absolute)} cannot be reached`)
  }
}

/** A file that the user names; relative to where the command was called. */
export function resolveFile(argument: string): string {
  return resolve(callerDirectory(), argument)
}
