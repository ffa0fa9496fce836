// The logs of a vault as its engine sees them: none as long as nobody else belongs to it, those of
// the sync worker from then on. Connected anew when a worker had to be started again.

import type { LogClient } from '../logs/log-client.ts'
import type { AuthorId } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import type { LogPort } from '../vault/ports.ts'

export class LazyLogs implements LogPort {
  readonly #listeners: ((author: AuthorId) => void)[] = []
  readonly #forkListeners: (() => void)[] = []
  #client: LogClient | undefined

  get isConnected(): boolean {
    return this.#client !== undefined
  }

  /** Whoever listens is told of all that is there. */
  connect(client: LogClient): void {
    this.#client = client
    client.onGrowth((author) => this.#tell(client, author))
    for (const author of [...client.authors(), client.own]) this.#tell(client, author)
    client.onFork(({ author, kind }) => {
      if (author === client.own && kind === 'ops') this.#tellOwnFork(client)
    })
  }

  disconnect(): void {
    this.#client = undefined
  }

  authors(): AuthorId[] {
    return this.#client?.authors() ?? []
  }

  length(author: AuthorId): number {
    return this.#client?.length(author) ?? 0
  }

  async read(author: AuthorId, seq: number): Promise<Uint8Array | undefined> {
    return this.#client?.read(author, seq)
  }

  async treeHash(author: AuthorId, length: number): Promise<Uint8Array | undefined> {
    return this.#client?.treeHash(author, length)
  }

  async append(blocks: readonly Uint8Array[]): Promise<void> {
    if (this.#client === undefined) throw new LatticeError('closed', 'the logs are not open')
    await this.#client.append(blocks)
  }

  onGrowth(grown: (author: AuthorId) => void): void {
    this.#listeners.push(grown)
  }

  onOwnFork(forked: () => void): void {
    this.#forkListeners.push(forked)
  }

  #tellOwnFork(client: LogClient): void {
    if (this.#client !== client) return
    for (const listener of this.#forkListeners) listener()
  }

  #tell(client: LogClient, author: AuthorId): void {
    if (this.#client !== client) return
    for (const listener of this.#listeners) listener(author)
  }
}
