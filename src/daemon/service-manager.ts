// Telling the service manager (systemd, by $NOTIFY_SOCKET) that the daemon is ready, alive and
// ending. Without one every call does nothing. The watchdog is fed by a timer of the main thread:
// when that hangs, mounts hang, and the manager starts anew.

import { sessionAddon } from '../fuse/addon.ts'

export class ServiceManager {
  readonly #socket: string | undefined
  readonly #watchdogMs: number
  #timer: NodeJS.Timeout | undefined

  /** Takes the variables out of the environment: children are not the service. */
  static fromEnvironment(environment: NodeJS.ProcessEnv = process.env): ServiceManager {
    const socket = environment['NOTIFY_SOCKET']
    const micros = Number(environment['WATCHDOG_USEC'] ?? 0)
    const pid = environment['WATCHDOG_PID']
    const isOurs = pid === undefined || Number(pid) === process.pid
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name]
    return new ServiceManager(socket, isOurs && micros > 0 ? micros / 1000 : 0)
  }

  constructor(socket: string | undefined, watchdogMs: number) {
    this.#socket = socket === '' ? undefined : socket
    this.#watchdogMs = watchdogMs
  }

  /** Everything that is to be served is served. */
  ready(status: string): void {
    this.#tell(`READY=1\nMAINPID=${process.pid}\nSTATUS=${oneLine(status)}`)
    if (this.#watchdogMs > 0 && this.#timer === undefined) {
      this.#timer = setInterval(() => this.#tell('WATCHDOG=1'), this.#watchdogMs / 2)
      this.#timer.unref()
      this.#tell('WATCHDOG=1')
    }
  }

  status(status: string): void {
    this.#tell(`STATUS=${oneLine(status)}`)
  }

  /** From now on the end may take its time; the watchdog goes on. */
  stopping(): void {
    this.#tell('STOPPING=1')
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** A manager that is gone is no reason to fail. */
  #tell(message: string): void {
    if (this.#socket !== undefined) sessionAddon().sdNotify(this.#socket, message)
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}
