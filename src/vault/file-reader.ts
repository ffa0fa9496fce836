// FileReader: brings committed content into the buffers when a reader waits for it.
//
// A fetch is: read the epoch, plan, fetch, release the plan. 'stale' means that the base moved on
// meanwhile: planned again. A fetch that cannot succeed is tried again in smaller parts, so that
// damage is told to who reads it; a part that cannot fails, so that every reader is answered.
// Ranges in `file.fetching` are on their way and are not asked for twice; but what came may have
// been dropped again before the fetch has ended, so that a reader asks for it in between:
// `file.late` is looked at again.
// Sequential readers get growing windows ahead. At most FETCHES_MAX run at once; the rest queue.
// One whose plan waits for others does not count meanwhile, so that they hold up nobody who reads
// what is here: at most WAITS_MAX of them.
// What others have to send is brought further ahead than that (away-ahead.ts).
// Used by Files alone.

import { LatticeError, isLatticeError } from '../util/errors.ts'
import { AwayAhead } from './away-ahead.ts'
import type { FetchResult, Ino, ReadPiece } from './buffers.ts'
import type { ReadPlan, Urgency } from './content.ts'
import type { OpenFile } from './open-file.ts'
import { PlaceTeller, type TellerPorts } from './place-teller.ts'

const FETCHES_MAX = 8
const WAITS_MAX = 256
const FETCH_BYTES = 1024 * 1024
/** What a reader asks for at once is not tried in parts. */
const FAIL_BYTES_MAX = 128 * 1024
const WINDOW_MIN_BYTES = 512 * 1024
const WINDOW_MAX_BYTES = 8 * 1024 * 1024
/** Content up to this size is put into the buffers at open, when that needs no waiting. */
export const PREFILL_MAX_BYTES = 64 * 1024

export interface ReaderPorts extends TellerPorts {
  toErrno: (error: unknown, operation: string, ino: number) => number
}

interface Range {
  begin: number
  end: number
}

/** A fetch under way, and the plan that it holds. */
interface Begun {
  plan: ReadPlan
  result: FetchResult | Promise<FetchResult>
}

export class FileReader {
  readonly #ports: ReaderPorts
  readonly #idle: (file: OpenFile) => void
  readonly #teller: PlaceTeller
  readonly #ahead: AwayAhead
  #queue: (() => Promise<void>)[] = []
  #fetches = 0
  /** Of plans. */
  #waits = 0

  constructor(ports: ReaderPorts, idle: (file: OpenFile) => void) {
    this.#ports = ports
    this.#idle = idle
    this.#teller = new PlaceTeller(ports)
    this.#ahead = new AwayAhead(ports.content)
  }

