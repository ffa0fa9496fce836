// Content that others have to send, brought ahead of a sequential reader: into the packs, further
// than the buffers are filled, so that the network goes on while what came is verified, stored and
// read. Whatever fails here fails again when it is read, and is told then.
//
// Used by FileReader alone.

import type { ContentStore, ReadPlan } from './content.ts'
import type { OpenFile } from './open-file.ts'

const AHEAD_BYTES = 24 * 1024 * 1024
const PART_BYTES = 1024 * 1024
/** Over all files. */
const PARTS_MAX = 32

export class AwayAhead {
  readonly #content: Pick<ContentStore, 'plan' | 'planNow'>
  #parts = 0

  constructor(content: Pick<ContentStore, 'plan' | 'planNow'>) {
    this.#content = content
  }

  /** The reader has everything before `offset`, or it is on its way. */
  follow(file: OpenFile, offset: number, sizeBytes: number): void {
    if (!file.isAway) return
    const end = Math.min(offset + AHEAD_BYTES, sizeBytes)
    let begin = Math.max(offset, file.aheadEnd)
    for (; begin < end && this.#parts < PARTS_MAX; begin += PART_BYTES) {
      this.#bring(file, begin, Math.min(PART_BYTES, end - begin))
    }
    file.aheadEnd = Math.max(file.aheadEnd, Math.min(begin, end))
  }

  #bring({ working }: OpenFile, offset: number, length: number): void {
    let here: ReadPlan | undefined
    try {
      here = this.#content.planNow(working, offset, length)
    } catch {
      return
    }
    if (here !== undefined) return here.release()
    this.#parts++
    this.#content.plan(working, offset, length, 'ahead')
      .then((brought) => brought.release(), () => undefined)
      .finally(() => this.#parts--)
  }
}
