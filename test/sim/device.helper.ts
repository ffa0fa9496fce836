// One device of a simulated world: its disk, its logs, its clock, and the engine that runs on them
// between crashes. Programs (actors, scripts) live on it, and end with its process.
import type { Ids } from '../../src/ops/ids.ts'
import type { AuthorId, Batch } from '../../src/ops/types.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import type { Tree } from '../../src/vault/tree.ts'
import { SeededRandom } from '../support/random.ts'
import type { Host, OpenHandle } from './actor.helper.ts'
import type { Calls } from './calls.helper.ts'
import type { SimEngine } from './engine.helper.ts'
import { SimLogs } from './logs.helper.ts'
import type { Message, Station } from './network.helper.ts'
import { DeviceClock, Life } from './scheduler.helper.ts'
import type { Script } from './scripts.helper.ts'
import { Violation } from './violation.helper.ts'
import type { World } from './world.helper.ts'

/** How a device keeps its engine's files, and opens it on them. */
export interface Storage {
  open(device: SimDevice): Promise<SimEngine>
  /** Power is cut: what was not flushed may be lost or torn. */
  powerCut(): void
  /** The process is killed: everything written stays. */
  kill(): void
  /** What it takes to write a log by hand. */
  readonly liar: {
    ids: Ids
    open: (block: Uint8Array, author: AuthorId, seq: number) => Batch | undefined
    seal: (plain: Uint8Array, author: AuthorId, seq: number) => Uint8Array
  }
  /** Power is cut at the n-th disk operation from now, which may have taken effect or not. */
  arm(calls: number): void
  /** An armed crash that has not struck is called off. */
  disarm(): void
  /** Some of the next disk operations fail. */
  fail(random: SeededRandom): void
  /** True when an armed crash has struck. */
  readonly hasCrashed: boolean
  /** No more than so many bytes are free from now on. */
  fill(roomBytes: number): void
  /** Keeps a copy of everything, in place of the one before. */
  backUp(): void
  /** Puts everything back to what the copy has. False when there is none. */
  restore(): boolean
  /** What is derived from the rest is lost: the next start makes it anew. */
  dropIndex(): void
  /** Leaves nothing behind on this machine. */
  close(): Promise<void>
}

export class SimDevice implements Host, Station {
  readonly index: number
  readonly author: AuthorId
  readonly world: World
  readonly random: SeededRandom
  readonly clock: DeviceClock
  readonly storage: Storage
  logs: SimLogs
  life = new Life()
  engine: SimEngine | undefined
  handles: OpenHandle[] = []
  scripts: Script[] = []
  forge?: (message: Message, to: number) => Message[]
  /** Nothing of it counts for the oracles: a liar, or somebody removed. */
  isOutcast = false
  crashes = 0
  /** It was put back to an earlier state of itself: it may not know what it has told others. */
  wasRestored = false
  #isFresh = false
  #savedLogs: SimLogs | undefined
  #isPumping = false
  #pumpAgain = false
  #pumpDue = false
  /** Operations for which fsync returned. */
  #durable: UserOperation[] = []
  #published = 0

  constructor(world: World, index: number, author: AuthorId, seed: number, storage: Storage) {
    this.world = world
    this.index = index
    this.author = author
    this.storage = storage
    this.random = new SeededRandom(seed)
    this.clock = new DeviceClock(world.scheduler, this.life, 0)
    this.logs = this.newLogs()
  }

  newLogs(): SimLogs {
    const pause = (): Promise<void> => this.world.scheduler.sleep(this.random.next(), this.life)
    const logs = new SimLogs(this.author, this.world.signatures, pause)
    logs.onSelfFork = (length) => {
      if (!this.isOutcast && !this.wasRestored) {
        this.world.fail(new Violation('nobody forks himself', `d${this.index} at ${length}`))
      }
    }
    logs.onAppend = (blocks, from) => {
      this.#published = Math.max(this.#published, from + blocks.length)
    }
    return logs
  }

  /** A liar runs no engine: its log is written by hand. */
  isLiar = false

  get isOnline(): boolean {
    return this.engine !== undefined || this.isLiar
  }

  get tree(): Tree {
    return this.live.tree
  }

  get live(): SimEngine {
    if (this.engine === undefined) throw new Error(`device ${this.index} is down`)
    return this.engine
  }

  get calls(): Calls {
    return this.live.calls
  }

  takeOperations(): UserOperation[] {
    return this.live.takeOperations()
  }

  note(text: string): void {
    this.world.trace.note(text)
  }

  // ---- life ----

  async start(): Promise<void> {
    const life = new Life()
    this.life = life
    this.clock.life = life
    const engine = await this.storage.open(this)
    if (life.isOver) return
    this.engine = engine
    this.#checkRecovered(engine)
    this.logs.onGrowth((author) => {
      if (author === this.author) this.world.network.announceSoon(this.index)
      else this.pumpSoon()
    })
    this.note(`d${this.index} up with ${engine.ownLength} own batches`)
    this.pumpSoon()
    this.world.network.announceSoon(this.index)
  }

