// LmdbIndex: the StateIndex of a vault. Composes environment, base, overlay and chunk table, and
// keeps what a checkpoint stores beside the records: counters, authors, state hash, cursor.

import type { AuthorId, NodeId } from '../ops/types.ts'
import { AuthorTable } from '../state/author-table.ts'
import { makeRoot } from '../state/fold.ts'
import { StateMeta, decodeMeta, encodeMeta, noteOwnBatches } from '../state/meta.ts'
import { Overlay } from '../state/overlay.ts'
import type { Generation } from '../state/overlay.ts'
import { RecordCodec } from '../state/record-codec.ts'
import { ROOT_INO } from '../state/records.ts'
import { StateHash } from '../state/state-hash.ts'
import { RecordReader, RecordWriter } from '../state/wire.ts'
import { assert, must } from '../util/assert.ts'
import { isLatticeError } from '../util/errors.ts'
import type { Cut, StateIndex } from '../vault/checkpoint.ts'
import type { JournalPosition } from '../vault/ports.ts'
import { BundleTable, ChunkTable } from './chunk-table.ts'
import { IndexEnvironment, damagedIndex } from './environment.ts'
import type { Write } from './environment.ts'
import { IndexWriter } from './index-writer.ts'
import { IndexKeys } from './keys.ts'
import { LmdbBase } from './lmdb-base.ts'
import { SideTables } from './side-tables.ts'

const STATE_LABEL = 'state'
const STATE_VERSION = 0

export interface LmdbIndexOptions {
  /** Made when missing, mode 0700. */
  directory: string
  /** Of the vault, hex. */
  vaultId: string
  /** 32 bytes each ('lattice/0/db-value' and 'lattice/0/db-index'), kept by reference. */
  valueKey: Uint8Array
  hashKey: Uint8Array
  rootNode: NodeId
}

interface Frozen {
  generation: Generation
  /** Encoded and sealed; undefined until then. */
  writes: Write[] | undefined
}

export class LmdbIndex implements StateIndex {
  readonly store: Overlay
  readonly chunks: ChunkTable
  readonly bundles: BundleTable
  /** False when the index was empty: the whole journal is to be folded. */
  readonly existed: boolean
  readonly #environment: IndexEnvironment
  readonly #keys: IndexKeys
  readonly #authors: AuthorTable
  readonly #hash: StateHash
  readonly #base: LmdbBase
  readonly #writer: IndexWriter
  #cursor: JournalPosition
  #resume: Uint8Array | undefined
  #frozen: Frozen | undefined
  /** What encoding a checkpoint ran into; there are none afterwards. */
  #failure: Error | undefined

  /** Throws 'damaged-index' (details.reason says what): remove() it, and open again. */
  static async open(options: LmdbIndexOptions): Promise<LmdbIndex> {
    const { directory, vaultId, valueKey } = options
    const environment = IndexEnvironment.open(directory, vaultId, valueKey)
    try {
      return new LmdbIndex(environment, options)
    } catch (error) {
      await environment.close()
      if (!isLatticeError(error) || error.code === 'damaged-index') throw error
      throw damagedIndex('record', 'the state of the index does not decode', error)
    } finally {
      environment.opened(directory)
    }
  }

  static remove(directory: string): void {
    IndexEnvironment.remove(directory)
  }

  private constructor(environment: IndexEnvironment, options: LmdbIndexOptions) {
    this.#environment = environment
    this.#keys = new IndexKeys(options.hashKey)
    const stored = environment.getSealed(this.#keys.meta(STATE_LABEL))
    const state = stored === undefined ? undefined : decodeState(stored)
    this.existed = state !== undefined
    this.#cursor = (state?.cursor ?? 0) as JournalPosition
    this.#resume = state?.resume
    this.#authors = new AuthorTable(state?.authors)
    this.#hash = new StateHash(state?.hash)
    const codec = new RecordCodec(this.#authors)
    const side = new SideTables(environment, this.#keys, this.#authors)
    this.#base = new LmdbBase(environment, this.#keys, codec, side)
    this.#writer = new IndexWriter(environment, this.#keys, codec, this.#hash, side)
    this.store = new Overlay(this.#base, state?.meta ?? new StateMeta())
    this.chunks = new ChunkTable(environment, this.#keys)
    this.bundles = new BundleTable(environment, this.#keys)
    if (state === undefined) {
      makeRoot(this.store, options.rootNode)
    } else if (this.store.node(ROOT_INO)?.node !== options.rootNode) {
      throw damagedIndex('record', 'the index has another root')
    }
  }

  get cursor(): JournalPosition {
    return this.#cursor
  }

  get resume(): Uint8Array | undefined {
    return this.#resume
  }

  get changes(): number {
    return this.store.changes + this.chunks.changes + this.bundles.changes
  }

  stateHash(): string {
    return this.#hash.digest()
  }

  freeze(): void {
    const generation = this.store.freeze()
    this.chunks.freeze()
    this.bundles.freeze()
    this.#frozen = { generation, writes: undefined }
  }

  thaw(): void {
    assert(this.#frozen?.writes === undefined, 'thaw: writing has begun')
    this.#frozen = undefined
    this.store.thaw()
    this.chunks.thaw()
    this.bundles.thaw()
  }

  async write(position: JournalPosition, author: AuthorId, cut: Cut): Promise<void> {
    const frozen = must(this.#frozen, 'write: nothing is frozen')
    const { generation } = frozen
    const meta = must(generation.meta, 'write: no counters')
    if (this.#failure !== undefined) throw this.#failure
    this.store.takeEarlierBatches(position)
    frozen.writes ??= await this.#prepare(generation)
    noteOwnBatches(meta, this.store.meta, author, cut)
    const state = this.#encodeState(meta, position, cut.resume)
    await this.#environment.write([...frozen.writes, state])
    this.#writer.settle(generation, this.#base)
    this.store.release()
    this.chunks.release()
    this.bundles.release()
    this.#frozen = undefined
    this.#cursor = position
    this.#resume = cut.resume
  }

  async close(): Promise<void> {
    await this.#environment.close()
  }

  /** When this fails, the index stays as it is: the journal has all of it for the next start. */
  async #prepare(generation: Generation): Promise<Write[]> {
    const writes: Write[] = []
    try {
      await this.#writer.prepare(generation, writes)
      this.chunks.prepare(writes)
      this.bundles.prepare(writes)
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    return writes
  }

  #encodeState(meta: StateMeta, position: JournalPosition, resume: Uint8Array): Write {
    const key = this.#keys.meta(STATE_LABEL)
    const writer = new RecordWriter()
    writer.u8(STATE_VERSION)
    writer.varint(position)
    writer.bytes(resume)
    writer.varint(this.#authors.list.length)
    for (const author of this.#authors.list) writer.text(author)
    writer.bytes(this.#hash.bytes())
    encodeMeta(writer, meta)
    return { key, value: this.#environment.seal(key, writer.view()) }
  }
}

function decodeState(plain: Buffer) {
  const reader = new RecordReader(plain)
  if (reader.u8() !== STATE_VERSION) throw damagedIndex('version', 'the state has another version')
  const cursor = reader.varint()
  const resume = reader.bytes()
  const authors: AuthorId[] = []
  for (let left = reader.varint(); left > 0; left--) authors.push(reader.text() as AuthorId)
  const hash = reader.bytes()
  const meta = decodeMeta(reader)
  reader.end()
  return { cursor, resume, authors, hash, meta }
}
