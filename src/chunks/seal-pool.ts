// The seal backend on worker threads: lanes, one worker and one writer each. A request goes to the
// lane with the fewest bytes waiting; cutting one window of a stream and sealing the one before it
// thus run side by side. Workers start with the first request and end after a while of idleness,
// when everything of theirs is durable, which gives their memory back.

import type { Worker } from 'node:worker_threads'
import { wipe } from '../crypto/secret.ts'
import { copyBytes } from '../util/bytes.ts'
import { LatticeError } from '../util/errors.ts'
import { startWorker } from '../util/start-worker.ts'
import type { Clock, Timer } from './content-store-ports.ts'
import type { FrozenSource } from './seal-frozen.ts'
import { BUNDLE_OPEN_MS, CUT_WINDOW_BYTES } from './seal-protocol.ts'
import type {
  CutRequest,
  CutResult,
  Moved,
  SealBackend,
  SealKeys,
  SealRequest,
  SealResult,
} from './seal-protocol.ts'
import type { WorkerInit, WorkerReply, WorkerRequest, WorkerTask } from './seal-worker.ts'

export type SealPoolOptions = {
  keys: SealKeys
  frozen: FrozenSource
  /** packs/; each lane writes to packs/<writer>. */
  directory: string
  writers: number[]
  /** Where a writer goes on (PackStore.nextOf), asked when its worker starts. */
  nextOf: (writer: number) => { nextNumber: number; previousNumber: number; previousBytes: number }
  /** Makes durable what a writer has written that is gone (PackStore.syncLast). */
  syncLast: (writer: number) => Promise<void>
  clock: Clock
  idleMs?: number
}

const IDLE_MS = 20_000
/** A lane that has a window at hand is preferred until it is so far behind the other. */
const LANE_LEAD_BYTES = 2 * CUT_WINDOW_BYTES

export class SealPool implements SealBackend {
  readonly #lanes: Lane[]
  #moved: (moved: Moved) => void = () => {}
  #closed = false

  constructor(options: SealPoolOptions) {
    this.#lanes = options.writers.map(
      (writer) => new Lane(options, writer, (moved) => this.#moved(moved)),
    )
  }

  onMoved(listener: (moved: Moved) => void): void {
    this.#moved = listener
  }

  async cut(request: CutRequest): Promise<CutResult> {
    const { ranges } = request
    let bytes = 0
    for (let i = 0; i < ranges.length; i += 2) {
      bytes += (ranges[i + 1] as number) - (ranges[i] as number)
    }
    const lane = this.#leastBusy()
    const result = (await lane.ask({ kind: 'cut', request }, bytes)) as CutResult
    result.lane = this.#lanes.indexOf(lane)
    return result
  }

  async seal(request: SealRequest): Promise<SealResult> {
    let bytes = 0
    for (const length of request.lengths) bytes += length
    const least = this.#leastBusy()
    const near = this.#lanes[request.lane ?? -1] ?? least
    const lane = near.busyBytes > least.busyBytes + LANE_LEAD_BYTES ? least : near
    return (await lane.ask({ kind: 'seal', request }, bytes)) as SealResult
  }

