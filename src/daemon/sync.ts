// A vault's other devices, as the engine's thread has them (peers.ts): what to publish goes out,
// what comes in is adopted, what is missing is asked for. The work is done in the sync worker,
// which runs only while somebody else belongs to the vault; it is started again when it dies.
//
// Invariants: nothing at mount waits for it; when it is closed everything received is durable.

import { setImmediate as pause, setTimeout as delay } from 'node:timers/promises'
import { MessageChannel } from 'node:worker_threads'
import type { MessagePort, Worker } from 'node:worker_threads'
import type { AwayBundle } from '../chunks/chunk-index-port.ts'
import type { FoundBundle, PackStretch } from '../chunks/pack-scout.ts'
import { RECEIVED_WRITER } from '../chunks/bundle-receiver.ts'
import { ContentPublisher } from '../logs/content-publisher.ts'
import { LogClient } from '../logs/log-client.ts'
import type { LogChannel } from '../logs/log-messages.ts'
import type { AuthorId, BundleId } from '../ops/types.ts'
import { LatticeError } from '../util/errors.ts'
import type { AppliedLog } from '../net/messages.ts'
import { startWorker } from '../util/start-worker.ts'
import type { Urgency } from '../vault/content.ts'
import type { Engine } from './engine.ts'
import { JournalBlocks } from './journal-blocks.ts'
import type { KnownAddresses } from './known-addresses.ts'
import { LazyLogs } from './lazy-logs.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import type { Peers } from './peers.ts'
import { RemoteDoors } from './remote-doors.ts'
import { SignedHeads } from './signed-heads.ts'
import { contentKeysOf, isShared, networkKeysOf } from './sync-keys.ts'
import type { KnownDevice } from './sync-keys.ts'
import type {
  EngineTable, NetworkChoices, NetworkStatus, ServedPlace, SyncWorkerInit, WorkerTable,
} from './sync-protocol.ts'
import { WorkerCalls } from './worker-calls.ts'
import type { Handlers } from './worker-calls.ts'

/** A reader waits so long for content that others hold. */
const FETCH_TIMEOUT_MS = 15_000
/** How often, and for how long, whoever waits for others looks whether there are any. */
const LOOK_MS = 1000
const LOOKS_MAX = 15
const RESTART_MS = 5000
const RESTART_MAX_MS = 300_000
/** How soon others hear what of theirs is applied and durable here. */
const APPLIED_EVERY_MS = 500
const CLOSE_TIMEOUT_MS = 10_000
const COUNT_TIMEOUT_MS = 1000
/** What is not published at an unmount is at the next mount. */
const PUBLISH_TIMEOUT_MS = 5000

export interface SyncOptions {
  choices: NetworkChoices
  /** Devices that count as members until control ops tell who is one: who let this device in. */
  known: readonly KnownDevice[]
  /** From one start to the next. Closed with this. */
  addresses: KnownAddresses
  log: Log
}

interface Running {
  worker: Worker
  calls: WorkerCalls<WorkerTable, EngineTable>
  client: LogClient
  heads: SignedHeads
}

interface Started {
  worker: Worker
  calls: WorkerCalls<WorkerTable, EngineTable>
  logsPort: MessagePort
  /** Rejects when the worker is gone. */
  ended: Promise<never>
  trouble: (error: unknown) => void
}

export class VaultSync implements Peers {
  readonly logs = new LazyLogs()
  /** What pairing needs of the network. */
  readonly doors = new RemoteDoors()
  readonly #options: SyncOptions
  #engine: Engine | undefined
  #running: Promise<Running> | undefined
  #calls: WorkerCalls<WorkerTable, EngineTable> | undefined
  #content: ContentPublisher | undefined
  #isReceivedDirty = false
  /** A worker that is started anew is told, too. */
  #givingUp: readonly BundleId[] = []
  /** Somebody is about to be let in. */
  #isInviting = false
  #isUpdating = false
  #isClosed = false
  #restart: NodeJS.Timeout | undefined
  #restartMs = RESTART_MS / 2
  #startedMs = 0
  #appliedTimer: NodeJS.Timeout | undefined
  /** Told to the worker that runs. */
  readonly #applied = new Map<AuthorId, number>()
  #listener: () => void = () => undefined

