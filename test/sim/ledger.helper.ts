// The ledger: what users meant, kept apart from what the engine made of it. Every content that a
// program wrote is a *token* of its own; an operation says which tokens it brought into the world,
// and which ones its caller saw at that place and meant to be gone. Once everybody has everything,
// each token that nobody meant to be gone must be shown under some path.
import type { UserOperation } from '../../src/vault/pending.ts'
import type { AuthorId } from '../../src/ops/types.ts'

/** One call of a program: the operations that it queued, and what it meant. */
export interface Intent {
  device: number
  operations: UserOperation[]
  /** Content that is not sealed yet: the operation whose put brings it will be looked for. */
  awaits: string | undefined
  made: string[]
  killed: string[]
  /** What stands in the place of what was replaced: what was made, or moved there. */
  instead: string[]
}

export class Ledger {
  /** Changes of an outcast took part: tokens may have gone with them. */
  clouded = false
  /** A batch was declared void: files made in it are gone, whatever others wrote into them. */
  hasVoid = false
  #intents: Intent[] = []
  readonly #queued = new Map<number, UserOperation[]>()

  add(intent: Intent): void {
    if (intent.made.length + intent.killed.length > 0) this.#intents.push(intent)
  }

  /**
   * A device came back from a crash with `length` batches of its own: what did not reach the
   * journal is gone. Returns how many intents that were.
   */
  recovered(device: number, author: AuthorId, length: number): number {
    const before = this.#intents.length
    this.find(device)
    this.#intents = this.#intents.filter((intent) => (
      intent.device !== device || (intent.awaits === undefined
        && intent.operations.every((operation) => isKept(operation, author, length)))
    ))
    return before - this.#intents.length
  }

  /** Remembers what a device queued, for contents that were sealed later. */
  queued(device: number, operation: UserOperation): void {
    const queue = this.#queued.get(device)
    if (queue === undefined) this.#queued.set(device, [operation])
    else queue.push(operation)
  }

  /** Finds the operations of contents that were sealed meanwhile. */
  find(device: number): void {
    const waiting = this.#intents.filter((one) => one.device === device && one.awaits !== undefined)
    if (waiting.length === 0) return
    const brought = new Map<string, UserOperation>()
    for (const operation of this.#queued.get(device) ?? []) {
      for (const op of operation.ops) {
        if (op.kind !== 'put' || op.content.kind !== 'inline') continue
        const token = Buffer.from(op.content.bytes).toString('latin1')
        if (!brought.has(token)) brought.set(token, operation)
      }
    }
    for (const intent of waiting) {
      const operation = brought.get(intent.awaits as string)
      if (operation === undefined) continue
      intent.operations = [operation]
      intent.awaits = undefined
    }
  }

  /**
   * Tokens that must be visible. What was meant in batches that do not count is in vain: what it
   * made need not be there, and what it ended must be there again, unless somebody who counts went
   * on from there, and ended what stood in its place.
   */
  expected(counts: (author: AuthorId, seq: number) => boolean): Set<string> {
    const isVain = ({ operations }: Intent): boolean => operations.some(({ refs: [ref] }) => (
      ref !== undefined && !(ref.seq >= 0 && counts(ref.author, ref.seq))
    ))
    const made = new Set<string>()
    for (const intent of this.#intents) {
      if (!isVain(intent)) for (const token of intent.made) made.add(token)
    }
    const enders = new Map<string, Intent[]>()
    for (const intent of this.#intents) {
      for (const token of intent.killed) enders.set(token, [...enders.get(token) ?? [], intent])
    }
    const asked = new Map<string, boolean>()
    const isEnded = (token: string): boolean => {
      const known = asked.get(token)
      if (known !== undefined) return known
      asked.set(token, false) // nobody ends what he puts in its place
      const is = (enders.get(token) ?? []).some((intent) => (
        !isVain(intent) || intent.instead.some(isEnded)
      ))
      asked.set(token, is)
      return is
    }
    for (const token of made) if (isEnded(token)) made.delete(token)
    return made
  }

  /** Tokens that a device must show by now: of what it has applied, own operations included. */
  expectedOn(device: number, applied: (author: AuthorId) => number): Set<string> {
    const known = this.#intents.filter((intent) => (
      intent.device === device || intent.operations.every(({ refs }) => {
        const ref = refs[0]
        return ref === undefined || (ref.seq >= 0 && ref.seq < applied(ref.author))
      })
    ))
    const tokens = new Set(known.flatMap((intent) => intent.made))
    for (const intent of known) for (const token of intent.killed) tokens.delete(token)
    return tokens
  }

  get intents(): readonly Intent[] {
    return this.#intents
  }
}

function isKept(operation: UserOperation, author: AuthorId, length: number): boolean {
  const ref = operation.refs[0]
  if (ref === undefined) return true
  return ref.author === author && ref.seq >= 0 && ref.seq < length
}
