// The engine of one open vault, composed: lock, index, journal, packs, content, tree, files,
// filesystem. Opening brings the index up to the end of the journal, or makes it anew when it is
// missing or damaged; closing seals, commits and checkpoints everything. It serves nobody by
// itself: a FUSE session, a check or a test does.
//
// Invariants: one engine per state directory (the lock); whatever was opened is closed in reverse,
// also when opening fails half-way.

import { setImmediate as pause } from 'node:timers/promises'
import type { Config } from '../config/config-schema.ts'
import { RECEIVED_WRITER } from '../chunks/bundle-receiver.ts'
import { packWriterOf } from '../chunks/chunk-index-port.ts'
import { SealedContentStore } from '../chunks/content-store.ts'
import type { Named } from '../chunks/content-store.ts'
import { DirectDisk } from '../chunks/pack-disk.ts'
import { PackStore } from '../chunks/pack-store.ts'
import { JournalLoose } from '../chunks/seal-loose.ts'
import { SealPool } from '../chunks/seal-pool.ts'
import type { VaultKeys } from '../crypto/vault-keys.ts'
import { LmdbIndex } from '../db/lmdb-index.ts'
import { DiskSpace } from '../fs/disk-space.ts'
import { ErrnoMapper } from '../fs/errno.ts'
import { FileSystem } from '../fs/file-system.ts'
import { NativeBuffers } from '../fuse/native-buffers.ts'
import { Journal } from '../journal/journal.ts'
import { NodeDisk } from '../journal/node-disk.ts'
import type { AuthorId } from '../ops/types.ts'
import { isLatticeError } from '../util/errors.ts'
import { BundleNotes } from '../vault/bundle-notes.ts'
import type { Checkpointer } from '../vault/checkpoint.ts'
import type { Committer } from '../vault/committer.ts'
import { EngineCore } from '../vault/engine-core.ts'
import type { Announcing } from '../vault/engine-core.ts'
import { Files } from '../vault/files.ts'
import { HeldContents } from '../vault/held.ts'
import { decodeResume, encodeResume, settledMarks } from '../vault/journal-replay.ts'
import type { Resume } from '../vault/journal-replay.ts'
import type { LiveTree } from '../vault/live-tree.ts'
import { DirectoryLock } from '../vault/lock.ts'
import { JOURNAL_START } from '../vault/ports.ts'
import type { Learnt } from '../vault/membership-epochs.ts'
import { knowsControl, vaultMembers } from '../vault/members-view.ts'
import { settle } from '../vault/rebuild.ts'
import type { NameMatching } from '../fs/name-keys.ts'
import { SystemClock, SystemRandom } from './clock.ts'
import { EngineKeys } from './engine-keys.ts'
import { HeldFiles } from './held-files.ts'
import { IndexHealth } from './index-health.ts'
import { loggable } from './log.ts'
import type { Log } from './log.ts'
import { MountView } from './mount-view.ts'
import type { Peers } from './peers.ts'
import type { StateDirectory } from './state-directory.ts'

/** Bundles that are read without letting others run. */
const BUNDLES_AT_ONCE = 16
/** Chunks of packs that the index may hold in RAM while it is made anew; keys are random, so that
 *  each write of the index touches all of it. */
export const RECOVERED_CHANGES = 8000
/** Numbers of the directories that seal workers write packs to, one worker each. */
const PACK_WRITERS = [0, 1]

export interface EngineOptions {
  state: StateDirectory
  vaultKeys: VaultKeys
  config: Pick<Config, 'dirtyBytesMax' | 'cleanBytesMax'>
  readOnly: boolean
  /** How names match; 'bytes' when not given. */
  names?: NameMatching
  log: Log
  /** The other devices of the vault; none: this one is alone, and publishes nothing. */
  peers?: Peers
  /** Keys of epochs came that the key file has not got: it should be written. */
  onLearnt?: (learnt: Learnt) => Promise<void> | void
}

/** What opening had to do. */
export interface OpenReport {
  /** Why the index was made anew; undefined when it was good. */
  rebuilt: string | undefined
  batches: number
  ops: number
  bundles: number
}

type Closer = () => Promise<void> | void

