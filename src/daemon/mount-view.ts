// What one mount shows of a vault: its tree under the names that the mount's matching gives, kept
// up with what other devices change, as are the open files. Made before the engine's core, which
// it hears changes from; there are none before files and names are known.

import { NameView } from '../fs/name-view.ts'
import type { NameOrder } from '../fs/directory-view.ts'
import type { NameMatching } from '../fs/name-keys.ts'
import { compareRefs } from '../ops/order.ts'
import type { AuthorId, Name, OpRef } from '../ops/types.ts'
import { conflictName } from '../state/conflict-names.ts'
import type { ViewChanges } from '../state/fold-pass.ts'
import type { Ino } from '../vault/buffers.ts'
import type { EngineCore } from '../vault/engine-core.ts'
import type { Files } from '../vault/files.ts'
import type { Tree } from '../vault/tree.ts'

/** Of a name that has just gone. */
const NOBODY: OpRef = { ms: 0, counter: 0, author: '' as AuthorId, seq: 0, index: 0, order: 0 }

export class MountView implements ViewChanges {
  #names: NameView | undefined
  #files: Files | undefined

  setFiles(files: Files): void {
    this.#files = files
  }

  /** Whether something of the file is in use here that a change from elsewhere must not replace. */
  isInUse(ino: number): boolean {
    return this.#files?.isInUse(ino as Ino) === true
  }

  /** The tree that the mount's filesystem stands on. */
  treeOf(core: EngineCore, matching: NameMatching = 'bytes'): Tree {
    const { tree } = core
    if (matching === 'bytes') return tree
    const order = (parent: Ino): NameOrder => {
      const originOf = (name: Name): OpRef => tree.originOf(parent, name) ?? NOBODY
      return {
        compare: (one, other) => compareRefs(originOf(one), originOf(other)),
        conflictName: (name, k) => {
          const origin = originOf(name)
          return conflictName(name, origin, core.members.label(origin.author), k)
        },
      }
    }
    this.#names = new NameView({ tree, matching, order })
    return this.#names
  }

  entry(parentIno: number, name: Name): void {
    this.#names?.changed(parentIno as Ino, name)
  }

  node(ino: number): void {
    this.#files?.changedElsewhere(ino as Ino)
  }

  content(ino: number): void {
    this.#files?.changedElsewhere(ino as Ino)
  }

  detached(ino: number): void {
    this.#files?.detached(ino as Ino)
  }
}
