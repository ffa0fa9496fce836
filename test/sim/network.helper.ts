// The network between simulated devices: messages are lost, doubled, delayed and reordered; devices
// are split into groups that do not hear each other, and healed again. Replication stands on it as
// a device would do it: tell heads, ask for what lies behind one's own, send blocks.
import type { AuthorId } from '../../src/ops/types.ts'
import type { SeededRandom } from '../support/random.ts'
import type { BlocksMessage, LogHead, SimLogs } from './logs.helper.ts'
import type { Scheduler } from './scheduler.helper.ts'
import type { Trace } from './trace.helper.ts'

export type Message =
  | { kind: 'heads'; heads: LogHead[]; isAnswer: boolean }
  | { kind: 'want'; author: AuthorId; from: number; hash: string }
  | ({ kind: 'blocks' } & BlocksMessage)
  | { kind: 'fork'; author: AuthorId }

export interface NetworkFaults {
  lossChance: number
  doubleChance: number
  delayMs: number // of most messages, at most
  slowChance: number // some take a hundred times as long
}

export const PERFECT: NetworkFaults = {
  lossChance: 0, doubleChance: 0, delayMs: 1, slowChance: 0,
}

const BLOCKS_PER_MESSAGE = 64

/** What the network needs of a device. */
export interface Station {
  readonly index: number
  readonly logs: SimLogs
  /** Off: neither sends nor receives. */
  readonly isOnline: boolean
  /** What a liar makes of a message that it is about to send. */
  forge?(message: Message, to: number): Message[]
}

export class SimNetwork {
  faults: NetworkFaults
  sent = 0
  readonly #scheduler: Scheduler
  readonly #random: SeededRandom
  readonly #trace: Trace
  readonly #stations: Station[] = []
  readonly #groups: number[] = []
  /** Stations whose heads will be told soon. */
  readonly #due = new Set<number>()

  constructor(
    scheduler: Scheduler, random: SeededRandom, trace: Trace, faults: NetworkFaults,
  ) {
    this.#scheduler = scheduler
    this.#random = random
    this.#trace = trace
    this.faults = faults
  }

  join(station: Station): void {
    this.#stations[station.index] = station
    this.#groups[station.index] = 0
  }

  // ---- partitions ----

  /** Puts each station into one of `groups` at random. */
  partition(random: SeededRandom, groups: number): void {
    for (const station of this.#stations) this.#groups[station.index] = random.int(0, groups)
  }

  /** One station hears nobody. */
  isolate(index: number): void {
    this.#groups[index] = 1000 + index
  }

  heal(): void {
    this.#groups.fill(0)
    for (const station of this.#stations) this.announceSoon(station.index)
  }

  canHear(a: number, b: number): boolean {
    const isUp = this.#stations[a]?.isOnline === true && this.#stations[b]?.isOnline === true
    return isUp && this.#groups[a] === this.#groups[b]
  }

  // ---- replication ----

  /** Tells everybody what this station has, after a moment: growth comes in bursts. */
  announceSoon(index: number): void {
    if (this.#due.has(index)) return
    this.#due.add(index)
    this.#scheduler.after(this.#random.int(5, 60), () => {
      this.#due.delete(index)
      this.announce(index)
    })
  }

  announce(index: number): void {
    const station = this.#stations[index]
    if (station?.isOnline !== true) return
    const heads = station.logs.heads()
    for (const other of this.#stations) {
      if (other.index !== index) {
        this.#send(index, other.index, { kind: 'heads', heads, isAnswer: false })
      }
    }
  }

  #send(from: number, to: number, message: Message): void {
    const station = this.#stations[from] as Station
    const messages = station.forge?.(message, to) ?? [message]
    for (const one of messages) this.#transmit(from, to, one)
  }

  #transmit(from: number, to: number, message: Message): void {
    const { lossChance, doubleChance, delayMs, slowChance } = this.faults
    this.sent++
    let copies = this.#random.chance(lossChance) ? 0 : 1
    if (copies > 0 && this.#random.chance(doubleChance)) copies++
    for (; copies > 0; copies--) {
      const factor = this.#random.chance(slowChance) ? 100 : 1
      this.#scheduler.after(this.#random.next() * delayMs * factor, () => {
        if (this.canHear(from, to)) this.#deliver(from, to, message)
      })
    }
  }

  #deliver(from: number, to: number, message: Message): void {
    const { logs } = this.#stations[to] as Station
    switch (message.kind) {
      case 'heads': {
        let isBehind = false
        for (const head of message.heads) {
          const mine = logs.length(head.author)
          if (mine >= head.length) {
            if (logs.hashAt(head.author, head.length) !== head.hash) logs.noteFork(head.author)
            isBehind ||= mine > head.length
          } else if (!logs.forked.has(head.author)) {
            const hash = logs.hashAt(head.author, mine) as string
            this.#send(to, from, { kind: 'want', author: head.author, from: mine, hash })
          }
        }
        isBehind ||= message.heads.length < logs.authors().length
        if (isBehind && !message.isAnswer) {
          this.#send(to, from, { kind: 'heads', heads: logs.heads(), isAnswer: true })
        }
        return
      }
      case 'want': {
        const { author } = message
        const mine = logs.hashAt(author, message.from)
        if (mine === undefined) return
        if (mine !== message.hash) {
          logs.noteFork(author)
          this.#send(to, from, { kind: 'fork', author })
          return
        }
        const blocks = logs.blocksFrom(author, message.from, BLOCKS_PER_MESSAGE)
        if (blocks !== undefined) this.#send(to, from, { kind: 'blocks', ...blocks })
        return
      }
      case 'blocks':
        if (!logs.receive(message)) return
        this.#trace.note(`${to} has ${logs.length(message.author)} of ${short(message.author)}`)
        this.announceSoon(to)
        return
      case 'fork':
        logs.noteFork(message.author)
    }
  }
}

export function short(author: AuthorId): string {
  return Buffer.from(author.slice(0, 3), 'latin1').toString('hex')
}
