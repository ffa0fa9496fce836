// One connection's comparison of logs, before any of them is replicated on it: Hypercore must
// never see two histories of one author. Each side tells (length, tree hash) of what it holds; the
// pair of what both told of a log decides, at the shorter length:
//
//   equal lengths       both compare what was told
//   one of them longer  it compares its hash at the shorter length with what it was told, and sends
//                       that hash ('hashes'), so that the shorter side can do the same
//   held by one side    nothing to compare: the other told no head of it in its first telling, or
//                       answered length 0. The side that has nothing must have the claim to the
//                       log (log-claims.ts); otherwise it waits for its first block
//
// Logs that appear later are told later, and each such telling is answered. A fork is reported, and
// what is attached already is cut by ending the connection. A log whose hash this side cannot tell
// (not whole yet) is told again when it grew. At most LOGS_MAX logs a connection.

import type { AuthorId } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { PeerChannel } from './channel.ts'
import type { Claimant, LogClaims } from './log-claims.ts'
import {
  HEADS_MAX,
  STAGE_LAST,
  STAGE_LATER,
  STAGE_MORE,
  decodeHashes,
  decodeHeads,
  encodeHashes,
  encodeHeads,
  protocolError,
} from './messages.ts'
import type { NoiseStream } from './noise-stream.ts'
import type { LogHead, LogKind, LogName, LogsForPeers, NetLog } from './ports.ts'

export const LOGS_MAX = 8192
const STEPS_MAX = 1024
const NO_HASH = new Uint8Array(32)

interface Entry extends LogName {
  key: string
  /** As both told it last. */
  mine: LogHead | undefined
  theirs: LogHead | undefined
  /** The peer said that it has nothing of it. */
  isTheirsNone: boolean
  state: 'open' | 'attached' | 'forked'
}

export interface ComparisonOptions {
  stream: NoiseStream
  channel: PeerChannel
  logs: LogsForPeers
  claims: LogClaims
  log: NetLog
  onHead: (head: LogHead) => void
  onTrouble: (reason: string, error?: unknown) => void
}

export class LogComparison implements Claimant {
  readonly #options: ComparisonOptions
  readonly #entries = new Map<string, Entry>()
  readonly #grown = new Map<string, LogName>()
  readonly #fresh: LogName[] = []
  readonly #firstTold = new Set<string>()
  /** One step after the other. */
  #steps: Promise<void> = Promise.resolve()
  #waitingSteps = 0
  #isTold = false
  /** The end of the peer's first telling came in, and its heads were taken: not the same turn. */
  #isLastStageSeen = false
  #isHeard = false
  #isClosed = false

  constructor(options: ComparisonOptions) {
    this.#options = options
    options.claims.join(this)
  }

