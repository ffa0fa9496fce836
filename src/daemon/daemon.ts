// The daemon: one process per LATTICE_HOME, serving any number of vaults, asked through the control
// socket. It lives while it serves a mount or somebody is connected, and ends by itself after that.
//
// Invariants: the runtime directory's lock is held from before the socket appears until after every
// vault is closed; requests that open or close a vault run one after the other.

import { mkdir } from 'node:fs/promises'
import type * as Api from '../api/client-types.ts'
import { ControlServer } from '../api/server.ts'
import type { Control } from '../api/server.ts'
import { addVault, loadConfig, newVaultName } from '../config/config-file.ts'
import type { Config, VaultEntry } from '../config/config-schema.ts'
import { DAEMON_IDLE_MS, DAEMON_START_TIMEOUT_MS } from '../config/limits.ts'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory } from '../config/private-files.ts'
import { runSelfTests } from '../crypto/self-test.ts'
import { sessionAddon } from '../fuse/addon.ts'
import { isDeadMount, isMountPoint, prepareMountPoint, unmountDirectory } from '../fuse/mount.ts'
import { LatticeError, errnoName, fromSystemError, isLatticeError } from '../util/errors.ts'
import { TcpPairingNetwork } from '../net/pairing/tcp-network.ts'
import { Mutex } from '../util/mutex.ts'
import { DirectoryLock } from '../vault/lock.ts'
import type { Engine } from './engine.ts'
import { KeyStore } from './key-store.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import { MountedVault } from './mounted-vault.ts'
import { checkStoredVault, createStoredVault, openStoredVault } from './open-vault.ts'
import { refuseNested } from './placement.ts'
import { conflictsAt, resolveConflict } from './conflict-queries.ts'
import { membersOf } from './member-queries.ts'
import { DaemonPairing } from './pairing-control.ts'
import { peersOf } from './peer-queries.ts'
import { versionContent, versionsAt } from './version-queries.ts'
import { namesBelow } from './vault-queries.ts'
import { versionInfo } from './version.ts'
import { DaemonWhere } from './where-control.ts'

export class Daemon implements Control {
  readonly #paths: Paths
  readonly #log: Log
  readonly #keys: KeyStore
  readonly #lock: DirectoryLock
  readonly #changes = new Mutex()
  readonly #mounted = new Map<string, MountedVault>()
  readonly #startedMs = Date.now()
  readonly pairing: DaemonPairing
  readonly where: DaemonWhere
  #server: ControlServer | undefined
  #working = 0
  #idleTimer: NodeJS.Timeout | undefined
  #shutdown: Promise<void> | undefined
  #resolveDone: () => void = () => undefined

  /** Resolves when everything is closed. */
  readonly done: Promise<void>

