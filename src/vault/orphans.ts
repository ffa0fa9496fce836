// Orphans: inos that no name refers to any more but that somebody still has open or in mind.
//
// Life of one: added at the unlink (or rename over, rmdir) that took its last name; its dirty
// content is given up when the last open ends; the tree's record is released when the kernel has
// forgotten it. One that the buffers do not know has no user: it is released at once.
// An *unnamed* file (O_TMPFILE) is the reverse: content worth keeping, no name yet; it becomes an
// orphan when its last open ends without a link().
// A *detached* file lost its name to somebody else's change: what is written to it is put as ever,
// and it is released when the kernel has forgotten it and all of it has been put.
// Used by Files; fs/ tells it about names.

import type { FileBuffers, Ino } from './buffers.ts'
import type { Tree } from './tree.ts'

export class Orphans {
  readonly #tree: Tree
  readonly #buffers: FileBuffers
  readonly #discard: (ino: Ino) => void
  readonly #isBusy: (ino: Ino) => boolean
  readonly #orphans = new Set<Ino>()
  readonly #unnamed = new Set<Ino>()
  /** Whether the kernel has forgotten it. */
  readonly #detached = new Map<Ino, boolean>()

  /** `discard` gives up the content of an ino that nobody has open; `isBusy`: it is open, or not
   *  all of it is put. */
  constructor(
    tree: Tree, buffers: FileBuffers, discard: (ino: Ino) => void, isBusy: (ino: Ino) => boolean,
  ) {
    this.#tree = tree
    this.#buffers = buffers
    this.#discard = discard
    this.#isBusy = isBusy
  }

  get count(): number {
    return this.#orphans.size + this.#unnamed.size + this.#detached.size
  }

  /** The ino lost its last name. */
  add(ino: Ino): void {
    this.#orphans.add(ino)
    if (this.#buffers.attrs(ino) === undefined) {
      this.#discard(ino)
      this.forgotten(ino)
      return
    }
    if (this.#buffers.openCount(ino) === 0) this.#discard(ino)
    this.#buffers.watchForget(ino)
  }

  /** The ino, open or unsealed, lost its name to somebody else's change. */
  addDetached(ino: Ino): void {
    const isKnown = this.#buffers.attrs(ino) !== undefined
    this.#detached.set(ino, !isKnown)
    if (isKnown) this.#buffers.watchForget(ino)
  }

  addUnnamed(ino: Ino): void {
    this.#unnamed.add(ino)
  }

  isUnnamed(ino: Ino): boolean {
    return this.#unnamed.has(ino)
  }

  /** The ino got a name (again). */
  named(ino: Ino): void {
    this.#unnamed.delete(ino)
    this.#orphans.delete(ino)
  }

  /** Its last open ended. */
  released(ino: Ino): void {
    if (this.#unnamed.delete(ino)) this.add(ino)
    else if (this.#orphans.has(ino)) this.#discard(ino)
  }

  forgotten(ino: Ino): void {
    if (this.#orphans.delete(ino)) this.#tree.release(ino)
    if (!this.#detached.has(ino)) return
    this.#detached.set(ino, true)
    if (!this.#isBusy(ino)) this.closed(ino)
  }

  /** Its content is at rest: put, and nobody has it open. */
  closed(ino: Ino): void {
    if (this.#detached.get(ino) !== true) return
    this.#detached.delete(ino)
    this.#tree.release(ino)
  }
}
