// FileSealer: decides when dirty content is frozen, sealed and put, and does it.
//
//   close (flush)          final pass at once; of a small file a little later, see requestLater()
//   8 MiB dirty (full)     partial pass, no put
//   3 s after first dirt   final pass
//   fsync, sync            final pass, urgent; the caller waits for it
//   memory pressure        oldest first until half of the dirty memory is free
//   rename over a file     final pass, asked for by the tree
//
// A pass = freeze, seal, settle, describe, put, under the file's lock. One that fails leaves all
// of it dirty: whoever waits gets the error, otherwise the next FLUSH or FSYNC does, once; the
// pass is retried with growing delay. One that cannot describe the content, since a part of its
// manifest is elsewhere, ends well when what is sealed is held (held.ts), and is retried, too.
// While the disk is full writers get the error instead of waiting. Used by Files alone.

import { LatticeError, isLatticeError } from '../util/errors.ts'
import { assert } from '../util/assert.ts'
import { ATTR_MTIME, type Attr, type FileBuffers, type FrozenJob, type Ino } from './buffers.ts'
import type { ContentStore } from './content.ts'
import type { HeldContents } from './held.ts'
import type { Content } from '../ops/types.ts'
import type { Clock, JournalPort, Timer } from './ports.ts'
import type { Tree } from './tree.ts'
import { SEAL_FINAL, SEAL_NONE, SEAL_PARTIAL, SEAL_URGENT } from './open-file.ts'
import type { OpenFile, SealLevel } from './open-file.ts'

export const DIRTY_AGE_MS = 3000
const TICK_MS = 500
/** A small file's pass waits until its bundle is full or a tenth of a second old: many at once fill
 *  bundles, few would wait for the clock. */
const PASSES_MAX = 256
/** Files up to this size are sealed on the engine's thread, between the requests of whoever closed
 *  them: while more come, they wait, as long and as many as this. */
const LATER_MAX_BYTES = 16 * 1024
const LATER_MAX_MS = 250
const LATER_MAX_FILES = 512
/** No file was closed for that long: then so many are sealed between two looks at the requests. */
const QUIET_MS = 10
const SLICE_FILES = 32
const SLICE_MS = 1
const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 30_000
/** When nobody comes who would make it sooner. */
const HELD_RETRY_MS = 30_000
/** Below this a partial pass could leave everything for later: chunks are at most half as long. */
const PARTIAL_MIN_BYTES = 1024 * 1024

export interface SealerPorts {
  tree: Tree
  content: ContentStore
  buffers: FileBuffers
  clock: Clock
  toErrno: (error: unknown, operation: string, ino: number) => number
  /** Bytes of disk that content may still take. */
  spaceBytes: (() => number) | undefined
  journal: Pick<JournalPort, 'trouble' | 'flush'> | undefined
  /** Writers get this errno from now on; 0 = they may write again. */
  refuseWrites: ((errno: number) => void) | undefined
  /** Whether other devices are to see changes at once. */
  isShared?: (() => boolean) | undefined
  held?: HeldContents | undefined
}

export class FileSealer {
  readonly #ports: SealerPorts
  readonly #idle: (file: OpenFile) => void
  readonly #mayPut: (file: OpenFile) => boolean
  /** Files with something dirty or unput, oldest first. */
  readonly #dirty = new Map<Ino, OpenFile>()
  #queue: OpenFile[] = []
  /** Oldest first. */
  #later: OpenFile[] = []
  #laterSinceMs = 0
  #laterTimer: Timer | undefined
  #closings = 0
  #passes = 0
  #timer: Timer | undefined
  #refusing = false
  #pressureFloorBytes: number | undefined
  #closed = false

  /** `mayPut`: a name (or the tree) still wants the content. `idle`: the file has come to rest. */
  constructor(
    ports: SealerPorts,
    mayPut: (file: OpenFile) => boolean,
    idle: (file: OpenFile) => void,
  ) {
    this.#ports = ports
    this.#mayPut = mayPut
    this.#idle = idle
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#laterTimer?.cancel()
  }

