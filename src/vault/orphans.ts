// Orphans: inos that no name refers to any more but that somebody still has open or in mind.
//
// Life of one: added at the unlink (or rename over, rmdir) that took its last name; its dirty
// content is given up when the last open ends; the tree's record is released when the kernel has
// forgotten it. One that the buffers do not know has no user: it is released at once.
// An *unnamed* file (O_TMPFILE) is the reverse: content worth keeping, no name yet; it becomes an
// orphan when its last open ends without a link().
// Used by Files; fs/ tells it about names.

import type { FileBuffers, Ino } from './buffers.ts'
import type { Tree } from './tree.ts'

export class Orphans {
  readonly #tree: Tree
  readonly #buffers: FileBuffers
  readonly #discard: (ino: Ino) => void
  readonly #orphans = new Set<Ino>()
  readonly #unnamed = new Set<Ino>()

  /** `discard` gives up the content of an ino that nobody has open. */
  constructor(tree: Tree, buffers: FileBuffers, discard: (ino: Ino) => void) {
    this.#tree = tree
    this.#buffers = buffers
    this.#discard = discard
  }

  get count(): number {
    return this.#orphans.size + this.#unnamed.size
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
  }
}