export class Engine {
  readonly state: StateDirectory
  readonly keys: EngineKeys
  readonly index: LmdbIndex
  readonly journal: Journal
  readonly packs: PackStore
  readonly loose: JournalLoose
  readonly content: SealedContentStore
  readonly core: EngineCore
  readonly committer: Committer
  readonly checkpointer: Checkpointer
  readonly tree: LiveTree
  readonly files: Files
  readonly buffers: NativeBuffers
  readonly fileSystem: FileSystem
  readonly view: MountView
  readonly report: OpenReport
  readonly #closers: Closer[]
  readonly #health: IndexHealth
  #closing: Promise<void> | undefined

  private constructor(parts: Stored, live: Live, closers: Closer[]) {
    this.state = parts.state
    this.keys = parts.keys
    this.index = parts.index
    this.journal = parts.journal
    this.packs = parts.packs
    this.loose = parts.loose
    this.report = { ...live.core.replayed, rebuilt: parts.rebuilt, bundles: parts.bundles }
    this.content = parts.content
    this.buffers = parts.buffers
    this.core = live.core
    this.committer = live.core.committer
    this.checkpointer = live.core.checkpointer
    this.tree = live.core.tree
    this.files = live.files
    this.fileSystem = live.fileSystem
    this.view = live.view
    this.#closers = closers
    this.#health = parts.health
  }

  /** Throws 'locked', 'damaged-journal', 'unknown-format', 'missing-key', 'disk-full', 'io'. */
  static async open(options: EngineOptions): Promise<Engine> {
    const closers: Closer[] = []
    try {
      const stored = await openStored(options, closers)
      const live = await startLive(options, stored, closers)
      return new Engine(stored, live, closers)
    } catch (error) {
      await closeAll(closers).catch((late: unknown) => {
        options.log.warn(loggable(late), 'closing what was opened')
      })
      throw error
    }
  }

  /** Why changes cannot be stored at present. */
  get trouble(): Error | undefined {
    return this.journal.trouble ?? this.committer.trouble
  }

  /** Everything done so far is durable when it resolves. */
  sync(): Promise<void> {
    return this.files.syncAll()
  }

  /** Seals, commits, checkpoints and closes. Idempotent. Rejects with the first failure, after all
   *  the rest was tried. */
  close(): Promise<void> {
    this.#closing ??= closeAll(this.#closers).then(() => this.#health.closed())
    return this.#closing
  }

  /** Looks at an error that a call met: damage of the index is repaired at the next opening. */
  noteError(error: unknown): void {
    this.#health.note(error)
  }
}

interface Stored {
  state: StateDirectory
  health: IndexHealth
  keys: EngineKeys
  index: LmdbIndex
  journal: Journal
  packs: PackStore
  loose: JournalLoose
  content: SealedContentStore
  buffers: NativeBuffers
  clock: SystemClock
  notes: BundleNotes
  rebuilt: string | undefined
  /** Read from packs to bring the index up to them. */
  bundles: number
}

interface Live {
  core: EngineCore
  files: Files
  fileSystem: FileSystem
  view: MountView
}

