// `lattice check`: reads everything that is stored and says what does not fit together.
//
//   journal   every record intact, every batch and loose chunk opens
//   packs     every record's checksum, every bundle's index; with readData every chunk's hash
//   index     the state of a fold of the whole journal, made beside it, is equal to it
//   chunks    every chunk that a file names is here, or in a bundle that another device has
//             announced; with readData what is here reads and has its hash. Nothing is fetched.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { CheckFinding } from '../api/client-types.ts'
import { LmdbIndex } from '../db/lmdb-index.ts'
import { KIND_DIRECTORY, KIND_FILE } from '../ops/types.ts'
import type { ChunkId, Content } from '../ops/types.ts'
import { must } from '../util/assert.ts'
import { LatticeError } from '../util/errors.ts'
import type { Ino } from '../vault/buffers.ts'
import { openState } from '../vault/engine-core.ts'
import { JournalReplay, decodeResume } from '../vault/journal-replay.ts'
import { vaultMembers } from '../vault/members-view.ts'
import { replayInto, settle } from '../vault/rebuild.ts'
import { isDamage, isFromLmdb } from './damage.ts'
import type { Engine } from './engine.ts'
import { isShared } from './sync-keys.ts'

const FINDINGS_MAX = 1000
const LIST_MAX = 1000

export interface CheckReport {
  counts: Record<string, number>
  findings: CheckFinding[]
  findingCount: number
  seconds: number
}

/** The vault may be in use: what is written meanwhile is checked or not. */
export async function checkEngine(
  engine: Engine,
  options: { readData: boolean },
): Promise<CheckReport> {
  const startMs = performance.now()
  const check = new Check(engine)
  await check.step('journal', () => engine.sync())
  await check.step('journal', () => check.journalAndIndex())
  await check.step('pack', () => check.packs(options.readData))
  await check.step('chunk', () => check.chunks(options.readData))
  return { ...check.result(), seconds: (performance.now() - startMs) / 1000 }
}

class Check {
  readonly #engine: Engine
  readonly #counts: Record<string, number> = {}
  readonly #findings: CheckFinding[] = []
  #findingCount = 0
  #elsewhere = 0

  constructor(engine: Engine) {
    this.#engine = engine
    const { rebuilt } = engine.report
    if (rebuilt !== undefined && rebuilt !== 'missing') {
      this.#found('damaged-index', 'index', `it was damaged (${rebuilt}) and has been made anew`)
    }
  }

  result(): Omit<CheckReport, 'seconds'> {
    const findingCount = this.#findingCount
    return { counts: this.#counts, findings: this.#findings, findingCount }
  }

  /** Damage that ends a step is a finding, and the next one goes on. */
  async step(where: string, task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      this.#damage(error, where)
    }
  }