  /** A reader waits for [offset, offset + length). */
  need(file: OpenFile, offset: number, length: number, sequential: boolean): void {
    const sizeBytes = this.#ports.buffers.attrs(file.ino)?.sizeBytes ?? 0
    const asked = { begin: offset, end: offset + length }
    if (!sequential) {
      file.windowBytes = 0
      file.aheadEnd = 0
      if (!this.#atOnce(file, asked)) this.#schedule(file, asked, asked)
      this.#teller.missed(file, offset)
      return
    }
    const window = file.windowBytes * 2
    file.windowBytes = Math.min(Math.max(window, WINDOW_MIN_BYTES), WINDOW_MAX_BYTES)
    const end = Math.min(offset + file.windowBytes, sizeBytes)
    this.#schedule(file, { begin: offset, end: Math.max(asked.end, end) }, asked)
    if (file.windowBytes === WINDOW_MAX_BYTES) this.#ahead.follow(file, end, sizeBytes)
  }

  /**
   * A random read without a detour: planned and begun here, usually also ended here, since the page
   * cache has the sealed bytes. False when that is not to be; then nothing has happened.
   */
  #atOnce(file: OpenFile, range: Range): boolean {
    const { buffers, content } = this.#ports
    if (file.fetching.length > 0 || this.#fetches >= FETCHES_MAX) return false
    const epoch = buffers.baseEpoch(file.ino)
    let plan: ReadPlan | undefined
    let result: FetchResult | Promise<FetchResult> = 'stale'
    try {
      plan = content.planNow(file.working, range.begin, range.end - range.begin)
      if (plan === undefined) return false
      if (plan.pieces.length > 0) result = buffers.fetch(file.ino, epoch, plan.pieces)
    } catch {
      plan?.release()
      return false // planned again on the ordinary way, which tells the reader
    }
    if (result instanceof Promise) {
      file.fetching.push(range)
      this.#fetches++
      void this.#fetch(file, range, 'read', { plan, result }).finally(() => this.#ended())
      return true
    }
    plan.release()
    return result === 'filled'
  }

  /**
   * Fills small content of a file that is being opened, so that READ never waits. What cannot be
   * had at once is begun; nothing is waited for.
   */
  prefill(file: OpenFile): void {
    const { buffers, content } = this.#ports
    const sizeBytes = file.working.sizeBytes
    if (sizeBytes === 0 || sizeBytes > PREFILL_MAX_BYTES) return
    if (buffers.overlay(file.ino, 0, sizeBytes).length > 0) return
    const epoch = buffers.baseEpoch(file.ino)
    let plan
    try {
      plan = content.planNow(file.working, 0, sizeBytes)
    } catch {
      return // a reader, if one comes, will ask again and get the error
    }
    if (plan === undefined || plan.pieces.some((piece) => piece.kind === 'bundle')) {
      plan?.release()
      const whole = { begin: 0, end: sizeBytes }
      this.#schedule(file, whole, whole)
      return
    }
    for (const piece of plan.pieces) {
      const bytes = piece.kind === 'bytes' ? piece.bytes : new Uint8Array(pieceLength(piece))
      buffers.fill(file.ino, epoch, piece.offset, bytes)
    }
    plan.release()
  }

  /** `asked`: the part of it that a reader waits for. */
  #schedule(file: OpenFile, wanted: Range, asked: Range): void {
    for (const { begin, end } of file.fetching) {
      const part = { begin: Math.max(begin, asked.begin), end: Math.min(end, asked.end) }
      if (part.begin < part.end) file.late.push(part)
    }
    for (const range of subtract(wanted, file.fetching)) {
      for (let begin = range.begin; begin < range.end; begin += FETCH_BYTES) {
        const part = { begin, end: Math.min(range.end, begin + FETCH_BYTES) }
        const isAsked = part.begin < asked.end && part.end > asked.begin
        file.fetching.push(part)
        this.#queue.push(async () => this.#fetch(file, part, isAsked ? 'read' : 'ahead'))
      }
    }
    this.#pump()
  }

  #pump(): void {
    while (this.#fetches < FETCHES_MAX) {
      const task = this.#queue.shift()
      if (task === undefined) return
      this.#fetches++
      void task().finally(() => this.#ended())
    }
  }

