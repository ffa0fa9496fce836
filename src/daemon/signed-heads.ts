// What other authors have signed of their logs, noted in the journal now and then (JOURNAL_HEAD),
// so that their logs can be made anew for others when Hypercore's storage is lost and they are
// gone. Noted is only what the journal has all blocks of. A log that has grown since the last note
// comes back as long as that note says; the rest comes from peers, or with the author.

import type { LogClient } from '../logs/log-client.ts'
import type { AuthorId } from '../ops/types.ts'
import { decodeHead, encodeHead } from '../vault/journal-head.ts'
import type { JournalHead } from '../vault/journal-head.ts'
import { JOURNAL_HEAD, JOURNAL_START } from '../vault/ports.ts'
import type { JournalPort, LogKind } from '../vault/ports.ts'

const EVERY_MS = 20_000
const RECORDS_AT_ONCE = 1024

export interface SignedHeadsOptions {
  client: Pick<LogClient, 'authors' | 'own' | 'length' | 'contentLength' | 'head' | 'restore'>
  journal: Pick<JournalPort, 'append' | 'scan'>
  /** Blocks of the log that the journal has, or the index has of it. */
  applied: (author: AuthorId, kind: LogKind) => number
  pause: () => Promise<void>
  onTrouble: (error: unknown) => void
}

export class SignedHeads {
  readonly #options: SignedHeadsOptions
  readonly #noted = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: SignedHeadsOptions) {
    this.#options = options
    this.#again()
  }

  /** Notes what is new. They are durable with the journal's next flush. */
  async note(): Promise<void> {
    const { client, journal, applied } = this.#options
    for (const author of client.authors()) {
      if (author === client.own) continue
      for (const kind of ['ops', 'content'] as const) {
        const length = kind === 'ops' ? client.length(author) : client.contentLength(author)
        const key = kind + author
        if (length === 0 || length === this.#noted.get(key)) continue
        if (applied(author, kind) !== length) continue
        const head = await client.head(author, kind)
        if (head?.length !== length || this.#isClosed) continue
        journal.append(JOURNAL_HEAD, encodeHead({ author, kind, head }))
        this.#noted.set(key, length)
      }
    }
  }

  /** Makes all logs anew of which there are notes; for a storage that was made anew. */
  async restore(): Promise<void> {
    const { client, journal, pause } = this.#options
    const newest = new Map<string, JournalHead>()
    let count = 0
    for (const record of journal.scan(JOURNAL_START)) {
      if (++count % RECORDS_AT_ONCE === 0) await pause()
      if (record.type !== JOURNAL_HEAD) continue
      const found = decodeHead(record)
      const key = found.kind + found.author
      if (found.head.length > (newest.get(key)?.head.length ?? 0)) newest.set(key, found)
    }
    for (const { author, kind, head } of newest.values()) await client.restore(author, kind, head)
  }

  /** Notes what is new, for the last time. Idempotent; the client must still answer. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    await this.note().catch(this.#options.onTrouble)
    this.stop()
  }

  /** Nothing more is noted: the logs are gone. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#isClosed = true
  }

  #again(): void {
    this.#timer = setTimeout(() => {
      this.note().catch(this.#options.onTrouble).finally(() => {
        if (!this.#isClosed) this.#again()
      })
    }, EVERY_MS)
    this.#timer.unref()
  }
}