  /** Notes that the file has something to seal or to put; its age counts from now on. */
  markDirty(file: OpenFile): void {
    if (file.closed) return
    if (file.dirtySinceMs === undefined) {
      file.dirtySinceMs = this.#ports.clock.nowMs()
      this.#dirty.set(file.ino, file)
    }
    this.#arm()
  }

  /** True when content or size has not reached the tree. */
  isUnsealed(file: OpenFile): boolean {
    if (file.running || file.lock.held) return true
    return file.unput || this.#ports.buffers.isDirty(file.ino)
  }

  forget(file: OpenFile): void {
    file.dirtySinceMs = undefined
    this.#dirty.delete(file.ino)
  }

  /** True while passes run. */
  get busy(): boolean {
    return this.#passes > 0
  }

  /** Queues a pass; a greater level wins over a queued smaller one. Urgent ones start at once. */
  request(file: OpenFile, level: SealLevel): void {
    if (file.wanted < level) file.wanted = level
    if (file.running) return
    if (file.later) {
      this.#later = this.#later.filter((other) => other !== file)
      file.later = file.queued = false
    }
    if (level === SEAL_URGENT) {
      if (file.queued) this.#queue = this.#queue.filter((other) => other !== file)
      this.#start(file)
    } else if (!file.queued) {
      file.queued = true
      this.#queue.push(file)
      this.#pump()
    }
  }

  /** A final pass of a file that was closed. A small one leaves the engine to whoever makes the
   *  next file; when nobody has closed one for a moment, or it has waited long enough, it is
   *  sealed. */
  requestLater(file: OpenFile): void {
    this.#closings++
    if (file.running || file.queued || this.#ports.buffers.dirtyBytes(file.ino) > LATER_MAX_BYTES) {
      if (!file.later) this.request(file, SEAL_FINAL)
      return
    }
    if (file.wanted < SEAL_FINAL) file.wanted = SEAL_FINAL
    file.queued = file.later = true
    if (this.#later.length === 0) this.#laterSinceMs = this.#ports.clock.nowMs()
    this.#later.push(file)
    if (this.#later.length > LATER_MAX_FILES) this.#release(1)
    this.#armLater(QUIET_MS)
  }

  #armLater(delayMs: number): void {
    if (this.#laterTimer !== undefined || this.#closed || this.#later.length === 0) return
    const closings = this.#closings
    this.#laterTimer = this.#ports.clock.setTimer(delayMs, () => {
      this.#laterTimer = undefined
      const waitedMs = this.#ports.clock.nowMs() - this.#laterSinceMs
      const releases = this.#closings === closings || waitedMs > LATER_MAX_MS || waitedMs < 0
      if (releases) this.#release(SLICE_FILES)
      this.#armLater(releases ? SLICE_MS : QUIET_MS)
    })
  }

