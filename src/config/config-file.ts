// config.toml on disk: read whole, changed by appending a table (comments of the user stay), always
// replaced atomically. One writer: the daemon.

import { readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { stringify } from 'smol-toml'
import { LatticeError, errnoName, fromSystemError } from '../util/errors.ts'
import { CONFIG_VERSION, defaultConfig, parseConfig } from './config-schema.ts'
import type { Config, VaultEntry } from './config-schema.ts'
import { CONFIG_BYTES_MAX } from './limits.ts'
import { ensurePrivateDirectory, replaceFile } from './private-files.ts'
import type { Paths } from './paths.ts'

/** The defaults without a file. Throws 'damaged-config', 'unknown-format', 'denied', 'io'. */
export async function loadConfig(paths: Paths): Promise<Config> {
  const text = await readText(paths)
  return text === undefined ? defaultConfig() : parseConfig(text)
}

/** Records one more vault. Throws 'exists' when its path, id or name is taken. */
export async function addVault(paths: Paths, entry: VaultEntry): Promise<void> {
  const text = (await readText(paths)) ?? `version = ${CONFIG_VERSION}\n`
  for (const other of parseConfig(text).vaults) {
    if (other.name === entry.name || other.path === entry.path || other.id === entry.id) {
      throw new LatticeError('exists', `a vault is recorded for ${other.path} already`)
    }
  }
  const table = stringify({ vault: { [entry.name]: { path: entry.path, id: entry.id } } })
  const next = `${text.endsWith('\n') ? text : `${text}\n`}\n${table.trim()}\n`
  parseConfig(next) // what could not be read again is never written
  await ensurePrivateDirectory(paths.configDirectory)
  await replaceFile(paths.configFile, next)
}

/** The last part of the path, made unique among the vaults' names. */
export function newVaultName(path: string, vaults: readonly VaultEntry[]): string {
  const printable = basename(path).replace(/[^\p{L}\p{N}\p{M}\p{P}\p{S} ]/gu, '_')
  let stem = printable === '' ? 'Vault' : printable
  while (Buffer.byteLength(stem) > 200) stem = stem.slice(0, -1)
  for (let count = 1; ; count++) {
    const name = count === 1 ? stem : `${stem}-${count}`
    if (!vaults.some((vault) => vault.name === name)) return name
  }
}

async function readText(paths: Paths): Promise<string | undefined> {
  try {
    const stats = await stat(paths.configFile)
    if (stats.size > CONFIG_BYTES_MAX) {
      throw new LatticeError('damaged-config', 'config.toml is larger than 1 MiB')
    }
    return await readFile(paths.configFile, 'utf8')
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined
    throw fromSystemError(error, 'config.toml cannot be read')
  }
}
