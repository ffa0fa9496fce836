// HeldContents: what was written over content that is not on this device, while its manifest cannot
// be rewritten: nodes of its tree are elsewhere, and nobody who has them can be reached. The bytes
// are sealed as any others are; what is missing is a content that names them. So a record of the
// edits and of what they lie on is kept on this disk (HeldStore) until the nodes come; then the put
// is made, and the record goes. Opening a vault restores what records there are.
//
// Invariants: when keep() resolves with true, a crash loses nothing of the file as it was at the
// call; a record goes only after the put that takes its place, or whatever else ended the file, is
// durable. A crash in between makes the same put again, which LiveTree drops.
// All on the engine's thread; keep() under the file's lock. Used by Files and its sealer.

import type { NodeId, OpRef } from '../ops/types.ts'
import type { Attr, Ino } from './buffers.ts'
import type { ContentStore, WorkingContent } from './content.ts'
import { HELD_EDITS_MAX, decodeHeld, encodeHeld } from './held-record.ts'
import type { OpenFile } from './open-file.ts'
import type { JournalPort } from './ports.ts'
import type { Ticket } from './tree.ts'

/** What a put of a file goes on: a node, and the heads that its writer has seen. */
export interface WriterLine {
  node: NodeId
  base: readonly OpRef[]
}

/** Sealed records on this disk, by names that mean nothing. */
export interface HeldStore {
  list(): Promise<string[]>
  /** Rejects 'unauthentic', or what the disk says. */
  read(name: string): Promise<string>
  /** Replaces the record of that name, durably. */
  write(name: string, text: string): Promise<void>
  /** Durably, if it is there. */
  remove(name: string): Promise<void>
  newName(): string
}

export interface HeldTree {
  writerOf(ino: Ino): WriterLine | undefined
  /** The ino whose next put() goes on that line; `isDetached`: others have moved on, and it has
   *  no name. */
  resume(line: WriterLine, attr: Attr): { ino: Ino; isDetached: boolean } | undefined
  ticket(): Ticket
  durable(ticket: Ticket): Promise<void>
}

export interface HeldPorts {
  store: HeldStore
  tree: HeldTree
  content: ContentStore
  journal: Pick<JournalPort, 'flush'>
  onTrouble: (error: unknown) => void
}

export class HeldContents {
  readonly #ports: HeldPorts
  /** Records of contents that no put has taken the place of. */
  readonly #kept = new Set<string>()
  /** What the records say, by their names. */
  readonly #texts = new Map<string, string>()
  readonly #removing = new Set<Promise<void>>()

  constructor(ports: HeldPorts) {
    this.#ports = ports
  }

  get count(): number {
    return this.#kept.size
  }

  /** The file as it is sealed now survives a crash when it resolves with true. False: it is none
   *  that can be held. */
  async keep(file: OpenFile, attr: Attr): Promise<boolean> {
    const { store, tree, content, journal } = this.#ports
    const unfolded = content.unfolded(file.working)
    if (unfolded === undefined || unfolded.edits.length > HELD_EDITS_MAX) return false
    await content.sync()
    await tree.durable(tree.ticket()) // the line's ops have their places then
    await journal.flush()
    const line = tree.writerOf(file.ino)
    if (line === undefined || line.base.some(({ seq }) => seq < 0)) return false
    const text = encodeHeld({ ...line, attr, content: unfolded })
    const name = file.heldAs ?? store.newName()
    if (this.#texts.get(name) !== text) await store.write(name, text)
    file.heldAs = name
    this.#kept.add(name)
    this.#texts.set(name, text)
    return true
  }

  /** A put was made of the file's content, or nobody wants it any more. */
  release(file: OpenFile): void {
    const name = file.heldAs
    if (name === undefined) return
    file.heldAs = undefined
    this.#kept.delete(name)
    this.#texts.delete(name)
    const { store, tree, onTrouble } = this.#ports
    const removing: Promise<void> = tree.durable(tree.ticket())
      .then(() => store.remove(name))
      .catch(onTrouble) // at the next mount the same put comes again, and is seen to
      .finally(() => this.#removing.delete(removing))
    this.#removing.add(removing)
  }

  /** Once, before anybody uses the files. What cannot be restored is told, and stays as it is. */
  async restore(
    adopt: (file: { ino: Ino; isDetached: boolean }, working: WorkingContent, attr: Attr) =>
      OpenFile | undefined,
  ): Promise<void> {
    const { store, tree, content, onTrouble } = this.#ports
    for (const name of await store.list()) {
      this.#kept.add(name)
      try {
        const text = await store.read(name)
        const { node, base, attr, content: unfolded } = decodeHeld(text)
        const found = tree.resume({ node, base }, attr)
        const file = found && adopt(found, content.reopen(unfolded), attr)
        if (file === undefined) throw new Error('a held content of a file that is not known')
        file.heldAs = name
        this.#texts.set(name, text)
      } catch (error) {
        onTrouble(error)
      }
    }
  }

  /** What is under way has ended. */
  async close(): Promise<void> {
    await Promise.all(this.#removing)
  }
}
