// Keeps on this device what lies below pinned nodes: looks through it when it starts, when a pin
// comes, when devices come or go and every now and then; what other devices change below a pin is
// looked at on its own, soon. What is not here is asked of others, behind whatever a reader waits
// for, a bounded number of bundles at a time.
//
// Nothing is noted of how far it has come: what is here is in the index, so that it goes on after
// a restart by looking again. Trees under a pin are walked in pages between other work.

import { setImmediate as pause } from 'node:timers/promises'
import type { Absent } from '../chunks/content-store.ts'
import type { Name, NodeId } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import type { NodeInfo } from '../vault/tree.ts'
import type { Engine } from './engine.ts'
import { filesBelow } from './files-below.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type { Arrival } from './mount-view.ts'
import type { PinList } from './pin-list.ts'
import type { VaultSync } from './sync.ts'

/** What was changed locally (a move of something absent below a pin) is found by then. */
const LOOK_EVERY_MS = 10 * 60_000
/** What could not be had is asked for again after this, then after twice as long each time. */
const RETRY_MS = 1000
const RETRY_MAX_MS = 30_000
const ARRIVAL_MS = 50
const FILES_AT_ONCE = 8
const BUNDLES_AT_ONCE = 16
const ROUNDS_MAX = 8
/** More than so many are looked for by looking at everything. */
const ARRIVALS_MAX = 10_000

export interface PinState {
  node: NodeId
  /** Where it is now; undefined: nothing shows it any more. */
  path: Name[] | undefined
  said: string
  /** Of the last look, as far as it is. */
  files: number
  bytes: number
  missingFiles: number
  missingBytes: number
  /** whole: everything was here at the last look, and nothing came since; waiting: something cannot
   *  be had now, `reason` says why. */
  state: 'whole' | 'looking' | 'waiting' | 'gone'
  reason: string | undefined
}

interface Look {
  files: number
  bytes: number
  missingFiles: number
  missingBytes: number
  isDone: boolean
  reason: string | undefined
}

export interface PinOptions {
  engine: Engine
  peers: Pick<VaultSync, 'fetch' | 'count'>
  list: PinList
  log: Log
}

export class PinKeeper {
  readonly #options: PinOptions
  readonly #looks = new Map<NodeId, Look>()
  readonly #arrivals = new Map<string, Arrival>()
  /** Pins to be looked at whole. */
  readonly #due = new Set<NodeId>()
  readonly #bundles = new Slots(BUNDLES_AT_ONCE)
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #lookTimer: NodeJS.Timeout | undefined
  #retryMs = RETRY_MS
  #isClosed = false

  constructor(options: PinOptions) {
    this.#options = options
    this.#lookTimer = setInterval(() => this.#lookAtAll(), LOOK_EVERY_MS)
    this.#lookTimer.unref()
    options.engine.view.onArrival((arrival) => this.#arrived(arrival))
    this.#lookAtAll()
  }

  /** Durable when it resolves; what is missing comes by and by. */
  async pin(ino: Ino, said: string): Promise<NodeId | undefined> {
    const node = this.#nodeOf(ino)
    if (node === undefined) return undefined
    await this.#options.list.add(node, said)
    this.#look(node)
    return node
  }

  /** What is here stays here. */
  async unpin(node: NodeId): Promise<void> {
    await this.#options.list.remove(node)
    this.#looks.delete(node)
    this.#due.delete(node)
  }

  /** Whether a pin covers the inode. */
  covers(ino: Ino): boolean {
    return this.#options.list.all().length > 0 && this.#pinOver(ino) !== undefined
  }

  /** What is pinned, where it is now. */
  pinned(): Ino[] {
    const nodes = this.#options.list.all().map(({ node }) => this.#inoOf(node))
    return nodes.filter((ino) => ino !== undefined)
  }

  /** Devices came or went: what could not be had may be had now. */
  peersChanged(): void {
    this.#retryMs = RETRY_MS
    this.#lookAtMissing()
  }

  #lookAtMissing(): void {
    for (const [node, look] of this.#looks) {
      if (look.missingFiles > 0 || !look.isDone || look.reason !== undefined) this.#look(node)
    }
  }

