// What one mount shows of a vault: its tree under the names that the mount's matching gives, kept
// up with what other devices change, as are the open files. Made before the engine's core, which
// it hears changes from; there are none before files and names are known.
//
// Changes are gathered while a batch is applied, which nothing interrupts, and told when it is
// done: first the records are brought up to date (they answer the kernel without us), then the
// kernel is told. So they are coalesced, and no more are held than one batch has.

import { NameView } from '../fs/name-view.ts'
import type { NameOrder } from '../fs/directory-view.ts'
import type { NameMatching } from '../fs/name-keys.ts'
import { compareRefs } from '../ops/order.ts'
import type { AuthorId, Name, OpRef } from '../ops/types.ts'
import { conflictName } from '../state/conflict-names.ts'
import type { ViewChanges, WasShown } from '../state/fold-pass.ts'
import type { Ino } from '../vault/buffers.ts'
import type { EngineCore } from '../vault/engine-core.ts'
import type { Files } from '../vault/files.ts'
import type { LiveTree } from '../vault/live-tree.ts'
import type { Tree } from '../vault/tree.ts'

/** Of a name that has just gone. */
const NOBODY: OpRef = { ms: 0, counter: 0, author: '' as AuthorId, seq: 0, index: 0, order: 0 }

/** A name, as the mount shows it, that came, went or names something else now. */
export interface ChangedEntry {
  parent: Ino
  name: Name
  was: WasShown | undefined
}

export interface ChangedInode {
  ino: Ino
  /** Its content is another one; not while it is in use, then it keeps what it had. */
  content: boolean
  /** It was changed itself, not only a directory by its entries. */
  touched: boolean
}

/** What was changed past the kernel; all that the kernel cannot know is left out. */
export interface KernelChanges {
  entries: ChangedEntry[]
  inodes: ChangedInode[]
}

/** An inode whose content another device changed, or a name that it put somewhere. */
export type Arrival = { ino: Ino } | Place

/** Where a name is. */
export interface Place {
  parent: Ino
  name: Name
}

/** Who tells the kernel. */
export interface KernelEar {
  /** Takes back what the kernel's side was told ahead; then is asked what it knows. */
  untell(): void
  tell(changes: KernelChanges): void
}

export class MountView implements ViewChanges {
  #names: NameView | undefined
  #files: Files | undefined
  #tree: LiveTree | undefined
  #ear: KernelEar | undefined
  #hearArrival: (arrival: Arrival) => void = () => undefined
  #mayWrite = true
  #hearMayWrite: (mayWrite: boolean) => void = () => undefined
  #entries = new Map<string, ChangedEntry>()
  #inodes = new Map<number, ChangedInode>()

  setFiles(files: Files): void {
    this.#files = files
  }

  /** Who tells the kernel, from now on; undefined: nobody, it is gone. */
  onChanges(ear: KernelEar | undefined): void {
    this.#ear = ear
  }

  /** Who hears whether this device may change anything; told at once, and when it changes. */
  onMayWrite(hear: (mayWrite: boolean) => void): void {
    this.#hearMayWrite = hear
    hear(this.#mayWrite)
  }

  /** Who hears at once, while a batch is applied, what came from elsewhere: only to note it. */
  onArrival(hear: (arrival: Arrival) => void): void {
    this.#hearArrival = hear
  }

  mayWriteChanged(mayWrite: boolean): void {
    this.#mayWrite = mayWrite
    this.#hearMayWrite(mayWrite)
  }

  /** Whether something of it is in use here that a change from elsewhere must not replace. */
  isInUse(ino: number): boolean {
    return this.#files?.isHeld(ino as Ino) === true
  }

  /** The tree that the mount's filesystem stands on. */
  treeOf(core: EngineCore, matching: NameMatching = 'bytes'): Tree {
    const { tree } = core
    this.#tree = tree
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

  /** The path of a shown directory from the root, '' for the root itself; undefined: it has
   *  none. */
  pathOf(directory: Ino): string | undefined {
    const steps = this.#steps(directory)
    return steps?.map(({ name }) => name).join('/')
  }

  /** A name that shows the inode. */
  placeOf(ino: Ino): Place | undefined {
    return this.#steps(ino)?.at(-1)
  }

  /** What the mount shows under the name. */
  shown(parent: Ino, name: Name): WasShown | undefined {
    const node = (this.#names ?? this.#tree)?.lookupNode(parent, name)
    return node && { ino: node.ino, generation: node.generation, kind: node.kind }
  }

  isKnown(ino: Ino): boolean {
    return this.#files?.isKnown(ino) === true
  }

  #steps(ino: Ino): Place[] | undefined {
    const tree = this.#tree
    const path = tree?.pathOf(ino)
    if (tree === undefined || path === undefined) return undefined
    const steps: Place[] = []
    let parent: Ino = tree.root
    for (const real of path) {
      steps.push({ parent, name: this.#names?.shownAs(parent, real) ?? real })
      parent = tree.lookup(parent, real)?.ino ?? parent
    }
    return steps
  }

  // ---- ViewChanges

  entry(parentIno: number, real: Name, was: WasShown | undefined): void {
    const parent = parentIno as Ino
    const names = this.#names
    this.#hearArrival({ parent, name: real })
    if (names !== undefined) this.#note(parent, names.shownAs(parent, real), was)
    names?.changed(parent, real)
    this.#note(parent, names?.shownAs(parent, real) ?? real, names === undefined ? was : undefined)
  }

  node(ino: number): void {
    this.#files?.changedElsewhere(ino as Ino)
    this.#touch(ino, { content: false, touched: true })
  }

  content(ino: number): void {
    this.#hearArrival({ ino: ino as Ino })
    this.#files?.changedElsewhere(ino as Ino)
    this.#touch(ino, { content: true, touched: true })
  }

  detached(ino: number): void {
    this.#files?.detached(ino as Ino)
    this.#touch(ino, { content: false, touched: false })
  }

  // ---- gathering

  #note(parent: Ino, name: Name, was: WasShown | undefined): void {
    if (this.#ear === undefined) return
    const key = `${parent}/${name}`
    if (!this.#entries.has(key)) this.#entries.set(key, { parent, name, was })
    this.#touch(parent, { content: false, touched: false })
    if (was !== undefined) this.#touch(was.ino, { content: false, touched: false })
  }

  #touch(ino: number, how: { content: boolean; touched: boolean }): void {
    if (this.#ear === undefined) return
    if (this.#inodes.size === 0) queueMicrotask(() => this.#flush())
    const known = this.#inodes.get(ino)
    if (known === undefined) {
      this.#inodes.set(ino, { ino: ino as Ino, ...how })
      return
    }
    known.content ||= how.content
    known.touched ||= how.touched
  }

  #flush(): void {
    const files = this.#files
    const ear = this.#ear
    const all = { entries: [...this.#entries.values()], inodes: [...this.#inodes.values()] }
    this.#entries = new Map()
    this.#inodes = new Map()
    if (files === undefined || ear === undefined) return
    // what is answered by it until now is known, and so told like all that is
    ear.untell()
    // a name that is watched through its file alone is in a directory that may be forgotten
    const inodes = all.inodes.filter(({ ino, touched }) => touched || files.isKnown(ino))
    for (const { ino } of inodes) files.changedElsewhere(ino)
    ear.tell({ entries: all.entries.filter(({ parent }) => files.isKnown(parent)), inodes })
  }
}
