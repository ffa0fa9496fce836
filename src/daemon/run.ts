// Runs a daemon in this process until it ends: signals, working directory, umask, watchdog. Called
// by main.ts in the background process and by `lattice mount --foreground` in its own.

import { loadConfig } from '../config/config-file.ts'
import { SHUTDOWN_TIMEOUT_MS } from '../config/limits.ts'
import type { Paths } from '../config/paths.ts'
import { ensurePrivateDirectory } from '../config/private-files.ts'
import { isFromLmdb } from './damage.ts'
import { Daemon } from './daemon.ts'
import { tuneEngine } from './engine-flags.ts'
import { loggable, openLog } from './log.ts'
import type { Log } from './log.ts'
import { ServiceManager } from './service-manager.ts'

export interface RunningDaemon {
  shutDown(reason: string): Promise<void>
  readonly done: Promise<void>
  /** Tells the service manager, if there is one, that all is served that was to be. */
  ready(status: string): void
}

/** Resolves when the daemon answers on its socket. What it throws is for the user. */
export async function runDaemon(paths: Paths): Promise<RunningDaemon> {
  tuneEngine()
  process.umask(0o077)
  process.chdir('/') // never inside a mount
  await ensurePrivateDirectory(paths.stateDirectory)
  const config = await loadConfig(paths)
  const log = openLog(config.logLevel)
  for (const warning of config.warnings) log.warn(warning)
  const daemon = await Daemon.start(paths, log)
  const manager = ServiceManager.fromEnvironment()
  endOnSignals(daemon, log, manager)
  endOnFaults(daemon, log)
  void daemon.done.then(() => {
    manager.close()
    endLater(log)
  })
  return {
    shutDown: (reason) => daemon.shutDown(reason),
    done: daemon.done,
    ready: (status) => manager.ready(status),
  }
}

function endOnSignals(daemon: Daemon, log: Log, manager: ServiceManager): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      manager.stopping()
      setTimeout(() => {
        log.fatal({ timeoutMs: SHUTDOWN_TIMEOUT_MS }, 'the end took too long')
        endNow(1)
      }, SHUTDOWN_TIMEOUT_MS).unref()
      void daemon.shutDown(signal)
    })
  }
  process.on('SIGHUP', () => undefined) // the terminal it was started from is gone: not ours
  process.on('SIGPIPE', () => undefined)
}

/** The unexpected: what can be stored still is, then the process ends with a failure. */
function endOnFaults(daemon: Daemon, log: Log): void {
  const fault = (error: unknown): void => {
    // A full disk: lmdb also rejects promises of its own that nobody can reach. The checkpoint
    // that wanted the write is told, and tries again; nothing but that is concerned.
    if (isFromLmdb(error)) {
      log.error(loggable(error), 'the index could not be written')
      return
    }
    log.fatal(loggable(error), 'a fault in lattice')
    process.exitCode = 1
    setTimeout(() => endNow(1), SHUTDOWN_TIMEOUT_MS).unref()
    void daemon.shutDown('fault')
  }
  process.on('uncaughtException', fault)
  process.on('unhandledRejection', fault)
}

/** Everything is closed: what keeps the process alive now would be a fault. */
function endLater(log: Log): void {
  setTimeout(() => {
    log.warn('something kept the ended daemon alive')
    endNow(process.exitCode === undefined ? 0 : Number(process.exitCode))
  }, 5000).unref()
}

function endNow(code: number): void {
  // oxlint-disable-next-line unicorn/no-process-exit -- the last resort of a process that must end
  process.exit(code)
}
