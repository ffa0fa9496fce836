// Authors of a vault, numbered on this device: records name them in one byte. The table only grows,
// in the order in which authors were first met, and is stored with the counters of the state.

import { LatticeError } from '../util/errors.ts'
import type { AuthorId } from '../ops/types.ts'

export class AuthorTable {
  readonly #authors: AuthorId[]
  readonly #indexes = new Map<AuthorId, number>()

  constructor(authors: readonly AuthorId[] = []) {
    this.#authors = [...authors]
    for (const [index, author] of authors.entries()) this.#indexes.set(author, index)
  }

  get list(): readonly AuthorId[] {
    return this.#authors
  }

  indexOf(author: AuthorId): number {
    const known = this.#indexes.get(author)
    if (known !== undefined) return known
    const index = this.#authors.push(author) - 1
    this.#indexes.set(author, index)
    return index
  }

  /** Undefined for one that was never met. */
  find(author: AuthorId): number | undefined {
    return this.#indexes.get(author)
  }

  author(index: number): AuthorId {
    const author = this.#authors[index]
    if (author === undefined) {
      throw new LatticeError('damaged-index', 'a record names an author that is not in the table')
    }
    return author
  }
}
