// What config.toml may say, and what holds when it does not. Pure: text in, values out.
//
//   version = 1
//   [daemon]
//   log_level = "info"            # trace, debug, info, warn, error
//   [memory]
//   dirty_mib = 256               # written, not yet sealed; writers wait above it
//   clean_mib = 64                # content kept for reading again
//   [network]
//   listen = "0.0.0.0:0"          # where others reach this device; port 0 = any free one
//   lan = true                    # find devices in the local network, and be found
//   dht = true                    # find them anywhere
//   bootstrap = ["host:49737"]    # first nodes of the DHT; the public ones when empty
//   relay = "64 hexadecimal digits"   # for devices without a direct way (`lattice relay`)
//   peers = ["host:port"]         # addresses to dial, whoever is there
//   upload_kib = 0                # per second; 0 = no limit
//   download_kib = 0
//   [vault.NAME]
//   path = "/home/a/Vault"        # where it is mounted
//   id = "32 hexadecimal digits"
//   cache_mib = 20480             # content kept here, beyond what is pinned; none = no limit

import { isAbsolute } from 'node:path'
import { TomlError, parse } from 'smol-toml'
import { LatticeError } from '../util/errors.ts'
import { CLEAN_BYTES_DEFAULT, DIRTY_BYTES_DEFAULT, DIRTY_BYTES_MIN } from './limits.ts'

export const CONFIG_VERSION = 1
const ADDRESSES_MAX = 64
/** Two packs: less could not be told from what is just coming. */
const CACHE_BYTES_MIN = 128 * 2 ** 20
const CACHE_BYTES_MAX = 2 ** 50
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface VaultEntry {
  name: string
  /** Absolute directory that the vault is mounted on. */
  path: string
  /** 32 lower-case hexadecimal digits. */
  id: string
  /** Content beyond it is given up, least recently used first; undefined = no limit. */
  cacheBytes?: number
}

export interface HostPort {
  host: string
  port: number
}

/** Where and how devices are reached. */
export interface NetworkConfig {
  /** Undefined host: all interfaces. Port 0: any free one. */
  host: string | undefined
  port: number
  lan: boolean
  dht: boolean
  bootstrap: HostPort[]
  /** Public key of a relay, hex. */
  relay: string | undefined
  peers: HostPort[]
  /** Bytes per second; 0 = no limit. */
  uploadLimit: number
  downloadLimit: number
}

export interface Config {
  logLevel: LogLevel
  dirtyBytesMax: number
  cleanBytesMax: number
  network: NetworkConfig
  vaults: VaultEntry[]
  /** One sentence for each key that lattice does not know. */
  warnings: string[]
}

type Table = Record<string, unknown>

export function defaultConfig(): Config {
  return {
    logLevel: 'info',
    dirtyBytesMax: DIRTY_BYTES_DEFAULT,
    cleanBytesMax: CLEAN_BYTES_DEFAULT,
    network: {
      host: undefined, port: 0, lan: true, dht: true, bootstrap: [],
      relay: undefined, peers: [],
      uploadLimit: 0, downloadLimit: 0,
    },
    vaults: [],
    warnings: [],
  }
}

/** Throws 'damaged-config' with the line or key, or 'unknown-format' for a newer version. */
export function parseConfig(text: string): Config {
  const config = defaultConfig()
  const root = parseToml(text)
  const version = root['version']
  if (version === undefined) throw damaged('the key version is missing')
  if (version !== CONFIG_VERSION) {
    throw new LatticeError('unknown-format', `config.toml has version ${shown(version)}`, {
      hint: `this lattice reads version ${CONFIG_VERSION}; use the lattice that wrote it`,
    })
  }
  warnUnknown(config, '', root, ['version', 'daemon', 'memory', 'network', 'vault'])
  readDaemon(config, tableOf(root, 'daemon'))
  readMemory(config, tableOf(root, 'memory'))
  readNetwork(config, tableOf(root, 'network'))
  for (const [name, value] of Object.entries(tableOf(root, 'vault'))) {
    config.vaults.push(readVault(config, name, value))
  }
  refuseDoubles(config.vaults)
  return config
}

function parseToml(text: string): Table {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const reason = error.message.split('\n')[0]?.replace('Invalid TOML document: ', '')
    throw damaged(`line ${error.line}: ${reason ?? 'not TOML'}`)
  }
}

function readDaemon(config: Config, table: Table): void {
  warnUnknown(config, 'daemon.', table, ['log_level'])
  const level = table['log_level']
  if (level === undefined) return
  const known = LOG_LEVELS.find((name) => name === level)
  if (known === undefined) throw damaged(`daemon.log_level must be one of ${LOG_LEVELS.join(', ')}`)
  config.logLevel = known
}

function readMemory(config: Config, table: Table): void {
  warnUnknown(config, 'memory.', table, ['dirty_mib', 'clean_mib'])
  config.dirtyBytesMax = mebibytes(table, 'dirty_mib', DIRTY_BYTES_MIN, config.dirtyBytesMax)
  config.cleanBytesMax = mebibytes(table, 'clean_mib', 0, config.cleanBytesMax)
}

