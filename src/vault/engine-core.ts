// The engine of one vault, composed from ports only: state, journal, commits, checkpoints, what
// others did, publishing. The daemon puts content, files and the kernel around it; the simulator
// runs it on simulated ports. Opening brings the index up to the end of the journal.
//
// Invariants: one core per journal and index; the order in the journal is the order in which
// everything was applied; what control ops change takes effect only while nothing local is
// unplaced.

import type { PackMark } from '../chunks/pack-store.ts'
import type { Op, OpRef } from '../ops/types.ts'
import { FACTS_MEMBERS, Facts, encodeFacts } from '../state/facts.ts'
import { Fold } from '../state/fold.ts'
import type { FoldContext, ViewChanges } from '../state/fold-pass.ts'
import type { Store } from '../state/store.ts'
import { Announcer } from './announcer.ts'
import type { AnnouncerOptions } from './announcer.ts'
import { Applier, EVERYONE } from './applier.ts'
import type { ApplierOptions, FoldMembers } from './applier.ts'
import { CHECKPOINT_CHANGES, Checkpointer } from './checkpoint.ts'
import type { StateIndex } from './checkpoint.ts'
import { Committer } from './committer.ts'
import { ControlAhead } from './control-ahead.ts'
import type { ContentStore } from './content.ts'
import { History } from './history.ts'
import { Incoming } from './incoming.ts'
import type { Waiting } from './incoming.ts'
import { sealFacts } from './journal-batch.ts'
import type { JournalKeys } from './journal-batch.ts'
import { CommitCuts, JournalReplay, decodeResume, encodeResume } from './journal-replay.ts'
import { LiveTree } from './live-tree.ts'
import type { OperationQueue } from './live-tree.ts'
import type {
  Clock, JournalGate, JournalPort, JournalPosition, JournalRecord, KeyPort, LogPort, MembersView,
  Random,
} from './ports.ts'
import { JOURNAL_FACTS } from './ports.ts'
import { Publisher } from './publisher.ts'
import { replayInto, settle } from './rebuild.ts'
import type { ReplayResult } from './rebuild.ts'
import { Replica } from './replica.ts'
import type { Owner } from './tree-records.ts'

export interface CoreKeys extends JournalKeys, KeyPort {}

export interface StateOptions {
  index: StateIndex
  journal: Pick<JournalPort, 'read'>
  keys: CoreKeys
  /** Everyone counts when it is not given. */
  foldMembers?: FoldMembers | undefined
  /** Whether a file is open here under the ino. */
  isOpen?: ((ino: number) => boolean) | undefined
  /** Told what others' ops change in the view. */
  changes?: ViewChanges | undefined
  /** Told of the ops of each batch that is applied, own ones included. */
  noted?: ApplierOptions['noted']
}

/** What the announcer needs beside the core, and whether there is anybody to announce to. */
export interface Announcing
  extends Pick<AnnouncerOptions, 'bundles' | 'content' | 'looseIn' | 'scout' | 'packs'> {
  /** False: nothing is announced or published. */
  isWanted: () => boolean
  /** Publishes what was announced, for those who cannot read the announcements. */
  publishContent: () => Promise<void>
}

export interface EngineCoreOptions extends StateOptions {
  journal: JournalPort & {
    /** What was proved durable at opening. */
    readonly durableEnd: JournalPosition
    setGate?(gate: JournalGate): void
  }
  clock: Clock
  random: Random
  content: Pick<ContentStore, 'sync'>
  owner: Owner
  /** Lets everything else that is due run (a turn of the loop). */
  pause: () => Promise<void>
  /** Undefined: this device is alone, and publishes nothing. */
  logs?: LogPort | undefined
  /** How content is announced before what names it is published; none when not given. */
  announcing?: Announcing | undefined
  /** Whoever opens it calls pump(): nothing starts by itself when logs grow or batches are
   *  durable. */
  isManual?: boolean
  /** Nothing is written: neither journal nor index. */
  readOnly?: boolean
  /** Numbers of control ops that this lattice knows. All when not given. */
  knowsControl?: ((control: number) => boolean) | undefined
  /** Told of loose chunks that are met in the journal at opening. */
  loose?: ((record: JournalRecord) => void) | undefined
  /** Packs that are in the index wholly, at the time of the call. */
  marks?: ((isClosing: boolean) => PackMark[]) | undefined
  /** Told when `mayWrite` changes, and at opening. */
  onMayWrite?: ((mayWrite: boolean) => void) | undefined
  /** Told of failures that nobody waits for. */
  onTrouble: (error: unknown) => void
}