  constructor(options: SyncOptions) {
    this.#options = options
  }

  /** Begins, now that there is an engine. Nothing is waited for. */
  serve(engine: Engine): void {
    this.#engine = engine
    engine.keys.onMembers(() => this.#updateSoon())
    this.#update()
  }

  /** Runs although the device is alone, since somebody may join: listens when it resolves. */
  async startInviting(): Promise<void> {
    this.#isInviting = true
    this.#update()
    await this.#running
  }

  /** Told when devices come or go. */
  onChange(listener: () => void): void {
    this.#listener = listener
  }

  // ---- Peers ----

  isWanted(): boolean {
    return !this.#isClosed && this.logs.isConnected
  }

  scout(stretch: PackStretch): Promise<FoundBundle[]> {
    return this.#asked().ask('scout', stretch)
  }

  async fetch(bundles: readonly AwayBundle[], urgency: Urgency): Promise<void> {
    if (this.#calls === undefined) {
      throw new LatticeError('not-available', 'no other device can be asked for it')
    }
    const question = { bundles, priority: urgency, timeoutMs: FETCH_TIMEOUT_MS }
    await this.#calls.ask('fetch', question)
  }

  async alone(): Promise<void> {
    for (let looks = 0, alone = 0; looks < LOOKS_MAX && alone < 2; looks++) {
      await delay(LOOK_MS, undefined, { ref: false })
      const status = await this.status().catch(() => undefined)
      const isAlone = status === undefined || (status.peers.length === 0 && !status.isExpecting)
      alone = isAlone ? alone + 1 : 0
    }
  }

  async publishContent(): Promise<void> {
    await this.#content?.publish()
  }

  async syncReceived(): Promise<void> {
    if (!this.#isReceivedDirty || this.#calls === undefined) return
    this.#isReceivedDirty = false
    try {
      await this.#calls.ask('syncReceived', undefined)
    } catch (error) {
      this.#isReceivedDirty = true
      throw error
    }
  }

  // ---- for people ----

  async status(): Promise<NetworkStatus | undefined> {
    return this.#calls?.ask('status', undefined)
  }

  /** How many devices are connected; 0 also when the worker takes long to say. */
  async count(): Promise<number> {
    const status = await inTime(this.status(), COUNT_TIMEOUT_MS).catch(() => undefined)
    return status?.peers.length ?? 0
  }

  /** Of each bundle whether the device proves that it holds it now. `takesWord`: of what is not
   *  here to compare with, whether it says so. */
  async prove(
    device: AuthorId, bundles: readonly BundleId[], { takesWord = false } = {},
  ): Promise<boolean[]> {
    return this.#asked().ask('prove', { device, bundles, takesWord })
  }

  /** Others must not rely on this device for these bundles any more, instead of those before. */
  async givingUp(bundles: readonly BundleId[]): Promise<void> {
    this.#givingUp = bundles
    await this.#calls?.ask('givingUp', bundles)
  }

  /** They are here no more; nobody reads them when it resolves. */
  async forget(bundles: readonly BundleId[]): Promise<void> {
    await this.#calls?.ask('forget', bundles)
  }

  async pause(isPaused: boolean): Promise<void> {
    await this.#calls?.ask('pause', isPaused)
  }

  /** All that was done so far is in the logs, or it takes too long. */
  async publishAll(): Promise<void> {
    const engine = this.#engine
    if (engine === undefined) return
    const published = engine.sync().then(() => engine.core.pump())
    try {
      await inTime(published, PUBLISH_TIMEOUT_MS)
    } catch (error) {
      this.#options.log.warn(loggable(error), 'not everything is published')
    }
  }

  /** Everything received is durable. The engine is closed after it. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#restart)
    clearTimeout(this.#appliedTimer)
    this.logs.disconnect()
    this.doors.disconnect()
    await this.#options.addresses.close()
    const running = await this.#running?.catch(() => undefined)
    if (running === undefined) return
    const { calls, client, worker, heads } = running
    worker.removeAllListeners('exit')
    try {
      await inTime(heads.close(), CLOSE_TIMEOUT_MS)
      await inTime(calls.ask('close', undefined), CLOSE_TIMEOUT_MS)
      this.#isReceivedDirty = false
    } catch (error) {
      this.#options.log.warn(loggable(error), 'the sync worker did not close')
    }
    client.close()
    calls.close()
    this.#calls = undefined
    await worker.terminate()
  }

  /** For tests of what happens when the worker dies. */
  async testEndWorker(): Promise<void> {
    const running = await this.#running
    await running?.worker.terminate()
  }

  // ---- life of the worker ----

  #updateSoon(): void {
    if (this.#isUpdating) return
    this.#isUpdating = true
    setImmediate(() => {
      this.#isUpdating = false
      this.#update()
    })
  }

  /** Members or keys may be others than before. */
  #update(): void {
    const engine = this.#engine
    if (engine === undefined || this.#isClosed) return
    if (this.#running === undefined) {
      if (this.#isInviting || isShared(engine)) this.#start(engine)
      return
    }
    const keys = networkKeysOf(engine, this.#options.known)
    this.#calls?.tell('setKeys', { keys, content: contentKeysOf(engine.keys) })
  }

  #start(engine: Engine): void {
    const { log } = this.#options
    this.#startedMs = performance.now()
    this.#running = this.#run(engine)
    this.#running.then(
      ({ client }) => {
        if (!this.#isClosed) this.logs.connect(client)
      },
      (error: unknown) => {
        log.error(loggable(error), 'the sync worker does not start')
        this.#startAgain(engine)
      },
    )
  }

  /** Once for each worker, when it is gone. What dies soon is started less and less often. */
  #startAgain(engine: Engine): void {
    this.logs.disconnect()
    this.doors.disconnect()
    this.#calls = undefined
    if (this.#isClosed) return
    const hasLived = performance.now() - this.#startedMs > RESTART_MAX_MS
    this.#restartMs = hasLived ? RESTART_MS : Math.min(RESTART_MAX_MS, this.#restartMs * 2)
    this.#restart = setTimeout(() => {
      this.#running = undefined
      if (!this.#isClosed) this.#start(engine)
    }, this.#restartMs)
    this.#restart.unref()
  }

  /** Rejects when the worker does not start; it is gone then. Two at once would share the logs. */
  async #run(engine: Engine): Promise<Running> {
    const { log } = this.#options
    const { port1: logsPort, port2: workerPort } = new MessageChannel()
    const init = this.#init(engine)
    const worker = startWorker(import.meta.url, './sync-worker', {
      workerData: { init, logsPort: workerPort }, transferList: [workerPort],
    })
    worker.unref()
    const trouble = (error: unknown): void => log.warn(loggable(error), 'the sync worker')
    const calls = new WorkerCalls<WorkerTable, EngineTable>(
      worker as unknown as ConstructorParameters<typeof WorkerCalls>[0],
      this.#handlers(engine), trouble,
    )
    const ended = new Promise<never>((_, reject) => {
      worker.once('error', (error) => reject(error))
      worker.once('exit', () => reject(new LatticeError('closed', 'the sync worker has ended')))
    })
    ended.catch(() => undefined)
    try {
      const connected = this.#connect(engine, { worker, calls, logsPort, ended, trouble })
      const running = await Promise.race([ended, connected])
      worker.once('exit', () => {
        log.warn('the sync worker died, and is started again')
        calls.close()
        this.#startAgain(engine)
      })
      return running
    } catch (error) {
      calls.close()
      await worker.terminate()
      throw error
    }
  }

  async #connect(engine: Engine, started: Started): Promise<Running> {
    const { worker, calls, logsPort, ended, trouble } = started
    const { log } = this.#options
    const blocks = new JournalBlocks(engine.core.store, engine.journal, engine.index.bundles)
    const client = await Promise.race([
      ended,
      LogClient.open({
        channel: logsPort as unknown as LogChannel,
        own: engine.keys.author,
        source: blocks,
        onTrouble: trouble,
      }),
    ])
    const heads = new SignedHeads({
      client, journal: engine.journal, pause, onTrouble: trouble,
      applied: (author, kind) => (
        kind === 'ops'
          ? engine.core.applier.length(author)
          : blocks.contentLength(author, client.contentLength(author))
      ),
    })
    worker.once('exit', () => {
      heads.stop()
      client.close()
    })
    const restoring = client.isNew ? heads.restore().catch(trouble) : undefined
    await Promise.race([ended, restoring])
    calls.tell('restored', undefined)
    client.onFork(({ author, kind, theirs }) => {
      if (author !== engine.keys.author || kind !== 'ops') return
      log.error('the own log is another one elsewhere: this is a restored backup, or a copy')
      engine.core.replica?.noteOwnFork(theirs.length)
      engine.core.pump().catch(trouble) // tells that nothing more may be written
    })
    this.#content = new ContentPublisher({
      log: client,
      descriptors: (from) => blocks.descriptors(engine.keys.author, from),
      onFork: () => log.warn('the own content log is another one: it is published no more'),
    })
    this.#calls = calls
    calls.tell('givingUp', this.#givingUp) // it may have changed while the worker started
    this.#applied.clear()
    this.#tellAppliedSoon(engine)
    this.#update() // what became known while it started
    const { addresses } = await calls.ask('status', undefined)
    const [own] = addresses
    if (own !== undefined) this.#options.addresses.listensAt(own.port)
    this.doors.connect((message) => calls.tell('door', message), addresses)
    return { worker, calls, client, heads }
  }