  states(): PinState[] {
    return this.#options.list.all().map(({ node, path: said }) => {
      const look = this.#looks.get(node) ?? newLook()
      const { files, bytes, missingFiles, missingBytes, reason } = look
      const ino = this.#inoOf(node)
      const path = ino === undefined ? undefined : this.#options.engine.tree.pathOf(ino)
      const isBusy = !look.isDone || this.#due.has(node) || this.#arrivals.size > 0
      let state: PinState['state'] = isBusy ? 'looking' : 'whole'
      if (reason !== undefined || (!isBusy && missingFiles > 0)) state = 'waiting'
      if (path === undefined) state = 'gone'
      return { node, path, said, files, bytes, missingFiles, missingBytes, state, reason }
    })
  }

  /** Waits for what is under way, but not for others. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#lookTimer)
    clearTimeout(this.#timer)
    await this.#running
  }

  // ---- when

  #lookAtAll(): void {
    for (const { node } of this.#options.list.all()) this.#look(node)
  }

  #look(node: NodeId): void {
    this.#due.add(node)
    this.#start()
  }

  #arrived(arrival: Arrival): void {
    if (this.#isClosed || this.#options.list.all().length === 0) return
    if (this.#arrivals.size >= ARRIVALS_MAX) {
      this.#arrivals.clear()
      for (const { node } of this.#options.list.all()) this.#due.add(node)
    } else {
      const key = 'ino' in arrival ? String(arrival.ino) : `${arrival.parent}/${arrival.name}`
      this.#arrivals.set(key, arrival)
    }
    if (this.#running === undefined) this.#startAfter(ARRIVAL_MS)
  }

  #startAfter(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#start(), delayMs)
    this.#timer.unref()
  }

  #start(): void {
    if (this.#isClosed || this.#running !== undefined) return
    clearTimeout(this.#timer)
    this.#running = this.#run()
      .catch((error: unknown) => this.#options.log.error(loggable(error), 'keeping pins'))
      .finally(() => {
        this.#running = undefined
        if (this.#isClosed) return
        if (this.#due.size > 0) this.#startAfter(0)
        else if (this.#arrivals.size > 0) this.#startAfter(ARRIVAL_MS)
        else this.#retryLater()
      })
  }

  #retryLater(): void {
    const looks = [...this.#looks.values()]
    if (looks.every((look) => look.missingFiles === 0 && look.reason === undefined)) {
      this.#retryMs = RETRY_MS
      return
    }
    this.#timer = setTimeout(() => this.#lookAtMissing(), this.#retryMs)
    this.#timer.unref()
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS)
  }

  async #run(): Promise<void> {
    await pause()
    while (!this.#isClosed) {
      for (const [key, arrival] of this.#arrivals) {
        if (this.#isClosed) return
        await this.#lookAtArrival(arrival)
        // not if it came again meanwhile
        if (this.#arrivals.get(key) === arrival) this.#arrivals.delete(key)
      }
      const [node] = this.#due
      if (node === undefined) return
      this.#due.delete(node)
      await this.#lookAt(node)
    }
  }

  /** Counts stay those of the last look; if something is missing, another one is due. */
  async #lookAtArrival(arrival: Arrival): Promise<void> {
    const { tree } = this.#options.engine
    const ino = 'ino' in arrival ? arrival.ino : tree.lookup(arrival.parent, arrival.name)?.ino
    const pin = ino === undefined ? undefined : this.#pinOver(ino)
    if (ino === undefined || pin === undefined || this.#due.has(pin)) return
    const look = newLook()
    await this.#keepBelow(ino, pin, look)
    if (look.missingFiles > 0 || look.reason !== undefined) this.#due.add(pin)
  }

  // ---- what

  async #lookAt(node: NodeId): Promise<void> {
    const ino = this.#inoOf(node)
    const look = newLook()
    look.reason = this.#looks.get(node)?.reason
    this.#looks.set(node, look)
    if (ino !== undefined) await this.#keepBelow(ino, node, look)
    look.isDone = true
  }

  async #keepBelow(start: Ino, pin: NodeId, look: Look): Promise<void> {
    const files = new Slots(FILES_AT_ONCE)
    let reason: string | undefined
    for await (const file of filesBelow(this.#options.engine.tree, start)) {
      if (this.#isClosed || !this.#options.list.has(pin)) break
      if (reason !== undefined && await this.#isHopeless(reason)) break
      await files.take()
      void this.#keep(file, look).then((why) => {
        reason = why ?? reason
        files.give()
      })
    }
    await files.empty()
    look.reason = reason
  }

  /** A disk that is full is not filled by trying, and nobody answers where nobody is. */
  async #isHopeless(reason: string): Promise<boolean> {
    if (reason === 'disk-full' || reason === 'closed') return true
    return reason === 'not-available' && await this.#options.peers.count() === 0
  }

  /** Brings what of the file is not here. Never rejects: the reason why something is missing. */
  async #keep({ content, attr: { sizeBytes } }: NodeInfo, look: Look): Promise<string | undefined> {
    look.files++
    look.bytes += sizeBytes
    if (content === undefined || content.kind === 'inline') return undefined
    let missingBytes = sizeBytes // until it is known
    look.missingFiles++
    look.missingBytes += missingBytes
    const missing = (bytes: number): void => {
      look.missingBytes += bytes - missingBytes
      missingBytes = bytes
    }
    let reason: string | undefined
    try {
      for (let round = 0; round < ROUNDS_MAX && !this.#isClosed; round++) {
        let left = 0
        let asked = 0
        reason = undefined
        for await (const absent of this.#options.engine.content.absent(content, sizeBytes)) {
          for (const { bytes } of absent) left += bytes
          if (absent.length > 0) {
            asked++
            reason = (await this.#bring(absent)) ?? reason
          }
        }
        missing(left)
        if (left === 0) {
          look.missingFiles--
          return undefined
        }
        if (reason !== undefined || asked === 0) break
      }
    } catch (error) {
      return reasonOf(error)
    }
    return reason ?? 'not-available'
  }

  /** Each bundle once. */
  async #bring(absent: readonly Absent[]): Promise<string | undefined> {
    const wanted = new Map(absent.map((one) => [one.bundles[0]?.id, one.bundles]))
    const outcomes = await Promise.all([...wanted.values()].map(async (bundles) => {
      if (bundles.length === 0) return 'not-announced'
      await this.#bundles.take()
      try {
        if (this.#isClosed) return 'closed'
        await this.#options.peers.fetch(bundles, 'pin')
        return undefined
      } catch (error) {
        return reasonOf(error)
      } finally {
        this.#bundles.give()
      }
    }))
    return outcomes.find((reason) => reason === 'disk-full')
      ?? outcomes.find((reason) => reason !== undefined)
  }

  // ---- nodes

  #nodeOf(ino: Ino): NodeId | undefined {
    return this.#options.engine.core.store.node(ino)?.node
  }

  #inoOf(node: NodeId): Ino | undefined {
    return this.#options.engine.core.store.inoOf(node) as Ino | undefined
  }

  #pinOver(ino: Ino): NodeId | undefined {
    const { engine: { tree }, list } = this.#options
    const steps = tree.pathOf(ino)
    if (steps === undefined) return undefined
    let at: Ino | undefined = tree.root
    for (const name of [undefined, ...steps]) {
      if (name !== undefined) at = tree.lookup(at, name)?.ino
      if (at === undefined) return undefined
      const node = this.#nodeOf(at)
      if (node !== undefined && list.has(node)) return node
    }
    return undefined
  }
}

function newLook(): Look {
  return { files: 0, bytes: 0, missingFiles: 0, missingBytes: 0, isDone: false, reason: undefined }
}

function reasonOf(error: unknown): string {
  return isLatticeError(error) ? error.code : 'internal'
}

/** So many at a time. */
class Slots {
  readonly #count: number
  #taken = 0
  readonly #waiting: (() => void)[] = []
  readonly #emptied: (() => void)[] = []

  constructor(count: number) {
    this.#count = count
  }

  async take(): Promise<void> {
    if (this.#taken < this.#count) this.#taken++
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Whoever waits takes over. */
  give(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) return next()
    if (--this.#taken === 0) for (const resolve of this.#emptied.splice(0)) resolve()
  }

  async empty(): Promise<void> {
    if (this.#taken > 0) await new Promise<void>((resolve) => this.#emptied.push(resolve))
  }
}