/** State of a vault over an index, and who applies to it. Nothing is replayed yet. */
export interface CoreState {
  store: Store
  history: History
  applier: Applier
  fold: Fold
}

export function openState(options: StateOptions): CoreState {
  const { index, journal, keys, noted, foldMembers = () => EVERYONE } = options
  const { store } = index
  const history = new History({ store, journal, keys })
  const own = keys.author
  const applier = new Applier({ store, history, own, keys, foldMembers, noted })
  const context: FoldContext = {
    standing: (author, seq) => applier.members.standing(author, seq),
    label: (author) => applier.members.label(author),
    history: (record) => history.of(record),
    isOpen: (ino) => options.isOpen?.(ino) ?? false,
    changes: options.changes ?? UNHEARD,
  }
  const fold = new Fold(store, keys.ids, context)
  applier.setFold(fold)
  return { store, history, applier, fold }
}

const UNHEARD: ViewChanges = {
  entry: () => undefined,
  node: () => undefined,
  content: () => undefined,
  detached: () => undefined,
}

export class EngineCore {
  readonly index: StateIndex
  readonly store: Store
  readonly history: History
  readonly applier: Applier
  readonly fold: Fold
  readonly committer: Committer
  readonly checkpointer: Checkpointer
  readonly tree: LiveTree
  readonly replica: Replica | undefined
  readonly publisher: Publisher | undefined
  readonly announcer: Announcer | undefined
  /** What opening replayed. */
  readonly replayed: ReplayResult
  readonly #options: EngineCoreOptions
  #incoming: Incoming | undefined
  #order = 0
  /** Asked before every change: holds until members change, or the own log comes to `until`. */
  #standing: { members: MembersView | undefined; isValid: boolean; until: number } = {
    members: undefined, isValid: false, until: 0,
  }
  #toldMayWrite: boolean | undefined
  #isClosing = false
  #isInTree = false
  #closing: Promise<void> | undefined

  private constructor(options: EngineCoreOptions, state: CoreState, replayed: ReplayResult) {
    this.#options = options
    this.index = options.index
    this.store = state.store
    this.history = state.history
    this.applier = state.applier
    this.fold = state.fold
    this.replayed = replayed
    this.committer = this.#makeCommitter()
    this.history.findUnplaced = (ref) => this.committer.findUnplaced(ref)
    options.journal.setGate?.(this.committer)
    this.checkpointer = this.#makeCheckpointer()
    const { logs } = options
    this.replica = logs === undefined ? undefined : this.#makeReplica(logs)
    this.announcer = logs === undefined ? undefined : this.#makeAnnouncer(logs)
    this.publisher = logs === undefined ? undefined : this.#makePublisher(logs)
    const { keys, clock, owner } = options
    this.tree = new LiveTree({
      store: this.store, queue: this.#queue(), ids: keys.ids, author: keys.author, clock, owner,
      fold: this.fold,
    })
  }

  /**
   * Replays what the index does not have, brings back what only the own log has, and publishes what
   * the log lacks. Throws 'damaged-journal', 'missing-key', and what the ports throw.
   */
  static async open(options: EngineCoreOptions): Promise<EngineCore> {
    const live: { tree?: LiveTree } = {}
    const state = openState({ ...options, changes: withDetached(options.changes ?? UNHEARD, live) })
    const replayed = await catchUp(options, state)
    const core = new EngineCore(options, state, replayed)
    live.tree = core.tree
    if (options.readOnly === true) return core
    core.#refold()
    core.#tellMayWrite()
    const { logs } = options
    if (logs === undefined) return core
    logs.onOwnFork?.(() => core.#noteOwnFork(logs))
    await core.#publish()
    core.#tellMayWrite()
    if (logs.length(options.keys.author) > core.committer.nextSeq) await core.replica?.pump()
    if (options.isManual !== true) logs.onGrowth(() => core.#kick())
    return core
  }

  get members(): MembersView {
    return this.applier.members
  }

  /**
   * Members as all control batches here say, those included that cannot be applied yet: for whom to
   * talk to, and under which topic. A blind device applies no data, so nothing behind it either.
   */
  get membersAhead(): MembersView {
    return this.replica?.ahead.members ?? this.applier.members
  }

  /** False when this device's changes count for nothing, or its lattice is too old to make any. */
  get mayWrite(): boolean {
    const { isHalted, isOwnForked, isBroken } = this.replica ?? {}
    if (isHalted === true || isOwnForked === true || isBroken === true) return false
    const { members, committer } = this
    const known = this.#standing
    if (known.members === members && committer.nextSeq < known.until) return known.isValid
    const { author } = this.#options.keys
    const next = members.breaks?.(author).find((seq) => seq > committer.nextSeq)
    this.#standing = {
      members,
      isValid: members.standing(author, committer.nextSeq) === 'valid',
      until: members.breaks === undefined ? 0 : (next ?? Infinity),
    }
    return this.#standing.isValid
  }

  /** Batches of others that are here, but not applied: of each author the first. */
  waiting(): Waiting[] {
    return this.replica?.waiting() ?? []
  }

  /** Applies all that can be applied, and publishes all own batches that are durable. */
  async pump(): Promise<void> {
    try {
      const both = await Promise.allSettled([this.replica?.pump(), this.#publish()])
      for (const one of both) if (one.status === 'rejected') throw one.reason
    } finally {
      this.#tellMayWrite() // also what a member, a fork or a failure on the way has changed
    }
  }

  /** Everything done so far is durable in the journal when it resolves. */
  async sync(): Promise<void> {
    await this.committer.drain()
    await this.#options.journal.flush()
  }

  /** Control ops of this device, one batch: durable and in effect when it resolves. */
  async control(ops: readonly Op[]): Promise<void> {
    await this.#commit(ops)
    this.#refold()
  }

  /** Ops that are not the tree's: in one batch, durable when it resolves. */
  async #commit(ops: readonly Op[]): Promise<void> {
    const { author } = this.#options.keys
    const { sec, nsec } = this.#options.clock.now()
    const refs = ops.map((): OpRef => (
      { ms: 0, counter: 0, author, seq: -1, index: 0, order: ++this.#order }
    ))
    const facts = new Facts(sec, nsec)
    facts.opCount = ops.length
    this.fold.apply(ops, refs, facts) // as a replay does: the root's first times
    await this.committer.durable(this.committer.push({ ops, refs, facts, ready: true }))
  }

  /** Each is an operation of its own, so that they go into as many batches as they need. */
  async #commitEach(ops: readonly Op[]): Promise<void> {
    await Promise.all(ops.map((op) => this.#commit([op])))
  }

  async #publish(): Promise<void> {
    if (this.#options.announcing?.isWanted() === false) return
    await this.announcer?.run()
    // descriptors are for those who cannot read the announcements: nobody else waits for them
    const both = await Promise.allSettled([
      this.#options.announcing?.publishContent(), this.publisher?.publish(),
    ])
    for (const one of both) if (one.status === 'rejected') throw one.reason
  }

  /** Commits, checkpoints and stops. The ports stay open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    await this.replica?.close()
    await this.announcer?.close()
    try {
      if (this.#options.readOnly !== true) await this.checkpointer.close()
    } finally {
      await this.committer.close()
      await this.publisher?.close()
    }
  }

  #makeCommitter(): Committer {
    const { journal, content, clock, random, keys } = this.#options
    const { author, vaultId, localKey } = keys
    const own = this.store.meta.authors.get(author)
    const committer = new Committer({
      journal, content, clock, random, vaultId, author, localKey,
      epoch: (announces) => keys.current(() => this.#incoming?.epochs() ?? [], announces),
      nextSeq: own?.length ?? 0,
      lastTime: { ms: own?.ms ?? 0, counter: own?.counter ?? 0 },
      deps: (isControl) => this.applier.deps(isControl),
      effective: (seq, batch) => this.applier.effectiveTime({ author, seq }, batch),
      placed: (batch, position) => {
        this.announcer?.placed(batch.seq, batch.ops)
        this.applier.note(batch, position)
      },
      allPlaced: () => this.#refold(),
      flushed: () => this.#kick(),
      isShared: () => this.#options.announcing?.isWanted() === true,
    })
    for (const time of this.store.meta.authors.values()) committer.receive(time)
    return committer
  }

  #makeCheckpointer(): Checkpointer {
    const { index, journal, content, clock, keys, onTrouble, marks } = this.#options
    const here = (): PackMark[] => marks?.(this.#isClosing) ?? []
    return new Checkpointer({
      index, content, clock, onTrouble,
      author: keys.author,
      commits: new CommitCuts(this.committer, journal, here),
      mayCut: () => {
        if (this.replica?.isBroken === true) return false
        if (this.applier.isDirty) this.committer.placeAll() // refolds when all is placed
        return !this.applier.isDirty
      },
    })
  }

  #makeReplica(logs: LogPort): Replica {
    const { journal, keys, knowsControl = () => true } = this.#options
    const { store, applier, committer, checkpointer } = this
    const { foldMembers = () => EVERYONE } = this.#options
    const ahead = new ControlAhead({ store, logs, applier, keys, foldMembers })
    const incoming = new Incoming({ store, logs, applier, ahead, journal, keys, knowsControl })
    this.#incoming = incoming
    return new Replica({
      ...this.#options, logs, applier, incoming, ahead, committer, checkpointer,
      refold: () => this.#refold(),
    })
  }

  #makeAnnouncer(logs: LogPort): Announcer | undefined {
    const { announcing, journal, keys, pause } = this.#options
    if (announcing === undefined) return undefined
    const { committer, store } = this
    return new Announcer({
      ...announcing, journal, pause,
      meta: () => store.meta,
      durableSeq: () => committer.durableSeq,
      commit: (ops) => this.#commitEach(ops),
    }, logs.length(keys.author))
  }

  #makePublisher(logs: LogPort): Publisher {
    const { journal, keys } = this.#options
    return new Publisher({
      store: this.store, logs, journal,
      own: keys.author,
      durableSeq: () => this.announcer?.limit ?? this.committer.durableSeq,
      onFork: (length) => this.replica?.noteOwnFork(length),
    })
  }

  /** The committer's queue; each operation also makes the next checkpoint due. */
  #queue(): OperationQueue {
    const { committer, checkpointer } = this
    return {
      push: (operation) => {
        const ticket = committer.push(operation)
        checkpointer.touch()
        return ticket
      },
      unblock: (operation) => {
        committer.unblock(operation)
        this.#kick() // others' batches may have waited for it
      },
      stuck: (error) => committer.stuck(error),
      placeAll: () => {
        this.#isInTree = true // what it holds must stay as it is
        try {
          return committer.placeAll()
        } finally {
          this.#isInTree = false
        }
      },
      get last() {
        return committer.last
      },
      durable: (ticket) => committer.durable(ticket),
    }
  }

  /** Brings applied control ops into effect, unless a local operation is in the way. */
  #refold(): boolean {
    const { clock, journal, keys, random, readOnly } = this.#options
    if (!this.applier.isDirty || this.#isInTree || readOnly === true) return false
    if (this.committer.queued > 0) return false
    const { sec, nsec } = clock.now()
    const facts = new Facts(sec, nsec)
    facts.kind = FACTS_MEMBERS
    this.applier.refold(facts)
    journal.append(JOURNAL_FACTS, sealFacts(encodeFacts([facts]), undefined, keys, random))
    this.#tellMayWrite()
    return true
  }

  #tellMayWrite(): void {
    const { onMayWrite } = this.#options
    if (onMayWrite === undefined || this.#toldMayWrite === this.mayWrite) return
    this.#toldMayWrite = this.mayWrite
    onMayWrite(this.#toldMayWrite)
  }

  /** Peers have the own log otherwise: a restored backup, a clone. Nothing is written any more. */
  #noteOwnFork(logs: LogPort): void {
    this.replica?.noteOwnFork(logs.length(this.#options.keys.author))
    this.#tellMayWrite()
  }

  #kick(): void {
    if (this.#isClosing || this.#options.isManual === true) return
    this.pump().catch(this.#options.onTrouble)
  }
}

/** Inodes that others' ops take the name of while they are open here live on in the tree. */
function withDetached(changes: ViewChanges, live: { tree?: LiveTree }): ViewChanges {
  return {
    entry: (parentIno, name, was) => changes.entry(parentIno, name, was),
    node: (ino) => changes.node(ino),
    content: (ino) => changes.content(ino),
    detached: (ino, record, parent) => {
      live.tree?.detach(ino, record, parent)
      changes.detached(ino, record, parent)
    },
  }
}

/** Folds the journal's end into the index. */
async function catchUp(options: EngineCoreOptions, state: CoreState): Promise<ReplayResult> {
  const { index, journal, keys, loose, readOnly } = options
  const marks = (): PackMark[] => options.marks?.(true) ?? []
  const resume = index.resume === undefined ? undefined : decodeResume(index.resume)
  const source = new JournalReplay({ journal, keys, loose, resume, marks })
  const { applier, fold } = state
  const own = keys.author
  const replayed = await replayInto({
    index, source, applier, fold, own, durable: journal.durableEnd,
  })
  if (index.changes >= CHECKPOINT_CHANGES && readOnly !== true && !applier.isDirty) {
    await journal.flush() // what the index names must be durable before it
    const { position, sequence } = journal.end
    const here = encodeResume({ sequence, batchesThrough: sequence - 1, marks: marks() })
    await settle(index, position, own, here)
  }
  return replayed
}