  /** How many logs replicate on the connection. */
  get attached(): number {
    let count = 0
    for (const { state } of this.#entries.values()) if (state === 'attached') count++
    return count
  }

  begin(): void {
    this.#step(async () => {
      const heads = await this.#heldHeads()
      const told = heads.filter((head) => {
        const entry = this.#entry(head)
        if (entry !== undefined) entry.mine = head
        return entry !== undefined
      })
      this.#isTold = true
      for (let at = 0; at === 0 || at < told.length; at += HEADS_MAX) {
        const isLast = at + HEADS_MAX >= told.length
        this.#tell(isLast ? STAGE_LAST : STAGE_MORE, told.slice(at, at + HEADS_MAX))
      }
      await this.#compare([...this.#entries.values()], false)
    })
  }

  onGrowth(author: AuthorId, kind: LogKind): void {
    const key = keyOf(author, kind)
    this.#options.claims.arrived(key)
    const state = this.#entries.get(key)?.state ?? 'open'
    if (state !== 'open' || this.#grown.has(key) || this.#isClosed) return
    this.#grown.set(key, { author, kind })
    if (this.#grown.size === 1) this.#step(() => this.#tellGrown())
  }

  onFreed(): void {
    this.#step(() => this.#compare([...this.#entries.values()], false))
  }

  onHeads(bytes: Uint8Array): void {
    const { stage, heads } = decodeHeads(bytes)
    if ((stage === STAGE_LATER) !== this.#isLastStageSeen) throw protocolError('heads-stage')
    if (stage === STAGE_LAST) this.#isLastStageSeen = true
    this.#step(async () => {
      const entries: Entry[] = []
      for (const head of heads) {
        const entry = this.#entry(head)
        if (entry === undefined) continue
        entry.theirs = head
        entries.push(entry)
        this.#options.onHead(head)
      }
      if (stage === STAGE_LAST) this.#isHeard = true
      const isLater = stage === STAGE_LATER
      await this.#compare(stage === STAGE_LAST ? [...this.#entries.values()] : entries, isLater)
    })
  }

  onHashes(bytes: Uint8Array): void {
    const hashes = decodeHashes(bytes)
    this.#step(async () => {
      for (const theirs of hashes) {
        const entry = this.#entries.get(keyOf(theirs.author, theirs.kind))
        if (entry === undefined) continue
        if (theirs.length === 0) {
          entry.isTheirsNone = true
          await this.#compare([entry], false)
        } else {
          const { author, kind, length } = theirs
          this.#judge(entry, await this.#options.logs.treeHash(author, kind, length), theirs)
        }
      }
      this.#attach()
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#options.claims.leave(this)
    this.#options.logs.detach(this.#options.stream)
  }

  async #tellGrown(): Promise<void> {
    const grown = [...this.#grown.keys()].slice(0, HEADS_MAX)
    const heads = await this.#heldHeads()
    const held = new Map(heads.map((head) => [keyOf(head.author, head.kind), head]))
    const told: LogHead[] = []
    for (const key of grown) {
      this.#grown.delete(key)
      const head = held.get(key)
      const entry = head === undefined ? undefined : this.#entry(head)
      if (head === undefined || entry?.state !== 'open') continue
      entry.mine = head
      // what it has not told in its first telling it may have got by now: the answer says it
      entry.isTheirsNone = false
      told.push(head)
    }
    if (told.length > 0) this.#tell(STAGE_LATER, told)
    const entries = told.map((head) => this.#entry(head)).filter((entry) => entry !== undefined)
    await this.#compare(entries, false)
    if (this.#grown.size > 0) this.#step(() => this.#tellGrown())
  }

  /** Decides what can be decided; sends what the other side needs for it. */
  async #compare(entries: readonly Entry[], isAnswer: boolean): Promise<void> {
    const hashes: LogHead[] = []
    for (const entry of entries) {
      const { author, kind, mine, theirs } = entry
      if (mine === undefined && theirs !== undefined) {
        if (isAnswer) hashes.push({ author, kind, length: 0, treeHash: NO_HASH })
        await this.#takeFirst(entry)
      } else if (mine !== undefined && theirs === undefined) {
        if (entry.isTheirsNone || this.#isUntold(entry)) this.#agree(entry)
      } else if (mine !== undefined && theirs !== undefined && theirs.length <= mine.length) {
        if (entry.state !== 'open' && !isAnswer) continue
        const own = await this.#options.logs.treeHash(author, kind, theirs.length)
        if (own === undefined) continue
        if (theirs.length < mine.length || isAnswer) {
          hashes.push({ author, kind, length: theirs.length, treeHash: own })
        }
        this.#judge(entry, own, theirs)
      }
    }
    for (let at = 0; at < hashes.length && !this.#isClosed; at += HEADS_MAX) {
      const some = hashes.slice(at, at + HEADS_MAX)
      this.#options.channel.send('hashes', encodeHashes(some))
    }
    this.#attach()
  }

  /** Told by us in the first telling and not by the peer in its own. */
  #isUntold(entry: Entry): boolean {
    return this.#isHeard && this.#isTold && this.#firstTold.has(entry.key)
  }

  /** This side has nothing of the log: whether it may begin on this connection. */
  async #takeFirst(entry: Entry): Promise<void> {
    const { author, kind, key } = entry
    if (entry.state !== 'open' || !this.#isTold || !this.#isHeard) return
    // it may have come on another connection a moment ago: then it is told and compared
    const first = await this.#options.logs.treeHash(author, kind, 1)
    if (first === undefined && this.#options.claims.take(key, this)) this.#agree(entry)
    else if (first !== undefined) this.onGrowth(author, kind)
  }

  #judge(entry: Entry, own: Uint8Array | undefined, theirs: LogHead): void {
    if (own === undefined || this.#isClosed || entry.state === 'forked') return
    if (Buffer.compare(own, theirs.treeHash) === 0) {
      this.#agree(entry)
      return
    }
    const isAttached = entry.state === 'attached'
    entry.state = 'forked'
    const { author, kind } = entry
    const hex = Buffer.from(author, 'latin1').toString('hex')
    this.#options.log('warn', 'fork', { author: hex, kind, length: theirs.length })
    this.#options.logs.forked(author, kind, { length: theirs.length, treeHash: theirs.treeHash })
    if (isAttached) this.#options.onTrouble('fork')
  }

  #agree(entry: Entry): void {
    if (entry.state !== 'open') return
    entry.state = 'attached'
    this.#fresh.push({ author: entry.author, kind: entry.kind })
  }

  #attach(): void {
    if (this.#fresh.length === 0 || this.#isClosed) return
    this.#options.logs.attach(this.#options.stream, this.#fresh.splice(0))
  }

  async #heldHeads(): Promise<LogHead[]> {
    return (await this.#options.logs.heads()).filter(({ length }) => length > 0)
  }

  #tell(stage: number, heads: readonly LogHead[]): void {
    if (this.#isClosed) return
    if (stage !== STAGE_LATER) {
      for (const head of heads) this.#firstTold.add(keyOf(head.author, head.kind))
    }
    this.#options.channel.send('heads', encodeHeads(stage, heads))
  }

  #entry({ author, kind }: LogName): Entry | undefined {
    const key = keyOf(author, kind)
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      if (this.#entries.size >= LOGS_MAX) {
        this.#options.log('warn', 'too-many-logs', { max: LOGS_MAX })
        return undefined
      }
      const nothing = { mine: undefined, theirs: undefined, isTheirsNone: false }
      entry = { author, kind, key, ...nothing, state: 'open' }
      this.#entries.set(key, entry)
    }
    return entry
  }

  #step(step: () => Promise<void>): void {
    if (this.#isClosed) return
    if (++this.#waitingSteps > STEPS_MAX) {
      throw protocolError('heads-flood')
    }
    this.#steps = this.#steps.then(async () => {
      this.#waitingSteps--
      if (!this.#isClosed) await step()
    }).catch((error: unknown) => {
      if (this.#isClosed || isLatticeError(error, 'closed')) return
      this.#options.onTrouble('logs', error)
    })
  }
}

function keyOf(author: AuthorId, kind: LogKind): string {
  return kind + author
}
