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
  /** Its device was put back to a state before it: the hash of the log that has it, which others
   *  may hold; '' = nobody does. */
  aside?: string | undefined
}

export class Ledger {
  /** Changes of an outcast took part: tokens may have gone with them. */
  clouded = false
  /** A batch was declared void: files made in it are gone, whatever others wrote into them. */
  hasVoid = false
  #intents: Intent[] = []
  readonly #queued = new Map<number, UserOperation[]>()
  /** Devices whose later intents others may never see: their log may go on otherwise. */
  readonly #restored = new Set<number>()

  add(intent: Intent): void {
    if (intent.made.length + intent.killed.length > 0) this.#intents.push(intent)
  }

  /**
   * A device came back with `length` batches of its own: what did not reach the journal is gone.
   * Returns how many intents that were. `isRestored`: from a backup, after setAside().
   */
  recovered(device: number, author: AuthorId, length: number, isRestored = false): number {
    const before = this.#intents.length
    this.find(device)
    this.#intents = this.#intents.filter((intent) => {
      if (intent.device !== device) return true
      const { aside, awaits, operations } = intent
      if (aside !== undefined && !isRestored) return true
      if (awaits === undefined && operations.every((one) => isKept(one, author, length))) {
        intent.aside = undefined
        return true
      }
      return aside !== undefined && aside !== ''
    })
    return before - this.#intents.length
  }

  /** A device is put back to an earlier state. `hashAt`: of its log with that batch as the last. */
  setAside(device: number, hashAt: (seq: number) => string | undefined): void {
    this.#restored.add(device)
    for (const intent of this.#intents) {
      if (intent.device !== device || intent.aside !== undefined) continue
      intent.aside = hashAt(lastBatch(intent)) ?? ''
    }
  }

  /** Of a device that forked itself: what it did after that nobody else has. */
  keepOnly(device: number, isShared: (seq: number) => boolean): void {
    this.#intents = this.#intents.filter((intent) => (
      intent.device !== device || intent.aside !== undefined || isShared(lastBatch(intent))
    ))
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
  expected(
    counts: (author: AuthorId, seq: number) => boolean,
    hashAt: (author: AuthorId, length: number) => string | undefined,
  ): Set<string> {
    const isVain = ({ operations, aside }: Intent): boolean => (
      operations.some(({ refs: [ref] }) => ref !== undefined && !(
        ref.seq >= 0 && counts(ref.author, ref.seq)
          && (aside === undefined || hashAt(ref.author, ref.seq + 1) === aside)
      ))
    )
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
    const isUnsure = ({ aside, device: by }: Intent): boolean => (
      aside !== undefined || (by !== device && this.#restored.has(by))
    )
    const tokens = new Set(known.flatMap((one) => (isUnsure(one) ? [] : one.made)))
    for (const intent of known) for (const token of intent.killed) tokens.delete(token)
    return tokens
  }

  get intents(): readonly Intent[] {
    return this.#intents
  }
}

/** -1: not placed. */
function lastBatch({ operations }: Intent): number {
  const seqs = operations.map(({ refs: [ref] }) => ref?.seq ?? 0)
  return seqs.includes(-1) ? -1 : Math.max(0, ...seqs)
}

function isKept(operation: UserOperation, author: AuthorId, length: number): boolean {
  const ref = operation.refs[0]
  if (ref === undefined) return true
  return ref.author === author && ref.seq >= 0 && ref.seq < length
}
