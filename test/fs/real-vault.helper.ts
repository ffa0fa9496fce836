// A whole vault without FUSE and without the addon's file table, for tests: the real tree, journal,
// index, packs and content store under FileSystem, over BuffersTwin, in a temporary directory. As
// daemon/engine.ts composes it, except for the buffers and for sealing on this thread.

import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SealedContentStore } from '../../src/chunks/content-store.ts'
import { DirectDisk } from '../../src/chunks/pack-disk.ts'
import { PackStore } from '../../src/chunks/pack-store.ts'
import { executePieces } from '../../src/chunks/read-plan.ts'
import { InlineSealer } from '../../src/chunks/seal-inline.ts'
import { JournalLoose } from '../../src/chunks/seal-loose.ts'
import type { VaultKeys } from '../../src/crypto/vault-keys.ts'
import { EngineKeys } from '../../src/daemon/engine-keys.ts'
import { SystemRandom } from '../../src/daemon/clock.ts'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { DiskSpace } from '../../src/fs/disk-space.ts'
import { ErrnoMapper, type Trouble } from '../../src/fs/errno.ts'
import { FileSystem } from '../../src/fs/file-system.ts'
import { Journal } from '../../src/journal/journal.ts'
import { NodeDisk } from '../../src/journal/node-disk.ts'
import { Facts } from '../../src/state/facts.ts'
import { BuffersTwin } from '../../src/vault/buffers-twin.ts'
import type { JobId } from '../../src/vault/buffers.ts'
import { Checkpointer } from '../../src/vault/checkpoint.ts'
import { Committer } from '../../src/vault/committer.ts'
import { createVaultKeys, genesisOf } from '../../src/vault/create.ts'
import { Files } from '../../src/vault/files.ts'
import { genesisOp } from '../../src/vault/genesis.ts'
import { CommitCuts, JournalReplay } from '../../src/vault/journal-replay.ts'
import { decodeResume, settledMarks } from '../../src/vault/journal-replay.ts'
import { LiveTree } from '../../src/vault/live-tree.ts'
import { replay } from '../../src/vault/rebuild.ts'
import { TestClock } from './vault.helper.ts'

export interface RealVault {
  fs: FileSystem
  files: Files
  buffers: BuffersTwin
  tree: LiveTree
  content: SealedContentStore
  index: LmdbIndex
  journal: Journal
  checkpointer: Checkpointer
  troubles: Trouble[]
  /** Seals, commits, checkpoints, closes. */
  close(): Promise<void>
}

/** Where one vault lies, and its keys: opened any number of times, one after the other. */
export class VaultPlace {
  readonly directory: string
  readonly keys: VaultKeys
  readonly speed: number
  #isNew: boolean

  /** `speed`: how many times faster than real the engine's timers run. */
  constructor(directory: string, speed = 1, keys?: VaultKeys) {
    this.directory = directory
    this.speed = speed
    this.keys = keys ?? createVaultKeys('test')
    this.#isNew = keys === undefined
    for (const part of ['journal', 'packs']) {
      mkdirSync(join(directory, part), { recursive: true, mode: 0o700 })
    }
  }

  /** What a machine that stopped this moment would find: a copy without the index, which is never
   *  ahead of the journal. */
  crashCopy(directory: string): VaultPlace {
    for (const part of ['journal', 'packs']) {
      cpSync(join(this.directory, part), join(directory, part), { recursive: true })
    }
    return new VaultPlace(directory, this.speed, this.keys)
  }

  removeIndex(): void {
    rmSync(join(this.directory, 'index'), { recursive: true, force: true })
  }

  get hasIndex(): boolean {
    return existsSync(join(this.directory, 'index'))
  }

