// When to distrust the index although it opens: LMDB's pages carry no checksum, so damage may show
// only later, as a value that does not open, or end the process. Both leave a note in the state
// directory, and the next opening makes the index anew from the journal.
//
//   index-damaged   a sealed value did not open while the vault was in use
//   unclean         how many times in a row the vault was not closed; removed by a clean close

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isIndexDamage } from './damage.ts'

/** A killed daemon is no reason; one that dies again and again may be. */
const UNCLEAN_MAX = 3

export class IndexHealth {
  readonly #damaged: string
  readonly #unclean: string

  constructor(stateDirectory: string) {
    this.#damaged = join(stateDirectory, 'index-damaged')
    this.#unclean = join(stateDirectory, 'unclean')
  }

  /** Why the index is to be made anew, if it is; counts this opening as unclean until closed(). */
  begin(): string | undefined {
    const count = this.#count()
    writeFileSync(this.#unclean, `${count + 1}\n`, { mode: 0o600 })
    if (existsSync(this.#damaged)) return 'damaged in use'
    return count >= UNCLEAN_MAX ? 'ended unexpectedly several times' : undefined
  }

  /** The index has been made anew. */
  renewed(): void {
    rmSync(this.#damaged, { force: true })
    writeFileSync(this.#unclean, '1\n', { mode: 0o600 })
  }

  /** Looks at an error that a call met. */
  note(error: unknown): void {
    if (!isIndexDamage(error) || existsSync(this.#damaged)) return
    writeFileSync(this.#damaged, '', { mode: 0o600 })
  }

  closed(): void {
    rmSync(this.#unclean, { force: true })
  }

  #count(): number {
    try {
      const count = Number.parseInt(readFileSync(this.#unclean, 'latin1'), 10)
      return Number.isNaN(count) ? 0 : count
    } catch {
      return 0 // no such file: it was closed
    }
  }
}
