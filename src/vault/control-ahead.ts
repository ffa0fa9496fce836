// Control batches that are here, but may not be applied yet, since what they depend on waits for a
// key: the very key may be boxed in one of them. A device that was added while an epoch was minted
// elsewhere waits for that epoch's keys until a joint epoch's op brings them, which depends on what
// waits; and a blind device never opens data at all, yet must hear of epochs, roles and removals.
//
// So the logs of authors that wait are looked through for control batches, each is opened with
// K_ctl alone, and keys are learnt from what all of them say together with the applied ones.
// Nothing here
// changes the state: who counts follows from applied batches. What a control batch has seen is
// complete in its own deps, since whoever makes one lists every log.
//
// Bounds: of each author the looking goes on where it stopped, each block is read once; so many
// control batches are held, whatever authors write.

import { envelopeKeyName } from '../ops/envelope.ts'
import type { AuthorId, Batch } from '../ops/types.ts'
import type { ControlBatch } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Applier, FoldMembers } from './applier.ts'
import type { Waiting } from './incoming.ts'
import { openBlock } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import type { KeyPort, LogPort, MembersView } from './ports.ts'

const HELD_MAX = 4096
/** Blocks read at one go. */
const BLOCKS_MAX = 4096

export interface ControlAheadOptions {
  store: Store
  logs: LogPort
  applier: Applier
  keys: JournalKeys & Pick<KeyPort, 'learn' | 'kept'>
  foldMembers: FoldMembers
}

interface Found {
  /** Where to go on. */
  next: number
  batches: ControlBatch[]
}

export class ControlAhead {
  readonly #options: ControlAheadOptions
  readonly #found = new Map<AuthorId, Found>()
  #members: { applied: MembersView; view: MembersView } | undefined

  constructor(options: ControlAheadOptions) {
    this.#options = options
  }

  /** What applied control ops say, and those ahead of them: for keys, topics and connections. */
  get members(): MembersView {
    const { applier, foldMembers, store } = this.#options
    const applied = applier.members
    this.#forgetApplied()
    if (this.#found.size === 0) return applied
    if (this.#members?.applied !== applied) {
      const ahead = [...this.#found.values()].flatMap(({ batches }) => batches)
      if (ahead.length === 0) return applied
      const all = [...store.control(undefined, Infinity), ...ahead]
      this.#members = { applied, view: foldMembers(all) }
    }
    return this.#members.view
  }

  /**
   * Looks on in the logs of who waits. True when there was something new, and keys may have come of
   * it: durable ones, since what they open may be journalled before the op that brought them.
   */
  async look(waiting: Iterable<Waiting>): Promise<boolean> {
    const parked = [...waiting].filter(({ for: what }) => (
      what !== 'fork' && what !== 'disk'
    ))
    if (parked.every((one) => one.for === 'dep')) return false
    this.#forgetApplied()
    let isNew = false
    let left = BLOCKS_MAX
    for (const { author, seq } of parked) {
      const found = this.#found.get(author) ?? { next: seq, batches: [] }
      this.#found.set(author, found)
      const before = found.batches.length
      left = await this.#lookInto(author, found, left)
      isNew ||= found.batches.length > before
    }
    if (!isNew) return false
    this.#members = undefined
    const { keys, applier } = this.#options
    keys.learn?.(this.members)
    keys.learn?.(applier.members) // what seals is for applied ops to say
    await keys.kept?.()
    return true
  }

  async #lookInto(author: AuthorId, found: Found, blocksMax: number): Promise<number> {
    const { logs } = this.#options
    let left = blocksMax
    for (; left > 0 && found.next < logs.length(author); left--) {
      if (this.#held() >= HELD_MAX) return left
      const block = await logs.read(author, found.next)
      if (block === undefined) return left
      const batch = this.#open(author, found.next, block)
      if (batch === 'no key') return left
      if (batch !== undefined) found.batches.push(this.#noted(author, found, batch))
      found.next++
    }
    return left
  }

  /** Undefined for data, and for what counts as an empty batch. */
  #open(author: AuthorId, seq: number, block: Uint8Array): Batch | 'no key' | undefined {
    try {
      if (!envelopeKeyName(block).isControl) return undefined
      const opened = openBlock(block, { author, seq }, this.#options.keys)
      return 'missing' in opened ? 'no key' : opened
    } catch (error) {
      if (isLatticeError(error, 'invalid')) return undefined
      throw error
    }
  }

  #noted(author: AuthorId, { next: seq, batches }: Found, batch: Batch): ControlBatch {
    const before = batches.at(-1)?.vv ?? this.#options.store.meta.authors.get(author)?.vv
    const vv = new Map(before)
    for (const dep of batch.deps) vv.set(dep.author, Math.max(dep.length, vv.get(dep.author) ?? 0))
    vv.set(author, seq)
    const ops: ControlBatch['ops'][number][] = []
    for (const [index, op] of batch.ops.entries()) {
      if (op.kind !== 'control') continue
      ops.push({ index, control: op.control, critical: op.critical, body: op.body })
    }
    return { author, seq, ms: batch.ms, counter: batch.counter, vv, ops }
  }

  #forgetApplied(): void {
    const { applier } = this.#options
    for (const [author, found] of this.#found) {
      const length = applier.length(author)
      found.batches = found.batches.filter(({ seq }) => seq >= length)
      found.next = Math.max(found.next, length)
      if (found.batches.length === 0 && found.next === length) this.#found.delete(author)
    }
  }

  #held(): number {
    let held = 0
    for (const { batches } of this.#found.values()) held += batches.length
    return held
  }
}