const NETWORK_KEYS = [
  'listen', 'lan', 'dht', 'bootstrap', 'relay', 'peers', 'upload_kib', 'download_kib',
]

function readNetwork(config: Config, table: Table): void {
  warnUnknown(config, 'network.', table, NETWORK_KEYS)
  const { network } = config
  if (table['listen'] !== undefined) {
    const { host, port } = hostPort('network.listen', table['listen'])
    network.host = host === '*' ? undefined : host
    network.port = port
  }
  network.lan = flag(table, 'lan', network.lan)
  network.dht = flag(table, 'dht', network.dht)
  network.bootstrap = hostPorts(table, 'bootstrap')
  network.peers = hostPorts(table, 'peers')
  const { relay } = table
  if (relay !== undefined && !(typeof relay === 'string' && /^[0-9a-f]{64}$/.test(relay))) {
    throw damaged('network.relay must be 64 hexadecimal digits')
  }
  network.relay = relay
  network.uploadLimit = kibibytes(table, 'upload_kib')
  network.downloadLimit = kibibytes(table, 'download_kib')
}

function flag(table: Table, key: string, otherwise: boolean): boolean {
  const value = table[key] ?? otherwise
  if (typeof value !== 'boolean') throw damaged(`network.${key} must be true or false`)
  return value
}

function hostPorts(table: Table, key: string): HostPort[] {
  const value = table[key] ?? []
  if (!Array.isArray(value) || value.length > ADDRESSES_MAX) {
    throw damaged(`network.${key} must be a list of at most ${ADDRESSES_MAX} "host:port"`)
  }
  return value.map((one: unknown) => hostPort(`network.${key}`, one))
}

function hostPort(key: string, value: unknown): HostPort {
  const found = parseHostPort(typeof value === 'string' ? value : '')
  if (found === undefined) throw damaged(`${key} must be "host:port"`)
  return found
}

/** "host:port" or "[v6]:port"; undefined for anything else. */
export function parseHostPort(text: string): HostPort | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3])
  return host === undefined || !(port <= 65_535) ? undefined : { host, port }
}

function kibibytes(table: Table, key: string): number {
  const value = table[key] ?? 0
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 2 ** 32) {
    return value * 1024
  }
  throw damaged(`network.${key} must be a whole number of KiB per second`)
}

function mebibytes(table: Table, key: string, minBytes: number, otherwise: number): number {
  return mebibytesOf(`memory.${key}`, table[key], minBytes, 2 ** 40) ?? otherwise
}

function mebibytesOf(
  key: string, value: unknown, minBytes: number, maxBytes: number,
): number | undefined {
  if (value === undefined) return undefined
  const bytes = typeof value === 'number' && Number.isInteger(value) ? value * 2 ** 20 : Number.NaN
  if (bytes >= minBytes && bytes <= maxBytes) return bytes
  throw damaged(`${key} must be an integer from ${minBytes / 2 ** 20} to ${maxBytes / 2 ** 20}`)
}

function readVault(config: Config, name: string, value: unknown): VaultEntry {
  if (!isTable(value)) throw damaged(`vault.${name} must be a table`)
  warnUnknown(config, `vault.${name}.`, value, ['path', 'id', 'cache_mib'])
  const { path, id } = value
  if (typeof path !== 'string' || !isAbsolute(path) || path.includes('\0')) {
    throw damaged(`vault.${name}.path must be an absolute path`)
  }
  if (typeof id !== 'string' || !/^[0-9a-f]{32}$/.test(id)) {
    throw damaged(`vault.${name}.id must be 32 hexadecimal digits`)
  }
  const cacheBytes = mebibytesOf(
    `vault.${name}.cache_mib`, value['cache_mib'], CACHE_BYTES_MIN, CACHE_BYTES_MAX,
  )
  return { name, path, id, ...(cacheBytes === undefined ? {} : { cacheBytes }) }
}

function refuseDoubles(vaults: VaultEntry[]): void {
  for (const key of ['path', 'id'] as const) {
    const seen = new Map<string, string>()
    for (const vault of vaults) {
      const other = seen.get(vault[key])
      if (other !== undefined) {
        throw damaged(`vaults ${other} and ${vault.name} have the same ${key}`)
      }
      seen.set(vault[key], vault.name)
    }
  }
}

function tableOf(root: Table, key: string): Table {
  const value = root[key]
  if (value === undefined) return {}
  if (!isTable(value)) throw damaged(`${key} must be a table`)
  return value
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function warnUnknown(config: Config, prefix: string, table: Table, known: string[]): void {
  for (const key of Object.keys(table)) {
    if (known.includes(key)) continue
    config.warnings.push(`config.toml: unknown key ${prefix}${key}, ignored`)
  }
}

function shown(value: unknown): string {
  return typeof value === 'number' || typeof value === 'string' ? String(value) : 'of another type'
}

function damaged(reason: string): LatticeError {
  return new LatticeError('damaged-config', `config.toml cannot be read: ${reason}`, {
    hint: 'correct the file; `lattice status --json` names its path',
  })
}