/** Everything that lies on the disk, read up to its end. */
async function openStored(options: EngineOptions, closers: Closer[]): Promise<Stored> {
  const { state, vaultKeys, config } = options
  const lock = await DirectoryLock.take(state.path, 'the vault')
  closers.push(() => lock.release())
  const health = new IndexHealth(state.path)
  const keys = new EngineKeys(vaultKeys)
  closers.push(() => keys.close())
  const { index, rebuilt } = await openIndex(options, keys, health.begin())
  closers.push(() => index.close())
  const resume = index.resume === undefined ? undefined : decodeResume(index.resume)
  const journal = await openJournal(options, index)
  closers.push(() => journal.close())
  const clock = new SystemClock()
  const notes = new BundleNotes({
    meta: () => index.store.meta, chunks: index.chunks, bundles: index.bundles, own: keys.author,
    clock,
  })
  const { peers } = options
  const { vaultId } = vaultKeys
  const bundleKey = (epochId: Uint8Array): Uint8Array | undefined => keys.bundleKey(epochId)
  const disk = new DirectDisk()
  const packOptions = { disk, directory: state.packs, vaultId, bundleKey }
  const packs = await PackStore.open(packOptions, resume?.marks)
  const loose = new JournalLoose(journal, keys.journalKey, vaultId)
  const { dirtyBytesMax, cleanBytesMax } = config
  const buffers = new NativeBuffers({ dirtyBytesMax, cleanBytesMax })
  for (const { epochId, key } of keys.bundleKeys()) buffers.setBundleKey(epochId, key)
  const backend = new SealPool({
    keys: keys.sealKeys(),
    frozen: { kind: 'native', handle: buffers.handle },
    directory: state.packs,
    writers: PACK_WRITERS,
    nextOf: (writer) => packs.nextOf(writer),
    syncLast: (writer) => packs.syncLast(writer),
    clock,
  })
  const content = new SealedContentStore({
    index: index.chunks,
    loose,
    packs,
    backend,
    idKey: vaultKeys.idKey,
    bundleKey,
    away: peers && {
      fetch: (bundles, urgency) => peers.fetch(bundles, urgency),
      announced: async (chunk) => {
        if (peers.isWanted()) await Promise.race([notes.announced(chunk), peers.alone()])
      },
    },
    syncReceived: peers && (() => peers.syncReceived()),
    readFrozen: (job, offset, into) => {
      buffers.readFrozen(job as Parameters<NativeBuffers['readFrozen']>[0], offset, into)
    },
  })
  closers.push(async () => {
    await content.close()
    buffers.close()
  })
  keys.onBundleKey = (epochId, key) => buffers.setBundleKey(epochId, key)
  keys.onLearnt = (learnt) => options.onLearnt?.(learnt)
  keys.onCurrent = () => backend.useEpoch(keys.sealKeys())
  const bundles = await catchUpPacks(index, content, keys.author, resume)
  await adoptKept(index, content, packs, options.log)
  const stored = { state, health, keys, index, journal, packs, loose, content, buffers, clock }
  return { ...stored, notes, rebuilt, bundles }
}

/**
 * Brings what packs hold into the index, which is written on the way as if nothing had been read:
 * whoever opens it after a crash reads all of it again. Packs are durable since they were opened.
 * Returns how many bundles were read.
 */
async function catchUpPacks(
  index: LmdbIndex,
  content: SealedContentStore,
  author: AuthorId,
  resume: Resume | undefined,
): Promise<number> {
  const position = resume === undefined ? JOURNAL_START.position : index.cursor
  const { sequence } = JOURNAL_START
  const here = encodeResume(resume ?? { sequence, batchesThrough: -1, marks: [] })
  // ids are asked for once bundles are announced, and of those that came from others
  const isShared = resume === undefined || index.store.meta.bundles > 0
  const named: Named = {
    isWanted: (file) => isShared || packWriterOf(file) === RECEIVED_WRITER,
    put: (id, place) => index.bundles.put(id, place),
  }
  let bundles = 0
  for (bundles of content.recovering(resume?.marks ?? [], named)) {
    if (index.changes >= RECOVERED_CHANGES) await settle(index, position, author, here)
    else if (bundles % BUNDLES_AT_ONCE === 0) await pause()
  }
  return bundles
}

/** Bundles that were about to be given up, and are here after all (PackStore.kept). */
async function adoptKept(
  index: LmdbIndex, content: SealedContentStore, packs: PackStore, log: Log,
): Promise<void> {
  for (const place of packs.kept) {
    try {
      const bundle = await content.bundles.inspect(place)
      content.adopt(bundle)
      index.bundles.put(bundle.id, place)
    } catch (error) {
      log.warn(loggable(error), 'a bundle that was not given up')
    }
  }
}

/** The index as it is, or an empty one where it is missing or damaged. */
async function openIndex(
  options: EngineOptions,
  keys: EngineKeys,
  distrust: string | undefined,
): Promise<{ index: LmdbIndex; rebuilt: string | undefined }> {
  const indexOptions = {
    directory: options.state.index,
    vaultId: keys.vaultIdHex,
    valueKey: keys.indexValueKey,
    hashKey: keys.indexHashKey,
    rootNode: keys.ids.root(options.vaultKeys.vaultId),
  }
  let rebuilt = distrust
  if (distrust !== undefined) {
    options.log.warn({ reason: distrust }, 'the index is made anew from the journal')
    LmdbIndex.remove(indexOptions.directory)
  }
  try {
    const index = await LmdbIndex.open(indexOptions)
    return { index, rebuilt: index.existed ? undefined : (rebuilt ?? 'missing') }
  } catch (error) {
    if (!isLatticeError(error, 'damaged-index')) throw error
    rebuilt = String(error.details['reason'] ?? 'damaged')
    options.log.warn(loggable(error), 'the index is made anew from the journal')
  }
  LmdbIndex.remove(indexOptions.directory)
  return { index: await LmdbIndex.open(indexOptions), rebuilt }
}