  #tellAppliedSoon(engine: Engine): void {
    clearTimeout(this.#appliedTimer)
    if (this.#isClosed) return
    this.#appliedTimer = setTimeout(() => {
      const told = this.#tellApplied(engine).catch((error: unknown) => {
        this.#options.log.warn(loggable(error), 'others are not told what is stored here')
      })
      void told.then(() => this.#tellAppliedSoon(engine))
    }, APPLIED_EVERY_MS)
    this.#appliedTimer.unref()
  }

  async #tellApplied(engine: Engine): Promise<void> {
    const fresh: AppliedLog[] = []
    for (const [author, { length }] of engine.core.store.meta.authors) {
      if (author === engine.keys.author || this.#applied.get(author) === length) continue
      fresh.push({ author, kind: 'ops', length })
    }
    if (fresh.length === 0) return
    await engine.journal.flush()
    for (const { author, length } of fresh) this.#applied.set(author, length)
    this.#calls?.tell('applied', fresh)
  }

  #init(engine: Engine): SyncWorkerInit {
    const { keys, packs, state } = engine
    return {
      vaultId: keys.coreKeys.vaultId.slice(),
      logs: state.logs,
      packs: state.packs,
      keys: networkKeysOf(engine, this.#options.known),
      content: contentKeysOf(keys),
      idKey: keys.isBlind ? undefined : keys.sealKeys().idKey.slice(),
      received: packs.nextOf(RECEIVED_WRITER),
      choices: this.#options.choices,
      givingUp: this.#givingUp,
      lastPort: this.#options.addresses.port,
      addresses: this.#options.addresses.all(),
    }
  }

  #handlers(engine: Engine): Handlers<EngineTable> {
    const { index, packs, content } = engine
    const { log } = this.#options
    return {
      places: (ids) => ids.map((id): ServedPlace | undefined => {
        const place = index.bundles.get(id)
        return place && { ...place, path: packs.pathOf(place.file) }
      }),
      received: (bundle) => {
        this.#isReceivedDirty = true
        index.bundles.put(bundle.id, bundle.place)
        content.adopt(bundle)
        engine.checkpointer.touch()
      },
      stream: (message) => this.doors.receive(message),
      peersChanged: () => this.#listener(),
      addressesTold: ({ device, addresses }) => this.#options.addresses.told(device, addresses),
      log: ({ level, message, fields }) => log[level]({ ...fields }, message),
    }
  }

  #asked(): WorkerCalls<WorkerTable, EngineTable> {
    if (this.#calls !== undefined) return this.#calls
    throw new LatticeError('closed', 'the sync worker does not run')
  }
}

/** Rejects 'timeout'. */
async function inTime<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LatticeError('timeout', 'no answer in time')), timeoutMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
