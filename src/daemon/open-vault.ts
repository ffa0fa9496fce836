// Creating, opening and checking the vault of one state directory: from the paths and the key ring
// to an engine and back.

import { hostname } from 'node:os'
import type { CheckFinding } from '../api/client-types.ts'
import type { Config, VaultEntry } from '../config/config-schema.ts'
import { defaultConfig } from '../config/config-schema.ts'
import { vaultDirectory } from '../config/paths.ts'
import type { Paths } from '../config/paths.ts'
import type { KeyRing } from '../crypto/key-ring.ts'
import { phraseOf } from '../crypto/phrase.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import type { FileSystem } from '../fs/file-system.ts'
import type { NativeBuffers } from '../fuse/native-buffers.ts'
import type { NameMatching } from '../fs/name-keys.ts'
import type { AuthorId } from '../ops/types.ts'
import type { PairingNetwork } from '../net/pairing/ports.ts'
import { must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import { toHex } from '../util/bytes.ts'
import { createVaultKeys, genesisOf } from '../vault/create.ts'
import { genesisOp } from '../vault/genesis.ts'
import { checkEngine } from './check.ts'
import type { CheckReport } from './check.ts'
import { Census } from './census.ts'
import { Engine } from './engine.ts'
import { isDamage } from './damage.ts'
import type { Log } from './log.ts'
import { KnownAddresses } from './known-addresses.ts'
import { PinList } from './pin-list.ts'
import { Placing } from './placing.ts'
import { readIntroducer } from './pairing-join.ts'
import type { Introducer } from './pairing-join.ts'
import { VaultSync } from './sync.ts'
import type { SyncOptions } from './sync.ts'
import { checkFormat, makeStateDirectory, markFormat } from './state-directory.ts'
import { VaultMembers } from '../vault/members-view.ts'

/**
 * Makes keys, stores them (`save`), then the state directory with the genesis batch; the format
 * file comes last, so that a directory is a vault or nothing.
 */
export async function createStoredVault(
  paths: Paths,
  name: string,
  ring: KeyRing,
  save: () => Promise<void>,
  log: Log,
): Promise<{ id: string; phrase: string }> {
  const label = deviceLabel()
  const keys = createVaultKeys(name, label)
  const id = toHex(keys.vaultId)
  ring.put(keys)
  await save()
  const path = vaultDirectory(paths, id)
  const state = await makeStateDirectory(path)
  const config = defaultConfig()
  const engine = await Engine.open({ state, vaultKeys: keys, config, readOnly: false, log })
  try {
    await engine.core.control([genesisOp(genesisOf(keys, label))])
  } finally {
    await engine.close()
  }
  await markFormat(path, id)
  return { id, phrase: phraseOf(must(keys.recoveryEntropy, 'new keys have a phrase')) }
}

/** This device's name: others see it in the names of conflict copies. */
export function deviceLabel(): string {
  const [first = ''] = hostname().split('.')
  return /^[\x21-\x7e]{1,64}$/.test(first) ? first : 'device'
}

export interface OpenOptions {
  config: Config
  readOnly: boolean
  names?: NameMatching
  log: Log
  /** Keys of epochs came that the key file has not got. */
  onLearnt?: () => Promise<void>
}

export async function openStoredVault(
  paths: Paths,
  entry: VaultEntry,
  vaultKeys: VaultKeys,
  options: OpenOptions,
): Promise<OpenVault> {
  const state = await checkFormat(vaultDirectory(paths, entry.id), entry.id)
  const { config, log, readOnly } = options
  const introducer = readOnly ? undefined : await readIntroducer(state.path, vaultKeys)
  const known = readOnly ? undefined : await KnownAddresses.open(state.path, vaultKeys)
  const sync = known === undefined
    ? undefined
    : new VaultSync({ ...reachedBy(config, introducer), addresses: known, log })
  const list = readOnly ? undefined : await PinList.open(state.path, vaultKeys)
  const engine = await Engine.open({
    state, vaultKeys, ...options, ...(sync === undefined ? {} : { peers: sync }),
  })
  log.info({ vault: entry.id, ...engine.report }, 'opened')
  sync?.serve(engine)
  const placing = sync && list && new Placing({
    engine, peers: sync, list, limitBytes: entry.cacheBytes, log,
  })
  sync?.onChange(() => {
    placing?.peersChanged()
    engine.files.retryHeld()
  })
  return new OpenVault(engine, sync, options.names ?? 'bytes', placing)
}

/** Who let this device in is dialled first, and believed before the control ops are here. */
function reachedBy(
  config: Config, introducer: Introducer | undefined,
): Pick<SyncOptions, 'choices' | 'known'> {
  if (introducer === undefined) return { choices: config.network, known: [] }
  const { device, addresses } = introducer
  const peers = [...config.network.peers, ...addresses]
  return {
    choices: { ...config.network, peers },
    known: [{ device: Buffer.from(device).toString('latin1') as AuthorId, label: '' }],
  }
}

export interface Counts {
  files: number
  directories: number
  contentBytes: number
  dirtyBytes: number
  heldFiles: number
  conflicts: number
}

export interface Standing {
  role?: string
  devices?: { known: number; connected: number }
}

/** An open vault, as whoever serves it sees it. */
export class OpenVault {
  readonly engine: Engine
  /** The other devices; undefined when nothing may be written. */
  readonly peers: VaultSync | undefined
  /** What is kept here and given up; undefined when nothing may be written. */
  readonly placing: Placing | undefined
  readonly census: Census
  /** Ends what uses the engine beside the mount. */
  beforeClose: () => Promise<void> = () => Promise.resolve()
  /** Names match otherwise than by their bytes. */
  readonly foldsNames: boolean

  constructor(
    engine: Engine, peers: VaultSync | undefined, names: NameMatching, placing?: Placing,
  ) {
    this.engine = engine
    this.peers = peers
    this.placing = placing
    this.census = new Census(engine)
    this.foldsNames = names !== 'bytes'
  }

  get directory(): string {
    return this.engine.state.path
  }

  get fileSystem(): FileSystem {
    return this.engine.fileSystem
  }

  get buffers(): NativeBuffers {
    return this.engine.buffers
  }

  /** Why changes cannot be stored at present. */
  get trouble(): Error | undefined {
    if (this.engine.core.replica?.isOwnForked !== true) return this.engine.trouble
    return new LatticeError('forked', 'another copy of this device has gone its own way', {
      hint: 'a restored backup or a clone: keep what is only here elsewhere, and join anew',
    })
  }

  counts(): Counts {
    const { tree, buffers, files: { heldFiles } } = this.engine
    const { dirtyBytes } = buffers.totals()
    return { ...tree.counts(), dirtyBytes, heldFiles, conflicts: tree.conflictCount }
  }

  /** This device among the others, as far as the history has come. */
  async standing(): Promise<Standing> {
    const { core, keys } = this.engine
    const members = core.members instanceof VaultMembers ? core.members.members : undefined
    if (members?.hasGenesis !== true) return {}
    const present = members.list().filter(({ role }) => role !== undefined)
    const own = members.get(keys.author)?.role
    const known = present.filter(({ device }) => device !== keys.author).length
    const connected = await this.peers?.count() ?? 0
    return { ...(own === undefined ? {} : { role: own }), devices: { known, connected } }
  }

  /** An error that a call met. */
  noteError(error: unknown): void {
    this.engine.noteError(error)
  }

  /** For whoever is to be let in; it listens when it resolves. Throws 'denied'. */
  async listening(): Promise<PairingNetwork> {
    if (this.peers === undefined) throw new LatticeError('denied', 'the vault is read-only')
    await this.peers.startInviting()
    return this.peers.doors
  }

  sync(): Promise<void> {
    return this.engine.sync()
  }

  /** What is not stored yet goes out to others before the connections end, if that is quick. */
  async close(): Promise<void> {
    try {
      await this.beforeClose()
      if (this.peers?.isWanted() === true) await this.peers.publishAll()
    } finally {
      const placed = Promise.all([this.placing?.close(), this.census.close()])
      await this.peers?.close()
      await placed
      await this.engine.close()
    }
  }
}

/** Checks the vault that is served, or opens it for that. What does not open is a finding, too. */
export async function checkStoredVault(
  paths: Paths,
  entry: VaultEntry,
  vaultKeys: VaultKeys,
  served: OpenVault | undefined,
  options: { config: Config; readData: boolean; log: Log },
): Promise<CheckReport> {
  if (served !== undefined) return checkEngine(served.engine, options)
  const startMs = performance.now()
  let vault: OpenVault
  try {
    vault = await openStoredVault(paths, entry, vaultKeys, { ...options, readOnly: true })
  } catch (error) {
    if (!isDamage(error)) throw error
    const finding: CheckFinding = { reason: error.code, where: 'open', message: error.message }
    const seconds = (performance.now() - startMs) / 1000
    return { counts: {}, findings: [finding], findingCount: 1, seconds }
  }
  try {
    return await checkEngine(vault.engine, options)
  } finally {
    await vault.close()
  }
}
