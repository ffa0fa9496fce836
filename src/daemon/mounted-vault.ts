// One vault while it is mounted: the engine, the FUSE session, the mount point. It ends in one of
// three ways: unmounted through the control API, unmounted by somebody else (umount(8)), or by the
// daemon's end. In each the engine is closed after the kernel has let go, so that everything
// written is sealed and committed. Never touches a path inside its own mount.

import type { VaultStatus } from '../api/client-types.ts'
import type { VaultEntry } from '../config/config-schema.ts'
import { mountDirectory, unmountDirectory } from '../fuse/mount.ts'
import type { MountOptions } from '../fuse/mount.ts'
import { FuseSession } from '../fuse/session.ts'
import type { SessionEnd } from '../fuse/session.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import { storedBytes } from './stored-bytes.ts'
import { KernelTeller } from './kernel-teller.ts'
import type { OpenVault } from './open-vault.ts'

export class MountedVault {
  readonly entry: VaultEntry
  readonly vault: OpenVault
  readonly #options: MountOptions
  readonly #session: FuseSession
  readonly #kernel: KernelTeller
  readonly #log: Log
  /** The kernel has let go. */
  #hasEnded = false

  /** Resolves when the engine is closed, with the error that closing met, if any. */
  readonly closed: Promise<Error | undefined>

  private constructor(
    entry: VaultEntry,
    vault: OpenVault,
    session: FuseSession,
    options: MountOptions,
    log: Log,
  ) {
    this.entry = entry
    this.vault = vault
    this.#session = session
    this.#options = options
    this.#log = log
    const { engine } = vault
    this.#kernel = new KernelTeller({
      session,
      view: engine.view,
      root: engine.tree.root,
      directory: entry.path,
      readOnly: options.readOnly,
      vault: entry.id,
      log,
    })
    engine.view.onMayWrite((mayWrite) => session.refuseChanges(!mayWrite))
    this.closed = session.ended.then((end) => this.#close(end))
  }

  /** Takes ownership of `vault`, also when mounting fails. The directory has been prepared. */
  static async open(
    entry: VaultEntry,
    vault: OpenVault,
    options: MountOptions,
    log: Log,
  ): Promise<MountedVault> {
    let isMounted = false
    try {
      const fd = await mountDirectory(entry.path, options)
      isMounted = true
      const session = FuseSession.open({
        fd,
        fileSystem: vault.fileSystem,
        buffers: vault.buffers,
        readOnly: options.readOnly,
        foldsNames: vault.foldsNames,
        log: ({ operation, ino, error }) => {
          vault.noteError(error)
          log.error({ vault: entry.id, operation, ino, ...loggable(error) }, 'a call failed')
        },
      })
      log.info({ vault: entry.id, directory: entry.path }, 'mounted')
      return new MountedVault(entry, vault, session, options, log)
    } catch (error) {
      if (isMounted) await unmountDirectory(entry.path, true)
      await vault.close()
      throw error
    }
  }

  /** Everything done so far is durable when it resolves. */
  sync(): Promise<void> {
    return this.vault.sync()
  }

  /** Tells the kernel that names of a directory changed, and what they name, not through it. */
  changed(parent: Ino, names: readonly string[], inos: readonly Ino[]): void {
    if (!this.#hasEnded) this.#kernel.changed(parent, names, inos)
  }

  /** The kernel knows of every change from elsewhere that was applied before. */
  notified(): Promise<void> {
    return this.#kernel.notified()
  }

  /** Watchers have been told, too. */
  poked(): Promise<void> {
    return this.#kernel.poked()
  }

  /**
   * Unmounts, and resolves when everything is stored and closed. Throws 'busy' when something uses
   * the mount, which then goes on. Lazily, it disappears at once and is served until its last user
   * is gone; that is not waited for.
   */
  async unmount(lazy: boolean): Promise<void> {
    await this.sync()
    await this.#kernel.pause()
    try {
      await unmountDirectory(this.entry.path, lazy)
    } catch (error) {
      this.#kernel.resume()
      throw error
    }
    if (lazy) return
    const failure = await this.closed
    if (failure !== undefined) throw failure
  }

  /** At the daemon's end: a mount that is in use is detached, and its users lose it. */
  async shutDown(): Promise<void> {
    try {
      await this.unmount(false)
    } catch (error) {
      this.#log.warn({ vault: this.entry.id, ...loggable(error) }, 'cannot be unmounted: detaching')
      if (!this.#hasEnded) await this.#detach(isLatticeError(error, 'busy'))
      this.#session.close()
    }
    const failure = await this.closed
    if (failure !== undefined) throw failure
  }

  /** Nobody may be left with a mount that does not answer, whatever failed. */
  async #detach(lazy: boolean): Promise<void> {
    try {
      await unmountDirectory(this.entry.path, lazy)
    } catch (error) {
      if (!lazy) return this.#detach(true)
      this.#log.error({ vault: this.entry.id, ...loggable(error) }, 'cannot be detached')
    }
  }

  async status(): Promise<VaultStatus> {
    const { id, name, path } = this.entry
    const trouble = this.vault.trouble
    const { unwatched } = this.#kernel
    return {
      id,
      name,
      directory: path,
      mounted: true,
      readOnly: this.#options.readOnly,
      ...this.vault.counts(),
      ...await this.vault.standing(),
      storedBytes: await storedBytes(this.vault.directory),
      ...(trouble === undefined ? {} : { trouble: trouble.message }),
      ...(unwatched === undefined ? {} : { unwatched }),
    }
  }

  async #close(end: SessionEnd): Promise<Error | undefined> {
    this.#hasEnded = true
    const fields = { vault: this.entry.id, end }
    try {
      this.#kernel.close()
      this.#session.close()
      await this.vault.close()
      this.#log.info(fields, 'closed')
      return undefined
    } catch (error) {
      this.#log.error({ ...fields, ...loggable(error) }, 'closing failed')
      return error instanceof Error ? error : new Error(String(error))
    }
  }
}