  /** Folds the journal into an index of its own, and compares. */
  async journalAndIndex(): Promise<void> {
    const { journal, index, checkpointer, keys, state, loose, packs } = this.#engine
    await checkpointer.run()
    const resume = must(index.resume, 'a checkpoint was made')
    const expected = index.stateHash()
    const directory = await mkdtemp(join(state.path, 'check-'))
    try {
      const twin = await this.#emptyIndex(directory)
      try {
        const marks = () => packs.marks()
        let looseCount = 0
        const source = new JournalReplay({
          journal,
          keys: keys.coreKeys,
          loose: ({ position, payload }) => {
            const { id, location } = loose.open(position, payload)
            twin.chunks.put(id, location)
            looseCount++
          },
          resume: undefined,
          through: decodeResume(resume).batchesThrough,
          marks,
        })
        const own = keys.author
        const { vaultId } = keys.coreKeys
        const { applier, fold } = openState({
          index: twin, journal, keys: keys.coreKeys, foldMembers: vaultMembers(vaultId),
        })
        const { batches, ops } = await replayInto({ index: twin, source, applier, fold, own })
        this.#counts['journalBatches'] = batches
        this.#counts['journalOps'] = ops
        this.#counts['looseChunks'] = looseCount
        await settle(twin, journal.end.position, keys.author, resume)
        if (twin.stateHash() !== expected) {
          const message = 'the state in the index differs from the journal: delete it to rebuild'
          this.#found('damaged-index', 'index', message)
        }
      } finally {
        await twin.close()
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  }

  async packs(readData: boolean): Promise<void> {
    const { packs, content } = this.#engine
    let bundles = 0
    let entries = 0
    for (const bundle of packs.scan()) {
      bundles += 1
      entries += bundle.entries.length
      if (bundles % 64 === 0) await pause()
    }
    if (readData) {
      for (const file of packs.files()) {
        for (const { offset, reason } of content.verifyPack(file)) {
          this.#pack(file, offset, reason)
          await pause()
        }
        await pause()
      }
    }
    for (const { file, offset, reason } of packs.damage) this.#pack(file, offset, reason)
    Object.assign(this.#counts, { packs: packs.files().length, bundles, packedChunks: entries })
  }

  /** Walks the tree as it is now. */
  async chunks(readData: boolean): Promise<void> {
    const seen = new Set<ChunkId>()
    const directories: Ino[] = [this.#engine.tree.root]
    let files = 0
    for (let at = directories.pop(); at !== undefined; at = directories.pop()) {
      let after = 0
      for (;;) {
        const entries = this.#engine.tree.listNodes(at, after, LIST_MAX)
        for (const { entry, node } of entries) {
          after = entry.cookie
          if (node.kind === KIND_DIRECTORY) directories.push(node.ino)
          if (node.kind !== KIND_FILE || node.content === undefined) continue
          files += 1
          await this.#file(node.ino, node.content, node.attr.sizeBytes, seen, readData)
        }
        if (entries.length < LIST_MAX) break
        await pause()
      }
    }
    Object.assign(this.#counts, { files, chunks: seen.size, chunksElsewhere: this.#elsewhere })
  }

  async #file(
    ino: Ino,
    content: Content,
    sizeBytes: number,
    seen: Set<ChunkId>,
    readData: boolean,
  ): Promise<void> {
    const store = this.#engine.content
    try {
      for (const id of store.chunksOf(content, sizeBytes)) {
        if (seen.has(id)) continue
        seen.add(id)
        if (this.#isElsewhere(id)) this.#elsewhere++
        else if (readData) await store.verifyChunk(id)
        else if (!this.#isStored(id)) {
          throw new LatticeError('chunk-missing', 'a chunk is not on this device')
        }
      }
    } catch (error) {
      this.#damage(error, `content of inode ${ino}`)
    }
  }

  /** Where others are, what they announce may still be on its way. */
  #isElsewhere(id: ChunkId): boolean {
    const { chunks } = this.#engine.index
    if (chunks.get(id) !== undefined) return false // it should be here
    return chunks.away(id).length > 0 || isShared(this.#engine)
  }

  /** In the journal, or in a part of a pack that is there. */
  #isStored(id: ChunkId): boolean {
    const location = this.#engine.index.chunks.get(id)
    if (location === undefined) return false
    return location.where === 'journal' || this.#engine.packs.covers(location)
  }

  #emptyIndex(directory: string): Promise<LmdbIndex> {
    const { keys } = this.#engine
    const root = this.#engine.index.store.node(this.#engine.tree.root)
    if (root === undefined) throw new LatticeError('damaged-index', 'the index has no root')
    return LmdbIndex.open({
      directory,
      vaultId: keys.vaultIdHex,
      valueKey: keys.indexValueKey,
      hashKey: keys.indexHashKey,
      rootNode: root.node,
    })
  }

  #pack(file: number, offset: number, reason: string): void {
    this.#found('damaged-pack', 'pack', `pack ${file}, offset ${offset}: ${reason}`)
  }

  #damage(error: unknown, where: string): void {
    this.#engine.noteError(error)
    if (isDamage(error)) this.#found(error.code, where, error.message)
    else if (isFromLmdb(error)) {
      const message = 'the index is damaged: it is made anew when the vault is opened again'
      this.#found('damaged-index', 'index', message)
    } else throw error
  }

  #found(reason: string, where: string, message: string): void {
    const known = this.#findings.some((one) => one.where === where && one.message === message)
    if (known) return
    this.#findingCount += 1
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ reason, where, message })
  }
}

/** Lets the mount answer in between. */
function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
