// Where a simulated device keeps its index across restarts: in memory, or in LMDB in a directory of
// this machine. Whatever the place, devices must show the same and hash to the same.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LmdbIndex } from '../../src/db/lmdb-index.ts'
import { toHex } from '../../src/util/bytes.ts'
import type { StateIndex } from '../../src/vault/checkpoint.ts'
import { MemoryIndex } from '../support/sim-index.ts'
import type { Scheduler } from './scheduler.helper.ts'
import { ROOT, VAULT_ID, fixedKey } from './sim-vault.helper.ts'

export interface OpenIndex extends StateIndex {
  /** False: the whole journal is to be folded. */
  readonly existed: boolean
}

export interface IndexPlace {
  /** As the last checkpoint left it. Whoever had it open before must not use it any more. */
  open(): Promise<OpenIndex>
  /** It is lost. */
  drop(): void
  /** Idempotent. */
  close(): Promise<void>
}

export class MemoryPlace implements IndexPlace {
  #index = new MemoryIndex(ROOT)
  #isOpen = false

  async open(): Promise<OpenIndex> {
    if (this.#isOpen) this.#index.reopen()
    this.#isOpen = true
    return this.#index
  }

  drop(): void {
    this.#index = new MemoryIndex(ROOT)
    this.#isOpen = false
  }

  async close(): Promise<void> {}
}

export class LmdbPlace implements IndexPlace {
  readonly #scheduler: Scheduler
  #directory: string | undefined
  #index: LmdbIndex | undefined
  #isDropped = false

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  open(): Promise<OpenIndex> {
    return this.#scheduler.real(this.#open())
  }

  drop(): void {
    this.#isDropped = true
  }

  async close(): Promise<void> {
    await this.#index?.close()
    this.#index = undefined
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true })
    this.#directory = undefined
  }

  async #open(): Promise<OpenIndex> {
    if (this.#isDropped) await this.close()
    await this.#index?.close()
    this.#isDropped = false
    this.#directory ??= mkdtempSync(join(tmpdir(), 'lattice-sim-'))
    const index = await LmdbIndex.open({
      directory: join(this.#directory, 'index'),
      vaultId: toHex(VAULT_ID),
      valueKey: fixedKey('index value'),
      hashKey: fixedKey('index hash'),
      rootNode: ROOT,
    })
    const write = index.write.bind(index)
    index.write = (...parameters) => this.#scheduler.real(write(...parameters))
    this.#index = index
    return index
  }
}
