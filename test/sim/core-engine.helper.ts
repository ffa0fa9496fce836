// The whole engine of lattice on simulated ports: journal on a simulated disk, sealed batches, real
// replica, publisher and members; the index in memory. Contents travel inside the ops.
import type { AuthorId, Op } from '../../src/ops/types.ts'
import { Journal } from '../../src/journal/journal.ts'
import type { Store } from '../../src/state/store.ts'
import { EngineCore } from '../../src/vault/engine-core.ts'
import { blockOf, decodeJournalBatch } from '../../src/vault/journal-batch.ts'
import type { UserOperation } from '../../src/vault/pending.ts'
import {
  JOURNAL_BATCH, JOURNAL_REMOTE_BATCH, JOURNAL_START,
} from '../../src/vault/ports.ts'
import type { JournalPosition } from '../../src/vault/ports.ts'
import type { Tree } from '../../src/vault/tree.ts'
import { must } from '../../src/util/assert.ts'
import { SeededRandom } from '../support/random.ts'
import type { SimDisk } from '../support/sim-disk.ts'
import { TreeCalls } from './calls.helper.ts'
import type { Calls } from './calls.helper.ts'
import type { SimDevice } from './device.helper.ts'
import type { NaiveInput, SimEngine } from './engine.helper.ts'
import type { OpenIndex } from './index-place.helper.ts'
import { ROOT, SimMembers, VAULT_ID, ids } from './sim-vault.helper.ts'
import type { SimKeys } from './sim-vault.helper.ts'
import type { MemberRules } from '../../src/state/members-rules.ts'

export interface CoreParts {
  device: SimDevice
  disk: SimDisk
  index: OpenIndex
  spareBytes: number
  keys: SimKeys
  seed: number
  memberRules: Partial<MemberRules> | undefined
}

export const OWNER = { uid: 1000, gid: 1000 }

export class CoreEngine implements SimEngine {
  readonly author: AuthorId
  readonly core: EngineCore
  readonly calls: Calls
  readonly #journal: Journal
  readonly #parts: CoreParts
  #taken: UserOperation[] = []

  private constructor(core: EngineCore, journal: Journal, parts: CoreParts, open: Set<number>) {
    this.core = core
    this.#journal = journal
    this.#parts = parts
    this.author = parts.keys.author
    this.calls = new TreeCalls(core.tree, open)
    const { committer } = core
    const push = committer.push.bind(committer)
    committer.push = (operation) => {
      this.#taken.push(operation)
      return push(operation)
    }
  }

  static async open(parts: CoreParts): Promise<CoreEngine> {
    const { device, disk, index, keys, seed, memberRules, spareBytes } = parts
    const { world, life } = device
    const journal = await Journal.open({
      directory: '/journal', disk, vaultId: VAULT_ID, segmentBytes: 1 << 20,
      firstFileBytes: 0, spareBytes,
      durable: index.existed ? index.cursor : undefined,
    })
    const open = new Set<number>()
    const core = await EngineCore.open({
      index, journal, keys,
      clock: device.clock,
      random: new SeededRandom(seed),
      content: { sync: () => world.scheduler.sleep(0, life) },
      owner: OWNER,
      logs: device.logs,
      pause: () => world.scheduler.sleep(0, life),
      foldMembers: (batches) => new SimMembers(batches, memberRules),
      isOpen: (ino) => open.has(ino),
      onTrouble: (error) => device.trouble(error, life),
    })
    return new CoreEngine(core, journal, parts, open)
  }

  get tree(): Tree {
    return this.core.tree
  }

  get store(): Store {
    return this.core.store
  }

  get members(): SimMembers {
    return this.core.members as SimMembers
  }

  takeOperations(): UserOperation[] {
    const taken = this.#taken
    this.#taken = []
    return taken
  }

  fsync(): Promise<void> {
    return this.core.sync()
  }

  pump(): Promise<void> {
    return this.core.pump()
  }

  checkpoint(): Promise<void> {
    return this.core.checkpointer.run()
  }

  control(ops: Op[]): Promise<void> {
    return this.core.control(ops)
  }

  get mayWrite(): boolean {
    return this.core.mayWrite
  }

  /** The own log has gone another way than this device. */
  get isOwnForked(): boolean {
    return this.core.replica?.isOwnForked === true
  }

  /** An own batch as the journal has it. */
  ownBlock(seq: number): Uint8Array {
    const info = must(this.store.batch(this.author, seq), 'an own batch that is nowhere')
    return blockOf(this.#journal.read(info.position as JournalPosition))
  }

  /** Applying has failed halfway: only a restart helps. */
  get isBroken(): boolean {
    return this.core.replica?.isBroken === true
  }

  get ownLength(): number {
    return this.core.applier.length(this.author)
  }

  applied(author: AuthorId): number {
    return this.core.applier.length(author)
  }

  waiting(): string[] {
    return this.core.waiting().map(({ author, seq, ...rest }) => (
      `${Buffer.from(author, 'latin1').toString('hex', 0, 3)} ${seq} ${rest.for}`
    ))
  }

  async stateHash(): Promise<string> {
    await this.core.checkpointer.run()
    return this.#parts.index.stateHash()
  }

  queued(): number {
    return this.core.committer.queued
  }

  async close(): Promise<void> {
    await this.core.close()
    await this.#journal.close()
  }

  async naive(): Promise<NaiveInput> {
    const batches: NaiveInput['batches'] = []
    for (const record of this.#journal.scan(JOURNAL_START)) {
      if (record.type !== JOURNAL_BATCH && record.type !== JOURNAL_REMOTE_BATCH) continue
      const { batch, author, seq } = decodeJournalBatch(record, this.#parts.keys)
      if (batch !== undefined) batches.push({ ...batch, author, seq })
    }
    // by the true rules, whatever a mutant has made of them
    const members = new SimMembers(this.store.control(undefined, Infinity), undefined)
    return {
      batches, root: ROOT, ids,
      label: (author) => members.label(author),
      standing: (author, seq) => members.standing(author, seq),
    }
  }
}