  /** What was promised before the crash is there, and what others may have is known here. */
  #checkRecovered(engine: SimEngine): void {
    const { ownLength } = engine
    const { ledger } = this.world
    const lost = ledger.recovered(this.index, this.author, ownLength, this.#isFresh)
    this.#isFresh = false
    if (lost > 0) this.note(`d${this.index} lost ${lost} intents`)
    for (const { refs } of this.#durable) {
      const ref = refs[0]
      if (ref !== undefined && (ref.seq < 0 || ref.seq >= ownLength)) {
        throw new Violation('what was fsynced survives', (
          `d${this.index}: an fsynced operation in batch ${ref.seq}; ${ownLength} are left`
        ))
      }
    }
    this.#durable = []
    if (ownLength < this.#published) {
      throw new Violation('only what is durable is published', (
        `d${this.index} published ${this.#published}, but has ${ownLength} after a crash`
      ))
    }
  }

  /** The process ends at once. `power`: so does the machine. */
  crash(power: boolean): void {
    if (this.engine === undefined && !this.isStarting) return
    this.note(`d${this.index} ${power ? 'loses power' : 'is killed'}`)
    this.crashes++
    this.life.isOver = true
    this.engine = undefined
    this.handles = []
    this.scripts = []
    this.#isPumping = this.#pumpAgain = this.#pumpDue = false
    if (power) {
      this.storage.powerCut()
      this.logs.crash(this.random)
    } else {
      this.storage.kill()
      this.logs.detach()
    }
  }

  backUp(): void {
    this.storage.backUp()
    this.#savedLogs = this.newLogs()
    this.#savedLogs.copyFrom(this.logs)
  }

  /** The machine is put back to its backup, once everybody has heard what it had published: who
   *  had not could take either branch, and which one counts is for people to say. */
  restore(): boolean {
    const saved = this.#savedLogs
    if (saved === undefined || this.wasRestored || !this.#tellEverybody()) return false
    const hashAt = (seq: number): string | undefined => this.logs.hashAt(this.author, seq + 1)
    this.world.ledger.setAside(this.index, (seq) => (seq < 0 ? undefined : hashAt(seq)))
    this.crash(false)
    this.storage.restore()
    this.logs.copyFrom(saved)
    this.#durable = []
    this.#published = 0
    this.wasRestored = this.#isFresh = true
    return true
  }

  #tellEverybody(): boolean {
    const { author, logs } = this
    const others = this.world.devices.filter((one) => one !== this)
    for (const other of others) {
      const blocks = logs.blocksFrom(author, other.logs.length(author), Infinity)
      if (blocks !== undefined) other.logs.receive(blocks)
    }
    return others.every((other) => other.logs.length(author) === logs.length(author))
  }

  isStarting = false

  startSoon(delayMs: number): void {
    this.isStarting = true
    this.world.scheduler.after(delayMs, () => {
      this.start().then(
        () => void (this.isStarting = false),
        (error: unknown) => {
          if (!this.storage.hasCrashed && !this.world.expectsTrouble(this, error)) {
            this.world.fail(error)
          } else {
            this.crash(true)
            this.startSoon(100)
          }
        },
      )
    })
  }

  // ---- what its process does ----

  pumpSoon(): void {
    if (this.#pumpDue) return
    this.#pumpDue = true
    this.world.scheduler.after(this.random.int(1, 20), () => {
      this.#pumpDue = false
      this.pump()
    }, this.life)
  }

  pump(): void {
    if (this.engine === undefined) return
    if (this.#isPumping) {
      this.#pumpAgain = true
      return
    }
    this.#isPumping = true
    const life = this.life
    const ended = (): void => {
      if (life.isOver) return
      this.#isPumping = false
      if (this.#pumpAgain) {
        this.#pumpAgain = false
        this.pumpSoon()
      }
    }
    this.engine.pump().then(ended, (error: unknown) => {
      ended()
      this.trouble(error, life)
    })
  }

  /** Waits for what was queued so far; a crash may come before. */
  async fsync(): Promise<void> {
    const engine = this.live
    const life = this.life
    const before = this.world.ledger.intents
      .filter((intent) => intent.device === this.index)
      .flatMap((intent) => intent.operations)
    try {
      await engine.fsync()
    } catch (error) {
      this.trouble(error, life)
      return
    }
    if (!life.isOver) this.#durable = before
  }

  /** Trouble with the disk is expected where faults were injected. */
  trouble(error: unknown, life: Life): void {
    if (life.isOver || this.storage.hasCrashed) return
    if (this.world.expectsTrouble(this, error)) return
    this.world.fail(error)
  }
}