  async open(): Promise<RealVault> {
    const vault = await openVault(this)
    if (this.#isNew) await commitGenesis(vault, this.keys)
    this.#isNew = false
    return vault
  }
}

interface Opened extends RealVault {
  committer: Committer
  engineKeys: EngineKeys
}

async function openVault(place: VaultPlace): Promise<Opened> {
  const { directory, keys: vaultKeys } = place
  const clock = new TestClock(place.speed)
  const keys = new EngineKeys(vaultKeys)
  const { vaultId } = vaultKeys
  const index = await LmdbIndex.open({
    directory: join(directory, 'index'),
    vaultId: keys.vaultIdHex,
    valueKey: keys.indexValueKey,
    hashKey: keys.indexHashKey,
    rootNode: keys.ids.root(vaultId),
  })
  const resume = index.resume === undefined ? undefined : decodeResume(index.resume)
  const journal = await Journal.open({
    directory: join(directory, 'journal'),
    disk: new NodeDisk(),
    vaultId,
    durable: index.resume === undefined ? undefined : index.cursor,
  })
  const bundleKey = (epochId: Uint8Array): Uint8Array | undefined => keys.bundleKey(epochId)
  const disk = new DirectDisk()
  const packDirectory = join(directory, 'packs')
  const packOptions = { disk, directory: packDirectory, vaultId, bundleKey }
  const packs = await PackStore.open(packOptions, resume?.marks)
  const loose = new JournalLoose(journal, keys.journalKey, vaultId)
  const buffers = new BuffersTwin({
    now: () => clock.now(),
    readBundle: async (piece) => {
      await new Promise((resolve) => setImmediate(resolve))
      return executePieces([piece], bundleKey)
    },
  })
  const readFrozen = (job: number, offset: number, into: Uint8Array): void => {
    buffers.readFrozen(job as JobId, offset, into)
  }
  const backend = new InlineSealer({
    keys: keys.sealKeys(),
    readFrozen,
    disk,
    directory: join(packDirectory, '0'),
    writer: 0,
    ...packs.nextOf(0),
    clock,
  })
  const content = new SealedContentStore({
    index: index.chunks,
    loose,
    packs,
    backend,
    idKey: vaultKeys.idKey,
    bundleKey,
    readFrozen,
  })
  content.recover(resume?.marks ?? [])
  const { author } = keys
  const marks = () => packs.marks()
  const source = new JournalReplay({
    journal,
    keys: keys.coreKeys,
    loose: ({ position, payload }) => {
      const { id, location } = loose.open(position, payload)
      index.chunks.put(id, location)
    },
    resume,
    marks,
  })
  await replay(index, source, author)
  const live = startLive(place, { clock, keys, index, journal, packs, content, buffers })
  return { ...live, buffers, content, index, journal, engineKeys: keys }
}

interface Parts {
  clock: TestClock
  keys: EngineKeys
  index: LmdbIndex
  journal: Journal
  packs: PackStore
  content: SealedContentStore
  buffers: BuffersTwin
}

type LiveParts = Omit<Opened, 'buffers' | 'content' | 'index' | 'journal' | 'engineKeys'>

function startLive(place: VaultPlace, parts: Parts): LiveParts {
  const { clock, keys, index, journal, packs, content, buffers } = parts
  const { author } = keys
  const own = index.store.meta.authors.get(author)
  const committer = new Committer({
    journal,
    content,
    clock,
    author,
    random: new SystemRandom(),
    vaultId: place.keys.vaultId,
    epoch: () => keys.currentEpoch(),
    localKey: keys.journalKey,
    nextSeq: own?.length ?? 0,
    lastTime: { ms: own?.ms ?? 0, counter: own?.counter ?? 0 },
  })
  const troubles: Trouble[] = []
  let isClosing = false
  const marks = () => (isClosing ? packs.marks() : settledMarks(packs.marks()))
  const checkpointer = new Checkpointer({
    index,
    content,
    author,
    clock,
    commits: new CommitCuts(committer, journal, marks),
    onTrouble: (error) => troubles.push({ operation: 'checkpoint', ino: 0, error }),
  })
  const queue = {
    push: (operation: Parameters<Committer['push']>[0]) => {
      checkpointer.touch()
      return committer.push(operation)
    },
    unblock: (operation: Parameters<Committer['push']>[0]) => committer.unblock(operation),
    stuck: (error: unknown) => committer.stuck(error),
    get last() {
      return committer.last
    },
    durable: async (ticket: number) => committer.durable(ticket),
  }
  const owner = { uid: 1000, gid: 1000 }
  const tree = new LiveTree({ store: index.store, queue, ids: keys.ids, author, clock, owner })
  const errors = new ErrnoMapper((trouble) => troubles.push(trouble))
  const files = new Files({
    tree,
    content,
    buffers,
    clock,
    toErrno: (error, operation, ino) => errors.toErrno(error, operation, ino),
    refuseWrites: (number) => buffers.refuseWrites(number),
    journal,
  })
  tree.setUnsealedContent(files)
  const space = new DiskSpace(place.directory, clock)
  const trouble = () => journal.trouble ?? committer.trouble
  const fs = new FileSystem({ tree, files, buffers, clock, space, readOnly: false, trouble })
  const close = async (): Promise<void> => {
    await files.close()
    isClosing = true
    await checkpointer.close()
    await committer.close()
    await content.close()
    await journal.close()
    await index.close()
    keys.close()
  }
  return { fs, files, tree, checkpointer, committer, troubles, close }
}

async function commitGenesis(vault: RealVault, keys: VaultKeys): Promise<void> {
  const { committer, engineKeys } = vault as Opened
  const facts = new Facts(Math.floor(Date.now() / 1000), 0)
  facts.opCount = 1
  const { author } = engineKeys
  const ref = { ms: 0, counter: 0, author, seq: -1, index: 0, order: 0 }
  const operation = { ops: [genesisOp(genesisOf(keys))], refs: [ref], facts, ready: true }
  await committer.durable(committer.push(operation))
}