  /** The oldest `count` that wait are sealed now. */
  #release(count: number): void {
    for (const file of this.#later.splice(0, count)) {
      file.later = false
      this.#queue.push(file)
    }
    this.#pump()
  }

  /** As request(), resolved when a pass that froze after this call has put; rejects with its
   * error. */
  async seal(file: OpenFile, level: SealLevel): Promise<void> {
    assert(level >= SEAL_FINAL, 'seal: only whole passes can be waited for')
    return new Promise((resolve, reject) => {
      file.waiters.push({ resolve, reject })
      this.request(file, level)
    })
  }

  /** Writers wait for memory. */
  pressure(): void {
    const { dirtyBytes } = this.#ports.buffers.totals()
    this.#pressureFloorBytes = Math.floor(dirtyBytes / 2)
    this.#relieve()
  }

  #relieve(): void {
    const floor = this.#pressureFloorBytes
    if (floor === undefined || this.#closed) return
    if (this.#ports.buffers.totals().dirtyBytes <= floor) {
      this.#pressureFloorBytes = undefined
      return
    }
    let free = PASSES_MAX - this.#passes - this.#queue.length
    for (const file of this.#dirty.values()) {
      if (free <= 0) return
      const dirtyBytes = this.#ports.buffers.dirtyBytes(file.ino)
      if (dirtyBytes === 0 || !file.idle || this.#waitsForRetry(file)) continue
      this.request(file, dirtyBytes < PARTIAL_MIN_BYTES ? SEAL_FINAL : SEAL_PARTIAL)
      free--
    }
  }

  #waitsForRetry(file: OpenFile): boolean {
    return file.failures > 0 && this.#ports.clock.nowMs() < file.retryAtMs
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed || this.#dirty.size === 0) return
    this.#timer = this.#ports.clock.setTimer(TICK_MS, () => {
      this.#timer = undefined
      this.#tick()
      this.#arm()
    })
  }

  #tick(): void {
    const now = this.#ports.clock.nowMs()
    for (const file of this.#dirty.values()) {
      const isYoung = now - (file.dirtySinceMs ?? now) < DIRTY_AGE_MS
      if (isYoung && file.failures === 0 && !file.isHeld) break
      // a stream's passes may follow each other without a pause: the one that runs is told
      if (file.queued || now < file.retryAtMs) continue
      if (this.#mayPut(file)) this.request(file, SEAL_FINAL)
    }
    this.#relieve()
  }

  #pump(): void {
    while (this.#passes < PASSES_MAX) {
      const file = this.#queue.shift()
      if (file === undefined) return
      this.#start(file)
    }
  }

  #start(file: OpenFile): void {
    file.queued = false
    this.#passes++
    void this.#run(file)
  }

  /** Passes until nobody wants another. Never rejects: every error has an addressee. */
  async #run(file: OpenFile): Promise<void> {
    file.running = true
    while (file.wanted !== SEAL_NONE) {
      await file.lock.lock()
      const level = file.wanted
      const waiters = file.waiters
      file.wanted = SEAL_NONE
      file.waiters = []
      try {
        await this.pass(file, level, true)
        this.#succeeded(file)
        if (level >= SEAL_FINAL) this.#settleAge(file, true)
        for (const waiter of waiters) waiter.resolve()
      } catch (error) {
        this.#failed(file, error, waiters.length > 0)
        for (const waiter of waiters) waiter.reject(error)
      } finally {
        file.lock.unlock()
      }
    }
    file.running = false
    this.#passes--
    this.#settleAge(file, false)
    this.#pump()
    this.#relieve()
    this.#idle(file)
  }

  /** One pass, under the file's lock. With `put` and a final level the tree learns the content. */
  async pass(file: OpenFile, level: SealLevel, put: boolean): Promise<void> {
    const { buffers, content, journal } = this.#ports
    // what was sealed before waits there in RAM: nothing is added to it
    if (journal?.trouble !== undefined) await journal.flush()
    const final = level >= SEAL_FINAL
    file.askedAtFreeze = file.asked
    const job = this.#freeze(file)
    if (job !== undefined) {
      const urgent = level === SEAL_URGENT || (final && this.#isAloneAndAwaited())
      let sealedEnd: number
      try {
        sealedEnd = (await content.seal(file.working, job, { final, urgent })).sealedEnd
      } catch (error) {
        buffers.settle(job.job, false, 0)
        throw error
      }
      buffers.settle(job.job, true, sealedEnd)
      this.#tellHoles(file)
      assert(!final || sealedEnd >= endOf(job), 'seal: a final pass left a tail')
    }
    if (final && put) await this.#put(file)
  }

  /** A file that is saved by itself has no company in its bundle to wait for: others see it. */
  #isAloneAndAwaited(): boolean {
    if (this.#passes > 1 || this.#queue.length > 0 || this.#later.length > 0) return false
    return this.#ports.isShared?.() === true
  }

  #freeze(file: OpenFile): FrozenJob | undefined {
    const { buffers, spaceBytes } = this.#ports
    if (!buffers.isDirty(file.ino)) return undefined
    if (spaceBytes !== undefined && spaceBytes() < buffers.dirtyBytes(file.ino)) {
      throw new LatticeError('disk-full', 'no room for new content', {
        hint: 'free some space on the disk that holds the vault',
      })
    }
    const job = buffers.freeze(file.ino)
    if (job !== undefined) file.attr = job.attr
    return job
  }

  async #put(file: OpenFile): Promise<void> {
    const { tree, content, held } = this.#ports
    if (!this.#mayPut(file) || this.#isOutrun(file)) return
    if (file.unput) {
      let described: Content
      try {
        described = await content.describe(file.working)
      } catch (error) {
        if (await this.#hold(file, error)) return
        throw error
      }
      file.isHeld = false
      this.#tellHoles(file)
      file.owed = true
      if (!this.#mayPut(file) || this.#isOutrun(file)) return
      tree.put(file.ino, described, { ...this.#times(file), sizeBytes: file.working.sizeBytes })
      file.owed = file.promised = false
      held?.release(file)
      return
    }
    const node = tree.node(file.ino)
    const attr = this.#times(file)
    if (node === undefined) return
    const { mtimeSec, mtimeNsec } = node.attr
    if (mtimeSec === attr.mtimeSec && mtimeNsec === attr.mtimeNsec) return
    tree.setAttrs(file.ino, ATTR_MTIME, attr)
  }

  /** True when what is sealed of the file survives a crash, although it cannot be described: only
   *  the put is owed. Not while a rename waits for the put, and the queue for the rename: keeping
   *  would wait for the queue. What was kept before that stays. */
  async #hold(file: OpenFile, error: unknown): Promise<boolean> {
    const { held, clock } = this.#ports
    if (held === undefined || file.promised || !isElsewhere(error)) return false
    if (!(await held.keep(file, { ...this.#times(file), sizeBytes: file.working.sizeBytes }))) {
      return false
    }
    file.isHeld = true
    file.retryAtMs = clock.nowMs() + HELD_RETRY_MS
    return true
  }

  /** Others came, or know more: what waits for their content may go on. */
  retryHeld(): void {
    for (const file of this.#dirty.values()) if (file.isHeld) file.retryAtMs = 0
  }

  /** What is not known of a tree that was opened stays unknown until it is described. */
  #tellHoles(file: OpenFile): void {
    const { buffers, content } = this.#ports
    const { working } = file
    buffers.setBaseHoles(file.ino, content.holeBytes(working), working.sizeBytes)
  }

  /** A rename over a file came after the freeze, and so did bytes that it brings: the pass that it
   *  asked for puts. */
  #isOutrun(file: OpenFile): boolean {
    return file.asked !== file.askedAtFreeze && this.#ports.buffers.isDirty(file.ino)
  }

  /** The record's attributes: an explicit time set since the freeze counts. */
  #times(file: OpenFile): Attr {
    return this.#ports.buffers.attrs(file.ino) ?? file.attr
  }

  /** What is dirty after a whole pass came during it; after a partial one it keeps its age. */
  #settleAge(file: OpenFile, whole: boolean): void {
    if (!file.unput && !this.#ports.buffers.isDirty(file.ino)) {
      this.forget(file)
      return
    }
    if (whole && file.failures === 0 && !file.isHeld) this.forget(file)
    this.markDirty(file)
  }

  #succeeded(file: OpenFile): void {
    file.failures = 0
    if (!file.isHeld) file.retryAtMs = 0
    if (!this.#refusing) return
    this.#refusing = false
    this.#ports.refuseWrites?.(0)
  }

  #failed(file: OpenFile, error: unknown, someoneWaits: boolean): void {
    const { buffers, clock, toErrno } = this.#ports
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** file.failures)
    file.failures++
    file.retryAtMs = clock.nowMs() + delayMs
    const number = toErrno(error, 'seal', file.ino)
    if (!someoneWaits) buffers.reportError(file.ino, number)
    this.markDirty(file)
    if (!isLatticeError(error, 'disk-full') || this.#refusing) return
    this.#refusing = true
    this.#ports.refuseWrites?.(number)
  }
}

function isElsewhere(error: unknown): boolean {
  return isLatticeError(error, 'not-available') || isLatticeError(error, 'chunk-missing')
}

function endOf(job: FrozenJob): number {
  const last = job.extents.at(-1)
  return last === undefined ? 0 : last.offset + last.length
}