function openJournal(options: EngineOptions, index: LmdbIndex): Promise<Journal> {
  return Journal.open({
    directory: options.state.journal,
    disk: new NodeDisk(),
    vaultId: options.vaultKeys.vaultId,
    durable: index.resume === undefined ? undefined : index.cursor,
    readOnly: options.readOnly,
  })
}

/** What changes while the vault is used; the journal is replayed first. */
async function startLive(
  options: EngineOptions, stored: Stored, closers: Closer[],
): Promise<Live> {
  const { content, clock, buffers, state, health, journal } = stored
  const view = new MountView()
  const core = await openCore(options, stored, view)
  closers.push(() => core.close())
  if (stored.rebuilt !== undefined) health.renewed()
  const { tree, committer } = core
  const space = new DiskSpace(state.path, clock)
  const errors = new ErrnoMapper(({ operation, ino, error }) => {
    stored.health.note(error)
    options.log.error({ operation, ino, ...loggable(error) }, 'content cannot be stored or read')
  })
  const { readOnly } = options
  const held = readOnly ? undefined : new HeldContents({
    store: await HeldFiles.open(state.path, options.vaultKeys),
    tree, content, journal,
    onTrouble: (error) => options.log.error(loggable(error), 'a content that is held'),
  })
  const files = new Files({
    tree,
    held,
    content,
    buffers,
    clock,
    toErrno: (error, operation, ino) => errors.toErrno(error, operation, ino),
    spaceBytes: () => space.availableBytes(),
    journal,
    refuseWrites: (errno) => buffers.refuseWrites(errno),
    isShared: () => options.peers?.isWanted() === true,
  })
  tree.setUnsealedContent(files)
  view.setFiles(files)
  closers.push(() => files.close())
  await files.restoreHeld()
  const trouble = () => journal.trouble ?? committer.trouble
  const fileSystem = new FileSystem({
    tree: view.treeOf(core, options.names), files, buffers, clock, space, readOnly, trouble,
    mayChange: () => core.mayWrite,
  })
  return { core, files, fileSystem, view }
}

function openCore(
  options: EngineOptions, stored: Stored, view: MountView,
): Promise<EngineCore> {
  const { index, journal, content, keys, clock, packs, loose, notes } = stored
  return EngineCore.open({
    index,
    journal,
    content,
    clock,
    keys: keys.coreKeys,
    foldMembers: vaultMembers(options.vaultKeys.vaultId),
    knowsControl,
    random: new SystemRandom(),
    owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
    pause: () => pause(),
    readOnly: options.readOnly,
    logs: options.peers?.logs,
    announcing: options.peers && announcing(options.peers, stored),
    noted: (author, ops) => notes.note(author, ops),
    changes: view,
    isOpen: (ino) => view.isInUse(ino),
    onMayWrite: (mayWrite) => view.mayWriteChanged(mayWrite),
    loose: ({ position, payload }) => {
      const { id, location } = loose.open(position, payload)
      const known = index.chunks.get(id)
      if (known?.where !== 'pack' || !packs.covers(known)) index.chunks.put(id, location)
    },
    marks: (isClosing) => (isClosing ? packs.marks() : settledMarks(packs.marks())),
    onTrouble: (error) => options.log.error(loggable(error), 'a checkpoint failed'),
  })
}

function announcing(peers: Peers, stored: Stored): Announcing {
  const { index, content, packs, loose } = stored
  return {
    isWanted: () => peers.isWanted(),
    publishContent: () => peers.publishContent(),
    bundles: index.bundles,
    content,
    looseIn: ({ position, payload }) => {
      const { id } = loose.open(position, payload)
      return index.chunks.get(id)?.where === 'journal' ? id : undefined
    },
    scout: (range) => peers.scout({ ...range, path: packs.pathOf(range.file) }),
    packs: () => packs.marks().filter(({ file }) => PACK_WRITERS.includes(packWriterOf(file))),
  }
}

/** In reverse; the first error is thrown after all were tried. */
async function closeAll(closers: Closer[]): Promise<void> {
  let first: unknown
  for (const close of closers.toReversed()) {
    try {
      await close()
    } catch (error) {
      first ??= error
    }
  }
  if (first !== undefined) throw first
}

