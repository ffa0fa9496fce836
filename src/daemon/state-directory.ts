// The directory of one vault's state, and the file in it that names its format:
//
//   format     "lattice state 0 <vault id, 32 hex digits>\n"
//   lock       held by the process that has the vault open (vault/lock.ts)
//   journal/   packs/   index/   logs/   held/
//
// A directory without a readable format file is refused, never filled anew: what is missing there
// would look like an empty vault.

import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ensurePrivateDirectory, replaceFile } from '../config/private-files.ts'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'

const MAGIC = 'lattice state'
const VERSION = 0

export interface StateDirectory {
  path: string
  journal: string
  packs: string
  index: string
  /** Hypercore's storage: a copy for peers, disposable. */
  logs: string
}

export function stateDirectory(path: string): StateDirectory {
  return {
    path,
    journal: join(path, 'journal'),
    packs: join(path, 'packs'),
    index: join(path, 'index'),
    logs: join(path, 'logs'),
  }
}

/** Makes it, empty but for the format file, which is written last. Throws 'exists'. */
export async function makeStateDirectory(path: string): Promise<StateDirectory> {
  try {
    await ensurePrivateDirectory(join(path, '..'))
    await mkdir(path, { mode: 0o700 })
    // now: markFormat() makes their names durable with its own
    for (const part of ['journal', 'packs']) await mkdir(join(path, part), { mode: 0o700 })
  } catch (error) {
    throw fromSystemError(error, 'the state directory cannot be made')
  }
  return stateDirectory(path)
}

/** After it the directory counts as a vault. */
export function markFormat(path: string, vaultId: string): Promise<void> {
  return replaceFile(join(path, 'format'), `${MAGIC} ${VERSION} ${vaultId}\n`)
}

/** Throws 'vault-not-found', 'unknown-format', 'corrupt', 'denied'. */
export async function checkFormat(path: string, vaultId: string): Promise<StateDirectory> {
  let text: string
  try {
    text = await readFile(join(path, 'format'), 'latin1')
  } catch (error) {
    if (errnoName(error) !== 'ENOENT') throw fromSystemError(error, 'the vault cannot be opened')
    throw new LatticeError('vault-not-found', 'the state of the vault is missing', {
      hint: `put it back from a backup: ${path}`,
    })
  }
  const found = /^lattice state (\d{1,9}) ([0-9a-f]{32})\n$/.exec(text)
  if (found === null) {
    throw new LatticeError('corrupt', 'the format file of the vault is damaged', {
      hint: `it should read: ${MAGIC} ${VERSION} ${vaultId}`,
    })
  }
  if (Number(found[1]) !== VERSION) {
    throw new LatticeError('unknown-format', `the vault's state has format ${found[1] ?? ''}`, {
      hint: `this lattice reads format ${VERSION}; use the lattice that wrote it`,
    })
  }
  if (found[2] !== vaultId) {
    throw new LatticeError('corrupt', 'the state directory belongs to another vault', {
      hint: 'its format file names another id than config.toml',
    })
  }
  return stateDirectory(path)
}
