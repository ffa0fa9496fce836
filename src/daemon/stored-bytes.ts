// How much disk a vault's state takes: blocks of packs, journal and index, a few hundred files.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoName } from '../util/errors.ts'

const BLOCK_BYTES = 512 // of st_blocks, by POSIX convention

export async function storedBytes(directory: string): Promise<number> {
  let sum = 0
  try {
    for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
      if (!entry.isFile()) continue
      sum += (await stat(join(entry.parentPath, entry.name))).blocks * BLOCK_BYTES
    }
  } catch (error) {
    if (errnoName(error) !== 'ENOENT') throw error // a file may go while we look
  }
  return sum
}
