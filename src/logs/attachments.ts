// Which logs are replicated on which connection. Corestore's own replicate() would serve every log
// of the store to whoever knows its key, closed ones included; so it is never called: each log is
// attached by itself, and on a stream nothing else can be asked for.

import Hypercore from 'hypercore'
import type { Log } from './log.ts'
import { nameKey } from './types.ts'
import type { LogName, NoiseStream } from './types.ts'

interface Attachment {
  mux: Hypercore.Muxer
  logs: Map<string, Log>
}

export class Attachments {
  readonly #streams = new Map<NoiseStream, Attachment>()
  readonly #open: (name: LogName) => Promise<Log | undefined>
  readonly #onTrouble: (error: unknown) => void

  constructor(
    open: (name: LogName) => Promise<Log | undefined>, onTrouble: (error: unknown) => void,
  ) {
    this.#open = open
    this.#onTrouble = onTrouble
  }

  /** Idempotent for each log. Logs that must be opened first follow later. */
  attach(stream: NoiseStream, names: readonly LogName[]): void {
    if (stream.destroyed) return
    let attachment = this.#streams.get(stream)
    if (attachment === undefined) {
      Hypercore.createProtocolStream(stream) // puts its multiplexer there unless there is one
      attachment = { mux: stream.userData as Hypercore.Muxer, logs: new Map() }
      this.#streams.set(stream, attachment)
      stream.once('close', () => this.#streams.delete(stream))
    }
    for (const name of names) {
      if (attachment.logs.has(nameKey(name))) continue
      this.#attachOne(stream, attachment, name).catch(this.#onTrouble)
    }
  }

  detach(stream: NoiseStream): void {
    const attachment = this.#streams.get(stream)
    this.#streams.delete(stream)
    if (attachment === undefined) return
    for (const log of attachment.logs.values()) log.detach(attachment.mux)
  }

  /** From every stream, or from one. */
  detachLog(log: Log, only?: Hypercore.Muxer): void {
    for (const { mux, logs } of this.#streams.values()) {
      if (only !== undefined && mux !== only) continue
      if (logs.delete(nameKey(log.name))) log.detach(mux)
    }
  }

  detachAll(): void {
    for (const stream of this.#streams.keys()) this.detach(stream)
  }

  async #attachOne(stream: NoiseStream, attachment: Attachment, name: LogName): Promise<void> {
    const log = await this.#open(name)
    if (log === undefined || stream.destroyed) return
    if (this.#streams.get(stream) !== attachment) return // detached meanwhile
    attachment.logs.set(nameKey(name), log)
    log.attach(attachment.mux)
  }
}
