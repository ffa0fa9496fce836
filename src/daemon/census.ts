// How much of a vault's content is on this device: counts over all files, looked up in pages
// between other work. Kept until something was changed, came, or was given up.

import type { Engine } from './engine.ts'
import { filesBelow } from './files-below.ts'

export interface CensusCounts {
  /** Files with content; of them those that are here whole, in part, not at all. */
  files: number
  here: number
  partial: number
  elsewhere: number
  /** Of the content, and of it what is here. A part that is not known counts as not here. */
  bytes: number
  bytesHere: number
}

export class Census {
  readonly #engine: Engine
  #counts: CensusCounts = noCounts()
  /** Of the vault's state that is counted, or was. */
  #mark = ''
  #running: Promise<void> | undefined
  #isClosed = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** As far as it has come after `waitMs`; `isWhole` when everything was counted. */
  async counts(waitMs: number): Promise<CensusCounts & { isWhole: boolean }> {
    const mark = this.#markNow()
    if (this.#running === undefined && this.#mark !== mark) {
      this.#mark = mark
      this.#running = this.#count().finally(() => {
        this.#running = undefined
      })
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs)
    })
    await Promise.race([this.#running, late])
    clearTimeout(timer)
    return { ...this.#counts, isWhole: this.#running === undefined }
  }

  /** Waits for what is being counted. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running?.catch(() => undefined)
  }

  #markNow(): string {
    const { journal, packs } = this.#engine
    return `${journal.end.sequence} ${packs.storedBytes()}`
  }

  async #count(): Promise<void> {
    const { tree, content } = this.#engine
    const counts = noCounts()
    this.#counts = counts
    for await (const { content: one, attr: { sizeBytes } } of filesBelow(tree, tree.root)) {
      if (this.#isClosed) return
      const { state, bytes } = content.presence(one, sizeBytes)
      counts.files++
      counts.bytes += sizeBytes
      if (state === 'local') {
        counts.here++
        counts.bytesHere += sizeBytes
      } else {
        if (state === 'remote') counts.elsewhere++
        else counts.partial++
        counts.bytesHere += bytes?.here ?? 0
      }
    }
  }
}

function noCounts(): CensusCounts {
  return { files: 0, here: 0, partial: 0, elsewhere: 0, bytes: 0, bytesHere: 0 }
}