  #ended(): void {
    this.#fetches--
    this.#pump()
  }

  /** Never rejects: an error goes to the readers of the range. */
  async #fetch(
    file: OpenFile, range: Range, urgency: Urgency, begun?: Begun,
  ): Promise<void> {
    const { buffers, toErrno } = this.#ports
    const length = range.end - range.begin
    try {
      if (begun !== undefined && (await isFilled(begun))) return
      while (!(await this.#attempt(file, range, urgency)));
    } catch (error) {
      const errno = toErrno(error, 'read', file.ino)
      const isElsewhere = isLatticeError(error, 'not-available') // waited long enough
      if (length > FAIL_BYTES_MAX && !isElsewhere) this.#fetchParts(file, range)
      else buffers.fail(file.ino, range.begin, length, errno)
    } finally {
      file.fetching = file.fetching.filter((other) => other !== range)
      this.#lookAgain(file, range)
      this.#idle(file)
    }
  }

  #fetchParts(file: OpenFile, range: Range): void {
    for (let { begin } = range; begin < range.end; begin += FAIL_BYTES_MAX) {
      const part = { begin, end: Math.min(range.end, begin + FAIL_BYTES_MAX) }
      file.fetching.push(part)
      this.#queue.push(async () => this.#fetch(file, part, 'read'))
    }
  }

  /** The range was fetched; who asked for a part of it since may still lack it. */
  #lookAgain(file: OpenFile, { begin, end }: Range): void {
    const late = file.late
    file.late = []
    for (const part of late) {
      if (part.begin >= end || part.end <= begin) file.late.push(part)
      else if (this.#isAbsent(file.ino, part)) this.#schedule(file, part, part)
    }
  }

  /** False when the base moved on and it must be planned again. */
  async #attempt(file: OpenFile, range: Range, urgency: Urgency): Promise<boolean> {
    const { buffers, content } = this.#ports
    const { ino, working } = file
    if (buffers.attrs(ino) === undefined) return true // forgotten: nobody waits
    const epoch = buffers.baseEpoch(ino)
    const length = range.end - range.begin
    let plan = content.planNow(working, range.begin, length)
    if (plan === undefined) {
      file.isAway = true
      plan = await this.#waitApart(content.plan(working, range.begin, length, urgency))
    }
    if (plan.pieces.length === 0 && epoch === buffers.baseEpoch(ino)) {
      plan.release()
      if (!this.#isAbsent(ino, range)) return true // cut off meanwhile
      throw new LatticeError('corrupt', 'content ends before the file does', { details: { ino } })
    }
    return this.#run(ino, epoch, plan)
  }

  /** Others may begin while this one waits, if there is room. */
  async #waitApart(plan: Promise<ReadPlan>): Promise<ReadPlan> {
    if (this.#waits >= WAITS_MAX) return plan
    this.#waits++
    this.#ended()
    try {
      return await plan
    } finally {
      this.#waits--
      this.#fetches++
    }
  }

  /** Fetches what the plan says. */
  #run(ino: Ino, epoch: number, plan: ReadPlan): Promise<boolean> {
    let result: FetchResult | Promise<FetchResult>
    try {
      result = this.#ports.buffers.fetch(ino, epoch, plan.pieces)
    } catch (error) {
      plan.release()
      throw error
    }
    return isFilled({ plan, result })
  }

  /** A part of the range is in the file, and not in the buffers. */
  #isAbsent(ino: Ino, { begin, end }: Range): boolean {
    const { buffers } = this.#ports
    const to = Math.min(end, buffers.attrs(ino)?.sizeBytes ?? 0)
    let missing = Math.max(0, to - begin)
    for (const extent of buffers.overlay(ino, begin, to)) missing -= extent.length
    return missing > 0
  }
}

/** How the fetch ended; the plan is released then. False = the base moved on. */
async function isFilled({ plan, result }: Begun): Promise<boolean> {
  try {
    const end = await result
    if (end === 'damaged') throw new LatticeError('damaged-pack', 'a sealed bundle is damaged')
    if (end === 'io-error') throw new LatticeError('io', 'a pack could not be read')
    return end === 'filled'
  } finally {
    plan.release()
  }
}

function pieceLength(piece: ReadPiece): number {
  return piece.kind === 'bytes' ? piece.bytes.length : piece.length
}

function subtract(wanted: Range, taken: readonly Range[]): Range[] {
  let rest = [wanted]
  for (const { begin, end } of taken) {
    rest = rest.flatMap((range) => {
      if (range.end <= begin || range.begin >= end) return [range]
      const before = { begin: range.begin, end: Math.min(range.end, begin) }
      const after = { begin: Math.max(range.begin, end), end: range.end }
      return [before, after].filter((part) => part.begin < part.end)
    })
  }
  return rest
}