  async flush(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.flush()))
  }

  async sync(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.sync()))
  }

  /** From now on this epoch seals. `keys` stay the caller's; only epoch and bundle key count. */
  useEpoch(keys: SealKeys): void {
    if (this.#closed) return
    for (const lane of this.#lanes) lane.useEpoch(keys)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all(this.#lanes.map((lane) => lane.close()))
  }

  #leastBusy(): Lane {
    if (this.#closed) throw new LatticeError('closed', 'the seal workers are closed')
    return this.#lanes.reduce((best, lane) => (lane.busyBytes < best.busyBytes ? lane : best))
  }
}

type Waiter = {
  bytes: number
  isSeal: boolean
  resolve: (result: CutResult | SealResult | undefined) => void
  reject: (error: Error) => void
}

class Lane {
  readonly #options: SealPoolOptions
  readonly #writer: number
  #keys: SealKeys
  readonly #moved: (moved: Moved) => void
  readonly #waiting = new Map<number, Waiter>()
  #worker: Worker | undefined
  #stopping: Promise<unknown> | undefined
  #queue: WorkerRequest[] = []
  #seq = 0
  #closeTimer: Timer | undefined
  #idleTimer: Timer | undefined
  /** Something was reported as written that no sync has followed. */
  #isDirty = false
  /** The sync begun last, while it runs: what it covers is not durable before it ends. */
  #syncing: Promise<void> | undefined
  /** A worker died: what it had written is in files, and perhaps not on the disk. */
  #isAbandoned = false
  busyBytes = 0

  constructor(options: SealPoolOptions, writer: number, moved: (moved: Moved) => void) {
    this.#options = options
    this.#writer = writer
    this.#keys = options.keys
    this.#moved = moved
  }

  useEpoch(keys: SealKeys): void {
    this.#keys = keys // for the next worker
    if (this.#worker === undefined && this.#queue.length === 0) return
    const bundleKey = copyBytes(keys.bundleKey)
    const { epochId } = keys
    this.ask({ kind: 'epoch', epochId, bundleKey }, 0)
      .catch(() => {}) // a worker that died starts again with the new keys
      .finally(() => wipe(bundleKey))
  }

  ask(task: WorkerTask, bytes: number): Promise<CutResult | SealResult | undefined> {
    if (task.kind === 'seal' && !task.request.urgent) this.#armClose()
    return new Promise((resolve, reject) => {
      const seq = this.#seq++
      this.#waiting.set(seq, { bytes, isSeal: task.kind === 'seal', resolve, reject })
      this.busyBytes += bytes
      this.#idleTimer?.cancel()
      if (this.#queue.push({ seq, task }) === 1) queueMicrotask(() => this.#post())
    })
  }

  async flush(): Promise<void> {
    if (this.#worker !== undefined || this.#queue.length > 0) await this.ask({ kind: 'flush' }, 0)
  }

  /** Everything reported as written before the call is durable when it resolves. */
  sync(): Promise<void> {
    if (!this.#isDirty) return this.#syncing ?? Promise.resolve()
    this.#isDirty = false
    const syncing = this.#syncNow().finally(() => {
      if (this.#syncing === syncing) this.#syncing = undefined
    })
    this.#syncing = syncing
    return syncing
  }

  async #syncNow(): Promise<void> {
    try {
      if (this.#isAbandoned) await this.#options.syncLast(this.#writer)
      this.#isAbandoned = false
      await this.ask({ kind: 'sync' }, 0)
    } catch (error) {
      this.#isDirty = true
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closeTimer?.cancel()
    await this.#stop()
    this.#idleTimer?.cancel()
  }

  #post(): void {
    if (this.#stopping !== undefined) {
      void this.#stopping.finally(() => this.#post())
      return
    }
    const requests = this.#queue.splice(0)
    if (requests.length === 0) return
    this.#worker ??= this.#start()
    this.#worker.ref()
    this.#worker.postMessage(requests)
  }

  #armClose(): void {
    this.#closeTimer ??= this.#options.clock.setTimer(BUNDLE_OPEN_MS, () => {
      this.#closeTimer = undefined
      this.flush().catch(() => {}) // told to those who wait for their chunks
    })
  }

  #start(): Worker {
    const { frozen, directory } = this.#options
    const copies = copyKeys(this.#keys)
    const init: WorkerInit = {
      keys: copies.keys,
      frozen,
      directory: `${directory}/${this.#writer}`,
      writer: this.#writer,
      ...this.#options.nextOf(this.#writer),
    }
    const options = { workerData: init, transferList: [copies.buffer] }
    const worker = startWorker(import.meta.url, './seal-worker', options)
    worker.on('message', (replies: WorkerReply[]) => {
      for (const reply of replies) this.#settle(reply)
    })
    worker.on('error', (error) => this.#died(worker, error))
    worker.on('exit', () => this.#died(worker, new Error('the worker ended')))
    return worker
  }

  #settle(reply: WorkerReply): void {
    if ('moved' in reply) {
      this.#moved(reply.moved)
      return
    }
    const waiter = this.#waiting.get(reply.seq)
    if (waiter === undefined) return
    this.#waiting.delete(reply.seq)
    this.busyBytes -= waiter.bytes
    if (waiter.isSeal) this.#isDirty = true
    if ('error' in reply) {
      const { code, message, details } = reply.error
      waiter.reject(new LatticeError(code, message, { details }))
    } else waiter.resolve(reply.result)
    if (this.#waiting.size === 0) this.#rest()
  }

  /** Nothing waits: the process may end, and after a while the worker does. */
  #rest(): void {
    if (this.#worker === undefined) return
    this.#worker.unref()
    this.#idleTimer?.cancel()
    const idleMs = this.#options.idleMs ?? IDLE_MS
    this.#idleTimer = this.#options.clock.setTimer(idleMs, () => {
      if (this.#waiting.size === 0) void this.#stop().catch(() => {})
    })
  }

  async #stop(): Promise<void> {
    if (this.#worker === undefined && this.#waiting.size === 0) return
    if (this.#waiting.size > 0 || this.#queue.length > 0) await this.ask({ kind: 'flush' }, 0)
    await this.sync()
    const worker = this.#worker
    if (worker === undefined) return
    const ended = this.ask({ kind: 'close' }, 0)
    this.#post()
    this.#stopping = ended.catch(() => {}).then(() => {
      this.#worker = undefined
      this.#idleTimer?.cancel()
      worker.removeAllListeners()
      return worker.terminate()
    })
    await this.#stopping
    this.#stopping = undefined
    await ended
  }

  #died(worker: Worker, cause: Error): void {
    if (this.#worker !== worker) return
    worker.removeAllListeners()
    this.#worker = undefined
    const error = new LatticeError('internal', 'a seal worker died', { cause })
    this.#isAbandoned = this.#isDirty = true
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    this.busyBytes = 0
  }
}

/** Copies in one buffer that moves to the worker: no copy stays on this side. */
function copyKeys(keys: SealKeys): { keys: SealKeys; buffer: ArrayBuffer } {
  const names = ['vaultId', 'epochId', 'sealer', 'bundleKey', 'idKey', 'cutKey'] as const
  const sizeBytes = names.reduce((sum, name) => sum + keys[name].length, 0)
  const buffer = new ArrayBuffer(sizeBytes)
  const copies = { ...keys }
  let at = 0
  for (const name of names) {
    const copy = new Uint8Array(buffer, at, keys[name].length)
    copy.set(keys[name])
    copies[name] = copy
    at += copy.length
  }
  return { keys: copies, buffer }
}
