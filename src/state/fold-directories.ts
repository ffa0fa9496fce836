// Where directories are: the wiring between their records and the log of all directory moves
// (directory-moves.ts). Whatever changes the log tells here which directories are elsewhere now.

import type { LinkId, NodeId, OpRef } from '../ops/types.ts'
import { compareRefs, sameRef } from '../ops/order.ts'
import { must } from '../util/assert.ts'
import { changeMoves, insertMove } from './directory-moves.ts'
import type { MovePort, NewMove, PositionChange } from './directory-moves.ts'
import type { FoldPass } from './fold-pass.ts'
import { linkOf } from './fold-pass.ts'
import type { LinkPart, ReplicatedPart } from './node-history.ts'
import type { LinkRecord, MoveRecord, NodeRecord } from './records.ts'
import { NOWHERE } from './records.ts'
import type { View } from './view.ts'

export class FoldDirectories {
  readonly #pass: FoldPass
  readonly #view: View
  readonly #port: MovePort

  constructor(pass: FoldPass, view: View) {
    this.#pass = pass
    this.#view = view
    const { store } = pass
    this.#port = {
      movesFrom: (end) => store.movesFrom(end),
      putMove: (move) => store.putMove(move),
      removeMove: (move) => store.removeMove(move),
      position: (directory) => this.#position(directory),
      skipsCycles: pass.rules.skipCycles,
    }
  }

  /** A valid move of a directory; its link knows its heads already. */
  move(record: NodeRecord, move: Omit<NewMove, 'link' | 'fallback'>): void {
    // what is cut was its position only while nothing else was
    if (record.hasCut) this.#removeFallbacks(record)
    const link = record.node as string as LinkId
    this.#apply(insertMove(this.#port, { ...move, link, fallback: false }))
  }

  /** Brings the log to what the directory's history says, where that has changed. */
  replace(record: NodeRecord, part: ReplicatedPart): void {
    const start = must(part.links[0], 'a directory without a birth')
    const link = record.node as string as LinkId
    const wanted = part.moves.map((move): NewMove => (
      { ...move, link, fallback: part.movesAreCut }
    ))
    const present = this.#movesOf(record, wanted)
    const before = firstPosition(present) ?? linkOf(record, 0)
    if (before.parent !== start.parent) {
      this.#restart(record, start, wanted)
      return
    }
    if (isSameLog(present, wanted)) return
    this.#apply(changeMoves(this.#port, [], present.map((move) => move.ref)))
    this.#apply(changeMoves(this.#port, wanted, []))
  }

  // ---- inside ----

  /** It begins elsewhere than it did: whatever came after its birth is folded again. */
  #restart(record: NodeRecord, start: LinkPart, wanted: readonly NewMove[]): void {
    const birth = must(start.births[0], 'a directory without a birth')
    const later: MoveRecord[] = []
    for (const move of this.#port.movesFrom(undefined)) {
      if (compareRefs(move.ref, birth) < 0) break
      later.push(move)
    }
    this.#apply(changeMoves(this.#port, [], later.map((move) => move.ref)))
    const { parent, name, pos } = start
    const position = { parent: parent as NodeId, name: name as LinkRecord['name'], pos }
    this.#apply([{ directory: record.node, position, skipped: false }])
    const others: NewMove[] = []
    for (const move of later) {
      if ((move.link as string) === record.node) continue
      const { ref, link, fallback } = move
      others.push({ ref, link, parent: move.parent, name: move.name, fallback })
    }
    this.#apply(changeMoves(this.#port, [...others, ...wanted], []))
  }

  #removeFallbacks(record: NodeRecord): void {
    const refs: OpRef[] = []
    for (const move of this.#port.movesFrom(undefined)) {
      if (move.fallback && (move.link as string) === record.node) refs.push(move.ref)
    }
    if (refs.length > 0) this.#apply(changeMoves(this.#port, [], refs))
  }

  /** Ascending. All are at or after the directory's birth. */
  #movesOf(record: NodeRecord, wanted: readonly NewMove[]): MoveRecord[] {
    const link = linkOf(record, 0)
    const moves: MoveRecord[] = []
    let first = link.births[0]
    for (const { ref } of wanted) {
      if (first === undefined || compareRefs(ref, first) < 0) first = ref
    }
    for (const move of this.#port.movesFrom(undefined)) {
      if (first !== undefined && compareRefs(move.ref, first) < 0) break
      if (move.link === link.link) moves.push(move)
    }
    return moves.reverse()
  }

  #apply(changes: readonly PositionChange[]): void {
    for (const { directory, position, skipped } of changes) {
      const record = this.#pass.edit(this.#pass.get(directory))
      this.#pass.touched.add(record)
      const { parent, name } = linkOf(record, 0)
      if (parent !== position.parent || name !== position.name) this.#view.leave(record, 0)
      this.#pass.setLink(record, 0, { ...linkOf(record, 0), ...position, skipped })
    }
  }

  #position(directory: NodeId): ReturnType<MovePort['position']> {
    if (directory === NOWHERE) return undefined
    return this.#pass.find(directory)?.links[0]
  }
}

function firstPosition(moves: readonly MoveRecord[]): { parent: NodeId } | undefined {
  return moves[0]?.before
}

function isSameLog(present: readonly MoveRecord[], wanted: readonly NewMove[]): boolean {
  return present.length === wanted.length && wanted.every((move, i) => {
    const now = present[i] as MoveRecord
    return sameRef(now.ref, move.ref) && now.fallback === move.fallback
  })
}