  private constructor(paths: Paths, log: Log, lock: DirectoryLock) {
    this.#paths = paths
    this.#log = log
    this.#lock = lock
    this.#keys = new KeyStore(paths)
    this.pairing = new DaemonPairing({
      paths, log, keys: this.#keys, dialler: new TcpPairingNetwork(),
      listening: (vaultId) => this.#ask(vaultId, (_, { vault }) => vault.listening()),
      peers: (vaultId) => this.#ask(vaultId, (engine, { vault }) => peersOf(engine, vault.peers)),
      exclusive: (task) => this.#change(task),
      prepare: (directory) => this.#prepareNew(directory),
      statusOf: (entry) => this.#statusOf(entry),
      checkOpen: (vaultId) => this.#ask(vaultId, () => undefined),
    })
    this.where = new DaemonWhere((vaultId, question) => (
      this.#ask(vaultId, (_, { vault }) => question(vault))
    ))
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve
    })
  }

  /** Throws 'daemon-running' when another one serves these paths, 'self-test-failed', 'denied'. */
  static async start(paths: Paths, log: Log): Promise<Daemon> {
    runSelfTests()
    sessionAddon().disableCoreDumps()
    await ensurePrivateDirectory(paths.runtimeDirectory)
    const daemon = new Daemon(paths, log, await takeDaemonLock(paths))
    try {
      daemon.#server = await ControlServer.open(paths.socket, daemon, {
        failed: (error, route) => log.error({ route, ...loggable(error) }, 'a request failed'),
        idle: () => daemon.#considerEnd(DAEMON_IDLE_MS),
      })
    } catch (error) {
      await daemon.#lock.release()
      throw fromSystemError(error, `the control socket ${paths.socket} cannot be made`)
    }
    daemon.#considerEnd(DAEMON_START_TIMEOUT_MS)
    log.info({ version: versionInfo().version }, 'ready')
    return daemon
  }

  // ---- what is asked through the control API

  /** Throws 'closed' when the daemon ends: what a client asks next would be cut off. */
  version(): Api.VersionInfo {
    if (this.#shutdown !== undefined) throw new LatticeError('closed', 'the daemon is ending')
    return versionInfo()
  }

  async status(): Promise<Api.Status> {
    const config = await loadConfig(this.#paths)
    const vaults = await Promise.all(config.vaults.map((entry) => this.#statusOf(entry)))
    return {
      daemon: {
        ...versionInfo(),
        startedMs: this.#startedMs,
        rssBytes: process.memoryUsage.rss(),
        logFile: this.#paths.logFile,
      },
      keys: await this.#keys.info(),
      configFile: this.#paths.configFile,
      stateDirectory: this.#paths.stateDirectory,
      vaults,
      warnings: config.warnings,
    }
  }

  createVault(request: Api.CreateVaultRequest): Promise<Api.CreateVaultResult> {
    return this.#change(async () => {
      const config = await loadConfig(this.#paths)
      const { directory } = request
      this.#refuseTaken(directory, config)
      if (request.forMount === true) await this.#prepareDirectory(directory)
      const { ring, made } = await this.#keys.openOrCreate(request, config.vaults)
      const name = newVaultName(directory, config.vaults)
      const save = (): Promise<void> => this.#keys.save()
      const created = await createStoredVault(this.#paths, name, ring, save, this.#log)
      const entry = { name, path: directory, id: created.id }
      await addVault(this.#paths, entry)
      this.#log.info({ vault: entry.id }, 'created')
      const result: Api.CreateVaultResult = {
        vault: await this.#statusOf(entry),
        newKeyFile: made,
        protection: ring.protection,
      }
      if (request.withPhrase === true) result.recoveryPhrase = created.phrase
      return result
    })
  }

  mount(vaultId: string, request: Api.MountRequest): Promise<Api.MountResult> {
    return this.#change(async () => {
      const config = await loadConfig(this.#paths)
      const entry = entryOf(config, vaultId)
      if (this.#mounted.has(entry.id)) {
        throw new LatticeError('mountpoint-busy', `${entry.path} is mounted already`, {
          hint: `unmount it first: lattice umount ${entry.path}`,
        })
      }
      refuseNested(entry.path, this.#paths, config.vaults)
      await this.#prepareDirectory(entry.path)
      await this.#keys.open(request)
      const vault = await openStoredVault(this.#paths, entry, this.#keys.keysOf(entry.id), {
        config,
        readOnly: request.readOnly,
        ...(request.names === undefined ? {} : { names: request.names }),
        log: this.#log,
        onLearnt: () => this.#saveKeys(entry.id),
      })
      vault.beforeClose = () => this.pairing.closing(entry.id)
      const { readOnly, allowOther, dev, suid } = request
      const options = { readOnly, allowOther, dev, suid }
      const mounted = await MountedVault.open(entry, vault, options, this.#log)
      this.#mounted.set(entry.id, mounted)
      await this.pairing.opened(entry, vault.engine, request.readOnly)
      void mounted.closed.then(() => {
        this.#mounted.delete(entry.id)
        this.#considerEnd(DAEMON_IDLE_MS)
      })
      return { vault: await mounted.status(), protection: this.#keys.protection }
    })
  }

  unmount(vaultId: string, request: Api.UnmountRequest): Promise<Api.VaultStatus> {
    return this.#change(async () => {
      const entry = entryOf(await loadConfig(this.#paths), vaultId)
      const mounted = this.#mounted.get(entry.id)
      if (mounted === undefined) {
        throw new LatticeError('not-mounted', `${entry.path} is not mounted`)
      }
      await mounted.unmount(request.lazy)
      return stored(entry)
    })
  }

  clearDeadMount(directory: string): Promise<void> {
    return this.#change(async () => {
      if (isDeadMount(await sessionAddon().probeMount(directory))) {
        await unmountDirectory(directory, true)
        return
      }
      const foreign = await isMountPoint(directory)
      const message = foreign ? 'is not a mount of lattice, or of another daemon' : 'is not mounted'
      throw new LatticeError('not-mounted', `${directory} ${message}`, {
        hint: foreign ? `umount ${directory}` : 'lattice status lists what is mounted',
      })
    })
  }

  check(vaultId: string, request: Api.CheckRequest): Promise<Api.CheckResult> {
    return this.#change(async () => {
      const config = await loadConfig(this.#paths)
      const entry = entryOf(config, vaultId)
      const mounted = this.#mounted.get(entry.id)
      if (mounted === undefined) await this.#keys.open(request)
      const keys = this.#keys.keysOf(entry.id)
      const options = { config, readData: request.readData, log: this.#log }
      const report = await checkStoredVault(this.#paths, entry, keys, mounted?.vault, options)
      return { vault: await this.#statusOf(entry), ...report }
    })
  }

  sync(vaultId: string): Promise<Api.VaultStatus> {
    return this.#work(async () => {
      const entry = entryOf(await loadConfig(this.#paths), vaultId)
      await this.#mounted.get(entry.id)?.sync()
      return this.#statusOf(entry)
    })
  }

  names(vaultId: string, request: Api.NamesRequest): Promise<Api.NamesResult> {
    return this.#ask(vaultId, ({ tree }) => namesBelow(tree, request.path))
  }

  conflicts(vaultId: string, request: Api.ConflictsRequest): Promise<Api.ConflictsResult> {
    return this.#ask(vaultId, ({ tree, core }) => (
      conflictsAt(tree, (author) => core.members.label(author), request)
    ))
  }

  resolve(vaultId: string, request: Api.ResolveRequest): Promise<Api.ResolveResult> {
    return this.#ask(vaultId, async (engine, mounted) => {
      engine.fileSystem.begin()
      const { result, changed } = resolveConflict(engine.tree, request)
      mounted.changed(changed.parent, changed.names, changed.inos)
      await engine.sync()
      return result
    })
  }

  log(vaultId: string, request: Api.LogRequest): Promise<Api.LogResult> {
    return this.#ask(vaultId, async (engine) => {
      await engine.sync() // what is not placed in a batch yet has no name
      return versionsAt(engine, (author) => engine.core.members.label(author), request)
    })
  }

  members(vaultId: string): Promise<Api.MembersResult> {
    return this.#ask(vaultId, membersOf)
  }

  fileVersion(vaultId: string, request: Api.VersionRequest): Promise<Api.VersionResult> {
    return this.#ask(vaultId, (engine) => versionContent(engine, request))
  }

  recoveryPhrases(access: Api.KeyAccess): Promise<Api.PhraseResult> {
    return this.#change(async () => {
      const { vaults } = await loadConfig(this.#paths)
      await this.#keys.open(access)
      const phrases = this.#keys.phrases().flatMap(({ id, phrase }) => {
        const name = vaults.find((entry) => entry.id === id)?.name
        return name === undefined ? [] : [{ vault: name, id, phrase }]
      })
      return { phrases }
    })
  }

  restoreKeys(request: Api.RestoreRequest): Promise<Api.RestoreResult> {
    return this.#change(async () => {
      if (this.#mounted.size > 0) {
        throw new LatticeError('busy', 'vaults are mounted: their keys are in use', {
          hint: 'unmount them first: lattice umount DIR',
        })
      }
      const { vaults } = await loadConfig(this.#paths)
      return this.#keys.restore(request, vaults)
    })
  }

  // ---- life

  /** Unmounts and closes everything. Idempotent; the same promise for every caller. */
  shutDown(reason: string): Promise<void> {
    this.#shutdown ??= this.#end(reason)
    return this.#shutdown
  }

  async #end(reason: string): Promise<void> {
    this.#log.info({ reason }, 'ending')
    clearTimeout(this.#idleTimer)
    await this.pairing.close().catch((error: unknown) => {
      this.#log.error(loggable(error), 'pairing was not closed cleanly')
    })
    await this.#changes.run(async () => {
      for (const mounted of this.#mounted.values()) {
        await mounted.shutDown().catch((error: unknown) => {
          this.#log.error({ vault: mounted.entry.id, ...loggable(error) }, 'not closed cleanly')
        })
      }
    })
    await this.#server?.close()
    this.#keys.close()
    await this.#lock.release()
    this.#log.info('ended')
    this.#resolveDone()
  }

  #considerEnd(delayMs: number): void {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      const connections = this.#server?.connections ?? 0
      if (this.#mounted.size > 0 || this.#working > 0 || connections > 0) return
      if (this.pairing.running > 0) return this.#considerEnd(DAEMON_IDLE_MS)
      void this.shutDown('nothing to serve')
    }, delayMs)
  }

  async #work<T>(task: () => Promise<T>): Promise<T> {
    if (this.#shutdown !== undefined) throw new LatticeError('closed', 'the daemon is ending')
    this.#working += 1
    try {
      return await task()
    } finally {
      this.#working -= 1
      this.#considerEnd(DAEMON_IDLE_MS)
    }
  }

  /** Asks the engine of a mounted vault. Throws 'not-mounted'. */
  #ask<T>(
    vaultId: string,
    question: (engine: Engine, mounted: MountedVault) => Promise<T> | T,
  ): Promise<T> {
    return this.#work(async () => {
      const entry = entryOf(await loadConfig(this.#paths), vaultId)
      const mounted = this.#mounted.get(entry.id)
      if (mounted !== undefined) return question(mounted.vault.engine, mounted)
      throw new LatticeError('not-mounted', `${entry.path} is not mounted`, {
        hint: `mount it: lattice mount ${entry.path}`,
      })
    })
  }

  #change<T>(task: () => Promise<T>): Promise<T> {
    return this.#work(() => this.#changes.run(task))
  }

  async #statusOf(entry: VaultEntry): Promise<Api.VaultStatus> {
    return this.#mounted.get(entry.id)?.status() ?? stored(entry)
  }

  #refuseTaken(directory: string, config: Config): void {
    const recorded = config.vaults.find(({ path }) => path === directory)
    if (recorded !== undefined) {
      throw new LatticeError('exists', `a vault is recorded for ${directory} already`, {
        hint: `mount it: lattice mount ${directory}`,
      })
    }
    refuseNested(directory, this.#paths, config.vaults)
  }

  /** For a vault that is to be joined. */
  async #prepareNew(directory: string): Promise<void> {
    this.#refuseTaken(directory, await loadConfig(this.#paths))
    await this.#prepareDirectory(directory)
  }

  /** Later if not now: at the next start the keys are learnt again. */
  async #saveKeys(vault: string): Promise<void> {
    try {
      await this.#keys.save()
    } catch (error) {
      this.#log.error({ vault, ...loggable(error) }, 'the key file cannot be written')
      throw error
    }
  }

  /** A missing directory is made, 0700; its parent must exist. */
  async #prepareDirectory(directory: string): Promise<void> {
    try {
      await mkdir(directory, { mode: 0o700 })
    } catch (error) {
      if (errnoName(error) === 'ENOENT') {
        throw new LatticeError('mountpoint-missing', `the parent of ${directory} does not exist`, {
          hint: 'create it, or name another directory',
        })
      }
      if (errnoName(error) === 'ENOTDIR') {
        throw new LatticeError('mountpoint-not-directory', `${directory} is below a file`)
      }
      const there = ['EEXIST', 'ENOTCONN', 'ECONNABORTED'].includes(errnoName(error) ?? '')
      if (!there) throw fromSystemError(error, `${directory} cannot be made`)
    }
    await prepareMountPoint(directory)
  }
}

function entryOf(config: Config, vaultId: string): VaultEntry {
  const entry = config.vaults.find(({ id }) => id === vaultId)
  if (entry !== undefined) return entry
  throw new LatticeError('vault-not-found', 'no such vault is recorded', {
    hint: 'lattice status lists the vaults',
  })
}

function stored(entry: VaultEntry): Api.VaultStatus {
  const { id, name, path } = entry
  return { id, name, directory: path, mounted: false, readOnly: false }
}

async function takeDaemonLock(paths: Paths): Promise<DirectoryLock> {
  try {
    return await DirectoryLock.take(paths.runtimeDirectory, 'this LATTICE_HOME')
  } catch (error) {
    if (!isLatticeError(error, 'locked')) throw error
    throw new LatticeError('daemon-running', `a daemon is running already: ${error.message}`, {
      hint: 'use it (lattice mount DIR without --foreground), or unmount what it serves',
      details: error.details,
    })
  }
}

