// How much of a vault's content is on this device: counts over all files, looked up in pages
// between other work. Kept until something was changed, came, or was given up.

import type { ContentResult } from '../api/client-where-types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Presence } from '../vault/content.ts'
import type { NodeInfo } from '../vault/tree.ts'
import type { Engine } from './engine.ts'
import { filesBelow } from './files-below.ts'

/** A part that is not known counts as not here. */
export type CensusCounts = Omit<ContentResult, 'isWhole' | 'storedBytes' | 'limitBytes'>

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
      this.#running = this.#count().catch((error: unknown) => {
        this.#mark = '' // what was counted is not all
        throw error
      }).finally(() => {
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

  /** One that is damaged is here in part. */
  #presence(content: NodeInfo['content'], sizeBytes: number): Presence {
    try {
      return this.#engine.content.presence(content, sizeBytes)
    } catch (error) {
      if (!isLatticeError(error)) throw error
      return { state: 'partial' }
    }
  }

  async #count(): Promise<void> {
    const { tree } = this.#engine
    const counts = noCounts()
    this.#counts = counts
    for await (const { content: one, attr: { sizeBytes } } of filesBelow(tree, tree.root)) {
      if (this.#isClosed) return
      const { state, bytes } = this.#presence(one, sizeBytes)
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
