// Directories' positions: all moves are folded in op order from where each directory was made; a
// move whose new parent is the directory itself, or lies below it at that moment, is skipped. A
// late move is put in its place by undoing what comes after it and doing that again (Kleppmann et
// al., "A highly-available move operation for replicated trees", IEEE TPDS 2021): the cost grows
// with the moves that come later, not with the vault; several changes at once pay it once.
// Pure over MovePort. The positions themselves are the caller's: it is told which ones changed.

import { compareRefs, sameRef } from '../ops/order.ts'
import type { LinkId, Name, NodeId, OpRef } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import type { DirectoryPosition, MoveRecord } from './records.ts'

export interface MovePort {
  /** The log, greatest first: those smaller than `end`, or all. */
  movesFrom(end: OpRef | undefined): Iterable<MoveRecord>
  putMove(move: MoveRecord): void
  removeMove(move: MoveRecord): void
  /** Where the directory is now, with every move of the log done. Undefined: the root, unknown. */
  position(directory: NodeId): (DirectoryPosition & { readonly skipped: boolean }) | undefined
  /** False in tests that break rules. */
  readonly skipsCycles?: boolean
}

/** A move to be put into the log. */
export interface NewMove {
  readonly ref: OpRef
  readonly link: LinkId
  readonly parent: NodeId
  readonly name: Name
  /** A cut move, of a directory that has no valid claim: it is never told as skipped. */
  readonly fallback: boolean
}

/** Where a directory is before it is moved for the first time. */
export interface NewStart {
  /** The mk. */
  readonly ref: OpRef
  readonly directory: NodeId
  /** The mk's, or NOWHERE. */
  readonly position: DirectoryPosition
}

export interface PositionChange {
  readonly directory: NodeId
  readonly position: DirectoryPosition
  /** The greatest move of this directory is a skipped one. */
  readonly skipped: boolean
}

/** Puts the move into its place in the log. Nothing happens when it is there already. */
export function insertMove(port: MovePort, move: NewMove): PositionChange[] {
  return changeMoves(port, [move], [])
}

/** Takes the move out of the log. Nothing happens when it is not there. */
export function removeMove(port: MovePort, ref: OpRef): PositionChange[] {
  return changeMoves(port, [], [ref])
}

/**
 * All of it at once. `starts`: directories whose first position is another one now (the standing of
 * their mk changed). Returns the directories whose position or skipped flag is another one.
 */
export function changeMoves(
  port: MovePort, inserted: readonly NewMove[], removed: readonly OpRef[],
  starts: readonly NewStart[] = [],
): PositionChange[] {
  let first: OpRef | undefined
  const refs = [...inserted, ...starts].map((one) => one.ref)
  for (const ref of [...refs, ...removed]) {
    if (first === undefined || compareRefs(ref, first) < 0) first = ref
  }
  return first === undefined ? [] : new Refold(port, first).run(inserted, removed, starts)
}

class Refold {
  readonly #port: MovePort
  readonly #first: OpRef
  /** Positions at the moment that the refold has come to, of those that were looked at. */
  readonly #positions = new Map<NodeId, DirectoryPosition | undefined>()
  /** Whether the last move of each directory was skipped; undefined: its moves are gone. */
  readonly #skipped = new Map<NodeId, boolean | undefined>()

  constructor(port: MovePort, first: OpRef) {
    this.#port = port
    this.#first = first
  }

  run(
    inserted: readonly NewMove[], removed: readonly OpRef[], starts: readonly NewStart[],
  ): PositionChange[] {
    const later = this.#undo()
    for (const { directory, position } of starts) {
      this.#positions.set(directory, position)
      this.#skipped.set(directory, undefined)
    }
    const todo: (NewMove | MoveRecord)[] = []
    const gone = new Set(removed.map(nameOf))
    for (const move of later.reverse()) {
      if (gone.size > 0 && gone.has(nameOf(move.ref))) this.#remove(move)
      else todo.push(move)
    }
    const known = new Set(inserted.length === 0 ? [] : later.map((move) => nameOf(move.ref)))
    const added = inserted.filter((move) => !known.has(nameOf(move.ref)))
    if (added.length > 0) todo.push(...added)
    if (added.length > 0) todo.sort((a, b) => compareRefs(a.ref, b.ref))
    for (const move of todo) this.#redo(move)
    this.#lookBack()
    return this.#changes()
  }

  /** Takes back every move from #first on; returns them, greatest first. */
  #undo(): MoveRecord[] {
    const later: MoveRecord[] = []
    for (const move of this.#port.movesFrom(undefined)) {
      if (compareRefs(move.ref, this.#first) < 0) break
      later.push(move)
      if (!move.skipped) this.#positions.set(directoryOf(move), move.before)
    }
    return later
  }

  #remove(move: MoveRecord): void {
    this.#port.removeMove(move)
    this.#skipped.set(directoryOf(move), undefined)
  }

  #redo(move: NewMove | MoveRecord): void {
    const directory = directoryOf(move)
    const { ref, link, parent, name, fallback } = move
    const before = must(this.#at(directory), 'a move of a directory that is not known')
    const skipped = this.#port.skipsCycles !== false && this.#isWithin(parent, directory)
    if (!skipped) this.#positions.set(directory, { parent, name, pos: ref })
    this.#skipped.set(directory, skipped && !fallback)
    if ('before' in move && move.skipped === skipped && isSame(move.before, before)) return
    this.#port.putMove({ ref, link, parent, name, fallback, skipped, before })
  }

  #at(directory: NodeId): DirectoryPosition | undefined {
    const known = this.#positions.get(directory)
    if (known !== undefined || this.#positions.has(directory)) return known
    const position = this.#port.position(directory)
    this.#positions.set(directory, position)
    return position
  }

  #isWithin(inner: NodeId, outer: NodeId): boolean {
    let node: NodeId | undefined = inner
    while (node !== undefined) {
      if (node === outer) return true
      node = this.#at(node)?.parent
    }
    return false
  }

  /** Directories that lost their last move: an earlier one says whether it was skipped. */
  #lookBack(): void {
    const asked = new Set<NodeId>()
    for (const [directory, skipped] of this.#skipped) {
      if (skipped === undefined) asked.add(directory)
    }
    if (asked.size === 0) return
    for (const move of this.#port.movesFrom(this.#first)) {
      const directory = directoryOf(move)
      if (!asked.delete(directory)) continue
      this.#skipped.set(directory, move.skipped && !move.fallback)
      if (asked.size === 0) return
    }
  }

  #changes(): PositionChange[] {
    const changes: PositionChange[] = []
    for (const [directory, skipped = false] of this.#skipped) {
      const now = this.#at(directory)
      const before = this.#port.position(directory)
      if (now === undefined || before === undefined) continue
      if (before.skipped === skipped && isSame(before, now)) continue
      const { parent, name, pos } = now
      changes.push({ directory, position: { parent, name, pos }, skipped })
    }
    return changes
  }
}

/** The op says all, but that a start may change. */
function isSame(a: DirectoryPosition, b: DirectoryPosition): boolean {
  return a.parent === b.parent && sameRef(a.pos, b.pos)
}

function nameOf({ author, seq, index, order }: OpRef): string {
  return seq < 0 ? `-${order}` : `${author}${seq}/${index}`
}

function directoryOf(move: { readonly link: LinkId }): NodeId {
  return move.link as string as NodeId
}
