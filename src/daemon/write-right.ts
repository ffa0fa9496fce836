// Whether this device's changes count: asked before every change, so the members' answer is kept
// until they change or the own log reaches a sequence at which it may be another.

import type { AuthorId } from '../ops/types.ts'
import type { EngineCore } from '../vault/engine-core.ts'
import type { MembersView } from '../vault/ports.ts'

export class WriteRight {
  readonly #core: EngineCore
  readonly #author: AuthorId
  #members: MembersView | undefined
  #isGiven = false
  /** The answer holds for sequences below. */
  #until = 0

  /** `author`: this device. */
  constructor(core: EngineCore, author: AuthorId) {
    this.#core = core
    this.#author = author
  }

  get isGiven(): boolean {
    const { members, committer, replica } = this.#core
    if (replica?.isHalted === true || replica?.isOwnForked === true) return false
    if (members !== this.#members || committer.nextSeq >= this.#until) {
      this.#members = members
      this.#isGiven = this.#core.mayWrite
      const breaks = members.breaks?.(this.#author)
      this.#until = breaks?.find((seq) => seq > committer.nextSeq) ?? Infinity
    }
    return this.#isGiven
  }
}
