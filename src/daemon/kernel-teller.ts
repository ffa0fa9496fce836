// KernelTeller: tells the kernel, and whoever watches the mount, of changes that did not come
// through it. The session's notifications make the kernel forget; pokes make watchers hear.
// One per mounted vault; owned by it.

import { Pokes } from '../fuse/pokes.ts'
import type { Shown } from '../fuse/pokes.ts'
import type { FuseSession } from '../fuse/session.ts'
import type { Ino } from '../vault/buffers.ts'
import type { Log } from './log.ts'
import type { ChangedEntry, KernelChanges, MountView } from './mount-view.ts'

export interface KernelTellerOptions {
  session: FuseSession
  view: MountView
  root: Ino
  /** The mount point. */
  directory: string
  readOnly: boolean
  vault: string
  log: Log
}

const READ_ONLY = 'the mount is read-only'

export class KernelTeller {
  readonly #session: FuseSession
  readonly #view: MountView
  readonly #pokes: Pokes
  #noPokes: string | undefined

  constructor(options: KernelTellerOptions) {
    const { session, view, root, directory, readOnly, vault, log } = options
    this.#session = session
    this.#view = view
    this.#pokes = new Pokes({
      directory,
      gate: (isYoung) => session.pokeGate(isYoung),
      tree: {
        root,
        pathOf: (ino) => view.pathOf(ino),
        shown: (parent, name) => view.shown(parent, name as ChangedEntry['name']),
        isShown: (ino) => view.placeOf(ino as Ino) !== undefined,
      },
      notified: () => session.notified(),
      onOff: (reason) => {
        this.#noPokes = reason
        log.warn({ vault, reason }, 'watchers of the mount are not told of changes from elsewhere')
      },
    })
    view.onChanges({
      untell: () => session.untell(),
      tell: (changes) => this.#tell(changes),
    })
    if (readOnly) this.#noPokes = READ_ONLY
    else void this.#pokes.start()
  }

  /** Why watchers are not told of others' changes; undefined: they are. */
  get unwatched(): string | undefined {
    return this.#noPokes
  }

  /** Resolves when the kernel knows of everything that was changed before. */
  notified(): Promise<void> {
    return this.#session.notified()
  }

  /** Resolves when watchers have been told of everything that was changed before. */
  async poked(): Promise<void> {
    await this.#session.notified()
    await this.#pokes.idle()
  }

  /** No poke is under way when it resolves, and none begins: one would make the mount busy. */
  pause(): Promise<void> {
    return this.#pokes.pause()
  }

  resume(): void {
    this.#pokes.resume()
  }

  /** The kernel has let go. Idempotent. */
  close(): void {
    this.#view.onChanges(undefined)
    this.#pokes.close()
  }

  /** Names of a directory changed, by the control API, and what they name. */
  changed(parent: Ino, names: readonly string[], inos: readonly Ino[]): void {
    this.#session.untell()
    for (const name of names) {
      this.#session.invalidateEntry(parent, name)
      this.#pokes.entry(parent, name, undefined)
    }
    for (const ino of [parent, ...inos]) this.#session.invalidateInode(ino)
  }

  #tell({ entries, inodes }: KernelChanges): void {
    const gone = new Map<number, ChangedEntry>()
    const came: { entry: ChangedEntry; now: Shown }[] = []
    const named = new Set<number>()
    for (const entry of entries) {
      const { parent, name, was } = entry
      const now = this.#view.shown(parent, name)
      if (now?.ino !== was?.ino) this.#session.invalidateEntry(parent, name)
      this.#pokes.entry(parent, name, was)
      if (was !== undefined) named.add(was.ino)
      if (now !== undefined) named.add(now.ino)
      if (now?.ino === was?.ino) continue
      if (was !== undefined) gone.set(was.ino, entry)
      if (now !== undefined) came.push({ entry, now })
    }
    for (const { ino, content } of inodes) {
      if (!this.#view.isKnown(ino)) continue
      if (content) this.#session.invalidateInode(ino)
      else this.#session.invalidateAttributes(ino)
    }
    if (!this.#pokes.isOn) return
    for (const { entry, now } of came) {
      const from = gone.get(now.ino)
      if (from !== undefined) this.#pokes.moved(from.parent, from.name, entry.parent, entry.name)
    }
    for (const { ino, content, touched } of inodes) {
      if (!touched || named.has(ino)) continue
      const place = this.#view.placeOf(ino)
      if (place === undefined) continue
      if (!this.#view.isKnown(ino) && !this.#view.isKnown(place.parent)) continue
      this.#pokes.inode(place.parent, place.name, content)
    }
  }
}
